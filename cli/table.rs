//! `coresift table`: one row per matrix cell, mean ± std over seeds; pivots, paired tests, ranks.

mod against;
mod conditions;
mod estimate;
mod metrics;
mod pivot;
mod ranking;
mod rows;
mod sheet;
mod summary;
mod write;

use crate::{
    context::{Context, Failure, now_millis},
    results::{self, CellResult, Grid, MeasuredSource, SECONDS, is_seed},
    sources::{self, Overrides, ResultSource},
};
use against::{Against, Baseline};
use cache::StoreError;
use engine::ResultUse;
use estimate::{Ci, Judge};
use metrics::Metrics;
use pivot::Pivot;
use ranking::{Blocks, Ranking};
use rows::ResultTable;
use std::{collections::BTreeSet, path::Path, process::ExitCode};
use write::{TableFormat, write_each, write_rows};

pub(crate) use summary::{SummaryExtras, of_run, summary};

/// The metrics shown when none are named, where an evaluation gives them.
const USUAL: [&str; 13] = [
    "accuracy",
    "accuracy_best",
    "loss",
    "worst_class",
    "worst_group",
    "ece",
    "train_samples",
    "corrupted_kept",
    "minority_kept",
    "foreign_kept",
    "duplicate_kept",
    "changed_kept",
    SECONDS,
];
/// The method that paired tests compare with by default.
const BASE: &str = "random";

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
    let overrides = Overrides { set: &args.set, targets: &args.target };
    let read = |name: &String| ResultSource::read(name, overrides, context, &store);
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
        return Err(no_results(&sources));
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
    let is_read = matches!(args.format, TableFormat::Text | TableFormat::Markdown);
    if is_read && !context.global.json {
        write::conditions(&conditions::lines(&sources, &store), args.format);
    }
    for source in &sources {
        let made = source.nodes.iter().filter(|node| node.output.is_some());
        let keys = made.filter_map(|node| node.key).collect();
        ResultUse::note(&store, Path::new(&source.name), now_millis(), keys);
    }
    note_missing(&grid, &sources, context);
    Ok(ExitCode::SUCCESS)
}

/// Returns why the sources have no results to show.
fn no_results(sources: &[ResultSource]) -> Failure {
    // A run does not say what its targets give: what they gave tells, if it is there.
    let gone = |source: &&ResultSource| source.nodes.iter().any(|node| node.output.is_none());
    if let Some(source) = sources.iter().filter(|source| !source.has_results()).find(gone) {
        let what = format!("the store no longer has the results of `{}`", source.name);
        let hint = format!("`{}` makes them again", source.run_command);
        return Failure::failed(what).hint(hint);
    }
    let failure = Failure::mistake("there are no targets here that give metrics");
    failure.hint("add a stage with `use = \"evaluate\"`, or name it with --target")
}

/// Says how many results are not computed, and which commands compute them.
fn note_missing(grid: &Grid, sources: &[ResultSource], context: &Context) {
    let missing: Vec<&CellResult> =
        grid.results.iter().filter(|result| result.metrics.is_none()).collect();
    if missing.is_empty() {
        return;
    }
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

/// One of the four tables of the command, as its flags ask for it.
enum View<'a> {
    /// A row for each combination of the axes that are not averaged.
    Rows { sort: Option<&'a str> },
    /// One axis down, another across.
    Pivot { axes: &'a str },
    /// Every method tested against one of them.
    Comparisons { base: &'a str, by: Option<&'a str> },
    /// The mean rank of every method.
    Rankings { blocks: Blocks, by: Option<&'a str> },
}

impl TableArgs {
    fn view(&self) -> View<'_> {
        let by = self.by.as_deref();
        if let Some(axes) = &self.pivot {
            return View::Pivot { axes };
        }
        if self.test || self.against.is_some() {
            return View::Comparisons { base: self.against.as_deref().unwrap_or(BASE), by };
        }
        match self.ranks {
            true => View::Rankings { blocks: self.blocks, by },
            false => View::Rows { sort: self.sort.as_deref() },
        }
    }
}

fn show(grid: &Grid, over: &[bool], args: &TableArgs, context: &Context) -> Result<(), Failure> {
    let format = if context.global.json { TableFormat::Json } else { args.format };
    let judge = Judge { ci: args.ci, level: args.level };
    let mut metrics = Metrics::of(grid);
    let view = args.view();
    match view {
        View::Rows { .. } => metrics.choose(&args.metric)?,
        _ => metrics.choose_one(&args.metric)?,
    }
    match view {
        View::Rows { sort } => {
            let mut table = ResultTable::new(grid, metrics, over, judge);
            if let Some(column) = sort {
                table.sort(column)?;
            }
            write_rows(&table, format, args.metric.is_empty());
        }
        View::Pivot { axes } => {
            write_each(&Pivot::all(grid, &metrics, axes, over, judge)?, format);
        }
        View::Comparisons { base, by } => {
            let axis = against::methods(grid, by, Some(base))?;
            let baseline = Baseline { axis, value: base };
            write_each(&Against::all(grid, &metrics, baseline, over, args.level)?, format);
        }
        View::Rankings { blocks, by } => {
            let by = against::methods(grid, by, None)?;
            write_each(&Ranking::all(grid, &metrics, by, blocks, over, args.level)?, format);
        }
    }
    Ok(())
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
