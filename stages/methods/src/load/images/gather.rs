//! Images out of other files, decoded shard by shard into memory.

use super::{
    super::{
        Loaded, aside, columns, file_list,
        labels::{self, FileLabels, refused},
    },
    decode::{ImageError, ImageShape, decode_bytes},
    meta,
    shards::Shards,
    write::Damaged,
};
use crate::MethodError;
use artifacts::{
    columns::SampleColumns,
    dataset::{Inputs, Split},
    formats::ArrayError,
    parts::Parts,
};
use engine::{StageCtx, StageError, StageProgress};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// An image in a shard.
pub(super) struct Embedded {
    /// What it is called in messages: the shard, and what it is in it.
    pub(super) place: PathBuf,
    pub(super) bytes: Vec<u8>,
    /// Its label as it is written, or the name of its class.
    pub(super) label: String,
    /// What its owner calls it.
    pub(super) id: Option<String>,
}

/// The images of a split so far.
#[derive(Default)]
struct GatheredImages {
    pixels: Vec<u8>,
    labels: Vec<String>,
    ids: Vec<Option<String>>,
}

/// Reads all shards by `read`, which is given their paths; `names` of the classes are those that the files know.
/// Stores the data set.
pub(super) fn put(
    ctx: &StageCtx<'_>,
    settings: &Shards,
    names: Option<Vec<String>>,
    read: impl Fn(&Path) -> Result<Vec<Embedded>, StageError>,
) -> Result<Parts, StageError> {
    let shape = settings.shape();
    let total = ctx.folders().iter().map(|one| one.files.len()).sum::<usize>() as u64;
    let (mut splits, mut bad) = ([GatheredImages::default(), GatheredImages::default()], vec![]);
    let (mut done, mut all) = (0, 0);
    for folder in ctx.folders() {
        let into = &mut splits[usize::from(folder.role != "train")];
        for file in &folder.files {
            ctx.check_cancelled()?;
            let images = read(&folder.path.join(file))?;
            all += images.len();
            add(into, images, shape, &mut bad);
            done += 1;
            ctx.progress(StageProgress::new(done, total, "file"));
        }
    }
    if !bad.is_empty() {
        for (path, why) in &bad {
            ctx.log(format!("`{}` {why}", path.display()));
        }
        if settings.damaged == Damaged::Refuse {
            return Err(MethodError::DamagedImages { damaged: bad, all }.into());
        }
        ctx.log(format!("{} damaged of {all} images left out", bad.len()));
    }
    if splits[0].labels.is_empty() {
        return Err(MethodError::NoWholeImage.into());
    }
    for folder in ctx.folders() {
        let paths: Vec<&Path> = folder.files.iter().map(Path::new).collect();
        file_list::missing_part(&paths).into_iter().for_each(|note| ctx.log(note));
    }
    finish(ctx, settings, names, splits)
}

/// Decodes the images of a shard and adds them; the damaged ones are added to `bad`.
fn add(
    into: &mut GatheredImages,
    images: Vec<Embedded>,
    shape: ImageShape,
    bad: &mut Vec<(PathBuf, ImageError)>,
) {
    let decoded: Vec<_> =
        images.par_iter().map(|image| decode_bytes(&image.bytes, shape)).collect();
    for (image, decoded) in images.into_iter().zip(decoded) {
        match decoded {
            Ok(pixels) => {
                into.pixels.extend(pixels);
                into.labels.push(image.label);
                into.ids.push(image.id);
            }
            Err(why) => bad.push((image.place, why)),
        }
    }
}

/// Makes a data set of both splits and stores it.
fn finish(
    ctx: &StageCtx<'_>,
    settings: &Shards,
    names: Option<Vec<String>>,
    [mut train, mut test]: [GatheredImages; 2],
) -> Result<Parts, StageError> {
    let shape = settings.shape();
    let given = settings.classes.clone().or(names);
    let path = |role: &str| {
        let folder = ctx.folders().iter().find(|one| one.role == role);
        folder.or(ctx.folders().first()).map(|one| one.path.as_path()).ok_or(MethodError::NoInput)
    };
    let [given_train, given_test] = [&mut train.labels, &mut test.labels].map(std::mem::take);
    let written = FileLabels::both(given_train, given_test);
    let (classes, labels) = labels::classes(given.as_deref(), [&written[0], &written[1]], &path)?;
    let [mut train_labels, mut test_labels] = labels;
    let mut ids = ids(settings, std::mem::take(&mut train.ids), path("train")?)?;
    if let Some(share) = settings.test_fraction {
        let mut kept: Vec<usize> = (0..train_labels.len()).collect();
        let label = |at: &usize| train_labels[*at];
        let aside = aside::split(&mut kept, label, share, ctx.streams());
        test.pixels = taken(&train.pixels, &aside, shape.each());
        test_labels = aside.iter().map(|at| train_labels[*at]).collect();
        train.pixels = taken(&train.pixels, &kept, shape.each());
        train_labels = kept.iter().map(|at| train_labels[*at]).collect();
        ids = ids.map(|ids| kept.iter().map(|at| ids[*at].clone()).collect());
    }
    let mut meta = meta(&settings.name, classes, shape, None);
    (meta.train, meta.test) = (train_labels.len(), test_labels.len());
    let split =
        |one: GatheredImages, labels| Split { inputs: Inputs::Images(one.pixels.into()), labels };
    let loaded = Loaded::new(meta, split(train, train_labels), split(test, test_labels));
    let columns = SampleColumns { ids, ..SampleColumns::default() };
    Loaded { columns, ..loaded.with_moments() }.put(ctx)
}

/// Returns the ids of the training images, if each has one of its own. Those that were asked for have to differ.
fn ids(
    settings: &Shards,
    found: Vec<Option<String>>,
    path: &Path,
) -> Result<Option<Vec<String>>, StageError> {
    let Some(ids) = found.into_iter().collect::<Option<Vec<String>>>() else { return Ok(None) };
    match columns::repeated(&ids) {
        None => Ok(Some(ids)),
        Some((first, second)) if settings.ids.is_some() => {
            let id = ids[second].clone();
            Err(refused(path, ArrayError::IdTwice { id, first, second }))
        }
        Some(_) => Ok(None),
    }
}

fn taken(pixels: &[u8], places: &[usize], each: usize) -> Vec<u8> {
    let images = places.iter().flat_map(|at| &pixels[at * each..(at + 1) * each]);
    images.copied().collect()
}
