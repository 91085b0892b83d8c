use super::*;
use cache::{Checkpoint, Commit, StoreError};
use std::io::Write as _;

#[test]
fn a_result_comes_back_as_it_was() {
    let place = TestStore::new();
    let store = place.store();
    let large: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    for seconds in [0.01, 7.5] {
        let name = format!("method-{seconds}");
        let record = record(&store, &name, seconds, &[("a", b"small"), ("b", b""), ("c", &large)]);
        let key = record.recipe.key();
        assert!(matches!(store.lookup(key), Ok(Lookup::Absent)));
        assert_eq!(store.commit(&record).expect("room"), Commit::Stored);
        assert_eq!(hit(&place.store(), key), Some(record.clone()));
        for (part, bytes) in [("a", &b"small"[..]), ("b", b""), ("c", &large)] {
            assert_eq!(&*store.get(&record.output.parts[part]).expect("whole"), bytes);
        }
        assert_eq!(store.commit(&record).expect("room"), Commit::Stored);
    }
    store.flush().expect("room");
    let stats = store.stats().expect("a store");
    assert_eq!((stats.records, stats.objects, stats.tmp, stats.quarantine), (2, 3, 0, 0));
    assert_eq!(stats.bytes, 3_000_005);
    assert_eq!((stats.kinds["subset"].records, stats.kinds["subset"].bytes), (2, 3_000_005));
    assert_eq!(stats.seconds_saved, 7.51);
}

#[test]
fn pieces_make_the_same_object_as_the_whole() {
    let place = TestStore::new();
    let store = place.store();
    let bytes: Vec<u8> = (0..2_000_000_u32).map(|i| (i.wrapping_mul(i) % 249) as u8).collect();
    let mut writer = store.writer().expect("room");
    let mut rest = &bytes[..];
    let mut length = 1;
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(length.min(rest.len()));
        writer.write_all(piece).expect("room");
        rest = tail;
        length *= 3;
    }
    let blob = writer.finish().expect("room");
    assert_eq!(blob, Blob { digest: Digest::of(&bytes), size: 2_000_000 });
    assert_eq!(&*store.get(&blob).expect("whole"), &bytes[..]);
    assert_eq!(store.put(&bytes).expect("room"), blob);
    drop(store.writer().expect("room"));
    let stats = store.stats().expect("a store");
    assert_eq!((stats.objects, stats.tmp), (1, 0));
}

#[test]
fn the_first_of_two_results_stays_while_it_is_whole() {
    let place = TestStore::new();
    let store = place.store();
    let first = record(&store, "train", 0.0, &[("weights", b"first")]);
    let second = record(&store, "train", 0.0, &[("weights", b"other")]);
    let key = first.recipe.key();
    store.commit(&first).expect("room");
    let differs = Commit::Differs { existing: first.output.digest() };
    assert_eq!(store.commit(&second).expect("room"), differs);
    assert_eq!(hit(&store, key), Some(first.clone()));
    fs::remove_file(object(&store, &first.output.parts["weights"])).expect("it is there");
    assert_eq!(store.commit(&second).expect("room"), Commit::Stored);
    assert_eq!(hit(&store, key), Some(second));
}

#[test]
fn no_record_promises_what_is_not_there() {
    let place = TestStore::new();
    let store = place.store();
    let mut record = record(&store, "train", 0.0, &[("weights", b"bytes")]);
    record.provenance.seconds = f64::NAN;
    assert!(matches!(store.commit(&record), Err(StoreError::BadRecord { .. })));
    record.provenance.seconds = 2.0;
    fs::remove_file(object(&store, &record.output.parts["weights"])).expect("it is there");
    assert!(matches!(store.commit(&record), Err(StoreError::Damaged { .. })));
    assert!(matches!(store.lookup(record.recipe.key()), Ok(Lookup::Absent)));
}

#[test]
fn checkpoints_come_back_in_order() {
    let place = TestStore::new();
    let store = place.store();
    let key = record(&store, "trajectory", 0.0, &[]).recipe.key();
    for step in [10, 2, 123_456_789] {
        let state = record(&store, "any", 0.0, &[("state", &[step as u8])]).output;
        store.commit_checkpoint(key, &Checkpoint { step, state }).expect("room");
    }
    let steps = |store: &Store| -> Vec<u64> {
        store.checkpoints(key).expect("a store").iter().map(|one| one.step).collect()
    };
    assert_eq!(steps(&store), [2, 10, 123_456_789]);
    assert_eq!(store.drop_checkpoints(key, |step| step == 10).expect("ours"), 2);
    assert_eq!(steps(&place.store()), [10]);
    let state = &store.checkpoints(key).expect("a store")[0].state;
    fs::remove_file(object(&store, &state.parts["state"])).expect("it is there");
    assert_eq!(steps(&store), [0; 0]);
}

