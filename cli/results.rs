//! The results of pipelines and runs: what the store has of them, laid on the axes of the matrix,
//! put together over seeds. `table`, `report`, `plot`, `ablate` and `diff` all read this; how
//! results are written or drawn is not here.

mod cost;
mod grid;
mod measured;
mod repeats;
mod study;

pub(crate) use cost::{COST, add_costs};
pub(crate) use grid::{CellResult, Grid, GridAxis};
pub(crate) use measured::{MeasuredSource, MetricValue, metrics_of, read, read_with};
pub(crate) use repeats::grouped;
pub(crate) use study::{Condition, Study};

/// The metric that says how long a result and all it stands on took to compute.
pub(crate) const SECONDS: &str = "seconds";

/// Tells whether the axis called `path` is a seed: its values repeat a measurement.
pub(crate) fn is_seed(path: &str) -> bool {
    ends_in(path, "seed")
}

/// Tells whether `word` is `path` or the last part of it.
fn ends_in(path: &str, word: &str) -> bool {
    path.rsplit('.').next() == Some(word)
}
