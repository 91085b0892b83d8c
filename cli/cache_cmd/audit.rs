//! `coresift cache audit`: results made once more, and compared with what the store has of them.

use crate::{
    context::{Context, Failure, Pipeline, columns, duration_of, print, print_line},
    progress::ProgressDisplay,
    quantities::DurationArg,
    remote::RemoteArgs,
    run::ExecutionArgs,
};
use cache::{Digest, RemoteFolder, RemoteOptions, RemoteTier, Store};
use engine::{Event, Forecast, NodeId, Outlook, Plan, RunPart, Sink};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, RandomState},
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

#[derive(clap::Args)]
pub(super) struct AuditArgs {
    #[command(flatten)]
    pipeline: Pipeline,
    #[command(flatten)]
    how: ExecutionArgs,
    /// How many results are made once more; which is drawn anew each time.
    #[arg(long, default_value_t = 20)]
    sample: usize,
    /// Leave out results that took longer to make: `30s`, `10m`.
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    longest: DurationArg,
    /// Audit the results of the remote store, and none of this one.
    #[arg(long)]
    remote: bool,
}

/// A result that is made once more.
struct Audited {
    node: NodeId,
    recorded: Digest,
    seconds: f64,
}

/// How a result compares with itself made once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AuditVerdict {
    Same,
    Differs,
    /// It could not be made, or stands on one that differs.
    NotMade,
}

pub(super) fn run(args: &AuditArgs, store: &Store, context: &Context) -> Result<ExitCode, Failure> {
    let plan = context.plan(&args.pipeline)?;
    // Made in a store of its own, which takes all it does not make from the one that is audited.
    let folder = store.folder()?;
    let scratch =
        Store::open(folder.path().join("audit"))?.with_remote(audited(args, store, context)?);
    let mut options = args.how.options(&scratch, context)?;
    let forecast = Forecast::of(&plan, &scratch)?;
    let (picked, passed) = pick(args, &forecast, &options.device);
    if picked.is_empty() {
        let none = "the store has no result of this pipeline that could be made once more";
        return Err(Failure::mistake(none).hint(hint(passed)));
    }
    options.force = picked.iter().map(|one| one.node).collect();
    options.part = Some(RunPart {
        job: "audit".to_owned(),
        only: with_inputs(&plan, &options.force),
        own: BTreeSet::new(),
        submitted: options.now,
    });
    let mut progress = ProgressDisplay::new(&plan, context, &options);
    let mut sink = |event: &Event| Sink::emit(&mut progress, event);
    let made = engine::run(&plan, &scratch, &options, &mut sink)?;
    progress.end();
    let verdict = |one: &Audited| {
        let at = one.node.index();
        match &made.outputs[at] {
            Some(output) if made.keys[at] == forecast.keys[at] => {
                if output.digest() == one.recorded {
                    AuditVerdict::Same
                } else {
                    AuditVerdict::Differs
                }
            }
            _ => AuditVerdict::NotMade,
        }
    };
    let told: Vec<(&Audited, AuditVerdict)> =
        picked.iter().map(|one| (one, verdict(one))).collect();
    tell(&told, passed, &plan, context);
    let sound = told.iter().all(|(_, verdict)| *verdict == AuditVerdict::Same);
    let stopped = options.cancel.load(Ordering::Relaxed);
    Ok(if sound && !stopped { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns what is audited, as the tier that the scratch store takes its results from.
fn audited(args: &AuditArgs, store: &Store, context: &Context) -> Result<Arc<RemoteTier>, Failure> {
    if args.remote {
        return context.remote_tier(&RemoteArgs::of_environment());
    }
    let options = RemoteOptions {
        name: store.root().display().to_string(),
        writes: false,
        min_seconds: 0.0,
        checkpoints: false,
        trust: vec![],
        signatures: None,
    };
    let folder = RemoteFolder::open(store.root(), false)?;
    Ok(Arc::new(RemoteTier::new(Box::new(folder), options)))
}

/// What was passed over, and why.
#[derive(Clone, Copy, Debug, Default)]
struct Passed {
    missing: usize,
    long: usize,
    other_device: usize,
}

/// Draws what is made once more: of results that are there, made on this device, and quick enough.
fn pick(args: &AuditArgs, forecast: &Forecast, device: &str) -> (Vec<Audited>, Passed) {
    let DurationArg(longest) = args.longest;
    let mut passed = Passed::default();
    let mut picked = vec![];
    let mut seen = BTreeSet::new();
    for (at, outlook) in (0..).zip(&forecast.outlooks) {
        let Outlook::Hit(record) = outlook else {
            passed.missing += 1;
            continue;
        };
        let made = &record.provenance;
        if made.device != device {
            passed.other_device += 1;
        } else if Duration::try_from_secs_f64(made.seconds).is_ok_and(|took| took > longest) {
            passed.long += 1;
        } else if seen.insert(record.recipe.key()) {
            let recorded = record.output.digest();
            picked.push(Audited { node: NodeId(at), recorded, seconds: made.seconds });
        }
    }
    let draw = RandomState::new();
    picked.sort_by_cached_key(|one| draw.hash_one(one.node.index()));
    picked.truncate(args.sample);
    picked.sort_by_key(|one| one.node);
    (picked, passed)
}

/// Returns `nodes` and all that they stand on.
fn with_inputs(plan: &Plan, nodes: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let mut all = BTreeSet::new();
    let mut open: Vec<NodeId> = nodes.iter().copied().collect();
    while let Some(node) = open.pop() {
        if all.insert(node) {
            open.extend(plan.node(node).inputs.iter().map(|(_, input)| *input));
        }
    }
    all
}

fn hint(passed: Passed) -> String {
    let Passed { missing, long, other_device } = passed;
    format!(
        "{missing} are not there, {long} took longer than --longest, {other_device} were made on another device"
    )
}

fn tell(told: &[(&Audited, AuditVerdict)], passed: Passed, plan: &Plan, context: &Context) {
    let count = |wanted: AuditVerdict| told.iter().filter(|(_, one)| *one == wanted).count();
    let (same, differ, not_made) =
        (count(AuditVerdict::Same), count(AuditVerdict::Differs), count(AuditVerdict::NotMade));
    let other = || told.iter().filter(|(_, verdict)| *verdict != AuditVerdict::Same);
    if context.global.json {
        let names: Vec<Value> = other()
            .map(|(one, verdict)| {
                json!({ "stage": plan.describe(one.node), "differs": *verdict == AuditVerdict::Differs })
            })
            .collect();
        let answer = json!({
            "same": same, "differ": differ, "not_made": not_made, "others": names,
            "passed_over": {
                "missing": passed.missing, "long": passed.long, "other_device": passed.other_device,
            },
        });
        print_line(&answer.to_string());
        return;
    }
    let rows: Vec<Vec<String>> = other()
        .map(|(one, verdict)| {
            let what = if *verdict == AuditVerdict::Differs { "differs" } else { "not made" };
            vec![what.to_owned(), plan.describe(one.node).to_string(), duration_of(one.seconds)]
        })
        .collect();
    print(&columns(&rows, |_| false));
    print_line(&format!(
        "{} results made once more: {same} the same, {differ} differ, {not_made} not made",
        told.len()
    ));
    if passed.long + passed.other_device > 0 {
        context.note(&format!("passed over: {}", hint(passed)));
    }
}
