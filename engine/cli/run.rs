//! `coresift run`: takes what the store has, makes the rest, and prints the results.

use crate::{
    cache_cmd::Size,
    context::{Context, Failure, MISTAKE, Pipeline, eprint_line, now, print, print_line},
    progress::Progress,
    table,
};
use cache::Store;
use engine::{Plan, RunError, RunOptions, RunResult, Summary};
use signal_hook::consts::{SIGINT, SIGTERM};
use stages::{Device, DeviceChoice};
use std::{
    cell::Cell,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pipeline: Pipeline,
    #[command(flatten)]
    how: How,
    /// Print no table at the end.
    #[arg(long)]
    no_table: bool,
}

/// Where and how stages run: nothing of it changes a result.
#[derive(clap::Args)]
pub(crate) struct How {
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

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, Failure> {
    let plan = context.plan(&args.pipeline)?;
    let work = Work::begin(&args.how)?;
    let store = context.store()?;
    let result = work.run(&plan, &store, context)?;
    if context.global.json {
        print_line(&table::json(&plan, &store, &result.outputs, &result.keys).to_string());
    } else if !args.no_table && !context.global.quiet {
        let shown = table::text(&plan, &store, &result.outputs, &result.keys);
        if !shown.is_empty() {
            print(&shown);
        }
    }
    Ok(work.exit_code(result.summary))
}

/// What the runs of one command share.
pub(crate) struct Work {
    device: Device,
    jobs: Option<usize>,
    threads: Option<usize>,
    cancel: Arc<AtomicBool>,
    /// How many runs were begun.
    runs: Cell<usize>,
}

impl Work {
    /// Opens the device and watches for signals.
    pub(crate) fn begin(how: &How) -> Result<Self, Failure> {
        let device = Device::open(how.device).map_err(|error| {
            Failure::new(MISTAKE, crate::context::chain(&error)).hint(&error.hint)
        })?;
        if let Some(Size(bytes)) = how.memory {
            stages::set_memory(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        silence_panics();
        Ok(Self {
            device,
            jobs: how.jobs.map(usize::from),
            threads: how.threads.map(usize::from),
            cancel: stop_on_signals()?,
            runs: Cell::new(0),
        })
    }

    /// Runs `plan`, showing how it goes on.
    pub(crate) fn run(
        &self,
        plan: &Plan,
        store: &Store,
        context: &Context,
    ) -> Result<RunResult, Failure> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let started = now();
        self.runs.set(self.runs.get() + 1);
        let jobs = self.jobs.unwrap_or(cores);
        let options = RunOptions {
            id: run_id(started, self.runs.get()),
            jobs,
            device_jobs: if self.device.is_cpu() { jobs } else { self.jobs.unwrap_or(1) },
            device: self.device.name(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            now: started,
            threads: self.threads.unwrap_or(cores),
            cancel: Arc::clone(&self.cancel),
        };
        let mut progress = Progress::new(plan, context, &options);
        let result = engine::run(plan, store, &options, &mut progress);
        progress.end();
        result.map_err(|RunError::Store(error)| Failure::from(error))
    }

    /// Returns how a run that ended in `summary` ends the program.
    pub(crate) fn exit_code(&self, summary: Summary) -> ExitCode {
        if self.cancel.load(Ordering::Relaxed) {
            eprint_line("stopped; what was finished is kept, run it again to go on");
            return ExitCode::from(130);
        }
        if summary.failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// Returns the name of the `number`-th run of this process.
fn run_id(started: u64, number: usize) -> String {
    let time = crate::context::time_of(started).replace(['-', ':'], "").replace(' ', "-");
    let process = std::process::id();
    match number {
        1 => format!("{time}-{process}"),
        _ => format!("{time}-{process}-{number}"),
    }
}

// The first signal asks the run to stop at the next step boundary, the second kills the program.
fn stop_on_signals() -> Result<Arc<AtomicBool>, Failure> {
    let cancel = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let register = || {
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&cancel))?;
            signal_hook::flag::register(signal, Arc::clone(&cancel))
        };
        register()
            .map_err(|error| Failure::new(1, format!("cannot watch for signals: {error}")))?;
    }
    Ok(cancel)
}

// A stage that panics is reported as a failed stage; the backtrace is for those who ask.
fn silence_panics() {
    let show = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0");
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if show {
            default(info);
        }
    }));
}
