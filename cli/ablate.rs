//! `coresift ablate`: runs a pipeline with other axes than the file's, and says what each setting
//! does to the results, the scores, the subsets and the cost.

mod agreement;
mod cost;
mod sweep;

use crate::remote::{RemoteArgs, RemoteUse};
use crate::{
    context::{Context, Failure, Pipeline, now_millis, print, print_line, stream_name},
    progress::ProgressDisplay,
    run::{self, ExecutionArgs},
    sources::ResultSource,
    table::{self, SummaryExtras},
};
use agreement::OutputAgreement;
use cache::Store;
use cost::{Total, Trainings};
use engine::Plan;
use serde_json::{Value, json};
use std::{process::ExitCode, sync::atomic::Ordering};
use sweep::{Horizon, Sweep, SweptAxis};

#[derive(clap::Args)]
pub(crate) struct AblateArgs {
    #[command(flatten)]
    pipeline: Pipeline,
    /// What to try: `proxy.with.epochs=1,2,5,10,20`. An axis of the file's matrix of the same
    /// name gives way.
    #[arg(required = true, value_name = "PATH=VALUES")]
    axis: Vec<String>,
    /// Try every combination, instead of one axis at a time with the others as the file has them.
    #[arg(long)]
    grid: bool,
    /// Set no `schedule.horizon`: each length then runs its own schedule to its end, and is
    /// trained from the beginning.
    #[arg(long)]
    own_horizons: bool,
    /// Show this metric, and no others but those named [default: the usual ones].
    #[arg(long, value_name = "NAME")]
    metric: Vec<String>,
    #[command(flatten)]
    how: ExecutionArgs,
}

/// The table, agreement and cost of one sweep: along one axis, or over the grid of all.
struct SweepResult {
    axes: Vec<String>,
    table: (String, Value),
    agreements: Vec<OutputAgreement>,
    totals: Vec<Total>,
}

pub(crate) fn run(args: &AblateArgs, context: &Context) -> Result<ExitCode, Failure> {
    let axes: Vec<SweptAxis> =
        args.axis.iter().map(|text| SweptAxis::read(text)).collect::<Result<_, _>>()?;
    for (at, axis) in axes.iter().enumerate() {
        if axes[..at].iter().any(|one| one.path == axis.path) {
            let failure = Failure::mistake(format!("`{}` is swept twice", axis.path));
            return Err(failure.hint("write all its values into one list"));
        }
    }
    if stream_name(&args.pipeline.pipeline).is_some() {
        let failure = Failure::mistake("axes are laid over a file, and this pipeline is none");
        return Err(failure.hint("write it to a file first"));
    }
    let base = context.plan(&args.pipeline)?;
    let grid = args.grid || axes.len() == 1;
    let horizons = if args.own_horizons { vec![] } else { Horizon::of(&base, &axes, !grid) };
    let sweeps: Vec<Vec<SweptAxis>> = match grid {
        true => vec![axes.clone()],
        false => axes.iter().map(|axis| vec![axis.clone()]).collect(),
    };
    // All are read before the first is run: a mistake in the last costs nothing.
    let read = |swept: &Vec<SweptAxis>| {
        let fixed: Vec<SweptAxis> =
            axes.iter().filter(|one| !swept.contains(one)).cloned().collect();
        let sweep = Sweep { axes: swept, fixed: &fixed };
        sweep::plan(context, &args.pipeline, &base, sweep, &horizons)
    };
    let plans: Vec<Plan> = sweeps.iter().map(read).collect::<Result<_, _>>()?;
    for horizon in &horizons {
        context.note(&horizon.why);
    }
    let store = context.store_at(&RemoteArgs::of_environment(), RemoteUse::AsConfigured)?;
    let mut options = args.how.options(&store, context)?;
    run::keep_panics();
    let mut parts = vec![];
    for (number, (swept, plan)) in sweeps.iter().zip(&plans).enumerate() {
        let paths: Vec<String> = swept.iter().map(|axis| axis.path.clone()).collect();
        context.note(&format!("sweeping {}: {} cells", paths.join(" x "), plan.cells.len()));
        if number > 0 {
            let millis = now_millis();
            options.now = millis / 1000;
            options.id = run::run_id(&store, millis)?;
        }
        let mut progress = ProgressDisplay::new(plan, context, &options);
        let result = engine::run(plan, &store, &options, &mut progress);
        progress.end();
        let result = result?;
        context.finish_remote(&store, &options.cancel)?;
        let source = ResultSource::of_result(plan, &store, &result.outputs, &result.keys, true)?;
        let code = run::exit_code(result.summary, options.cancel.load(Ordering::Relaxed));
        if code != ExitCode::SUCCESS {
            if context.global.json {
                print_line(&unfinished(&paths).json().to_string());
            }
            return Ok(code);
        }
        parts.push(part(plan, &source, &store, paths, &args.metric)?);
    }
    if context.global.json {
        print_line(&json(&horizons, &parts).to_string());
    } else {
        print(&text(&horizons, &parts));
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the failure that a run with stages left undone is; the run itself has said more.
fn unfinished(axes: &[String]) -> Failure {
    let what = format!("not every stage of the sweep of {} was done", axes.join(" x "));
    Failure::failed(what).hint("what is done is kept: run it again to go on")
}

fn part(
    plan: &Plan,
    source: &ResultSource,
    store: &Store,
    axes: Vec<String>,
    metrics: &[String],
) -> Result<SweepResult, Failure> {
    let trainings = Trainings::of(plan, source);
    let mut stages: Vec<String> =
        axes.iter().filter_map(|path| Some(path.split_once('.')?.0.to_owned())).collect();
    stages.sort();
    stages.dedup();
    let seconds = |at| trainings.seconds(source, at);
    let more = SummaryExtras { seconds: &seconds, metrics: trainings.metrics(source, &stages) };
    let table = table::summary(source, store, metrics, &more)?;
    let agreements = agreement::all(source, store, &axes)?;
    Ok(SweepResult { axes, table, agreements, totals: trainings.totals(&stages) })
}

fn text(horizons: &[Horizon], parts: &[SweepResult]) -> String {
    let mut blocks: Vec<String> = horizons.iter().map(|one| format!("{}\n", one.why)).collect();
    for part in parts {
        let mut block = part.table.0.clone();
        block.extend(part.totals.iter().map(|total| format!("{}\n", total.text())));
        blocks.push(block);
        blocks.extend(part.agreements.iter().map(OutputAgreement::text));
    }
    blocks.join("\n")
}

fn json(horizons: &[Horizon], parts: &[SweepResult]) -> Value {
    let horizon = |one: &Horizon| json!({ "stage": one.stage, "set": one.set, "why": one.why });
    let part = |part: &SweepResult| {
        json!({
            "axes": part.axes,
            "table": part.table.1,
            "trainings": part.totals.iter().map(Total::json).collect::<Vec<_>>(),
            "agreement": part.agreements.iter().map(OutputAgreement::json).collect::<Vec<_>>(),
        })
    };
    json!({
        "horizons": horizons.iter().map(horizon).collect::<Vec<_>>(),
        "sweeps": parts.iter().map(part).collect::<Vec<_>>(),
    })
}
