//! `coresift cache`: what the store holds, whether it is whole, and what may go.

use crate::{
    context::{
        Cells, Context, DAMAGED, Failure, MISTAKE, Pipeline, bytes_of, columns, duration_of, print,
        print_line, time_of,
    },
    site::Site,
};
use cache::{
    Finding, GcOptions, GcReport, Key, Reach, Record, Stats, Store, Thing, Verify, VerifyReport,
};
use engine::{Forecast, Run, Tail, Use, trajectory_key};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
    time::Duration,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Say how much the store holds of what.
    Stats,
    /// List the results in the store.
    Ls(LsArgs),
    /// Read the store and set aside what is damaged; the next run makes it again.
    Verify(VerifyArgs),
    /// Remove what nobody needs: neither a run that goes on, nor the last runs that made something,
    /// nor the last tables and reports, nor the pipelines named here.
    Gc(GcArgs),
    /// Forget results of a stage: the next run makes them again.
    Rm(RmArgs),
    /// Open the store to its group: everybody in it may then read, run and collect.
    Share(ShareArgs),
}

#[derive(clap::Args)]
struct RmArgs {
    #[command(flatten)]
    pipeline: Pipeline,
    /// The stage.
    stage: String,
    /// Only in these cells of the matrix: `keep=0.1`.
    #[arg(long, value_name = "AXIS=VALUE")]
    cell: Vec<String>,
    /// Remove nothing, say what would be.
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args)]
struct ShareArgs {
    /// The group, by name or number [default: the one that owns the store's folder]
    #[arg(long)]
    group: Option<String>,
}

