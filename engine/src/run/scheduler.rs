//! The scheduler: which computation starts next, and what follows from each that ends. A state
//! machine without I/O, threads or a clock.
//!
//! Every node has exactly one [`NodeState`]. A node's recipe is made once, by its look-up, and
//! moves along with the state as a [`NodeComputation`], so the recipe that was looked up is the one
//! that is computed. [`next_action`](Scheduler::next_action) returns what to begin; the methods
//! named after messages take its outcome, and queue [`News`] of what that means for each node.

mod graph;
mod losses;
mod state;

pub(super) use graph::NodeGraph;
pub(super) use state::{Action, News};
use state::{NodeState, ParkedWait};

use super::executor::{
    ComputeFailure, FoundInStore, LookUpResult, NodeComputation, NodeLookup, NodeOutput,
    PollOutcome, StageEnd, StartTicket,
};
use crate::{NodeId, StageError};
use cache::{Key, StoreError};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    iter,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

/// The most retries of a node after an input was damaged, a file changed or its worker vanished.
const TRIES: u32 = 3;
/// The first pause between polls of a key that another process computes; each is longer by half.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause between polls.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// How long a node waits for another process before an event says so.
const WORTH_TELLING: Duration = Duration::from_millis(100);

/// The limits of a run: how many stages run at once, and whether a failure halts it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The most stages at once.
    pub(super) jobs: usize,
    /// The most stages at once that use the device.
    pub(super) device_jobs: usize,
    /// Whether the first failure halts the run.
    pub(super) fail_fast: bool,
}

/// Why a run is halted: no further stage is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// The disk is full.
    StorageFull,
    /// The store was moved or removed.
    StoreGone,
    /// A stage failed, with `--fail-fast`.
    FailFast,
}

impl Halt {
    /// Returns why `error` halts the run, if it does: every other stage would meet it, too.
    pub(super) fn of(error: &StageError) -> Option<Self> {
        match error {
            StageError::Store(StoreError::Gone { .. }) => Some(Self::StoreGone),
            StageError::Store(StoreError::Io { source, .. }) => {
                use std::io::ErrorKind::{QuotaExceeded, StorageFull};
                matches!(source.kind(), StorageFull | QuotaExceeded).then_some(Self::StorageFull)
            }
            _ => None,
        }
    }
}

/// The state of all nodes of a run, its queues and its limits.
pub(super) struct Scheduler {
    graph: NodeGraph,
    limits: Limits,
    states: Vec<NodeState>,
    tries: BTreeMap<NodeId, u32>,
    /// Nodes that are computed again because an object of their output was found damaged.
    remade_for_damage: BTreeSet<NodeId>,
    ready: BTreeSet<NodeId>,
    /// The queued nodes that only wait for a slot.
    queue: BTreeSet<NodeId>,
    /// The same of nodes that use the device: apart, so that a busy device costs no search.
    device_queue: BTreeSet<NodeId>,
    /// The parked nodes, by the time of their next poll.
    parked: BTreeSet<(Instant, NodeId)>,
    /// The nodes of each key being computed: the first computes it, the others wait for it.
    computing: BTreeMap<Key, Vec<NodeId>>,
    looking_up: usize,
    polling: usize,
    running: usize,
    running_on_device: usize,
    /// The number of computations started so far.
    starts: u64,
    halt: Option<Halt>,
    cancelled: bool,
    news: VecDeque<News>,
}

impl Scheduler {
    pub(super) fn new(graph: NodeGraph, limits: Limits) -> Self {
        let count = graph.len();
        let mut scheduler = Self {
            graph,
            limits,
            states: iter::repeat_with(|| NodeState::Waiting).take(count).collect(),
            tries: BTreeMap::new(),
            remade_for_damage: BTreeSet::new(),
            ready: BTreeSet::new(),
            queue: BTreeSet::new(),
            device_queue: BTreeSet::new(),
            parked: BTreeSet::new(),
            computing: BTreeMap::new(),
            looking_up: 0,
            polling: 0,
            running: 0,
            running_on_device: 0,
            starts: 0,
            halt: None,
            cancelled: false,
            news: VecDeque::new(),
        };
        (0..count).for_each(|index| scheduler.make_ready_if_inputs_done(node_at(index)));
        scheduler
    }

