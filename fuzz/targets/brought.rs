//! What users bring: arrays, images, lists of numbers. Whatever a file holds, it is read or refused,
//! and no more memory is asked for than its bytes can fill.
//!
//! The first byte of an input says what its file is. The readers are private to `stages` and come
//! with a tensor library there, so they stand here as the sources they are.
#![no_main]
#![allow(dead_code, reason = "the stages use more of the readers than is read here")]

#[path = "../../stages/src/artifact.rs"]
mod artifact;
#[path = "../../stages/src/brought.rs"]
mod brought;
#[path = "../../stages/src/data.rs"]
mod data;
#[path = "../../stages/src/pixels.rs"]
mod pixels;
#[path = "../../stages/src/units.rs"]
mod units;

// The files of this module stand where those of the target do.
#[path = "."]
mod load {
    #[path = "../../stages/src/load/features.rs"]
    mod features;
    #[path = "../../stages/src/load/file.rs"]
    mod file;
    #[path = "../../stages/src/load/idx.rs"]
    mod idx;
    #[path = "../../stages/src/load/mat.rs"]
    mod mat;
    #[path = "../../stages/src/load/names.rs"]
    mod names;
    #[path = "../../stages/src/load/npy.rs"]
    mod npy;
    #[path = "../../stages/src/load/published.rs"]
    mod published;

    #[path = "."]
    mod images {
        #[path = "../../stages/src/load/images/decode.rs"]
        mod decode;

        use std::path::Path;

        /// Decodes an image to each shape.
        pub(crate) fn read(path: &Path) {
            for (channels, resize) in [(3, decode::Resize::Crop), (1, decode::Resize::Stretch)] {
                let shape = decode::Shape { size: 8, resize, channels };
                if let Ok(pixels) = decode::decode(path, shape).expect("the file can be read") {
                    assert_eq!(pixels.len(), shape.each());
                }
            }
        }
    }

    use crate::{
        artifact::Parts,
        data::{self, Meta, Split},
        units::Count,
    };
    use engine::{StageCtx, StageError};
    pub(crate) use features::{Array, array};
    pub(crate) use images::read as image;
    use std::path::Path;

    /// What the readers of whole data sets return.
    pub(crate) struct Loaded {
        meta: Meta,
        train: Split,
        test: Split,
    }

    impl Loaded {
        pub(crate) fn new(meta: Meta, train: Split, test: Split) -> Self {
            Self { meta, train, test }
        }

        fn limit(&mut self, _: Option<Count>, _: Option<Count>) {}

        pub(crate) fn with_moments(self) -> Self {
            self
        }

        pub(crate) fn put(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
            data::put(ctx, &self.meta, &self.train, &self.test)
        }
    }

    /// Reads a MATLAB file.
    pub(crate) fn matlab(path: &Path) {
        for array in mat::read(path).into_iter().flatten().map(|(_, array)| array) {
            let found = match array.values {
                mat::Values::Bytes(values) => values.len(),
                mat::Values::Numbers(values) => values.len(),
            };
            assert_eq!(found, array.dims.iter().product::<usize>());
        }
    }

    /// Reads an IDX file.
    pub(crate) fn idx(path: &Path) {
        if let Ok((dims, bytes)) = idx::array(path, &[1, 2, 3, 4], "bytes") {
            assert_eq!(bytes.len(), dims.iter().product::<usize>());
        }
    }
}

use brought::Column;
use libfuzzer_sys::fuzz_target;
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
        if let Ok(values) = brought::floats(&path, column) {
            assert!(values.iter().all(|value| value.is_finite()));
        }
    }
    let weights = brought::has(&path, Column::Weights);
    let weights = weights.then(|| brought::floats(&path, Column::Weights).ok()).flatten();
    if let Ok(found) = brought::indices(&path)
        && let Ok(picked) = brought::picked(&found, weights.as_deref(), 1000)
    {
        assert!(picked.iter().all(|(index, _)| *index < 1000));
    }
}

/// Lets a decoder of others panic, as `decode` does: it is told as a damaged image.
fn image(path: &Path) {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    load::image(path);
    panic::set_hook(hook);
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else { return };
    match kind & 7 {
        0..=2 => list(LISTS[usize::from(kind & 7)], body),
        3 => {
            for name in ["scores", "embeddings", "labels"] {
                if let Ok(array) = load::array(body, name) {
                    let elements: usize = array.shape.iter().product();
                    assert!(array.data.len() >= elements);
                    assert!(array.floats().is_some() || array.wholes().is_some());
                    let _ = (array.embeddings(), array.labels(10));
                }
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
            load::matlab(&path);
        }
        _ => {
            let path = FOLDER.join("array-idx");
            fs::write(&path, body).expect("it can be written");
            load::idx(&path);
        }
    }
});
