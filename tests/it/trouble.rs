//! What must not be lost, mixed up or left behind: files edited under a run, collections under a
//! run, programs of a run that is killed, runs that share a store.

use crate::program::{Sandbox, counts};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A command that gives metrics, with `more` settings.
fn job(name: &str, script: &str, more: &str) -> String {
    format!(
        "[stage.{name}]\nuse = \"command\"\n[stage.{name}.with]\nrun = [\"sh\", \"{script}\"]\n\
         files = [\"{script}\"]\noutput = \"metrics\"\n{more}\n"
    )
}

/// A script that gives `accuracy`, once the file `go` is there.
fn script(accuracy: f64, go: Option<&Path>) -> String {
    let wait = go.map(|go| format!("until [ -e {} ]; do sleep 0.02; done; ", go.display()));
    format!("{}echo '{{\"accuracy\": {accuracy}}}' > out/metrics.json\n", wait.unwrap_or_default())
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what} never came");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until the log of the newest run says `what`.
fn until_told(place: &Sandbox, what: &str) {
    until(what, || {
        let logs = place
            .stored("runs")
            .into_iter()
            .filter(|path| path.to_string_lossy().ends_with("jsonl"));
        logs.max().is_some_and(|log| fs::read_to_string(log).is_ok_and(|text| text.contains(what)))
    });
}

fn end(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().expect("it ends");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it is there");
}

const RUN: [&str; 5] = ["run", "p.toml", "--device", "cpu", "--no-table"];

#[test]
fn a_script_that_changes_under_queued_stages_is_what_runs() {
    let place = Sandbox::new();
    let go = place.path("go");
    // Two equal stages behind a slow one, in one slot.
    let text = [job("a", "slow.sh", ""), job("b", "job.sh", ""), job("c", "job.sh", "")].concat();
    place.write("p.toml", &text);
    place.write("slow.sh", &script(0.5, Some(&go)));
    place.write("job.sh", &script(0.1, None));
    let child = place.start(&[&RUN[..], &["--jobs", "1"]].concat());
    until_told(&place, "started");
    place.write("job.sh", &script(0.9, None));
    fs::write(&go, "").expect("written");
    let (code, said) = end(child);
    assert_eq!((code, counts(&said)), (Some(0), (1, 2)), "{said}");
    assert!(said.contains("`job.sh` changed; its recipe is made anew"), "{said}");
    assert!(place.ok(&["table", "p.toml"]).contains("90.00"));
    // Each script has its own answer, whichever is there.
    place.write("job.sh", &script(0.1, None));
    assert_eq!(place.run("p.toml", &[]).0, (2, 1));
    assert!(place.ok(&["table", "p.toml"]).contains("10.00"));
}

#[test]
fn a_script_that_changes_while_another_process_computes_it_is_what_runs() {
    let place = Sandbox::new();
    let go = place.path("never");
    place.write("p.toml", &job("it", "job.sh", ""));
    let first = place.write("job.sh", &script(0.1, Some(&go)));
    let mut holder = place.start(&RUN);
    until_told(&place, "started");
    let waiting = place.start(&RUN);
    until_told(&place, "waiting");
    fs::write(&first, script(0.9, None)).expect("written");
    holder.kill().expect("it runs");
    holder.wait().expect("it ends");
    let (code, said) = end(waiting);
    assert_eq!((code, counts(&said)), (Some(0), (0, 1)), "{said}");
    fs::write(&go, "").expect("written");
    fs::write(&first, script(0.1, Some(&go))).expect("written");
    assert_eq!(
        place.run("p.toml", &[]).0,
        (0, 1),
        "the answer of the other is not taken for its own"
    );
    assert!(place.ok(&["table", "p.toml"]).contains("10.00"));
}

#[test]
fn a_stage_another_process_computes_holds_up_no_other() {
    let place = Sandbox::new();
    let go = place.path("go");
    place.write("slow.sh", &script(0.5, Some(&go)));
    place.write("fast.sh", &script(0.7, None));
    place.write("p.toml", &job("a", "slow.sh", ""));
    let holder = place.start(&RUN);
    until_told(&place, "started");
    let fast: Vec<String> = (0..3)
        .map(|n| job(&format!("b{n}"), "fast.sh", &format!("settings = {{ n = {n} }}")))
        .collect();
    place.write("q.toml", &[job("a", "slow.sh", ""), fast.concat()].concat());
    let other = place.start(&["run", "q.toml", "--device", "cpu", "--no-table", "--jobs", "1"]);
    // With one slot, and that not taken by what it waits for.
    until("three results", || place.stored("records").len() == 3);
    fs::write(&go, "").expect("written");
    assert_eq!(end(holder).0, Some(0));
    let (code, said) = end(other);
    assert_eq!((code, counts(&said)), (Some(0), (1, 3)), "{said}");
}

