//! Forecasts: what a run would do, and why. Computes nothing, and works with an empty store.

use super::{
    explain::{Reason, RunHistory},
    resolve,
};
use crate::{NodeId, Plan};
use cache::{Digest, Key, Lookup, Recipe, Record, Store, StoreError};

/// The forecast of a computation.
#[derive(Debug)]
pub enum Outlook {
    /// Its result is in the store.
    Hit(Box<Record>),
    /// It would run, for these reasons.
    Run(Vec<Reason>),
    /// It depends on these, which would run first: its key is not known before.
    Waits(Vec<NodeId>),
}

/// The forecast of every computation of a plan.
#[derive(Debug)]
pub struct Forecast {
    /// The forecasts, by node.
    pub outlooks: Vec<Outlook>,
    /// The keys known so far, by node.
    pub keys: Vec<Option<Key>>,
    /// The recipes of those that would run, by node.
    pub recipes: Vec<Option<Recipe>>,
}

impl Forecast {
    /// Looks up every computation of `plan` in `store`.
    ///
    /// # Errors
    ///
    /// Fails if the store or a file outside it cannot be read.
    pub fn of(plan: &Plan, store: &Store) -> Result<Self, StoreError> {
        prefetch(plan, store)?;
        let count = plan.nodes().len();
        let mut outputs: Vec<Option<Digest>> = vec![None; count];
        let mut forecast = Self {
            outlooks: Vec::with_capacity(count),
            keys: vec![None; count],
            recipes: vec![None; count],
        };
        let mut history: Option<RunHistory> = None;
        for (id, node) in plan.nodes() {
            let mut open: Vec<NodeId> = node
                .inputs
                .iter()
                .map(|(_, source)| *source)
                .filter(|source| outputs[source.index()].is_none())
                .collect();
            if !open.is_empty() {
                open.sort_unstable();
                open.dedup();
                forecast.outlooks.push(Outlook::Waits(open));
                continue;
            }
            let digest = |(_, source): &(_, NodeId)| outputs[source.index()];
            let known: Vec<Digest> = node.inputs.iter().filter_map(digest).collect();
            let recipe = match resolve::recipe(plan, store, id, &known) {
                Ok(resolved) => resolved.recipe,
                Err(error) => {
                    let what = error.to_string();
                    forecast.outlooks.push(Outlook::Run(vec![Reason::Unreadable { what }]));
                    continue;
                }
            };
            let key = recipe.key();
            forecast.keys[id.index()] = Some(key);
            let outlook = match store.lookup(key)? {
                Lookup::Hit(record) => {
                    outputs[id.index()] = Some(record.output.digest());
                    Outlook::Hit(record)
                }
                Lookup::Damaged(what) => {
                    Outlook::Run(vec![Reason::Damaged { what: what.to_string() }])
                }
                Lookup::Absent => {
                    let history = match &mut history {
                        Some(history) => history,
                        None => history.insert(RunHistory::read(plan, store)?),
                    };
                    Outlook::Run(history.reasons(plan, store, id, &recipe)?)
                }
            };
            if matches!(outlook, Outlook::Run(_)) {
                forecast.recipes[id.index()] = Some(recipe);
            }
            forecast.outlooks.push(outlook);
        }
        Ok(forecast)
    }

    /// Returns the numbers of computations that are hits, would run, and wait.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let count =
            |wanted: fn(&Outlook) -> bool| self.outlooks.iter().filter(|o| wanted(o)).count();
        (
            count(|outlook| matches!(outlook, Outlook::Hit(_))),
            count(|outlook| matches!(outlook, Outlook::Run(_))),
            count(|outlook| matches!(outlook, Outlook::Waits(_))),
        )
    }

    /// Returns the record of `node`, if it is a hit.
    #[must_use]
    pub fn record(&self, node: NodeId) -> Option<&Record> {
        match &self.outlooks[node.index()] {
            Outlook::Hit(record) => Some(record),
            _ => None,
        }
    }
}

/// Asks the remote tier of `store`, if it has one, for what is not here: level by level, for a key is
/// known once its inputs are, and all of a level at once.
fn prefetch(plan: &Plan, store: &Store) -> Result<(), StoreError> {
    if store.remote().is_none() {
        return Ok(());
    }
    let count = plan.nodes().len();
    let mut levels: Vec<Vec<NodeId>> = vec![];
    let mut level_of = vec![0; count];
    for (id, node) in plan.nodes() {
        let above = node.inputs.iter().map(|(_, source)| level_of[source.index()] + 1).max();
        let level: usize = above.unwrap_or(0);
        level_of[id.index()] = level;
        levels.resize_with(levels.len().max(level + 1), Vec::new);
        levels[level].push(id);
    }
    let mut outputs: Vec<Option<Digest>> = vec![None; count];
    for level in levels {
        let mut keys = vec![];
        for id in level {
            let inputs = plan.node(id).inputs.iter().map(|(_, source)| outputs[source.index()]);
            let Some(inputs) = inputs.collect::<Option<Vec<Digest>>>() else { continue };
            // A file that cannot be read is told with the forecast itself.
            let Ok(resolved) = resolve::recipe(plan, store, id, &inputs) else { continue };
            keys.push((id, resolved.recipe.key()));
        }
        store.prefetch_records(&keys.iter().map(|(_, key)| *key).collect::<Vec<_>>());
        for (id, key) in keys {
            if let Lookup::Hit(record) = store.lookup(key)? {
                outputs[id.index()] = Some(record.output.digest());
            }
        }
    }
    Ok(())
}
