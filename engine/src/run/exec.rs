//! The run of a plan: its options, its threads, and the recorder of its record and events.

use super::{
    drive::{Listener, drive},
    journal::{self, LoggingSink},
    runs::{RunRecord, RunState},
    scheduler::{Halt, Limits, News, NodeGraph, Scheduler},
    threads::Threads,
    worker::RunContext,
};
use crate::{Event, NodeId, Plan, RunSummary, Sink, StageError, StageProgress};
use cache::{Artifact, Key, RemoteTier, Store, StoreError};
use std::{
    any::Any,
    borrow::Cow,
    collections::BTreeSet,
    error::Error as StdError,
    iter,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};
use thiserror::Error;

/// The options of a run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The run's name: see [`RunRecord::new_id`].
    pub id: String,
    /// The name its user gave it.
    pub name: Option<String>,
    /// A note kept in its record.
    pub note: Option<String>,
    /// The most stages that run at once.
    pub jobs: usize,
    /// The most stages that use the device at once.
    pub device_jobs: usize,
    /// The device, in the terms of the program.
    pub device: String,
    /// What the stages compute with, asked for by [`StageCtx::resources`](crate::StageCtx::resources).
    pub resources: Option<Arc<dyn Any + Send + Sync>>,
    /// The build of the program.
    pub build: String,
    /// The time of day, in seconds since 1970 (UTC).
    pub now: u64,
    /// The nodes to compute even if their results are in the store.
    pub force: BTreeSet<NodeId>,
    /// Whether the run is halted by the first failure.
    pub fail_fast: bool,
    /// The cancellation flag: once set, stages stop at their next step.
    pub cancel: Arc<AtomicBool>,
    /// The part of a submitted run to compute; `None` for a run of all of the plan.
    pub part: Option<RunPart>,
}

/// A part of a submitted run: what one of its jobs computes. The run's record is not written; the
/// job has a log of its own.
#[derive(Clone, Debug)]
pub struct RunPart {
    /// The name of the job.
    pub job: String,
    /// The computations to make, and all that they need.
    pub only: BTreeSet<NodeId>,
    /// Those of them whose hits are logged: what no other job computes.
    pub own: BTreeSet<NodeId>,
    /// When the run was submitted, in seconds since 1970 (UTC).
    pub submitted: u64,
}

/// The result of a run: its summary, and the outputs and keys of its nodes.
#[derive(Debug)]
pub struct RunResult {
    /// The counts of computations by outcome.
    pub summary: RunSummary,
    /// The outputs, by node.
    pub outputs: Vec<Option<Arc<Artifact>>>,
    /// The keys, by node.
    pub keys: Vec<Option<Key>>,
}

