//! What happened, in the order it happened.

use crate::NodeId;
use cache::{Digest, Key};
use serde::Serialize;

/// How far along a stage is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all.
    pub total: u64,
    /// What a unit is, such as `step` or `image`.
    pub unit: &'static str,
    /// A figure worth watching, such as `("loss", 0.31)`.
    pub figure: Option<(&'static str, f64)>,
}

/// Something that happened during a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// The run began.
    RunStarted {
        /// Its name.
        run: String,
        /// How many computations the plan has.
        nodes: usize,
    },
    /// A record was found, so the stage was not run.
    Hit {
        /// The computation.
        node: NodeId,
        /// Its key.
        key: Key,
    },
    /// Something stored cannot be used; it was set aside and will be made again.
    Damaged {
        /// The computation whose result it was.
        node: NodeId,
        /// What is wrong.
        what: String,
    },
    /// Another process is computing this key.
    Waiting {
        /// The computation.
        node: NodeId,
        /// Who holds the lease.
        holder: String,
    },
    /// A stage began.
    Started {
        /// The computation.
        node: NodeId,
        /// Its key.
        key: Key,
    },
    /// A stage is under way.
    Progressed {
        /// The computation.
        node: NodeId,
        /// How far it is.
        progress: Progress,
    },
    /// A stage said something.
    Said {
        /// The computation.
        node: NodeId,
        /// The line.
        line: String,
    },
    /// A stage's output is in the store.
    Finished {
        /// The computation.
        node: NodeId,
        /// Its key.
        key: Key,
        /// The digest of its output.
        output: Digest,
        /// How long it took.
        seconds: f64,
    },
    /// The same recipe gave another result than is recorded; the recorded one is used.
    Differs {
        /// The computation.
        node: NodeId,
        /// The output recorded first.
        recorded: Digest,
        /// The output made now.
        made: Digest,
    },
    /// A stage failed.
    Failed {
        /// The computation.
        node: NodeId,
        /// The error and its causes, outermost first.
        causes: Vec<String>,
        /// The way out, if the stage knows one.
        hint: Option<String>,
    },
    /// A stage was stopped before it was done.
    Stopped {
        /// The computation.
        node: NodeId,
    },
    /// A stage was not run because one it needs failed.
    Skipped {
        /// The computation.
        node: NodeId,
        /// The one that failed.
        because: NodeId,
    },
    /// The run ended.
    RunFinished {
        /// What became of it.
        summary: Summary,
    },
}

/// What became of a run's computations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Summary {
    /// Found in the store.
    pub hits: usize,
    /// Computed.
    pub computed: usize,
    /// Failed.
    pub failed: usize,
    /// Not run because one they need failed.
    pub skipped: usize,
    /// Not done because the run was stopped.
    pub stopped: usize,
}

/// Somewhere events go: a progress display, a log, a test's vector.
pub trait Sink {
    /// Takes one event. Called from one thread, in order.
    fn emit(&mut self, event: &Event);
}

impl<F: FnMut(&Event)> Sink for F {
    fn emit(&mut self, event: &Event) {
        self(event);
    }
}
