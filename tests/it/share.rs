//! Several processes on one store.

use crate::program::{Sandbox, counts};
use std::{
    env, fs,
    path::Path,
    process::{Child, Command, Stdio},
};

#[test]
fn each_key_is_computed_once() {
    let place = Sandbox::new();
    place.write(
        "p.toml",
        r#"
[stage.data]
use  = "load.synthetic"
with = { n = 300, test = 60, d = 4, classes = 3 }
[stage.student]
use  = "train"
from = { data = "data" }
with = { model = "mlp", epochs = 3, batch = 32 }
[stage.result]
use  = "evaluate"
from = { data = "data", model = "student" }
[matrix]
seed = [0, 1, 2, 3, 4, 5]
"#,
    );
    for processes in [2, 4] {
        let args = [
            "run",
            "p.toml",
            "--device",
            "cpu",
            "--set",
            &format!("student.with.batch={}", 16 * processes),
        ];
        let children: Vec<_> = (0..processes).map(|_| place.start(&args)).collect();
        let mut computed = 0;
        for child in children {
            let output = child.wait_with_output().expect("it ends");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
            assert!(!said.contains("note "), "no result differed: {said}");
            let (hits, here) = counts(&said);
            assert_eq!(hits + here, 18, "{said}");
            computed += here;
        }
        // Each seed has data of its own; the second round finds them.
        assert_eq!(computed, if processes == 2 { 18 } else { 12 }, "{processes} processes");
    }
}

/// Starts the run of `p.toml` in `place` with `store`, as on a host called `host`.
fn start_on(host: &str, place: &Sandbox, store: &Path) -> Child {
    let run = place.command(&["run", "p.toml", "--device", "cpu", "--jobs", "1", "--no-table"]);
    let mut command = Command::new("unshare");
    command.args(["--uts", "sh", "-c", "hostname \"$0\"; exec \"$@\"", host]);
    command.arg(run.get_program()).args(run.get_args()).arg("--store").arg(store);
    command.current_dir(place.path(".")).env("NO_COLOR", "1");
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts")
}

/// As on two hosts, whose locks do not reach each other: CORESIFT_MOUNTS names two mounts of one
/// folder by sshfs, `/mnt/a:/mnt/b`. For root, who may name hosts.
#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn two_hosts_without_common_locks_compute_each_key_once() {
    let mounts = env::var_os("CORESIFT_MOUNTS").unwrap_or_default();
    let Some((one, other)) = mounts.to_str().and_then(|mounts| mounts.split_once(':')) else {
        eprintln!("skipped: CORESIFT_MOUNTS names no two mounts of one folder");
        return;
    };
    let place = Sandbox::new();
    place.write(
        "p.toml",
        r#"
[stage.data]
use = "load.digits"
[stage.student]
use  = "train"
from = { data = "data" }
with = { model = "mlp", epochs = 60, batch = 16 }
[matrix]
"student.with.lr" = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]
"#,
    );
    let name = format!("store-{}", std::process::id());
    let stores = [Path::new(one).join(&name), Path::new(other).join(&name)];
    place.ok(&["run", "p.toml", "--target", "data", "--store", &stores[0].display().to_string()]);
    let both = [start_on("one", &place, &stores[0]), start_on("other", &place, &stores[1])];
    let mut computed = 0;
    for child in both {
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let (hits, here) = counts(&said);
        assert_eq!(hits + here, 7, "{said}");
        computed += here;
    }
    fs::remove_dir_all(&stores[0]).expect("removed");
    assert_eq!(computed, 6);
}
