//! Runs submitted to Ray. Skipped unless the environment variable CORESIFT_RAY names a Python that has it.

use crate::{
    program::{Place, repository},
    slurm::COMMAND,
};
use std::{
    env, fs,
    os::unix::ffi::OsStrExt as _,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a run may take: Ray itself takes ten seconds to begin.
const PATIENCE: Duration = Duration::from_secs(300);

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn place() -> Option<Place> {
    let Some(python) = env::var_os("CORESIFT_RAY") else {
        eprintln!("skipped: CORESIFT_RAY names no Python that has Ray");
        return None;
    };
    let place = Place::new();
    place.write("coresift.toml", &format!("[ray]\npython = \"{}\"\n", python.display()));
    Some(place)
}

fn submit(place: &Place, pipeline: &str) -> Command {
    let mut command = place.command(&["submit", pipeline, "--on", "ray", "--device", "cpu"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Returns a process of `place` whose command line has `word`.
fn process(place: &Place, word: &str) -> Option<u32> {
    let store = place.path("store");
    let store = store.as_os_str().as_bytes();
    let has = |line: &[u8], wanted: &[u8]| line.split(|byte| *byte == 0).any(|one| one == wanted);
    fs::read_dir("/proc").expect("Linux").flatten().find_map(|entry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        (has(&line, store) && has(&line, word.as_bytes())).then_some(id)
    })
}

fn wait(child: &mut Child, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "nothing happens");
        assert!(child.try_wait().expect("it is asked").is_none(), "it ended before");
        thread::sleep(Duration::from_millis(50));
    }
}

fn kill(signal: &str, process: u32) {
    let status = Command::new("kill").args([signal, &process.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()));
}

#[test]
fn the_table_is_that_of_a_run_and_each_key_is_computed_once() {
    let Some(place) = place() else { return };
    let text = fs::read_to_string(repository("pipelines/digits.toml")).expect("text");
    place.write("p.toml", &text.replace("epochs = 100", "epochs = 20"));
    let output = submit(&place, "p.toml").output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("21 of 21 jobs"), "{said}");
    let mut keys: Vec<String> = vec![];
    for log in place
        .stored("submitted")
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
    {
        let text = fs::read_to_string(log).expect("text");
        let ended = text.lines().filter(|line| line.contains("\"event\":\"finished\""));
        keys.extend(ended.map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            line["key"].as_str().expect("a key").to_owned()
        }));
    }
    let all = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!((all, keys.len()), (64, 64), "each key is computed once");
    let local = Place::new();
    local.write("p.toml", &text.replace("epochs = 100", "epochs = 20"));
    local.run("p.toml", &["--no-table"]);
    let rows = |place: &Place| {
        place.json(&["table", "p.toml", "--metric", "accuracy", "--metric", "loss"])["rows"].clone()
    };
    assert_eq!(rows(&place), rows(&local));
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("0.1   random"), "{table}");
}

#[test]
fn a_job_that_is_killed_runs_again_and_a_stage_that_fails_does_not() {
    let Some(place) = place() else { return };
    place.write("p.toml", COMMAND);
    let count = place.path("count");
    let script =
        format!("echo once >> {0}\n[ $(wc -l < {0}) -gt 1 ] || sleep 100\n", count.display());
    place.write("mine.sh", &format!("{script}echo no luck >&2\nexit 3\n"));
    let mut child = submit(&place, "p.toml").spawn().expect("it starts");
    wait(&mut child, || count.exists());
    kill("-9", process(&place, "work").expect("the job is at work"));
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no luck") && said.contains("skipped student [lr=0.01]"), "{said}");
    let times = fs::read_to_string(&count).expect("text").lines().count();
    assert_eq!(times, 2, "killed once, failed once");
}

#[test]
fn a_run_that_is_interrupted_goes_on_when_it_is_sent_again() {
    let Some(place) = place() else { return };
    place.write("p.toml", COMMAND);
    let begun = place.path("begun");
    place.write("mine.sh", &format!("touch {}\nsleep 100\n", begun.display()));
    let mut child = submit(&place, "p.toml").spawn().expect("it starts");
    wait(&mut child, || begun.exists());
    let run = place.json(&["runs"])[0]["id"].as_str().expect("an id").to_owned();
    place.ok(&["stop", &run]);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    assert!(process(&place, "work").is_none(), "no job is left");
    assert_eq!(place.json(&["show", &run])["status"], "interrupted");
}
