//! Run records: the plan of each run, its computations with their keys, and how it ended.

use super::{
    exec::RunOptions,
    history::{PipelineFile, full_path},
    journal::LogTail,
    run_id,
    submitted::SubmittedRun,
};
use crate::{Event, NodeId, Plan, RunSummary, spec::SpecSource};
use cache::{Key, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The folder of the store that holds run records, logs and uses.
pub(super) const FOLDER: &str = "runs";

/// The record of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// Its unique id: see [`RunRecord::new_id`].
    pub id: String,
    /// The name its user gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A note of its user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The process that runs it and the host, such as `4711@node3`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub process: String,
    /// The pipeline file.
    pub pipeline: String,
    /// The pipeline's title.
    pub title: Option<String>,
    /// When it began, in seconds since 1970 (UTC).
    pub started: u64,
    /// How many seconds it took.
    pub seconds: f64,
    /// The device it ran on.
    pub device: String,
    /// The build of the program.
    pub build: String,
    /// The counts of computations by outcome; `None` while it runs or if it was killed.
    pub summary: Option<RunSummary>,
    /// Whether it was cancelled.
    #[serde(default, skip_serializing_if = "is_false")]
    pub interrupted: bool,
    /// The texts of the pipeline file, its bases and overrides.
    pub sources: Vec<RunSource>,
    /// The axes of the matrix and their values.
    pub axes: Vec<(String, Vec<String>)>,
    /// The cells of the matrix, as value numbers, unless they are all combinations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cells: Option<Vec<Vec<u32>>>,
    /// The computations.
    pub nodes: Vec<RunNode>,
}

/// A text the pipeline was read from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSource {
    /// Its path or flag.
    pub name: String,
    /// The text, without the values of secret settings.
    pub text: String,
}

/// A computation in a run record. The keys in JSON are single letters: a run may have a hundred
/// thousand.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunNode {
    /// The stage's name.
    #[serde(rename = "n")]
    pub label: String,
    /// The coordinates of the first cell that has it, as value numbers.
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    pub cell: Vec<u32>,
    /// The axes it depends on, itself or through its inputs; its result holds in every cell with
    /// the same values on these. Not in records of earlier builds.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub axes: Option<Vec<u32>>,
    /// The indices of its input computations in the run. Not in records of earlier builds.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Vec<u32>>,
    /// The key of its checkpoints, if it keeps any.
    #[serde(rename = "j", default, skip_serializing_if = "Option::is_none")]
    pub trajectory: Option<Key>,
    /// Its key, once known.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// How far it came.
    #[serde(rename = "s")]
    pub state: RunState,
    /// Seconds it ran in this run.
    #[serde(rename = "t", default, skip_serializing_if = "is_zero")]
    pub seconds: f64,
    /// Seconds from the beginning of the run to its own, if it ran.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub began: Option<f64>,
}

/// The state of a computation in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Not begun.
    Open,
    /// Running. Never in a stored record, which is written before and after; read from the log.
    Running,
    /// Found in the store.
    Hit,
    /// Computed.
    Computed,
    /// Failed.
    Failed,
    /// Not run because one it needs failed.
    Skipped,
    /// Cancelled while it ran.
    Stopped,
}

/// Why a computation failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunFailure {
    /// The error and its causes.
    pub causes: Vec<String>,
    /// What can be done, if that is known.
    pub hint: Option<String>,
}

impl RunFailure {
    /// Returns the error and its causes as one text. It has several lines if an external program's
    /// output is part of it.
    #[must_use]
    pub fn message(&self) -> String {
        self.causes.join(": ")
    }
}

/// The status of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunStatus {
    /// It was submitted to a batch system, and none of its jobs is running.
    Queued,
    /// Its process is running, or a job of it.
    GoingOn,
    /// All targets are in the store.
    Done,
    /// A stage failed, or could not be begun.
    Failed,
    /// It was cancelled.
    Interrupted,
    /// Its process died before it wrote a summary.
    Killed,
}

