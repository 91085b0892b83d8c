//! A second store elsewhere: a folder, a web server, a bucket.

use crate::{
    program::{Sandbox, counts, files, two_seeds},
    server::{Manner, Server, nobody, path_in},
};
use cache::{Record, Store};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    env, fs,
    path::Path,
    time::{Duration, Instant},
};

/// Two students a seed; what the second one shares with the first comes from the remote store.
fn pipeline() -> String {
    two_seeds("n = 300, test = 60, d = 4, classes = 3", "score.grand", [4, 2])
}

/// How many computations that is.
const ALL: usize = 12;
/// Makes another student of the same subset.
const OTHER: [&str; 2] = ["--set", "student.with.epochs=3"];

/// A machine with the pipeline and no store yet.
fn machine() -> Sandbox {
    let place = Sandbox::new();
    place.write("p.toml", &pipeline());
    place
}

/// Says in coresift.toml where the remote store is.
fn site(place: &Sandbox, url: &str, more: &str) {
    place.write("coresift.toml", &format!("[remote]\nurl = \"{url}\"\n{more}\n"));
}

/// The part of a subset that a training reads.
const SUBSET_PART: &str = "subset";

/// Returns a machine that has run the pipeline and sent all of it to the folder `lab`, and that.
fn sender() -> (Sandbox, String) {
    let place = machine();
    let lab = place.path("lab").display().to_string();
    site(&place, &lab, "mode = \"write\"");
    let (made, said) = place.run("p.toml", &[]);
    assert_eq!(made, (0, ALL), "{said}");
    assert!(said.contains(&format!("{ALL} results sent")), "{said}");
    assert!(place.stored("unsent").is_empty());
    (place, lab)
}

/// Returns the record in `store` of the method whose name begins so.
fn record_of(store: &Store, method: &str) -> Record {
    let mut found = None;
    let list = store.list(&mut |_, record| {
        if record.recipe.method.starts_with(method) {
            found.get_or_insert(record);
        }
    });
    list.expect("it reads");
    found.unwrap_or_else(|| panic!("{method} has a record"))
}

fn sizes(files: &[std::path::PathBuf]) -> u64 {
    files.iter().map(|path| fs::metadata(path).expect("a file").len()).sum()
}

#[test]
fn a_second_machine_computes_nothing_and_fetches_what_it_shows() {
    let (first, lab) = sender();
    let second = machine();
    let planned = second.ok(&["plan", "p.toml", "--remote", &lab]);
    assert!(planned.contains(&format!("{ALL} hits ({ALL} remote), 0 to run")), "{planned}");
    let (made, said) = second.run("p.toml", &["--remote", &lab]);
    assert_eq!(made, (ALL, 0), "{said}");
    // The table needs the metrics of each seed, and nothing else.
    let fetched = second.stored("objects");
    assert_eq!(fetched.len(), 2, "{said}");
    assert!(sizes(&fetched) < 4096 && sizes(&files(Path::new(&lab))) > 100_000, "{said}");
    let table = second.command(&["table", "p.toml"]).env("CORESIFT_REMOTE", &lab).output();
    let table = String::from_utf8(table.expect("it runs").stdout).expect("text");
    assert_eq!(table, first.ok(&["table", "p.toml"]), "other commands look there, too");
    // What was fetched whole is a result of this store; what was not is none.
    assert_eq!(second.stored("records").len(), 2);
    assert_eq!(second.run("p.toml", &["--no-remote"]).0, (2, ALL - 2));
    assert_eq!(second.digests(), first.digests(), "as the other machine made them");
}

