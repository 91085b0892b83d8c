//! Why a stage is not a cache hit: the difference between its recipe and the nearest recipe of
//! earlier runs.

use super::{
    history::PipelineFile,
    resolve::InputName,
    runs::{RunFailure, RunRecord, RunState},
};
use crate::{NodeId, Plan};
use cache::{Key, Lookup, Recipe, Store, StoreError};
use serde::Serialize;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// A reason for which a stage has to run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// No result of a stage of this name is known.
    New,
    /// A setting differs.
    Setting {
        /// Its path in the pipeline, `STAGE.with.SETTING`.
        path: String,
        /// The value then; none, if it was not there.
        was: Option<Value>,
        /// The value now.
        now: Option<Value>,
    },
    /// The artifact of an input differs.
    Input {
        /// The port.
        port: String,
    },
    /// A file outside the store differs.
    File {
        /// The role of the file.
        role: String,
    },
    /// The method differs.
    Method {
        /// The value then; none, if it was not there.
        was: String,
        /// The value now.
        now: String,
    },
    /// The revision of the method's results differs.
    Revision {
        /// The value then; none, if it was not there.
        was: u32,
        /// The value now.
        now: u32,
    },
    /// The seed differs.
    Seed {
        /// The value then; none, if it was not there.
        was: Option<u64>,
        /// The value now.
        now: Option<u64>,
    },
    /// The recipe is the same, but its result is no longer in the store.
    Gone,
    /// It failed when it was last tried.
    Failed {
        /// The run.
        run: String,
        /// Why it failed, if the run's log is still there.
        why: Option<RunFailure>,
    },
    /// It was cancelled when it was last tried.
    Stopped {
        /// The run.
        run: String,
    },
    /// A file or folder it reads is not there or cannot be read: it will fail.
    Unreadable {
        /// The error, which names the file.
        what: String,
    },
    /// The result is in the store, and is damaged.
    Damaged {
        /// The damage.
        what: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |value: &Option<Value>| {
            value.as_ref().map_or_else(|| "(not set)".to_owned(), ToString::to_string)
        };
        match self {
            Self::New => f.write_str("it has not been run before"),
            Self::Setting { path, was, now } => {
                write!(f, "{path}: {} → {}", or_none(was), or_none(now))
            }
            Self::Input { port } => write!(f, "input `{port}` has changed"),
            Self::File { role } => write!(f, "file `{role}` has changed"),
            Self::Method { was, now } => write!(f, "method: {was} → {now}"),
            Self::Revision { was, now } => write!(f, "revision of the method: {was} → {now}"),
            Self::Seed { was, now } => {
                let text = |seed: &Option<u64>| seed.map_or("none".to_owned(), |n| n.to_string());
                write!(f, "seed: {} → {}", text(was), text(now))
            }
            Self::Gone => f.write_str("its result is no longer in the store"),
            Self::Failed { run, why } => {
                write!(f, "it failed in run {run}")?;
                let text = why.as_ref().map(RunFailure::message).unwrap_or_default();
                text.lines().next().map_or(Ok(()), |first| write!(f, ": {first}"))
            }
            Self::Stopped { run } => write!(f, "it was stopped in run {run}"),
            Self::Damaged { what } | Self::Unreadable { what } => f.write_str(what),
        }
    }
}

/// The results and failures of a pipeline's stages in earlier runs.
pub struct RunHistory {
    /// The keys of their results, newest first, by stage name.
    keys: BTreeMap<String, Vec<Key>>,
    /// The keys that failed or were stopped when last tried, and why.
    unmade: BTreeMap<Key, Reason>,
}

/// The most earlier runs of the pipeline that are read.
const RUNS: usize = 8;
/// The most results of one stage in those runs that are compared.
const RESULTS: usize = 256;

