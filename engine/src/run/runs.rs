//! The records of runs: which plan, which keys, how it ended.

use super::journal::Tail;
use crate::{Event, NodeId, Plan, Summary, spec::Source};
use cache::{Key, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The folder of the store that holds them.
pub(super) const FOLDER: &str = "runs";

/// One run, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Its name: the UTC time it began and the process, `20260131-235959-4711`.
    pub id: String,
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
    /// What became of it; `None` while it runs or if it was killed.
    pub summary: Option<Summary>,
    /// The pipeline's text, its bases and overrides: what it takes to repeat it.
    pub sources: Vec<RunSource>,
    /// The axes of the matrix and their values.
    pub axes: Vec<(String, Vec<String>)>,
    /// The computations.
    pub nodes: Vec<RunNode>,
}

/// A text the pipeline was read from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSource {
    /// Its path or flag.
    pub name: String,
    /// What it said.
    pub text: String,
}

/// One computation of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunNode {
    /// The stage's name.
    #[serde(rename = "n")]
    pub label: String,
    /// The coordinates of the first cell it was met in, as value numbers.
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    pub cell: Vec<u32>,
    /// The axes it depends on, itself or through its inputs; a result stands in every cell that
    /// agrees with its own on these. Earlier builds did not write it down.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub axes: Option<Vec<u32>>,
    /// What its checkpoints are filed under, if it keeps any.
    #[serde(rename = "j", default, skip_serializing_if = "Option::is_none")]
    pub trajectory: Option<Key>,
    /// Its key, once known.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// What became of it.
    #[serde(rename = "s")]
    pub state: RunState,
    /// Seconds it ran in this run.
    #[serde(rename = "t", default, skip_serializing_if = "is_zero")]
    pub seconds: f64,
    /// Seconds from the beginning of the run to its own, if it ran.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub began: Option<f64>,
}

/// What became of a computation in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Not reached.
    Open,
    /// Found in the store.
    Hit,
    /// Computed.
    Computed,
    /// Failed.
    Failed,
    /// Not run because one it needs failed.
    Skipped,
    /// Stopped half-way.
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
    /// Returns the error and its causes as one text, of several lines where a program's own words
    /// are among them.
    #[must_use]
    pub fn text(&self) -> String {
        self.causes.join(": ")
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it by reference")]
fn is_zero(seconds: &f64) -> bool {
    *seconds == 0.0
}

impl Run {
    pub(crate) fn new(plan: &Plan, id: String, started: u64, device: &str, build: &str) -> Self {
        let source =
            |source: &Source| RunSource { name: source.name.clone(), text: source.text.clone() };
        let nodes = plan.nodes().map(|(_, node)| RunNode {
            label: node.label.to_string(),
            cell: plan.cells[node.cell as usize].coords.clone(),
            axes: Some(node.axes.clone()),
            trajectory: None,
            key: None,
            state: RunState::Open,
            seconds: 0.0,
            began: None,
        });
        Self {
            id,
            pipeline: full_path(plan),
            title: plan.title.clone(),
            started,
            seconds: 0.0,
            device: device.to_owned(),
            build: build.to_owned(),
            summary: None,
            sources: plan.sources.iter().map(source).collect(),
            axes: plan.axes.iter().map(|axis| (axis.name.clone(), axis.values.clone())).collect(),
            nodes: nodes.collect(),
        }
    }

    pub(crate) fn node_mut(&mut self, node: NodeId) -> &mut RunNode {
        &mut self.nodes[node.index()]
    }

    pub(crate) fn write(&self, store: &Store) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(self).expect("a run has no map with odd keys");
        store.put_document(FOLDER, &format!("{}.json", self.id), &bytes)
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

    /// Returns the run called `id`, or `None` if it is not there or not readable.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub fn read(store: &Store, id: &str) -> Result<Option<Self>, StoreError> {
        let bytes = store.document(FOLDER, &format!("{id}.json"))?;
        Ok(serde_json::from_slice(&bytes).ok())
    }

    /// Returns why computations of the run failed, by their places in `nodes`; those whose log is
    /// gone are left out.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub fn failures(&self, store: &Store) -> Result<BTreeMap<usize, RunFailure>, StoreError> {
        if !self.nodes.iter().any(|node| node.state == RunState::Failed) {
            return Ok(BTreeMap::new());
        }
        let entries = Tail::open(store, &self.id)?.map(|mut tail| tail.more()).unwrap_or_default();
        let failed = entries.into_iter().filter_map(|entry| match entry.event {
            Event::Failed { node, causes, hint } => {
                Some((node.index(), RunFailure { causes, hint }))
            }
            _ => None,
        });
        Ok(failed.collect())
    }

    /// Returns the name of the document that holds the events of the run called `id`.
    pub(super) fn events_name(id: &str) -> String {
        format!("{id}.events.jsonl")
    }

    /// Removes the log of the run called `id`, if it has one.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be written.
    pub fn forget_events(store: &Store, id: &str) -> Result<(), StoreError> {
        store.remove_document(FOLDER, &Self::events_name(id))
    }

    /// Returns the newest run of the pipeline file at `pipeline`, or of any if `None`.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub fn newest(
        store: &Store,
        pipeline: Option<&str>,
        skip: usize,
    ) -> Result<Option<Self>, StoreError> {
        let mut left = skip;
        for id in Self::list(store)?.iter().rev() {
            let Some(run) = Self::read(store, id)? else { continue };
            if pipeline.is_none_or(|path| run.pipeline == path) {
                if left == 0 {
                    return Ok(Some(run));
                }
                left -= 1;
            }
        }
        Ok(None)
    }
}

/// Returns the pipeline's path as run records name it.
pub(crate) fn full_path(plan: &Plan) -> String {
    std::path::absolute(&plan.path).unwrap_or_else(|_| plan.path.clone()).display().to_string()
}
