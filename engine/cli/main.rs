//! The program: arguments, progress, tables. The only place that prints and reads the environment.

mod ablate;
mod bench;
mod cache_cmd;
mod context;
mod diff;
mod doctor;
mod explain;
mod export;
mod follow;
mod graph;
mod methods;
mod mistakes;
mod new;
mod plan;
mod plot;
mod progress;
mod report;
mod run;
mod runs;
mod schema;
mod show;
mod signals;
mod site;
mod sources;
mod stats;
mod supervise;
mod table;
mod watch;

use clap::{CommandFactory as _, Parser, Subcommand};
use context::{Context, Failure, Global};
use std::process::ExitCode;

/// Finds the part of a training set worth training on: runs a pipeline of load, corrupt,
/// proxy-train, score, select, train and evaluate stages, and keeps every result.
#[derive(Parser)]
#[command(name = "coresift", version, max_term_width = 100)]
struct Args {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a pipeline: take what the store has, make the rest.
    Run(run::Args),
    /// Run a pipeline at several settings, and say what each does to results, subsets and cost.
    Ablate(ablate::Args),
    /// Say what a run would do, and why; runs nothing.
    Plan(plan::Args),
    /// Say why a stage is a hit or a miss.
    Explain(explain::Args),
    /// Draw the DAG.
    Graph(graph::Args),
    /// List earlier runs.
    Runs(runs::Args),
    /// Show a run: its stages, their state, keys and seconds; or its events, as they happen.
    Show(show::Args),
    /// Watch a run of another process, or look at one that ended: stages, progress, curves, log.
    Watch(watch::Args),
    /// Print the results, one row per matrix cell, mean ± std over seeds.
    Table(table::Args),
    /// Say in what two runs or pipelines differ, stage by stage.
    Diff(diff::Args),
    /// Write one HTML page of the results: tables, figures, samples, provenance.
    Report(report::Args),
    /// Write one figure of the report as SVG or PNG.
    Plot(plot::Args),
    /// Write an artifact to a file: indices, scores, tensors.
    Export(export::Args),
    /// Look after the store.
    Cache(cache_cmd::Args),
    /// List the methods, or show the manual of one.
    Methods(methods::Args),
    /// Write a new pipeline file.
    New(new::Args),
    /// Print the JSON schema of pipeline files.
    Schema(schema::Args),
    /// Time training and inference on random images, or compare a device with the CPU.
    Bench(bench::Args),
    /// Check devices, CUDA libraries and the store.
    Doctor(doctor::Args),
    /// Print a shell's completion script.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// The exit code of a defect of the program itself (sysexits.h, EX_SOFTWARE).
const DEFECT: u8 = 70;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == supervise::COMMAND) {
        return supervise::run(&words.collect::<Vec<_>>());
    }
    // The hook has said what and where.
    std::panic::catch_unwind(answer).unwrap_or_else(|_| {
        context::eprint_line(
            "error: this is a defect of coresift; what was finished is kept. Please report the \
             lines above",
        );
        ExitCode::from(DEFECT)
    })
}

fn answer() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            error.print().ok();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let context = Context::new(args.global);
    let result = match args.command {
        Command::Run(args) => run::run(&args, &context),
        Command::Ablate(args) => ablate::run(&args, &context),
        Command::Plan(args) => plan::run(&args, &context),
        Command::Explain(args) => explain::run(&args, &context),
        Command::Graph(args) => graph::run(&args, &context),
        Command::Runs(args) => runs::run(&args, &context),
        Command::Show(args) => show::run(&args, &context),
        Command::Watch(args) => watch::run(&args, &context),
        Command::Table(args) => table::run(&args, &context),
        Command::Diff(args) => diff::run(&args, &context),
        Command::Report(args) => report::run(&args, &context),
        Command::Plot(args) => plot::run(&args, &context),
        Command::Export(args) => export::run(&args, &context),
        Command::Cache(args) => cache_cmd::run(&args, &context),
        Command::Methods(args) => methods::run(&args, &context),
        Command::New(args) => new::run(&args, &context),
        Command::Schema(args) => schema::run(&args, &context),
        Command::Bench(args) => bench::run(&args, &context),
        Command::Doctor(args) => doctor::run(&args, &context),
        Command::Completions { shell } => {
            let mut out = std::io::stdout().lock();
            clap_complete::generate(shell, &mut Args::command(), "coresift", &mut out);
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|failure: Failure| failure.report())
}
