//! The events of a run, and the sinks that receive them.

use crate::NodeId;
use cache::{Digest, Key};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;

/// The progress of a stage: how many of its units are done, and a figure such as the loss.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StageProgress {
    /// Units done.
    pub done: u64,
    /// Units in all.
    pub total: u64,
    /// The unit, such as `step` or `image`.
    pub unit: Cow<'static, str>,
    /// A figure worth watching, such as `("loss", 0.31)`. A loss may be NaN.
    pub figure: Option<(Cow<'static, str>, f64)>,
}

impl StageProgress {
    /// Returns the progress of a stage that has done `done` of `total` units.
    pub fn new(done: u64, total: u64, unit: impl Into<Cow<'static, str>>) -> Self {
        Self { done, total, unit: unit.into(), figure: None }
    }

    /// Adds a figure, such as the loss.
    #[must_use]
    pub fn with_figure(mut self, name: impl Into<Cow<'static, str>>, value: f64) -> Self {
        self.figure = Some((name.into(), value));
        self
    }
}

impl<'de> Deserialize<'de> for StageProgress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "Progress")]
        struct ProgressJson {
            done: u64,
            total: u64,
            unit: String,
            figure: Option<(String, Option<f64>)>,
        }
        let ProgressJson { done, total, unit, figure } = ProgressJson::deserialize(deserializer)?;
        // JSON has no NaN: it is written as null.
        let figure = figure.map(|(name, value)| (name.into(), value.unwrap_or(f64::NAN)));
        Ok(Self { done, total, unit: unit.into(), figure })
    }
}

/// A stage of the pipeline, and how many computations the matrix makes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageCount {
    /// The stage's name.
    pub stage: String,
    /// The methods its cells use.
    pub methods: Vec<String>,
    /// The stages it reads from.
    pub from: Vec<String>,
    /// How many computations.
    pub nodes: usize,
}

/// An event of a run. Sinks receive them in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// The run began.
    RunStarted {
        /// How many computations the plan has.
        nodes: usize,
        /// How many cells the matrix has; what they agree on is one computation.
        cells: usize,
        /// The pipeline file.
        pipeline: String,
        /// The stages, inputs before what needs them.
        stages: Vec<StageCount>,
        /// The device.
        device: String,
        /// The process that runs it.
        process: u32,
    },
    /// A cache hit: the store has the record, so the stage does not run.
    Hit {
        /// The computation.
        node: NodeId,
        /// Its key.
        key: Key,
    },
    /// A stored result is damaged; it is in quarantine and is computed again.
    Damaged {
        /// The computation whose result it was.
        node: NodeId,
        /// The damage: a clause.
        what: String,
    },
    /// Another process is computing this key.
    Waiting {
        /// The computation.
        node: NodeId,
        /// The holder of the lease, such as `process 4711 on node3`.
        holder: String,
    },
    /// A file the stage reads has another digest than its recipe says: the recipe is made again.
    Changed {
        /// The computation.
        node: NodeId,
        /// A clause that names the file, such as `job.sh changed`.
        what: String,
    },
    /// The worker of the stage vanished without a result; the stage is tried again.
    Vanished {
        /// The computation.
        node: NodeId,
    },
    /// A stage began.
    Started {
        /// The computation.
        node: NodeId,
        /// Its key.
        key: Key,
        /// The key of its checkpoints, if it keeps any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trajectory: Option<Key>,
    },
    /// A stage is under way.
    Progressed {
        /// The computation.
        node: NodeId,
        /// The progress.
        progress: StageProgress,
    },
    /// A stage wrote a line to its log.
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
    /// The same recipe gave another output than is recorded: the method is not deterministic. The
    /// recorded output is used.
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
        /// What can be done, if the stage knows.
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
    /// The run is over and these computations never began. Emitted once, at the end.
    NotBegun {
        /// How many.
        nodes: usize,
        /// Why: a clause.
        because: String,
    },
    /// The remote store fails or refuses something. The run goes on without it.
    Remote {
        /// What is the matter, for people.
        what: String,
    },
    /// The store's disk is full. Emitted once, at the end of a run that was halted for it.
    StorageFull {
        /// How many stages failed for it.
        met: usize,
    },
    /// The run ended.
    RunFinished {
        /// The counts of computations by outcome.
        summary: RunSummary,
    },
}

impl Event {
    /// Returns the computation it is about, if it is about one.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        match self {
            Self::RunStarted { .. }
            | Self::NotBegun { .. }
            | Self::Remote { .. }
            | Self::StorageFull { .. }
            | Self::RunFinished { .. } => None,
            Self::Hit { node, .. }
            | Self::Damaged { node, .. }
            | Self::Waiting { node, .. }
            | Self::Changed { node, .. }
            | Self::Vanished { node }
            | Self::Started { node, .. }
            | Self::Progressed { node, .. }
            | Self::Said { node, .. }
            | Self::Finished { node, .. }
            | Self::Differs { node, .. }
            | Self::Failed { node, .. }
            | Self::Stopped { node }
            | Self::Skipped { node, .. } => Some(*node),
        }
    }
}

/// The counts of a run's computations, by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct RunSummary {
    /// Cache hits: found in the store.
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

/// A receiver of events: a progress bar, a log, a test's vector.
pub trait Sink {
    /// Takes one event. Called from one thread, in order.
    fn emit(&mut self, event: &Event);
}

impl<F: FnMut(&Event)> Sink for F {
    fn emit(&mut self, event: &Event) {
        self(event);
    }
}
