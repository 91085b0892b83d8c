//! The tables other commands end in: a run's, and an ablation's with metrics of its own.

use super::{
    averaged, estimate::Judge, metrics::Metrics, rows::ResultTable, subsets, write::on_stdout,
};
use crate::{
    context::{Failure, eprint_line, shell},
    results::{self, Grid, MetricValue},
    sources::ResultSource,
};
use cache::{Artifact, Key, Store};
use engine::Plan;
use serde_json::Value;
use std::{collections::BTreeMap, rc::Rc, slice, sync::Arc};

/// A run with more cells than this does not end in a table.
const CELLS_OF_A_RUN: usize = 200;

/// Returns the table a run ends in: of its metrics, or, where its targets give none, of its subsets. For a
/// large matrix it says on stderr how to get it.
pub(crate) fn of_run(
    plan: &Plan,
    store: &Store,
    outputs: &[Option<Arc<Artifact>>],
    keys: &[Option<Key>],
) -> String {
    if plan.cells.len() > CELLS_OF_A_RUN {
        let cells = plan.cells.len();
        let path = shell(&plan.path.display().to_string());
        eprint_line(&format!("{cells} cells: `coresift table {path}` shows them"));
        return String::new();
    }
    match table_of_run(plan, store, outputs, keys) {
        Some(table) => on_stdout(&table),
        None => subsets::of_run(plan, store, outputs),
    }
}

/// Returns the table of what a run gave; `None` if there is nothing in it.
fn table_of_run(
    plan: &Plan,
    store: &Store,
    outputs: &[Option<Arc<Artifact>>],
    keys: &[Option<Key>],
) -> Option<ResultTable> {
    let few = plan.cells.len() <= CELLS_OF_A_RUN;
    // The run itself is over and kept: a result that does not read is left out of its table.
    let source = ResultSource::of_result(plan, store, outputs, keys, few).ok()?;
    let measured = results::read(&source, store).ok()?;
    let grid = Grid::of(&[source], &[measured]);
    let mut metrics = Metrics::of(&grid);
    metrics.choose(&[]).ok()?;
    let over = averaged(&grid, &[]).ok()?;
    let table = ResultTable::new(&grid, metrics, &over, Judge { ci: None, level: 0.95 });
    (!table.rows.is_empty()).then_some(table)
}

/// The metrics of a summary that no evaluation measured.
pub(crate) struct SummaryExtras<'a> {
    /// The seconds a computation of the source took.
    pub(crate) seconds: &'a dyn Fn(usize) -> Option<f64>,
    /// Further whole numbers, by computation and name.
    pub(crate) metrics: BTreeMap<usize, BTreeMap<String, u64>>,
}

/// Returns the table of `source`, averaged over seeds, for people and for programs.
pub(crate) fn summary(
    source: &ResultSource,
    store: &Store,
    asked: &[String],
    more: &SummaryExtras<'_>,
) -> Result<(String, Value), Failure> {
    let mut measured = results::read_with(source, store, more.seconds)?;
    let mut further: Vec<String> =
        more.metrics.values().flat_map(BTreeMap::keys).cloned().collect();
    further.sort();
    further.dedup();
    for (at, metrics) in &mut measured.metrics {
        let own = more.metrics.get(at).into_iter().flatten();
        let whole = |(name, value): (&String, &u64)| {
            (name.clone(), MetricValue { value: *value as f64, whole: true })
        };
        Rc::make_mut(metrics).numbers.extend(own.map(whole));
    }
    let grid = Grid::of(slice::from_ref(source), &[measured]);
    if grid.results.is_empty() {
        let failure = Failure::mistake("no target of this pipeline gives metrics");
        return Err(failure.hint("add a stage with `use = \"evaluate\"`"));
    }
    let mut metrics = Metrics::of(&grid);
    metrics.choose(asked)?;
    metrics.names.extend(further);
    metrics.names.dedup();
    let over = averaged(&grid, &[])?;
    let table = ResultTable::new(&grid, metrics, &over, Judge { ci: None, level: 0.95 });
    let text = if asked.is_empty() { on_stdout(&table) } else { table.sheet().text() };
    Ok((text, table.json()))
}