impl RunStatus {
    /// Returns the status in words, such as `going on`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::GoingOn => "going on",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Killed => "killed",
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it by reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it by reference")]
fn is_zero(seconds: &f64) -> bool {
    *seconds == 0.0
}

impl RunRecord {
    pub(crate) fn new(plan: &Plan, options: &RunOptions) -> Self {
        let source = |source: &SpecSource| RunSource {
            name: source.name.clone(),
            text: source.text.clone(),
        };
        // The product of the axes may overflow, if many change together.
        let sizes = plan.axes.iter().map(|axis| axis.values.len());
        let all = sizes.fold(1, usize::saturating_mul);
        let nodes = plan.nodes().map(|(_, node)| RunNode {
            label: node.label.to_string(),
            cell: plan.cells[node.cell as usize].coords.clone(),
            axes: Some(node.axes.clone()),
            inputs: Some(node.inputs.iter().map(|(_, input)| input.0).collect()),
            trajectory: None,
            key: None,
            state: RunState::Open,
            seconds: 0.0,
            began: None,
        });
        Self {
            id: options.id.clone(),
            name: options.name.clone(),
            note: options.note.clone(),
            process: format!("{}@{}", std::process::id(), cache::host()),
            pipeline: full_path(&plan.path),
            title: plan.title.clone(),
            started: options.now,
            seconds: 0.0,
            device: options.device.clone(),
            build: options.build.clone(),
            summary: None,
            interrupted: false,
            sources: plan.sources.iter().map(source).collect(),
            axes: plan.axes.iter().map(|axis| (axis.name.clone(), axis.values.clone())).collect(),
            cells: (plan.cells.len() != all)
                .then(|| plan.cells.iter().map(|cell| cell.coords.clone()).collect()),
            nodes: nodes.collect(),
        }
    }

    /// Returns an id for a run that begins at `millis` since 1970: the UTC time to the millisecond,
    /// and letters from `random`, such as `20260131-235959-120-k3f9qa`. Ids sort in the order in
    /// which runs began in `store`, even if the clock was set back: the time in a new id is later
    /// than in all others.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub fn new_id(store: &Store, millis: u64, random: u64) -> Result<String, StoreError> {
        let newest = Self::list(store)?.iter().rev().find_map(|id| run_id::millis(id));
        let millis = newest.map_or(millis, |newest| millis.max(newest + 1));
        Ok(run_id::format(millis, random))
    }