#[test]
fn documents_are_replaced_whole() {
    let place = TestStore::new();
    let store = place.store();
    assert_eq!(store.documents("pins").expect("none"), [""; 0]);
    for (name, text) in [("b", "1"), ("a.json", "2"), ("b", "3")] {
        store.put_document("runs", name, text.as_bytes()).expect("room");
    }
    assert_eq!(store.documents("runs").expect("two"), ["a.json", "b"]);
    assert_eq!(store.document("runs", "b").expect("there"), b"3");
    store.remove_document("runs", "b").expect("there");
    store.remove_document("runs", "b").expect("gone");
    assert!(matches!(store.document("runs", "b"), Err(StoreError::Io { action: "read", .. })));
    for (folder, name) in
        [("objects", "ab"), ("runs", "../x"), ("..", "x"), ("runs", ""), ("runs", ".x")]
    {
        assert!(store.put_document(folder, name, b"").is_err(), "{folder}/{name}");
    }
}

#[test]
fn files_are_hashed_again_when_they_change() {
    let place = TestStore::new();
    let store = place.store();
    let path = place.folder.path().join("data");
    let long_ago = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    let write = |bytes: &[u8], times: Option<fs::FileTimes>| {
        fs::write(&path, bytes).expect("room");
        let file = fs::File::options().write(true).open(&path).expect("there");
        if let Some(times) = times {
            file.set_times(times).expect("ours");
        }
    };
    let digest = |store: &Store| store.file_digest(&path).expect("there");
    write(b"one", None);
    assert_eq!(digest(&store), (Digest::of(b"one"), 3));
    // As long, and possibly within the same tick of the clock: only the racy rule sees it.
    write(b"two", None);
    assert_eq!(digest(&store), (Digest::of(b"two"), 3));
    write(b"three", Some(long_ago));
    assert_eq!(digest(&store), (Digest::of(b"three"), 5));
    store.flush().expect("room");
    // Stored digests are used: this document has a wrong one under a right checksum.
    let memo = fs::read_to_string(place.root().join("files")).expect("saved");
    let body =
        memo.split_once(r#""files":"#).expect("sealed").1.strip_suffix("}\n").expect("sealed");
    let lie = body.replace(&Digest::of(b"three").to_string(), &Digest::of(b"lie").to_string());
    let check = Digest::of(lie.as_bytes());
    fs::write(place.root().join("files"), format!("{{\"check\":\"{check}\",\"files\":{lie}}}\n"))
        .expect("room");
    assert_eq!(digest(&place.store()), (Digest::of(b"lie"), 5));
    // And with a broken check it is not.
    fs::write(place.root().join("files"), memo.replace("three", "").replacen('0', "1", 1))
        .expect("room");
    assert_eq!(digest(&place.store()), (Digest::of(b"three"), 5));
    write(b"seven", Some(long_ago));
    assert_eq!(digest(&store), (Digest::of(b"seven"), 5));
    assert!(store.file_digest(place.folder.path()).is_err());
}

#[test]
fn a_folder_is_hashed_again_when_one_of_its_files_changes() {
    let place = TestStore::new();
    let folder = place.folder.path().join("images");
    fs::create_dir_all(folder.join("deep")).expect("room");
    let long_ago = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    let write = |name: &str, bytes: &[u8]| {
        fs::write(folder.join(name), bytes).expect("room");
        let file = fs::File::options().write(true).open(folder.join(name)).expect("there");
        file.set_times(long_ago).expect("ours");
    };
    let names = ["a", "deep/b"].map(str::to_owned);
    let digest = |store: &Store, names: &[String]| {
        store.folder_digest(&folder, names).expect("they are there")
    };
    write("a", b"one");
    write("deep/b", b"two");
    let store = place.store();
    let first = digest(&store, &names);
    // By hand: the digests of each name and its bytes, one after the other.
    let parts = [&b"a"[..], b"one", b"deep/b", b"two"].map(|one| *Digest::of(one).as_bytes());
    assert_eq!(first, Digest::of(&parts.concat()));
    let turned = [names[1].clone(), names[0].clone()];
    assert_ne!(digest(&store, &turned), first);
    assert_eq!(digest(&store, &names), first);
    store.flush().expect("room");
    // Stored digests are used: this document has a wrong one under a right checksum.
    let memo = fs::read_to_string(place.root().join("folders")).expect("saved");
    let body =
        memo.split_once(r#""folders":"#).expect("sealed").1.strip_suffix("}\n").expect("sealed");
    let lie = body.replace(&first.to_string(), &Digest::of(b"lie").to_string());
    let check = Digest::of(lie.as_bytes());
    let sealed = format!("{{\"check\":\"{check}\",\"folders\":{lie}}}\n");
    fs::write(place.root().join("folders"), sealed).expect("room");
    assert_eq!(digest(&place.store(), &names), Digest::of(b"lie"));
    // As long and as old as it was, but changed just now.
    write("deep/b", b"owt");
    assert_ne!(digest(&place.store(), &names), Digest::of(b"lie"));
    assert_ne!(digest(&place.store(), &names), first);
    fs::remove_file(folder.join("a")).expect("ours");
    assert!(place.store().folder_digest(&folder, &names).is_err());
}
