//! `coresift show`: one run, its stages and what they left behind.

use crate::{
    context::{
        Cells, Context, Failure, bytes_of, columns, duration_of, print, print_line, time_of,
    },
    explain::recipe_text,
    follow, runs, submit,
};
use cache::{Record, Store};
use engine::{RunNode, RunRecord, RunState, RunStatus, SubmittedRun};
use serde_json::{Value, json};
use std::{fmt::Write as _, process::ExitCode};

/// How many records are shown to people; programs get all.
const SHOWN: usize = 20;

#[derive(clap::Args)]
pub(crate) struct ShowArgs {
    /// The run: its name, the beginning of it, or `last`.
    run: String,
    /// Show the records of this stage: recipe, parts, log.
    #[arg(long, value_name = "STAGE")]
    stage: Option<String>,
    /// Only in these cells of the matrix: `keep=0.1`.
    #[arg(long, value_name = "AXIS=VALUE")]
    cell: Vec<String>,
    /// Print the events of the run: those there are, and of a running one, those to come.
    #[arg(long, conflicts_with_all = ["stage", "cell"])]
    follow: bool,
    /// Replay them this many times as fast as they happened [default: all at once]
    #[arg(long, value_name = "TIMES", requires = "follow", value_parser = follow::speed)]
    speed: Option<f64>,
}

