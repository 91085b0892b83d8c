//! The program from outside: command by command, all it writes and how it ends.

use crate::{
    program::{Sandbox, files, of_random_subsets, repository},
    snapshot::Session,
};

fn pipeline() -> String {
    let keep = "\"subset.with.keep\" = [0.25, 0.5]";
    let cells = of_random_subsets("n = 200, test = 40, d = 4, classes = 2", 0.25, keep);
    format!("\ntitle = \"a small study\"\n{cells}")
}

/// One stage at a time, in the order of the plan.
const RUN: [&str; 6] = ["run", "p.toml", "--device", "cpu", "--jobs", "1"];
const METRICS: [&str; 4] = ["--metric", "accuracy", "--metric", "train_samples"];

fn place() -> Sandbox {
    let place = Sandbox::new();
    place.write("p.toml", &pipeline());
    place
}

/// Returns a place in which the pipeline has been run.
fn ran() -> Sandbox {
    let place = place();
    place.output(&[&RUN[..], &["--no-table"]].concat());
    place
}

#[test]
fn a_run_and_the_run_after_it() {
    let place = place();
    let mut session = Session::new(&place);
    session.run(&["plan", "p.toml"]);
    session.run(&[&RUN[..], &["--no-table"]].concat());
    session.run(&[&RUN[..], &["--no-table"]].concat());
    session.run(&["plan", "p.toml"]);
    session.run(&["plan", "p.toml", "--set", "student.with.epochs=3"]);
    session.run(&["plan", "p.toml", "--json"]);
    session.run(&[&RUN[..], &["--json"]].concat());
    session.check("run");
}

#[test]
fn tables() {
    let place = ran();
    let mut session = Session::new(&place);
    let table = |more: &[&'static str]| [&["table", "p.toml"], &METRICS[..], more].concat();
    for format in ["text", "csv", "markdown", "latex"] {
        session.run(&table(&["--format", format]));
    }
    session.run(&table(&["--json"]));
    session.run(&table(&["--sort", "-keep"]));
    session.run(&table(&["--sort", "kept"]));
    session.run(&table(&["--where", "keep=0.9"]));
    session.run(&["table", "p.toml", "--metric", "acuracy"]);
    session.run(&["table", "p.toml", "--test"]);
    session.run(&["table", "p.toml", "--pivot", "keep"]);
    session.check("table");
}

#[test]
fn runs_are_listed_and_shown() {
    let place = ran();
    place.output(&RUN);
    let mut session = Session::new(&place);
    session.run(&["runs"]);
    session.run(&["runs", "--json"]);
    session.run(&["show", "last"]);
    session.run(&["show", "last", "--json"]);
    session.run(&["show", "never"]);
    session.check("runs");
}

#[test]
fn a_result_is_explained_and_drawn() {
    let place = ran();
    let mut session = Session::new(&place);
    session.run(&["explain", "p.toml", "subset"]);
    session.run(&["explain", "p.toml", "subset", "--cell", "keep=0.5", "--json"]);
    session.run(&["explain", "p.toml", "student", "--set", "student.with.lr=0.2"]);
    session.run(&["explain", "p.toml", "studnet"]);
    for format in ["text", "dot", "mermaid"] {
        session.run(&["graph", "p.toml", "--format", format]);
    }
    session.run(&["graph", "p.toml", "--json"]);
    session.run(&["diff", "p.toml", "last"]);
    session.check("explain");
}

#[test]
fn the_store_is_looked_at() {
    let place = ran();
    let mut session = Session::new(&place);
    // Results are listed by key, of which nothing is left here.
    let sorted = |text: String| {
        let mut lines: Vec<&str> = text.lines().collect();
        lines[1..].sort_unstable();
        lines.join("\n") + "\n"
    };
    session.run_with(&["cache", "ls"], sorted);
    session.run(&["cache", "ls", "--kind", "data", "--json"]);
    session.run(&["cache", "stats"]);
    session.run(&["cache", "stats", "--json"]);
    session.run(&["cache", "verify"]);
    session.run(&["cache", "verify", "--json"]);
    session.run(&["cache", "gc", "--dry-run"]);
    session.run(&["cache", "rm", "p.toml", "subset", "--cell", "keep=0.5"]);
    session.run(&["cache", "rm", "p.toml", "nothing"]);
    session.check("cache");
}

#[test]
fn the_methods_and_the_manual_of_one() {
    let place = Sandbox::new();
    let mut session = Session::new(&place);
    session.run(&["methods"]);
    session.run(&["methods", "select.ccs"]);
    session.run(&["methods", "select.css"]);
    session.check("methods");
}

/// What devices and data sets this machine has is not compared, only what is looked for.
#[test]
fn the_doctor_looks_at_everything() {
    let place = ran();
    let mut session = Session::new(&place);
    session.run_with(&["doctor"], |text| {
        let is_of_here = |line: &&str| {
            ["cuda", "what helps", "file system", "locks"].iter().any(|word| line.starts_with(word))
        };
        let name = |line: &str| match line.split("  ").next() {
            Some(name) if name.starts_with("load.") || name.starts_with("cpu") => name.to_owned(),
            _ => line.to_owned(),
        };
        text.lines().filter(|line| !is_of_here(line)).map(|line| name(line) + "\n").collect()
    });
    session.check("doctor");
}

#[test]
fn every_mistake_as_it_is_shown() {
    let place = Sandbox::new();
    let mut session = Session::new(&place);
    for path in files(&repository("tests/specs/invalid")) {
        session.run(&["plan", path.to_str().expect("text")]);
    }
    session.run(&["plan", "gone.toml"]);
    session.run(&["plan", "gone.toml", "--json"]);
    session.run(&[
        "plan",
        repository("pipelines/digits.toml").to_str().expect("text"),
        "--set",
        "x",
    ]);
    session.check("mistakes");
}

#[test]
fn the_command_line_is_checked() {
    let place = Sandbox::new();
    let mut session = Session::new(&place);
    session.run(&["rnu", "p.toml"]);
    session.run(&["table", "p.toml", "--ranks", "--test"]);
    session.run(&["table", "p.toml", "--level", "95"]);
    session.run(&["run", "p.toml", "--name", "last"]);
    session.check("command-line");
}
