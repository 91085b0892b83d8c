use super::*;
use cache::{Checkpoint, GcOptions, GcReport, KeepSet};
use std::{collections::BTreeSet, time::Duration};

fn options() -> GcOptions {
    GcOptions { min_age: Duration::ZERO, ..GcOptions::default() }
}

/// Commits one record per entry: name, seconds, size of its own part. All share a part of 50 bytes.
fn fill<const N: usize>(store: &Store, what: [(&str, f64, usize); N]) -> [Record; N] {
    what.map(|(name, seconds, size)| {
        let own = name.repeat(size).into_bytes();
        let parts: [(&str, &[u8]); 2] = [("own", &own[..size]), ("shared", &[5; 50])];
        let record = record(store, name, seconds, &parts);
        store.commit(&record).expect("room");
        record
    })
}

fn keys(records: &[&Record]) -> BTreeSet<Key> {
    records.iter().map(|record| record.recipe.key()).collect()
}

#[test]
fn what_is_reached_stays_and_the_rest_goes() {
    let place = TestStore::new();
    let store = place.store();
    let [kept, lost] = fill(&store, [("kept", 3.0, 10), ("lost", 4.0, 20)]);
    store.put(b"of no record").expect("room");
    for (trajectory, byte) in [(&kept, 1), (&lost, 2)] {
        let state = record(&store, "any", 0.0, &[("state", &[byte; 7])]).output;
        store
            .commit_checkpoint(trajectory.recipe.key(), &Checkpoint { step: 1, state })
            .expect("room");
    }
    fs::write(place.root().join("tmp/left"), "behind").expect("room");
    fs::write(place.root().join("quarantine/object-x"), "bad").expect("room");
    fs::write(place.root().join(format!("leases/{}", lost.recipe.key())), "process 1")
        .expect("room");
    for record in [&kept, &lost] {
        store.put_document("remote-1234", &record.recipe.key().to_string(), b"").expect("room");
    }
    let reach =
        KeepSet { records: keys(&[&kept]), trajectories: keys(&[&kept]), ..KeepSet::default() };

    let before = snapshot(&place.root());
    let young = store.gc(&reach, GcOptions::default()).expect("a store");
    assert_eq!(young, GcReport { bytes_left: 10 + 20 + 50 + 12 + 7 + 7, ..GcReport::default() });
    let planned = store.gc(&reach, GcOptions { dry_run: true, ..options() }).expect("a store");
    assert_eq!(snapshot(&place.root()), before);

    let done = store.gc(&reach, options()).expect("a store");
    assert_eq!(done, planned);
    assert_eq!((done.records, done.objects, done.checkpoints), (1, 3, 1));
    assert_eq!((done.tmp, done.quarantine, done.seconds_lost), (1, 1, 4.0));
    let of_remotes = store.documents("remote-1234").expect("a folder");
    assert_eq!((done.remote_records, of_remotes), (1, vec![kept.recipe.key().to_string()]));
    assert_eq!(done.bytes_left, 10 + 50 + 7);
    assert_eq!(hit(&store, kept.recipe.key()), Some(kept.clone()));
    assert!(matches!(store.lookup(lost.recipe.key()), Ok(Lookup::Absent)));
    assert_eq!(store.checkpoints(kept.recipe.key()).expect("a store").len(), 1);
    assert_eq!(fs::read_dir(place.root().join("leases")).expect("a folder").count(), 0);
    let again = store.gc(&reach, options()).expect("a store");
    assert_eq!(again, GcReport { bytes_left: 67, ..GcReport::default() });
}

#[test]
fn a_computation_under_way_loses_nothing() {
    let place = TestStore::new();
    let store = place.store();
    let [busy] = fill(&store, [("busy", 1.0, 10)]);
    let lease = store.lease(busy.recipe.key()).expect("a lock").expect("free");
    store.gc(&KeepSet::default(), options()).expect("a store");
    assert_eq!(hit(&store, busy.recipe.key()), Some(busy.clone()));
    drop(lease);
    assert_eq!(store.gc(&KeepSet::default(), options()).expect("a store").records, 1);
    assert_eq!(store.stats().expect("a store").objects, 0);
}

