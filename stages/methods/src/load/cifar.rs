//! CIFAR-10 and CIFAR-100: `load.cifar10`, `load.cifar100`.
//!
//! Of the versions they come in, MATLAB's is not read.

use super::{
    FileError, Loaded, archived,
    file::{self, Source, broken},
    names,
    published::{ARCHIVE, Published, PublishedSet, WantedFile},
};
use artifacts::{
    ClassId,
    dataset::{DatasetMeta, Inputs, Split},
    formats::{ArrayError, DataFile, Scalar, Values},
};
use engine::{InputFile, StageError};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

const PIXELS: usize = 3 * 32 * 32;

/// CIFAR-10.
pub(super) struct Cifar10;

impl PublishedSet for Cifar10 {
    const SUMMARY: &'static str = "CIFAR-10: 50,000 + 10,000 colour images of 32x32 in 10 classes";
    const MANUAL: &'static str = "\
CIFAR-10 (Krizhevsky, 2009), in the binary version (`data_batch_1.bin` to `data_batch_5.bin` and \
`test_batch.bin`) or the Python version (`data_batch_1` and so on, pickles, in which nothing is run), unpacked \
or in the archive as it is downloaded. Searched in `data/cifar10`, and in `cifar-10-batches-bin` and \
`cifar-10-batches-py` in it and in `data` below the current directory, or only in `dir` (and those folders \
below it) if that is given.

Training samples stand in the order of the files, as in other libraries, so positions can be compared. \
Normalised with mean .4914 .4822 .4465, standard deviation .2470 .2435 .2616.";
    const SET: Published = Published {
        method: "load.cifar10",
        title: "CIFAR-10",
        places: &[
            "data/cifar10",
            "data/cifar10/cifar-10-batches-bin",
            "data/cifar-10-batches-bin",
            "data/cifar10/cifar-10-batches-py",
            "data/cifar-10-batches-py",
        ],
        nested: &["", "cifar-10-batches-bin", "cifar-10-batches-py"],
        files: &TEN_FILES,
        archives: &["cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"],
        hint: "download `cifar-10-binary.tar.gz` from www.cs.toronto.edu/~kriz/cifar.html into `data`, or say with `dir` \
               where it is, or the folder with `data_batch_1.bin` (or `data_batch_1`)",
        read: |files| {
            let train = ["train-1", "train-2", "train-3", "train-4", "train-5"];
            let row = CifarRow { before: 0, classes: &TEN };
            let batches = CifarFiles::open(files, &TEN_FILES)?;
            let train = row.read(&batches, &train, 10_000)?;
            let test = row.read(&batches, &["test"], 10_000)?;
            let (mean, std) = ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]);
            Ok(loaded("cifar10", &TEN, (train, test), mean, std))
        },
    };
}

/// CIFAR-100.
pub(super) struct Cifar100;

impl PublishedSet for Cifar100 {
    const SUMMARY: &'static str =
        "CIFAR-100: 50,000 + 10,000 colour images of 32x32 in 100 classes";
    const MANUAL: &'static str = "\
CIFAR-100 (Krizhevsky, 2009), with the 100 fine labels, in the binary version (`train.bin` and `test.bin`) or \
the Python version (`train` and `test`, pickles, in which nothing is run), unpacked or in the archive as it is \
downloaded. Searched in `data/cifar100`, and in `cifar-100-binary` and `cifar-100-python` in it and in `data` \
below the current directory, or only in `dir` (and those folders below it) if that is given.

Normalised with mean .5071 .4865 .4409, standard deviation .2673 .2564 .2762.";
    const SET: Published = Published {
        method: "load.cifar100",
        title: "CIFAR-100",
        places: &[
            "data/cifar100",
            "data/cifar100/cifar-100-binary",
            "data/cifar-100-binary",
            "data/cifar100/cifar-100-python",
            "data/cifar-100-python",
        ],
        nested: &["", "cifar-100-binary", "cifar-100-python"],
        files: &HUNDRED_FILES,
        archives: &["cifar-100-binary.tar.gz", "cifar-100-python.tar.gz"],
        hint: "download `cifar-100-binary.tar.gz` from www.cs.toronto.edu/~kriz/cifar.html into `data`, or say with `dir` \
               where it is, or the folder with `train.bin` (or `train`)",
        read: |files| {
            let row = CifarRow { before: 1, classes: &HUNDRED };
            let batches = CifarFiles::open(files, &HUNDRED_FILES)?;
            let train = row.read(&batches, &["train"], 50_000)?;
            let test = row.read(&batches, &["test"], 10_000)?;
            let (mean, std) = ([0.5071, 0.4865, 0.4409], [0.2673, 0.2564, 0.2762]);
            Ok(loaded("cifar100", &HUNDRED, (train, test), mean, std))
        },
    };
}