#[test]
fn what_is_gone_or_damaged_there_is_made_again() {
    for damage in ["deleted", "flipped"] {
        let (_first, lab) = sender();
        let there = Store::open(&lab).expect("a folder is a store");
        let subset = record_of(&there, "select.");
        let blob = subset.output.parts[SUBSET_PART];
        let path = path_in(Path::new(&lab), "objects", &blob.digest.to_string(), "");
        let mut bytes = fs::read(&path).expect("it is there");
        fs::remove_file(&path).expect("removed");
        if damage == "flipped" {
            bytes[10] ^= 1;
            fs::write(&path, bytes).expect("written");
        }
        let second = machine();
        let args = [&["--remote", &lab][..], &OTHER].concat();
        let (made, said) = second.run("p.toml", &args);
        // Two students and their results; and the subset, again, from hardness that is there.
        assert_eq!(made, (ALL - 5, 5), "{damage}: {said}");
        assert!(said.contains("could not be fetched"), "{damage}: {said}");
        let again = machine().run("p.toml", &[&["--no-remote"][..], &OTHER].concat());
        assert_eq!(again.0, (0, ALL));
        assert_eq!(second.run("p.toml", &args).0, (ALL, 0), "it is whole here");
    }
}

#[test]
fn records_count_only_by_those_who_are_trusted() {
    let first = machine();
    let lab = first.path("lab").display().to_string();
    let key = first.ok(&["cache", "key", "new"]);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(first.path("config/coresift/key")).expect("a key").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    assert!(!first.output(&["cache", "key", "new"]).status.success(), "the key is not replaced");
    site(&first, &lab, "mode = \"write\"");
    assert_eq!(first.run("p.toml", &[]).0, (0, ALL));
    let trusting = |key: &str| {
        let place = machine();
        site(&place, &lab, &format!("trust = [\"{}\"]", key.trim()));
        place
    };
    assert_eq!(trusting(&key).run("p.toml", &[]).0, (ALL, 0));
    // A colleague who trusts another key takes none of them, and says whose they were.
    let stranger = machine().ok(&["cache", "key", "new"]);
    let (made, said) = trusting(&stranger).run("p.toml", &[]);
    assert_eq!(made, (0, ALL), "{said}");
    assert!(said.contains(&format!("{ALL} records by {} ignored", key.trim())), "{said}");
    // Somebody who can write there gives one seed the result of the other.
    let there = Store::open(&lab).expect("a store");
    let mut both = vec![];
    let list = there.list(&mut |_, record| {
        if record.recipe.method == "evaluate" {
            both.push(record);
        }
    });
    list.expect("it reads");
    let forged = Record { output: both[1].output.clone(), ..both[0].clone() };
    there.replace(&forged).expect("written");
    let results = |place: &Sandbox| -> Vec<String> {
        let listed = place.json(&["cache", "ls", "--method", "evaluate"]);
        let list = listed.as_array().expect("a list").iter();
        let mut all: Vec<String> =
            list.map(|one| format!("{} {}", one["key"], one["output"])).collect();
        all.sort();
        all
    };
    let honest = results(&first);
    let unwary = machine();
    site(&unwary, &lab, "");
    assert_eq!(unwary.run("p.toml", &[]).0, (ALL, 0), "without trust, every record counts");
    assert_ne!(results(&unwary), honest);
    let wary = trusting(&key);
    let (made, said) = wary.run("p.toml", &[]);
    assert_eq!(made, (ALL - 1, 1), "{said}");
    assert!(said.contains("1 record without a signature ignored"), "{said}");
    assert_eq!(results(&wary), honest);
}

#[test]
fn two_machines_may_send_at_once() {
    let (one, two) = (machine(), machine());
    let lab = one.path("lab").display().to_string();
    for place in [&one, &two] {
        site(place, &lab, "mode = \"write\"");
    }
    let run = ["run", "p.toml", "--device", "cpu", "--no-table"];
    let children = [one.start(&run), two.start(&run)];
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("not sent"), "{said}");
        let (hits, computed) = counts(&said);
        assert_eq!(hits + computed, ALL);
    }
    let verified = one.ok(&["cache", "verify", "--store", &lab]);
    assert!(verified.contains("all whole"), "{verified}");
    assert_eq!(machine().run("p.toml", &["--remote", &lab]).0, (ALL, 0));
}