#[test]
fn a_collection_takes_nothing_from_a_run() {
    let place = Sandbox::new();
    let go = place.path("go");
    place.write("data.toml", "[stage.data]\nuse = \"load.synthetic\"\nwith = { n = 60, test = 12, d = 3, classes = 3 }\n");
    // The data are a hit, made long before by a run nobody remembers.
    place.ok(&["run", "data.toml", "--device", "cpu"]);
    let text = format!(
        "extends = \"data.toml\"\n{}\n[stage.first]\nuse = \"score.random\"\nfrom = {{ data = \"data\" }}\n\
         [stage.subset]\nuse = \"command\"\nfrom = {{ data = \"data\", scores = \"first\" }}\n\
         with = {{ run = [\"sh\", \"pick.sh\"], files = [\"pick.sh\"], output = \"subset\" }}\n",
        ""
    );
    place.write("p.toml", &text);
    let pick =
        format!("until [ -e {} ]; do sleep 0.02; done; seq 0 9 > out/indices.txt", go.display());
    place.write("pick.sh", &pick);
    let child = place.start(&RUN);
    until("the program", || place.stored("tmp").iter().any(|path| path.ends_with("pick.sh")));
    let gone = place.ok(&["cache", "gc", "--min-age", "0s", "--keep-runs", "0", "--yes"]);
    assert!(gone.starts_with("nothing to remove") || !gone.contains("result"), "{gone}");
    fs::write(&go, "").expect("written");
    let (code, said) = end(child);
    assert_eq!((code, counts(&said)), (Some(0), (1, 2)), "{said}");
    assert_eq!(place.run("p.toml", &[]).0, (3, 0));
}

#[test]
fn what_took_long_is_collected_only_with_a_word() {
    let place = Sandbox::new();
    place.write("p.toml", &job("it", "job.sh", ""));
    place.write("job.sh", &script(0.5, None));
    place.run("p.toml", &[]);
    // As if it had taken an hour.
    {
        let store = cache::Store::open(place.path("store")).expect("a store");
        let key = place.json(&["cache", "ls"])[0]["key"].as_str().expect("a key").parse();
        let mut record = store.record(key.expect("a key")).expect("readable").expect("there");
        record.provenance.seconds = 3_600.0;
        store.replace(&record).expect("room");
    }
    let looks = ["cache", "gc", "--min-age", "0s", "--keep-runs", "0"];
    assert!(place.ok(&[&looks[..], &["--dry-run"]].concat()).starts_with("would remove 1 result"));
    let refused = place.output(&looks);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("1 h 00 min") && said.contains("--yes"), "{said}");
    assert_eq!(place.stored("records").len(), 1, "nothing was removed");
    // All-hit looks and tables: the first run stays the one that made something.
    for _ in 0..6 {
        place.run("p.toml", &[]);
    }
    place.write("q.toml", &job("it", "job.sh", "settings = { n = 1 }"));
    for _ in 0..3 {
        place.run("q.toml", &[]);
    }
    let kept = place.ok(&["cache", "gc", "--min-age", "0s", "--keep-runs", "2"]);
    assert!(kept.starts_with("nothing to remove"), "{kept}");
    let kept = place.ok(&["cache", "gc", "--min-age", "0s", "--keep-runs", "1", "--dry-run"]);
    assert!(kept.contains("1 result"), "{kept}");
    place.ok(&["table", "p.toml"]);
    let kept = place.ok(&["cache", "gc", "--min-age", "0s", "--keep-runs", "1"]);
    assert!(kept.starts_with("nothing to remove"), "a table is a use: {kept}");
}

