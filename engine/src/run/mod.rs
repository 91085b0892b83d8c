//! Doing what a plan says: look everything up, run what is missing, write it down.

mod exec;
mod explain;
mod forecast;
mod journal;
mod resolve;
mod runs;
mod turns;
mod worker;

pub use exec::{RunError, RunOptions, RunResult, run};
pub use explain::{History, Reason, differences};
pub use forecast::{Forecast, Outlook};
pub use journal::{Entry, Journal, Tail};
pub use resolve::trajectory_key;
pub use runs::{Run, RunFailure, RunNode, RunSource, RunState};
