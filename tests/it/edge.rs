//! Where the program meets the shell: streams that cannot be written, terminals, failures as
//! JSON, pipelines on stdin.

use crate::program::Sandbox;
use serde_json::Value;
use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Output, Stdio},
    thread,
};

const PIPELINE: &str = r#"
[stage.data]
use  = "load.synthetic"
with = { n = 60, test = 12, d = 3, classes = 3 }

[stage.subset]
use  = "select.random"
from = { data = "data" }
with = { keep = 0.5 }

[stage.student]
use  = "train"
from = { data = "data", subset = "subset" }
with = { model = "mlp", epochs = 1 }

[stage.result]
use  = "evaluate"
from = { data = "data", model = "student" }
"#;

fn program(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coresift"));
    command.args(args).current_dir(folder).env_remove("RUST_BACKTRACE");
    command.env_remove("CORESIFT_STORE");
    command
}

fn place() -> Sandbox {
    let place = Sandbox::new();
    place.write("p.toml", PIPELINE);
    place
}

fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").expect("there is one").into()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let place = place();
    place.run("p.toml", &[]);
    for args in [
        &["plan", "p.toml"][..],
        &["plan", "p.toml", "--json"],
        &["table", "p.toml", "--format", "csv"],
        &["run", "p.toml", "--device", "cpu"],
        &["run", "p.toml", "--device", "cpu", "--json"],
        &["show", "last"],
        &["show", "last", "--follow"],
        &["runs"],
        &["methods"],
        &["schema"],
        &["completions", "bash"],
        &["--help"],
        &["--version"],
        &["export", "p.toml", "subset", "--to", "-"],
    ] {
        let mut command = program(&place.path(""), args);
        command.env("CORESIFT_STORE", place.path("store"));
        let output = command.stdout(full()).output().expect("it starts");
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert_eq!(said.matches("cannot write to stdout").count(), 1, "{args:?}: {said}");
        // A reader that has left is no failure.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = command.stdout(writer).output().expect("it starts");
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("cannot write") && !said.contains("panic"), "{args:?}: {said}");
    }
    // A worse code stays as it is, and stderr changes none.
    let output = program(&place.path(""), &["--json", "rnu"]).stdout(full()).output();
    assert_eq!(output.expect("it starts").status.code(), Some(2));
    let output = program(&place.path(""), &["run", "p.toml", "--device", "cpu"])
        .stderr(full())
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_run_goes_on_when_nobody_reads_its_events() {
    let place = place();
    let mut child = program(&place.path(""), &["run", "p.toml", "--device", "cpu", "--json"])
        .env("CORESIFT_STORE", place.path("store"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("an event");
    assert!(child.wait().expect("it ends").success());
    assert_eq!(place.run("p.toml", &[]).0, (4, 0), "all of it was computed");
}

#[test]
fn every_failure_is_an_object_for_programs() {
    let place = place();
    place.write("bad.toml", &PIPELINE.replace("keep", "kep"));
    for (args, code) in [
        (&["rnu"][..], 2),
        (&["plan"], 2),
        (&["run", "p.toml", "--jobs", "0"], 2),
        (&["cache", "gc", "--min-age", "x"], 2),
        (&["show", "nosuch"], 2),
        (&["table", "p.toml", "--where", "keep=9"], 2),
        (&["export", "p.toml", "nosuch", "--to", "x.npy"], 2),
        (&["export", "p.toml", "subset", "--to", "x.npy"], 1),
        (&["diff", "p.toml", "nosuch"], 2),
        (&["diff", "p.toml"], 2),
        (&["run", "bad.toml"], 2),
        (&["plan", "nosuch.toml"], 2),
        (&["methods", "nosuch"], 2),
        (&[], 2),
    ] {
        let output = place.output(&[&["--json"], args].concat());
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        let told: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{args:?}: {error}: {}", said(&output)));
        let error = &told["error"];
        assert_eq!(error["code"], code, "{args:?}: {told}");
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{told}");
        assert!(error["hint"].is_null() || error["hint"].is_string(), "{told}");
        assert!(!said(&output).is_empty(), "{args:?}: people are told too");
    }
    let output = place.output(&["run", "bad.toml", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["mistakes"][0]["line"], 9, "{told}");
    let output = place.output(&["--json", "rnu"]);
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["error"]["message"], "unrecognized subcommand 'rnu'");
    let hint = told["error"]["hint"].as_str().unwrap_or_default();
    assert!(hint.starts_with("a similar subcommand exists: 'run"), "{told}");
}

#[test]
fn a_script_can_ask_whether_there_is_something_to_do() {
    let place = place();
    let code = |more: &[&str]| {
        place.output(&[&["plan", "p.toml", "--exit-code"], more].concat()).status.code()
    };
    assert_eq!((code(&[]), code(&["--json"])), (Some(10), Some(10)));
    assert_eq!(place.output(&["plan", "p.toml"]).status.code(), Some(0));
    place.run("p.toml", &[]);
    assert_eq!((code(&[]), code(&["--json"])), (Some(0), Some(0)));
    assert_eq!(code(&["--set", "subset.with.kep=1"]), Some(2));
}

/// Runs the program with `text` on stdin.
fn fed(place: &Sandbox, args: &[&str], text: &str) -> Output {
    let mut child = program(&place.path(""), args)
        .env("CORESIFT_STORE", place.path("store"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    let text = text.to_owned();
    let writer = thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic").ok();
    output
}

#[test]
fn a_pipeline_comes_from_stdin() {
    let place = place();
    for name in ["-", "/dev/stdin", "/dev/fd/0"] {
        for args in [
            &["plan", name][..],
            &["run", name, "--device", "cpu"],
            &["explain", name, "subset"],
            &["graph", name],
            &["table", name],
            &["diff", name, "p.toml"],
            &["export", name, "subset", "--to", "-"],
            &["report", name],
        ] {
            let output = fed(&place, args, PIPELINE);
            // The store is empty for the first, which is no failure.
            assert!(output.status.success(), "{args:?}: {}", said(&output));
        }
    }
    assert!(place.path("report.html").exists());
    // Relative paths begin in the current folder, also those of bases.
    let output = fed(&place, &["plan", "-"], "extends = \"p.toml\"\nseed = 1\n");
    assert!(output.status.success(), "{}", said(&output));
    let output = fed(&place, &["plan", "-"], "extends = \"p.toml\"\nsed = 1\n");
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("[-:2:1]"), "{}", said(&output));
    // A process substitution is a pipe that can be read once.
    let script = format!("'{}' plan <(cat p.toml)", env!("CARGO_BIN_EXE_coresift"));
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(place.path(""))
        .env("CORESIFT_STORE", place.path("store"))
        .output();
    if let Ok(output) = output {
        assert!(output.status.success(), "{}", said(&output));
    }
    let output = fed(&place, &["ablate", "-", "subset.with.keep=0.1,0.2"], PIPELINE);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("write it to a file first"), "{}", said(&output));
}

#[test]
fn many_mistakes_and_long_lines_are_told_in_short() {
    let place = Sandbox::new();
    let stages: String =
        (0..500).map(|n| format!("[stage.s{n}]\nuse = \"select.topp\"\n")).collect();
    place.write("many.toml", &stages);
    let output = place.output(&["plan", "many.toml"]);
    let text = said(&output);
    assert_eq!(text.matches("no method is called").count(), 50, "{text}");
    let end = "… and 450 more; the first 50 are shown\n500 mistakes; nothing was run\n";
    assert!(text.ends_with(end), "{text}");
    let output = place.output(&["plan", "many.toml", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["mistakes"].as_array().map(Vec::len), Some(500));

    place.write("long.toml", &format!("{PIPELINE}\n[zzz]\na = \"{}\"", "y".repeat(3_000_000)));
    place.write("wide.toml", &format!("zzz = \"{}\"\n{PIPELINE}", "y".repeat(3_000_000)));
    for name in ["long.toml", "wide.toml"] {
        let output = place.output(&["plan", name]);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(2));
        assert!(text.contains("no key called `zzz`") && text.len() < 3_000, "{}", text.len());
    }
}

#[test]
fn what_is_missing_is_made_by_the_command_that_is_told() {
    let place = place();
    place.write("q.toml", PIPELINE);
    place.run("p.toml", &["--set", "subset.with.keep=0.25"]);
    let gone = place.path("store/records");
    fs::remove_dir_all(&gone).expect("removed");
    fs::create_dir(&gone).expect("made");
    let command = |text: &str| -> Vec<String> {
        let told = text.split('`').skip(1).step_by(2);
        told.filter_map(|one| Some(one.strip_prefix("coresift ")?.to_owned())).collect()
    };
    let told = said(&place.output(&["table", "p.toml", "q.toml"]));
    assert_eq!(command(&told), ["run p.toml", "run q.toml"], "{told}");
    let told = said(&place.output(&["table", "p.toml@last"]));
    assert_eq!(command(&told), ["run p.toml --set subset.with.keep=0.25"], "{told}");
    // Where some results are there, they are shown.
    place.run("p.toml", &[]);
    let seeds = format!("{PIPELINE}\n[matrix]\nseed = [0, 1]\n");
    place.write("r.toml", &seeds);
    place.run("r.toml", &[]);
    let listed = place.json(&["cache", "ls", "--kind", "metrics"]);
    let key = listed[0]["key"].as_str().expect("a key").to_owned();
    let records = place.stored("records");
    let named = |path: &&std::path::PathBuf| {
        let path: String = path.to_string_lossy().split('/').collect();
        path.contains(&key)
    };
    fs::remove_file(records.iter().find(named).expect("it is there")).expect("removed");
    let told = said(&place.output(&["table", "r.toml@last"]));
    assert_eq!(command(&told), ["run r.toml"], "{told}");
    let told = said(&place.output(&["table", "p.toml", "--set", "subset.with.keep=0.3"]));
    assert_eq!(command(&told), ["run p.toml --set subset.with.keep=0.3"], "{told}");
    let export = ["export", "p.toml", "subset", "--to", "-", "--set", "subset.with.keep=0.3"];
    let told = said(&place.output(&export));
    let wanted = "run p.toml --set subset.with.keep=0.3 --target subset";
    assert_eq!(command(&told), [wanted], "{told}");
}

#[test]
fn no_more_threads_are_used_than_there_are_cores() {
    let place = place();
    let (_, told) = place.run("p.toml", &["--threads", "60000"]);
    assert_eq!(told.matches("note: --threads 60000: this machine has").count(), 1, "{told}");
    let (_, told) = place.run("p.toml", &["--threads", "1"]);
    assert!(!told.contains("--threads"), "{told}");
}

#[test]
fn a_project_with_a_store_of_its_own_is_named() {
    let place = Sandbox::new();
    for folder in ["proj/sub", "other"] {
        fs::create_dir_all(place.path(folder)).expect("made");
    }
    File::create(place.path("proj/coresift.toml")).expect("made");
    place.write("proj/p.toml", PIPELINE);
    let run = |folder: &str, path: &str| {
        let args = ["run", path, "--device", "cpu", "--no-table"];
        let output = program(&place.path(folder), &args).output().expect("it starts");
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    let note = "note: results go to ./.coresift; the pipeline's project has a store of its own: \
                --store ../proj/.coresift\n";
    assert!(!run("proj", "p.toml").contains("note:"));
    assert!(!run("proj/sub", "../p.toml").contains("note:"));
    assert!(run("other", "../proj/p.toml").contains(note));
    assert!(!run("other", "../proj/p.toml").contains("note:"), "now there are results here too");
}

/// Runs the program on a terminal with `set` in its environment, and returns what it showed.
fn on_a_terminal(place: &Sandbox, set: &[(&str, &str)], args: &str) -> Option<String> {
    let line = format!("'{}' {args}", env!("CARGO_BIN_EXE_coresift"));
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).current_dir(place.path("")).stdin(Stdio::null());
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "LC_ALL", "LC_CTYPE", "LANG"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm").env("CORESIFT_STORE", place.path("store"));
    command.envs(set.iter().copied());
    let output = command.output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn a_terminal_gets_what_it_can_show() {
    let place = place();
    place.write("bad.toml", &PIPELINE.replace("keep", "kep"));
    let Some(text) = on_a_terminal(&place, &[], "plan bad.toml") else {
        eprintln!("skipped: no program `script`");
        return;
    };
    assert!(text.contains("\x1b[") && text.contains("───"), "{text}");
    for set in [("TERM", "dumb"), ("TERM", ""), ("NO_COLOR", "1")] {
        let text = on_a_terminal(&place, &[set], "plan bad.toml").expect("it runs");
        assert!(!text.contains('\x1b') && text.contains("no setting is called"), "{set:?}: {text}");
    }
    let text = on_a_terminal(&place, &[("NO_COLOR", "")], "plan bad.toml").expect("it runs");
    assert!(text.contains("\x1b["), "an empty one is as good as none: {text}");
    let text = on_a_terminal(&place, &[("LC_ALL", "C")], "plan bad.toml").expect("it runs");
    assert!(text.is_ascii() && text.contains("---"), "{text}");
    let dumb = [("TERM", "dumb"), ("LC_ALL", "C")];
    let run = "run p.toml --device cpu --watch --set seed=1";
    let text = on_a_terminal(&place, &dumb, run).expect("it runs");
    assert!(text.is_ascii() && !text.contains('\x1b') && text.contains("done "), "{text}");
    let text = on_a_terminal(&place, &[("LC_ALL", "C")], "graph p.toml").expect("it runs");
    assert!(text.is_ascii() && text.contains("<- "), "{text}");
}

#[test]
fn what_is_not_there_is_told_once_and_with_a_way_out() {
    let place = place();
    let said = |args: &[&str]| {
        let output = place.output(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        said(&output)
    };
    // Not that the file lacks the stage, too.
    let text = said(&["explain", "nowhere.toml", "data"]);
    assert!(text.contains("cannot read") && !text.contains("no stage"), "{text}");
    let text = said(&["show", "last"]);
    assert!(text.contains("`coresift run FILE` makes one"), "{text}");
    // A run that is over has no process to end.
    place.run("p.toml", &["--target", "data"]);
    let text = said(&["stop", "last"]);
    assert!(text.contains("has ended") && !text.contains("process"), "{text}");
}