    /// Returns the scheduler of the nodes `only`, among which are the inputs of each.
    pub(super) fn of_some(graph: NodeGraph, limits: Limits, only: &BTreeSet<NodeId>) -> Self {
        let mut scheduler = Self::new(graph, limits);
        for index in 0..scheduler.states.len() {
            if !only.contains(&node_at(index)) {
                scheduler.ready.remove(&node_at(index));
                scheduler.states[index] = NodeState::Lost;
            }
        }
        scheduler
    }

    /// Returns the oldest news not yet taken.
    pub(super) fn take_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// Returns the output of `node`, once it is done.
    pub(super) fn output(&self, node: NodeId) -> Option<&NodeOutput> {
        match &self.states[node.index()] {
            NodeState::Done { output, .. } => Some(output),
            _ => None,
        }
    }

    /// Tells whether the run is over: no task is under way and no other process is waited for.
    pub(super) fn is_idle(&self) -> bool {
        let busy = self.running + self.looking_up + self.polling;
        busy == 0 && (self.parked.is_empty() || self.cancelled || self.halt.is_some())
    }

    /// Returns the time of the next poll of a parked node, if one is due.
    pub(super) fn next_poll(&self) -> Option<Instant> {
        let first = self.parked.first().map(|(when, _)| *when);
        first.filter(|_| !self.cancelled && self.halt.is_none())
    }

    /// Cancels the run: nothing is started from now on, and running stages are expected to end
    /// soon.
    pub(super) fn cancel(&mut self) {
        self.cancelled = true;
    }

    /// Returns the next action, if one can be begun at `now`.
    pub(super) fn next_action(&mut self, now: Instant) -> Option<Action> {
        if self.cancelled {
            return None;
        }
        while let Some(node) = self.ready.pop_first() {
            let outputs = self.graph.inputs[node.index()].iter().map(|one| self.output(*one));
            if let Some(outputs) = outputs.map(|one| one.cloned()).collect::<Option<Vec<_>>>() {
                self.states[node.index()] = NodeState::LookingUp;
                self.looking_up += 1;
                return Some(Action::LookUp(node, outputs));
            }
            // An input is being computed again.
            self.wait(node);
        }
        if self.halt.is_some() {
            return None;
        }
        if let Some((when, node)) = self.parked.first().copied().filter(|(when, _)| *when <= now) {
            self.parked.remove(&(when, node));
            return self.poll(node);
        }
        self.start()
    }

    fn poll(&mut self, node: NodeId) -> Option<Action> {
        let state = &mut self.states[node.index()];
        let NodeState::Parked(computation, wait) = state else { return None };
        let computation = Arc::clone(computation);
        let wait = *wait;
        *state = NodeState::Polling(Arc::clone(&computation), wait);
        self.polling += 1;
        Some(Action::Poll(node, computation))
    }

    fn start(&mut self) -> Option<Action> {
        if self.running >= self.limits.jobs.max(1) {
            return None;
        }
        let free = self.running_on_device < self.limits.device_jobs.max(1);
        let device = self.device_queue.first().filter(|_| free);
        let node = self.queue.first().into_iter().chain(device).min().copied()?;
        self.queue.remove(&node);
        self.device_queue.remove(&node);
        let NodeState::Queued(computation) = &self.states[node.index()] else { return None };
        let computation = Arc::clone(computation);
        self.starts += 1;
        let start = self.starts;
        let running = NodeState::Running { computation: Arc::clone(&computation), start };
        self.states[node.index()] = running;
        self.running += 1;
        self.running_on_device += usize::from(self.graph.on_device[node.index()]);
        Some(Action::Start(StartTicket { node, start }, computation))
    }

    /// Takes the outcome of a look-up. Ignored unless the node is being looked up.
    pub(super) fn looked_up(&mut self, node: NodeId, outcome: LookUpResult) {
        if !matches!(self.states[node.index()], NodeState::LookingUp) {
            return;
        }
        self.looking_up -= 1;
        let NodeLookup { key, trajectory, found } = match outcome {
            Ok(looked_up) => looked_up,
            Err(error) => return self.fail_alone(node, error),
        };
        self.news.push_back(News::Known(node, key, trajectory));
        match found {
            FoundInStore::Hit(output) => {
                self.news.push_back(News::Hit(node, key));
                self.done(node, output, true);
            }
            FoundInStore::Damaged(computation, what) => {
                if !self.remade_for_damage.remove(&node) {
                    self.news.push_back(News::Damaged(node, what.to_string()));
                }
                self.enqueue(node, computation);
            }
            FoundInStore::Absent(computation) => {
                self.remade_for_damage.remove(&node);
                self.enqueue(node, computation);
            }
        }
    }

