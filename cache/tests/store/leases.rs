use super::*;
use std::{
    io::Read as _,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

const CHILD: &str = "CACHE_TEST_LEASE_OF";

fn key(name: &str) -> Key {
    let place = TestStore::new();
    record(&place.store(), name, 0.0, &[]).recipe.key()
}

#[test]
fn one_thread_at_a_time_holds_a_lease() {
    let place = TestStore::new();
    let store = place.store();
    let other = place.store();
    let held = store.lease(key("a")).expect("a lock").expect("free");
    assert!(store.lease(key("a")).expect("a lock").is_none());
    assert!(other.lease(key("a")).expect("a lock").is_none());
    assert!(other.lease(key("b")).expect("a lock").is_some());
    let holder = other.lease_holder(key("a")).expect("held");
    assert!(holder.starts_with(&format!("process {}", std::process::id())), "{holder}");
    drop(held);
    assert_eq!(store.lease_holder(key("a")), None);
    assert!(other.lease(key("a")).expect("a lock").is_some());
}

#[test]
fn leases_exclude_under_contention() {
    exclude_under_contention(TestStore::store, 2000);
    exclude_under_contention(beating, 200);
}

fn exclude_under_contention(open: impl Fn(&TestStore) -> Store + Sync, times: usize) {
    let place = TestStore::new();
    let inside = AtomicUsize::new(0);
    let taken = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let store = open(&place);
                while taken.load(Ordering::SeqCst) < times {
                    if let Some(lease) = store.lease(key("busy")).expect("a lock") {
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        taken.fetch_add(1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(lease);
                    }
                }
            });
        }
    });
    assert_eq!(fs::read_dir(place.root().join("leases")).expect("a folder").count(), 0);
}

// Not a test by itself: the process that the next one kills.
#[test]
fn holder() {
    #[expect(clippy::disallowed_methods, reason = "how the test below tells its child what to do")]
    let Ok(root) = std::env::var(CHILD) else { return };
    let store = Store::open(root.trim_end_matches('!')).expect("a store");
    let store = store.with_heartbeat(Some(root.ends_with('!')));
    let _lease = store.lease(key("killed")).expect("a lock").expect("free");
    let mut writer = store.writer().expect("room");
    std::io::Write::write_all(&mut writer, &vec![7; 1 << 20]).expect("room");
    fs::write(store.root().join("ready"), "").expect("room");
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_killed_process_holds_nothing() {
    for heartbeat in ["", "!"] {
        dies_with_its_lease(heartbeat);
    }
}

fn dies_with_its_lease(heartbeat: &str) {
    let place = TestStore::new();
    let store = place.store().with_heartbeat(Some(!heartbeat.is_empty()));
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "leases::holder", "--nocapture"])
        .env(CHILD, format!("{}{heartbeat}", place.root().display()))
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let ready = place.root().join("ready");
    while !ready.exists() {
        assert!(child.try_wait().expect("ours").is_none(), "the child ended early");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(store.lease(key("killed")).expect("a lock").is_none());
    let holder = store.lease_holder(key("killed")).expect("held");
    assert!(holder.starts_with(&format!("process {}", child.id())), "{holder}");
    child.kill().expect("ours");
    child.wait().expect("ours");
    let mut said = String::new();
    let _ = child.stdout.take().map(|mut out| out.read_to_string(&mut said));
    assert!(store.lease(key("killed")).expect("a lock").is_some(), "{said}");
    assert_eq!(store.stats().expect("a store").tmp, 1);
}

fn beating(place: &TestStore) -> Store {
    place.store().with_heartbeat(Some(true))
}

#[test]
fn a_lease_of_another_machine_is_held_until_it_falls_silent() {
    let place = TestStore::new();
    let (store, other) = (beating(&place), beating(&place));
    let held = store.lease(key("a")).expect("a lease").expect("free");
    assert!(other.lease(key("a")).expect("a lease").is_none());
    assert!(other.is_leased(key("a")) && !other.is_leased(key("b")));
    let holder = other.lease_holder(key("a")).expect("held");
    assert_eq!(holder.lines().count(), 1, "{holder}");
    drop(held);
    assert_eq!(store.lease_holder(key("a")), None);

    // No lock of this one reaches us.
    let path = place.root().join(format!("leases/{}", key("a")));
    fs::write(&path, "process 1 on elsewhere\nelsewhere/boot 0\n").expect("written");
    let silent_for = |seconds| {
        let file = fs::File::options().write(true).open(&path).expect("there");
        let now = file.metadata().and_then(|about| about.modified()).expect("a date");
        file.set_modified(now - Duration::from_secs(seconds)).expect("dated");
    };
    assert!(store.lease(key("a")).expect("a lease").is_none());
    assert_eq!(store.lease_holder(key("a")).as_deref(), Some("process 1 on elsewhere"));
    silent_for(60);
    assert!(store.lease(key("a")).expect("a lease").is_none() && store.is_leased(key("a")));
    silent_for(40);
    assert!(!store.is_leased(key("a")));
    let held = store.lease(key("a")).expect("a lease").expect("its holder is dead");
    assert!(other.lease(key("a")).expect("a lease").is_none());
    // Somebody who thinks us dead takes it; it is not ours to give back any more.
    fs::write(&path, "process 1 on elsewhere\nelsewhere/boot 1\n").expect("written");
    drop(held);
    assert!(path.exists());
    // One that is just being made says nothing yet.
    fs::write(&path, "").expect("written");
    assert!(store.lease(key("a")).expect("a lease").is_none());
}
