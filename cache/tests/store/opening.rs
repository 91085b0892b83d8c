use super::*;
use cache::StoreError;

#[test]
fn a_new_store_says_what_it_is() {
    let place = TestStore::new();
    assert!(Store::open_existing(place.root()).expect("nothing there").is_none());
    drop(place.store());
    let read = |name: &str| fs::read_to_string(place.root().join(name)).expect("a file");
    assert_eq!(read("format"), "coresift store 1\n");
    assert_eq!(read(".gitignore"), "*\n");
    assert!(read("CACHEDIR.TAG").starts_with("Signature: 8a477f597d28d172789f06886806bc55\n"));
    assert!(Store::open_existing(place.root()).expect("a store").is_some());
}

#[test]
fn a_newer_or_foreign_folder_is_refused_and_untouched() {
    for (file, text) in [("format", "coresift store 7\n"), ("format", ""), ("thesis.tex", "x")] {
        let place = TestStore::new();
        fs::create_dir(place.root()).expect("room");
        fs::write(place.root().join(file), text).expect("room");
        let before = snapshot(place.folder.path());
        for outcome in [Store::open(place.root()).map(Some), Store::open_existing(place.root())] {
            let error = outcome.expect_err("it is not ours");
            if text.starts_with("coresift") {
                assert!(
                    matches!(error, StoreError::NewerFormat { found: 7, known: 1, .. }),
                    "{error}"
                );
            } else {
                assert!(matches!(error, StoreError::NotAStore { .. }), "{error}");
            }
        }
        assert_eq!(snapshot(place.folder.path()), before);
        assert_eq!(fs::read_dir(place.root()).expect("a folder").count(), 1);
    }
    let place = TestStore::new();
    fs::write(place.root(), "a file").expect("room");
    assert!(matches!(Store::open(place.root()), Err(StoreError::NotAStore { .. })));
}

#[test]
fn a_creation_cut_short_is_finished() {
    let place = TestStore::new();
    fs::create_dir(place.root()).expect("room");
    fs::write(place.root().join(".formatXYZ"), "coresift st").expect("room");
    let store = place.store();
    fs::remove_dir_all(place.root().join("tmp")).expect("it is there");
    fs::remove_dir_all(place.root().join("objects")).expect("it is there");
    let blob = store.put(b"bytes").expect("folders are made where they lack");
    assert_eq!(&*store.get(&blob).expect("whole"), b"bytes");
}

#[test]
fn many_may_create_it_at_once() {
    let place = TestStore::new();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| place.store().put(b"one").expect("room"));
        }
    });
    assert_eq!(place.store().stats().expect("a store").objects, 1);
}

#[test]
fn what_cannot_be_written_can_be_read() {
    let place = TestStore::new();
    let (key, blob) = {
        let store = place.store();
        let record = record(&store, "select.top", 0.0, &[("subset", b"indices")]);
        store.commit(&record).expect("room");
        (record.recipe.key(), record.output.parts["subset"])
    };
    let set = |writable| {
        for path in snapshot(&place.root()).keys() {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::Permissions::from_mode(if writable { 0o755 } else { 0o555 });
            for folder in path.ancestors().skip(1).take_while(|one| one.starts_with(place.root())) {
                fs::set_permissions(folder, mode.clone()).expect("ours");
            }
        }
    };
    set(false);
    let store = place.store();
    if !store.is_read_only() {
        set(true);
        let mut out = std::io::stderr();
        let _ =
            std::io::Write::write_all(&mut out, b"skipped: permissions do not bind this user\n");
        return;
    }
    assert!(hit(&store, key).is_some());
    assert_eq!(&*store.get(&blob).expect("whole"), b"indices");
    assert!(store.lease(key).expect("locks nothing").is_some());
    assert!(store.lease(key).expect("locks nothing").is_some());
    assert!(matches!(store.put(b"more"), Err(StoreError::Io { action: "write", .. })));
    store.flush().expect("nothing to do");
    set(true);
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn a_fresh_disk_and_what_is_partly_elsewhere() {
    let place = TestStore::new();
    fs::create_dir_all(place.root().join("lost+found")).expect("made");
    let store = place.store();
    store.put(b"something").expect("room");
    drop(store);
    // A link within the same disk is no matter.
    fs::rename(place.root().join("objects"), place.root().join("moved")).expect("moved");
    std::os::unix::fs::symlink("moved", place.root().join("objects")).expect("linked");
    place.store().put(b"another").expect("room");
    let elsewhere = tempfile::tempdir_in("/dev/shm");
    let Ok(elsewhere) = elsewhere else { return eprintln!("skipped: no other file system") };
    fs::remove_file(place.root().join("objects")).expect("removed");
    std::os::unix::fs::symlink(elsewhere.path(), place.root().join("objects")).expect("linked");
    let refused = Store::open(place.root()).expect_err("nothing can be renamed to there");
    assert!(matches!(refused, StoreError::NotAStore { .. }), "{refused}");
}

#[test]
fn a_store_that_is_gone_says_so_and_is_not_made_anew() {
    let place = TestStore::new();
    let store = place.store();
    let blob = store.put(b"bytes").expect("room");
    let moved = place.root().with_file_name("moved");
    fs::rename(place.root(), &moved).expect("moved");
    assert!(matches!(store.put(b"more"), Err(StoreError::Gone { .. })));
    assert!(matches!(store.put_document("runs", "one", b"x"), Err(StoreError::Gone { .. })));
    assert!(matches!(store.folder(), Err(StoreError::Gone { .. })));
    let key = Recipe {
        method: "x".into(),
        revision: 1,
        settings: json!(null).into(),
        inputs: BTreeMap::new(),
        seed: None,
    }
    .key();
    assert!(matches!(store.lease(key), Err(StoreError::Gone { .. })));
    assert!(!place.root().exists(), "nothing is made in its place");
    fs::rename(&moved, place.root()).expect("moved back");
    assert_eq!(&*store.get(&blob).expect("whole"), b"bytes");
}

#[test]
fn what_is_shared_is_open_to_the_group() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = TestStore::new();
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o7777;
    let store = place.store();
    let record = record(&store, "a", 0.0, &[("part", b"bytes")]);
    store.commit(&record).expect("room");
    let report = store.share(None).expect("its own");
    assert!(report.opened > 10 && report.refused == 0, "{report:?}");
    assert_eq!(mode(&place.root()) & 0o2070, 0o2070);
    let object = object(&store, &record.output.parts["part"]);
    assert_eq!(mode(&object), 0o444, "for all to read, for nobody to write");
    assert!(hit(&store, record.recipe.key()).is_some());
    // Files written later are open, too.
    let store = place.store();
    let blob = store.put(b"of another shard").expect("room");
    assert_eq!(mode(super::object(&store, &blob).parent().expect("a folder")) & 0o2070, 0o2070);
}
