//! The program: arguments, progress, tables. The only place that prints, and that reads the environment but
//! for what `command` stages pass on to their programs.

mod ablate;
mod bench;
mod cache_cmd;
mod context;
mod diff;
mod doctor;
mod explain;
mod export;
mod failure;
mod follow;
mod graph;
#[cfg(feature = "remote")]
mod keys;
mod matrix;
mod methods;
mod mistakes;
mod new;
mod output;
mod plan;
mod plot;
mod progress;
mod push;
mod quantities;
mod remote;
mod report;
mod results;
mod run;
mod runs;
mod schema;
mod show;
mod signals;
mod site;
mod sources;
mod stats;
mod stop;
mod submit;
mod supervise;
mod table;
mod watch;
mod work;

use clap::{CommandFactory as _, Parser, Subcommand, error::ErrorKind};
use context::{Context, Global};
use failure::{Exit, Failure};
use output::Stream;
use std::process::ExitCode;

/// Finds the part of a training set worth training on: runs a pipeline of load, corrupt,
/// proxy-train, score, select, train and evaluate stages, and keeps every result.
#[derive(Parser)]
#[command(name = "coresift", version, max_term_width = 100)]
struct CommandLine {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: ProgramCommand,
}

#[derive(Subcommand)]
enum ProgramCommand {
    /// Run a pipeline: take what the store has, make the rest.
    Run(run::RunArgs),
    /// Hand a pipeline to Slurm or Ray as jobs, and leave.
    Submit(submit::SubmitArgs),
    /// Cancel the jobs of a run that was submitted.
    Stop(stop::StopArgs),
    /// Compute what a job of a submitted run is to.
    #[command(hide = true)]
    Work(work::WorkArgs),
    /// Run a pipeline at several settings, and say what each does to results, subsets and cost.
    Ablate(ablate::AblateArgs),
    /// Say what a run would do, and why; runs nothing.
    Plan(plan::PlanArgs),
    /// Say why a stage is a hit or a miss.
    Explain(explain::ExplainArgs),
    /// Draw the DAG.
    Graph(graph::GraphArgs),
    /// List earlier runs.
    Runs(runs::RunsArgs),
    /// Show a run: its stages, their state, keys and seconds; or its events, as they happen.
    Show(show::ShowArgs),
    /// Watch a run of another process, or look at one that ended: stages, progress, curves, log.
    Watch(watch::WatchArgs),
    /// Print the results, one row per matrix cell, mean ± std over seeds.
    Table(table::TableArgs),
    /// Say in what two runs or pipelines differ, stage by stage.
    Diff(diff::DiffArgs),
    /// Write one HTML page of the results: tables, figures, samples, provenance.
    Report(report::ReportArgs),
    /// Write one figure of the report as SVG or PNG.
    Plot(plot::PlotArgs),
    /// Write an artifact to a file: indices, scores, tensors.
    Export(export::ExportArgs),
    /// Send the results of runs to the remote store.
    Push(push::PushArgs),
    /// Fetch the results of runs from the remote store.
    Pull(push::PullArgs),
    /// Look after the store.
    Cache(cache_cmd::CacheArgs),
    /// List the methods, or show the manual of one.
    Methods(methods::MethodsArgs),
    /// Write a new pipeline file.
    New(new::NewArgs),
    /// Print the JSON schema of pipeline files.
    Schema(schema::SchemaArgs),
    /// Time training and inference on random images, or compare a device with the CPU.
    Bench(bench::BenchArgs),
    /// Check devices, CUDA libraries, data sets and the store.
    Doctor(doctor::DoctorArgs),
    /// Print a shell's completion script.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == supervise::COMMAND) {
        return supervise::run(&words.collect::<Vec<_>>());
    }
    let code = std::panic::catch_unwind(answer).unwrap_or_else(|payload| {
        let message = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = message.or_else(|| payload.downcast_ref::<String>().cloned());
        context::eprint_line(&format!(
            "error: {}\nhelp: this is a defect of coresift, please report it with the lines above; \
             what was finished is kept",
            message.as_deref().unwrap_or("it broke off")
        ));
        Exit::Defect.into()
    });
    output::settle(code)
}

