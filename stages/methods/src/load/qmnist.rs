//! `load.qmnist`: MNIST with its 60,000 test digits rebuilt.

use super::{
    FileError, Loaded,
    file::{self, Source, broken},
    idx, idx_file, names,
    published::{Published, PublishedSet, WantedFile},
};
use artifacts::{
    ClassId,
    dataset::{DatasetMeta, Inputs, Split},
};
use engine::{InputFile, StageError};
use std::path::Path;

/// QMNIST.
pub(super) struct Qmnist;

impl PublishedSet for Qmnist {
    const SUMMARY: &'static str = "QMNIST: 60,000 + 60,000 handwritten digits of 28x28";
    const MANUAL: &'static str = "\
QMNIST (Yadav and Bottou, arXiv:1905.10498): MNIST rebuilt from its source, with all 60,000 test \
digits, of which MNIST kept the first 10,000. From its four files, `qmnist-train-images-idx3-ubyte` \
and so on, each as it is or as `.gz`; of the extended labels the first column is read, the class. \
Searched in `data/qmnist`, `data/QMNIST` and `data/QMNIST/raw` below the current directory, or only \
in `dir` (and `raw`, `QMNIST/raw` below it) if that is given.

`test-limit = 10_000` tests on MNIST's own test digits. Normalised with mean .1307, standard deviation \
.3081, which are MNIST's.";
    const SET: Published = Published {
        method: "load.qmnist",
        title: "QMNIST",
        places: &["data/qmnist", "data/QMNIST", "data/QMNIST/raw"],
        nested: &["", "raw", "QMNIST/raw"],
        files: &[
            WantedFile {
                role: "train-images",
                names: &["qmnist-train-images-idx3-ubyte.gz", "qmnist-train-images-idx3-ubyte"],
            },
            WantedFile {
                role: "train-labels",
                names: &["qmnist-train-labels-idx2-int.gz", "qmnist-train-labels-idx2-int"],
            },
            WantedFile {
                role: "test-images",
                names: &["qmnist-test-images-idx3-ubyte.gz", "qmnist-test-images-idx3-ubyte"],
            },
            WantedFile {
                role: "test-labels",
                names: &["qmnist-test-labels-idx2-int.gz", "qmnist-test-labels-idx2-int"],
            },
        ],
        archives: &[],
        hint: "download QMNIST's four files (`qmnist-train-images-idx3-ubyte.gz`, \
               `qmnist-train-labels-idx2-int.gz`, `qmnist-test-images-idx3-ubyte.gz`, \
               `qmnist-test-labels-idx2-int.gz`) from github.com/facebookresearch/qmnist into \
               `data/qmnist`, or say with `dir` where they are",
        read: |files| {
            let (train, test) = (split(files, "train")?, split(files, "test")?);
            let meta = DatasetMeta {
                name: "qmnist".to_owned(),
                classes: names::owned(&idx::DIGITS),
                sample: vec![1, 28, 28],
                train: train.labels.len(),
                test: test.labels.len(),
                mean: vec![0.1307],
                std: vec![0.3081],
                space: None,
            };
            Ok(Loaded::new(meta, train, test))
        },
    };
}

/// How a file of extended labels begins.
const MAGIC: [u8; 4] = [0, 0, 0x0c, 2];
/// Columns of the labels: class, series, writer, and five more.
const COLUMNS: u32 = 8;

fn split(files: &[InputFile], which: &str) -> Result<Split, StageError> {
    let path = file::path(files, &format!("{which}-images"))?;
    let (shape, images) = idx_file::array(path, &[3], "pixels")?;
    if shape[1..] != [28, 28] {
        let (found, wanted) = (shape[1..].to_vec(), "[28, 28]");
        return Err(broken(path, FileError::ImageShape { found, wanted }));
    }
    let labels_path = file::path(files, &format!("{which}-labels"))?;
    let labels = labels(labels_path)?;
    if labels.len() != shape[0] {
        let (labels, images, n) = (labels.len(), path.to_owned(), shape[0]);
        return Err(broken(labels_path, FileError::LabelCount { labels, images, n }));
    }
    Ok(Split { inputs: Inputs::Images(images.into()), labels })
}