pub(crate) fn run(args: &ShowArgs, context: &Context) -> Result<ExitCode, Failure> {
    let store = context.store()?;
    let run = runs::find(&store, &args.run)?;
    if args.follow {
        return follow::print_all(&store, &run, args.speed, context);
    }
    let axes: Vec<(&str, &[String])> =
        run.axes.iter().map(|(name, values)| (name.as_str(), &values[..])).collect();
    let cells = Cells::read(&args.cell, &axes)?;
    let held = |node: &&RunNode| {
        let named = args.stage.as_ref().is_none_or(|stage| node.label == *stage);
        named && (args.cell.is_empty() || cells.hold(&node.cell))
    };
    let nodes: Vec<&RunNode> = run.nodes.iter().filter(held).collect();
    if let Some(stage) = &args.stage
        && nodes.is_empty()
    {
        return Err(Failure::mistake(format!("the run has no stage called `{stage}` there")));
    }
    if context.global.json {
        let with_records = args.stage.is_some();
        let status = run.status(&store)?;
        let mut value = json(&run, status, &nodes, with_records.then_some(&store))?;
        if let Some(queue) = queue(&run, &store)? {
            value["queue"] = queue.into();
        }
        print_line(&value.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    if args.stage.is_none() {
        print(&text(&run, run.status(&store)?, queue(&run, &store)?.as_deref(), &nodes));
        let why = run.failures(&store)?;
        let shown = |node: &RunNode| nodes.iter().any(|one| std::ptr::eq(*one, node));
        for (at, why) in why {
            if let Some(node) = run.nodes.get(at).filter(|node| shown(node)) {
                print(&format!("\n{}\n", follow::failed(&runs::name(&run, node), &why)));
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    for (position, node) in nodes.iter().take(SHOWN).enumerate() {
        let gap = if position == 0 { "" } else { "\n" };
        print(&format!("{gap}{}", record_text(&run, node, &store)?));
    }
    if nodes.len() > SHOWN {
        let more = nodes.len() - SHOWN;
        context.note(&format!("{more} more cells: pick some with --cell, or take all with --json"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Says how the jobs of a submitted run stand in the queue, if it has not ended.
fn queue(run: &RunRecord, store: &Store) -> Result<Option<String>, Failure> {
    let submitted = SubmittedRun::find(store, &run.id).filter(SubmittedRun::is_open);
    submitted.map(|submitted| submit::queue_line(&submitted)).transpose()
}

fn text(run: &RunRecord, status: RunStatus, queue: Option<&str>, nodes: &[&RunNode]) -> String {
    let mut out = format!("run       {}\npipeline  {}\n", run.id, run.pipeline);
    for (what, text) in [("title", &run.title), ("name", &run.name), ("note", &run.note)] {
        if let Some(text) = text {
            writeln!(out, "{what:<8}  {text}").ok();
        }
    }
    writeln!(out, "began     {} UTC", time_of(run.started)).ok();
    writeln!(out, "device    {}, coresift {}", run.device, run.build).ok();
    match run.summary {
        None => {
            let named = status == RunStatus::GoingOn && !run.process.is_empty();
            let who = if named { format!(", as {}", run.process) } else { String::new() };
            writeln!(out, "status    {}{who}: {}", status.label(), so_far(run))
        }
        Some(one) => writeln!(
            out,
            "status    {} in {}: {} hits, {} computed, {} failed, {} skipped, {} not done",
            status.label(),
            duration_of(run.seconds),
            one.hits,
            one.computed,
            one.failed,
            one.skipped,
            one.stopped,
        ),
    }
    .ok();
    if let Some(queue) = queue {
        writeln!(out, "queue     {queue}").ok();
    }
    let mut rows = vec![["state", "took", "key", "stage"].map(str::to_owned).to_vec()];
    for node in nodes {
        let took = match node.state {
            RunState::Computed => duration_of(node.seconds),
            _ => "-".to_owned(),
        };
        let key = node.key.map_or("-".to_owned(), |key| key.short());
        rows.push(vec![runs::state(node).to_owned(), took, key, runs::name(run, node)]);
    }
    out.push('\n');
    out.push_str(&columns(&rows, |column| column == 1));
    out
}

/// Says how far a run without a last word got.
fn so_far(run: &RunRecord) -> String {
    let count = |state| run.nodes.iter().filter(|node| node.state == state).count();
    let states = [
        (RunState::Hit, "hits"),
        (RunState::Computed, "computed"),
        (RunState::Running, "under way"),
        (RunState::Failed, "failed"),
    ];
    let parts: Vec<String> = states
        .into_iter()
        .filter(|(state, _)| count(*state) > 0)
        .map(|(state, word)| format!("{} {word}", count(state)))
        .collect();
    format!(
        "{} of {} stages",
        if parts.is_empty() { "none".to_owned() } else { parts.join(", ") },
        run.nodes.len()
    )
}

fn record(node: &RunNode, store: &Store) -> Result<Option<Record>, Failure> {
    Ok(node.key.map(|key| store.record(key)).transpose()?.flatten())
}

fn record_text(run: &RunRecord, node: &RunNode, store: &Store) -> Result<String, Failure> {
    let mut out = format!("{}\n  {} in run {}\n", runs::name(run, node), runs::state(node), run.id);
    let Some(record) = record(node, store)? else {
        out.push_str(match node.key {
            Some(_) => "  its result is not in the store\n",
            None => "  it was not reached, so its key is not known\n",
        });
        return Ok(out);
    };
    out.push_str(&recipe_text(&record.recipe));
    let made = &record.provenance;
    let when = time_of(made.finished);
    let took = duration_of(made.seconds);
    writeln!(out, "  made {when} UTC in {took} on {} by coresift {}", made.device, made.build).ok();
    writeln!(out, "  {} {}", record.output.kind, record.output.digest().short()).ok();
    let row = |(part, blob): (&String, &cache::Blob)| {
        vec![format!("    {part}"), bytes_of(blob.size), blob.digest.short()]
    };
    let rows: Vec<Vec<String>> = record.output.parts.iter().map(row).collect();
    out.push_str(&columns(&rows, |column| column == 1));
    for line in &made.log {
        writeln!(out, "  log: {line}").ok();
    }
    Ok(out)
}

fn json(
    run: &RunRecord,
    status: RunStatus,
    nodes: &[&RunNode],
    store: Option<&Store>,
) -> Result<Value, Failure> {
    let mut stages = vec![];
    for node in nodes {
        let mut value = json!({
            "stage": node.label,
            "name": runs::name(run, node),
            "state": node.state,
            "seconds": node.seconds,
            "key": node.key,
        });
        if let Some(store) = store {
            value["record"] = json!(record(node, store)?);
        }
        stages.push(value);
    }
    let mut value = runs::json(run, status);
    value["axes"] =
        run.axes.iter().map(|(name, values)| json!({ "name": name, "values": values })).collect();
    value["sources"] = json!(run.sources);
    value["stages"] = stages.into();
    Ok(value)
}
