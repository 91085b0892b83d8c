//! `coresift cache rm`: results that the next run is to make again.

use crate::context::{Cells, Context, Failure, Pipeline, duration_of, print_line};
use cache::Store;
use engine::{Forecast, trajectory_key};
use serde_json::json;
use std::{collections::BTreeSet, process::ExitCode};

#[derive(clap::Args)]
pub(super) struct RmArgs {
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

pub(super) fn run(args: &RmArgs, store: &Store, context: &Context) -> Result<ExitCode, Failure> {
    let plan = context.plan_to(&args.pipeline, &args.stage)?;
    let nodes = Cells::of(&args.cell, &plan)?.nodes(&plan, &args.stage)?;
    let forecast = Forecast::of(&plan, store)?;
    let mut keys = BTreeSet::new();
    let mut checkpoints = 0;
    let mut seconds = 0.0;
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
