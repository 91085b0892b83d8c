//! Data sets that are folders of image files: `load.folder`, `load.imagenet`, `load.images-table`,
//! `load.tiny-imagenet`; and of images inside other files: `load.parquet-images`, `load.webdataset`.
//!
//! Images are decoded once, into one tensor in the store.

pub(super) mod folder;
pub(super) mod imagenet;
pub(super) mod parquet;
pub(super) mod table;
pub(super) mod tiny;
pub(super) mod webdataset;

mod content;
mod decode;
mod devkit;
mod gather;
mod jpeg;
mod passed;
mod png;
mod rows;
mod scan;
mod shards;
mod splits;
mod tiff;
mod write;

use super::FolderError;
use crate::MethodError;
use artifacts::{ClassId, dataset::DatasetMeta, units::Count};
pub use decode::ImageError;
use decode::{ImageShape, Resize};
use engine::{InputFolder, Problem, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use thiserror::Error;
use write::{Damaged, Picture};

/// Settings of the data sets of images whose place is known.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
#[schemars(inline)]
pub(super) struct ImageFolderSettings {
    /// The folder the data set lies in, relative to the current directory. Without it, the usual
    /// places are searched. Not part of the key: the files' names and bytes are.
    // Skipped on the way out: what is written is what is keyed.
    #[serde(skip_serializing)]
    dir: Option<PathBuf>,
    /// Height and width of the images kept. Default 64 for `load.tiny-imagenet`, which is the
    /// size of its files, and 224 for `load.imagenet`.
    size: Option<Count>,
    /// `crop` brings the shorter side to size and keeps the middle of the longer one; `stretch`
    /// brings both sides to size.
    resize: Resize,
    /// 3 for colour, 1 for grey.
    channels: Channels,
    /// What becomes of a damaged image: `refuse` is an error that names them all, `skip` leaves
    /// them out and logs them.
    damaged: Damaged,
    /// Keep only the first so many training images of each class, in the order of their names.
    train_per_class: Option<Count>,
    /// Keep only the first so many test images of each class, in the order of their names.
    test_per_class: Option<Count>,
}

/// How many channels an image has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u64", into = "u64")]
#[schemars(with = "u64", extend("enum" = [1, 3]))]
struct Channels(usize);

impl Default for Channels {
    fn default() -> Self {
        Self(3)
    }
}

/// An image is neither grey nor in colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected 1 or 3 channels, found {0}")]
struct WrongChannels(u64);

impl TryFrom<u64> for Channels {
    type Error = WrongChannels;

    fn try_from(found: u64) -> Result<Self, WrongChannels> {
        match found {
            1 | 3 => Ok(Self(found as usize)),
            _ => Err(WrongChannels(found)),
        }
    }
}

impl From<Channels> for u64 {
    fn from(channels: Channels) -> Self {
        channels.0 as Self
    }
}

/// The most a side may have.
const LARGEST: usize = 4096;

fn too_large(size: Option<Count>) -> Vec<Problem> {
    let Some(size) = size.filter(|size| size.get() > LARGEST) else { return vec![] };
    let message = format!("images of {0}x{0} pixels are too large", size.get());
    let hint = Some(format!("a side has at most {LARGEST}"));
    vec![Problem { setting: "size".to_owned(), message, hint }]
}

impl ImageFolderSettings {
    fn shape(&self, usual: usize) -> ImageShape {
        let size = self.size.map_or(usual, Count::get);
        ImageShape { size, resize: self.resize, channels: self.channels.0 }
    }

    /// Fills in the default that depends on the data set.
    fn resolved(&self, usual: u64) -> Self {
        let usual = Count::try_from(usual).expect("it is above 0");
        Self { size: self.size.or(Some(usual)), ..self.clone() }
    }
}

/// Returns what is known of a data set before its images are read. Mean and deviation are those
/// `published`, unless the images are to be grey.
fn meta(
    name: &str,
    classes: Vec<String>,
    shape: ImageShape,
    published: Option<([f32; 3], [f32; 3])>,
) -> DatasetMeta {
    let moments = published.filter(|_| shape.channels == 3);
    let (mean, std) = moments.map_or((vec![], vec![]), |(mean, std)| (mean.into(), std.into()));
    let sample = vec![shape.channels, shape.size, shape.size];
    DatasetMeta {
        name: name.to_owned(),
        classes,
        sample,
        train: 0,
        test: 0,
        mean,
        std,
        space: None,
    }
}

/// Returns the names of the folders with this role, in their order: the classes.
fn names(folders: &[InputFolder], role: &str) -> Vec<String> {
    folders.iter().filter(|one| one.role == role).map(|one| one.name.clone()).collect()
}

/// Returns every image in the folders with this role, labelled with the position of its folder's
/// name among `classes`, which are sorted.
fn labelled<'a>(
    folders: &'a [InputFolder],
    role: &str,
    classes: &[String],
) -> Result<Vec<Picture<'a>>, StageError> {
    let mut pictures = vec![];
    for folder in folders.iter().filter(|one| one.role == role) {
        let label = classes.binary_search(&folder.name).map_err(|_| MethodError::Folder {
            path: folder.path.clone(),
            error: FolderError::Untrained,
        })?;
        pictures.extend(folder.files.iter().map(|file| Picture {
            folder: &folder.path,
            file,
            label: ClassId::at(label),
        }));
    }
    Ok(pictures)
}

/// Checks that every class that is tested is trained on.
fn known(train: &[InputFolder], test: &[InputFolder], hint: &str) -> Result<(), Problem> {
    let strange = test.iter().find(|one| train.iter().all(|other| other.name != one.name));
    strange.map_or(Ok(()), |one| {
        let error = MethodError::Folder { path: one.path.clone(), error: FolderError::Untrained };
        Err(scan::problem(error.to_string(), hint))
    })
}

/// Keeps the first `most` images of each label.
fn limit(pictures: &mut Vec<Picture<'_>>, most: Option<Count>, classes: usize) {
    let Some(most) = most else { return };
    let mut seen = vec![0; classes];
    pictures.retain(|one| {
        let seen = &mut seen[one.label.index()];
        *seen += 1;
        *seen <= most.get()
    });
}

/// Decodes an image to 8x8 pixels, in colour and in grey: see [`super::readers::image`].
pub(super) fn read_small(path: &Path) -> Result<(), StageError> {
    for (channels, resize) in [(3, decode::Resize::Crop), (1, decode::Resize::Stretch)] {
        let shape = decode::ImageShape { size: 8, resize, channels };
        if let Ok(pixels) = decode::decode(path, shape)? {
            assert_eq!(pixels.len(), shape.each());
        }
    }
    Ok(())
}
