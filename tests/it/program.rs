//! The program, run in a store of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader, Lines},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

/// Returns a pipeline without a proxy: of the synthetic `data` a random share `keep` is selected, a student trained on it and
/// evaluated, for each cell of `matrix`.
pub(crate) fn of_random_subsets(data: &str, keep: f64, matrix: &str) -> String {
    format!(
        r#"
[stage.data]
use  = "load.synthetic"
with = {{ {data} }}
[stage.subset]
use  = "select.random"
from = {{ data = "data" }}
with = {{ keep = {keep} }}
[stage.student]
use  = "train"
from = {{ data = "data", subset = "subset" }}
with = {{ model = "mlp", epochs = 2, batch = 32 }}
[stage.result]
use  = "evaluate"
from = {{ data = "data", model = "student" }}
[matrix]
{matrix}
"#
    )
}

/// Returns a pipeline of two seeds, of six stages each: `data` is loaded, a proxy trained for so many epochs, samples
/// scored, the hardest kept, a student trained on them for so many, and evaluated.
pub(crate) fn two_seeds(data: &str, score: &str, [proxy, student]: [u32; 2]) -> String {
    format!(
        r#"
[stage.data]
use  = "load.synthetic"
with = {{ {data} }}
[stage.proxy]
use  = "proxy-train"
from = {{ data = "data" }}
with = {{ model = "mlp", epochs = {proxy}, batch = 32 }}
[stage.hardness]
use  = "{score}"
from = {{ proxy = "proxy" }}
[stage.subset]
use  = "select.top"
from = {{ scores = "hardness" }}
with = {{ keep = 0.3 }}
[stage.student]
use  = "train"
from = {{ data = "data", subset = "subset" }}
with = {{ model = "mlp", epochs = {student}, batch = 32 }}
[stage.result]
use  = "evaluate"
from = {{ data = "data", model = "student" }}
[matrix]
seed = [0, 1]
"#
    )
}

/// A folder with a store and pipeline files, gone at the end.
pub(crate) struct Sandbox {
    dir: tempfile::TempDir,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a place") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("written");
        path
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coresift"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("CORESIFT_STORE", self.path("store"))
            .env("NO_COLOR", "1")
            // Keys and remote stores of whoever runs the tests are none of theirs.
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("NO_PROXY", "127.0.0.1")
            .env_remove("CORESIFT_REMOTE")
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY")
            .env_remove("AWS_ENDPOINT_URL")
            .env_remove("RUST_BACKTRACE");
        command
    }

    /// Runs the program to its end.
    pub(crate) fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the program starts")
    }

    /// Runs the program, which must succeed, and returns stdout.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {err}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Does the same and returns the JSON on stdout.
    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        let text = self.ok(&[args, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Runs a pipeline and returns (hits, computed) and what it said.
    pub(crate) fn run(&self, pipeline: &str, more: &[&str]) -> ((usize, usize), String) {
        let output = self.output(&[&["run", pipeline, "--device", "cpu"], more].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        (counts(&said), said)
    }

    /// Starts the program and leaves it running.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts")
    }

    /// Starts a run and returns it with its events, a line of JSON each.
    pub(crate) fn start_run(&self, args: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
        let mut command = self.command(&[&["run"], args, &["--device", "cpu", "--json"]].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stdout = child.stdout.take().expect("it is a pipe");
        (child, BufReader::new(stdout).lines())
    }

    /// Returns every file under `folder` of the store.
    pub(crate) fn stored(&self, folder: &str) -> Vec<PathBuf> {
        files(&self.path("store").join(folder))
    }

    /// Returns the output digest of every record in the store, by key.
    pub(crate) fn digests(&self) -> Vec<String> {
        let listed = self.json(&["cache", "ls"]);
        let list = listed.as_array().or_else(|| listed["records"].as_array()).expect("a list");
        let mut all: Vec<String> =
            list.iter().map(|record| format!("{} {}", record["key"], record["output"])).collect();
        all.sort();
        assert!(all.iter().all(|line| !line.contains("null")), "{listed}");
        all
    }
}

/// Returns (hits, computed) from what a run said at its end.
pub(crate) fn counts(said: &str) -> (usize, usize) {
    let line = said.lines().rev().find(|line| line.contains(" hits, ")).unwrap_or_default();
    let number = |word: &str| {
        let before = line.split(word).next().unwrap_or_default().trim_end();
        before.rsplit([' ', ',']).next().and_then(|text| text.parse().ok())
    };
    match (number(" hits"), number(" computed")) {
        (Some(hits), Some(computed)) => (hits, computed),
        _ => panic!("no summary in: {said}"),
    }
}

pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = vec![];
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all.sort();
    all
}

/// Returns the path of a file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
