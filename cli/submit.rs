//! `coresift submit`: hands a pipeline to a batch system as jobs, and leaves.

pub(crate) mod closing;
pub(crate) mod frozen;
pub(crate) mod jobs;
pub(crate) mod ray;
pub(crate) mod settings;
pub(crate) mod slurm;

use crate::{
    context::{Context, Exit, Failure, Pipeline, now_millis, print, print_line, shell},
    run, runs,
    site::Site,
};
use cache::Store;
use engine::{
    Bundle, Forecast, NodeId, Outlook, Plan, RunOptions, RunRecord, SubmittedRun, Weight,
};
use jobs::{BatchSystem, JobArray, Round, Submission};
use networks::DeviceChoice;
use serde_json::json;
use settings::SlurmSettings;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

#[derive(clap::Args)]
pub(crate) struct SubmitArgs {
    /// The pipeline file.
    #[arg(required_unless_present = "again")]
    pipeline: Option<PathBuf>,
    /// Override a setting, as an axis of the matrix would: `subset.with.keep=0.3`.
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Run only what this stage needs [default: the evaluate stages].
    #[arg(long, value_name = "STAGE")]
    target: Vec<String>,
    /// Send what is missing of a run that was submitted once more, with the settings it had.
    #[arg(long, value_name = "RUN",
        conflicts_with_all = ["pipeline", "set", "target", "at_once", "device", "name", "note"])]
    again: Option<String>,
    /// The most jobs of an array that may run at once [default: as coresift.toml says, else all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    at_once: Option<u32>,
    /// Where the jobs run networks: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Who runs the jobs: Slurm, or a Ray cluster.
    #[arg(long, value_enum, default_value = "slurm", conflicts_with = "again")]
    on: On,
    /// The Ray cluster: auto, or ray://HOST:10001 [default: as coresift.toml says, else one is started here]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "again")]
    address: Option<String>,
    /// Print the scripts of the jobs, and submit nothing.
    #[arg(long)]
    dry_run: bool,
    /// Give the run a name of your own, by which `show`, `diff`, `table FILE@NAME` find it.
    #[arg(long, value_parser = run::run_name)]
    name: Option<String>,
    /// Keep a remark with the run.
    #[arg(long, short = 'm', value_name = "TEXT")]
    note: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum On {
    /// Slurm.
    Slurm,
    /// Ray.
    Ray,
}

