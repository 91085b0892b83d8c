//! `coresift cache gc`: removes results that no kept run and no named pipeline reaches.

use crate::quantities::{DurationArg, Size};
use crate::{
    context::{Context, Failure, Pipeline, bytes_of, duration_of, print, print_line},
    site::Site,
};
use cache::{GcOptions, GcReport, KeepSet, Store};
use engine::{Forecast, LogTail, ResultUse, RunRecord, trajectory_key};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

#[derive(clap::Args)]
pub(super) struct GcArgs {
    /// Keep what this many of the last runs that made something reach, and what as many of the last
    /// tables and reports were made of [default: 5]
    #[arg(long, value_name = "N")]
    keep_runs: Option<usize>,
    /// Keep what this pipeline reaches; may be given several times.
    #[arg(long, value_name = "PIPELINE")]
    keep: Vec<PathBuf>,
    /// Go on until the store is no larger than this (`10GB`, `512MiB`), with what is cheapest to
    /// make again.
    #[arg(long, value_name = "SIZE")]
    max_size: Option<Size>,
    /// Leave alone what is younger: `0s`, `30m`, `2h`, `7d` [default: 1h]
    #[arg(long, value_name = "DURATION")]
    min_age: Option<DurationArg>,
    /// Remove nothing, say what would be.
    #[arg(long)]
    dry_run: bool,
    /// Remove it also where it took longer than ten minutes to compute.
    #[arg(long, short)]
    yes: bool,
}

/// Results that took more seconds than this to compute are named before they are removed.
const DEAR_SECONDS: f64 = 600.0;
/// How many runs are kept, and how old what is removed must be, unless something else is said.
const KEEP_RUNS: usize = 5;
const MIN_AGE: Duration = Duration::from_secs(3600);

