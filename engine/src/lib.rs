//! From a TOML file to a finished run: spec, matrix, plan, schedule, events.
//!
//! The engine knows stages, ports, keys, and seeds. It has never heard of a tensor, and it never
//! writes to a terminal.

mod event;
mod plan;
mod registry;
mod run;
mod seed;
mod spec;
mod stage;

pub use event::{Event, Progress, Sink, StageCount, Summary};
pub(crate) use plan::StageRef;
pub use plan::{Cell, NodeId, Plan, PlanAxis, PlanNode};
pub use registry::{Method, Parse, Registry};
pub use run::{
    Entry, Forecast, History, Journal, Outlook, PipelineFile, Reason, Run, RunError, RunFailure,
    RunNode, RunOptions, RunResult, RunSource, RunState, RunStatus, Tail, Use, Utc, differences,
    keep_panics_of_stages, run, trajectory_key,
};
pub use seed::Streams;
pub use spec::{
    Place, Request, Settings, SettingsError, Source, SpecError, SpecErrorKind, SpecErrors, Written,
};
pub use stage::{
    Arity, File, Folder, Kind, Needs, Port, Problem, Stage, StageCtx, StageError, Trajectory,
};