#[test]
fn what_a_stage_reads_is_fetched_at_once() {
    let (_first, lab) = sender();
    let server = Server::start(Path::new(&lab), Manner::Serve(Duration::from_millis(100)));
    let second = machine();
    // One stage at a time: a score of all epochs, and a student.
    let args = ["--remote", &server.url, "--jobs", "1", "--where", "seed=0"];
    let score = ["--target", "hardness", "--set", "hardness.use=score.forgetting"];
    let (made, said) = second.run("p.toml", &[&args[..], &score].concat());
    assert_eq!(made, (2, 1), "{said}");
    assert!(server.most_objects_at_once() > 2, "four epochs");
    let third = machine();
    let server = Server::start(Path::new(&lab), Manner::Serve(Duration::from_millis(100)));
    let args = ["--remote", &server.url, "--jobs", "1", "--where", "seed=0"];
    let (made, said) = third.run("p.toml", &[&args[..], &OTHER].concat());
    assert_eq!(made, (4, 2), "{said}");
    assert!(server.most_objects_at_once() > 2, "parts of the data and the subset");
}

#[test]
fn a_web_server_is_read_many_at_once_and_only_for_what_is_needed() {
    let (first, lab) = sender();
    let server = Server::start(Path::new(&lab), Manner::Serve(Duration::from_millis(20)));
    let second = machine();
    let (made, said) = second.run("p.toml", &["--remote", &server.url]);
    assert_eq!(made, (ALL, 0), "{said}");
    let metrics = sizes(&second.stored("objects"));
    assert_eq!((server.records(), server.object_bytes()), (ALL, metrics), "{said}");
    assert!((2..=32).contains(&server.most_at_once()), "{}", server.most_at_once());
    // Records are kept: the second time nothing is asked.
    let asked = server.requests();
    assert_eq!(second.run("p.toml", &["--remote", &server.url]).0, (ALL, 0));
    assert_eq!(server.requests(), asked);
    // Another student needs the data and the subset of each seed, and no record of a proxy.
    let (made, said) = second.run("p.toml", &[&["--remote", &server.url][..], &OTHER].concat());
    assert_eq!(made, (ALL - 4, 4), "{said}");
    let store = Store::open(first.path("store")).expect("a store");
    let proxy = record_of(&store, "proxy-train");
    let sizes = proxy.output.parts.values().map(|blob| blob.size).sum::<u64>();
    assert!(server.object_bytes() - metrics < 40_000 + sizes, "{}", server.object_bytes());
    for blob in proxy.output.parts.values() {
        let path = path_in(&second.path("store"), "objects", &blob.digest.to_string(), "");
        let shared = record_of(&store, "load.").output.parts.values().any(|one| one == blob);
        assert!(shared || !path.exists(), "a part of the proxy was fetched for nothing");
    }
}

#[test]
fn a_server_that_breaks_off_fails_no_run() {
    let (_first, lab) = sender();
    for answers in [0, 5] {
        let server = Server::start(Path::new(&lab), Manner::BreakOffAfter(answers));
        let (made, said) = machine().run("p.toml", &["--remote", &server.url]);
        assert_eq!(made.0 + made.1, ALL, "{said}");
        assert_eq!(said.matches("left alone from here on").count(), 1, "{said}");
    }
    let (made, said) = machine().run("p.toml", &["--remote", &nobody()]);
    assert_eq!(made, (0, ALL), "{said}");
    assert_eq!(said.matches("left alone from here on").count(), 1, "{said}");
    // A folder that is not there: what coresift.toml says is gone without, what is typed refused.
    let place = machine();
    site(&place, "/nowhere/store", "");
    let (made, said) = place.run("p.toml", &[]);
    assert_eq!(made, (0, ALL), "{said}");
    assert!(said.contains("going on without it"), "{said}");
    assert!(!place.output(&["run", "p.toml", "--remote", "/nowhere/store"]).status.success());
}

