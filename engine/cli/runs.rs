//! `coresift runs`: the runs a store remembers.

use crate::context::{Context, Failure, MISTAKE, columns, duration_of, print, print_line, time_of};
use cache::Store;
use engine::Run;
use serde_json::{Value, json};
use std::{path::PathBuf, process::ExitCode};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only runs of this pipeline file.
    pipeline: Option<PathBuf>,
    /// How many to list, the newest.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    limit: usize,
    /// List all of them.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, Failure> {
    let store = context.store()?;
    let wanted = args.pipeline.as_ref().map(std::path::absolute).transpose();
    let wanted = wanted.map_err(|error| Failure::new(MISTAKE, error))?;
    let wanted = wanted.map(|path| path.display().to_string());
    let limit = if args.all { usize::MAX } else { args.limit };
    let mut runs = newest(&store, limit, |run| {
        wanted.as_ref().is_none_or(|pipeline| run.pipeline == *pipeline)
    })?;
    runs.reverse();
    if context.global.json {
        print_line(&runs.iter().map(json).collect::<Value>().to_string());
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
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for run in &runs {
        let count = |count: Option<usize>| count.map_or("-".to_owned(), |count| count.to_string());
        rows.push(vec![
            run.id.clone(),
            time_of(run.started),
            status(run).to_owned(),
            count(run.summary.map(|summary| summary.hits)),
            count(run.summary.map(|summary| summary.computed)),
            count(run.summary.map(|summary| summary.failed)),
            run.summary.map_or("-".to_owned(), |_| duration_of(run.seconds)),
            run.device.clone(),
            run.pipeline.clone(),
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
    wanted: impl Fn(&Run) -> bool,
) -> Result<Vec<Run>, Failure> {
    let mut runs = vec![];
    for id in Run::list(store)?.iter().rev() {
        if runs.len() == limit {
            break;
        }
        runs.extend(Run::read(store, id)?.filter(&wanted));
    }
    Ok(runs)
}

/// Returns how a run ended, in a word.
pub(crate) fn status(run: &Run) -> &'static str {
    match run.summary {
        None => "unfinished",
        Some(summary) if summary.stopped > 0 => "stopped",
        Some(summary) if summary.failed > 0 => "failed",
        Some(_) => "done",
    }
}

/// Returns a run as programs read it, its computations left out.
pub(crate) fn json(run: &Run) -> Value {
    json!({
        "id": run.id,
        "pipeline": run.pipeline,
        "title": run.title,
        "started": run.started,
        "seconds": run.seconds,
        "status": status(run),
        "device": run.device,
        "build": run.build,
        "summary": run.summary,
        "stages": run.nodes.len(),
    })
}
