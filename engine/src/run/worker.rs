//! The work of a thread: makes recipes and looks them up, takes leases, runs stages, commits
//! records.

use super::{
    executor::{
        ComputeFailure, ComputedNode, ExecutorMessage, FoundInStore, LookUpResult, NodeComputation,
        NodeLookup, NodeOutput, PollOutcome, StageEnd,
    },
    guard,
    resolve::{self, CheckpointKey, Resolved},
    scheduler::Halt,
};
use crate::{NodeId, Plan, StageCtx, StageError, StageProgress, Streams};
use cache::{Artifact, Commit, Digest, Fingerprint, Lookup, Provenance, Record, Store, StoreError};
use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool, mpsc::Sender},
    time::Instant,
};

/// The context shared by the workers of a run.
pub(super) struct RunContext<'a> {
    pub(super) plan: &'a Plan,
    pub(super) store: &'a Store,
    pub(super) device: &'a str,
    pub(super) resources: Option<&'a (dyn Any + Send + Sync)>,
    pub(super) build: &'a str,
    pub(super) cancel: &'a AtomicBool,
    /// When the run began, in seconds since 1970 (UTC).
    pub(super) began: u64,
    /// The same on the monotonic clock.
    pub(super) clock: Instant,
    /// The nodes to compute even if their results are in the store.
    pub(super) force: &'a BTreeSet<NodeId>,
    /// The nodes that were asked for; the others are run for their sake.
    pub(super) targets: BTreeSet<NodeId>,
}

