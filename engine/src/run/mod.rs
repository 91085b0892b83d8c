//! Running a plan: looks every computation up in the store, computes what is missing, and keeps a
//! record and a log of the run.

mod bundle;
mod drive;
mod exec;
mod executor;
mod explain;
mod forecast;
mod guard;
mod history;
mod journal;
#[cfg(test)]
mod property;
pub(crate) mod resolve;
mod run_id;
mod runs;
mod scheduler;
mod submitted;
mod threads;
mod turns;
mod worker;

pub use bundle::{Bundle, Weight, closure, dependents};
pub use exec::{RunError, RunOptions, RunPart, RunResult, run};
pub use explain::{Reason, RunHistory, differences};
pub use forecast::{Forecast, Outlook};
pub use guard::{explain_panics_of_stages, keep_panics_of_stages};
pub use history::{PipelineFile, ResultUse};
pub use journal::{Journal, LogLine, LogTail};
pub use resolve::trajectory_key;
pub use run_id::Utc;
pub use runs::{RunFailure, RunNode, RunRecord, RunSource, RunState, RunStatus};
pub use submitted::SubmittedRun;
