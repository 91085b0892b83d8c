//! The `Executor` trait, and the tasks and messages that go through it: threads implement it, and a
//! mock in tests.

use super::{resolve::CheckpointKey, scheduler::Halt};
use crate::{InputFile, InputFolder, NodeId, StageError, StageProgress};
use cache::{Artifact, Damage, Digest, Key, LookupDamage, Recipe};
use std::{path::PathBuf, sync::Arc, time::Instant};

/// A node with its recipe: all a worker needs to compute it.
#[derive(Debug)]
pub(super) struct NodeComputation {
    pub(super) recipe: Recipe,
    pub(super) key: Key,
    /// The outputs of the input nodes, in the order of the plan.
    pub(super) inputs: Vec<NodeOutput>,
    /// The files outside the store whose digests are in the recipe.
    pub(super) files: Vec<InputFile>,
    pub(super) folders: Vec<InputFolder>,
    /// The key of its checkpoints and its last step, if it keeps any.
    pub(super) checkpoints: Option<CheckpointKey>,
    /// Whether it is computed even if its result is in the store.
    pub(super) forced: bool,
}

/// The output of a node, and its digest, which is in the recipes of the nodes that need it.
#[derive(Clone, Debug)]
pub(super) struct NodeOutput {
    pub(super) artifact: Arc<Artifact>,
    pub(super) digest: Digest,
}

impl From<Artifact> for NodeOutput {
    fn from(artifact: Artifact) -> Self {
        let digest = artifact.digest();
        Self { artifact: Arc::new(artifact), digest }
    }
}

/// The outcome of looking a node up, or the error for which its recipe cannot be made.
pub(super) type LookUpResult = Result<NodeLookup, StageError>;

/// The key of a node, and what the store has under it.
#[derive(Debug)]
pub(super) struct NodeLookup {
    pub(super) key: Key,
    /// The key of its checkpoints, if it keeps any.
    pub(super) trajectory: Option<Key>,
    pub(super) found: FoundInStore,
}

/// The result found under a key, if any. One that is not a hit comes with all it takes to compute
/// it.
#[derive(Debug)]
pub(super) enum FoundInStore {
    Hit(NodeOutput),
    Absent(Arc<NodeComputation>),
    Damaged(Arc<NodeComputation>, LookupDamage),
}

/// The outcome of polling a key that another process was computing.
#[derive(Debug)]
pub(super) enum PollOutcome {
    /// Its result.
    Hit(NodeOutput),
    /// No process holds its lease, and it has no result.
    Free,
    /// Another process holds its lease: this one.
    Busy(String),
}

/// A task for the executor, away from the event loop.
#[derive(Debug)]
pub(super) enum ExecutorTask {
    /// Make the recipes of nodes from the outputs of their inputs, and look them up.
    LookUp(Vec<(NodeId, Vec<NodeOutput>)>),
    /// Poll a key that another process computes.
    Poll(NodeId, Arc<NodeComputation>),
    /// Compute a node.
    Compute(StartTicket, Arc<NodeComputation>),
}

/// A message from the executor. Each look-up, poll and computation has exactly one final message;
/// the scheduler ignores one that comes twice, or belongs to an earlier start.
#[derive(Debug)]
pub(super) enum ExecutorMessage {
    /// Nodes were looked up.
    LookedUp(Vec<(NodeId, LookUpResult)>),
    /// A key that another process computes was polled.
    Polled(NodeId, Result<PollOutcome, StageError>),
    /// A stage started, with its key and that of its checkpoints.
    Started(NodeId, Key, Option<Key>),
    /// A stage reported progress.
    Progressed(NodeId, StageProgress),
    /// A stage logged a line.
    Said(NodeId, String),
    /// A computation ended.
    Ended(StartTicket, StageEnd),
}

/// The number of one start of a node, which tells its final message from that of an earlier start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StartTicket {
    pub(super) node: NodeId,
    pub(super) start: u64,
}

/// How a computation ended.
#[derive(Debug)]
pub(super) enum StageEnd {
    /// Computed and stored.
    Made(Box<ComputedNode>),
    /// A hit after all: another process had stored it by the time it was to start.
    FoundMade(NodeOutput),
    /// Another process holds its lease.
    Busy,
    /// A file it reads, this one, has another digest than its recipe says.
    Changed(PathBuf),
    /// Its worker vanished without a result.
    Vanished,
    /// It failed, or was cancelled.
    Failed(ComputeFailure),
}

/// Why a computation failed.
#[derive(Debug)]
pub(super) enum ComputeFailure {
    /// The run was cancelled.
    Cancelled,
    /// An object it reads is missing or altered.
    Damaged { digest: Digest, what: Damage },
    /// It failed for something that halts the run, as every other stage would meet it, too.
    Halted(Halt, StageError),
    /// Anything else.
    Other(StageError),
}

/// A finished computation.
#[derive(Debug)]
pub(super) struct ComputedNode {
    pub(super) output: NodeOutput,
    pub(super) seconds: f64,
    /// The seconds from the start of the run to its own.
    pub(super) began: f64,
    /// The digest computed here, if another output is on record under the same key.
    pub(super) differs: Option<Digest>,
}

/// An executor of tasks: the threads of this process, or a test's mock.
pub(super) trait Executor {
    /// Submits `task`. Its messages come from [`receive`](Self::receive).
    fn submit(&mut self, task: ExecutorTask);

    /// Returns the current time of the clock that deadlines of polls refer to.
    fn now(&self) -> Instant;

    /// Waits for the next message, at most until the deadline `until`. Returns `None` if none came
    /// by then, or, without a deadline, if no task is left.
    fn receive(&mut self, until: Option<Instant>) -> Option<ExecutorMessage>;
}
