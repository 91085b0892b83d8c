//! A mean, with its standard deviation or confidence interval.

use crate::stats::{Interval, MeanStd, bootstrap_interval, t_interval};

/// The kind of interval that stands beside a mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Ci {
    /// Student's t: supposes that repeats are about normal.
    T,
    /// Percentiles of 10,000 resamples: supposes nothing, and wants ten repeats or more.
    Bootstrap,
}

/// The spread shown beside a mean: the standard deviation, or an interval of a kind and level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Judge {
    pub(super) ci: Option<Ci>,
    pub(super) level: f64,
}

/// The spread or the confidence interval of a mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Trust {
    /// There is a single value.
    Unknown,
    Std(f64),
    Interval(Interval),
}

/// The mean of a metric over the cells of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    pub(super) mean: f64,
    pub(super) std: Option<f64>,
    pub(super) n: usize,
    pub(super) trust: Trust,
}

impl Judge {
    /// Returns the mean of `values` with what this judge says of it; `None` of none.
    pub(super) fn estimate(&self, values: &[f64]) -> Option<Estimate> {
        let MeanStd { mean, std, n } = MeanStd::of(values)?;
        let interval = match self.ci {
            None => None,
            Some(Ci::T) => t_interval(values, self.level),
            // The same table is the same every time.
            Some(Ci::Bootstrap) => bootstrap_interval(values, self.level, 0),
        };
        let trust = match (interval, std) {
            (Some(interval), _) => Trust::Interval(interval),
            (None, Some(std)) if self.ci.is_none() => Trust::Std(std),
            _ => Trust::Unknown,
        };
        Some(Estimate { mean, std, n, trust })
    }
}

impl Estimate {
    pub(super) fn interval(&self) -> Option<Interval> {
        match self.trust {
            Trust::Interval(interval) => Some(interval),
            _ => None,
        }
    }
}