#[test]
fn what_cannot_be_sent_is_sent_later() {
    let empty = Sandbox::new();
    let server = Server::start(&empty.path("nothing"), Manner::RefuseWrites);
    let place = machine();
    for endpoint in [server.url.as_str(), &nobody()] {
        site(&place, "s3://lab/x", &format!("mode = \"write\"\nendpoint = \"{endpoint}\""));
        let (made, said) = place.run("p.toml", &OTHER);
        assert_eq!(made.0 + made.1, ALL, "{said}");
        let once = if endpoint == server.url { "nothing is sent" } else { "left alone" };
        assert_eq!(said.matches(once).count(), 1, "{said}");
        assert_eq!(place.stored("unsent").len(), ALL, "{said}");
    }
    // A folder takes them, and the run itself by its name.
    let lab = place.path("lab").display().to_string();
    let run = place.ok(&["push", "last", "--remote", &lab]);
    assert!(place.stored("unsent").is_empty());
    let second = Sandbox::new();
    let said = second.ok(&["pull", run.trim(), "--remote", &lab]);
    assert!(said.contains(&format!("{ALL} of {ALL} results are here")), "{said}");
    assert_eq!(second.digests(), place.digests());
    let table = second.ok(&["table", run.trim()]);
    assert!(table.contains("accuracy"), "{table}");
    let stats = second.command(&["cache", "stats", "--remote", "--json"]);
    let stats = { stats }.env("CORESIFT_REMOTE", &lab).output().expect("it runs");
    let stats: serde_json::Value = serde_json::from_slice(&stats.stdout).expect("JSON");
    assert_eq!(stats["records"], ALL, "{stats}");
}

#[test]
fn a_run_that_is_stopped_while_it_sends_leaves_the_names() {
    let empty = Sandbox::new();
    let server = Server::start(&empty.path("nothing"), Manner::IgnoreWrites);
    let place = machine();
    site(&place, "s3://lab/x", &format!("mode = \"write\"\nendpoint = \"{}\"", server.url));
    let (mut child, events) = place.start_run(&["p.toml"]);
    for event in events {
        if event.expect("a line").contains("run-finished") {
            break;
        }
    }
    assert!(child.try_wait().expect("it is ours").is_none(), "it waits until all is sent");
    kill_process(Pid::from_child(&child), Signal::INT).expect("it is there");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains(&format!("{ALL} results are not sent yet")), "{said}");
    assert_eq!(place.stored("unsent").len(), ALL);
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    let place = machine();
    for (url, more, told) in [
        ("gs://lab", "", "`gs://` is not known"),
        ("https://lab", "mode = \"write\"", "can only be read"),
        ("s3://lab", "trust = [\"me\"]", "`me` is not a public key"),
        ("s3://lab", "min-seconds = -1", "min-seconds"),
        ("s3://lab", "password = \"x\"", "unknown field `password`"),
    ] {
        site(&place, url, more);
        let output = place.output(&["run", "p.toml"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(told), "{said}");
    }
    assert!(!place.path("store/runs").read_dir().is_ok_and(|mut all| all.next().is_some()));
}