#[test]
fn a_cap_takes_the_cheapest_bytes_first() {
    let place = TestStore::new();
    let store = place.store();
    // Per byte of their own and a third of the shared 50: cheap .1, dear 1.7, small .8.
    let [cheap, dear, small] =
        fill(&store, [("cheap", 100.0, 1000), ("dear", 2000.0, 1200), ("small", 16.0, 3)]);
    let reach = KeepSet { records: keys(&[&cheap, &dear, &small]), ..KeepSet::default() };
    let capped = |most| GcOptions { max_bytes: Some(most), ..options() };
    assert_eq!(store.gc(&reach, capped(2253)).expect("a store").records, 0);
    let report = store.gc(&reach, capped(2000)).expect("a store");
    assert_eq!((report.records, report.bytes_left, report.seconds_lost), (1, 1253, 100.0));
    assert!(hit(&store, cheap.recipe.key()).is_none());
    let report = store.gc(&reach, capped(1252)).expect("a store");
    assert_eq!((report.records, report.bytes_left), (1, 1250));
    assert!(hit(&store, dear.recipe.key()).is_some());
    let report = store.gc(&reach, capped(0)).expect("a store");
    assert_eq!((report.records, report.bytes_left), (1, 0));
}

#[test]
fn a_cap_takes_old_checkpoints_before_records() {
    let place = TestStore::new();
    let store = place.store();
    let [run] = fill(&store, [("run", 0.001, 10)]);
    let key = run.recipe.key();
    for step in 1..=3_u8 {
        let state = record(&store, "any", 0.0, &[("state", &[step; 100])]).output;
        let step = u64::from(step);
        store.commit_checkpoint(key, &Checkpoint { step, state }).expect("room");
    }
    let reach =
        KeepSet { records: keys(&[&run]), trajectories: keys(&[&run]), ..KeepSet::default() };
    let report =
        store.gc(&reach, GcOptions { max_bytes: Some(160), ..options() }).expect("a store");
    assert_eq!((report.checkpoints, report.records, report.bytes_left), (2, 0, 160));
    assert_eq!(store.checkpoints(key).expect("a store")[0].step, 3);
}

#[test]
fn what_a_run_uses_stays_whatever_its_age() {
    let place = TestStore::new();
    let store = place.store();
    let used = record(&store, "used", 9.0, &[("a", b"old")]);
    let made = record(&store, "made", 1.0, &[("b", b"new")]);
    store.commit(&used).expect("room");
    store.commit(&made).expect("room");
    let gone = GcOptions { min_age: Duration::ZERO, ..GcOptions::default() };
    let all = GcOptions { max_bytes: Some(0), ..gone };
    // Written since the run began, or named by it: neither age nor size takes it.
    let since = KeepSet { since: Some(0), ..KeepSet::default() };
    assert_eq!(store.gc(&since, all).expect("room").records, 0);
    let in_use = KeepSet { in_use: BTreeSet::from([used.recipe.key()]), ..KeepSet::default() };
    assert_eq!(store.gc(&in_use, all).expect("room").records, 1);
    assert!(hit(&store, used.recipe.key()).is_some() && hit(&store, made.recipe.key()).is_none());
    assert_eq!(store.gc(&KeepSet::default(), gone).expect("room").records, 1);
}

#[test]
fn a_result_can_be_replaced_and_forgotten() {
    let place = TestStore::new();
    let store = place.store();
    let first = record(&store, "a", 0.0, &[("part", b"one")]);
    let mut second = record(&store, "a", 0.0, &[("part", b"two")]);
    second.provenance.log.clear();
    store.commit(&first).expect("room");
    store.replace(&second).expect("room");
    let key = first.recipe.key();
    assert_eq!(hit(&store, key), Some(second));
    assert!(store.forget(key).expect("room"));
    assert!(!store.forget(key).expect("room") && hit(&store, key).is_none());
}

#[test]
fn a_run_begins_before_a_collection_or_after_it() {
    let place = TestStore::new();
    let store = place.store();
    let lock_for_gc = store.lock_for_gc().expect("room");
    let root = place.root();
    let waited = std::thread::spawn(move || {
        let began = std::time::Instant::now();
        Store::open(root).expect("a store").wait_for_collection().expect("room");
        began.elapsed()
    });
    std::thread::sleep(Duration::from_millis(150));
    assert!(!waited.is_finished(), "it waits");
    drop(lock_for_gc);
    assert!(waited.join().expect("no panic") >= Duration::from_millis(100));
    store.wait_for_collection().expect("nobody collects");
}
