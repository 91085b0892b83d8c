//! From a TOML file to a finished run: spec, matrix, plan, schedule, events.
//!
//! The engine knows stages, ports, keys, and seeds. It does not know what a tensor is, and it never
//! writes to a terminal.

mod event;
mod plan;
mod protocol;
mod registry;
mod run;
mod seed;
mod spec;
mod stage;

pub use event::{Event, RunSummary, Sink, StageCount, StageProgress};
pub(crate) use plan::StageRef;
pub use plan::{FormerName, NodeId, Plan, PlanAxis, PlanCell, PlanNode};
pub use protocol::Protocol;
pub use registry::{Becomes, Method, Parse, Registry, Renamed};
pub use run::{
    Bundle, Forecast, Journal, LogLine, LogTail, Outlook, PipelineFile, Reason, ResultUse,
    RunError, RunFailure, RunHistory, RunNode, RunOptions, RunPart, RunRecord, RunResult,
    RunSource, RunState, RunStatus, SubmittedRun, Utc, Weight, closure, dependents, differences,
    explain_panics_of_stages, keep_panics_of_stages, run, trajectory_key,
};
pub use seed::Streams;
pub use spec::{
    AxisProblem, CellRuleKind, PlanRequest, Settings, SettingsError, Span, SpecError,
    SpecErrorKind, SpecErrors, SpecPath, SpecSource,
};
pub use stage::{
    Arity, ArtifactKind, Choice, InputFile, InputFolder, MethodFailure, Needs, Port, Problem,
    Stage, StageCtx, StageError, Trajectory,
};
