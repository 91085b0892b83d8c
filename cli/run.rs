//! `coresift run`: takes what the store has, makes the rest, and prints the results.

use crate::quantities::Size;
use crate::{
    context::{
        Cells, Context, Exit, Failure, Pipeline, eprint_line, now_millis, print, print_line,
    },
    progress::ProgressDisplay,
    remote::{RemoteArgs, RemoteUse},
    signals, supervise, table, watch,
};
use cache::Store;
use engine::{
    Event, Journal, NodeId, Plan, PlanCell, RunError, RunOptions, RunRecord, RunResult, RunSummary,
};
use networks::{Device, DeviceChoice, DeviceError, DeviceFolders};
use std::{
    collections::BTreeSet,
    env,
    hash::{BuildHasher as _, RandomState},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

#[derive(clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pipeline: Pipeline,
    #[command(flatten)]
    how: ExecutionArgs,
    #[command(flatten)]
    remote: RemoteArgs,
    /// Run only these cells of the matrix: `keep=0.1`, `selector!=random`; several values of one
    /// axis are alternatives.
    #[arg(long = "where", visible_alias = "cell", value_name = "AXIS=VALUE")]
    cells: Vec<String>,
    /// Compute this stage again, whatever the store has of it; may be given several times. What
    /// needs it follows only if it gives something else.
    #[arg(long, value_name = "STAGE")]
    force: Vec<String>,
    /// Start nothing more after the first stage that fails.
    #[arg(long)]
    fail_fast: bool,
    /// Give the run a name of your own, by which `show`, `diff`, `table FILE@NAME` find it.
    #[arg(long, value_parser = run_name)]
    name: Option<String>,
    /// Keep a remark with the run.
    #[arg(long, short = 'm', value_name = "TEXT")]
    note: Option<String>,
    /// Print no table at the end.
    #[arg(long)]
    no_table: bool,
    /// Show the run as it goes on: stages, progress, curves, log. Without a terminal, plain lines.
    #[arg(long, short)]
    watch: bool,
}

/// The device, threads and memory stages run with: nothing of it changes a result.
#[derive(clap::Args)]
pub(crate) struct ExecutionArgs {
    /// Where networks run: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// How many stages may run at once [default: the number of cores; on a GPU, one uses it]
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// How many cores the kernels may use [default: all]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// How many bytes of working memory a selection may use for similarities, such as 8GB
    /// [default: 4GB]; above it they are computed in tiles.
    #[arg(long, value_name = "BYTES")]
    memory: Option<Size>,
}

pub(crate) fn run(args: &RunArgs, context: &Context) -> Result<ExitCode, Failure> {
    let mut plan = context.plan(&args.pipeline)?;
    context.tell_of_former_names(&plan);
    pick_cells(&mut plan, &args.cells)?;
    let store = context.store_at(&args.remote, RemoteUse::AsConfigured)?;
    let mut options = args.how.options(&store, context)?;
    options.force = forced(&plan, &args.force)?;
    options.fail_fast = args.fail_fast;
    options.name.clone_from(&args.name);
    options.note.clone_from(&args.note);
    keep_panics();
    let result = follow(args, context, &plan, &store, &options)?;
    context.finish_remote(&store, &options.cancel)?;
    // With --json, stdout has the events and nothing else.
    if !args.no_table && !context.global.quiet && !context.global.json {
        let shown = table::of_run(&plan, &store, &result.outputs, &result.keys);
        if !shown.is_empty() {
            print(&shown);
        }
    }
    context.sum_up_remote();
    Ok(exit_code(result.summary, options.cancel.load(Ordering::Relaxed)))
}

impl From<DeviceError> for Failure {
    fn from(error: DeviceError) -> Self {
        let hint = error.hint.clone();
        Self::of(Exit::Mistake, error).hint(hint)
    }
}

impl ExecutionArgs {
    /// Opens the device, watches for signals, and returns what a run that begins now is given.
    pub(crate) fn options(&self, store: &Store, context: &Context) -> Result<RunOptions, Failure> {
        self.options_with(store, context, signals::watch()?)
    }

    /// Returns what a job of a batch system runs with that was given so many cores.
    pub(crate) fn of_job(device: DeviceChoice, cores: Option<u16>) -> Self {
        Self { device, jobs: cores, threads: cores, memory: None }
    }