fn loaded(
    name: &str,
    classes: &[&str],
    (train, test): (Split, Split),
    mean: [f32; 3],
    std: [f32; 3],
) -> Loaded {
    let meta = DatasetMeta {
        name: name.to_owned(),
        classes: names::owned(classes),
        sample: vec![3, 32, 32],
        train: train.labels.len(),
        test: test.labels.len(),
        mean: mean.to_vec(),
        std: std.to_vec(),
        space: None,
    };
    Loaded::new(meta, train, test)
}

const TEN_FILES: [WantedFile; 6] = [
    WantedFile { role: "train-1", names: &["data_batch_1.bin", "data_batch_1"] },
    WantedFile { role: "train-2", names: &["data_batch_2.bin", "data_batch_2"] },
    WantedFile { role: "train-3", names: &["data_batch_3.bin", "data_batch_3"] },
    WantedFile { role: "train-4", names: &["data_batch_4.bin", "data_batch_4"] },
    WantedFile { role: "train-5", names: &["data_batch_5.bin", "data_batch_5"] },
    WantedFile { role: "test", names: &["test_batch.bin", "test_batch"] },
];

const HUNDRED_FILES: [WantedFile; 2] = [
    WantedFile { role: "train", names: &["train.bin", "train"] },
    WantedFile { role: "test", names: &["test.bin", "test"] },
];

/// The most a file of it may hold: a little more than the largest.
const MOST: u64 = 1 << 29;
/// How a pickle begins, whose protocol follows. No label of the binary version is so large.
const PICKLE: u8 = 0x80;

/// The files of a data set: each of its own, or all in an archive.
enum CifarFiles<'a> {
    Files(&'a [InputFile]),
    /// The path of the archive, and what is in it by role.
    Archive(&'a Path, BTreeMap<&'static str, Vec<u8>>),
}

impl<'a> CifarFiles<'a> {
    fn open(files: &'a [InputFile], wanted: &[WantedFile]) -> Result<Self, StageError> {
        let Ok(path) = file::path(files, ARCHIVE) else { return Ok(Self::Files(files)) };
        let role = |name: &str| {
            let base = archived::base(name);
            wanted.iter().find(|one| one.names.contains(&base)).map(|one| one.role)
        };
        let mut found = BTreeMap::new();
        archived::each(
            path,
            |name| role(name).is_some(),
            |name, bytes| {
                found.extend(role(&name).map(|role| (role, bytes)));
                Ok(())
            },
        )?;
        match wanted.iter().find(|one| !found.contains_key(one.role)) {
            None => Ok(Self::Archive(path, found)),
            Some(missing) => Err(broken(path, FileError::NotArchived(missing.names[0]))),
        }
    }

    /// Returns the bytes of the file with this role, and its path.
    fn get(&self, role: &str) -> Result<(Vec<u8>, PathBuf), StageError> {
        match self {
            Self::Files(files) => {
                let path = file::path(files, role)?;
                Ok((Source::open(path)?.rest(MOST)?, path.to_owned()))
            }
            Self::Archive(path, found) => {
                let bytes = found.get(role).cloned().unwrap_or_default();
                Ok((bytes, path.join(role)))
            }
        }
    }
}