/// The error of a run that could not go on.
#[derive(Debug, Error)]
pub enum RunError {
    /// An operation of the store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Runs `plan`: results in `store` are hits, the others are computed and stored. A stage that fails
/// stops only the stages that need it. `sink` receives the events.
///
/// # Errors
///
/// Fails if the store cannot be read or written. Results stored before that stay.
pub fn run(
    plan: &Plan,
    store: &Store,
    options: &RunOptions,
    sink: &mut dyn Sink,
) -> Result<RunResult, RunError> {
    let clock = Instant::now();
    let mut sink = LoggingSink::new(plan, options, sink);
    let part = options.part.as_ref();
    sink.emit(&Event::RunStarted {
        nodes: part.map_or(plan.nodes().len(), |part| part.only.len()),
        cells: plan.cells.len(),
        pipeline: plan.path.display().to_string(),
        stages: journal::stages(plan),
        device: options.device.clone(),
        process: std::process::id(),
    });
    let context = RunContext {
        plan,
        store,
        device: &options.device,
        resources: options.resources.as_deref(),
        build: &options.build,
        cancel: &options.cancel,
        began: options.now,
        clock,
        force: &options.force,
        targets: plan.cells.iter().flat_map(|cell| cell.targets.iter().copied()).collect(),
    };
    let limits = Limits {
        jobs: options.jobs,
        device_jobs: options.device_jobs,
        fail_fast: options.fail_fast,
    };
    let graph = NodeGraph::of(plan);
    let mut scheduler = match part {
        None => Scheduler::new(graph, limits),
        Some(part) => Scheduler::of_some(graph, limits, &part.only),
    };
    let mut recorder = Recorder {
        store,
        is_part: part.is_some(),
        record: RunRecord::new(plan, options),
        sink: &mut sink,
        summary: RunSummary::default(),
        record_written: false,
        met_halt: 0,
        halt: None,
    };
    let ended = thread::scope(|scope| {
        // Running stages are cancelled even if the loop panics.
        let _stop = StopOnUnwind(&options.cancel);
        let mut threads = Threads::new(scope, &context, options.jobs);
        let ended = drive(&mut scheduler, &mut threads, &options.cancel, &mut recorder);
        if ended.is_err() {
            options.cancel.store(true, Ordering::Relaxed);
        }
        ended
    });
    // If the run could not begin, the error says why.
    if ended.is_ok() {
        let open = scheduler.open_nodes();
        recorder.never_begun(open.len(), options.cancel.load(Ordering::Relaxed));
    }
    let Recorder { mut record, summary, record_written, halt, met_halt, .. } = recorder;
    record.seconds = clock.elapsed().as_secs_f64();
    record.summary = Some(summary);
    record.interrupted = options.cancel.load(Ordering::Relaxed);
    let kept = match part {
        None => record.write(store),
        Some(_) => Ok(()),
    };
    let kept = kept.and_then(|()| store.flush());
    // A run of hits alone succeeds on a read-only store; a full disk or a store that is gone is
    // reported already.
    if record_written && ended.is_ok() && halt.is_none_or(|halt| halt == Halt::FailFast) {
        kept?;
    }
    ended?;
    if halt == Some(Halt::StorageFull) {
        sink.emit(&Event::StorageFull { met: met_halt });
    }
    if !record_written && !store.is_read_only() {
        sink.begin(store);
    }
    sink.emit(&Event::RunFinished { summary });
    let keys = plan.nodes().map(|(id, _)| record.nodes[id.index()].key).collect();
    let outputs = plan
        .nodes()
        .map(|(id, _)| scheduler.output(id).map(|output| Arc::clone(&output.artifact)))
        .collect();
    Ok(RunResult { summary, outputs, keys })
}

/// Cancels the running stages if the event loop panics: the scope would otherwise wait for their
/// threads until they are done.
struct StopOnUnwind<'a>(&'a AtomicBool);

impl Drop for StopOnUnwind<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// The listener that keeps the run's record and summary, and emits events.
struct Recorder<'a, 'b> {
    store: &'a Store,
    /// Whether this is a part of a submitted run, whose record is there already.
    is_part: bool,
    record: RunRecord,
    sink: &'a mut LoggingSink<'b>,
    summary: RunSummary,
    /// Whether the run record was written: it is, as soon as the run has work.
    record_written: bool,
    /// How many stages failed for what halted the run.
    met_halt: usize,
    halt: Option<Halt>,
}

impl Recorder<'_, '_> {
    fn set(&mut self, node: NodeId, state: RunState) {
        self.record.node_mut(node).state = state;
    }

    /// Counts the computations that never began, and emits an event for them.
    fn never_begun(&mut self, open: usize, cancelled: bool) {
        self.summary.stopped += open;
        if open == 0 {
            return;
        }
        let because = match self.halt {
            _ if cancelled => "the run was stopped",
            Some(Halt::StorageFull) => "the disk is full",
            Some(Halt::StoreGone) => "the store is not there any more",
            Some(Halt::FailFast) => "a stage failed, and `--fail-fast` ends the run there",
            None => "nothing was left that could be waited for: this is a defect of the program",
        };
        self.sink.emit(&Event::NotBegun { nodes: open, because: because.to_owned() });
    }

