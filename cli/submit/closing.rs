//! The closing job of a submitted run: looks what is there, sends what is missing once more, or ends
//! the run and writes its table.

use super::{
    frozen_plan, is_stopped,
    jobs::{BatchSystem, Submission},
    missing, options_of, send,
    slurm::{self, JobEnd, Verdict},
    tell,
};
use crate::{
    context::{Context, Failure, print, write_file},
    follow, runs, table,
};
use cache::{Artifact, Store};
use engine::{Event, Forecast, NodeId, Plan, RunFailure, RunRecord, RunState, SubmittedRun};
use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    sync::Arc,
};

/// Does the work of the closing job: sends what is missing once more, or ends the run.
pub(crate) fn close(
    record: &RunRecord,
    submitted: &SubmittedRun,
    store: &Store,
    context: &Context,
) -> Result<ExitCode, Failure> {
    if is_stopped(submitted) {
        return Ok(ExitCode::SUCCESS);
    }
    let plan = frozen_plan(record, submitted, context)?;
    let forecast = Forecast::of(&plan, store)?;
    let missing = missing(&plan, &forecast);
    let mut submission = Submission::read(submitted)?;
    if !missing.is_empty() {
        judge(&mut submission, submitted, &missing, context);
        let lost = engine::dependents(&plan, submission.failed.iter().copied());
        let rest: BTreeSet<NodeId> = missing.difference(&lost).copied().collect();
        // Ray has tried again by itself.
        let again = submission.system == BatchSystem::Slurm && submission.retries_left > 0;
        if !rest.is_empty() && again {
            submission.retries_left -= 1;
            submission.add_round(&plan, &rest);
            match send(&mut submission, submitted, context) {
                Ok(()) => return Ok(tell(&submission, context)),
                // A site may not let jobs submit.
                Err(failure) => context.note(&format!(
                    "note: {}; to send what is missing: `coresift submit --again {}`",
                    failure.message(),
                    record.id
                )),
            }
        }
    }
    finish(record, submitted, &plan, &forecast, store)
}

/// Finds out why what is missing is missing, and notes in `submission` what failed by itself and
/// what needs more memory.
fn judge(
    submission: &mut Submission,
    submitted: &SubmittedRun,
    missing: &BTreeSet<NodeId>,
    context: &Context,
) {
    let Some(round) = submission.rounds.len().checked_sub(1) else { return };
    let lacks = |nodes: &[NodeId]| nodes.iter().any(|node| missing.contains(node));
    let arrays = &submission.rounds[round].arrays;
    let concerned = arrays.iter().filter(|array| array.jobs.values().any(|job| lacks(&job.nodes)));
    let ids: Vec<&str> = concerned.filter_map(|array| array.id.as_deref()).collect();
    let ends = slurm::ends(&ids);
    let (mut failed, mut memory) = (BTreeSet::new(), BTreeMap::new());
    for (place, array) in arrays.iter().enumerate() {
        let Some(id) = &array.id else { continue };
        for (number, job) in array.jobs.iter().filter(|(_, job)| lacks(&job.nodes)) {
            let mut own = submitted.failed_in(&Submission::job_name(round, place, *number));
            own.retain(|node| missing.contains(node));
            let end: Option<&JobEnd> = ends.get(&(id.clone(), *number));
            let state = end.map_or("unknown to Slurm", |end| &end.state);
            let log = slurm::log_of(submitted.folder(), round, place, *number);
            context.note(&format!("job {id}_{number}: {state} ({log})"));
            match JobEnd::verdict(end, !own.is_empty()) {
                Verdict::Again => {}
                Verdict::StageFailed => failed.extend(own),
                Verdict::MoreMemory => {
                    let asked = array.resources.mem.or(end.and_then(|end| end.memory));
                    let Some(asked) = asked else { continue };
                    let nodes = job.nodes.iter().filter(|node| missing.contains(node));
                    memory.extend(nodes.map(|node| (*node, asked.0.saturating_mul(2))));
                }
            }
        }
    }
    submission.failed.extend(failed);
    submission.memory.extend(memory);
}

/// Ends the run: writes its record, and its table into its folder.
fn finish(
    record: &RunRecord,
    submitted: &SubmittedRun,
    plan: &Plan,
    forecast: &Forecast,
    store: &Store,
) -> Result<ExitCode, Failure> {
    let summary = submitted.end(plan, &options_of(record), forecast, store, false)?;
    let outputs: Vec<Option<Arc<Artifact>>> = plan
        .nodes()
        .map(|(id, _)| forecast.record(id).map(|record| Arc::new(record.output.clone())))
        .collect();
    let mut text = table::of_run(plan, store, &outputs, &forecast.keys);
    if let Some(ended) = RunRecord::read(store, &record.id)? {
        for (at, why) in ended.failures(store)? {
            text.push_str(&format!("\n{}\n", told(&ended, at, &why)));
        }
        for node in ended
            .nodes
            .iter()
            .filter(|node| matches!(node.state, RunState::Skipped | RunState::Stopped))
        {
            text.push_str(&format!("{} {}\n", runs::state(node), runs::name(&ended, node)));
        }
    }
    let log = engine::LogLine {
        run: record.id.clone(),
        t: 0.0,
        stage: None,
        name: None,
        event: Event::RunFinished { summary },
    };
    text.push_str(&format!("{}\n", follow::line(&log).unwrap_or_default()));
    write_file(&submitted.folder().join("table.txt"), text.as_bytes())?;
    print(&text);
    let undone = summary.failed + summary.skipped + summary.stopped;
    Ok(if undone > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn told(run: &RunRecord, at: usize, why: &RunFailure) -> String {
    let name = run.nodes.get(at).map_or_else(String::new, |node| runs::name(run, node));
    follow::failed(&name, why)
}