/// A real server that speaks S3: `CORESIFT_S3` is its address, as of `moto_server`.
#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn a_bucket_is_a_store() {
    let Some(endpoint) = env::var_os("CORESIFT_S3").and_then(|url| url.into_string().ok()) else {
        eprintln!("skipped: CORESIFT_S3 names no server that speaks S3");
        return;
    };
    let credentials = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test-secret")];
    let with = |place: &Sandbox, args: &[&str]| {
        let mut command = place.command(args);
        let output = command.envs(credentials).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {said}");
        said
    };
    let prefix = format!("test-{}", std::process::id());
    let url = format!("s3://coresift/{prefix}");
    let run = ["run", "p.toml", "--device", "cpu"];
    let write = format!("mode = \"write\"\nregion = \"us-east-1\"\nendpoint = \"{endpoint}\"");
    let (one, two) = (machine(), machine());
    for place in [&one, &two] {
        site(place, &url, &write);
    }
    // An artifact of more than a part goes there, too.
    let big = ["--set", "data.with.n=60000", "--set", "data.with.d=100", "--target", "data"];
    with(&one, &[&run[..], &big].concat());
    let children: Vec<_> = [&one, &two]
        .into_iter()
        .map(|place| {
            let mut command = place.command(&run);
            command.envs(credentials).stderr(std::process::Stdio::piped()).spawn().expect("it runs")
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("left alone"), "{said}");
        assert!(!said.contains("nothing is sent"), "{said}");
    }
    assert!(one.stored("unsent").is_empty() && two.stored("unsent").is_empty());
    let reader = machine();
    site(&reader, &url, &write.replace("write", "read"));
    let said = with(&reader, &run);
    assert_eq!(counts(&said), (ALL, 0), "{said}");
    let said = with(&reader, &[&run[..], &OTHER].concat());
    assert_eq!(counts(&said), (ALL - 4, 4), "{said}");
    // The run with the large data set, read back whole.
    let id = with_output(&one, &["push", "last"], &credentials);
    let pulled = with_output(&reader, &["pull", id.trim()], &credentials);
    assert!(pulled.contains(&format!("{ALL} of {ALL}")), "{pulled}");
    let said = with(&reader, &[&run[..], &big, &["--no-table"]].concat());
    assert_eq!(counts(&said), (2, 0), "{said}");
    let stats = with_output(&reader, &["cache", "stats", "--remote"], &credentials);
    assert!(stats.contains("results"), "{stats}");
}

fn with_output(place: &Sandbox, args: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = place.command(args);
    let output = command.envs(environment.iter().copied()).output().expect("it runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// A training long enough to be stopped in the middle.
const LONG: &str = r#"
[stage.data]
use  = "load.synthetic"
with = { n = 300, test = 60, d = 4, classes = 3 }
[stage.student]
use  = "train"
from = { data = "data" }
with = { model = "mlp", epochs = 400, batch = 16 }
[stage.result]
use  = "evaluate"
from = { data = "data", model = "student" }
"#;

/// Stops the training of a machine once its store has a checkpoint of it that `lab` has, too.
fn stop_midway(place: &Sandbox, lab: &Path) {
    let (mut child, lines) = place.start_run(&["p.toml"]);
    let newest = || files(&lab.join("checkpoints")).iter().any(|file| file.ends_with("newest"));
    let until = Instant::now() + Duration::from_secs(60);
    while !newest() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(newest(), "no checkpoint was sent");
    kill_process(Pid::from_child(&child), Signal::KILL).expect("it is there");
    child.wait().expect("it ends");
    drop(lines);
}

#[test]
fn a_training_goes_on_on_another_machine() {
    let machine = |more: &str| {
        let place = Sandbox::new();
        place.write("p.toml", LONG);
        (place, more.to_owned())
    };
    let (undisturbed, _) = machine("");
    undisturbed.run("p.toml", &[]);

    // On a busy machine the training may be through before it is stopped: then once more.
    let stopped = (0..20).find_map(|_| {
        let (first, mode) = machine("mode = \"write\"\ncheckpoints = true");
        let lab = first.path("lab");
        site(&first, &lab.display().to_string(), &mode);
        stop_midway(&first, &lab);
        let is_midway = files(&lab.join("records")).len() < 2;
        is_midway.then_some((first, lab))
    });
    let (_first, lab) = stopped.expect("it is stopped midway once");
    // Whoever does not ask for checkpoints, or trusts some keys alone, begins anew.
    let key = "ed25519:3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
    for (more, goes_on) in [
        ("", false),
        (&*format!("checkpoints = true\ntrust = [\"{key}\"]"), false),
        ("checkpoints = true", true),
    ] {
        let (other, _) = machine("");
        site(&other, &lab.display().to_string(), more);
        let (_, said) = other.run("p.toml", &[]);
        assert_eq!(said.contains("goes on after epoch "), goes_on, "{more}: {said}");
        assert_eq!(other.digests(), undisturbed.digests());
    }
}