    /// Returns the status of the run. A record without a summary is that of a run that goes on or
    /// was killed, which the lock on its log tells.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub fn status(&self, store: &Store) -> Result<RunStatus, StoreError> {
        Ok(match self.summary {
            None => match LogTail::open(store, &self.id)? {
                Some(tail) if tail.has_writer() => RunStatus::GoingOn,
                Some(tail) if tail.is_growing() => RunStatus::Queued,
                _ => RunStatus::Killed,
            },
            Some(summary) => {
                // Records of earlier builds do not say whether they were interrupted.
                let old = self.process.is_empty() && summary.stopped > 0 && summary.failed == 0;
                match summary.failed + summary.skipped + summary.stopped {
                    _ if self.interrupted || old => RunStatus::Interrupted,
                    0 => RunStatus::Done,
                    _ => RunStatus::Failed,
                }
            }
        })
    }

    /// Tells whether the run computed anything, as far as its record says.
    #[must_use]
    pub fn made_something(&self) -> bool {
        self.nodes.iter().any(|node| node.state == RunState::Computed)
    }

    /// Replays the log of a run without a summary into the states of its computations.
    fn catch_up(&mut self, store: &Store) -> Result<(), StoreError> {
        let Some(mut tail) = LogTail::open(store, &self.id)? else { return Ok(()) };
        for entry in tail.read_new() {
            let Some(at) = entry.event.node().map(NodeId::index) else { continue };
            let Some(node) = self.nodes.get_mut(at) else { continue };
            match entry.event {
                // Another job of a submitted run finds what one of them computed.
                Event::Hit { key, .. } if node.state == RunState::Computed => node.key = Some(key),
                Event::Hit { key, .. } => {
                    node.state = RunState::Hit;
                    node.key = Some(key);
                }
                Event::Started { key, trajectory, .. } => {
                    node.state = RunState::Running;
                    node.key = Some(key);
                    node.trajectory = trajectory;
                    node.began = Some(entry.t);
                }
                Event::Finished { key, seconds, .. } => {
                    node.state = RunState::Computed;
                    node.key = Some(key);
                    node.seconds = seconds;
                }
                Event::Failed { .. } => node.state = RunState::Failed,
                Event::Stopped { .. } => node.state = RunState::Stopped,
                Event::Skipped { .. } => node.state = RunState::Skipped,
                Event::Changed { .. } | Event::Vanished { .. } | Event::Damaged { .. } => {
                    node.state = RunState::Open;
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn node_mut(&mut self, node: NodeId) -> &mut RunNode {
        &mut self.nodes[node.index()]
    }

    pub(crate) fn write(&self, store: &Store) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(self).expect("a run has no map with odd keys");
        store.put_document(FOLDER, &format!("{}.json", self.id), &bytes)
    }

    /// Sends this record to the remote tier of `store`, and tells whether it is there.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub fn send(&self, store: &Store) -> Result<bool, StoreError> {
        let name = format!("{}.json", self.id);
        let bytes = store.document(FOLDER, &name)?;
        let remote = store.remote();
        Ok(remote.is_some_and(|remote| remote.write(&format!("{FOLDER}/{name}"), &bytes)))
    }

    /// Fetches the record of the run `id` from the remote tier of `store`; `None` if it is not there
    /// or does not decode.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be written to.
    pub fn fetch(store: &Store, id: &str) -> Result<Option<Self>, StoreError> {
        let name = format!("{id}.json");
        // Not a path: what is fetched is written under the same name.
        let remote = store.remote().filter(|_| !id.contains('/') && !id.starts_with('.'));
        let bytes = remote.and_then(|remote| remote.read(&format!("{FOLDER}/{name}")));
        let decoded = bytes.and_then(|bytes| {
            let run: Self = serde_json::from_slice(&bytes).ok()?;
            (run.id == id).then_some((run, bytes))
        });
        let Some((run, bytes)) = decoded else { return Ok(None) };
        store.put_document(FOLDER, &name, &bytes)?;
        Ok(Some(run))
    }

    /// Returns the names of the runs in `store`, oldest first.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub fn list(store: &Store) -> Result<Vec<String>, StoreError> {
        let names = store.documents(FOLDER)?;
        Ok(names
            .into_iter()
            .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
            .collect())
    }

    /// Returns the record of the run `id`, or `None` if it does not decode. The states of a run
    /// that goes on or was killed are read from its log.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub fn read(store: &Store, id: &str) -> Result<Option<Self>, StoreError> {
        let bytes = store.document(FOLDER, &format!("{id}.json"))?;
        let mut run: Option<Self> = serde_json::from_slice(&bytes).ok();
        if let Some(run) = run.as_mut().filter(|run| run.summary.is_none()) {
            run.catch_up(store)?;
        }
        Ok(run)
    }

    /// Returns why computations of the run failed, by their index in `nodes`. Empty if the log is
    /// gone.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub fn failures(&self, store: &Store) -> Result<BTreeMap<usize, RunFailure>, StoreError> {
        if !self.nodes.iter().any(|node| node.state == RunState::Failed) {
            return Ok(BTreeMap::new());
        }
        let entries =
            LogTail::open(store, &self.id)?.map(|mut tail| tail.read_new()).unwrap_or_default();
        let still = |node: NodeId| {
            self.nodes.get(node.index()).is_some_and(|node| node.state == RunState::Failed)
        };
        let failed = entries.into_iter().filter_map(|entry| match entry.event {
            Event::Failed { node, causes, hint } if still(node) => {
                Some((node.index(), RunFailure { causes, hint }))
            }
            _ => None,
        });
        Ok(failed.collect())
    }

    /// Returns the name of the document that is the log of the run `id`.
    pub(super) fn events_name(id: &str) -> String {
        format!("{id}.events.jsonl")
    }

    /// Removes the log of the run `id`, if it has one.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be written.
    pub fn forget_events(store: &Store, id: &str) -> Result<(), StoreError> {
        store.remove_document(FOLDER, &Self::events_name(id))
    }

    /// Removes the record and the log of the run `id`. Its results stay.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be written.
    pub fn remove(store: &Store, id: &str) -> Result<(), StoreError> {
        store.remove_document(FOLDER, &format!("{id}.json"))?;
        Self::forget_events(store, id)?;
        SubmittedRun::remove(store, id)
    }

    /// Returns the newest run of `pipeline`, or of any if `None`, after leaving out `skip`.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub fn newest(
        store: &Store,
        pipeline: Option<&PipelineFile>,
        skip: usize,
    ) -> Result<Option<Self>, StoreError> {
        let mut left = skip;
        for id in Self::list(store)?.iter().rev() {
            let Some(run) = Self::read(store, id)? else { continue };
            if pipeline.is_none_or(|file| file.ran(&run)) {
                if left == 0 {
                    return Ok(Some(run));
                }
                left -= 1;
            }
        }
        Ok(None)
    }
}
