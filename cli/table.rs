//! `coresift table`: one row per matrix cell, mean ± std over seeds; pivots, paired tests, ranks.

mod against;
mod estimate;
mod metrics;
mod pivot;
mod ranking;
mod rows;
mod sheet;

use crate::{
    context::{Context, Failure, eprint_line, now_millis, print, print_line, shell, stdout_width},
    results::{self, CellResult, Grid, MeasuredSource, MetricValue, SECONDS, is_seed},
    sources::{self, ResultSource},
};
use against::Against;
use cache::{Artifact, Key, Store, StoreError};
use engine::{Plan, Use};
use estimate::{Ci, Judge};
use metrics::Metrics;
use pivot::Pivot;
use ranking::{Blocks, Ranking};
use rows::ResultTable;
use serde_json::{Value, json};
use sheet::{Sheet, TableFormat};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::ExitCode,
    rc::Rc,
    sync::Arc,
};

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
/// The method that paired tests compare with by default.
const BASE: &str = "random";
/// A run with more cells than this does not end in a table.
const CELLS_OF_A_RUN: usize = 200;

#[derive(clap::Args)]
pub(crate) struct TableArgs {
    /// Pipeline files, runs (a name, the beginning of one, `last`), or FILE@RUN (where RUN may
    /// also be `~1`, the run before the last).
    #[arg(required = true)]
    source: Vec<String>,
    /// Override a setting of the files, as an axis of the matrix would: `subset.with.keep=0.3`.
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Show only the results of this stage.
    #[arg(long, value_name = "STAGE")]
    target: Vec<String>,
    /// Keep the cells where an axis or a setting has this value: `selector=herding`,
    /// `keep!=0.1`, `student.with.lr=0.05`. Several values of one axis are alternatives.
    #[arg(long = "where", value_name = "AXIS=VALUE")]
    wanted: Vec<String>,
    /// Show this metric, and no others but those named [default: the usual ones].
    #[arg(long, value_name = "NAME")]
    metric: Vec<String>,
    /// Order the rows by an axis or a metric; `-NAME` puts the largest first [default: the order
    /// of the matrix]
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true)]
    sort: Option<String>,
    /// How to write it.
    #[arg(long, value_enum, default_value_t)]
    format: TableFormat,
    /// Average over this axis; `none` gives every cell a row of its own [default: every axis that
    /// is a seed]
    #[arg(long, value_name = "AXIS")]
    over: Vec<String>,
    /// Show a confidence interval for each mean, instead of the standard deviation.
    #[arg(long, value_enum, value_name = "KIND")]
    ci: Option<Ci>,
    /// The level of intervals; 1 less it is that of the ranks' critical difference.
    #[arg(long, default_value = "0.95", value_parser = level)]
    level: f64,
    /// Lay one axis down and another across; the first metric, or those named.
    #[arg(long, value_name = "ROWS,COLUMNS", conflicts_with = "sort")]
    pivot: Option<String>,
    /// Test every method against `random`, paired over the averaged axes.
    #[arg(long, conflicts_with_all = ["pivot", "sort"])]
    test: bool,
    /// Do so against this one.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["pivot", "sort"])]
    against: Option<String>,
    /// Show the mean rank of every method, with Friedman's test and the critical difference.
    #[arg(long, conflicts_with_all = ["pivot", "sort", "test", "against"])]
    ranks: bool,
    /// What the methods are ranked in.
    #[arg(long, value_enum, default_value_t, requires = "ranks")]
    blocks: Blocks,
    /// The axis that holds the methods [default: `selector`, or the one that has NAME]
    #[arg(long, value_name = "AXIS")]
    by: Option<String>,
}

fn level(text: &str) -> Result<f64, String> {
    let level = text.parse::<f64>().map_err(|error| error.to_string())?;
    let inside = level > 0.0 && level < 1.0;
    inside.then_some(level).ok_or_else(|| "a level lies between 0 and 1, such as 0.95".to_owned())
}

