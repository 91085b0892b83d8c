//! The store from outside: what is kept, what is noticed, and what survives.

mod collecting;
mod faults;
mod leases;
mod opening;
mod results;

use cache::{Artifact, Blob, Digest, Key, Lookup, Provenance, Recipe, Record, Store};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A store that goes away with the test.
struct TestStore {
    folder: TempDir,
}

impl TestStore {
    fn new() -> Self {
        Self { folder: TempDir::new().expect("a temporary folder") }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn store(&self) -> Store {
        Store::open(self.root()).expect("a store")
    }
}

/// A record of method `name` whose parts hold `parts`.
fn record(store: &Store, name: &str, seconds: f64, parts: &[(&str, &[u8])]) -> Record {
    let put = |bytes| store.put(bytes).expect("room");
    let parts = parts.iter().map(|(part, bytes)| ((*part).to_owned(), put(bytes))).collect();
    let recipe = Recipe {
        method: name.to_owned(),
        revision: 3,
        // 0.1 in single precision: one of the floats that JSON does not bring back by itself.
        settings: json!({"keep": 0.1, "rate": f64::from(0.1_f32), "rule": {"bins": 50}}).into(),
        inputs: BTreeMap::from([("scores".to_owned(), Digest::of(b"an input"))]),
        seed: Some(u64::MAX),
    };
    let provenance = Provenance {
        seconds,
        device: "cpu".to_owned(),
        finished: 1_700_000_000,
        build: "0.1.0".to_owned(),
        log: vec!["a line".to_owned()],
    };
    Record { recipe, output: Artifact { kind: "subset".to_owned(), parts }, provenance }
}

fn hit(store: &Store, key: Key) -> Option<Record> {
    match store.lookup(key).expect("a readable store") {
        Lookup::Hit(record) => {
            // The quick way sees the same.
            let quick = store.lookup_output(key, &record.recipe).expect("a readable store");
            assert!(matches!(quick, Lookup::Hit(output) if output == record.output));
            Some(*record)
        }
        Lookup::Absent | Lookup::Damaged(_) => None,
    }
}

fn damage(store: &Store, key: Key) -> String {
    match store.lookup(key).expect("a readable store") {
        Lookup::Damaged(what) => what.to_string(),
        other => format!("not damaged: {other:?}"),
    }
}

fn object(store: &Store, blob: &Blob) -> PathBuf {
    let hex = blob.digest.to_string();
    store.root().join("objects").join(&hex[..2]).join(&hex[2..])
}

fn record_file(store: &Store, key: Key) -> PathBuf {
    let hex = key.to_string();
    store.root().join("records").join(&hex[..2]).join(format!("{}.json", &hex[2..]))
}

/// Every file below `folder`, with its bytes.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(snapshot(&path));
        } else {
            let bytes = fs::read(&path).expect("a file");
            all.insert(path, bytes);
        }
    }
    all
}

/// Overwrites a file past its permissions, as an editor would.
fn overwrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).expect("it is there");
    fs::write(path, bytes).expect("room");
}