/// Tells whether a process whose number is in the file is alive.
fn lives(number: &Path) -> bool {
    let number = fs::read_to_string(number).unwrap_or_default();
    let stat = fs::read_to_string(format!("/proc/{}/stat", number.trim()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn no_program_outlives_its_run() {
    // Killed outright; hung up; asked twice. One child is of a session of its own.
    let ways: [&[Signal]; 4] =
        [&[Signal::KILL], &[Signal::HUP], &[Signal::INT, Signal::INT], &[Signal::USR1]];
    for signals in ways {
        let place = Sandbox::new();
        let (near, far) = (place.path("near"), place.path("far"));
        place.write("p.toml", &job("it", "job.sh", ""));
        let script = format!(
            "trap '' TERM HUP\nsleep 600 & echo $! > {}\n\
             setsid sh -c 'echo $$ > {}; exec sleep 600' &\nwait\n",
            near.display(),
            far.display()
        );
        place.write("job.sh", &script);
        let mut child = place.start(&RUN);
        until("the program", || {
            [&near, &far]
                .iter()
                .all(|file| fs::read_to_string(file).is_ok_and(|text| text.ends_with('\n')))
        });
        assert!(lives(&near) && lives(&far));
        for signal in signals {
            // The second may come when the first has done all.
            let _ = kill_process(Pid::from_child(&child), *signal);
            thread::sleep(Duration::from_millis(20));
        }
        let status = child.wait().expect("it ends");
        assert!(signals == [Signal::KILL] || status.code() == Some(130), "{signals:?}: {status}");
        until("its end", || !lives(&near) && !lives(&far));
    }
}

#[test]
fn a_terminal_that_is_closed_is_no_matter_to_nohup() {
    let place = Sandbox::new();
    let go = place.path("go");
    place.write("p.toml", &job("it", "job.sh", ""));
    place.write("job.sh", &script(0.5, Some(&go)));
    let mut command = Command::new("nohup");
    command.arg(env!("CARGO_BIN_EXE_coresift")).args(RUN).current_dir(place.path(""));
    command.env("CORESIFT_STORE", place.path("store"));
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    until_told(&place, "started");
    send(&child, Signal::HUP);
    thread::sleep(Duration::from_millis(50));
    fs::write(&go, "").expect("written");
    assert_eq!(end(child).0, Some(0));
}

#[test]
fn a_signal_keeps_a_checkpoint() {
    for signal in [Signal::HUP, Signal::USR1, Signal::TERM] {
        let place = Sandbox::new();
        place.write(
            "p.toml",
            "[stage.data]\nuse = \"load.synthetic\"\nwith = { n = 600, test = 60, d = 8, classes = 3 }\n\
             [stage.it]\nuse = \"train\"\nfrom = { data = \"data\" }\n\
             with = { model = \"mlp\", epochs = 100000, batch = 32 }\n",
        );
        let child = place.start(&[&RUN[..], &["--target", "it"]].concat());
        // What is kept is the end of an epoch.
        until_told(&place, "train accuracy");
        send(&child, signal);
        let (code, said) = end(child);
        assert_eq!(code, Some(130), "{said}");
        assert!(!place.stored("checkpoints").is_empty(), "{signal:?}: {said}");
        let run = place.json(&["show", "last"]);
        assert_eq!(run["status"], "interrupted");
    }
}

#[test]
fn runs_say_how_they_stand() {
    let place = Sandbox::new();
    let go = place.path("go");
    let text = [job("a", "fast.sh", ""), job("b", "slow.sh", "")].concat();
    place.write("p.toml", &text);
    place.write("fast.sh", &script(0.5, None));
    place.write("slow.sh", &script(0.6, Some(&go)));
    let states = |run: &serde_json::Value| -> Vec<String> {
        let stages = run["stages"].as_array().expect("a list");
        stages.iter().map(|stage| stage["state"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let mut child = place.start(&[&RUN[..], &["--jobs", "1", "--name", "mine"]].concat());
    until("the first result", || place.stored("records").len() == 1);
    until_told(&place, "\"event\":\"finished\"");
    until("the second", || states(&place.json(&["show", "mine"])) == ["computed", "running"]);
    assert_eq!(place.json(&["show", "mine"])["status"], "going-on");
    let refused = place.output(&["runs", "rm", "mine"]);
    assert_eq!(refused.status.code(), Some(2), "one that goes on stays");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let killed = place.json(&["show", "last"]);
    assert_eq!(
        (&killed["status"], states(&killed)),
        (&"killed".into(), vec!["computed".into(), "running".into()])
    );
    fs::write(&go, "").expect("written");
    place.run("p.toml", &["--note", "the second try"]);
    assert_eq!(place.json(&["show", "last"])["note"], "the second try");
    place.ok(&["runs", "rm", "mine"]);
    assert_eq!(place.json(&["runs"]).as_array().map(Vec::len), Some(1));
}

#[test]
fn secrets_are_written_nowhere() {
    let place = Sandbox::new();
    let more = "env = { TOKEN = \"s3cr3t-value-42\" }\npass-env = [\"LET_*\"]";
    place.write("p.toml", &job("it", "job.sh", more));
    place.write("job.sh", "[ \"$TOKEN\" = s3cr3t-value-42 ] && [ \"$LET_IN\" = yes ] && echo '{\"accuracy\": 1}' > out/metrics.json\n");
    let output = place.command(&RUN).env("LET_IN", "yes").output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut said =
        vec![place.ok(&["explain", "p.toml", "it"]), place.ok(&["show", "last", "--stage", "it"])];
    said.push(place.json(&["show", "last", "--stage", "it"]).to_string());
    said.push(place.json(&["explain", "p.toml", "it"]).to_string());
    said.push(place.ok(&["plan", "p.toml", "--set", "it.with.env.TOKEN=s3cr3t-value-43"]));
    assert!(said[4].contains("it.with.env.TOKEN"), "that it changed is told: {}", said[4]);
    assert!(!said.concat().contains("s3cr3t"), "{said:#?}");
    for folder in ["records", "runs", "objects"] {
        for path in place.stored(folder) {
            let bytes = fs::read(&path).expect("readable");
            assert!(!bytes.windows(6).any(|part| part == b"s3cr3t"), "{}", path.display());
        }
    }
    // Nor do tables name them, where they are tried one after the other.
    place.write("q.toml", "extends = \"p.toml\"\n[matrix]\n\"it.with.env.TOKEN\" = [\"s3cr3t-value-42\", \"s3cr3t-b\"]\n");
    let tried = place.ok(&["plan", "q.toml", "--all"]);
    assert!(tried.contains("(hidden 2)") && !tried.contains("s3cr3t"), "{tried}");
    // What is let through by name is not in the key.
    assert_eq!(place.run("p.toml", &["--no-table"]).0, (1, 0));
}

#[test]
fn programs_are_tried_again_and_take_folders() {
    let place = Sandbox::new();
    fs::create_dir_all(place.path("pkg/sub")).expect("made");
    place.write("pkg/main.sh", ". pkg/sub/part.sh\n");
    place.write("pkg/sub/part.sh", "[ -e ../../../tried ] || { touch ../../../tried; exit 3; }; cat pkg/.hidden extra_1.txt 2> /dev/null; echo '{\"accuracy\": 0.5}' > out/metrics.json\n");
    place.write("pkg/.hidden", "HIDDEN");
    place.write("extra_1.txt", "EXTRA");
    place.write(
        "p.toml",
        "[stage.it]\nuse = \"command\"\n[stage.it.with]\nrun = [\"sh\", \"pkg/main.sh\"]\n\
         files = [\"pkg\", \"extra_?.txt\"]\noutput = \"metrics\"\nretries = 1\n",
    );
    let (counted, said) = place.run("p.toml", &["--no-table"]);
    assert_eq!(counted, (0, 1), "{said}");
    assert!(said.contains("tried again (1 of 1)") && said.contains("EXTRA"), "{said}");
    assert!(!said.contains("HIDDEN"), "{said}");
    // Neither retries nor what is hidden is in the key; the rest of the folder is.
    place.write("pkg/.hidden", "other");
    assert_eq!(place.run("p.toml", &["--set", "it.with.retries=5"]).0, (1, 0));
    place.write("pkg/sub/more.sh", "");
    let plan = place.ok(&["plan", "p.toml"]);
    assert!(plan.contains("file `pkg` has changed"), "{plan}");
}

#[test]
fn a_result_can_be_made_again_or_forgotten() {
    let place = Sandbox::new();
    let text = [job("a", "job.sh", ""), job("b", "job.sh", "settings = { n = 1 }")].concat();
    place.write("p.toml", &text);
    // Another answer each time.
    place.write(
        "job.sh",
        "date +%N | sed 's/.*/{\"accuracy\": 0.1, \"nanos\": \"&\"}/' > out/metrics.json\n",
    );
    place.run("p.toml", &[]);
    let first = place.digests();
    let (counted, said) = place.run("p.toml", &["--force", "a"]);
    assert_eq!(counted, (1, 1), "{said}");
    let second = place.digests();
    let same = first.iter().filter(|line| second.contains(line)).count();
    assert_eq!((same, second.len()), (1, 2), "the new answer is the one that counts");
    assert_eq!(place.run("p.toml", &[]).0, (2, 0));
    assert!(place.ok(&["cache", "rm", "p.toml", "b"]).starts_with("forgot 1 result of `b`"));
    assert_eq!(place.run("p.toml", &[]).0, (1, 1));
    let failure = place.output(&["run", "p.toml", "--device", "cpu", "--force", "c"]);
    assert_eq!(failure.status.code(), Some(2));
}

#[test]
fn cells_are_picked_and_the_first_failure_may_be_the_last() {
    let place = Sandbox::new();
    let text =
        [job("it", "job.sh", ""), "[matrix]\n\"it.with.settings.n\" = [1, 2, 3, 4]\n".to_owned()]
            .concat();
    place.write("p.toml", &text);
    place.write("job.sh", &script(0.5, None));
    assert_eq!(place.run("p.toml", &["--where", "n=2"]).0, (0, 1));
    assert_eq!(place.run("p.toml", &["--where", "n!=4"]).0, (1, 2));
    place.write("job.sh", "exit 1\n");
    let output = place.output(&[&RUN[..], &["--jobs", "1", "--fail-fast"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("3 stages not begun") && said.contains("1 failed"), "{said}");
}

#[test]
fn a_group_shares_a_store_whatever_the_umask() {
    let place = Sandbox::new();
    fs::create_dir(place.path("store")).expect("made");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o7777;
    fs::set_permissions(place.path("store"), fs::Permissions::from_mode(0o2775)).expect("opened");
    place.write("p.toml", &job("it", "job.sh", ""));
    place.write("job.sh", &script(0.5, None));
    let narrow = "umask 077; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", narrow, "sh", env!("CARGO_BIN_EXE_coresift")]).args(RUN);
    command.current_dir(place.path("")).env("CORESIFT_STORE", place.path("store"));
    assert!(command.output().expect("it starts").status.success());
    for folder in ["objects", "records", "runs", "leases", "tmp"] {
        assert_eq!(mode(&place.path("store").join(folder)), 0o2775, "{folder}");
    }
    for path in place.stored("runs") {
        assert_eq!(mode(&path) & 0o060, 0o060, "{}", path.display());
    }
    for path in [place.stored("objects"), place.stored("records")].concat() {
        assert_eq!(mode(&path) & 0o060, 0o040, "{}", path.display());
        assert_eq!(mode(path.parent().expect("a folder")), 0o2775);
    }
    assert_eq!(mode(&place.path("store/collecting")) & 0o060, 0o060);
    // One that was made for oneself is opened afterwards.
    let own = Sandbox::new();
    own.write("p.toml", &job("it", "job.sh", ""));
    own.write("job.sh", &script(0.5, None));
    own.run("p.toml", &[]);
    own.ok(&["cache", "share"]);
    assert!(own.stored("objects").iter().all(|path| mode(path) & 0o040 != 0));
    assert_eq!(mode(&own.path("store").join("objects")) & 0o2070, 0o2070);
}

#[test]
fn a_store_that_goes_away_is_told_once() {
    let place = Sandbox::new();
    let go = place.path("go");
    let text = [job("a", "slow.sh", ""), job("b", "fast.sh", "")].concat();
    place.write("p.toml", &text);
    place.write("slow.sh", &script(0.5, Some(&go)));
    place.write("fast.sh", &script(0.6, None));
    let child = place.start(&[&RUN[..], &["--jobs", "1"]].concat());
    until("the program", || place.stored("tmp").iter().any(|path| path.ends_with("slow.sh")));
    fs::rename(place.path("store"), place.path("moved")).expect("moved");
    fs::write(&go, "").expect("written");
    let (code, said) = end(child);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(
        said.matches("is not there any more").count(),
        2,
        "where it failed, and what is left: {said}"
    );
    assert!(!place.path("store").exists(), "nothing is made in its place");
    fs::rename(place.path("moved"), place.path("store")).expect("moved");
    assert_eq!(place.run("p.toml", &[]).0, (0, 2));
}
