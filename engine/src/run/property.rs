//! The scheduler and its loop, driven over random graphs by an executor that does its worst:
//! failures, panics, delays, equal keys, files that change, workers that vanish, objects that are
//! damaged, keys that other processes compute, ends that are told twice, cancellations.

use super::{
    drive::{Listener, drive},
    executor::{
        ComputeFailure, ComputedNode, Executor, ExecutorMessage, ExecutorTask, FoundInStore,
        NodeComputation, NodeLookup, NodeOutput, PollOutcome, StageEnd, StartTicket,
    },
    scheduler::{Halt, Limits, News, NodeGraph, Scheduler},
    turns::Turns,
};
use crate::{MethodFailure, NodeId, StageProgress};
use cache::{Artifact, Blob, Damage, Digest, Key, LookupDamage, Recipe};
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng as StdRng;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};
use thiserror::Error;

/// How many graphs are tried; more by hand with `CORESIFT_GRAPHS`, which only this test reads.
const GRAPHS: u64 = 3_000;

/// A stage that fails as it is told.
#[derive(Debug, Error)]
#[error("{0}")]
struct Told(&'static str);

impl MethodFailure for Told {}

/// The state of the world around a run. Nodes of one class with equal inputs have equal keys.
struct World {
    rng: StdRng,
    inputs: Vec<Vec<NodeId>>,
    class: Vec<u32>,
    /// The version of the file each node reads; it may change at any time.
    file: Vec<u32>,
    /// The outputs in the store.
    store: BTreeMap<Key, Artifact>,
    /// The keys another process computes, and how often it is asked before it is done.
    others: BTreeMap<Key, u32>,
    /// How likely each kind of trouble is, in percent.
    trouble: Trouble,
    cancel: Arc<AtomicBool>,
}

#[derive(Clone, Copy, Debug)]
struct Trouble {
    fail: u32,
    change: u32,
    vanish: u32,
    damage: u32,
    busy: u32,
    twice: u32,
    cancel: u32,
    full: u32,
    lookup: u32,
}

/// An executor without threads: what is submitted ends in any order.
struct Mock<'w> {
    world: &'w mut World,
    open: Vec<ExecutorTask>,
    repeated: Vec<ExecutorMessage>,
    /// Each computation that was made here, by key, and how often.
    made: BTreeMap<Key, u32>,
    running: BTreeSet<NodeId>,
    most_running: usize,
    steps: u64,
    clock: Instant,
}

fn artifact(text: &str) -> Artifact {
    let blob = Blob { digest: Digest::of(text.as_bytes()), size: text.len() as u64 };
    Artifact { kind: "text".into(), parts: BTreeMap::from([("text".to_owned(), blob)]) }
}

impl World {
    fn chance(&mut self, percent: u32) -> bool {
        percent > 0 && self.rng.random_range(0..100) < percent
    }

    fn recipe(&self, node: NodeId, outputs: &[NodeOutput]) -> Recipe {
        let inputs = outputs.iter().enumerate().map(|(at, one)| (at.to_string(), one.digest));
        Recipe {
            method: format!("class {}", self.class[node.index()]),
            revision: self.file[node.index()],
            settings: Arc::new(serde_json::Value::Null),
            inputs: inputs.collect(),
            seed: None,
        }
    }
}