    /// Takes the outcome of polling a parked node: its result, a free lease, or the holder of the
    /// lease.
    pub(super) fn polled(
        &mut self,
        node: NodeId,
        outcome: Result<PollOutcome, StageError>,
        now: Instant,
    ) {
        let NodeState::Polling(computation, wait) = &self.states[node.index()] else { return };
        let computation = Arc::clone(computation);
        let mut wait = *wait;
        self.polling -= 1;
        match outcome {
            Ok(PollOutcome::Hit(output)) => self.hit_all(&computation, output),
            Ok(PollOutcome::Free) => {
                self.states[node.index()] = NodeState::Queued(computation);
                self.queue_up(node);
            }
            Ok(PollOutcome::Busy(holder)) => {
                if !wait.already_reported && now.duration_since(wait.since) >= WORTH_TELLING {
                    wait.already_reported = true;
                    self.news.push_back(News::Waiting(node, holder));
                }
                wait.pause = (wait.pause * 3 / 2).min(LONGEST_PAUSE);
                self.park(node, computation, wait, now);
            }
            Err(error) => self.fail_equal(&computation, error),
        }
    }

    fn park(
        &mut self,
        node: NodeId,
        computation: Arc<NodeComputation>,
        wait: ParkedWait,
        now: Instant,
    ) {
        self.states[node.index()] = NodeState::Parked(computation, wait);
        self.parked.insert((now + wait.pause, node));
    }

    /// Takes the end of a computation. Ignored if it belongs to an earlier start or came before.
    pub(super) fn ended(&mut self, ticket: StartTicket, end: StageEnd, now: Instant) {
        let node = ticket.node;
        let computation = match &self.states[node.index()] {
            NodeState::Running { computation, start } if *start == ticket.start => {
                Arc::clone(computation)
            }
            _ => return,
        };
        self.running -= 1;
        self.running_on_device -= usize::from(self.graph.on_device[node.index()]);
        match end {
            StageEnd::Made(made) => {
                let output = made.output.clone();
                let others = self.computing.remove(&computation.key).unwrap_or_default();
                self.news.push_back(News::Finished(node, computation.key, made));
                self.done(node, output.clone(), false);
                for other in others.into_iter().filter(|other| *other != node) {
                    self.news.push_back(News::Hit(other, computation.key));
                    self.done(other, output.clone(), true);
                }
            }
            StageEnd::FoundMade(output) => self.hit_all(&computation, output),
            StageEnd::Busy => {
                let wait = ParkedWait { since: now, pause: FIRST_PAUSE, already_reported: false };
                self.park(node, computation, wait, now);
            }
            StageEnd::Changed(path) => self.changed(node, &computation, path),
            StageEnd::Vanished => {
                if self.may_try_again(node) {
                    self.news.push_back(News::Vanished(node));
                    self.states[node.index()] = NodeState::Queued(computation);
                    self.queue_up(node);
                } else {
                    self.fail_equal(&computation, StageError::Vanished);
                }
            }
            StageEnd::Failed(ComputeFailure::Cancelled) => {
                self.cancelled = true;
                for id in self.computing.remove(&computation.key).unwrap_or_default() {
                    self.news.push_back(News::Stopped(id));
                    self.settle_as_lost(id);
                }
            }
            StageEnd::Failed(ComputeFailure::Damaged { digest, what }) => {
                self.damaged(node, &computation, digest, what);
            }
            StageEnd::Failed(ComputeFailure::Halted(halt, error)) => {
                let already_reported = self.halt == Some(halt);
                self.halt(halt);
                let equal = self.computing.remove(&computation.key).unwrap_or_default();
                self.fail(&equal, error, already_reported);
            }
            StageEnd::Failed(ComputeFailure::Other(error)) => self.fail_equal(&computation, error),
        }
    }

