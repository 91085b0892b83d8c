//! Statistics of repeated measurements: pure functions that know nothing of tables.
//!
//! Tests compare them with what SciPy 1.17 says of the same numbers.

mod agreement;
mod distributions;
mod interval;
mod paired;
mod ranks;

pub(crate) use agreement::{jaccard, spearman};
pub(crate) use interval::{Interval, MeanStd, bootstrap_interval, t_interval};
pub(crate) use paired::{holm, paired_t, wilcoxon};
pub(crate) use ranks::{friedman, mean_ranks, nemenyi_difference, regrets};

/// The statistic and the p value of a test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Test {
    pub(crate) statistic: f64,
    /// Two-sided.
    pub(crate) p: f64,
}