    /// Opens the device and returns what a run that begins now is given. It stops when `cancel` is
    /// set.
    pub(crate) fn options_with(
        &self,
        store: &Store,
        context: &Context,
        cancel: Arc<AtomicBool>,
    ) -> Result<RunOptions, Failure> {
        let device = open_device(self.device, context)?;
        let memory = self.memory.map_or(methods::linalg::DEFAULT_MEMORY, |Size(bytes)| {
            usize::try_from(bytes).unwrap_or(usize::MAX)
        });
        let runtime = methods::Runtime {
            accelerator: networks::accelerator(device),
            memory,
            supervisor: Some(["/proc/self/exe".into(), supervise::COMMAND.into()]),
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = self.jobs.map_or(cores, usize::from);
        use_threads(context.threads(self.threads));
        let started = now_millis();
        Ok(RunOptions {
            id: run_id(store, started)?,
            name: None,
            note: None,
            jobs,
            device_jobs: if device.is_cpu() { jobs } else { self.jobs.map_or(1, usize::from) },
            device: device.name(),
            resources: Some(Arc::new(runtime)),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            now: started / 1000,
            force: BTreeSet::new(),
            fail_fast: false,
            part: None,
            cancel,
        })
    }
}

/// Sets how many threads the CPU's kernels use. Only the first call in a process counts.
pub(crate) fn use_threads(threads: usize) {
    // A pool that is there already stays.
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().ok();
}

/// Runs `plan`, and shows it in the way that was asked for.
fn follow(
    args: &RunArgs,
    context: &Context,
    plan: &Plan,
    store: &Store,
    options: &RunOptions,
) -> Result<RunResult, RunError> {
    if args.watch && !context.global.json && !context.global.quiet && watch::is_possible() {
        return thread::scope(|scope| {
            let (mut watched, view) = watch::Watched::start(scope, plan, context, options);
            let result = engine::run(plan, store, options, &mut watched);
            watched.end(view);
            result
        });
    }
    let mut progress = ProgressDisplay::new(plan, context, options);
    let mut journal = Journal::new(plan, &options.id);
    let json = context.global.json;
    let mut sink = |event: &Event| {
        if let Some(entry) = journal.entry(event).filter(|_| json) {
            print_line(&entry.to_json());
        }
        engine::Sink::emit(&mut progress, event);
    };
    let result = engine::run(plan, store, options, &mut sink);
    progress.end();
    result
}

/// Returns the exit code of what ended in `summary`, and says so if it was interrupted.
pub(crate) fn exit_code(summary: RunSummary, interrupted: bool) -> ExitCode {
    if interrupted {
        eprint_line("stopped; what was finished is kept, run it again to go on");
        return Exit::Interrupted.into();
    }
    let undone = summary.failed + summary.skipped + summary.stopped;
    if undone > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Returns a name for a run that begins at `millis` since 1970.
pub(crate) fn run_id(store: &Store, millis: u64) -> Result<String, Failure> {
    // The system's own randomness, which is what keys such a hasher.
    Ok(RunRecord::new_id(store, millis, RandomState::new().hash_one(millis))?)
}

/// Reads the name that a user gives a run.
pub(crate) fn run_name(text: &str) -> Result<String, String> {
    let fine = |letter: char| letter.is_alphanumeric() || ['-', '_', '.'].contains(&letter);
    match text {
        "last" => Err("`last` is taken: it is whichever run is the newest".to_owned()),
        _ if text.starts_with(char::is_alphabetic) && text.chars().all(fine) => Ok(text.to_owned()),
        _ => Err("a name begins with a letter, and goes on with letters, digits, `-`, `_`, `.`"
            .to_owned()),
    }
}

/// Leaves the cells of `plan` that `wanted` picks.
fn pick_cells(plan: &mut Plan, wanted: &[String]) -> Result<(), Failure> {
    let refused = |text: &&String| text.contains("!=");
    let takes: Vec<String> = wanted.iter().filter(|text| !refused(text)).cloned().collect();
    let takes = Cells::of(&takes, plan)?;
    let mut without = vec![];
    for text in wanted.iter().filter(refused) {
        without.push(Cells::of(&[text.replacen("!=", "=", 1)], plan)?);
    }
    if wanted.is_empty() {
        return Ok(());
    }
    plan.restrict(|cell| {
        takes.hold(&cell.coords) && !without.iter().any(|cells| cells.hold(&cell.coords))
    });
    if plan.cells.is_empty() {
        return Err(Failure::mistake("no cell is left by --where"));
    }
    Ok(())
}

/// Returns the computations of the stages called so.
fn forced(plan: &Plan, stages: &[String]) -> Result<BTreeSet<NodeId>, Failure> {
    let mut nodes = BTreeSet::new();
    for stage in stages {
        let called: BTreeSet<NodeId> =
            plan.cells.iter().filter_map(|cell| cell.node(stage)).collect();
        if called.is_empty() {
            let what = format!("--force {stage}: no stage that is to run is called so");
            let known: BTreeSet<&str> =
                plan.cells.iter().flat_map(PlanCell::stages).map(|(name, _)| &**name).collect();
            let known: Vec<&str> = known.into_iter().collect();
            return Err(Failure::mistake(what).hint(format!("there are {}", known.join(", "))));
        }
        nodes.extend(called);
    }
    Ok(nodes)
}

/// Opens the device that `choice` names. Where `auto` has to take the CPU, it says why.
pub(crate) fn open_device(choice: DeviceChoice, context: &Context) -> Result<Device, Failure> {
    let folders = device_folders();
    let kept = folders.has_kernels();
    let device = match choice {
        DeviceChoice::Auto => {
            let (device, lack) = Device::best(&folders);
            if let Some(lack) = lack.filter(|_| !context.global.quiet) {
                eprint_line(&format!("on the CPU: {}", crate::context::chain(&lack)));
            }
            device
        }
        choice => Device::open(choice, &folders)?,
    };
    if !device.is_cpu() {
        if !kept && !context.global.quiet {
            eprint_line(
                "kernels are compiled, once for each GPU and kind of network: a training begins some seconds late",
            );
        }
        let name = device.name();
        engine::explain_panics_of_stages(move |panic| networks::explain_device_panic(panic, &name));
    }
    Ok(device)
}

/// Returns the folders that the environment names for GPUs: CUDA_PATH, and CORESIFT_KERNELS, which is
/// else in the user's cache folder.
pub(crate) fn device_folders() -> DeviceFolders {
    let folder = |name: &str| env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let of_user = || folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    let kernels = folder("CORESIFT_KERNELS");
    DeviceFolders {
        toolkit: folder("CUDA_PATH"),
        kernels: kernels.or_else(|| Some(of_user()?.join("coresift/kernels"))),
    }
}

/// A stage that panics is told as a failed stage; its backtrace is for those who ask for it.
pub(crate) fn keep_panics() {
    let show = env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0");
    engine::keep_panics_of_stages(show);
    networks::keep_device_panics(show);
}