pub(super) fn run(args: &GcArgs, store: &Store, context: &Context) -> Result<ExitCode, Failure> {
    let site = Site::read()?.cache;
    let keep_runs = args.keep_runs.or(site.keep_runs).unwrap_or(KEEP_RUNS);
    let _collecting = if args.dry_run { None } else { Some(store.lock_for_gc()?) };
    let (kept, mut reach) = runs_to_keep(store, keep_runs)?;
    if kept.is_empty() && keep_runs > 0 && args.keep.is_empty() && reach == KeepSet::default() {
        let failure = Failure::mistake(
            "the store remembers no run that made something, so all of it would go",
        );
        return Err(
            failure.hint("name what to keep with --keep PIPELINE, or mean it with --keep-runs 0")
        );
    }
    for path in &args.keep {
        reach_of_pipeline(path, store, context, &mut reach)?;
    }
    let min_age = args.min_age.or(site.min_age).map_or(MIN_AGE, |span| span.0);
    let max_bytes = args.max_size.or(site.max_size).map(|size| size.0);
    let look = GcOptions { dry_run: true, min_age, max_bytes };
    let outlook = store.gc(&reach, look)?;
    if !args.dry_run && !args.yes && outlook.seconds_lost > DEAR_SECONDS {
        let took = duration_of(outlook.seconds_lost);
        let what = format!(
            "nothing was removed: {} results would go that took {took} to compute",
            outlook.records
        );
        return Err(Failure::failed(what).hint(
            "--dry-run says how much would be freed, --keep PIPELINE and --keep-runs N keep more, \
             and --yes removes it",
        ));
    }
    let report = match args.dry_run {
        true => outlook,
        false => {
            let report = store.gc(&reach, GcOptions { dry_run: false, ..look })?;
            forget_events(store, &kept)?;
            report
        }
    };
    if context.global.json {
        print_line(&gc_json(&report, args.dry_run).to_string());
    } else {
        print(&gc_text(&report, args.dry_run));
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the names of the runs that a collection keeps, and what they reach: those that go on,
/// and the last `count` that made something; beside them what the last `count` tables and reports
/// were made of.
fn runs_to_keep(store: &Store, count: usize) -> Result<(BTreeSet<String>, KeepSet), Failure> {
    let mut kept = BTreeSet::new();
    let mut reach = KeepSet::default();
    let mut made = 0;
    for id in RunRecord::list(store)?.iter().rev() {
        let goes_on = LogTail::open(store, id)?.is_some_and(|log| log.is_growing());
        if !goes_on && made == count {
            continue;
        }
        // A record that does not read is passed over, unless somebody is at it.
        let run = RunRecord::read(store, id)?;
        if goes_on {
            let began = store.document_time("runs", &format!("{id}.json"))?;
            reach.since = reach.since.into_iter().chain(began).min();
            let nodes = run.iter().flat_map(|run| &run.nodes);
            reach.in_use.extend(nodes.flat_map(|node| node.key.into_iter().chain(node.trajectory)));
            kept.insert(id.clone());
        } else if let Some(run) = run.filter(RunRecord::made_something) {
            made += 1;
            reach_of_run(&run, &mut reach);
            kept.insert(id.clone());
        }
    }
    let uses = ResultUse::list(store)?;
    reach.records.extend(uses.into_iter().take(count).flat_map(|one| one.keys));
    Ok((kept, reach))
}

/// Removes the event logs of all runs but `kept` and those that go on; their records stay.
fn forget_events(store: &Store, kept: &BTreeSet<String>) -> Result<(), Failure> {
    for id in RunRecord::list(store)?.iter().filter(|id| !kept.contains(*id)) {
        if !LogTail::open(store, id)?.is_some_and(|log| log.is_growing()) {
            RunRecord::forget_events(store, id)?;
        }
    }
    Ok(())
}

fn reach_of_run(run: &RunRecord, reach: &mut KeepSet) {
    reach.records.extend(run.nodes.iter().filter_map(|node| node.key));
    reach.trajectories.extend(run.nodes.iter().filter_map(|node| node.trajectory));
}

fn reach_of_pipeline(
    path: &Path,
    store: &Store,
    context: &Context,
    reach: &mut KeepSet,
) -> Result<(), Failure> {
    let plan =
        context.plan(&Pipeline { pipeline: path.to_owned(), set: vec![], target: vec![] })?;
    let forecast = Forecast::of(&plan, store)?;
    reach.records.extend(forecast.keys.iter().flatten());
    for (node, _) in plan.nodes() {
        let made = forecast.record(node).map(|record| &record.recipe);
        let recipe = made.or(forecast.recipes[node.index()].as_ref());
        reach.trajectories.extend(recipe.and_then(|recipe| trajectory_key(&plan, node, recipe)));
    }
    Ok(())
}

fn gc_text(report: &GcReport, dry_run: bool) -> String {
    let parts = [
        (report.records, "result"),
        (report.objects, "object"),
        (report.checkpoints, "checkpoint"),
        (report.remote_records, "remote record"),
        (report.quarantine, "damaged file"),
        (report.tmp, "leftover"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}{}", if *count == 1 { "" } else { "s" }))
        .collect();
    let left = bytes_of(report.bytes_left);
    if parts.is_empty() {
        return format!("nothing to remove; the store holds {left}\n");
    }
    let done = if dry_run { "would remove" } else { "removed" };
    let mut out = format!("{done} {}: {}", parts.join(", "), bytes_of(report.bytes));
    if report.records > 0 {
        let _ = write!(out, ", {} of computing", duration_of(report.seconds_lost));
    }
    let _ = writeln!(out, "; {left} are left");
    out
}

fn gc_json(report: &GcReport, dry_run: bool) -> Value {
    json!({
        "dry_run": dry_run,
        "records": report.records,
        "objects": report.objects,
        "checkpoints": report.checkpoints,
        "remote_records": report.remote_records,
        "quarantine": report.quarantine,
        "tmp": report.tmp,
        "bytes": report.bytes,
        "bytes_left": report.bytes_left,
        "seconds_lost": report.seconds_lost,
    })
}
