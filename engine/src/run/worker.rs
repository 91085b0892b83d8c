//! One stage at work: its lease, its run, its record.

use super::resolve;
use crate::{NodeId, Plan, Problem, Progress, StageCtx, StageError, Streams};
use cache::{Artifact, Commit, Digest, Key, Lease, Lookup, Provenance, Recipe, Record, Store};
use std::{
    any::Any,
    collections::BTreeMap,
    panic::{self, AssertUnwindSafe},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    thread,
    time::{Duration, Instant},
};

/// A computation to be done, with what its inputs delivered.
pub(super) struct Task {
    pub(super) node: NodeId,
    pub(super) key: Key,
    pub(super) recipe: Recipe,
    pub(super) inputs: BTreeMap<String, Vec<Artifact>>,
}

/// What a worker has to tell.
pub(super) enum Message {
    Started(NodeId, Key),
    Waiting(NodeId, String),
    Progressed(NodeId, Progress),
    Said(NodeId, String),
    Ended(NodeId, Key, Result<Done, StageError>),
}

/// A finished computation.
pub(super) struct Done {
    pub(super) output: Artifact,
    pub(super) seconds: f64,
    /// How long after the run it began.
    pub(super) began: f64,
    /// Another process made it while this one waited.
    pub(super) by_another: bool,
    /// What was made here, if another result is recorded under the same key.
    pub(super) differs: Option<Digest>,
}

/// What every task of a run shares.
pub(super) struct Shared<'a> {
    pub(super) plan: &'a Plan,
    pub(super) store: &'a Store,
    pub(super) device: &'a str,
    pub(super) build: &'a str,
    pub(super) cancel: &'a AtomicBool,
    /// The time of day when the run began, and the moment that was.
    pub(super) began: (u64, Instant),
}

impl Shared<'_> {
    pub(super) fn work(&self, task: Task, tx: &Sender<Message>) {
        let (node, key) = (task.node, task.key);
        let result = self.try_work(task, tx);
        // The receiver lives as long as the run.
        tx.send(Message::Ended(node, key, result)).ok();
    }

    fn try_work(&self, task: Task, tx: &Sender<Message>) -> Result<Done, StageError> {
        let _lease = self.lease(&task, tx)?;
        if let Lookup::Hit(record) = self.store.lookup(task.key)? {
            let (output, by_another) = (record.output, true);
            return Ok(Done { output, seconds: 0.0, began: 0.0, by_another, differs: None });
        }
        tx.send(Message::Started(task.node, task.key)).ok();
        let clock = Instant::now();
        let began = (clock - self.began.1).as_secs_f64();
        let log = Mutex::new(vec![]);
        let parts = self.run_stage(&task, tx, &log)?;
        let seconds = clock.elapsed().as_secs_f64();
        let kind = self.plan.node(task.node).stage.output().0.to_owned();
        let output = Artifact { kind, parts };
        let provenance = Provenance {
            seconds,
            device: self.device.to_owned(),
            finished: self.began.0 + self.began.1.elapsed().as_secs(),
            build: self.build.to_owned(),
            log: log.into_inner().unwrap_or_default(),
        };
        let record = Record { recipe: task.recipe, output, provenance };
        let made = record.output.digest();
        let (output, differs) = match self.store.commit(&record)? {
            Commit::Stored => (record.output, None),
            Commit::Differs { .. } => match self.store.lookup(task.key)? {
                Lookup::Hit(first) => (first.output, Some(made)),
                _ => (record.output, None),
            },
        };
        Ok(Done { output, seconds, began, by_another: false, differs })
    }

    fn lease(&self, task: &Task, tx: &Sender<Message>) -> Result<Lease, StageError> {
        let mut pause = Duration::from_millis(5);
        let mut said = false;
        loop {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(StageError::Cancelled);
            }
            if let Some(lease) = self.store.lease(task.key)? {
                return Ok(lease);
            }
            if !said && pause > Duration::from_millis(100) {
                said = true;
                let holder = self.store.lease_holder(task.key).unwrap_or_default();
                tx.send(Message::Waiting(task.node, holder)).ok();
            }
            thread::sleep(pause);
            pause = (pause * 3 / 2).min(Duration::from_millis(250));
        }
    }

    fn run_stage(
        &self,
        task: &Task,
        tx: &Sender<Message>,
        log: &Mutex<Vec<String>>,
    ) -> Result<BTreeMap<String, cache::Blob>, StageError> {
        let stage = &self.plan.node(task.node).stage;
        let gone =
            |problem: Problem| StageError::Method { message: problem.message, hint: problem.hint };
        let (files, folders) = (stage.files().map_err(gone)?, stage.folders().map_err(gone)?);
        let trajectory = resolve::trajectory(self.plan, task.node, &task.recipe);
        let progress = |progress: Progress| {
            tx.send(Message::Progressed(task.node, progress)).ok();
        };
        let say = |line: &str| {
            tx.send(Message::Said(task.node, line.to_owned())).ok();
        };
        let ctx = StageCtx {
            store: self.store,
            inputs: task.inputs.clone(),
            files: &files,
            folders: &folders,
            streams: Streams::new(task.recipe.seed.unwrap_or(0), stage.streams()),
            trajectory: trajectory.map(|(recipe, last)| (recipe.key(), last)),
            cancel: self.cancel,
            progress: &progress,
            say: &say,
            log,
            device: self.device,
        };
        panic::catch_unwind(AssertUnwindSafe(|| stage.run(&ctx)))
            .unwrap_or_else(|payload| Err(StageError::method(panicked(&*payload))))
    }
}

fn panicked(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    format!("the method broke off: {}", text.lines().next().unwrap_or("no reason given"))
}
