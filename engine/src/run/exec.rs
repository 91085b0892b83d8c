//! The run: which computation is next, and what follows from each that ends.

mod trouble;

use super::{
    journal::{self, Logged},
    resolve,
    runs::{Run, RunState},
    turns::Turns,
    worker::{Done, Message, Shared, Task},
};
use crate::{Event, Needs, NodeId, Plan, Sink, StageError, Summary};
use cache::{Artifact, Digest, Key, Lookup, Store, StoreError};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Instant,
};
use thiserror::Error;

/// How to run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The run's name.
    pub id: String,
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
    /// How many threads a stage's kernels may use.
    pub threads: usize,
    /// Set to stop at the next step boundary.
    pub cancel: Arc<AtomicBool>,
}

/// What a run leaves in memory: what became of it, and every output there is.
#[derive(Debug)]
pub struct RunResult {
    /// What became of it.
    pub summary: Summary,
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
    // Fails when the process has a pool already, of another size: then that one serves.
    rayon::ThreadPoolBuilder::new().num_threads(options.threads).build_global().ok();
    let mut sink = Logged::new(plan, &options.id, sink);
    sink.emit(&Event::RunStarted {
        nodes: plan.nodes().len(),
        cells: plan.cells.len(),
        pipeline: plan.path.display().to_string(),
        stages: journal::stages(plan),
        device: options.device.clone(),
        process: std::process::id(),
    });
    let shared = Shared {
        plan,
        store,
        device: &options.device,
        build: &options.build,
        cancel: &options.cancel,
        began: (options.now, clock),
    };
    let record = Run::new(plan, options.id.clone(), options.now, &options.device, &options.build);
    let mut exec = Exec::new(plan, store, options, record, &mut sink);
    let (tasks, inbox) = mpsc::channel::<Task>();
    let inbox = Mutex::new(inbox);
    let (tx, rx) = mpsc::channel();
    let ended = thread::scope(|scope| {
        let start_worker = || {
            let (tx, inbox, shared) = (tx.clone(), &inbox, &shared);
            scope.spawn(move || {
                loop {
                    let task = inbox.lock().map(|inbox| inbox.recv());
                    let Ok(Ok(task)) = task else { return };
                    shared.work(task, &tx);
                }
            });
        };
        // `drive` takes `tasks` and drops it at its end: that ends the workers.
        let ended = exec.drive(tasks, &rx, start_worker);
        if ended.is_err() {
            options.cancel.store(true, Ordering::Relaxed);
        }
        ended
    });
    let Exec { mut record, summary, outputs, keys, wrote, full, .. } = exec;
    record.seconds = clock.elapsed().as_secs_f64();
    record.summary = Some(summary);
    let kept = record.write(store).and_then(|()| store.flush());
    // An all-hit run on a store that cannot be written is still a run, and a full disk was told.
    if wrote && ended.is_ok() && full == 0 {
        kept?;
    }
    ended?;
    if full > 0 {
        sink.emit(&Event::StorageFull { met: full });
    }
    if !wrote && !store.is_read_only() {
        sink.begin(store);
    }
    sink.emit(&Event::RunFinished { summary });
    Ok(RunResult { summary, outputs, keys })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Until its inputs are there.
    Waiting,
    /// Its inputs are there, nothing else is known.
    Ready,
    /// It is not in the store and waits for a worker, or for the same key running already.
    Queued,
    Running,
    Done,
    /// Failed, skipped or stopped.
    Lost,
}

struct Exec<'a, 'b> {
    plan: &'a Plan,
    store: &'a Store,
    options: &'a RunOptions,
    sink: &'a mut Logged<'b>,
    record: Run,
    summary: Summary,
    states: Vec<State>,
    outputs: Vec<Option<Arc<Artifact>>>,
    digests: Vec<Option<Digest>>,
    keys: Vec<Option<Key>>,
    tries: BTreeMap<NodeId, u32>,
    /// Producers sent to work again because an object of theirs was found damaged.
    set_aside: BTreeSet<NodeId>,
    ready: BTreeSet<NodeId>,
    queue: BTreeSet<NodeId>,
    /// Those of the queue that use the device: apart, so that a busy device costs no search.
    device_queue: BTreeSet<NodeId>,
    turns: Turns,
    running: BTreeSet<NodeId>,
    /// Which node computes a key, so that equal computations of a plan are done once.
    computing: BTreeMap<Key, Vec<NodeId>>,
    /// Whether the run record was written: it is, once there is work.
    wrote: bool,
    /// How many stages met a full disk; after the first, none is started.
    full: usize,
}

