//! Runs submitted to a real Slurm. Skipped unless one answers: `tests/slurm/up` starts one.

use crate::program::{Sandbox, repository};
use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// How long a run may take: a busy machine has other things to do.
const PATIENCE: Duration = Duration::from_secs(300);

/// Returns what a program of Slurm's says, if there is one and it succeeds.
fn slurm(name: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(name).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

/// Returns a place whose jobs ask for little, with `more` in its `coresift.toml`; `None` without a
/// Slurm.
fn place(more: &str) -> Option<Sandbox> {
    if slurm("sinfo", &["-h", "-o", "%T"]).is_none_or(|states| states.trim().is_empty()) {
        skipped("no Slurm answers");
        return None;
    }
    let place = Sandbox::new();
    let job = "[slurm.job]\ncpus = 1\n";
    let job =
        if more.contains("mem =") { job.to_owned() } else { format!("{job}mem = \"400M\"\n") };
    let (top, rest) = more.split_once("---").unwrap_or(("", more));
    place.write("coresift.toml", &format!("[slurm]\n{top}\n{job}{rest}\n"));
    Some(place)
}

/// Submits a pipeline and returns the run and the ids of its arrays.
fn submit(place: &Sandbox, pipeline: &str, more: &[&str]) -> (String, Vec<String>) {
    let told = place.json(&[&["submit", pipeline, "--device", "cpu"], more].concat());
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    (text(&told["run"]), told["arrays"].as_array().expect("a list").iter().map(text).collect())
}

fn status(place: &Sandbox, run: &str) -> String {
    place.json(&["show", run])["status"].as_str().expect("a word").to_owned()
}

/// Waits for the run to end and returns how, and what its closing job wrote.
fn end(place: &Sandbox, run: &str) -> (String, String) {
    let table = place.path("store/submitted").join(run).join("table.txt");
    wait(place, run, "its end", || !["queued", "going on"].contains(&&*status(place, run)));
    // The record says it a moment before the table is there.
    wait(place, run, "its table", || table.exists());
    (status(place, run), fs::read_to_string(&table).expect("text"))
}

fn wait(place: &Sandbox, run: &str, what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        if began.elapsed() > PATIENCE {
            let logs = place.stored(&format!("submitted/{run}/log"));
            let logs = logs.iter().map(|path| fs::read_to_string(path).unwrap_or_default());
            panic!("no {what}: {}\n{}", place.ok(&["show", run]), logs.collect::<String>());
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// Returns the keys that jobs of the run computed, each as often as that.
fn computed(place: &Sandbox, run: &str) -> Vec<String> {
    let logs = place.stored(&format!("submitted/{run}/events"));
    let text: String = logs.iter().map(|log| fs::read_to_string(log).expect("text")).collect();
    let lines = text.lines().filter(|line| line.contains("\"event\":\"finished\""));
    let key = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        line["key"].as_str().expect("a key").to_owned()
    };
    lines.map(key).collect()
}

fn rounds(place: &Sandbox, run: &str) -> Vec<serde_json::Value> {
    let path = place.path("store/submitted").join(run).join("submission.json");
    let text = fs::read_to_string(path).expect("text");
    let all: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    all["rounds"].as_array().expect("a list").clone()
}

#[test]
fn the_program_leaves_and_the_table_is_that_of_a_run() {
    let Some(place) = place("most = 4\n---") else { return };
    let text = fs::read_to_string(repository("pipelines/digits.toml")).expect("text");
    place.write("p.toml", &text.replace("epochs = 100", "epochs = 20"));
    // It has ended when this returns; the jobs have not.
    let (run, _) = submit(&place, "p.toml", &[]);
    assert!(["queued", "going on"].contains(&&*status(&place, &run)));
    let sizes: Vec<usize> = rounds(&place, &run)[0]["arrays"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|array| array["jobs"].as_object().expect("a table").len())
        .collect();
    assert_eq!(sizes.iter().sum::<usize>(), 21, "3 proxies and 18 students");
    assert!(sizes.iter().all(|size| *size <= 4), "{sizes:?}");
    let (status, table) = end(&place, &run);
    assert_eq!(status, "done", "{table}");
    let keys = computed(&place, &run);
    let once: BTreeSet<&String> = keys.iter().collect();
    assert_eq!((keys.len(), once.len()), (64, 64), "each key is computed once");

    let local = place.path("local");
    let local = local.to_str().expect("text");
    place.ok(&["run", "p.toml", "--device", "cpu", "--store", local, "--no-table"]);
    let rows = |source: &str, store: &str| {
        let metrics = ["--metric", "accuracy", "--metric", "loss", "--metric", "ece"];
        place.json(&[&["table", source, "--store", store], &metrics[..]].concat())["rows"].clone()
    };
    let store = place.path("store");
    assert_eq!(rows(&run, store.to_str().expect("text")), rows("p.toml", local));
    let first = table.lines().nth(1).expect("a row");
    assert!(first.starts_with("0.1   random"), "{table}");
    // All of it is there: nothing is sent.
    assert!(place.json(&["submit", "p.toml"])["run"].is_null());
}

/// Two trainings on what a program of the user's picks.
pub(crate) const COMMAND: &str = r#"
[stage.data]
use  = "load.synthetic"
with = { n = 60, test = 12, d = 3, classes = 3 }

[stage.mine]
use  = "command"
from = { data = "data" }
with = { run = ["sh", "mine.sh"], files = ["mine.sh"], output = "subset" }

[stage.student]
use  = "train"
from = { data = "data", subset = "mine" }
with = { model = "mlp", epochs = 2, batch = 2, lr = 0.05 }

[stage.result]
use  = "evaluate"
from = { data = "data", model = "student" }

[matrix]
"student.with.lr" = [0.05, 0.01]
"#;

#[test]
fn a_stage_that_fails_is_told_and_not_tried_again() {
    let Some(place) = place("") else { return };
    place.write("p.toml", COMMAND);
    place.write("mine.sh", "echo no luck >&2; exit 3");
    let (run, arrays) = submit(&place, "p.toml", &[]);
    let (status, table) = end(&place, &run);
    assert_eq!(status, "failed", "{table}");
    assert!(table.contains("failed mine ") && table.contains("no luck"), "{table}");
    assert!(table.contains("skipped student [lr=0.01]"), "{table}");
    assert_eq!(rounds(&place, &run).len(), 1, "it is not sent again");
    let behind = slurm("scontrol", &["show", "job", &arrays[1], "-o"]).expect("known");
    assert!(behind.lines().all(|line| line.contains("JobState=CANCELLED")), "{behind}");
    let shown = place.ok(&["show", &run]);
    assert!(shown.contains("no luck"), "{shown}");
    // Once it is mended, the rest is made by hand or by another submission.
    place.write("mine.sh", "printf '7\\n3\\n5\\n' > out/indices.txt");
    assert_eq!(place.run("p.toml", &["--no-table"]).0, (1, 5));
}

#[test]
fn a_stage_that_lacks_memory_gets_twice_as_much() {
    let Some(place) = place("mem = \"150M\"") else { return };
    let config = slurm("scontrol", &["show", "config"]).unwrap_or_default();
    if !config.contains("proctrack/cgroup") {
        skipped("this Slurm has no control groups");
        return;
    }
    place.write("p.toml", COMMAND);
    // `tail` keeps a line as long as that in memory.
    let script = "set -e\nhead -c 200000000 /dev/zero | tail | wc -c > size\n\
                  test $(cat size) = 200000000\nprintf '7\\n3\\n5\\n' > out/indices.txt\n";
    place.write("mine.sh", script);
    let (run, _) = submit(&place, "p.toml", &[]);
    let (status, table) = end(&place, &run);
    assert_eq!(status, "done", "{table}");
    let rounds = rounds(&place, &run);
    assert_eq!(rounds.len(), 2, "{table}");
    assert_eq!(rounds[1]["arrays"][0]["resources"]["mem"], "300M");
}

#[test]
fn what_was_submitted_runs_whatever_changes_afterwards() {
    let Some(place) = place("extra = [\"--hold\"]") else { return };
    place.write("p.toml", COMMAND);
    let script = "printf '7\\n3\\n5\\n' > out/indices.txt";
    place.write("mine.sh", script);
    let (run, arrays) = submit(&place, "p.toml", &[]);
    fs::remove_file(place.path("mine.sh")).expect("removed");
    place.write("p.toml", "this is no pipeline any more");
    let closing = rounds(&place, &run)[0]["closing"].as_str().expect("an id").to_owned();
    for id in arrays.iter().chain([&closing]) {
        slurm("scontrol", &["release", id]).expect("released");
    }
    let (status, table) = end(&place, &run);
    assert_eq!(status, "done", "{table}");
    place.write("p.toml", COMMAND);
    place.write("mine.sh", script);
    assert_eq!(place.run("p.toml", &["--no-table"]).0, (6, 0));
    place.ok(&["runs", "rm", &run]);
    assert_eq!(place.stored("submitted").len() + place.stored("programs").len(), 0);
}

const TRAINING: &str = r#"
[stage.data]
use = "load.digits"

[stage.student]
use  = "train"
from = { data = "data" }
with = { model = "mlp", epochs = 400, batch = 16, lr = 0.01 }

[stage.result]
use  = "evaluate"
from = { data = "data", model = "student" }
"#;

/// Two trainings behind a program that takes its time when it is first begun.
const SLOW_AT_FIRST: &str = "printf '7\\n3\\n5\\n' > out/indices.txt\n\
                             [ -e BEGUN ] || { touch BEGUN; sleep 200; }\n";

/// Waits until the training of `run` is under way.
fn await_training(place: &Sandbox, run: &str) {
    wait(place, run, "progress", || {
        let logs = place.stored(&format!("submitted/{run}/events"));
        let text = logs.iter().map(|log| fs::read_to_string(log).unwrap_or_default());
        text.collect::<String>().contains("\"figure\":[\"train accuracy\"")
    });
}

fn log(place: &Sandbox, run: &str) -> String {
    let logs = place.stored(&format!("submitted/{run}/log"));
    logs.iter().map(|log| fs::read_to_string(log).unwrap_or_default()).collect()
}

#[test]
fn a_job_that_is_warned_goes_on_from_where_it_was() {
    let Some(place) = place("") else { return };
    place.write("p.toml", TRAINING);
    let (run, arrays) = submit(&place, "p.toml", &[]);
    await_training(&place, &run);
    slurm("scancel", &["--signal=USR1", "--batch", &format!("{}_0", arrays[0])]).expect("sent");
    let (status, table) = end(&place, &run);
    let log = log(&place, &run);
    assert_eq!(status, "done", "{table}{log}");
    assert!(log.contains("the job is in the queue again"), "{log}");
    assert!(log.contains("goes on after epoch "), "{log}");
    assert_eq!(rounds(&place, &run).len(), 1, "under its id");
    let digests = place.digests();
    let other = Sandbox::new();
    other.write("p.toml", TRAINING);
    other.run("p.toml", &["--no-table"]);
    assert_eq!(digests, other.digests(), "as if nothing had happened");
}

#[test]
fn a_run_is_stopped_and_goes_on_when_it_is_sent_again() {
    let Some(place) = place("") else { return };
    place.write("p.toml", TRAINING);
    let (run, arrays) = submit(&place, "p.toml", &[]);
    await_training(&place, &run);
    let early = place.output(&["submit", "--again", &run]);
    assert_eq!(early.status.code(), Some(2), "it is under way");
    place.ok(&["stop", &run]);
    assert_eq!(status(&place, &run), "interrupted");
    let gone = || {
        let queue = slurm("squeue", &["-h", "-o", "%F"]).unwrap_or_default();
        !queue.lines().any(|id| arrays.iter().any(|array| array == id.trim()))
    };
    wait(&place, &run, "end of its jobs", gone);
    assert_eq!(place.output(&["stop", &run]).status.code(), Some(2), "it has ended");
    place.ok(&["submit", "--again", &run]);
    let (status, table) = end(&place, &run);
    assert_eq!(status, "done", "{table}");
    assert!(log(&place, &run).contains("goes on after epoch "), "{}", log(&place, &run));
}

/// Submits a training of so many epochs that has all cores of the node, and waits until it is under
/// way. Returns the run, and its job.
fn submit_wide(place: &Sandbox, epochs: usize) -> (String, String) {
    place.write("p.toml", &TRAINING.replace("epochs = 400", &format!("epochs = {epochs}")));
    let (run, arrays) = submit(place, "p.toml", &[]);
    await_training(place, &run);
    (run, format!("{}_0", arrays[0]))
}

fn whole_node() -> String {
    let cores = slurm("sinfo", &["-h", "-p", "main", "-o", "%c"]).unwrap_or_default();
    format!("[slurm.stage.student]\ncpus = {}\n", cores.trim())
}

#[test]
fn a_training_that_is_preempted_goes_on_under_its_id() {
    let Some(place) = place(&whole_node()) else { return };
    let partitions = slurm("sinfo", &["-h", "-o", "%P"]).unwrap_or_default();
    if !partitions.lines().any(|name| name == "high") {
        skipped("this Slurm has no partition that preempts");
        return;
    }
    let (run, _) = submit_wide(&place, 600);
    // Only it can make room, for it has all cores.
    let other = ["--partition=high", "--mem=10", "--output=/dev/null", "--wrap=sleep 1"];
    slurm("sbatch", &other).expect("taken");
    wait(&place, &run, "preemption", || log(&place, &run).contains("stopping at the next step"));
    let (status, table) = end(&place, &run);
    let log = log(&place, &run);
    assert_eq!(status, "done", "{table}{log}");
    assert!(log.contains("goes on after epoch "), "{log}");
    assert_eq!(rounds(&place, &run).len(), 1, "under its id");
    let digests = place.digests();
    let other = Sandbox::new();
    other.write("p.toml", &fs::read_to_string(place.path("p.toml")).expect("text"));
    other.run("p.toml", &["--no-table"]);
    assert_eq!(digests, other.digests(), "as if nothing had happened");
}

/// Lets the time limit of a job be over in `seconds`.
fn limit(job: &str, seconds: u32) {
    let end = Command::new("date").args([&format!("-d{seconds} seconds"), "+%FT%T"]).output();
    let end = String::from_utf8_lossy(&end.expect("it runs").stdout).trim().to_owned();
    slurm("scontrol", &["update", &format!("JobId={job}"), &format!("EndTime={end}")])
        .expect("it may");
}

#[test]
fn a_training_that_is_near_its_time_limit_goes_on_under_its_id() {
    let Some(place) = place(&format!("warn = 30\n---\n{}", whole_node())) else { return };
    let (run, job) = submit_wide(&place, 20_000);
    // Slurm looks every 30 seconds.
    limit(&job, 40);
    wait(&place, &run, "second start", || log(&place, &run).contains("goes on after epoch "));
    assert!(log(&place, &run).contains("the job is in the queue again"));
    assert_eq!(rounds(&place, &run).len(), 1, "under its id");
    place.ok(&["stop", &run]);
}

#[test]
fn the_last_job_learns_of_a_time_limit_without_accounting() {
    let Some(place) = place("setup = [\"export SLURM_CONF=slurm.conf\"]\n---") else { return };
    // Accounting is asked for where nobody answers, as when its daemon is down.
    let config = slurm("scontrol", &["show", "config"]).unwrap_or_default();
    let line = |name: &str| config.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    let path = line("SLURM_CONF").split(" = ").nth(1).expect("a path").trim().to_owned();
    let text = fs::read_to_string(path).expect("text");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a port");
    let own = text.lines().filter(|line| !line.starts_with("AccountingStorage"));
    let own = own.fold(String::new(), |text, line| text + line + "\n");
    let accounting = format!(
        "AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=127.0.0.1\n\
         AccountingStoragePort={}\n",
        port.port()
    );
    place.write("slurm.conf", &(own + &accounting));
    let begun = place.path("begun");
    place.write("p.toml", COMMAND);
    place.write("mine.sh", &SLOW_AT_FIRST.replace("BEGUN", &begun.display().to_string()));
    // With the data there, the job gets nowhere before its time is up, and is not queued again.
    place.run("p.toml", &["--target", "data", "--no-table"]);
    let (run, arrays) = submit(&place, "p.toml", &[]);
    wait(&place, &run, "begin of the program", || begun.exists());
    limit(&format!("{}_0", arrays[0]), 0);
    let (status, table) = end(&place, &run);
    let log = log(&place, &run);
    assert_eq!(status, "done", "{table}{log}");
    assert_eq!(rounds(&place, &run).len(), 2, "{log}");
    assert!(log.contains(&format!("job {}_0: TIMEOUT", arrays[0])), "{log}");
    assert!(log.contains(&format!("job {}_0: CANCELLED", arrays[1])), "{log}");
}

#[test]
fn a_run_is_shown_while_slurm_is_down() {
    let Some(place) = place("extra = [\"--hold\"]") else { return };
    place.write("p.toml", COMMAND);
    place.write("mine.sh", "exit 3");
    let (run, _) = submit(&place, "p.toml", &[]);
    let port = TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a port");
    let nobody = format!(
        "ClusterName=tests\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort={}\n\
         MessageTimeout=2\nNodeName=localhost\n",
        port.port()
    );
    let config = place.write("slurm.conf", &nobody);
    let shown = place.command(&["show", &run]).env("SLURM_CONF", &config).output();
    let shown = String::from_utf8(shown.expect("it starts").stdout).expect("text");
    assert!(shown.contains("squeue does not answer"), "{shown}");
    let other = place.write("q.toml", &COMMAND.replace("n = 60", "n = 63"));
    let other = other.display().to_string();
    let sent = place.command(&["submit", &other]).env("SLURM_CONF", &config).output();
    let sent = sent.expect("it starts");
    let said = String::from_utf8_lossy(&sent.stderr);
    assert!(sent.status.code() == Some(1) && said.contains("sbatch refused"), "{said}");
    assert_eq!(place.json(&["runs"]).as_array().map(Vec::len), Some(1), "nothing is left of it");
    place.ok(&["stop", &run]);
}

#[test]
fn two_submissions_of_one_pipeline_make_each_key_once() {
    let Some(place) = place("") else { return };
    place.write("p.toml", COMMAND);
    // Longer than it takes to begin a job.
    place.write("mine.sh", "sleep 4; printf '7\\n3\\n5\\n' > out/indices.txt");
    let submit = || place.start(&["submit", "p.toml", "--device", "cpu"]);
    let both = [submit(), submit()];
    for child in both {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let runs = place.json(&["runs"]);
    let runs = runs.as_array().expect("a list").iter();
    let runs: Vec<&str> = runs.map(|run| run["id"].as_str().expect("an id")).collect();
    assert_eq!(runs.len(), 2);
    let mut keys = vec![];
    for run in runs {
        let (status, table) = end(&place, run);
        assert_eq!(status, "done", "{table}");
        keys.extend(computed(&place, run));
    }
    let once: BTreeSet<&String> = keys.iter().collect();
    assert_eq!((keys.len(), once.len()), (6, 6), "{keys:?}");
}