/// Reads the extended labels, big-endian whole numbers of 32 bits: the first of each row.
fn labels(path: &Path) -> Result<Vec<ClassId>, StageError> {
    let mut source = Source::open(path)?;
    let magic: [u8; 4] = source.header()?;
    if magic != MAGIC {
        let (what, found) = ("extended labels", magic.to_vec());
        return Err(broken(path, FileError::Magic { what, wanted: &MAGIC, found }));
    }
    let (n, columns) = (u32::from_be_bytes(source.header()?), u32::from_be_bytes(source.header()?));
    if n == 0 || columns != COLUMNS {
        return Err(broken(path, FileError::Columns { rows: n, columns, wanted: COLUMNS }));
    }
    let rows = source.body(u64::from(n) * u64::from(COLUMNS) * 4, "labels")?;
    source.end()?;
    let rows = rows.chunks_exact(COLUMNS as usize * 4).enumerate();
    let labels = rows.map(|(at, row)| match i32::from_be_bytes([row[0], row[1], row[2], row[3]]) {
        label @ 0..10 => Ok(ClassId::from(label as u32)),
        label => {
            let label = label.into();
            Err(broken(path, FileError::Label { sample: at, label, first: 0, last: 9 }))
        }
    });
    labels.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::file::Scratch;

    fn labels_file(columns: u32, labels: &[i32]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0x0c, 2];
        bytes.extend((labels.len() as u32).to_be_bytes());
        bytes.extend(columns.to_be_bytes());
        for label in labels {
            bytes.extend(label.to_be_bytes());
            (1..columns).for_each(|column| bytes.extend((1000 + column).to_be_bytes()));
        }
        bytes
    }

    fn images_file(n: u32) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, 3];
        [n, 28, 28].iter().for_each(|one| bytes.extend(one.to_be_bytes()));
        bytes.extend((0..n * 784).map(|at| (at / 784) as u8));
        bytes
    }

    #[test]
    fn the_class_is_the_first_column() {
        let scratch = Scratch::new("qmnist");
        for (which, labels) in [("train", &[7, 0, 9][..]), ("test", &[3])] {
            let images = images_file(labels.len() as u32);
            scratch.write(&format!("qmnist-{which}-images-idx3-ubyte"), &images);
            let labels = labels_file(8, labels);
            scratch.write(&format!("qmnist-{which}-labels-idx2-int"), &labels);
        }
        let files = Qmnist::SET.find(Some(scratch.path())).expect("all four are there");
        let loaded = (Qmnist::SET.read)(&files).expect("they are whole");
        assert_eq!(loaded.train.labels, ClassId::list([7, 0, 9]));
        assert_eq!(loaded.test.labels, ClassId::list([3]));
        let Inputs::Images(images) = loaded.train.inputs else { panic!("digits are images") };
        assert_eq!((images.len(), images[783], images[784]), (3 * 784, 0, 1));
    }

    #[test]
    fn damaged_labels_are_named() {
        let scratch = Scratch::new("qmnist-damaged");
        let whole = labels_file(8, &[1, 2]);
        for (bytes, want) in [
            (labels_file(8, &[1, 10]), "has label 10 for sample 1: expected 0 to 9"),
            (labels_file(8, &[-1]), "has label -1 for sample 0"),
            (labels_file(7, &[1]), "claims the dimensions [1, 7]: expected 8 columns"),
            (whole[..whole.len() - 1].to_vec(), "ends after 63 of 64 bytes of labels"),
            ([&whole[..], &[0]].concat(), "goes on after its last sample"),
            (images_file(1), "expected 00 00 0c 02, found 00 00 08 03"),
        ] {
            let path = scratch.write("labels", &bytes);
            let found = labels(&path).expect_err("it is damaged").to_string();
            assert!(found.contains(want), "{found}");
        }
    }
}
