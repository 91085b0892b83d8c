//! Benchmarks of the store: `cargo bench -p cache`.
//!
//! Timed by hand: criterion would change the features of crates that the tensor library is built
//! with, and so have it built twice.
#![expect(clippy::print_stdout, reason = "a benchmark is a program of its own")]

use cache::{Artifact, Digest, Key, Lookup, Provenance, Recipe, Record, Store};
use serde_json::json;
use std::{collections::BTreeMap, hint::black_box, io::Write as _, time::Instant};

const RECORDS: u32 = 5000;
const MIB: usize = 1 << 20;

/// Runs `work` until two seconds are over, at least three times, and prints the fastest.
fn time(what: &str, per: u32, mut work: impl FnMut()) {
    let begun = Instant::now();
    let mut best = f64::MAX;
    let mut times = 0;
    while times < 3 || begun.elapsed().as_secs() < 2 {
        let one = Instant::now();
        work();
        best = best.min(one.elapsed().as_secs_f64());
        times += 1;
    }
    println!("{what:44} {:10.2} us", best * 1e6 / f64::from(per));
}

fn record(store: &Store, number: u32) -> Record {
    let mut parts = BTreeMap::new();
    for part in ["meta", "subset"] {
        let blob = store.put(format!("{part} {number}").as_bytes()).expect("room");
        parts.insert(part.to_owned(), blob);
    }
    let settings = json!({
        "keep": 0.1, "balance": "class", "seed-offset": number, "temperature": f64::from(0.3_f32),
        "rule": {"lambda": 2.5, "bins": 50, "metric": "cosine"},
    });
    let inputs = BTreeMap::from([("scores".to_owned(), Digest::of(&number.to_le_bytes()))]);
    let method = "select.ccs".to_owned();
    let recipe = Recipe { method, revision: 1, settings: settings.into(), inputs, seed: Some(0) };
    let log = vec!["kept 5000 of 50000 samples".to_owned(), "cutoff 0.3".to_owned()];
    let provenance = Provenance {
        seconds: 0.012,
        device: "cpu".to_owned(),
        finished: 1_700_000_000,
        build: "0.1.0".to_owned(),
        log,
    };
    Record { recipe, output: Artifact { kind: "subset".to_owned(), parts }, provenance }
}

fn main() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let open = |name: &str| Store::open(folder.path().join(name)).expect("a store");

    let mut stores = 0;
    time("put two objects and commit their record", 500, || {
        stores += 1;
        let store = open(&format!("cold-{stores}"));
        for number in 0..500 {
            store.commit(&record(&store, number)).expect("room");
        }
        std::mem::forget(store);
    });

    let store = open("warm");
    let keys: Vec<Key> = (0..RECORDS)
        .map(|number| {
            let record = record(&store, number);
            store.commit(&record).expect("room");
            record.recipe.key()
        })
        .collect();
    let begun = Instant::now();
    store.flush().expect("room");
    println!("{:44} {:10.2} us", "flush", begun.elapsed().as_secs_f64() * 1e6);
    time("look up a record of two objects", RECORDS, || {
        for key in &keys {
            assert!(matches!(black_box(store.lookup(*key)), Ok(Lookup::Hit(_))));
        }
    });
    time("look up a key that has no record", RECORDS, || {
        for number in 0..RECORDS {
            let mut recipe = record_free(number);
            recipe.seed = None;
            assert!(matches!(store.lookup(recipe.key()), Ok(Lookup::Absent)));
        }
    });
    time("take and give back a lease", 500, || {
        for key in &keys[..500] {
            assert!(black_box(store.lease(*key)).expect("a lock").is_some());
        }
    });

    let large: Vec<u8> = (0..256 * MIB).map(|i| (i / 7) as u8).collect();
    let mut round = 0_u8;
    let mut changed = large.clone();
    time("write an object of 256 MiB, per MiB", 256, || {
        round += 1;
        changed[0] = round;
        let mut writer = store.writer().expect("room");
        writer.write_all(&changed).expect("room");
        writer.finish().expect("room");
    });
    let blob = store.put(&large).expect("room");
    time("open an object of 256 MiB anew, per MiB", 256, || {
        let again = Store::open_existing(store.root()).expect("a store").expect("a store");
        black_box(again.get(&blob).expect("whole"));
    });
    time("open an object of 256 MiB again", 1, || {
        black_box(store.get(&blob).expect("whole"));
    });
}

fn record_free(number: u32) -> Recipe {
    Recipe {
        method: "select.none".to_owned(),
        revision: 1,
        settings: json!({"number": number}).into(),
        inputs: BTreeMap::new(),
        seed: Some(0),
    }
}
