//! `coresift plan`: what a run would do, and why.

use crate::context::{Context, Exit, Failure, Pipeline, print, print_line};
use crate::remote::{RemoteArgs, RemoteUse};
use cache::Store;
use engine::{Forecast, NodeId, Outlook, Plan};
use std::{fmt::Write as _, process::ExitCode};

#[derive(clap::Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pipeline: Pipeline,
    #[command(flatten)]
    remote: RemoteArgs,
    /// List the hits too.
    #[arg(long)]
    all: bool,
    /// Exit with 10 if a run would compute something, and with 0 if the store has all of it.
    #[arg(long)]
    exit_code: bool,
}

pub(crate) fn run(args: &PlanArgs, context: &Context) -> Result<ExitCode, Failure> {
    let plan = context.plan(&args.pipeline)?;
    context.tell_of_former_names(&plan);
    let store = context.store_at(&args.remote, RemoteUse::Read)?;
    let forecast = Forecast::of(&plan, &store)?;
    if context.global.json {
        print_line(&json(&plan, &forecast, &store).to_string());
    } else {
        print(&text(&plan, &forecast, &store, args.all));
    }
    let (_, run, waiting) = forecast.counts();
    let to_do = args.exit_code && run + waiting > 0;
    Ok(if to_do { Exit::ToDo.into() } else { ExitCode::SUCCESS })
}

fn text(plan: &Plan, forecast: &Forecast, store: &Store, all: bool) -> String {
    let mut out = String::new();
    for (id, _) in plan.nodes() {
        let name = plan.describe(id);
        match &forecast.outlooks[id.index()] {
            Outlook::Hit(_) if all && is_remote(forecast, id, store) => {
                writeln!(out, "remote hit {name}")
            }
            Outlook::Hit(_) if all => writeln!(out, "hit    {name}"),
            Outlook::Hit(_) => Ok(()),
            Outlook::Run(reasons) => {
                let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                writeln!(out, "run    {name}: {}", reasons.join("; "))
            }
            Outlook::Waits(on) => writeln!(out, "waits  {name}: on {}", names(plan, on)),
        }
        .ok();
    }
    let (hits, run, wait) = forecast.counts();
    let cells = plan.cells.len();
    let noun = if cells == 1 { "cell" } else { "cells" };
    let remote = plan.nodes().filter(|(id, _)| is_remote(forecast, *id, store)).count();
    let there = if remote > 0 { format!(" ({remote} remote)") } else { String::new() };
    writeln!(out, "{cells} {noun}: {hits} hits{there}, {run} to run, {wait} waiting on them").ok();
    out
}

/// Tells whether `node` is a hit of the remote store and not of the one here.
fn is_remote(forecast: &Forecast, node: NodeId, store: &Store) -> bool {
    let is_hit = matches!(forecast.outlooks[node.index()], Outlook::Hit(_));
    is_hit && forecast.keys[node.index()].is_some_and(|key| store.is_remote(key))
}

fn names(plan: &Plan, nodes: &[NodeId]) -> String {
    let names: Vec<String> = nodes.iter().map(|node| plan.describe(*node)).collect();
    names.join(", ")
}

fn json(plan: &Plan, forecast: &Forecast, store: &Store) -> serde_json::Value {
    let nodes = plan.nodes().map(|(id, node)| {
        let mut value = serde_json::json!({
            "stage": &*node.label,
            "name": plan.describe(id),
            "method": node.stage.method(),
            "key": forecast.keys[id.index()],
        });
        match &forecast.outlooks[id.index()] {
            Outlook::Hit(record) => {
                value["state"] = "hit".into();
                if is_remote(forecast, id, store) {
                    value["remote"] = true.into();
                }
                value["seconds"] = record.provenance.seconds.into();
            }
            Outlook::Run(reasons) => {
                value["state"] = "run".into();
                value["reasons"] = serde_json::json!(reasons);
                value["because"] =
                    reasons.iter().map(ToString::to_string).collect::<Vec<_>>().into();
            }
            Outlook::Waits(on) => {
                value["state"] = "waits".into();
                value["on"] = on.iter().map(|one| plan.describe(*one)).collect::<Vec<_>>().into();
            }
        }
        value
    });
    let (hits, run, waits) = forecast.counts();
    serde_json::json!({
        "cells": plan.cells.len(),
        "hits": hits,
        "run": run,
        "waits": waits,
        "nodes": nodes.collect::<Vec<_>>(),
    })
}
