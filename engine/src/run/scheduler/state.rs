//! The state of a node, what is to begin next, and what changed.

use super::Halt;
use crate::{
    NodeId, StageError,
    run::executor::{ComputedNode, NodeComputation, NodeOutput, StartTicket},
};
use cache::Key;
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

/// The wait of a node for another process.
#[derive(Clone, Copy, Debug)]
pub(super) struct ParkedWait {
    pub(super) since: Instant,
    /// The pause until it is polled again.
    pub(super) pause: Duration,
    /// Whether an event named the process that is waited for.
    pub(super) already_reported: bool,
}

/// The state of a node.
#[derive(Debug)]
pub(super) enum NodeState {
    /// Waits for its inputs to be done.
    Waiting,
    /// Its inputs are done; it is to be looked up.
    Ready,
    /// Its recipe is being made and looked up.
    LookingUp,
    /// Not in the store: waits for a slot, for a shorter training, or for a node with the same key.
    Queued(Arc<NodeComputation>),
    /// Another process computes its key: it holds no slot, and is polled again.
    Parked(Arc<NodeComputation>, ParkedWait),
    /// A parked node is being polled.
    Polling(Arc<NodeComputation>, ParkedWait),
    /// It is being computed.
    Running { computation: Arc<NodeComputation>, start: u64 },
    /// Done: its output is known.
    Done { output: NodeOutput, hit: bool },
    /// Failed, skipped or stopped.
    Lost,
}

/// An action to begin.
#[derive(Debug)]
pub(in crate::run) enum Action {
    /// Make the node's recipe from the outputs of its inputs, and look it up.
    LookUp(NodeId, Vec<NodeOutput>),
    /// Poll a key that another process computes.
    Poll(NodeId, Arc<NodeComputation>),
    /// Compute the node.
    Start(StartTicket, Arc<NodeComputation>),
}

/// A change of a node's state, or of the run's.
#[derive(Debug)]
pub(in crate::run) enum News {
    /// Its recipe is made: its key, and the key of its checkpoints.
    Known(NodeId, Key, Option<Key>),
    /// A hit: its result was in the store, or a node with the same key or another process computed
    /// it.
    Hit(NodeId, Key),
    /// It was computed.
    Finished(NodeId, Key, Box<ComputedNode>),
    /// A stored result is damaged and is computed again.
    Damaged(NodeId, String),
    /// A file it reads changed: its recipe is made again.
    Changed(NodeId, PathBuf),
    /// Its worker vanished; it is tried again.
    Vanished(NodeId),
    /// Another process computes it.
    Waiting(NodeId, String),
    /// It failed. If `already_reported`, for what halted the run before.
    Failed { node: NodeId, error: Arc<StageError>, already_reported: bool },
    /// It was not run because the other failed or was skipped.
    Skipped(NodeId, NodeId),
    /// It was cancelled while it ran.
    Stopped(NodeId),
    /// A result counted before is damaged: it is computed again.
    TakenBack { node: NodeId, hit: bool },
    /// The run is halted: no further stage is started.
    Halted(Halt),
}
