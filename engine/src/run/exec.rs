//! A run: its threads, its record, its events.

use super::{
    drive::{Listener, drive},
    journal::{self, LoggingSink},
    runs::{RunRecord, RunState},
    scheduler::{Halt, Limits, News, NodeGraph, Scheduler},
    threads::Threads,
    worker::RunContext,
};
use crate::{Event, NodeId, Plan, RunSummary, Sink, StageError, StageProgress};
use cache::{Artifact, Key, Store, StoreError};
use std::{
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

/// How to run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The run's name: see [`RunRecord::new_id`].
    pub id: String,
    /// What its user calls it.
    pub name: Option<String>,
    /// A remark kept with it.
    pub note: Option<String>,
    /// How many stages may run at once.
    pub jobs: usize,
    /// How many of them may use the device at once.
    pub device_jobs: usize,
    /// The device, in the terms of the program.
    pub device: String,
    /// The build of the program.
    pub build: String,
    /// The time of day, in seconds since 1970 (UTC).
    pub now: u64,
    /// The nodes that are computed even if their results are in the store.
    pub force: BTreeSet<NodeId>,
    /// Whether nothing more is started after the first failure.
    pub fail_fast: bool,
    /// Set to stop at the next step boundary.
    pub cancel: Arc<AtomicBool>,
}

/// What a run leaves in memory: what became of it, and every output there is.
#[derive(Debug)]
pub struct RunResult {
    /// What became of it.
    pub summary: RunSummary,
    /// The outputs, by node.
    pub outputs: Vec<Option<Arc<Artifact>>>,
    /// The keys, by node.
    pub keys: Vec<Option<Key>>,
}

/// A run could not go on.
#[derive(Debug, Error)]
pub enum RunError {
    /// The store failed underneath.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Runs `plan`: what `store` has is taken from there, the rest is made and put there. A stage
/// that fails stops only what needs it; `sink` hears of it.
///
/// # Errors
///
/// Fails if the store cannot be read or written. What was finished before is kept.
pub fn run(
    plan: &Plan,
    store: &Store,
    options: &RunOptions,
    sink: &mut dyn Sink,
) -> Result<RunResult, RunError> {
    let clock = Instant::now();
    let mut sink = LoggingSink::new(plan, &options.id, sink);
    sink.emit(&Event::RunStarted {
        nodes: plan.nodes().len(),
        cells: plan.cells.len(),
        pipeline: plan.path.display().to_string(),
        stages: journal::stages(plan),
        device: options.device.clone(),
        process: std::process::id(),
    });
    let shared = RunContext {
        plan,
        store,
        device: &options.device,
        build: &options.build,
        cancel: &options.cancel,
        began: (options.now, clock),
        force: &options.force,
    };
    let limits = Limits {
        jobs: options.jobs,
        device_jobs: options.device_jobs,
        fail_fast: options.fail_fast,
    };
    let mut scheduler = Scheduler::new(NodeGraph::of(plan), limits);
    let mut recorder = Recorder {
        store,
        record: RunRecord::new(plan, options),
        sink: &mut sink,
        summary: RunSummary::default(),
        record_written: false,
        met_halt: 0,
        halt: None,
    };
    let ended = thread::scope(|scope| {
        // The stages that run are asked to stop, however the loop ends.
        let _stop = StopOnUnwind(&options.cancel);
        let mut threads = Threads::new(scope, &shared, options.jobs);
        let ended = drive(&mut scheduler, &mut threads, &options.cancel, &mut recorder);
        if ended.is_err() {
            options.cancel.store(true, Ordering::Relaxed);
        }
        ended
    });
    // What could not even begin has its reason in the error.
    if ended.is_ok() {
        let open = scheduler.open_nodes();
        recorder.never_begun(open.len(), options.cancel.load(Ordering::Relaxed));
    }
    let Recorder { mut record, summary, record_written, halt, met_halt, .. } = recorder;
    record.seconds = clock.elapsed().as_secs_f64();
    record.summary = Some(summary);
    record.interrupted = options.cancel.load(Ordering::Relaxed);
    let kept = record.write(store).and_then(|()| store.flush());
    // An all-hit run on a store that cannot be written is still a run, and what halted it was told.
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

/// Asks the stages that run to stop if the loop of the run panics: else their threads would be
/// waited for as long as they take.
struct StopOnUnwind<'a>(&'a AtomicBool);

impl Drop for StopOnUnwind<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// Keeps the run's record and summary, and passes on what happens as events.
struct Recorder<'a, 'b> {
    store: &'a Store,
    record: RunRecord,
    sink: &'a mut LoggingSink<'b>,
    summary: RunSummary,
    /// Whether the record was written: it is, once there is work.
    record_written: bool,
    /// How many stages met what halted the run.
    met_halt: usize,
    halt: Option<Halt>,
}

impl Recorder<'_, '_> {
    fn set(&mut self, node: NodeId, state: RunState) {
        self.record.node_mut(node).state = state;
    }

    /// Counts and tells what was asked for and not begun.
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
        let hint = match (error, halt) {
            (StageError::Method { hint, .. }, _) => hint.clone(),
            (_, Some(Halt::StoreGone)) => Some(GONE.to_owned()),
            (_, Some(Halt::StorageFull)) => Some(FULL.to_owned()),
            _ => None,
        };
        self.sink.emit(&Event::Failed { node, causes: causes(error), hint });
    }
}

/// The way out when the disk is full.
const FULL: &str = "free some space and run it again: what is done is kept, and what runs now \
                    goes on, but no other stage is started";
/// The way out when the store was moved or removed.
const GONE: &str = "put it back where it was, or run it again to begin a new one; no other stage \
                    is started";

impl Listener for Recorder<'_, '_> {
    type Error = RunError;

    fn begin(&mut self) -> Result<(), RunError> {
        self.record.write(self.store)?;
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
            News::Changed(node, what) => self.sink.emit(&Event::Changed { node, what }),
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
        self.sink.write_down();
    }
}

fn causes(error: &dyn StdError) -> Vec<String> {
    iter::successors(Some(error), |error| (*error).source()).map(ToString::to_string).collect()
}