pub(crate) fn run(args: &SubmitArgs, context: &Context) -> Result<ExitCode, Failure> {
    if let Some(name) = &args.again {
        return again(name, args.dry_run, context);
    }
    let pipeline = frozen::whole(&Pipeline {
        pipeline: args.pipeline.clone().unwrap_or_default(),
        set: args.set.clone(),
        target: args.target.clone(),
    })?;
    let (system, settings) = system(args)?;
    let plan = context.plan(&pipeline)?;
    context.tell_of_former_names(&plan);
    let store = context.store()?;
    let forecast = Forecast::of(&plan, &store)?;
    let missing = missing(&plan, &forecast);
    if missing.is_empty() {
        context.note("the store has all of it: nothing is submitted");
        if context.global.json {
            print_line(&json!({ "run": null, "jobs": 0 }).to_string());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut options = options(&store, &args.device.to_string())?;
    options.name.clone_from(&args.name);
    options.note.clone_from(&args.note);
    let cannot = |error| Failure::failed("cannot tell where the store is").because(error);
    let mut submission = Submission {
        run: options.id.clone(),
        program: PathBuf::new(),
        store: fs::canonicalize(store.root()).map_err(cannot)?,
        folder: std::env::current_dir().map_err(cannot)?,
        system,
        device: args.device.to_string(),
        at: options.now,
        retries_left: settings.retries,
        settings,
        failed: BTreeSet::new(),
        memory: BTreeMap::new(),
        rounds: vec![],
    };
    for path in [&submission.store, &submission.folder] {
        if path.to_str().is_none_or(|path| path.contains(char::is_control)) {
            let what = format!("`{}` has letters that no batch script may hold", path.display());
            return Err(Failure::mistake(what));
        }
    }
    submission.add_round(&plan, &missing);
    if args.dry_run {
        submission.program = frozen::program(&store, true)?;
        return Ok(dry_run(&submission, context));
    }
    let submitted = SubmittedRun::create(&store, &options.id)?;
    let begun = begin(&plan, &pipeline, &options, &forecast, &submitted, &mut submission, context);
    if let Err(failure) = begun.and_then(|()| send(&mut submission, &submitted, context)) {
        // No job was taken: it is as if nothing had been asked for.
        RunRecord::remove(&store, &options.id)?;
        frozen::forget_programs(&store);
        return Err(failure);
    }
    sent(&submission, &submitted, &store, context)
}

/// Returns who is to run the jobs, and what they ask for.
fn system(args: &SubmitArgs) -> Result<(BatchSystem, SlurmSettings), Failure> {
    let site = Site::read()?;
    if args.on == On::Slurm {
        if args.address.is_some() {
            return Err(Failure::mistake("--address is of a Ray cluster").hint("add `--on ray`"));
        }
        let mut settings = site.slurm;
        settings.at_once = args.at_once.or(settings.at_once);
        return Ok((BatchSystem::Slurm, settings));
    }
    if args.at_once.is_some() {
        let failure = Failure::mistake("--at-once is of Slurm's arrays");
        return Err(failure.hint("Ray runs as many tasks as its cores and GPUs do"));
    }
    Ok((BatchSystem::Ray(site.ray.cluster(args.address.as_deref())), site.ray.jobs()))
}

/// Does what is left once the last round is sent: with Slurm nothing, with Ray, whose tasks have ended, the
/// work of a closing job.
fn sent(
    submission: &Submission,
    submitted: &SubmittedRun,
    store: &Store,
    context: &Context,
) -> Result<ExitCode, Failure> {
    if submission.system == BatchSystem::Slurm {
        return Ok(tell(submission, context));
    }
    let (record, _) = find(store, &submission.run)?;
    if is_stopped(submitted) {
        if submitted.is_open() {
            stop(&record, submitted, store, context)?;
        }
        context.note(&format!("stopped; `{}` goes on", again_command(&record.id)));
        return Ok(Exit::Interrupted.into());
    }
    closing::close(&record, submitted, store, context)
}

/// Freezes what is submitted, and begins the run.
fn begin(
    plan: &Plan,
    pipeline: &Pipeline,
    options: &RunOptions,
    forecast: &Forecast,
    submitted: &SubmittedRun,
    submission: &mut Submission,
    context: &Context,
) -> Result<(), Failure> {
    let store = context.store()?;
    frozen::freeze(plan, pipeline, submitted, context)?;
    submission.program = frozen::program(&store, false)?;
    let log = submitted.folder().join("log");
    fs::create_dir_all(&log).map_err(|error| {
        Failure::failed(format!("cannot create `{}`", log.display())).because(error)
    })?;
    submission.write(submitted)?;
    Ok(submitted.begin(plan, options, forecast, &store)?)
}

/// Returns the options of a run whose stages run elsewhere.
pub(crate) fn options(store: &Store, device: &str) -> Result<RunOptions, Failure> {
    let now = now_millis();
    Ok(RunOptions {
        id: run::run_id(store, now)?,
        name: None,
        note: None,
        jobs: 1,
        device_jobs: 1,
        device: format!("jobs ({device})"),
        resources: None,
        build: env!("CARGO_PKG_VERSION").to_owned(),
        now: now / 1000,
        force: BTreeSet::new(),
        fail_fast: false,
        part: None,
        cancel: Arc::default(),
    })
}

/// Returns the computations that `forecast` did not find.
fn missing(plan: &Plan, forecast: &Forecast) -> BTreeSet<NodeId> {
    let is_missing = |id: &NodeId| !matches!(forecast.outlooks[id.index()], Outlook::Hit(_));
    plan.nodes().map(|(id, _)| id).filter(is_missing).collect()
}

/// Returns whether a computation is worth a job of its own.
fn weight(plan: &Plan, node: NodeId) -> Weight {
    let stage = &plan.node(node).stage;
    let family = stage.method().split('.').next().unwrap_or_default();
    match family {
        _ if stage.trajectory().is_some() => Weight::Heavy,
        "load" | "corrupt" => Weight::Light,
        _ => Weight::Middling,
    }
}

impl Submission {
    /// Adds a round of jobs that compute `missing`.
    fn add_round(&mut self, plan: &Plan, missing: &BTreeSet<NodeId>) {
        let bundles = Bundle::all(plan, missing, |node| weight(plan, node));
        let most = self.settings.most.unwrap_or_else(slurm::most);
        let arrays = jobs::arrays(&bundles, |bundle| self.resources(plan, bundle), most);
        self.rounds.push(Round { arrays, closing: None });
    }

    /// Returns what the job of `bundle` asks for.
    fn resources(&self, plan: &Plan, bundle: &Bundle) -> settings::JobResources {
        let labels = bundle.nodes.iter().map(|node| &*plan.node(*node).label);
        let uses = |node: &NodeId| plan.node(*node).stage.needs() == engine::Needs::Device;
        let on_device = self.device != "cpu" && bundle.nodes.iter().any(uses);
        let mut resources = self.settings.resources(labels, on_device);
        let known = bundle.nodes.iter().filter_map(|node| self.memory.get(node)).max();
        resources.mem = resources.mem.max(known.map(|known| settings::Megabytes(*known)));
        resources
    }

    /// Returns the arrays of the last round.
    fn last_arrays(&self) -> &[JobArray] {
        self.rounds.last().map_or(&[], |round| &round.arrays)
    }
}

/// Prints the scripts of the last round.
fn dry_run(submission: &Submission, context: &Context) -> ExitCode {
    let arrays = submission.last_arrays();
    let ids: Vec<Option<String>> = (1..=arrays.len()).map(|n| Some(format!("JOB{n}"))).collect();
    let mut scripts: Vec<String> =
        (0..arrays.len()).map(|array| slurm::array_script(submission, array, &ids)).collect();
    scripts.push(slurm::closing_script(submission, &ids));
    let jobs = arrays.iter().map(|array| array.jobs.len()).sum::<usize>();
    if context.global.json {
        print_line(&json!({ "jobs": jobs, "scripts": scripts }).to_string());
    } else {
        print(&scripts.join("\n"));
        context.note(&format!(
            "would submit {jobs} jobs in {} arrays, and a closing job",
            arrays.len()
        ));
    }
    ExitCode::SUCCESS
}

/// Sends the last round: its arrays, as far as they are taken, and the closing job behind them.
/// Fails if none is taken.
fn send(
    submission: &mut Submission,
    submitted: &SubmittedRun,
    context: &Context,
) -> Result<(), Failure> {
    submission.write(submitted)?;
    if let BatchSystem::Ray(cluster) = &submission.system {
        return ray::run(cluster, submission, submitted, context);
    }
    let round = submission.rounds.len() - 1;
    let mut ids: Vec<Option<String>> = vec![];
    let mut refused = None;
    for array in 0..submission.last_arrays().len() {
        let sent = match refused {
            None => slurm::submit(&slurm::array_script(submission, array, &ids)).map(Some),
            Some(_) => Ok(None),
        };
        let id = sent.unwrap_or_else(|failure| {
            refused = Some(failure);
            None
        });
        ids.push(id.clone());
        submission.rounds[round].arrays[array].id = id;
        submission.write(submitted)?;
    }
    if let Some(failure) = refused {
        if ids.iter().all(Option::is_none) {
            return Err(failure);
        }
        let unsent = ids.iter().filter(|id| id.is_none()).count();
        context.note(&format!(
            "note: {}; {unsent} of {} arrays are not in the queue, the closing job sends them",
            failure.message(),
            ids.len()
        ));
    }
    let closing = slurm::submit(&slurm::closing_script(submission, &ids));
    match closing {
        Ok(id) => submission.rounds[round].closing = Some(id),
        Err(failure) => context.note(&format!(
            "note: there is no closing job: {}; once the others have ended: `coresift submit --again \
             {}`",
            failure.message(),
            submission.run
        )),
    }
    submission.write(submitted)?;
    if is_stopped(submitted) {
        slurm::cancel(&submission.ids())?;
    }
    Ok(())
}

/// Says what was sent.
fn tell(submission: &Submission, context: &Context) -> ExitCode {
    let arrays = submission.last_arrays();
    let sent = arrays.iter().filter(|array| array.id.is_some());
    let jobs = sent.clone().map(|array| array.jobs.len()).sum::<usize>();
    let closing = submission.rounds.last().and_then(|round| round.closing.as_deref());
    if context.global.json {
        let ids: Vec<&str> = sent.filter_map(|array| array.id.as_deref()).collect();
        let value =
            json!({ "run": submission.run, "jobs": jobs, "arrays": ids, "closing": closing });
        print_line(&value.to_string());
        return ExitCode::SUCCESS;
    }
    print_line(&submission.run);
    let ids: Vec<&str> = sent.filter_map(|array| array.id.as_deref()).collect();
    context.note(&format!(
        "submitted {jobs} jobs as {}{}; `coresift show {}` tells how they stand",
        ids.join(", "),
        closing.map_or(String::new(), |id| format!(", and a closing job as {id}")),
        submission.run
    ));
    ExitCode::SUCCESS
}

/// Returns the submitted run called `name`.
pub(crate) fn find(store: &Store, name: &str) -> Result<(RunRecord, SubmittedRun), Failure> {
    let record = runs::find(store, name)?;
    match SubmittedRun::find(store, &record.id) {
        Some(submitted) => Ok((record, submitted)),
        None => Err(Failure::mistake(format!("run {} was not submitted", record.id))),
    }
}

/// Sends what is missing of the run called `name` once more.
fn again(name: &str, dry: bool, context: &Context) -> Result<ExitCode, Failure> {
    let store = context.store()?;
    let (record, submitted) = find(&store, name)?;
    let mut submission = Submission::read(&submitted)?;
    if submitted.is_open() && submission.system == BatchSystem::Slurm {
        let queue = slurm::in_queue(&submission.ids()).unwrap_or_default();
        if !queue.is_empty() {
            let what = format!("run {} has jobs in the queue: {}", record.id, listed(&queue));
            let hint = format!("wait for them, or stop them: `coresift stop {}`", record.id);
            return Err(Failure::mistake(what).hint(hint));
        }
    }
    let plan = frozen_plan(&record, &submitted, context)?;
    let missing = missing(&plan, &Forecast::of(&plan, &store)?);
    if missing.is_empty() {
        context.note("the store has all of it: nothing is submitted");
        return Ok(ExitCode::SUCCESS);
    }
    submission.failed.clear();
    submission.retries_left = submission.settings.retries;
    submission.add_round(&plan, &missing);
    if dry {
        return Ok(dry_run(&submission, context));
    }
    fs::remove_file(submitted.folder().join(STOPPED)).ok();
    submitted.reopen(&store)?;
    send(&mut submission, &submitted, context)?;
    sent(&submission, &submitted, &store, context)
}

/// Reads the plan of a submitted run as it was submitted, under the name of its file.
pub(crate) fn frozen_plan(
    record: &RunRecord,
    submitted: &SubmittedRun,
    context: &Context,
) -> Result<Plan, Failure> {
    let mut plan = frozen::read(submitted, context)?;
    plan.path = record.pipeline.clone().into();
    let labels = plan.nodes().map(|(_, node)| &*node.label);
    match labels.eq(record.nodes.iter().map(|node| node.label.as_str())) {
        true => Ok(plan),
        false => Err(frozen::differs()),
    }
}

/// The file in a run's folder that says that somebody stopped it.
const STOPPED: &str = "stopped";

/// Tells whether somebody stopped the run.
fn is_stopped(submitted: &SubmittedRun) -> bool {
    submitted.folder().join(STOPPED).exists()
}

/// Cancels the jobs of a run, and ends it.
pub(crate) fn stop(
    record: &RunRecord,
    submitted: &SubmittedRun,
    store: &Store,
    context: &Context,
) -> Result<(), Failure> {
    // First, so that a closing job that is at work sends nothing more.
    let path = submitted.folder().join(STOPPED);
    fs::write(&path, "").map_err(|error| {
        Failure::failed(format!("cannot write `{}`", path.display())).because(error)
    })?;
    let submission = Submission::read(submitted)?;
    slurm::cancel(&submission.ids())?;
    let plan = frozen_plan(record, submitted, context)?;
    let forecast = Forecast::of(&plan, store)?;
    submitted.end(&plan, &options_of(record), &forecast, store, true)?;
    Ok(())
}

/// Returns the options `record` began with, at the time that it is now.
fn options_of(record: &RunRecord) -> RunOptions {
    RunOptions {
        id: record.id.clone(),
        name: record.name.clone(),
        note: record.note.clone(),
        jobs: 1,
        device_jobs: 1,
        device: record.device.clone(),
        resources: None,
        build: record.build.clone(),
        now: now_millis() / 1000,
        force: BTreeSet::new(),
        fail_fast: false,
        part: None,
        cancel: Arc::default(),
    }
}

/// Returns how many jobs are in the queue in words: `3 running, 12 pending`.
pub(crate) fn listed(queue: &BTreeMap<String, usize>) -> String {
    let parts: Vec<String> =
        queue.iter().map(|(state, count)| format!("{count} {state}")).collect();
    parts.join(", ")
}

/// Says how the jobs of an open run stand in the queue.
pub(crate) fn queue_line(submitted: &SubmittedRun) -> Result<String, Failure> {
    let submission = Submission::read(submitted)?;
    if submission.system != BatchSystem::Slurm {
        let again = again_command(&submission.run);
        return Ok(format!(
            "with Ray; if no `coresift submit` is at work on them, `{again}` goes on"
        ));
    }
    Ok(match slurm::in_queue(&submission.ids()) {
        None => "not known: squeue does not answer".to_owned(),
        Some(queue) if queue.is_empty() => format!(
            "none of its jobs is there: `coresift submit --again {}` sends what is missing",
            submission.run
        ),
        Some(queue) => listed(&queue),
    })
}

/// Returns the command that sends what is missing of `run`.
pub(crate) fn again_command(run: &str) -> String {
    format!("coresift submit --again {}", shell(run))
}
