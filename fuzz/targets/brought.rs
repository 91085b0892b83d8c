//! What users bring: arrays, images, lists of numbers. Whatever a file holds, it is read or refused,
//! and no more memory is asked for than its bytes can fill.
//!
//! The first byte of an input says what its file is.
#![no_main]

use artifacts::formats::{
    DataFile, Values,
    column::{self, Column},
};
use libfuzzer_sys::fuzz_target;
use methods::load::readers;
use std::{
    fs, panic,
    path::{Path, PathBuf},
    sync::LazyLock,
};

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let above =
        if Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() };
    let folder = above.join(format!("coresift-fuzz-brought-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("it can be made");
    folder
});

const LISTS: [&str; 4] = ["json", "csv", "txt", "npy"];

fn list(end: &str, body: &[u8]) {
    let path = FOLDER.join(format!("list.{end}"));
    fs::write(&path, body).expect("it can be written");
    for column in [Column::Scores, Column::Weights] {
        if let Ok(values) = column::floats(&path, column) {
            assert!(values.iter().all(|value| value.is_finite()));
        }
    }
    let weights = column::has(&path, Column::Weights);
    let weights = weights.then(|| column::floats(&path, Column::Weights).ok()).flatten();
    if let Ok(found) = column::indices(&path)
        && let Ok(picked) = column::picked(&found, weights.as_deref(), 1000)
    {
        assert!(picked.samples().iter().all(|sample| sample.index() < 1000));
    }
}

/// Lets a decoder of others panic, as `decode` does: it is told as a damaged image.
fn image(path: &Path) {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    readers::image(path).expect("the file can be read");
    panic::set_hook(hook);
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else { return };
    match kind & 7 {
        0..=2 => list(LISTS[usize::from(kind & 7)], body),
        3 => {
            if let Ok(file) = DataFile::new(Path::new("brought"), body.to_vec()) {
                for name in file.names().unwrap_or_default() {
                    if let Ok(Values::Numbers(found)) = file.get(&name) {
                        let elements: usize = found.shape.iter().product();
                        assert_eq!(found.len(), elements);
                        let _ = (found.embeddings(), found.labels(10), found.whole_numbers());
                    }
                }
                let _ = file.order(10);
            }
            list("npy", body);
        }
        4 | 5 => {
            let path = FOLDER.join("image");
            fs::write(&path, body).expect("it can be written");
            image(&path);
        }
        6 => {
            let path = FOLDER.join("array.mat");
            fs::write(&path, body).expect("it can be written");
            let _ = readers::matlab(&path);
        }
        _ => {
            let path = FOLDER.join("array-idx");
            fs::write(&path, body).expect("it can be written");
            let _ = readers::idx(&path);
        }
    }
});