impl RunHistory {
    /// Reads the records of earlier runs of `plan`'s file from `store`.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub fn read(plan: &Plan, store: &Store) -> Result<Self, StoreError> {
        let file = PipelineFile::of_plan(plan);
        let wanted: BTreeSet<&str> = plan.nodes().map(|(_, node)| &*node.label).collect();
        let mut history = Self { keys: BTreeMap::new(), unmade: BTreeMap::new() };
        let mut seen = 0;
        for id in RunRecord::list(store)?.iter().rev() {
            let Some(run) = RunRecord::read(store, id)? else { continue };
            if file.ran(&run) {
                history.add(run, &wanted, store)?;
                seen += 1;
            }
            if seen == RUNS {
                break;
            }
        }
        Ok(history)
    }

    /// Adds a run older than those added before.
    fn add(
        &mut self,
        run: RunRecord,
        wanted: &BTreeSet<&str>,
        store: &Store,
    ) -> Result<(), StoreError> {
        let mut failures = run.failures(store)?;
        for (at, node) in run.nodes.into_iter().enumerate() {
            let (Some(key), true) = (node.key, wanted.contains(node.label.as_str())) else {
                continue;
            };
            let known = self.keys.entry(node.label).or_default();
            if known.contains(&key) {
                continue;
            }
            let reason = match node.state {
                RunState::Hit | RunState::Computed => {
                    if known.len() < RESULTS {
                        known.push(key);
                    }
                    continue;
                }
                RunState::Failed => {
                    Reason::Failed { run: run.id.clone(), why: failures.remove(&at) }
                }
                RunState::Stopped => Reason::Stopped { run: run.id.clone() },
                RunState::Open | RunState::Running | RunState::Skipped => continue,
            };
            self.unmade.entry(key).or_insert(reason);
        }
        Ok(())
    }

    /// Returns why `recipe`, that of `node`, has no result: that it failed or was stopped, and its
    /// differences from the nearest recipe with a result.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub fn reasons(
        &self,
        plan: &Plan,
        store: &Store,
        node: NodeId,
        recipe: &Recipe,
    ) -> Result<Vec<Reason>, StoreError> {
        let label = &plan.node(node).label;
        let mut all: Vec<Reason> = self.unmade.get(&recipe.key()).cloned().into_iter().collect();
        let mut best: Option<Vec<Reason>> = None;
        for key in self.keys.get(&**label).into_iter().flatten() {
            if *key == recipe.key() {
                best = Some(vec![Reason::Gone]);
                break;
            }
            let Lookup::Hit(record) = store.lookup(*key)? else { continue };
            let reasons = differences(label, &record.recipe, recipe);
            if best.as_ref().is_none_or(|best| reasons.len() < best.len()) {
                best = Some(reasons);
            }
        }
        all.extend(best.into_iter().flatten());
        if all.is_empty() {
            all.push(Reason::New);
        }
        Ok(all)
    }
}

/// Returns the differences between two recipes of a stage called `label`.
#[must_use]
pub fn differences(label: &str, was: &Recipe, now: &Recipe) -> Vec<Reason> {
    let mut reasons = vec![];
    if was.method != now.method {
        let (was, now) = (was.method.clone(), now.method.clone());
        reasons.push(Reason::Method { was, now });
    } else if was.revision != now.revision {
        reasons.push(Reason::Revision { was: was.revision, now: now.revision });
    }
    compare_settings(
        &format!("{label}.with"),
        Some(&was.settings),
        Some(&now.settings),
        &mut reasons,
    );
    if was.seed != now.seed {
        reasons.push(Reason::Seed { was: was.seed, now: now.seed });
    }
    let ports: BTreeSet<&String> = was.inputs.keys().chain(now.inputs.keys()).collect();
    for port in ports {
        if was.inputs.get(port) != now.inputs.get(port) {
            reasons.push(match InputName::parse(port) {
                InputName::File(role) => Reason::File { role: role.to_owned() },
                InputName::Port(port) => Reason::Input { port: port.to_owned() },
            });
        }
    }
    reasons
}

fn compare_settings(path: &str, was: Option<&Value>, now: Option<&Value>, out: &mut Vec<Reason>) {
    match (was, now) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                compare_settings(&format!("{path}.{key}"), a.get(key), b.get(key), out);
            }
        }
        (was, now) if was != now => out.push(Reason::Setting {
            path: path.to_owned(),
            was: was.cloned(),
            now: now.cloned(),
        }),
        _ => {}
    }
}