impl Mock<'_> {
    fn look_up(&mut self, node: NodeId, outputs: &[NodeOutput]) -> super::executor::LookUpResult {
        for (source, output) in self.world.inputs[node.index()].iter().zip(outputs) {
            let known = self.world.store.values().any(|one| *one == *output.artifact);
            assert!(known || self.world.trouble.damage > 0, "{source:?} gave what nobody made");
        }
        assert_eq!(outputs.len(), self.world.inputs[node.index()].len(), "no input is left out");
        if self.world.chance(self.world.trouble.lookup) {
            return Err(Told("its file is gone").into());
        }
        let recipe = self.world.recipe(node, outputs);
        let key = recipe.key();
        let odd = self.world.chance(self.world.trouble.damage);
        let computation = Arc::new(NodeComputation {
            recipe,
            key,
            inputs: vec![],
            files: vec![],
            folders: vec![],
            checkpoints: None,
            forced: false,
        });
        let found = match self.world.store.get(&key) {
            Some(output) => FoundInStore::Hit(output.clone().into()),
            None if odd => {
                FoundInStore::Damaged(computation, LookupDamage::Record { key, what: Damage::Torn })
            }
            None => FoundInStore::Absent(computation),
        };
        Ok(NodeLookup { key, trajectory: None, found })
    }

    fn compute(&mut self, node: NodeId, computation: &NodeComputation) -> StageEnd {
        let trouble = self.world.trouble;
        let key = computation.key;
        if let Some(output) = self.world.store.get(&key) {
            return StageEnd::FoundMade(output.clone().into());
        }
        if self.world.others.contains_key(&key) || self.world.chance(trouble.busy) {
            let times = self.world.rng.random_range(0..4);
            self.world.others.entry(key).or_insert(times);
            return StageEnd::Busy;
        }
        if computation.recipe.revision != self.world.file[node.index()] {
            return StageEnd::Changed("a-file".into());
        }
        if self.world.chance(trouble.change) {
            self.world.file[node.index()] += 1;
        }
        if self.world.chance(trouble.vanish) {
            return StageEnd::Vanished;
        }
        if self.world.cancel.load(Ordering::Relaxed) && self.world.chance(50) {
            return StageEnd::Failed(ComputeFailure::Cancelled);
        }
        if self.world.chance(trouble.fail) {
            return StageEnd::Failed(ComputeFailure::Other(Told("told to").into()));
        }
        if self.world.chance(trouble.full) {
            let error = Told("no space").into();
            return StageEnd::Failed(ComputeFailure::Halted(Halt::StorageFull, error));
        }
        if self.world.chance(trouble.damage) && !computation.recipe.inputs.is_empty() {
            // An object of an input is gone; so is the result it belonged to.
            let digest = computation.recipe.inputs["0"];
            let gone = self.world.store.iter().find(|(_, one)| one.digest() == digest);
            if let Some((key, output)) = gone.map(|(key, output)| (*key, output.clone())) {
                self.world.store.remove(&key);
                let digest = output.parts["text"].digest;
                return StageEnd::Failed(ComputeFailure::Damaged { digest, what: Damage::Missing });
            }
        }
        // The bytes say which recipe made them.
        let output = artifact(&format!("{key}"));
        *self.made.entry(key).or_default() += 1;
        let before = self.world.store.insert(key, output.clone());
        assert!(before.is_none(), "{node:?} was computed while its result was there");
        StageEnd::Made(Box::new(ComputedNode {
            output: output.into(),
            seconds: 0.0,
            began: 0.0,
            differs: None,
        }))
    }
}