    fn failed(&mut self, node: NodeId, error: &StageError, already_reported: bool) {
        self.summary.failed += 1;
        let halt = Halt::of(error);
        self.met_halt += usize::from(halt.is_some());
        self.set(node, RunState::Failed);
        if already_reported {
            return self.sink.emit(&Event::Stopped { node });
        }
        let hint = match halt {
            Some(Halt::StoreGone) => Some(GONE.to_owned()),
            Some(Halt::StorageFull) => Some(FULL.to_owned()),
            _ => error.hint().map(Cow::into_owned),
        };
        self.sink.emit(&Event::Failed { node, causes: causes(error), hint });
    }
}

/// The hint when the disk is full.
const FULL: &str = "free some space and run it again: what is done is kept, and what runs now \
                    goes on, but no other stage is started";
/// The hint when the store was moved or removed.
const GONE: &str = "put it back where it was, or run it again to begin a new one; no other stage \
                    is started";

impl Listener for Recorder<'_, '_> {
    type Error = RunError;

    fn begin(&mut self) -> Result<(), RunError> {
        if !self.is_part {
            self.record.write(self.store)?;
        }
        self.record_written = true;
        self.sink.begin(self.store);
        self.store.wait_for_collection()?;
        Ok(())
    }

    fn news(&mut self, news: News) {
        match news {
            News::Known(node, key, trajectory) => {
                let record = self.record.node_mut(node);
                record.key = Some(key);
                record.trajectory = trajectory;
            }
            News::Hit(node, key) => {
                self.summary.hits += 1;
                self.set(node, RunState::Hit);
                self.sink.emit(&Event::Hit { node, key });
            }
            News::Finished(node, key, made) => {
                let output = made.output.digest;
                if let Some(made) = made.differs {
                    self.sink.emit(&Event::Differs { node, recorded: output, made });
                }
                let seconds = made.seconds;
                self.sink.emit(&Event::Finished { node, key, output, seconds });
                self.summary.computed += 1;
                let record = self.record.node_mut(node);
                record.state = RunState::Computed;
                record.seconds = seconds;
                record.began = Some(made.began);
            }
            News::Damaged(node, what) => self.sink.emit(&Event::Damaged { node, what }),
            News::TakenBack { node, hit } => {
                let count = if hit { &mut self.summary.hits } else { &mut self.summary.computed };
                *count -= 1;
                self.set(node, RunState::Open);
            }
            News::Changed(node, path) => {
                let what = format!("`{}` changed", path.display());
                self.sink.emit(&Event::Changed { node, what });
            }
            News::Vanished(node) => self.sink.emit(&Event::Vanished { node }),
            News::Waiting(node, holder) => self.sink.emit(&Event::Waiting { node, holder }),
            News::Failed { node, error, already_reported } => {
                self.failed(node, &error, already_reported)
            }
            News::Skipped(node, because) => {
                self.summary.skipped += 1;
                self.set(node, RunState::Skipped);
                self.sink.emit(&Event::Skipped { node, because });
            }
            News::Stopped(node) => {
                self.summary.stopped += 1;
                self.set(node, RunState::Stopped);
                self.sink.emit(&Event::Stopped { node });
            }
            News::Halted(halt) => self.halt = Some(halt),
        }
    }

    fn started(&mut self, node: NodeId, key: Key, trajectory: Option<Key>) {
        self.sink.emit(&Event::Started { node, key, trajectory });
    }

    fn progressed(&mut self, node: NodeId, progress: StageProgress) {
        self.sink.emit(&Event::Progressed { node, progress });
    }

    fn said(&mut self, node: NodeId, line: String) {
        self.sink.emit(&Event::Said { node, line });
    }

    fn pause(&mut self) {
        for what in self.store.remote().map(RemoteTier::take_notes).unwrap_or_default() {
            self.sink.emit(&Event::Remote { what });
        }
        self.sink.write_down();
    }
}

fn causes(error: &dyn StdError) -> Vec<String> {
    iter::successors(Some(error), |error| (*error).source()).map(ToString::to_string).collect()
}