impl<'a, 'b> Exec<'a, 'b> {
    fn new(
        plan: &'a Plan,
        store: &'a Store,
        options: &'a RunOptions,
        record: Run,
        sink: &'a mut Logged<'b>,
    ) -> Self {
        let count = plan.nodes().len();
        let roots = plan.nodes().filter(|(_, node)| node.inputs.is_empty()).map(|(id, _)| id);
        let ready: BTreeSet<NodeId> = roots.collect();
        let mut states = vec![State::Waiting; count];
        ready.iter().for_each(|id| states[id.index()] = State::Ready);
        Self {
            plan,
            store,
            options,
            sink,
            record,
            summary: Summary::default(),
            states,
            outputs: vec![None; count],
            digests: vec![None; count],
            keys: vec![None; count],
            tries: BTreeMap::new(),
            set_aside: BTreeSet::new(),
            ready,
            queue: BTreeSet::new(),
            device_queue: BTreeSet::new(),
            turns: Turns::of(plan),
            running: BTreeSet::new(),
            computing: BTreeMap::new(),
            wrote: false,
            full: 0,
        }
    }

    fn drive(
        &mut self,
        tasks: mpsc::Sender<Task>,
        rx: &mpsc::Receiver<Message>,
        start_worker: impl Fn(),
    ) -> Result<(), RunError> {
        let mut workers = 0;
        loop {
            while !self.cancelled()
                && let Some(id) = self.ready.pop_first()
            {
                self.look_up(id)?;
                self.dispatch(&tasks, &mut workers, &start_worker)?;
            }
            self.dispatch(&tasks, &mut workers, &start_worker)?;
            if self.running.is_empty() {
                break;
            }
            let Ok(message) = rx.recv() else { break };
            self.hear(message)?;
        }
        self.stop_the_rest();
        Ok(())
    }

    fn cancelled(&self) -> bool {
        self.options.cancel.load(Ordering::Relaxed)
    }

    fn look_up(&mut self, id: NodeId) -> Result<(), RunError> {
        let recipe = self.recipe(id)?;
        let key = recipe.key();
        self.keys[id.index()] = Some(key);
        let trajectory = resolve::trajectory_key(self.plan, id, &recipe);
        let record = self.record.node_mut(id);
        (record.key, record.trajectory) = (Some(key), trajectory);
        match self.store.lookup(key)? {
            Lookup::Hit(record) => self.hit(id, key, record.output),
            Lookup::Damaged(what) => {
                if !self.set_aside.remove(&id) {
                    self.sink.emit(&Event::Damaged { node: id, what });
                }
                self.enqueue(id, key);
            }
            Lookup::Absent => self.enqueue(id, key),
        }
        Ok(())
    }

    fn recipe(&self, id: NodeId) -> Result<cache::Recipe, StoreError> {
        let output = |source: NodeId| self.digests[source.index()].expect("inputs are done");
        resolve::recipe(self.plan, self.store, id, output)
    }

    fn hit(&mut self, id: NodeId, key: Key, output: Artifact) {
        self.sink.emit(&Event::Hit { node: id, key });
        self.summary.hits += 1;
        self.record.node_mut(id).state = RunState::Hit;
        self.done(id, Arc::new(output));
    }

    fn enqueue(&mut self, id: NodeId, key: Key) {
        self.states[id.index()] = State::Queued;
        match self.computing.get_mut(&key) {
            Some(same) => same.push(id),
            None => {
                self.computing.insert(key, vec![]);
                let over =
                    |id: NodeId| matches!(self.states[id.index()], State::Done | State::Lost);
                if !self.turns.holds(id, over) {
                    self.queue_up(id);
                }
            }
        }
    }

    fn queue_up(&mut self, id: NodeId) {
        let on_device = self.on_device(id);
        let queue = if on_device { &mut self.device_queue } else { &mut self.queue };
        queue.insert(id);
    }

    /// Marks `id`, of which nothing more will come, and lets the one go that waited for it.
    fn lost(&mut self, id: NodeId) {
        self.states[id.index()] = State::Lost;
        self.next_turn(id);
    }