/// One image of a file: the label, and the pixels channel by channel.
struct CifarRow {
    /// The bytes before the label: CIFAR-100 has the coarse one there.
    before: usize,
    classes: &'static [&'static str],
}

impl CifarRow {
    /// Reads the files with these roles, each of `rows` images, one after the other.
    fn read(
        &self,
        batches: &CifarFiles<'_>,
        roles: &[&str],
        rows: usize,
    ) -> Result<Split, StageError> {
        let (mut images, mut labels) = (Vec::with_capacity(roles.len() * rows * PIXELS), vec![]);
        for role in roles {
            let (bytes, path) = batches.get(role)?;
            if bytes.first() == Some(&PICKLE) {
                let (more, given) = self.pickled(&path, bytes)?;
                images.extend(more);
                labels.extend(given);
            } else {
                self.append(&path, &bytes, rows, &mut images, &mut labels)?;
            }
        }
        Ok(Split { inputs: Inputs::Images(images.into()), labels })
    }

    fn append(
        &self,
        path: &Path,
        bytes: &[u8],
        rows: usize,
        images: &mut Vec<u8>,
        labels: &mut Vec<ClassId>,
    ) -> Result<(), StageError> {
        let size = self.before + 1 + PIXELS;
        let (found, wanted) = (bytes.len() as u64, (size * rows) as u64);
        if found < wanted {
            let what = format!("{rows} images");
            return Err(broken(path, FileError::Short { found, wanted, what }));
        }
        if found > wanted {
            return Err(broken(path, FileError::Long));
        }
        let given = bytes.chunks_exact(size).map(|row| row[self.before]);
        labels.extend(file::labels(path, given, self.classes.len())?);
        for row in bytes.chunks_exact(size) {
            images.extend_from_slice(&row[self.before + 1..]);
        }
        Ok(())
    }

    /// Reads a file of the Python version: a dictionary of the images, `data`, and their labels.
    fn pickled(&self, path: &Path, bytes: Vec<u8>) -> Result<(Vec<u8>, Vec<ClassId>), StageError> {
        let wrong = |error: ArrayError| broken(path, error);
        let read = DataFile::new(path, bytes).map_err(|error| wrong(error.into()))?;
        let get = |name: &'static str| match read.get(name) {
            Ok(Values::Numbers(array)) => Ok(array),
            Ok(Values::Texts(_)) | Err(_) => Err(broken(path, FileError::NoArray(name))),
        };
        let data = get("data")?;
        if data.scalar != Scalar::U8 || !matches!(data.shape[..], [_, PIXELS]) {
            let (found, wanted) = (data.shape.clone(), "bytes, [n, 3072]");
            return Err(broken(path, FileError::ImageShape { found, wanted }));
        }
        let labels = get(if self.before == 0 { "labels" } else { "fine_labels" })?;
        let labels = labels.labels(self.classes.len()).map_err(wrong)?;
        let n = data.shape[0];
        if labels.len() != n {
            return Err(broken(path, FileError::OwnLabelCount { labels: labels.len(), n }));
        }
        Ok((data.data.into_owned(), labels))
    }
}

const TEN: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

