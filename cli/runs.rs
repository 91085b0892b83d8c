//! `coresift runs`: the runs a store remembers.

use crate::context::{
    Context, Failure, axis_names, columns, duration_of, print, print_line, time_of,
};
use crate::submit;
use cache::Store;
use engine::{PipelineFile, RunNode, RunRecord, RunState, RunStatus, SubmittedRun};
use serde_json::{Value, json};
use std::{path::PathBuf, process::ExitCode};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RunsArgs {
    #[command(subcommand)]
    command: Option<RunsCommand>,
    /// Only runs of this pipeline file.
    pipeline: Option<PathBuf>,
    /// How many to list, the newest.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    limit: usize,
    /// List all of them.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

#[derive(clap::Subcommand)]
enum RunsCommand {
    /// Forget runs: their records and logs go, what they made stays until a collection.
    Rm {
        /// The runs: their names, the beginnings of them, or `last`.
        #[arg(required = true)]
        runs: Vec<String>,
    },
}

pub(crate) fn run(args: &RunsArgs, context: &Context) -> Result<ExitCode, Failure> {
    let store = context.local_store()?;
    if let Some(RunsCommand::Rm { runs }) = &args.command {
        return forget(runs, &store, context);
    }
    let file = args.pipeline.as_deref().map(PipelineFile::at_path);
    let limit = if args.all { usize::MAX } else { args.limit };
    let mut runs = newest(&store, limit, |run| file.as_ref().is_none_or(|file| file.ran(run)))?;
    runs.reverse();
    let statuses: Vec<RunStatus> =
        runs.iter().map(|run| run.status(&store)).collect::<Result<_, _>>()?;
    if context.global.json {
        let all = runs.iter().zip(&statuses).map(|(run, status)| json(run, *status));
        print_line(&all.collect::<Value>().to_string());
        return Ok(ExitCode::SUCCESS);
    }
    if runs.is_empty() {
        context.note("no runs yet: `coresift run PIPELINE` makes the first");
        return Ok(ExitCode::SUCCESS);
    }
    let head = [
        "run",
        "began (UTC)",
        "status",
        "hits",
        "computed",
        "failed",
        "took",
        "device",
        "pipeline",
        "name",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (run, status) in runs.iter().zip(&statuses) {
        rows.push(vec![
            run.id.clone(),
            time_of(run.started),
            status.label().to_owned(),
            count(run, RunState::Hit),
            count(run, RunState::Computed),
            count(run, RunState::Failed),
            run.summary.map_or("-".to_owned(), |_| duration_of(run.seconds)),
            run.device.clone(),
            run.pipeline.clone(),
            run.name.clone().unwrap_or_default(),
        ]);
    }
    print(&columns(&rows, |column| (3..7).contains(&column)));
    Ok(ExitCode::SUCCESS)
}

/// Returns the newest `limit` runs that `wanted` takes, newest first. A record that does not
/// read is passed over.
pub(crate) fn newest(
    store: &Store,
    limit: usize,
    wanted: impl Fn(&RunRecord) -> bool,
) -> Result<Vec<RunRecord>, Failure> {
    let mut runs = vec![];
    for id in RunRecord::list(store)?.iter().rev() {
        if runs.len() == limit {
            break;
        }
        runs.extend(RunRecord::read(store, id)?.filter(&wanted));
    }
    Ok(runs)
}

/// Returns the run called `name` by its user, or by its own name or the beginning of it, or the last.
pub(crate) fn find(store: &Store, name: &str) -> Result<RunRecord, Failure> {
    // A run's own name begins with a digit, what a user calls one with a letter.
    if name != "last" && name.starts_with(char::is_alphabetic) {
        let called = newest(store, 1, |run| run.name.as_deref() == Some(name))?.pop();
        if let Some(run) = called {
            return Ok(run);
        }
    }
    let all = RunRecord::list(store)?;
    let hint = "`coresift runs` lists them";
    let found: Vec<&String> = match name {
        "last" => {
            let last = newest(store, 1, |_| true)?.pop();
            return last.ok_or_else(|| {
                Failure::mistake("the store remembers no run").hint("`coresift run FILE` makes one")
            });
        }
        _ if all.iter().any(|id| id == name) => all.iter().filter(|id| *id == name).collect(),
        _ => all.iter().filter(|id| id.starts_with(name)).collect(),
    };
    match found[..] {
        [] => Err(Failure::mistake(format!("no run is called `{name}`")).hint(hint)),
        [id] => RunRecord::read(store, id)?
            .ok_or_else(|| Failure::failed(format!("the record of run {id} does not read"))),
        [first, .., last] => {
            let what = format!("{} runs begin with `{name}`: {first} to {last}", found.len());
            Err(Failure::mistake(what).hint(hint))
        }
    }
}

/// Returns the stage's name and its cell.
pub(crate) fn name(run: &RunRecord, node: &RunNode) -> String {
    let names = axis_names(run.axes.iter().map(|(name, _)| name.as_str()));
    let values = run.axes.iter().zip(&node.cell);
    let values = values.map(|((_, values), value)| values.get(*value as usize));
    let pairs = names.iter().zip(values);
    let pairs = pairs.filter_map(|(name, value)| Some(format!("{name}={}", value?)));
    let coords = pairs.collect::<Vec<_>>().join(" ");
    if coords.is_empty() { node.label.clone() } else { format!("{} [{coords}]", node.label) }
}

/// Returns how a stage of a run stands, in a word.
pub(crate) fn state(node: &RunNode) -> &'static str {
    match node.state {
        RunState::Open => "open",
        RunState::Running => "running",
        RunState::Hit => "hit",
        RunState::Computed => "computed",
        RunState::Failed => "failed",
        RunState::Skipped => "skipped",
        RunState::Stopped => "stopped",
    }
}

/// Returns how many computations of `run` are in `state`, as far as it got.
fn count(run: &RunRecord, state: RunState) -> String {
    run.nodes.iter().filter(|node| node.state == state).count().to_string()
}

/// Removes the records of `runs`, unless one of them goes on.
fn forget(runs: &[String], store: &Store, context: &Context) -> Result<ExitCode, Failure> {
    let found: Vec<RunRecord> =
        runs.iter().map(|name| find(store, name)).collect::<Result<_, _>>()?;
    for run in &found {
        if SubmittedRun::find(store, &run.id).is_some_and(|run| run.is_open()) {
            let failure = Failure::mistake(format!("run {} has not ended", run.id));
            return Err(failure.hint(format!("`coresift stop {}` ends it", run.id)));
        }
        if run.status(store)? == RunStatus::GoingOn {
            let failure = Failure::mistake(format!("run {} is going on", run.id));
            return Err(failure
                .hint("wait for its end, or stop it: it is `".to_owned() + &run.process + "`"));
        }
    }
    for run in &found {
        RunRecord::remove(store, &run.id)?;
        context.note(&format!("forgot run {}", run.id));
    }
    submit::frozen::forget_programs(store);
    if context.global.json {
        let ids: Vec<&str> = found.iter().map(|run| run.id.as_str()).collect();
        print_line(&json!({ "forgot": ids }).to_string());
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns a run as programs read it, its computations left out.
pub(crate) fn json(run: &RunRecord, status: RunStatus) -> Value {
    json!({
        "id": run.id,
        "pipeline": run.pipeline,
        "title": run.title,
        "started": run.started,
        "seconds": run.seconds,
        "status": status,
        "name": run.name,
        "note": run.note,
        "process": run.process,
        "device": run.device,
        "build": run.build,
        "summary": run.summary,
        "stages": run.nodes.len(),
    })
}
