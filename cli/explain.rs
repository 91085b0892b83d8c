//! `coresift explain`: why a stage is a hit or a miss.

use crate::context::{
    Cells, Context, Failure, Pipeline, columns, duration_of, print, print_line, time_of,
};
use cache::{Key, Recipe, Record};
use engine::{Forecast, NodeId, Outlook, Plan, Reason};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    process::ExitCode,
};

/// How many computations are explained to people; programs get all.
const SHOWN: usize = 20;

#[derive(clap::Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pipeline: Pipeline,
    /// The stage to explain.
    stage: String,
    /// Only in these cells of the matrix: `keep=0.1`.
    #[arg(long, value_name = "AXIS=VALUE")]
    cell: Vec<String>,
}

pub(crate) fn run(args: &ExplainArgs, context: &Context) -> Result<ExitCode, Failure> {
    let plan = context.plan_to(&args.pipeline, &args.stage)?;
    let nodes = Cells::of(&args.cell, &plan)?.nodes(&plan, &args.stage)?;
    let store = context.store()?;
    let forecast = Forecast::of(&plan, &store)?;
    if context.global.json {
        let all: Vec<Value> = nodes.iter().map(|node| json(&plan, &forecast, *node)).collect();
        print_line(&json!({ "stage": args.stage, "nodes": all }).to_string());
        return Ok(ExitCode::SUCCESS);
    }
    let groups = by_key(&forecast, &nodes);
    for (position, group) in groups.iter().take(SHOWN).enumerate() {
        let gap = if position == 0 { "" } else { "\n" };
        print(&format!("{gap}{}", text(&plan, &forecast, group)));
    }
    if groups.len() > SHOWN {
        let more = groups.len() - SHOWN;
        context.note(&format!("{more} more cells: pick some with --cell, or take all with --json"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns `nodes` in groups that have the same key, and so the same story.
fn by_key(forecast: &Forecast, nodes: &[NodeId]) -> Vec<Vec<NodeId>> {
    let mut groups: Vec<Vec<NodeId>> = vec![];
    let mut known: BTreeMap<Key, usize> = BTreeMap::new();
    for node in nodes {
        let met = forecast.keys[node.index()].map(|key| *known.entry(key).or_insert(groups.len()));
        match met.and_then(|group| groups.get_mut(group)) {
            Some(group) => group.push(*node),
            None => groups.push(vec![*node]),
        }
    }
    groups
}

fn text(plan: &Plan, forecast: &Forecast, group: &[NodeId]) -> String {
    let node = group[0];
    let mut out = plan.describe(node);
    match group.len() {
        1 => {}
        2 => out.push_str(" and one more with the same key"),
        n => {
            let _ = write!(out, " and {} more with the same key", n - 1);
        }
    }
    out.push('\n');
    match &forecast.outlooks[node.index()] {
        Outlook::Hit(record) => out.push_str(&hit(record)),
        Outlook::Run(reasons) => {
            for reason in reasons {
                writeln!(out, "  run: {reason}").ok();
                let Reason::Failed { why: Some(why), .. } = reason else { continue };
                let more = why.message();
                for line in more.lines().skip(1) {
                    writeln!(out, "  {line}").ok();
                }
                if let Some(hint) = &why.hint {
                    writeln!(out, "    help: {hint}").ok();
                }
            }
        }
        Outlook::Waits(on) => {
            let names: Vec<String> = on.iter().map(|one| plan.describe(*one)).collect();
            writeln!(out, "  waits on {}, so its key is not known yet", names.join(", ")).ok();
            for root in roots(forecast, node) {
                let Outlook::Run(reasons) = &forecast.outlooks[root.index()] else { continue };
                let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                writeln!(out, "  {} is to run: {}", plan.describe(root), reasons.join("; ")).ok();
            }
        }
    }
    let made = forecast.record(node).map(|record| &record.recipe);
    match made.or(forecast.recipes[node.index()].as_ref()) {
        Some(recipe) => out.push_str(&recipe_text(recipe)),
        None => {
            let this = plan.node(node);
            let rows = [
                vec!["method".to_owned(), this.stage.method().to_owned()],
                vec!["settings".to_owned(), this.settings.to_string()],
            ];
            out.push_str(&indented(&columns(&rows, |_| false)));
        }
    }
    out
}

fn hit(record: &Record) -> String {
    let made = &record.provenance;
    let mut out = format!(
        "  hit: made {} UTC in {} on {} by coresift {}\n",
        time_of(made.finished),
        duration_of(made.seconds),
        made.device,
        made.build,
    );
    for line in &made.log {
        writeln!(out, "  log: {line}").ok();
    }
    out
}

/// Returns a recipe as people read it, with its key.
pub(crate) fn recipe_text(recipe: &Recipe) -> String {
    let mut rows = vec![
        vec!["key".to_owned(), recipe.key().to_string()],
        vec!["method".to_owned(), format!("{}, revision {}", recipe.method, recipe.revision)],
    ];
    if let Some(seed) = recipe.seed {
        rows.push(vec!["seed".to_owned(), seed.to_string()]);
    }
    for (port, digest) in &recipe.inputs {
        let what = match port.split_once(':') {
            Some((kind, role)) => format!("{kind} {role}"),
            None => format!("input {port}"),
        };
        rows.push(vec![what, digest.short()]);
    }
    rows.push(vec!["settings".to_owned(), recipe.settings.to_string()]);
    indented(&columns(&rows, |_| false))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// Returns what has to run first for `node` to be known, in the order of the plan.
fn roots(forecast: &Forecast, node: NodeId) -> Vec<NodeId> {
    let mut open = vec![node];
    let mut seen = BTreeSet::from([node]);
    while let Some(one) = open.pop() {
        if let Outlook::Waits(on) = &forecast.outlooks[one.index()] {
            open.extend(on.iter().copied().filter(|one| seen.insert(*one)));
        }
    }
    let runs = |one: &NodeId| matches!(forecast.outlooks[one.index()], Outlook::Run(_));
    seen.into_iter().filter(runs).collect()
}

fn json(plan: &Plan, forecast: &Forecast, node: NodeId) -> Value {
    let this = plan.node(node);
    let mut value = json!({
        "name": plan.describe(node),
        "stage": &*this.label,
        "method": this.stage.method(),
        "key": forecast.keys[node.index()],
        "recipe": forecast.recipes[node.index()],
    });
    match &forecast.outlooks[node.index()] {
        Outlook::Hit(record) => {
            value["state"] = "hit".into();
            value["recipe"] = json!(record.recipe);
            value["output"] = json!(record.output);
            value["provenance"] = json!(record.provenance);
        }
        Outlook::Run(reasons) => {
            value["state"] = "run".into();
            value["reasons"] = json!(reasons);
            value["because"] = reasons.iter().map(ToString::to_string).collect();
        }
        Outlook::Waits(on) => {
            value["state"] = "waits".into();
            value["on"] = on.iter().map(|one| plan.describe(*one)).collect();
            let roots = roots(forecast, node).into_iter();
            value["roots"] = roots.map(|root| json(plan, forecast, root)).collect();
        }
    }
    value
}