impl Executor for Mock<'_> {
    fn submit(&mut self, task: ExecutorTask) {
        if let ExecutorTask::Compute(StartTicket { node, .. }, _) = &task {
            assert!(self.running.insert(*node), "{node:?} is started while it runs");
            self.most_running = self.most_running.max(self.running.len());
        }
        self.open.push(task);
    }

    fn now(&self) -> Instant {
        self.clock
    }

    fn receive(&mut self, until: Option<Instant>) -> Option<ExecutorMessage> {
        self.steps += 1;
        if self.world.chance(self.world.trouble.cancel) {
            self.world.cancel.store(true, Ordering::Relaxed);
        }
        if let Some(message) = self.repeated.pop() {
            return Some(message);
        }
        // A deadline may pass before the next message.
        if self.open.is_empty() || (until.is_some() && self.world.chance(20)) {
            self.clock = until.unwrap_or(self.clock);
            return None;
        }
        let at = self.world.rng.random_range(0..self.open.len());
        match self.open.swap_remove(at) {
            ExecutorTask::LookUp(nodes) => {
                let look = nodes.into_iter().map(|(node, outputs)| {
                    let outcome = self.look_up(node, &outputs);
                    (node, outcome)
                });
                Some(ExecutorMessage::LookedUp(look.collect()))
            }
            ExecutorTask::Poll(node, computation) => {
                let key = computation.key;
                let poll = match self.world.others.get_mut(&key) {
                    None | Some(0) => {
                        let died = self.world.chance(50);
                        if self.world.others.remove(&key).is_some() && !died {
                            self.world
                                .store
                                .entry(key)
                                .or_insert_with(|| artifact(&key.to_string()));
                        }
                        match self.world.store.get(&key) {
                            Some(output) => PollOutcome::Hit(output.clone().into()),
                            None => PollOutcome::Free,
                        }
                    }
                    Some(times) => {
                        *times -= 1;
                        PollOutcome::Busy("another".into())
                    }
                };
                Some(ExecutorMessage::Polled(node, Ok(poll)))
            }
            ExecutorTask::Compute(ticket, computation) => {
                self.running.remove(&ticket.node);
                let end = self.compute(ticket.node, &computation);
                if self.world.chance(self.world.trouble.twice) {
                    // A second final message, which must be ignored.
                    self.repeated.push(ExecutorMessage::Ended(ticket, StageEnd::Vanished));
                }
                Some(ExecutorMessage::Ended(ticket, end))
            }
        }
    }
}

/// A listener that notes how each node ended.
#[derive(Default)]
struct Endings {
    ends: BTreeMap<NodeId, &'static str>,
    keys: BTreeMap<NodeId, Key>,
    halted: bool,
}

impl Listener for Endings {
    type Error = std::convert::Infallible;