impl RunContext<'_> {
    /// Asks the remote tier of the store, if it has one, for the records of `nodes`, all at once, and
    /// fetches the outputs of those that were asked for by the run.
    pub(super) fn prefetch(&self, nodes: &[(NodeId, Vec<NodeOutput>)]) {
        if self.store.remote().is_none() {
            return;
        }
        // An error is told when the node is looked up.
        let keys = guard::guarded(|| {
            let key = |(node, outputs): &(NodeId, Vec<NodeOutput>)| {
                let digests: Vec<Digest> = outputs.iter().map(|output| output.digest).collect();
                let made = resolve::recipe(self.plan, self.store, *node, &digests).ok()?;
                Some((*node, made.recipe.key()))
            };
            nodes.iter().filter_map(key).collect::<Vec<_>>()
        });
        let keys = keys.unwrap_or_default();
        self.store.prefetch_records(&keys.iter().map(|(_, key)| *key).collect::<Vec<_>>());
        let asked_for = keys.iter().filter(|(node, _)| self.targets.contains(node));
        // Nothing else in the run would notice that they are gone.
        self.store.prefetch_objects(&asked_for.map(|(_, key)| *key).collect::<Vec<_>>()).ok();
    }

    /// Makes the recipe of `node` and looks it up.
    pub(super) fn look_up(&self, node: NodeId, outputs: &[NodeOutput]) -> LookUpResult {
        guard::guarded(|| {
            let forced = self.force.contains(&node);
            let digests: Vec<Digest> = outputs.iter().map(|output| output.digest).collect();
            let made = resolve::recipe(self.plan, self.store, node, &digests)?;
            let key = made.recipe.key();
            let checkpoints = CheckpointKey::new(self.plan, node, &made.recipe);
            let trajectory = checkpoints.map(|checkpoints| checkpoints.key);
            let damage = match self.store.lookup_output(key, &made.recipe)? {
                Lookup::Hit(output) if !forced => {
                    let found = FoundInStore::Hit(output.into());
                    return Ok(NodeLookup { key, trajectory, found });
                }
                Lookup::Damaged(what) if !forced => Some(what),
                _ => None,
            };
            let Resolved { recipe, files, folders } = made;
            let inputs = outputs.to_vec();
            let computation =
                NodeComputation { recipe, key, inputs, files, folders, checkpoints, forced };
            let computation = Arc::new(computation);
            let found = match damage {
                Some(what) => FoundInStore::Damaged(computation, what),
                None => FoundInStore::Absent(computation),
            };
            Ok(NodeLookup { key, trajectory, found })
        })
        .unwrap_or_else(|panicked| Err(panicked.into()))
    }

    /// Polls a key that another process computes: looks for its result and its lease.
    pub(super) fn poll(&self, computation: &NodeComputation) -> Result<PollOutcome, StageError> {
        guard::guarded(|| {
            // Before the look-up: a process commits its result before it releases its lease.
            let leased = self.store.is_leased(computation.key);
            let found = self.store.lookup_output(computation.key, &computation.recipe)?;
            if let Lookup::Hit(output) = found {
                return Ok(PollOutcome::Hit(output.into()));
            }
            if !leased {
                return Ok(PollOutcome::Free);
            }
            let holder = self.store.lease_holder(computation.key);
            Ok(PollOutcome::Busy(holder.unwrap_or_else(|| "another process".to_owned())))
        })
        .unwrap_or_else(|panicked| Err(panicked.into()))
    }

    /// Computes `computation`, unless its result is in the store by now or another process holds
    /// its lease.
    pub(super) fn compute(
        &self,
        node: NodeId,
        computation: &NodeComputation,
        tx: &Sender<ExecutorMessage>,
    ) -> StageEnd {
        let end = guard::guarded(|| self.try_compute(node, computation, tx));
        match end.unwrap_or_else(|panicked| Err(panicked.into())) {
            Ok(end) => end,
            Err(StageError::Cancelled) => StageEnd::Failed(ComputeFailure::Cancelled),
            Err(StageError::Changed { path }) => StageEnd::Changed(path),
            Err(StageError::Store(StoreError::Damaged { digest, what })) => {
                StageEnd::Failed(ComputeFailure::Damaged { digest, what })
            }
            Err(error) => {
                // If the store is gone, that is the cause of the stage's error.
                let error = match self.store.is_gone() {
                    true => StoreError::Gone { root: self.store.root().to_owned() }.into(),
                    false => error,
                };
                StageEnd::Failed(match Halt::of(&error) {
                    Some(halt) => ComputeFailure::Halted(halt, error),
                    None => ComputeFailure::Other(error),
                })
            }
        }
    }

    fn try_compute(
        &self,
        node: NodeId,
        computation: &NodeComputation,
        tx: &Sender<ExecutorMessage>,
    ) -> Result<StageEnd, StageError> {
        let Some(_lease) = self.store.lease(computation.key)? else { return Ok(StageEnd::Busy) };
        if !computation.forced
            && let Lookup::Hit(output) =
                self.store.lookup_output(computation.key, &computation.recipe)?
        {
            return Ok(StageEnd::FoundMade(output.into()));
        }
        let before = self.check_named(computation)?;
        let trajectory = computation.checkpoints.map(|checkpoints| checkpoints.key);
        // The receiver lives as long as the run.
        tx.send(ExecutorMessage::Started(node, computation.key, trajectory)).ok();
        let clock = Instant::now();
        let began = (clock - self.clock).as_secs_f64();
        let log = Mutex::new(vec![]);
        let captured = Mutex::new(BTreeSet::new());
        let parts = self.run_stage(node, computation, tx, &log, &captured)?;
        let captured = captured.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.check_unchanged(computation, &before, &captured)?;
        let seconds = clock.elapsed().as_secs_f64();
        let kind = self.plan.node(node).stage.output().0.to_owned();
        let output = Artifact { kind, parts };
        let provenance = Provenance {
            seconds,
            device: self.device.to_owned(),
            finished: self.began + self.clock.elapsed().as_secs(),
            build: self.build.to_owned(),
            log: log.into_inner().unwrap_or_else(PoisonError::into_inner),
        };
        let record = Record { recipe: computation.recipe.clone(), output, provenance };
        let made = record.output.digest();
        if computation.forced {
            self.store.replace(&record)?;
        }
        let (output, differs) = match self.store.commit(&record)? {
            Commit::Stored => (record.output, None),
            Commit::Differs { .. } => {
                match self.store.lookup_output(computation.key, &computation.recipe)? {
                    Lookup::Hit(first) => (first, Some(made)),
                    _ => (record.output, None),
                }
            }
        };
        Ok(StageEnd::Made(Box::new(ComputedNode {
            output: output.into(),
            seconds,
            began,
            differs,
        })))
    }

    /// Checks that every file and folder still has the digest in the recipe, and returns their
    /// fingerprints from before the check, so that a later change is noticed at the end.
    fn check_named(&self, computation: &NodeComputation) -> Result<InputFingerprints, StageError> {
        let fingerprints = self.fingerprints(computation)?;
        for file in &computation.files {
            let (digest, _) = self.store.file_digest(&file.path)?;
            if computation.recipe.inputs.get(&resolve::file_input(&file.role)) != Some(&digest) {
                return Err(StageError::changed(&file.path));
            }
        }
        let now = resolve::folder_inputs(self.store, &computation.folders)?;
        for folder in &computation.folders {
            let name = resolve::folder_input(&folder.role);
            if computation.recipe.inputs.get(&name) != now.get(&name) {
                return Err(StageError::changed(&folder.path));
            }
        }
        Ok(fingerprints)
    }

    fn fingerprints(&self, computation: &NodeComputation) -> Result<InputFingerprints, StoreError> {
        let files = computation.files.iter().map(|file| self.store.file_fingerprint(&file.path));
        let folders = computation.folders.iter();
        let folders = folders.map(|one| self.store.folder_fingerprint(&one.path, &one.files));
        Ok(InputFingerprints {
            files: files.collect::<Result<_, _>>()?,
            folders: folders.collect::<Result<_, _>>()?,
        })
    }

    /// Checks that no file has another fingerprint than `before`. Those `captured` were copied
    /// first, and the copies checked against the recipe.
    fn check_unchanged(
        &self,
        computation: &NodeComputation,
        before: &InputFingerprints,
        captured: &BTreeSet<String>,
    ) -> Result<(), StageError> {
        for (file, before) in computation.files.iter().zip(&before.files) {
            let free = captured.contains(&resolve::file_input(&file.role));
            if !free && self.store.file_fingerprint(&file.path).ok().as_ref() != Some(before) {
                return Err(StageError::changed(&file.path));
            }
        }
        for (folder, before) in computation.folders.iter().zip(&before.folders) {
            let free = captured.contains(&resolve::folder_input(&folder.role));
            let now = || self.store.folder_fingerprint(&folder.path, &folder.files).ok();
            if !free && now().as_ref() != Some(before) {
                return Err(StageError::changed(&folder.path));
            }
        }
        Ok(())
    }

    fn run_stage(
        &self,
        node: NodeId,
        computation: &NodeComputation,
        tx: &Sender<ExecutorMessage>,
        log: &Mutex<Vec<String>>,
        captured: &Mutex<BTreeSet<String>>,
    ) -> Result<BTreeMap<String, cache::Blob>, StageError> {
        let stage = &self.plan.node(node).stage;
        let progress = |progress: StageProgress| {
            tx.send(ExecutorMessage::Progressed(node, progress)).ok();
        };
        let say = |line: &str| {
            tx.send(ExecutorMessage::Said(node, line.to_owned())).ok();
        };
        let mut inputs: BTreeMap<String, Vec<Artifact>> = BTreeMap::new();
        for ((port, _), output) in self.plan.node(node).inputs.iter().zip(&computation.inputs) {
            inputs.entry((*port).to_owned()).or_default().push((*output.artifact).clone());
        }
        let ctx = StageCtx {
            store: self.store,
            inputs,
            files: &computation.files,
            folders: &computation.folders,
            recipe_inputs: &computation.recipe.inputs,
            captured,
            streams: Streams::new(computation.recipe.seed.unwrap_or(0), stage.streams()),
            checkpoints: computation.checkpoints,
            anew: computation.forced,
            cancel: self.cancel,
            progress: &progress,
            say: &say,
            log,
            device: self.device,
            resources: self.resources,
        };
        stage.run(&ctx)
    }
}

/// The fingerprints of a computation's files and folders, in their order.
struct InputFingerprints {
    files: Vec<Fingerprint>,
    folders: Vec<Fingerprint>,
}