pub(crate) fn run(args: &TableArgs, context: &Context) -> Result<ExitCode, Failure> {
    if !args.set.is_empty() && !args.source.iter().any(|name| sources::is_file(name)) {
        let failure = Failure::mistake("--set is laid over pipeline files, and these are runs");
        return Err(failure.hint("to pick results by a setting, use --where"));
    }
    let store = context.store()?;
    let read = |name: &String| ResultSource::read(name, (&args.set, &args.target), context, &store);
    let sources: Vec<ResultSource> = args.source.iter().map(read).collect::<Result<_, _>>()?;
    let measured = sources.iter().map(|source| results::read(source, &store));
    let measured: Vec<MeasuredSource> = measured.collect::<Result<_, StoreError>>()?;
    for (source, measured) in sources.iter().zip(&measured) {
        measured.unread.iter().for_each(|unread| context.note(&unread.line(source)));
    }
    let mut grid = Grid::of(&sources, &measured);
    if !args.target.is_empty() {
        grid.results.retain(|result| args.target.contains(&result.label));
    }
    if grid.results.is_empty() {
        // A run does not say what its targets give: what they gave tells, if it is there.
        let gone = |source: &&ResultSource| source.nodes.iter().any(|node| node.output.is_none());
        if let Some(source) = sources.iter().filter(|source| !source.has_results()).find(gone) {
            let what = format!("the store no longer has the results of `{}`", source.name);
            let hint = format!("`{}` makes them again", source.run_command);
            return Err(Failure::failed(what).hint(hint));
        }
        let failure = Failure::mistake("there are no targets here that give metrics");
        return Err(failure.hint("add a stage with `use = \"evaluate\"`, or name it with --target"));
    }
    grid.keep(&sources, &args.wanted)?;
    if grid.results.is_empty() {
        return Err(Failure::mistake("no cell is left by --where"));
    }
    let over = averaged(&grid, &args.over)?;
    for datasets in grid.pooled_datasets(&sources, &over) {
        context.note(&format!("rows average over different data sets: {datasets}"));
    }
    show(&grid, &over, args, context)?;
    for source in &sources {
        let made = source.nodes.iter().filter(|node| node.output.is_some());
        let keys = made.filter_map(|node| node.key).collect();
        Use::note(&store, Path::new(&source.name), now_millis(), keys);
    }
    let missing: Vec<&CellResult> =
        grid.results.iter().filter(|result| result.metrics.is_none()).collect();
    if !missing.is_empty() {
        let lacking: BTreeSet<usize> = missing.iter().map(|result| result.at.0).collect();
        let commands: BTreeSet<String> =
            lacking.iter().map(|at| format!("`{}`", sources[*at].run_command)).collect();
        let commands: Vec<String> = commands.into_iter().collect();
        context.note(&format!(
            "{} of {} results are not there yet: {}",
            missing.len(),
            grid.results.len(),
            commands.join(" and ")
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn show(grid: &Grid, over: &[bool], args: &TableArgs, context: &Context) -> Result<(), Failure> {
    let mut metrics = Metrics::of(grid);
    let format = if context.global.json { TableFormat::Json } else { args.format };
    let judge = Judge { ci: args.ci, level: args.level };
    if let Some(axes) = &args.pivot {
        metrics.choose_one(&args.metric)?;
        let all = Pivot::all(grid, &metrics, axes, over, judge)?;
        write_each(
            &all,
            format,
            "pivots",
            [Pivot::csv_head, Pivot::csv],
            Pivot::sheet,
            Pivot::json,
        );
    } else if args.test || args.against.is_some() {
        metrics.choose_one(&args.metric)?;
        let base = args.against.as_deref().unwrap_or(BASE);
        let by = against::methods(grid, args.by.as_deref(), Some(base))?;
        let all = Against::all(grid, &metrics, (by, base), over, args.level)?;
        let csv = [Against::csv_head, Against::csv];
        write_each(&all, format, "comparisons", csv, Against::sheet, Against::json);
    } else if args.ranks {
        metrics.choose_one(&args.metric)?;
        let by = against::methods(grid, args.by.as_deref(), None)?;
        let all = Ranking::all(grid, &metrics, by, args.blocks, over, args.level)?;
        let csv = [Ranking::csv_head, Ranking::csv];
        write_each(&all, format, "rankings", csv, Ranking::sheet, Ranking::json);
    } else {
        metrics.choose(&args.metric)?;
        let mut table = ResultTable::new(grid, metrics, over, judge);
        if let Some(column) = &args.sort {
            table.sort(column)?;
        }
        match format {
            TableFormat::Csv => print(&table.csv()),
            TableFormat::Json => print_line(&table.json().to_string()),
            TableFormat::Text if args.metric.is_empty() => print(&on_stdout(&table)),
            _ => print(&written(&table.sheet(), format)),
        }
    }
    Ok(())
}

/// Returns the table as text: on a terminal, what it has room for.
fn on_stdout(table: &ResultTable) -> String {
    match stdout_width() {
        Some(width) => table.sheet_within(width).text(),
        None => table.sheet().text(),
    }
}

fn written(sheet: &Sheet, format: TableFormat) -> String {
    match format {
        TableFormat::Markdown => sheet.markdown(),
        TableFormat::Latex => sheet.latex(),
        TableFormat::Text | TableFormat::Csv | TableFormat::Json => sheet.text(),
    }
}

/// Writes one view for each metric: under each other as text, as one list otherwise.
fn write_each<T>(
    all: &[T],
    format: TableFormat,
    name: &str,
    [csv_head, csv]: [fn(&T) -> String; 2],
    sheet: fn(&T) -> Sheet,
    json: fn(&T) -> Value,
) {
    match format {
        TableFormat::Json => {
            let list: Vec<Value> = all.iter().map(json).collect();
            print_line(&json!({ name: list }).to_string());
        }
        TableFormat::Csv => {
            let head = all.first().map(csv_head).unwrap_or_default();
            print(&(head + &all.iter().map(csv).collect::<String>()));
        }
        _ => {
            let texts: Vec<String> = all.iter().map(|one| written(&sheet(one), format)).collect();
            print(&texts.join("\n"));
        }
    }
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
        let cells = plan.cells.len();
        let path = shell(&plan.path.display().to_string());
        eprint_line(&format!("{cells} cells: `coresift table {path}` shows them"));
        return String::new();
    }
    of_run(plan, store, outputs, keys).map(|table| on_stdout(&table)).unwrap_or_default()
}

fn of_run(
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
    let grid = Grid::of(std::slice::from_ref(source), &[measured]);
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

/// Returns, for each axis, whether rows are averaged over it.
fn averaged(grid: &Grid, asked: &[String]) -> Result<Vec<bool>, Failure> {
    if asked.is_empty() {
        return Ok(grid.axes.iter().map(|axis| is_seed(&axis.path)).collect());
    }
    let mut over = vec![false; grid.axes.len()];
    for name in asked.iter().filter(|name| *name != "none") {
        over[grid.axis("--over", name)?] = true;
    }
    Ok(over)
}