    fn begin(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn news(&mut self, news: News) {
        let (node, end) = match news {
            News::Known(node, key, _) => {
                self.keys.insert(node, key);
                return;
            }
            News::Hit(node, key) | News::Finished(node, key, _) => {
                assert_eq!(self.keys.get(&node), Some(&key), "the key is that of the look-up");
                (node, "done")
            }
            News::Failed { node, .. } => (node, "failed"),
            News::Skipped(node, because) => {
                let lost = self.ends.get(&because);
                assert!(matches!(lost, Some(&("failed" | "skipped"))), "{because:?} is {lost:?}");
                (node, "skipped")
            }
            News::Stopped(node) => (node, "stopped"),
            News::TakenBack { node, .. } => {
                assert_eq!(self.ends.remove(&node), Some("done"));
                return;
            }
            News::Halted(_) => {
                self.halted = true;
                return;
            }
            _ => return,
        };
        assert_eq!(self.ends.insert(node, end), None, "{node:?} ends once");
    }

    fn started(&mut self, _: NodeId, _: Key, _: Option<Key>) {}
    fn progressed(&mut self, _: NodeId, _: StageProgress) {}
    fn said(&mut self, _: NodeId, _: String) {}
    fn pause(&mut self) {}
}

/// Drives one random graph, and returns how many steps that took.
fn drive_one(seed: u64) -> u64 {
    let mut rng = StdRng::seed_from_u64(seed);
    let count = rng.random_range(1..40_usize);
    let inputs: Vec<Vec<NodeId>> = (0..count)
        .map(|at| {
            let most = rng.random_range(0..4_usize).min(at);
            (0..most).map(|_| NodeId(rng.random_range(0..at as u32))).collect()
        })
        .collect();
    let classes = rng.random_range(1..=count as u32);
    let mut class: Vec<u32> = (0..count).map(|_| rng.random_range(0..classes)).collect();
    let mut often = |most: u32| if rng.random_bool(0.5) { rng.random_range(0..=most) } else { 0 };
    let trouble = Trouble {
        fail: often(20),
        change: often(20),
        vanish: often(15),
        damage: often(15),
        busy: often(30),
        twice: often(50),
        cancel: if often(3) == 3 { 2 } else { 0 },
        full: if often(3) == 3 { 3 } else { 0 },
        lookup: often(5),
    };
    let limits = Limits {
        jobs: rng.random_range(1..5),
        device_jobs: rng.random_range(1..3),
        fail_fast: rng.random_bool(0.1),
    };
    let on_device = (0..count).map(|_| rng.random_bool(0.3)).collect();
    // Some nodes take turns, as trainings of one trajectory do.
    let line: Vec<NodeId> =
        (0..count as u32).filter(|_| rng.random_bool(0.2)).map(NodeId).collect();
    // No two of them are equal: equally long trainings of one trajectory are one node.
    line.iter().for_each(|node| class[node.index()] = 1_000 + node.0);
    let graph = NodeGraph::new(inputs.clone(), on_device, Turns::in_line(&line));
    let cancel = Arc::new(AtomicBool::new(false));
    let mut world = World {
        rng: StdRng::seed_from_u64(rng.next_u64()),
        file: vec![1; count],
        inputs,
        class,
        store: BTreeMap::new(),
        others: BTreeMap::new(),
        trouble,
        cancel: Arc::clone(&cancel),
    };
    let mut mock = Mock {
        world: &mut world,
        open: vec![],
        repeated: vec![],
        made: BTreeMap::new(),
        running: BTreeSet::new(),
        most_running: 0,
        steps: 0,
        clock: Instant::now(),
    };
    let mut scheduler = Scheduler::new(graph, limits);
    let mut endings = Endings::default();
    let Ok(()) = drive(&mut scheduler, &mut mock, &cancel, &mut endings);
    let what = format!("graph {seed}: {trouble:?} {limits:?}");
    assert!(mock.most_running <= limits.jobs, "{what}");
    assert!(mock.open.is_empty(), "{what}: something is still under way");
    let open = scheduler.open_nodes();
    let ended: BTreeSet<NodeId> = endings.ends.keys().copied().collect();
    assert!(open.iter().all(|node| !ended.contains(node)), "{what}");
    assert_eq!(open.len() + ended.len(), count, "{what}: each has its end, or is open");
    if !cancel.load(Ordering::Relaxed) && !endings.halted {
        assert_eq!(open, [], "{what}: all that can be done is done");
    }
    for (node, end) in &endings.ends {
        let done = |one: &NodeId| endings.ends.get(one) == Some(&"done");
        if *end == "done" {
            let output = scheduler.output(*node).expect("it is done");
            let of = artifact(&endings.keys[node].to_string());
            assert_eq!(*output.artifact, of, "{what}: {node:?} has the result of its recipe");
        }
        if *end == "skipped" {
            let inputs = &mock.world.inputs[node.index()];
            assert!(!inputs.iter().all(done), "{what}: {node:?} was skipped without need");
        }
    }
    if trouble.damage == 0 {
        assert!(mock.made.values().all(|times| *times == 1), "{what}: each key is computed once");
    }
    mock.steps
}

#[test]
fn every_graph_is_done_as_far_as_it_can_be() {
    #[expect(clippy::disallowed_methods, reason = "a longer campaign is asked for by hand")]
    let graphs = std::env::var("CORESIFT_GRAPHS").ok().and_then(|text| text.parse().ok());
    let graphs = graphs.unwrap_or(GRAPHS);
    let steps: u64 = (0..graphs).map(drive_one).sum();
    assert!(steps > graphs, "{graphs} graphs took {steps} steps");
    eprintln_steps(graphs, steps);
}

#[expect(clippy::print_stderr, reason = "the figures of the campaign")]
fn eprintln_steps(graphs: u64, steps: u64) {
    eprintln!("{graphs} graphs, {steps} steps");
}
