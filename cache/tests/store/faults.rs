use super::*;
use cache::{Checkpoint, Commit, Damage, EntryKind, Finding, LookupDamage, StoreError, Verify};
use std::time::Duration;

/// Ways to spoil a file, each with its name.
fn spoilt(bytes: &[u8]) -> Vec<(&'static str, Option<Vec<u8>>)> {
    let middle = bytes.len() / 2;
    let mut flipped = bytes.to_vec();
    flipped[middle] ^= 4;
    let longer = [bytes, b"x"].concat();
    vec![
        ("deleted", None),
        ("empty", Some(vec![])),
        ("cut", Some(bytes[..middle].to_vec())),
        ("flipped", Some(flipped)),
        ("longer", Some(longer)),
        ("zeros", Some(vec![0; bytes.len()])),
    ]
}

fn spoil(path: &Path, with: Option<&[u8]>) {
    match with {
        Some(bytes) => overwrite(path, bytes),
        None => fs::remove_file(path).expect("it is there"),
    }
}

#[test]
fn a_spoilt_object_is_noticed_and_made_again() {
    let large = vec![9_u8; (1 << 20) + 17];
    for bytes in [&b"indices"[..], &large] {
        for (how, with) in spoilt(bytes) {
            let place = TestStore::new();
            let store = place.store();
            let record = record(&store, "select.top", 0.0, &[("meta", b"{}"), ("subset", bytes)]);
            let key = record.recipe.key();
            let blob = record.output.parts["subset"];
            store.commit(&record).expect("room");
            assert_eq!(&*store.get(&blob).expect("whole"), bytes);
            spoil(&object(&store, &blob), with.as_deref());
            let what = damage(&store, key);
            let named = format!("object {} (part `subset`)", blob.digest.short());
            assert!(what.contains(&named), "{how}: {what}");
            assert!(!object(&store, &blob).exists(), "{how}");
            let aside = u64::from(with.is_some());
            assert_eq!(store.stats().expect("a store").quarantine, aside, "{how}");
            assert!(matches!(store.get(&blob), Err(StoreError::Damaged { .. })), "{how}");
            store.put(bytes).expect("room");
            assert_eq!(store.commit(&record).expect("room"), Commit::Stored);
            assert_eq!(hit(&store, key), Some(record), "{how}");
        }
    }
}

#[test]
fn reading_and_writing_notice_it_too() {
    for (how, with) in spoilt(b"some bytes") {
        let place = TestStore::new();
        let store = place.store();
        let blob = store.put(b"some bytes").expect("room");
        spoil(&object(&store, &blob), with.as_deref());
        assert!(matches!(store.get(&blob), Err(StoreError::Damaged { .. })), "{how}");
        store.put(b"some bytes").expect("room");
        spoil(&object(&store, &blob), with.as_deref());
        store.put(b"some bytes").expect("room");
        assert_eq!(&*store.get(&blob).expect("whole"), b"some bytes", "{how}");
    }
}

// The disk itself, not a program: size and date are as they were.
#[test]
fn rot_is_noticed_when_it_is_read() {
    for size in [100, 2 << 20] {
        let place = TestStore::new();
        let store = place.store();
        let blob = store.put(&vec![1; size]).expect("room");
        let path = object(&store, &blob);
        let dates = fs::metadata(&path).expect("there").modified().expect("a date");
        overwrite(&path, &vec![2; size]);
        let times = fs::FileTimes::new().set_modified(dates);
        fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_times(times))
            .expect("ours");
        assert!(matches!(store.get(&blob), Err(StoreError::Damaged { .. })));
        assert!(!path.exists());
    }
}

#[test]
fn a_copied_store_is_whole_although_its_dates_are_not() {
    let place = TestStore::new();
    let store = place.store();
    let record = record(&store, "select.top", 0.0, &[("subset", b"indices")]);
    store.commit(&record).expect("room");
    let path = object(&store, &record.output.parts["subset"]);
    let date = fs::metadata(&path).expect("there").modified().expect("a date");
    overwrite(&path, b"indices");
    assert!(hit(&store, record.recipe.key()).is_some());
    assert_eq!(fs::metadata(&path).expect("there").modified().expect("a date"), date);
}

