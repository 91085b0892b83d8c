//! Files of a store that somebody else wrote: damage is told, never believed and never fatal.
//!
//! The first byte of an input says which file is replaced, and whether its check is made right.
#![no_main]

use cache::{Digest, Key, Lookup, Record, Store, Verify};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize as _;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    let above =
        if Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() };
    let root = above.join(format!("coresift-fuzz-store-{}", std::process::id()));
    fs::remove_dir_all(&root).ok();
    Store::open(&root).expect("it can be created");
    fs::write(root.join("outside"), b"a file outside").expect("it can be written");
    root
});
static STORE: LazyLock<Store> = LazyLock::new(|| Store::open(&*ROOT).expect("it is there"));

fn key(byte: u8) -> Key {
    let text = format!("\"{}\"", format!("{byte:02x}").repeat(32));
    serde_json::from_str(&text).expect("64 digits are a key")
}

/// Returns `body` with the check the store would give it.
fn sealed(label: &str, body: &[u8]) -> Vec<u8> {
    let check = blake3::hash(body).to_hex();
    [format!("{{\"check\":\"{check}\",\"{label}\":").as_bytes(), body, b"}\n"].concat()
}

fn place(relative: &str, bytes: &[u8]) -> PathBuf {
    let path = ROOT.join(relative);
    fs::create_dir_all(path.parent().expect("it is below the root")).expect("it can be made");
    fs::write(&path, bytes).expect("it can be written");
    path
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else { return };
    let right = kind & 8 != 0;
    let file = |label: &str| if right { sealed(label, body) } else { body.to_vec() };
    match kind & 7 {
        0 | 1 => {
            // Under its own key, if it has one: else nothing past that would be reached.
            let record = serde_json::from_slice::<Record>(body).ok();
            let key = record.as_ref().filter(|_| right).map_or(key(7), |one| one.recipe.key());
            let hex = key.to_string();
            let path = place(&format!("records/{}/{}.json", &hex[..2], &hex[2..]), &file("record"));
            let seen = STORE.record(key).expect("it can be read");
            assert_eq!(seen.is_some(), right && record.is_some());
            if let Some(record) = &seen {
                let written = serde_json::to_vec(record).expect("it came from JSON");
                let again: Record = serde_json::from_slice(&written).expect("it was just written");
                assert_eq!(again.recipe.key(), key);
                assert_eq!(again.output.digest(), record.output.digest());
            }
            match STORE.lookup(key).expect("it can be read") {
                Lookup::Hit(record) => assert!(record.output.parts.is_empty(), "nothing is there"),
                Lookup::Absent => panic!("a file is there"),
                Lookup::Damaged(what) => assert!(!what.to_string().is_empty()),
            }
            fs::remove_file(path).ok();
        }
        2 | 3 => {
            let (key, step) = (key(9), 10);
            let hex = key.to_string();
            let at = format!("checkpoints/{}/{}/{step:08}.json", &hex[..2], &hex[2..]);
            let path = place(&at, &file("checkpoint"));
            for checkpoint in STORE.checkpoints(key).expect("it can be read") {
                assert_eq!(checkpoint.step, step);
                assert!(checkpoint.state.parts.is_empty(), "none of its objects is there");
            }
            fs::remove_file(path).ok();
        }
        4 | 5 => {
            let label = if kind & 1 == 0 { "files" } else { "folders" };
            place(label, &file(label));
            let store = Store::open(&*ROOT).expect("it is there");
            let (digest, size) = store.file_digest(&ROOT.join("outside")).expect("it is there");
            assert_eq!((digest, size), (Digest::of(b"a file outside"), 14));
            let names = ["outside".to_owned()];
            store.folder_digest(&ROOT, &names).expect("it is there");
            fs::remove_file(ROOT.join(label)).ok();
        }
        6 => {
            let format = fs::read(ROOT.join("format")).expect("it is there");
            place("format", body);
            let opened = Store::open_existing(&*ROOT);
            assert!(opened.is_err() || body.starts_with(b"coresift store 1"));
            fs::write(ROOT.join("format"), format).expect("it can be written");
        }
        _ => {
            // An object with other bytes than its name says.
            let hex = Digest::of(b"what should be here").to_string();
            place(&format!("objects/{}/{}", &hex[..2], &hex[2..]), body);
            let right = body == b"what should be here";
            let report = STORE.verify(Verify::All, &mut |_| {}).expect("it can be read");
            assert_eq!(report.damaged == 0, right);
            fs::remove_dir_all(ROOT.join("quarantine")).ok();
        }
    }
    let text = String::from_utf8_lossy(body);
    assert_eq!(text.parse::<Key>().is_ok(), Key::deserialize(&serde_json::json!(text)).is_ok());
    fs::remove_dir_all(ROOT.join("quarantine")).ok();
});