    fn next_turn(&mut self, id: NodeId) {
        if let Some(next) = self.turns.next(id) {
            self.queue_up(next);
        }
    }

    fn done(&mut self, id: NodeId, output: Arc<Artifact>) {
        self.states[id.index()] = State::Done;
        self.digests[id.index()] = Some(output.digest());
        self.outputs[id.index()] = Some(output);
        self.next_turn(id);
        for consumer in self.plan.consumers(id) {
            self.maybe_ready(consumer);
        }
    }

    fn maybe_ready(&mut self, id: NodeId) {
        let inputs = &self.plan.node(id).inputs;
        let done = |source: &NodeId| self.states[source.index()] == State::Done;
        if self.states[id.index()] == State::Waiting && inputs.iter().all(|(_, one)| done(one)) {
            self.states[id.index()] = State::Ready;
            self.ready.insert(id);
        }
    }

    fn on_device(&self, id: NodeId) -> bool {
        self.plan.node(id).stage.needs() == Needs::Device
    }

    fn dispatch(
        &mut self,
        tasks: &mpsc::Sender<Task>,
        workers: &mut usize,
        start_worker: impl Fn(),
    ) -> Result<(), RunError> {
        let jobs = if self.full > 0 { 0 } else { self.options.jobs.max(1) };
        while self.running.len() < jobs && !self.cancelled() {
            let busy = self.running.iter().filter(|id| self.on_device(**id)).count();
            let free = busy < self.options.device_jobs.max(1);
            let device = self.device_queue.first().filter(|_| free);
            let Some(id) = self.queue.first().into_iter().chain(device).min().copied() else {
                break;
            };
            if !self.wrote {
                self.record.write(self.store)?;
                self.wrote = true;
                self.sink.begin(self.store);
            }
            let recipe = self.recipe(id)?;
            let mut inputs: BTreeMap<String, Vec<Artifact>> = BTreeMap::new();
            for (port, source) in &self.plan.node(id).inputs {
                let output = self.outputs[source.index()].as_ref().expect("inputs are done");
                inputs.entry((*port).to_owned()).or_default().push((**output).clone());
            }
            self.queue.remove(&id);
            self.device_queue.remove(&id);
            self.running.insert(id);
            self.states[id.index()] = State::Running;
            if *workers < self.running.len() {
                *workers += 1;
                start_worker();
            }
            let task = Task { node: id, key: recipe.key(), recipe, inputs };
            // The workers hold the other end for as long as this one is open.
            tasks.send(task).ok();
        }
        Ok(())
    }

    fn hear(&mut self, message: Message) -> Result<(), RunError> {
        match message {
            Message::Started(node, key) => self.sink.emit(&Event::Started { node, key }),
            Message::Waiting(node, holder) => self.sink.emit(&Event::Waiting { node, holder }),
            Message::Progressed(node, progress) => {
                self.sink.emit(&Event::Progressed { node, progress });
            }
            Message::Said(node, line) => self.sink.emit(&Event::Said { node, line }),
            Message::Ended(node, key, result) => {
                self.running.remove(&node);
                match result {
                    Ok(done) => self.ended(node, key, done),
                    Err(StageError::Cancelled) => self.stopped(node),
                    Err(StageError::Store(StoreError::Damaged { digest, what })) => {
                        self.damaged(node, key, digest, what);
                    }
                    Err(error) => self.failed(node, key, &error),
                }
            }
        }
        Ok(())
    }

    fn ended(&mut self, node: NodeId, key: Key, done: Done) {
        let same = self.computing.remove(&key).unwrap_or_default();
        if let Some(made) = done.differs {
            let recorded = done.output.digest();
            self.sink.emit(&Event::Differs { node, recorded, made });
        }
        let output = done.output.clone();
        if done.by_another {
            self.hit(node, key, done.output);
        } else {
            let (digest, seconds) = (done.output.digest(), done.seconds);
            self.sink.emit(&Event::Finished { node, key, output: digest, seconds });
            self.summary.computed += 1;
            let record = self.record.node_mut(node);
            (record.state, record.seconds) = (RunState::Computed, seconds);
            record.began = Some(done.began);
            self.done(node, Arc::new(done.output));
        }
        for other in same {
            self.hit(other, key, output.clone());
        }
    }
}