#[test]
fn a_spoilt_record_is_noticed_and_made_again() {
    let place = TestStore::new();
    let store = place.store();
    let first = record(&store, "first", 0.0, &[("subset", b"indices")]);
    store.commit(&first).expect("room");
    let path = record_file(&store, first.recipe.key());
    let mut ways = spoilt(&fs::read(&path).expect("there"));
    // Another key's record in its place.
    let other = record(&store, "other", 0.0, &[("subset", b"indices")]);
    store.commit(&other).expect("room");
    ways.push(("swapped", fs::read(record_file(&store, other.recipe.key())).ok()));
    for (how, with) in ways {
        spoil(&path, with.as_deref());
        match store.lookup(first.recipe.key()).expect("a store") {
            Lookup::Absent => assert_eq!(how, "deleted"),
            Lookup::Damaged(what) => {
                assert!(matches!(what, LookupDamage::Record { .. }), "{how}: {what}");
            }
            Lookup::Hit(_) => panic!("{how} was not noticed"),
        }
        assert!(!path.exists(), "{how}");
        spoil_if_there(&path, with.as_deref());
        assert_eq!(store.commit(&first).expect("room"), Commit::Stored, "{how}");
        assert_eq!(hit(&store, first.recipe.key()), Some(first.clone()), "{how}");
    }
}

// A commit over a damaged record that nobody has looked up.
fn spoil_if_there(path: &Path, with: Option<&[u8]>) {
    if let Some(bytes) = with {
        fs::write(path, bytes).expect("room");
    }
}

#[test]
fn a_spoilt_checkpoint_leaves_the_others() {
    let place = TestStore::new();
    let store = place.store();
    let (key, state) = {
        let record = record(&store, "train", 0.0, &[("state", b"weights")]);
        (record.recipe.key(), record.output)
    };
    let hex = key.to_string();
    let path =
        place.root().join("checkpoints").join(&hex[..2]).join(&hex[2..]).join("00000020.json");
    for step in [10, 20] {
        store.commit_checkpoint(key, &Checkpoint { step, state: state.clone() }).expect("room");
    }
    for (how, with) in spoilt(&fs::read(&path).expect("there")) {
        spoil(&path, with.as_deref());
        let steps: Vec<u64> =
            store.checkpoints(key).expect("a store").iter().map(|one| one.step).collect();
        assert_eq!(steps, [10], "{how}");
        store.commit_checkpoint(key, &Checkpoint { step: 20, state: state.clone() }).expect("room");
    }
}

#[test]
fn verify_finds_what_no_lookup_would() {
    let place = TestStore::new();
    let store = place.store();
    let [good, rotten, torn, lacking] = ["good", "rotten", "torn", "lacking"].map(|name| {
        let record = record(&store, name, 0.0, &[("subset", name.as_bytes())]);
        store.commit(&record).expect("room");
        record
    });
    let part = |record: &Record| object(&store, &record.output.parts["subset"]);
    let clean = store.verify(Verify::All, &mut |found| panic!("{found:?}")).expect("a store");
    assert_eq!((clean.records, clean.objects, clean.of_objects, clean.damaged), (4, 4, 4, 0));
    assert_eq!(clean.bytes, 4 + 6 + 4 + 7);

    overwrite(&part(&rotten), b"ROTTEN");
    let date = fs::metadata(part(&good)).expect("there").modified().expect("a date");
    let file = fs::File::options().write(true).open(part(&rotten)).expect("there");
    file.set_times(fs::FileTimes::new().set_modified(date)).expect("ours");
    overwrite(&record_file(&store, torn.recipe.key()), b"{");
    fs::remove_file(part(&lacking)).expect("there");
    fs::write(place.root().join("objects/notes.txt"), "mine").expect("room");
    assert!(hit(&store, rotten.recipe.key()).is_some(), "size and date are right");

    let mut found: Vec<Finding> = vec![];
    let report = store.verify(Verify::All, &mut |one| found.push(one.clone())).expect("a store");
    let of = |kind| {
        found
            .iter()
            .filter(|one| one.kind == kind)
            .map(|one| (one.what.clone(), &one.records[..]))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(EntryKind::Record), [(Damage::Torn, &[torn.recipe.key()][..])]);
    assert_eq!(
        of(EntryKind::Object),
        [
            (Damage::Missing, &[lacking.recipe.key()][..]),
            (Damage::Altered, &[rotten.recipe.key()][..]),
        ]
    );
    assert_eq!(of(EntryKind::Stray), [(Damage::Stray, &[][..])]);
    assert_eq!((report.damaged, report.strays), (3, 1));
    assert!(damage(&store, rotten.recipe.key()).contains("is missing"));
    assert_eq!(hit(&store, good.recipe.key()), Some(good));
}

#[test]
fn verify_reads_as_much_as_it_is_told() {
    let place = TestStore::new();
    let store = place.store();
    for i in 0..200_u32 {
        store.put(&i.to_le_bytes()).expect("room");
    }
    let count = |mode| store.verify(mode, &mut |_| {}).expect("a store").objects;
    assert_eq!(count(Verify::Sample(0.0)), 0);
    assert_eq!(count(Verify::Sample(1.0)), 200);
    // Six deviations around the mean.
    assert!((58..=142).contains(&count(Verify::Sample(0.5))));
    assert_eq!(count(Verify::Within(Duration::ZERO)), 0);
    assert_eq!(count(Verify::Within(Duration::from_secs(3600))), 200);
}
