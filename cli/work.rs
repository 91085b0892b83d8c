//! `coresift work`: what a job of a submitted run does. Not for people.

use crate::{
    context::{Context, Exit, Failure, eprint_line, now_millis},
    progress::ProgressDisplay,
    run::{self, ExecutionArgs},
    signals,
    submit::{self, jobs::Submission, ray, slurm},
};
use cache::{Key, Store};
use engine::{Event, NodeId, RunPart, RunRecord, Sink as _, SubmittedRun};
use networks::DeviceChoice;
use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    str::FromStr,
    sync::atomic::Ordering,
};

#[derive(clap::Args)]
pub(crate) struct WorkArgs {
    /// The run.
    run: String,
    /// The job: its round, its array and its number in it; or `close`.
    #[arg(required = true, num_args = 1..=3)]
    job: Vec<String>,
}

pub(crate) fn run(args: &WorkArgs, context: &Context) -> Result<ExitCode, Failure> {
    let store = context.store()?;
    let (record, submitted) = submit::find(&store, &args.run)?;
    let unknown = || Failure::mistake(format!("no job is called `{}`", args.job.join(" ")));
    if args.job == ["close"] {
        return submit::closing::close(&record, &submitted, &store, context);
    }
    let numbers: Vec<u32> = args.job.iter().filter_map(|word| word.parse().ok()).collect();
    let [round, array, number] = numbers[..] else { return Err(unknown()) };
    let submission = Submission::read(&submitted)?;
    let (round, array) = (round as usize, array as usize);
    let jobs = submission.rounds.get(round).and_then(|round| round.arrays.get(array));
    let job = jobs.and_then(|array| array.jobs.get(&number)).ok_or_else(unknown)?;
    let name = Submission::job_name(round, array, number);
    compute(&record, &submitted, &submission, &name, job, &store, context)
}

/// Computes what `job` is to.
fn compute(
    record: &RunRecord,
    submitted: &SubmittedRun,
    submission: &Submission,
    name: &str,
    job: &submit::jobs::Job,
    store: &Store,
    context: &Context,
) -> Result<ExitCode, Failure> {
    let plan = submit::frozen_plan(record, submitted, context)?;
    // The device was checked when it was submitted.
    let device: DeviceChoice =
        submission.device.parse().map_err(|error: <DeviceChoice as FromStr>::Err| {
            Failure::failed("the device of the run does not read").because(error)
        })?;
    let cores = ray::cores_of_this_job().or_else(slurm::cores_of_this_job);
    let how = ExecutionArgs::of_job(device, cores);
    let (cancel, warned) = signals::watch_job()?;
    let mut options = how.options_with(store, context, cancel)?;
    options.id.clone_from(&record.id);
    options.now = now_millis() / 1000;
    options.part = Some(RunPart {
        job: name.to_owned(),
        only: engine::closure(&plan, &job.targets),
        own: job.nodes.iter().copied().collect(),
        submitted: submission.at,
    });
    run::keep_panics();
    let mut display = ProgressDisplay::new(&plan, context, &options);
    let mut gain = JobProgress::default();
    let result = engine::run(&plan, store, &options, &mut |event: &Event| {
        gain.hear(event, store);
        display.emit(event);
    });
    display.end();
    let summary = result?.summary;
    let undone = summary.failed + summary.skipped + summary.stopped > 0;
    if warned.load(Ordering::Relaxed) && undone {
        return Ok(go_on_later(&gain, store));
    }
    Ok(run::exit_code(summary, options.cancel.load(Ordering::Relaxed)))
}

/// Puts this job back into the queue, if it got anywhere; else the closing job sees to it.
fn go_on_later(gain: &JobProgress, store: &Store) -> ExitCode {
    if !gain.is_any(store) {
        eprint_line("the job got nowhere before it was told to end: its time limit is too short");
    } else if slurm::requeue_this_job() {
        eprint_line("the job is in the queue again, and goes on from here");
    } else {
        eprint_line("the job cannot be put into the queue again: the closing job sends the rest");
    }
    Exit::Unfinished.into()
}

/// What a job has gained: results, and checkpoints later than those there were.
#[derive(Default)]
struct JobProgress {
    finished: BTreeSet<NodeId>,
    /// The last step there was when a training began, by its trajectory.
    before: BTreeMap<Key, Option<u64>>,
}

impl JobProgress {
    fn hear(&mut self, event: &Event, store: &Store) {
        match event {
            Event::Finished { node, .. } => {
                self.finished.insert(*node);
            }
            Event::Started { trajectory: Some(key), .. } => {
                self.before.entry(*key).or_insert_with(|| last_step(store, *key));
            }
            _ => {}
        }
    }

    fn is_any(&self, store: &Store) -> bool {
        let newer = |(key, before): (&Key, &Option<u64>)| last_step(store, *key) > *before;
        !self.finished.is_empty() || self.before.iter().any(newer)
    }
}

/// Returns the step of the newest checkpoint of a trajectory.
fn last_step(store: &Store, key: Key) -> Option<u64> {
    store.checkpoints(key).ok()?.last().map(|checkpoint| checkpoint.step)
}
