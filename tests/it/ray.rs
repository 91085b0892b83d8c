//! Runs submitted to Ray. Skipped unless the environment variable CORESIFT_RAY names a Python that has it.

use crate::{
    program::{Sandbox, repository},
    slurm::COMMAND,
};
use std::{
    collections::BTreeSet,
    env, fs,
    net::{TcpListener, TcpStream},
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a run may take: Ray itself takes ten seconds to begin.
const PATIENCE: Duration = Duration::from_secs(300);

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn place() -> Option<Sandbox> {
    let Some(python) = env::var_os("CORESIFT_RAY") else {
        eprintln!("skipped: CORESIFT_RAY names no Python that has Ray");
        return None;
    };
    let place = Sandbox::new();
    place.write("coresift.toml", &format!("[ray]\npython = \"{}\"\n", python.display()));
    Some(place)
}

fn submit(place: &Sandbox, pipeline: &str) -> Command {
    let mut command = place.command(&["submit", pipeline, "--on", "ray", "--device", "cpu"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Returns a process of `place` whose command line has `word`.
fn process(place: &Sandbox, word: &str) -> Option<u32> {
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
    let local = Sandbox::new();
    local.write("p.toml", &text.replace("epochs = 100", "epochs = 20"));
    local.run("p.toml", &["--no-table"]);
    let rows = |place: &Sandbox| {
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

/// Lets a command find the test's cluster: Ray names this machine by its address on the network, to
/// which no proxy leads, and newer versions ask for a token.
fn of_cluster(command: &mut Command) -> &mut Command {
    for name in ["http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
        command.env_remove(name);
    }
    let token = format!("{:064x}", std::process::id());
    command.env("RAY_AUTH_MODE", "token").env("RAY_AUTH_TOKEN", token)
}

/// A Ray cluster that says it has two GPUs, which ends with the test.
struct Cluster {
    head: Child,
    address: String,
}

impl Cluster {
    fn start(place: &Sandbox) -> Self {
        let python = env::var_os("CORESIFT_RAY").map(PathBuf::from).expect("checked");
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a port");
        let mut ray = Command::new(python.with_file_name("ray"));
        ray.args(["start", "--head", "--block", "--num-cpus=4", "--num-gpus=2"]);
        ray.args(["--node-ip-address=127.0.0.1", "--include-dashboard=false"]);
        ray.arg(format!("--port={}", port.port()));
        // Sockets have short paths.
        ray.arg(format!("--temp-dir={}", place.path("r").display()));
        of_cluster(&mut ray).stdout(Stdio::null()).stderr(Stdio::null());
        Self { head: ray.spawn().expect("it starts"), address: port.to_string() }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // With `--block` it takes its processes along.
        kill("-TERM", self.head.id());
        self.head.wait().ok();
    }
}

/// Returns the GPUs that each job of `place` at work was given.
fn gpus_of_jobs(place: &Sandbox) -> Vec<String> {
    let store = place.path("store").display().to_string();
    let mut all = vec![];
    for entry in fs::read_dir("/proc").expect("Linux").flatten() {
        let read = |name: &str| {
            let bytes = fs::read(entry.path().join(name)).unwrap_or_default();
            let texts = bytes
                .split(|byte| *byte == 0)
                .map(|text| String::from_utf8_lossy(text).into_owned());
            texts.collect::<Vec<_>>()
        };
        let line = read("cmdline");
        if line.iter().any(|word| word == "work") && line.contains(&store) {
            let named =
                |text: String| text.strip_prefix("CUDA_VISIBLE_DEVICES=").map(str::to_owned);
            all.push(read("environ").into_iter().find_map(named).unwrap_or_default());
        }
    }
    all.sort();
    all
}

#[test]
fn each_job_with_a_stage_on_the_device_has_a_gpu_of_its_own() {
    let Some(place) = place() else { return };
    let cluster = Cluster::start(&place);
    let config = fs::read_to_string(place.path("coresift.toml")).expect("text");
    place.write("coresift.toml", &format!("{config}[ray.device]\ngpus = 1\n"));
    // Four trainings behind what needs no GPU.
    place.write("mine.sh", "printf '7\\n3\\n5\\n' > out/indices.txt; sleep 1");
    let pipeline = COMMAND.replace("epochs = 2", "epochs = 20_000");
    place.write("p.toml", &pipeline.replace("[0.05, 0.01]", "[0.05, 0.04, 0.03, 0.02]"));
    let began = Instant::now();
    // Ray takes a while to answer; until then nothing is submitted.
    while TcpStream::connect(&cluster.address).is_err() {
        assert!(began.elapsed() < PATIENCE, "Ray does not come up");
        thread::sleep(Duration::from_millis(200));
    }
    let mut command = place.command(&["submit", "p.toml", "--on", "ray", "--device", "auto"]);
    command.args(["--address", &cluster.address]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = of_cluster(&mut command).spawn().expect("it starts");
    let mut seen = BTreeSet::new();
    while child.try_wait().expect("ours").is_none() {
        assert!(began.elapsed() < PATIENCE, "{seen:?}");
        seen.insert(gpus_of_jobs(&place));
        thread::sleep(Duration::from_millis(50));
    }
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("5 of 5 jobs"), "{said}");
    let both = ["0".to_owned(), "1".to_owned()].to_vec();
    assert!(seen.contains(&both), "two at once: {seen:?}");
    assert!(seen.iter().all(|gpus| gpus.len() <= 2), "no more than there are GPUs: {seen:?}");
}