#[rustfmt::skip]
const HUNDRED: [&str; 100] = [
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
    "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
    "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
    "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard",
    "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
    "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
    "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
    "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
    "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
    "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::file::Scratch;

    fn rows(before: &[u8], labels: &[u8]) -> Vec<u8> {
        let row = |label: &u8| [before, &[*label], &[label + 100; PIXELS]].concat();
        labels.iter().flat_map(row).collect()
    }

    #[test]
    fn files_are_read_in_order_and_counted() {
        let scratch = Scratch::new("cifar");
        let one =
            InputFile { role: "one".into(), path: scratch.write("1.bin", &rows(&[], &[3, 9])) };
        let two =
            InputFile { role: "two".into(), path: scratch.write("2.bin", &rows(&[], &[0, 1])) };
        let row = CifarRow { before: 0, classes: &TEN };
        let files = [two, one];
        let batches = CifarFiles::open(&files, &[]).expect("no archive");
        let split = row.read(&batches, &["one", "two"], 2).expect("both are whole");
        assert_eq!(split.labels, ClassId::list([3, 9, 0, 1]));
        let want = [103, 109, 100, 101].map(|level| [level; PIXELS]).concat();
        assert_eq!(split.inputs, Inputs::Images(want.into()));
        for (rows, want) in [(3, "ends after 6146 of 9219 bytes of 3 images"), (1, "goes on after")]
        {
            let error = row.read(&batches, &["one"], rows).expect_err("there are two images");
            let found = error.to_string();
            assert!(found.contains(want) && found.contains("1.bin"), "{found}");
        }
    }

    #[test]
    fn the_fine_label_is_the_second_byte() {
        let scratch = Scratch::new("cifar100");
        let row = CifarRow { before: 1, classes: &HUNDRED };
        let read = |bytes: &[u8]| {
            let path = scratch.write("train.bin", bytes);
            row.read(&CifarFiles::Files(&[InputFile { role: "train".into(), path }]), &["train"], 2)
        };
        let split = read(&rows(&[7], &[99, 5])).expect("it is whole");
        assert_eq!(split.labels, ClassId::list([99, 5]));
        let found = read(&rows(&[7], &[5, 100])).expect_err("there are 100 classes").to_string();
        assert!(found.ends_with("has label 100 for sample 1: expected 0 to 99"), "{found}");
    }

    /// What `pickle.dump({b"labels": [3, 9], b"data": numpy.full((2, 3072), [[103], [109]], "u1")}, file, 2)`
    /// writes, with as many pixels.
    fn pickle(labels: &[u8], levels: &[u8]) -> Vec<u8> {
        let mut out = b"\x80\x02}(U\x06labels](".to_vec();
        labels.iter().for_each(|label| out.extend([b'K', *label]));
        out.extend(b"eU\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n");
        out.extend(b"K\x00\x85U\x01b\x87R(K\x01K");
        out.extend([levels.len() as u8]);
        out.extend(
            b"M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xff",
        );
        out.extend(b"J\xff\xff\xff\xffK\x00tb\x89T");
        out.extend(((levels.len() * PIXELS) as u32).to_le_bytes());
        levels.iter().for_each(|level| out.extend([*level; PIXELS]));
        out.extend(b"tbu.");
        out
    }

    #[test]
    fn the_python_version_and_the_archive_are_read() {
        let scratch = Scratch::new("cifar-python");
        let row = CifarRow { before: 0, classes: &TEN };
        let one = pickle(&[3, 9], &[103, 109]);
        let members = TEN_FILES.map(|one| format!("cifar-10-batches-py/{}", one.names[1]));
        let mut files: Vec<(&str, &[u8])> =
            members.iter().map(|name| (&name[..], &one[..])).collect();
        let archive = |files: &[(&str, &[u8])]| InputFile {
            role: ARCHIVE.to_owned(),
            path: scratch.write("cifar-10-python.tar", &archived::tar_of(files)),
        };
        let whole = [archive(&files)];
        let batches = CifarFiles::open(&whole, &TEN_FILES).expect("all are in it");
        let split = row.read(&batches, &["train-1", "test"], 10_000).expect("they are whole");
        assert_eq!(split.labels, ClassId::list([3, 9, 3, 9]));
        let want = [103, 109, 103, 109].map(|level| [level; PIXELS]).concat();
        assert_eq!(split.inputs, Inputs::Images(want.into()));
        files.pop();
        let error = CifarFiles::open(&[archive(&files)], &TEN_FILES).err().expect("one is missing");
        assert!(error.to_string().ends_with("has no file `test_batch.bin` in it"), "{error}");
        let few = pickle(&[3], &[103, 109]);
        let error = row.pickled(Path::new("few"), few).expect_err("a label is missing");
        assert!(error.to_string().ends_with("has 1 labels for 2 images"), "{error}");
    }

    #[test]
    fn fine_classes_are_in_the_order_of_their_labels() {
        assert!(HUNDRED.is_sorted());
    }
}
