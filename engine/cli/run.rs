//! `coresift run`: takes what the store has, makes the rest, and prints the results.

use crate::{
    cache_cmd::Size,
    context::{Context, Failure, MISTAKE, Pipeline, eprint_line, now, print, print_line},
    progress::Progress,
    table, watch,
};
use cache::Store;
use engine::{Event, Journal, Plan, RunError, RunOptions, RunResult, Summary};
use signal_hook::consts::{SIGINT, SIGTERM};
use stages::{Device, DeviceChoice};
use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
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
    /// Show the run as it goes on: stages, progress, curves, log. Without a terminal, plain lines.
    #[arg(long, short)]
    watch: bool,
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
    let options = args.how.options(context)?;
    let store = context.store()?;
    silence_panics();
    let result = follow(args, context, &plan, &store, &options);
    let result = result.map_err(|RunError::Store(error)| Failure::from(error))?;
    // With --json, stdout has the events and nothing else.
    if !args.no_table && !context.global.quiet && !context.global.json {
        let shown = table::text(&plan, &store, &result.outputs, &result.keys);
        if !shown.is_empty() {
            print(&shown);
        }
    }
    Ok(exit_code(result.summary, options.cancel.load(Ordering::Relaxed)))
}

impl How {
    /// Opens the device, watches for signals, and returns what a run that begins now is given.
    pub(crate) fn options(&self, context: &Context) -> Result<RunOptions, Failure> {
        let device = Device::open(self.device).map_err(|error| {
            Failure::new(MISTAKE, crate::context::chain(&error)).hint(&error.hint)
        })?;
        if let Some(Size(bytes)) = self.memory {
            stages::set_memory(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = self.jobs.map_or(cores, usize::from);
        let started = now();
        Ok(RunOptions {
            id: run_id(started),
            jobs,
            device_jobs: if device.is_cpu() { jobs } else { self.jobs.map_or(1, usize::from) },
            device: device.name(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            now: started,
            threads: context.threads(self.threads),
            cancel: stop_on_signals()?,
        })
    }
}

/// Runs `plan`, and shows it in the way that was asked for.
fn follow(
    args: &Args,
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
    let mut progress = Progress::new(plan, context, options);
    let mut journal = Journal::new(plan, &options.id);
    let json = context.global.json;
    let mut sink = |event: &Event| {
        if let Some(entry) = journal.entry(event).filter(|_| json) {
            print_line(&entry.line());
        }
        engine::Sink::emit(&mut progress, event);
    };
    let result = engine::run(plan, store, options, &mut sink);
    progress.end();
    result
}

/// Returns the exit code of what ended in `summary`, and says so if it was interrupted.
pub(crate) fn exit_code(summary: Summary, interrupted: bool) -> ExitCode {
    if interrupted {
        eprint_line("stopped; what was finished is kept, run it again to go on");
        return ExitCode::from(130);
    }
    if summary.failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

pub(crate) fn run_id(started: u64) -> String {
    let time = crate::context::time_of(started).replace(['-', ':'], "").replace(' ', "-");
    format!("{time}-{}", std::process::id())
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
pub(crate) fn silence_panics() {
    let show = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0");
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if show {
            default(info);
        }
    }));
}
