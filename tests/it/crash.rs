//! Processes killed with real signals, stores damaged on disk.

use crate::program::{Sandbox, counts, two_seeds};
use std::{fs, os::unix::process::ExitStatusExt as _};

fn pipeline() -> String {
    two_seeds("n = 600, test = 100, d = 8, classes = 3", "score.el2n", [6, 12])
}

fn whole() -> Vec<String> {
    let place = Sandbox::new();
    place.write("p.toml", &pipeline());
    place.run("p.toml", &[]);
    place.digests()
}

#[test]
fn a_killed_run_goes_on_to_the_same_end() {
    let wanted = whole();
    let place = Sandbox::new();
    place.write("p.toml", &pipeline());
    let mut killed = 0;
    // Each gets further than the one before it, which left it what it had finished.
    for event in [2, 4, 6, 9, 12, 16, 20, 24] {
        let (mut child, mut events) = place.start_run(&["p.toml"]);
        events.nth(event - 1);
        child.kill().ok();
        let status = child.wait().expect("it ends");
        killed += usize::from(status.signal() == Some(9));
    }
    assert!(killed > 0, "at least one was killed at work");
    place.run("p.toml", &[]);
    assert_eq!(place.digests(), wanted);
    assert_eq!(place.run("p.toml", &[]).0.1, 0);
}

#[test]
fn an_interrupted_run_keeps_what_is_done() {
    let place = Sandbox::new();
    let long = pipeline().replace("epochs = 12", "epochs = 4000");
    place.write("p.toml", &long);
    let (child, mut events) = place.start_run(&["p.toml"]);
    let of = |event: &'static str, stage: &'static str| {
        let wanted = [format!("\"event\":\"{event}\""), format!("\"stage\":\"{stage}\"")];
        move |line: String| wanted.iter().all(|part| line.contains(part)).then_some(())
    };
    let mut wait = |found: &dyn Fn(String) -> Option<()>| {
        events.by_ref().map(|line| line.expect("text")).find_map(found).expect("it comes");
    };
    wait(&of("finished", "proxy"));
    wait(&of("started", "student"));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is there");
    // A program that is not heard may not get to its end.
    let last = events.last();
    assert!(last.is_some_and(|line| line.is_ok_and(|line| line.contains("run-finished"))));
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("what was finished is kept"), "{said}");
    let (_, computed) = counts(&said);
    assert!(computed >= 2, "a data set and a proxy at least: {said}");
    assert!(!place.digests().is_empty());
}

#[test]
fn a_damaged_file_is_made_again_and_nothing_else() {
    let place = Sandbox::new();
    place.write("p.toml", &pipeline());
    place.run("p.toml", &[]);
    let wanted = place.digests();
    let total = counts(&place.run("p.toml", &[]).1).0;
    let objects = place.stored("objects");
    let records = place.stored("records");
    let mut harmed = 0;
    for (i, victim) in objects.iter().chain(&records).enumerate() {
        let bytes = fs::read(victim).expect("readable");
        fs::remove_file(victim).expect("removable");
        let harm = i % 3;
        match harm {
            0 => {
                let mut bytes = bytes.clone();
                let at = (i * 7919) % bytes.len();
                bytes[at] ^= 0x10;
                fs::write(victim, bytes).expect("written");
            }
            1 => fs::write(victim, &bytes[..bytes.len() / 3]).expect("written"),
            _ => {}
        }
        let ((hits, computed), said) = place.run("p.toml", &[]);
        // A part of a checkpoint alone is no result: nobody misses it.
        let shared = victim.starts_with(place.path("store").join("objects"));
        assert!(computed <= 2 && hits + computed == total, "{}: {said}", victim.display());
        if computed > 0 && (shared || harm != 2) {
            assert!(said.contains("repair "), "{said}");
            harmed += 1;
        }
        assert_eq!(place.digests(), wanted, "{}", victim.display());
    }
    assert!(
        harmed > records.len() / 2,
        "{harmed} repairs of {} files",
        objects.len() + records.len()
    );
}

#[test]
fn a_newer_store_is_left_alone() {
    let place = Sandbox::new();
    place.write("p.toml", &pipeline());
    place.run("p.toml", &["--target", "data"]);
    let format = place.path("store").join("format");
    fs::write(&format, "coresift store 99\n").expect("written");
    let before = place.stored("");
    let output = place.output(&["run", "p.toml"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("format 99"), "{said}");
    assert_eq!(place.stored(""), before);
}
