//! `coresift table`: one row per matrix cell, mean ± std over seeds.

mod measured;
mod rows;

use crate::context::{
    Context, Failure, MISTAKE, Pipeline, axis_names, eprint_line, print, print_line,
};
use cache::{Artifact, Key, Store};
use engine::{Forecast, NodeId, Plan};
use rows::Table;
use std::{process::ExitCode, sync::Arc};

/// The metrics shown when none are named, where an evaluation gives them.
const USUAL: [&str; 8] = [
    "accuracy",
    "accuracy_best",
    "loss",
    "worst_class",
    "ece",
    "train_samples",
    "corrupted_kept",
    SECONDS,
];
/// What a result and all it stands on took to compute.
const SECONDS: &str = "seconds";
/// A run with more cells than this does not end in a table.
const CELLS_OF_A_RUN: usize = 200;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pipeline: Pipeline,
    /// Show this metric, and no others but those named [default: the usual ones].
    #[arg(long, value_name = "NAME")]
    metric: Vec<String>,
    /// Order the rows by an axis or a metric; `-NAME` puts the largest first [default: the order
    /// of the matrix]
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true)]
    sort: Option<String>,
    /// How to write it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Average over this axis; `none` gives every cell a row of its own [default: every axis that
    /// is a seed]
    #[arg(long, value_name = "AXIS")]
    over: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    #[default]
    Text,
    Csv,
    Json,
    Markdown,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, Failure> {
    let plan = context.plan(&args.pipeline)?;
    let over = averaged(&plan, &args.over)?;
    let store = context.store()?;
    let forecast = Forecast::of(&plan, &store)?;
    let output = |node| forecast.record(node).map(|record| &record.output);
    let seconds = |node| forecast.record(node).map(|record| record.provenance.seconds);
    let (results, unread) = measured::read(&plan, &store, output, seconds)?;
    if results.is_empty() {
        let failure = Failure::new(MISTAKE, "no target of this pipeline gives metrics");
        return Err(failure.hint("add a stage with `use = \"evaluate\"`, or name it with --target"));
    }
    for what in unread {
        context.note(&what);
    }
    let mut table = Table::new(&plan, &results, &over);
    table.choose(&args.metric)?;
    if let Some(column) = &args.sort {
        table.sort(column)?;
    }
    let format = if context.global.json { Format::Json } else { args.format };
    match format {
        Format::Text => print(&table.text()),
        Format::Csv => print(&table.csv()),
        Format::Json => print_line(&table.json().to_string()),
        Format::Markdown => print(&table.markdown()),
    }
    let missing = results.iter().filter(|result| result.metrics.is_none()).count();
    if missing > 0 {
        let (all, pipeline) = (results.len(), args.pipeline.pipeline.display());
        context.note(&format!(
            "{missing} of {all} results are not there yet: `coresift run {pipeline}`"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the table a run ends in, or nothing where its targets give no metrics. For a large
/// matrix it says on stderr how to get it.
pub(crate) fn text(
    plan: &Plan,
    store: &Store,
    outputs: &[Option<Arc<Artifact>>],
    keys: &[Option<Key>],
) -> String {
    if plan.cells.len() > CELLS_OF_A_RUN {
        let (cells, path) = (plan.cells.len(), plan.path.display());
        eprint_line(&format!("{cells} cells: `coresift table {path}` shows them"));
        return String::new();
    }
    of_run(plan, store, outputs, keys).map(|table| table.text()).unwrap_or_default()
}

fn of_run(
    plan: &Plan,
    store: &Store,
    outputs: &[Option<Arc<Artifact>>],
    keys: &[Option<Key>],
) -> Option<Table> {
    let output = |node: NodeId| outputs[node.index()].as_deref();
    let few = plan.cells.len() <= CELLS_OF_A_RUN;
    let seconds = |node: NodeId| {
        let key = keys[node.index()].filter(|_| few)?;
        Some(store.record(key).ok()??.provenance.seconds)
    };
    // The run itself is over and kept: a result that does not read is left out of its table.
    let (results, _) = measured::read(plan, store, output, seconds).ok()?;
    let mut table = Table::new(plan, &results, &averaged(plan, &[]).ok()?);
    table.choose(&[]).ok()?;
    (!table.rows.is_empty()).then_some(table)
}

/// Returns, for each axis, whether rows are averaged over it.
fn averaged(plan: &Plan, asked: &[String]) -> Result<Vec<bool>, Failure> {
    let seed = |name: &str| name == "seed" || name.ends_with(".seed");
    if asked.is_empty() {
        return Ok(plan.axes.iter().map(|axis| seed(&axis.name)).collect());
    }
    let names = axis_names(plan.axes.iter().map(|axis| axis.name.as_str()));
    let mut over = vec![false; names.len()];
    for name in asked.iter().filter(|name| *name != "none") {
        let found =
            names.iter().zip(&plan.axes).position(|(s, axis)| s == name || axis.name == *name);
        let Some(axis) = found else {
            let failure = Failure::new(MISTAKE, format!("--over {name}: no axis is called so"));
            return Err(failure.hint(format!("the axes are {}", names.join(", "))));
        };
        over[axis] = true;
    }
    Ok(over)
}
