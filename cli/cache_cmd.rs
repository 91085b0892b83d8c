//! `coresift cache`: what the store holds, whether it is whole, and what may go.

mod audit;
mod gc;
mod remote;
mod rm;
mod share;

use crate::context::{
    Context, Exit, Failure, bytes_of, columns, duration_of, print, print_line, time_of,
};
use crate::quantities::DurationArg;
use cache::{EntryKind, Finding, Key, Record, Stats, Store, Verify, VerifyReport};
use serde_json::{Value, json};
use std::{fmt::Write as _, process::ExitCode};

#[derive(clap::Args)]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(clap::Subcommand)]
enum CacheCommand {
    /// Say how much the store holds of what.
    Stats(StatsArgs),
    /// List the results in the store.
    Ls(LsArgs),
    /// Read the store and set aside what is damaged; the next run makes it again.
    Verify(VerifyArgs),
    /// Make some results once more, apart, and compare them with what the store has: is every number that of its
    /// recipe?
    Audit(audit::AuditArgs),
    /// Remove what nobody needs: neither a run that goes on, nor the last runs that made something,
    /// nor the last tables and reports, nor the pipelines named here.
    Gc(gc::GcArgs),
    /// Forget results of a stage: the next run makes them again.
    Rm(rm::RmArgs),
    /// Make or show the key that records are signed with on their way to a remote store.
    #[cfg(feature = "remote")]
    Key(crate::keys::KeyArgs),
    /// Open the store to its group: everybody in it may then read, run and collect.
    Share(share::ShareArgs),
}

#[derive(clap::Args)]
struct StatsArgs {
    /// Say how much the remote store holds. It is listed for that, which may take a while.
    #[arg(long)]
    remote: bool,
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
    #[arg(long, value_name = "SHARE", value_parser = fraction, conflicts_with = "for")]
    sample: Option<f64>,
    /// Read for this long: `30s`, `10m`.
    #[arg(long, value_name = "DURATION")]
    r#for: Option<DurationArg>,
}

pub(crate) fn run(args: &CacheArgs, context: &Context) -> Result<ExitCode, Failure> {
    #[cfg(feature = "remote")]
    if let CacheCommand::Key(args) = &args.command {
        return crate::keys::run(args, context);
    }
    if let CacheCommand::Stats(StatsArgs { remote: true }) = &args.command {
        return remote::stats(context);
    }
    let store = context.local_store()?;
    match &args.command {
        #[cfg(feature = "remote")]
        CacheCommand::Key(args) => crate::keys::run(args, context),
        CacheCommand::Stats(_) => stats(&store, context),
        CacheCommand::Ls(args) => ls(args, &store, context),
        CacheCommand::Verify(args) => verify(args, &store, context),
        CacheCommand::Audit(args) => audit::run(args, &store, context),
        CacheCommand::Gc(args) => gc::run(args, &store, context),
        CacheCommand::Rm(args) => rm::run(args, &store, context),
        CacheCommand::Share(args) => share::run(args, &store, context),
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
        (None, Some(DurationArg(limit))) => Verify::Within(limit),
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
    Ok(if report.damaged > 0 { Exit::Damaged.into() } else { ExitCode::SUCCESS })
}

fn thing(thing: EntryKind) -> &'static str {
    match thing {
        EntryKind::Record => "record",
        EntryKind::Object => "object",
        EntryKind::Checkpoint => "checkpoint",
        EntryKind::Stray => "stray file",
    }
}

fn finding_text(finding: &Finding) -> String {
    let mut text = format!("{} {}: {}", thing(finding.kind), finding.path.display(), finding.what);
    let keys: Vec<String> = finding.records.iter().take(5).map(Key::short).collect();
    if finding.kind == EntryKind::Object && !keys.is_empty() {
        let _ = write!(text, "; needed by {}", keys.join(", "));
        if finding.records.len() > keys.len() {
            let _ = write!(text, " and {} more", finding.records.len() - keys.len());
        }
    }
    text
}

fn finding_json(finding: &Finding) -> Value {
    json!({
        "thing": thing(finding.kind),
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

fn fraction(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share lies between 0 and 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_lies_between_0_and_1() {
        assert_eq!(fraction("0.5"), Ok(0.5));
        assert!(fraction("1.1").is_err() && fraction("nan").is_err());
    }
}