/// Does what the command line says.
fn answer() -> ExitCode {
    let args = match CommandLine::try_parse() {
        Ok(args) => args,
        Err(error) => return instead(&error),
    };
    let as_json = args.global.json;
    let context = Context::new(args.global);
    let result = match args.command {
        ProgramCommand::Run(args) => run::run(&args, &context),
        ProgramCommand::Submit(args) => submit::run(&args, &context),
        ProgramCommand::Stop(args) => stop::run(&args, &context),
        ProgramCommand::Work(args) => work::run(&args, &context),
        ProgramCommand::Ablate(args) => ablate::run(&args, &context),
        ProgramCommand::Plan(args) => plan::run(&args, &context),
        ProgramCommand::Explain(args) => explain::run(&args, &context),
        ProgramCommand::Graph(args) => graph::run(&args, &context),
        ProgramCommand::Runs(args) => runs::run(&args, &context),
        ProgramCommand::Show(args) => show::run(&args, &context),
        ProgramCommand::Watch(args) => watch::run(&args, &context),
        ProgramCommand::Table(args) => table::run(&args, &context),
        ProgramCommand::Diff(args) => diff::run(&args, &context),
        ProgramCommand::Report(args) => report::run(&args, &context),
        ProgramCommand::Plot(args) => plot::run(&args, &context),
        ProgramCommand::Export(args) => export::run(&args, &context),
        ProgramCommand::Push(args) => push::push(&args, &context),
        ProgramCommand::Pull(args) => push::pull(&args, &context),
        ProgramCommand::Cache(args) => cache_cmd::run(&args, &context),
        ProgramCommand::Methods(args) => methods::run(&args, &context),
        ProgramCommand::New(args) => new::run(&args, &context),
        ProgramCommand::Schema(args) => schema::run(&args, &context),
        ProgramCommand::Bench(args) => bench::run(&args, &context),
        ProgramCommand::Doctor(args) => doctor::run(&args, &context),
        ProgramCommand::Completions { shell } => {
            // It panics where it cannot write.
            let mut script = vec![];
            clap_complete::generate(shell, &mut CommandLine::command(), "coresift", &mut script);
            output::print_bytes(&script);
            Ok(ExitCode::SUCCESS)
        }
    };
    context.tell_of_remote();
    result.unwrap_or_else(|failure: Failure| failure.report(as_json))
}

/// Says what clap says instead of arguments: a help text, the version, or what is wrong with the
/// command line.
fn instead(said: &clap::Error) -> ExitCode {
    let text = said.render();
    let on = |stream: Stream| match stream.has_colour() {
        true => text.ansi().to_string(),
        false => text.to_string(),
    };
    if !said.use_stderr() {
        output::print(&on(Stream::Out));
        return ExitCode::SUCCESS;
    }
    // Where the command line does not read, the flag is looked for by hand.
    if std::env::args_os().take_while(|word| word != "--").any(|word| word == "--json") {
        output::print_line(&refusal(said).json().to_string());
    }
    output::eprint(&on(Stream::Err));
    Exit::Mistake.into()
}

/// Returns what clap says is wrong as a failure.
fn refusal(said: &clap::Error) -> Failure {
    let none = [ErrorKind::MissingSubcommand, ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand];
    if none.contains(&said.kind()) {
        return Failure::mistake("no command was given").hint("`coresift help` lists them");
    }
    let text = said.render().to_string();
    // Paragraphs: what is wrong, tips, the usage.
    let mut paragraphs =
        text.split("\n\n").map(|lines| lines.lines().map(str::trim).collect::<Vec<_>>().join(" "));
    let what = paragraphs.next().unwrap_or_default();
    let failure = Failure::mistake(what.strip_prefix("error: ").unwrap_or(&what));
    let tips = paragraphs.filter_map(|tip| Some(tip.strip_prefix("tip: ")?.to_owned()));
    tips.fold(failure, Failure::hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    /// Returns every command a text in `folder` names: `coresift …` between backticks.
    fn commands(folder: &Path) -> Vec<String> {
        let mut found = vec![];
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                found.extend(commands(&path));
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).expect("text");
                for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
                    let named = line.split('`').skip(1).step_by(2);
                    found.extend(
                        named.filter(|one| one.starts_with("coresift ")).map(str::to_owned),
                    );
                }
            }
        }
        found
    }

    #[test]
    fn every_command_that_is_told_reads() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let all: Vec<String> =
            ["cli", "engine"].iter().flat_map(|folder| commands(&here.join(folder))).collect();
        assert!(all.len() > 12, "they are found: {all:?}");
        for command in all {
            let words: Vec<&str> = command.split(' ').collect();
            let Err(error) = CommandLine::try_parse_from(&words) else { continue };
            // A command may be named without its arguments; it may not be one that is none.
            let bare = words.len() == 2 || words == ["coresift", "help"];
            let known = [ErrorKind::MissingRequiredArgument, ErrorKind::DisplayHelp];
            assert!(bare && known.contains(&error.kind()), "{command}: {error}");
        }
    }

    #[test]
    fn what_clap_says_is_a_failure_as_others_are() {
        let refused = |words: &[&str]| {
            let error = CommandLine::try_parse_from(words).err().expect("it does not read");
            let failure = refusal(&error);
            let hint = failure.json()["error"]["hint"].as_str().map(str::to_owned);
            (failure.message(), hint)
        };
        let (message, hint) = refused(&["coresift", "plan"]);
        let wanted = "the following required arguments were not provided: <PIPELINE>";
        assert_eq!((message.as_str(), hint), (wanted, None));
        let (message, _) = refused(&["coresift"]);
        assert_eq!(message, "no command was given");
        let (message, hint) = refused(&["coresift", "run", "p.toml", "--devise", "cpu"]);
        assert_eq!(message, "unexpected argument '--devise' found");
        assert_eq!(hint.as_deref(), Some("a similar argument exists: '--device'"));
    }
}
