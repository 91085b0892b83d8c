//! What carries out the tasks of a run, seen from its loop.

use super::{resolve::CheckpointKey, scheduler::Halt};
use crate::{InputFile, InputFolder, NodeId, StageError, StageProgress};
use cache::{Artifact, Damage, Digest, Key, Recipe};
use std::{sync::Arc, time::Instant};

/// One computation: its recipe, made once, and all it was made from.
#[derive(Debug)]
pub(super) struct NodeComputation {
    pub(super) recipe: Recipe,
    pub(super) key: Key,
    /// What the inputs gave, in the order of the plan.
    pub(super) inputs: Vec<NodeOutput>,
    /// The files and folders outside the store whose digests are in the recipe.
    pub(super) files: Vec<InputFile>,
    pub(super) folders: Vec<InputFolder>,
    /// Where its checkpoints are stored, if it keeps any.
    pub(super) checkpoints: Option<CheckpointKey>,
    /// Whether it is computed although its result is in the store.
    pub(super) forced: bool,
}

/// What a node gave, and the digest by which those that need it name it.
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

/// What came of a look-up.
pub(super) type LookUpResult = Result<NodeLookup, StageError>;

/// What the store has for a node.
#[derive(Debug)]
pub(super) struct NodeLookup {
    pub(super) key: Key,
    /// What the checkpoints of the node are filed under, if it keeps any.
    pub(super) trajectory: Option<Key>,
    pub(super) found: FoundInStore,
}

/// What the store has under a key. A recipe that is a hit stays where it was made.
#[derive(Debug)]
pub(super) enum FoundInStore {
    Hit(NodeOutput),
    Absent(Arc<NodeComputation>),
    Damaged(Arc<NodeComputation>, String),
}

/// What is seen of a key that another process was computing.
#[derive(Debug)]
pub(super) enum PollOutcome {
    /// Its result.
    Hit(NodeOutput),
    /// Nobody is at it, and it has no result.
    Free,
    /// This one is still at it.
    Busy(String),
}

/// Something to be done away from the run's loop.
#[derive(Debug)]
pub(super) enum ExecutorTask {
    /// Make the recipes of nodes from what their inputs gave, and look them up.
    LookUp(Vec<(NodeId, Vec<NodeOutput>)>),
    /// Look at a key that another process computes.
    Poll(NodeId, Arc<NodeComputation>),
    /// Compute.
    Compute(StartTicket, Arc<NodeComputation>),
}

/// What is told of a task. Each node of a look-up, each poll and each computation has exactly one
/// end; one that is told twice, or of an earlier start, is passed over.
#[derive(Debug)]
pub(super) enum ExecutorMessage {
    LookedUp(Vec<(NodeId, LookUpResult)>),
    Polled(NodeId, Result<PollOutcome, StageError>),
    Started(NodeId, Key, Option<Key>),
    Progressed(NodeId, StageProgress),
    Said(NodeId, String),
    Ended(StartTicket, StageEnd),
}

/// Names one start of a node, so that the end of an earlier one is not taken for its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StartTicket {
    pub(super) node: NodeId,
    pub(super) start: u64,
}

/// How a computation ended.
#[derive(Debug)]
pub(super) enum StageEnd {
    /// It was computed and is in the store.
    Made(Box<ComputedNode>),
    /// Another process had made it by the time it was to begin.
    FoundMade(NodeOutput),
    /// Another process is computing it.
    Busy,
    /// A file it reads is not what its recipe names: a clause that says which.
    Changed(String),
    /// Its worker is gone and left no word.
    Vanished,
    Failed(ComputeFailure),
}

/// Why a computation did not come to its end.
#[derive(Debug)]
pub(super) enum ComputeFailure {
    /// The run was stopped.
    Cancelled,
    /// An object it reads is missing or altered.
    Damaged { digest: Digest, what: Damage },
    /// It met something that every other would meet, too.
    Halted(Halt, StageError),
    /// Anything else.
    Other(StageError),
}

/// A finished computation.
#[derive(Debug)]
pub(super) struct ComputedNode {
    pub(super) output: NodeOutput,
    pub(super) seconds: f64,
    /// How long after the run it began.
    pub(super) began: f64,
    /// What was made here, if another result is recorded under the same key.
    pub(super) differs: Option<Digest>,
}

/// Carries out tasks: threads of this process, or what a test does instead.
pub(super) trait Executor {
    /// Begins `task`. What comes of it is told by [`receive`](Self::receive).
    fn submit(&mut self, task: ExecutorTask);

    /// Returns the time by which pauses are measured.
    fn now(&self) -> Instant;

    /// Waits for the next message, or until `until`. `None` means that nothing came by then, or,
    /// without `until`, that nothing ever will.
    fn receive(&mut self, until: Option<Instant>) -> Option<ExecutorMessage>;
}
