//! Decoding images into the store: in parallel, in order, and never all in memory.

use super::{
    super::{Levels, told},
    decode::{self, ImageError, ImageShape},
    scan,
};
use crate::MethodError;
use artifacts::{
    ClassId,
    columns::{COLUMNS, SampleColumns},
    dataset::{self, DatasetMeta},
    parts::{self, Parts},
};
use cache::Blob;
use engine::{StageCtx, StageError, StageProgress};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    io::Write as _,
    path::{Path, PathBuf},
};

/// What is decoded before it is written, in bytes.
const AT_ONCE: usize = 32 << 20;

/// What becomes of a damaged image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Damaged {
    /// It is an error; all damaged images are found first.
    #[default]
    Refuse,
    /// It is left out, and the log says so.
    Skip,
}

/// An image and its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Picture<'a> {
    pub(super) folder: &'a Path,
    /// Relative to the folder.
    pub(super) file: &'a str,
    pub(super) label: ClassId,
}

impl Picture<'_> {
    fn path(&self) -> PathBuf {
        self.folder.join(self.file)
    }
}

/// The images of both splits, in their order.
pub(super) struct Pictures<'a> {
    pub(super) train: Vec<Picture<'a>>,
    pub(super) test: Vec<Picture<'a>>,
    /// Whether a file's name tells one image from another only within its class.
    pub(super) named_by_class: bool,
}

impl Pictures<'_> {
    /// Returns the id of each training image: its file, `cat/0001.jpg`. `None` if one stands there twice.
    fn ids(&self, classes: &[String]) -> Option<Vec<String>> {
        let id = |one: &Picture<'_>| match classes.get(one.label.index()) {
            Some(class) if self.named_by_class => format!("{class}/{}", one.file),
            _ => one.file.to_owned(),
        };
        let ids: Vec<String> = self.train.iter().map(id).collect();
        let mut seen = BTreeSet::new();
        ids.iter().all(|id| seen.insert(id.as_str())).then_some(ids)
    }
}

/// What was written, and the grey levels of the training images.
struct Written {
    images: Blob,
    levels: Levels,
}

/// Stores a data set. Mean and deviation are measured unless `meta` has them; the counts in it
/// are filled in.
///
/// # Errors
///
/// Fails if an image cannot be read, is damaged and not to be left out, or the store fails.
pub(super) fn put(
    ctx: &StageCtx<'_>,
    mut meta: DatasetMeta,
    mut pictures: Pictures<'_>,
    shape: ImageShape,
    damaged: Damaged,
) -> Result<Parts, StageError> {
    let written = loop {
        let bad = match write(ctx, &pictures, shape)? {
            Ok(written) => break written,
            Err(bad) => bad,
        };
        let all = pictures.train.len() + pictures.test.len();
        for (path, why) in &bad {
            ctx.log(format!("`{}` {why}", path.display()));
        }
        if damaged == Damaged::Refuse {
            return Err(MethodError::DamagedImages { damaged: bad, all }.into());
        }
        ctx.log(format!("{} damaged of {all} images left out", bad.len()));
        // The header says how many there are, so it is written anew.
        let bad: BTreeSet<PathBuf> = bad.into_iter().map(|(path, _)| path).collect();
        for split in [&mut pictures.train, &mut pictures.test] {
            split.retain(|one| !bad.contains(&one.path()));
        }
        if pictures.train.is_empty() {
            return Err(MethodError::NoWholeImage.into());
        }
    };
    (meta.train, meta.test) = (pictures.train.len(), pictures.test.len());
    if meta.mean.is_empty() {
        (meta.mean, meta.std) = written.levels.moments();
    }
    let labels = |split: &[Picture<'_>]| split.iter().map(|one| one.label).collect::<Vec<_>>();
    let (train, test) = (labels(&pictures.train), labels(&pictures.test));
    // What cannot be searched any more was read all the same.
    let passed = scan::passed_over(ctx.folders()).unwrap_or_default();
    let columns = SampleColumns { ids: pictures.ids(&meta.classes), ..SampleColumns::default() };
    let told = passed.lines().into_iter().chain(told::lines(&meta, &train, &test));
    for line in told.chain(told::columns(&columns)) {
        ctx.log(line);
    }
    let labels = dataset::put_labels(ctx, &train, &test)?;
    let meta = parts::put_json(ctx, &meta)?;
    let parts = [("images", written.images), ("labels", labels), ("meta", meta)];
    let mut parts: Parts = parts.map(|(name, blob)| (name.to_owned(), blob)).into();
    if !columns.is_empty() {
        parts.insert(COLUMNS.to_owned(), columns.put(ctx)?);
    }
    Ok(parts)
}

/// Writes all images, or returns those that are damaged and why.
fn write(
    ctx: &StageCtx<'_>,
    pictures: &Pictures<'_>,
    shape: ImageShape,
) -> Result<Result<Written, Vec<(PathBuf, ImageError)>>, StageError> {
    let each = shape.each();
    let counts = [("test", pictures.test.len()), ("train", pictures.train.len())];
    let sizes = counts.map(|(name, n)| (name, vec![n, shape.channels, shape.size, shape.size]));
    let mut writer = Some(ctx.writer()?);
    let send = |bytes: &[u8], writer: &mut Option<cache::ObjectWriter<'_>>| {
        let Some(writer) = writer else { return Ok(()) };
        writer.write_all(bytes).map_err(MethodError::ImagesUnwritten)
    };
    send(&parts::header_of_bytes(&sizes)?, &mut writer)?;
    let mut levels = Levels::new(shape.channels);
    let (mut bad, mut done) = (vec![], 0);
    let total = (pictures.train.len() + pictures.test.len()) as u64;
    let at_once = (AT_ONCE / each).clamp(4 * rayon::current_num_threads(), 4096);
    for (split, is_train) in [(&pictures.test, false), (&pictures.train, true)] {
        for chunk in split.chunks(at_once) {
            ctx.check_cancelled()?;
            let decoded: Vec<_> =
                chunk.par_iter().map(|one| decode::decode(&one.path(), shape)).collect();
            for (one, image) in chunk.iter().zip(decoded) {
                match image? {
                    Ok(image) if bad.is_empty() => {
                        if is_train {
                            levels.add(&image);
                        }
                        send(&image, &mut writer)?;
                    }
                    // From here on it is only looked for others.
                    Ok(_) => {}
                    Err(why) => {
                        bad.push((one.path(), why));
                        writer = None;
                    }
                }
            }
            done += chunk.len() as u64;
            ctx.progress(StageProgress::new(done, total, "image"));
        }
    }
    match writer {
        Some(writer) => Ok(Ok(Written { images: writer.finish()?, levels })),
        None => Ok(Err(bad)),
    }
}
