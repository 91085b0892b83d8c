//! What is wrong with the files and folders of data sets, as data: clauses that follow their names.

use super::mat::MatError;
use artifacts::formats::ArrayError;
use std::{io, path::PathBuf};
use thiserror::Error;

/// What is wrong with a file of a published data set: a clause that follows its name.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// It is too short for what its header claims, whatever is packed in it.
    #[error("should hold {wanted} bytes of {what}, but has room for only {most}")]
    NoRoom {
        /// How many bytes its header claims.
        wanted: u64,
        /// What they are, such as `pixels`.
        what: String,
        /// The most that can come out of it.
        most: u64,
    },
    /// It ends too early.
    #[error("ends after {found} of {wanted} bytes of {what}")]
    Short {
        /// How many bytes there are.
        found: u64,
        /// How many there should be.
        wanted: u64,
        /// What they are, such as `pixels`.
        what: String,
    },
    /// It ends too late.
    #[error("goes on after its last sample")]
    Long,
    /// It is gzip, and broken.
    #[error("does not unpack: {0}")]
    Unpack(io::Error),
    /// It is not UTF-8.
    #[error("is not text")]
    NotText,
    /// It begins like a file of another kind.
    #[error("does not begin like {what}: expected {}, found {}", hex(wanted), hex(found))]
    Magic {
        /// What it should be.
        what: &'static str,
        /// The bytes that such a file begins with.
        wanted: &'static [u8],
        /// The bytes that it begins with.
        found: Vec<u8>,
    },
    /// It is an IDX file of elements of a type that is not read there.
    #[error("holds {found}: expected {wanted}")]
    IdxType {
        /// What its elements are.
        found: &'static str,
        /// What they should be.
        wanted: &'static str,
    },
    /// Its array has too few dimensions or too many.
    #[error("has {found} dimensions: expected {}", either(wanted))]
    Rank {
        /// How many it has.
        found: u8,
        /// How many it may have.
        wanted: Vec<u8>,
    },
    /// Its array is empty, or larger than any file.
    #[error("claims the dimensions {0:?}")]
    Dimensions(Vec<u32>),
    /// Its table is empty, or has too few columns or too many.
    #[error("claims the dimensions [{rows}, {columns}]: expected {wanted} columns")]
    Columns {
        /// How many rows it claims.
        rows: u32,
        /// How many columns.
        columns: u32,
        /// How many columns it should have.
        wanted: u32,
    },
    /// Its images are of another shape.
    #[error("has images of {found:?}: expected {wanted}")]
    ImageShape {
        /// Their shape.
        found: Vec<usize>,
        /// The shape they should have.
        wanted: &'static str,
    },
    /// Its images are of another shape than those to train on.
    #[error("has images of {found:?}, but those to train on are {train:?}")]
    SplitShape {
        /// Their shape.
        found: Vec<usize>,
        /// The shape of those to train on.
        train: Vec<usize>,
    },
    /// It has not one label for each image of another file.
    #[error("has {labels} labels, but `{}` has {n} images", images.display())]
    LabelCount {
        /// How many labels it has.
        labels: usize,
        /// The file of the images.
        images: PathBuf,
        /// How many there are.
        n: usize,
    },
    /// It has not one label for each of its images.
    #[error("has {labels} labels for {n} images")]
    OwnLabelCount {
        /// How many labels it has.
        labels: usize,
        /// How many images.
        n: usize,
    },
    /// A label is no class.
    #[error("has label {label} for sample {sample}: expected {first} to {last}")]
    Label {
        /// The position of the sample.
        sample: usize,
        /// Its label.
        label: f64,
        /// The smallest label.
        first: usize,
        /// The largest.
        last: usize,
    },
    /// It lacks an array.
    #[error("has no array `{0}`")]
    NoArray(&'static str),
    /// It is no file of arrays that is read, or not of those that are wanted.
    #[error(transparent)]
    Array(#[from] ArrayError),
    /// It is an archive that does not unpack.
    #[error("is an archive that does not unpack: {0}")]
    Archive(io::Error),
    /// It is an archive that lacks a file.
    #[error("has no file `{0}` in it")]
    NotArchived(&'static str),
    /// It is no MATLAB file that is read.
    #[error(transparent)]
    Mat(#[from] MatError),
    /// It lists a class without images.
    #[error("lists `{0}`, which has no folder in `train`")]
    ListedClass(String),
    /// It lists fewer classes than there are.
    #[error("lists {listed} classes, but `train` has {folders} folders")]
    ClassCount {
        /// How many it lists.
        listed: usize,
        /// How many folders there are.
        folders: usize,
    },
    /// A line ends before its class.
    #[error("has no class in line {0}")]
    NoClass(usize),
    /// A line has a class that is not one of the data set.
    #[error("has the unknown class `{class}` in line {line}")]
    UnknownClass {
        /// The class.
        class: String,
        /// The line, counted from 1.
        line: usize,
    },
    /// It does not label an image.
    #[error("has no line for `{0}`")]
    NoLine(String),
    /// It labels an image that is not there.
    #[error("has a line for `{0}`, which is not there")]
    StrayLine(String),
}

impl FileError {
    /// Returns what can be done about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::IdxType { wanted: "whole numbers", .. } => {
                Some("write it anew with bytes: `labels.astype(numpy.uint8)`")
            }
            Self::Rank { found: 2, .. } => Some(
                "`load.features` reads rows of numbers, from .npy for one: `idx2numpy` and `numpy.save`",
            ),
            Self::IdxType { .. } => Some(
                "write it anew with unsigned bytes: `(255 * images).astype(numpy.uint8)` of images in 0..1",
            ),
            Self::Mat(MatError::Version73) => {
                Some("in MATLAB: `save(name, 'X', 'y', '-v7')`; in Python: `scipy.io.savemat`")
            }
            // Their message says what to do.
            Self::Array(_) | Self::Mat(MatError::BigEndian) => None,
            _ => Some("the file may be damaged or only half downloaded: get it again"),
        }
    }
}

/// What is wrong with a folder of images: a clause that follows its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FolderError {
    /// Its class is tested, but not trained on.
    #[error("is a class without a folder to train on")]
    Untrained,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn either(numbers: &[u8]) -> String {
    numbers.iter().map(u8::to_string).collect::<Vec<_>>().join(" or ")
}