    fn halt(&mut self, halt: Halt) {
        if self.halt.is_none() {
            self.halt = Some(halt);
            self.news.push_back(News::Halted(halt));
        }
    }

    /// Returns the nodes that are neither done nor lost.
    pub(super) fn open_nodes(&self) -> Vec<NodeId> {
        let open = |state: &NodeState| !matches!(state, NodeState::Done { .. } | NodeState::Lost);
        let open = (0..self.states.len()).filter(|index| open(&self.states[*index]));
        open.map(node_at).collect()
    }

    fn enqueue(&mut self, node: NodeId, computation: Arc<NodeComputation>) {
        let key = computation.key;
        self.states[node.index()] = NodeState::Queued(computation);
        let equal = self.computing.entry(key).or_default();
        equal.push(node);
        if equal.len() > 1 {
            return;
        }
        let over = |id: NodeId| {
            matches!(self.states[id.index()], NodeState::Done { .. } | NodeState::Lost)
        };
        if !self.graph.turns.must_wait(node, over) {
            self.queue_up(node);
        }
    }

    fn queue_up(&mut self, node: NodeId) {
        let on_device = self.graph.on_device[node.index()];
        let queue = if on_device { &mut self.device_queue } else { &mut self.queue };
        queue.insert(node);
    }

    /// Ends every node of `computation` with a result from the store.
    fn hit_all(&mut self, computation: &NodeComputation, output: NodeOutput) {
        for id in self.computing.remove(&computation.key).unwrap_or_default() {
            self.news.push_back(News::Hit(id, computation.key));
            self.done(id, output.clone(), true);
        }
    }

    fn done(&mut self, node: NodeId, output: NodeOutput, hit: bool) {
        self.states[node.index()] = NodeState::Done { output, hit };
        self.next_turn(node);
        for at in 0..self.graph.consumers[node.index()].len() {
            self.make_ready_if_inputs_done(self.graph.consumers[node.index()][at]);
        }
    }

    fn make_ready_if_inputs_done(&mut self, node: NodeId) {
        let done = |one: &NodeId| matches!(self.states[one.index()], NodeState::Done { .. });
        let waits = matches!(self.states[node.index()], NodeState::Waiting);
        if waits && self.graph.inputs[node.index()].iter().all(done) {
            self.states[node.index()] = NodeState::Ready;
            self.ready.insert(node);
        }
    }

    /// Marks `node` as lost (failed, skipped or stopped), and queues the training that waited for
    /// its turn behind it.
    fn settle_as_lost(&mut self, node: NodeId) {
        self.states[node.index()] = NodeState::Lost;
        self.next_turn(node);
    }

    fn next_turn(&mut self, node: NodeId) {
        if let Some(next) = self.graph.turns.release_next(node)
            && matches!(self.states[next.index()], NodeState::Queued(_))
        {
            self.queue_up(next);
        }
    }

    /// Sends every node of `computation` back to have its recipe made again.
    fn changed(&mut self, node: NodeId, computation: &NodeComputation, path: PathBuf) {
        if !self.may_try_again(node) {
            return self.fail_equal(computation, StageError::Unsettled { path });
        }
        self.news.push_back(News::Changed(node, path));
        for id in self.computing.remove(&computation.key).unwrap_or_default() {
            self.wait(id);
        }
    }

    /// Sends a node back to wait for its inputs; skips it if one of them is lost.
    fn wait(&mut self, node: NodeId) {
        self.states[node.index()] = NodeState::Waiting;
        let is_lost = |one: &&NodeId| matches!(self.states[one.index()], NodeState::Lost);
        match self.graph.inputs[node.index()].iter().find(is_lost).copied() {
            // In a cancelled run the input may be lost for that alone.
            Some(_) if self.cancelled => {}
            Some(input) => self.skip(node, input),
            None => self.make_ready_if_inputs_done(node),
        }
    }

    fn may_try_again(&mut self, node: NodeId) -> bool {
        let tries = self.tries.entry(node).or_default();
        *tries += 1;
        *tries <= TRIES
    }
}

fn node_at(index: usize) -> NodeId {
    NodeId(u32::try_from(index).expect("a plan has fewer than 2^32 nodes"))
}