#[derive(clap::Args)]
struct LsArgs {
    /// Only this kind of artifact, such as `subset`.
    #[arg(long)]
    kind: Option<String>,
    /// Only this method, or this family of methods.
    #[arg(long)]
    method: Option<String>,
    /// The largest, slowest or newest first.
    #[arg(long, value_enum, default_value_t)]
    sort: Sort,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Sort {
    Size,
    Seconds,
    #[default]
    Time,
}

#[derive(clap::Args)]
struct VerifyArgs {
    /// Read only this share of the objects, from 0 to 1; others each time.
    #[arg(long, value_name = "SHARE", value_parser = share, conflicts_with = "for")]
    sample: Option<f64>,
    /// Read for this long: `30s`, `10m`.
    #[arg(long, value_name = "DURATION")]
    r#for: Option<Span>,
}

#[derive(clap::Args)]
struct GcArgs {
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
    min_age: Option<Span>,
    /// Remove nothing, say what would be.
    #[arg(long)]
    dry_run: bool,
    /// Remove it also where it took longer than ten minutes to compute.
    #[arg(long, short)]
    yes: bool,
}

/// What took longer than this to compute is not removed without a word.
const DEAR_SECONDS: f64 = 600.0;
/// How many runs are kept, and how old what is removed must be, unless something else is said.
const KEEP_RUNS: usize = 5;
const MIN_AGE: Duration = Duration::from_secs(3600);

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, Failure> {
    let store = context.store()?;
    match &args.command {
        Command::Stats => stats(&store, context),
        Command::Ls(args) => ls(args, &store, context),
        Command::Verify(args) => verify(args, &store, context),
        Command::Gc(args) => gc(args, &store, context),
        Command::Rm(args) => rm(args, &store, context),
        Command::Share(args) => open_to_group(args, &store, context),
    }
}

fn stats(store: &Store, context: &Context) -> Result<ExitCode, Failure> {
    let stats = store.stats()?;
    if context.global.json {
        print_line(&stats_json(&stats, store).to_string());
    } else {
        print(&stats_text(&stats, store));
    }
    Ok(ExitCode::SUCCESS)
}

fn stats_text(stats: &Stats, store: &Store) -> String {
    let objects = format!("{} in {}", stats.objects, bytes_of(stats.bytes));
    let mut rows = vec![
        vec!["store".to_owned(), store.root().display().to_string()],
        vec!["results".to_owned(), stats.records.to_string()],
        vec!["objects".to_owned(), objects],
        vec!["checkpoints".to_owned(), stats.checkpoints.to_string()],
        vec!["computed in".to_owned(), duration_of(stats.seconds_saved)],
    ];
    for (what, count) in [("set aside", stats.quarantine), ("left over", stats.tmp)] {
        if count > 0 {
            rows.push(vec![what.to_owned(), count.to_string()]);
        }
    }
    let mut out = columns(&rows, |_| false);
    if !stats.kinds.is_empty() {
        let mut rows = vec![["kind", "results", "size"].map(str::to_owned).to_vec()];
        for (kind, held) in &stats.kinds {
            rows.push(vec![kind.clone(), held.records.to_string(), bytes_of(held.bytes)]);
        }
        out.push('\n');
        out.push_str(&columns(&rows, |column| column > 0));
    }
    out
}

fn stats_json(stats: &Stats, store: &Store) -> Value {
    let kind = |(kind, held): (&String, &cache::KindStats)| {
        (kind.clone(), json!({ "records": held.records, "bytes": held.bytes }))
    };
    json!({
        "store": store.root().display().to_string(),
        "records": stats.records,
        "objects": stats.objects,
        "bytes": stats.bytes,
        "checkpoints": stats.checkpoints,
        "quarantine": stats.quarantine,
        "tmp": stats.tmp,
        "seconds_saved": stats.seconds_saved,
        "kinds": stats.kinds.iter().map(kind).collect::<serde_json::Map<_, _>>(),
    })
}

fn ls(args: &LsArgs, store: &Store, context: &Context) -> Result<ExitCode, Failure> {
    let mut all: Vec<(Key, Record)> = vec![];
    store.list(&mut |key, record| {
        let method = &record.recipe.method;
        let of_family = |wanted: &String| method.split('.').next() == Some(wanted.as_str());
        let wanted = args.kind.as_ref().is_none_or(|kind| record.output.kind == *kind)
            && args.method.as_ref().is_none_or(|one| method == one || of_family(one));
        if wanted {
            all.push((key, record));
        }
    })?;
    // The list came by key: so do those that are equal.
    all.sort_by(|(_, a), (_, b)| match args.sort {
        Sort::Size => size(b).cmp(&size(a)),
        Sort::Seconds => b.provenance.seconds.total_cmp(&a.provenance.seconds),
        Sort::Time => b.provenance.finished.cmp(&a.provenance.finished),
    });
    if context.global.json {
        let record = |(key, record): &(Key, Record)| {
            json!({
                "key": key,
                "kind": record.output.kind,
                "method": record.recipe.method,
                "output": record.output.digest(),
                "bytes": size(record),
                "seconds": record.provenance.seconds,
                "finished": record.provenance.finished,
                "device": record.provenance.device,
                "build": record.provenance.build,
            })
        };
        print_line(&all.iter().map(record).collect::<Value>().to_string());
        return Ok(ExitCode::SUCCESS);
    }
    let head = ["kind", "method", "key", "size", "took", "made (UTC)"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (key, record) in &all {
        rows.push(vec![
            record.output.kind.clone(),
            record.recipe.method.clone(),
            key.short(),
            bytes_of(size(record)),
            duration_of(record.provenance.seconds),
            time_of(record.provenance.finished),
        ]);
    }
    print(&columns(&rows, |column| column == 3 || column == 4));
    Ok(ExitCode::SUCCESS)
}

fn size(record: &Record) -> u64 {
    record.output.parts.values().map(|blob| blob.size).sum()
}

fn verify(args: &VerifyArgs, store: &Store, context: &Context) -> Result<ExitCode, Failure> {
    let mode = match (args.sample, args.r#for) {
        (Some(share), _) => Verify::Sample(share),
        (None, Some(Span(limit))) => Verify::Within(limit),
        (None, None) => Verify::All,
    };
    let mut found: Vec<Value> = vec![];
    let report = store.verify(mode, &mut |finding| {
        if context.global.json {
            found.push(finding_json(finding));
        } else {
            print_line(&finding_text(finding));
        }
    })?;
    if context.global.json {
        print_line(&report_json(&report, found).to_string());
    } else {
        print(&report_text(&report));
    }
    Ok(if report.damaged > 0 { ExitCode::from(DAMAGED) } else { ExitCode::SUCCESS })
}

fn thing(thing: Thing) -> &'static str {
    match thing {
        Thing::Record => "record",
        Thing::Object => "object",
        Thing::Checkpoint => "checkpoint",
        Thing::Stray => "stray file",
    }
}

fn finding_text(finding: &Finding) -> String {
    let mut text = format!("{} {}: {}", thing(finding.thing), finding.path.display(), finding.what);
    let keys: Vec<String> = finding.records.iter().take(5).map(Key::short).collect();
    if finding.thing == Thing::Object && !keys.is_empty() {
        let _ = write!(text, "; needed by {}", keys.join(", "));
        if finding.records.len() > keys.len() {
            let _ = write!(text, " and {} more", finding.records.len() - keys.len());
        }
    }
    text
}

fn finding_json(finding: &Finding) -> Value {
    json!({
        "thing": thing(finding.thing),
        "path": finding.path.display().to_string(),
        "what": finding.what.to_string(),
        "records": finding.records,
    })
}

fn report_text(report: &VerifyReport) -> String {
    let mut out = format!(
        "read {} records, {} checkpoints and {} of {} objects ({}): ",
        report.records,
        report.checkpoints,
        report.objects,
        report.of_objects,
        bytes_of(report.bytes),
    );
    out.push_str(&match report.damaged {
        0 => "all whole\n".to_owned(),
        1 => "1 is damaged; it was set aside, and the next run that needs it makes it again\n".to_owned(),
        n => format!("{n} are damaged; they were set aside, and the next run that needs them makes them again\n"),
    });
    if report.strays > 0 {
        let _ = writeln!(
            out,
            "{} files there are not the store's; they were left alone",
            report.strays
        );
    }
    out
}

fn report_json(report: &VerifyReport, findings: Vec<Value>) -> Value {
    json!({
        "records": report.records,
        "checkpoints": report.checkpoints,
        "objects": report.objects,
        "of_objects": report.of_objects,
        "bytes": report.bytes,
        "damaged": report.damaged,
        "strays": report.strays,
        "findings": findings,
    })
}

fn gc(args: &GcArgs, store: &Store, context: &Context) -> Result<ExitCode, Failure> {
    let site = Site::read()?.cache;
    let keep_runs = args.keep_runs.or(site.keep_runs).unwrap_or(KEEP_RUNS);
    let _collecting = if args.dry_run { None } else { Some(store.collecting()?) };
    let (kept, mut reach) = runs_to_keep(store, keep_runs)?;
    if kept.is_empty() && keep_runs > 0 && args.keep.is_empty() && reach == Reach::default() {
        let failure = Failure::new(
            MISTAKE,
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
        return Err(Failure::new(1, what).hint(
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
fn runs_to_keep(store: &Store, count: usize) -> Result<(BTreeSet<String>, Reach), Failure> {
    let (mut kept, mut reach) = (BTreeSet::new(), Reach::default());
    let mut made = 0;
    for id in Run::list(store)?.iter().rev() {
        let goes_on = Tail::open(store, id)?.is_some_and(|log| log.is_growing());
        if !goes_on && made == count {
            continue;
        }
        // A record that does not read is passed over, unless somebody is at it.
        let run = Run::read(store, id)?;
        if goes_on {
            let began = store.document_time("runs", &format!("{id}.json"))?;
            reach.since = reach.since.into_iter().chain(began).min();
            let nodes = run.iter().flat_map(|run| &run.nodes);
            reach.in_use.extend(nodes.flat_map(|node| node.key.into_iter().chain(node.trajectory)));
            kept.insert(id.clone());
        } else if let Some(run) = run.filter(Run::made_something) {
            made += 1;
            reach_of_run(&run, &mut reach);
            kept.insert(id.clone());
        }
    }
    let uses = Use::all(store)?;
    reach.records.extend(uses.into_iter().take(count).flat_map(|one| one.keys));
    Ok((kept, reach))
}

/// Removes the event logs of all runs but `kept` and those that go on; their records stay.
fn forget_events(store: &Store, kept: &BTreeSet<String>) -> Result<(), Failure> {
    for id in Run::list(store)?.iter().filter(|id| !kept.contains(*id)) {
        if !Tail::open(store, id)?.is_some_and(|log| log.is_growing()) {
            Run::forget_events(store, id)?;
        }
    }
    Ok(())
}

fn rm(args: &RmArgs, store: &Store, context: &Context) -> Result<ExitCode, Failure> {
    let plan = context.plan_to(&args.pipeline, &args.stage)?;
    let nodes = Cells::of(&args.cell, &plan)?.nodes(&plan, &args.stage)?;
    let forecast = Forecast::of(&plan, store)?;
    let (mut keys, mut checkpoints, mut seconds) = (BTreeSet::new(), 0, 0.0);
    for node in nodes {
        let Some(record) = forecast.record(node) else { continue };
        let key = record.recipe.key();
        if !keys.insert(key) {
            continue;
        }
        seconds += record.provenance.seconds;
        if args.dry_run {
            continue;
        }
        store.forget(key)?;
        if let Some(trajectory) = trajectory_key(&plan, node, &record.recipe) {
            checkpoints += store.drop_checkpoints(trajectory, |_| false)?;
        }
    }
    if context.global.json {
        let answer = json!({
            "dry_run": args.dry_run, "forgot": keys, "checkpoints": checkpoints, "seconds_lost": seconds,
        });
        print_line(&answer.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    let results =
        if keys.len() == 1 { "1 result".to_owned() } else { format!("{} results", keys.len()) };
    let done = if args.dry_run { "would forget" } else { "forgot" };
    let took = duration_of(seconds);
    print_line(&match (keys.len(), checkpoints) {
        (0, _) => format!("the store has no result of `{}`", args.stage),
        (_, 0) => format!("{done} {results} of `{}`, {took} of computing", args.stage),
        (_, n) => {
            format!("{done} {results} of `{}` and {n} checkpoints, {took} of computing", args.stage)
        }
    });
    Ok(ExitCode::SUCCESS)
}

fn open_to_group(args: &ShareArgs, store: &Store, context: &Context) -> Result<ExitCode, Failure> {
    let group = args.group.as_deref().map(group_of).transpose()?;
    let report = store.share(group)?;
    if context.global.json {
        print_line(&json!({ "opened": report.opened, "refused": report.refused }).to_string());
        return Ok(ExitCode::SUCCESS);
    }
    print_line(&format!("opened {} files and folders to the group", report.opened));
    if report.refused > 0 {
        context.note(&format!(
            "{} belong to others, and stay as they are: have their owners run this, too",
            report.refused
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the number of a group.
fn group_of(name: &str) -> Result<u32, Failure> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let found = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    found.ok_or_else(|| {
        Failure::new(MISTAKE, format!("--group {name}: no group of /etc/group is called so"))
            .hint("`id` lists yours; one that a directory service knows goes by its number")
    })
}

fn reach_of_run(run: &Run, reach: &mut Reach) {
    reach.records.extend(run.nodes.iter().filter_map(|node| node.key));
    reach.trajectories.extend(run.nodes.iter().filter_map(|node| node.trajectory));
}

fn reach_of_pipeline(
    path: &Path,
    store: &Store,
    context: &Context,
    reach: &mut Reach,
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
        "quarantine": report.quarantine,
        "tmp": report.tmp,
        "bytes": report.bytes,
        "bytes_left": report.bytes_left,
        "seconds_lost": report.seconds_lost,
    })
}

/// A length of time on the command line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write a number and a unit: `30s`, `10m`, `2h`, `7d`".to_owned();
        let (number, unit) = amount(text).ok_or_else(wrong)?;
        let seconds = match unit.as_str() {
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            "" if number == 0.0 => 1.0,
            _ => return Err(wrong()),
        };
        Duration::try_from_secs_f64(number * seconds).map(Self).map_err(|_| wrong())
    }
}

/// A number of bytes on the command line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write a number and a unit: `500MB`, `10GB`, `2GiB`".to_owned();
        let (number, unit) = amount(text).ok_or_else(wrong)?;
        let bytes = match unit.as_str() {
            "" | "b" => 1.0,
            "k" | "kb" => 1e3,
            "m" | "mb" => 1e6,
            "g" | "gb" => 1e9,
            "t" | "tb" => 1e12,
            "kib" => 1_024.0,
            "mib" => 1_048_576.0,
            "gib" => 1_073_741_824.0,
            "tib" => 1_099_511_627_776.0,
            _ => return Err(wrong()),
        };
        Ok(Self((number * bytes) as u64))
    }
}

/// Returns a number, not negative, and the lowercase unit behind it.
fn amount(text: &str) -> Option<(f64, String)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    Some((number, text[end..].trim().to_lowercase()))
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share lies between 0 and 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_units() {
        let seconds = |text: &str| text.parse::<Span>().map(|span| span.0.as_secs_f64());
        assert_eq!(seconds("1.5h"), Ok(5_400.0));
        assert_eq!(seconds("0"), Ok(0.0));
        assert_eq!(seconds("10 min"), Ok(600.0));
        let size = |text: &str| text.parse::<Size>().map(|size| size.0);
        assert_eq!(size("10GB"), Ok(10_000_000_000));
        assert_eq!(size("1.5 KiB"), Ok(1_536));
        assert_eq!(size("7"), Ok(7));
        for wrong in ["", "h", "-1h", "5", "1e3s", "1.2.3s", "1w"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert!(size("10 elephants").is_err() && share("1.1").is_err() && share("nan").is_err());
    }
}
