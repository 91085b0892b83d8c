//! Records and logs of runs, as an earlier or later build or a full disk may have left them.
//!
//! An input is a record and a log, with a NUL between.
#![no_main]

use cache::Store;
use engine::{LogTail, ResultUse, RunRecord};
use libfuzzer_sys::fuzz_target;
use std::{fs, path::Path, sync::LazyLock};

const ID: &str = "20260101-000000-000-aaaaaa";

static STORE: LazyLock<Store> = LazyLock::new(|| {
    let above =
        if Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() };
    let root = above.join(format!("coresift-fuzz-runs-{}", std::process::id()));
    fs::remove_dir_all(&root).ok();
    let store = Store::open(root).expect("it can be created");
    fs::create_dir_all(store.root().join("runs")).expect("it can be made");
    store
});

fuzz_target!(|bytes: &[u8]| {
    let at = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (record, log) = bytes.split_at(at);
    let folder = STORE.root().join("runs");
    let write = |name: String, bytes: &[u8]| {
        fs::write(folder.join(name), bytes).expect("it can be written");
    };
    write(format!("{ID}.json"), record);
    write(format!("{ID}.events.jsonl"), log.get(1..).unwrap_or_default());
    assert_eq!(RunRecord::list(&STORE).expect("it can be read"), [ID]);
    if let Ok(Some(run)) = RunRecord::read(&STORE, ID) {
        assert!(!run.status(&STORE).expect("it can be read").label().is_empty());
        run.failures(&STORE).expect("it can be read");
        assert!(run.made_something() || run.nodes.len() < usize::MAX);
    }
    if let Ok(Some(mut tail)) = LogTail::open(&STORE, ID) {
        for entry in tail.read_new() {
            assert!(!entry.to_json().contains('\n'));
        }
    }
    RunRecord::new_id(&STORE, 1_700_000_000_000, 7).expect("the store can be read");
    let _ = ResultUse::list(&STORE);
});
