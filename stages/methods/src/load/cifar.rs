//! CIFAR-10 and CIFAR-100 in their binary versions: `load.cifar10`, `load.cifar100`.
//!
//! The Python version, a pickle, is not read.

use super::{
    Loaded,
    file::{self, Source},
    names,
    published::{Published, PublishedSet, Wanted},
};
use artifacts::dataset::{DatasetMeta, Inputs, Split};
use engine::{InputFile, StageError};
use std::path::Path;

const PIXELS: usize = 3 * 32 * 32;

/// CIFAR-10.
pub(super) struct Cifar10;

impl PublishedSet for Cifar10 {
    const SUMMARY: &'static str = "CIFAR-10: 50,000 + 10,000 colour images of 32x32 in 10 classes";
    const MANUAL: &'static str = "\
CIFAR-10 (Krizhevsky, 2009), the binary version: `data_batch_1.bin` to `data_batch_5.bin` and \
`test_batch.bin`. Searched in `data/cifar10`, `data/cifar10/cifar-10-batches-bin` and \
`data/cifar-10-batches-bin` below the current directory, or only in `dir` (and \
`cifar-10-batches-bin` below it) if that is given.

Training samples stand in the order of the files, as in other libraries, so positions can be compared. \
Normalised with mean .4914 .4822 .4465, standard deviation .2470 .2435 .2616.";
    const SET: Published = Published {
        method: "load.cifar10",
        title: "CIFAR-10 (binary version)",
        places: &["data/cifar10", "data/cifar10/cifar-10-batches-bin", "data/cifar-10-batches-bin"],
        nested: &["", "cifar-10-batches-bin"],
        files: &[
            Wanted { role: "train-1", names: &["data_batch_1.bin"] },
            Wanted { role: "train-2", names: &["data_batch_2.bin"] },
            Wanted { role: "train-3", names: &["data_batch_3.bin"] },
            Wanted { role: "train-4", names: &["data_batch_4.bin"] },
            Wanted { role: "train-5", names: &["data_batch_5.bin"] },
            Wanted { role: "test", names: &["test_batch.bin"] },
        ],
        hint: "download the binary version, `cifar-10-binary.tar.gz`, from \
               www.cs.toronto.edu/~kriz/cifar.html and unpack it in `data`, or say with `dir` where the folder with `data_batch_1.bin` is",
        read: |files| {
            let train = ["train-1", "train-2", "train-3", "train-4", "train-5"];
            let row = Row { before: 0, classes: &TEN };
            let train = row.read(files, &train, 10_000)?;
            let test = row.read(files, &["test"], 10_000)?;
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
CIFAR-100 (Krizhevsky, 2009), the binary version: `train.bin` and `test.bin`, with the 100 fine labels. \
Searched in `data/cifar100`, `data/cifar100/cifar-100-binary` and `data/cifar-100-binary` below the \
current directory, or only in `dir` (and `cifar-100-binary` below it) if that is given.

Normalised with mean .5071 .4865 .4409, standard deviation .2673 .2564 .2762.";
    const SET: Published = Published {
        method: "load.cifar100",
        title: "CIFAR-100 (binary version)",
        places: &["data/cifar100", "data/cifar100/cifar-100-binary", "data/cifar-100-binary"],
        nested: &["", "cifar-100-binary"],
        files: &[
            Wanted { role: "train", names: &["train.bin"] },
            Wanted { role: "test", names: &["test.bin"] },
        ],
        hint: "download the binary version, `cifar-100-binary.tar.gz`, from \
               www.cs.toronto.edu/~kriz/cifar.html and unpack it in `data`, or say with `dir` where the folder with `train.bin` is",
        read: |files| {
            let row = Row { before: 1, classes: &HUNDRED };
            let train = row.read(files, &["train"], 50_000)?;
            let test = row.read(files, &["test"], 10_000)?;
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
    };
    Loaded::new(meta, train, test)
}

/// One image of a file: the label, and the pixels channel by channel.
struct Row {
    /// The bytes before the label: CIFAR-100 has the coarse one there.
    before: usize,
    classes: &'static [&'static str],
}

impl Row {
    /// Reads the files with these roles, each of `rows` images, one after the other.
    fn read(&self, files: &[InputFile], roles: &[&str], rows: usize) -> Result<Split, StageError> {
        let (mut images, mut labels) = (Vec::with_capacity(roles.len() * rows * PIXELS), vec![]);
        for role in roles {
            self.append(file::path(files, role)?, rows, &mut images, &mut labels)?;
        }
        Ok(Split { inputs: Inputs::Images(images.into()), labels })
    }

    fn append(
        &self,
        path: &Path,
        rows: usize,
        images: &mut Vec<u8>,
        labels: &mut Vec<u32>,
    ) -> Result<(), StageError> {
        let size = self.before + 1 + PIXELS;
        let mut source = Source::open(path)?;
        let bytes = source.body((size * rows) as u64, &format!("{rows} images"))?;
        source.end()?;
        let given = bytes.chunks_exact(size).map(|row| row[self.before]);
        labels.extend(file::labels(path, given, self.classes.len())?);
        for row in bytes.chunks_exact(size) {
            images.extend_from_slice(&row[self.before + 1..]);
        }
        Ok(())
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
        let row = Row { before: 0, classes: &TEN };
        let files = [two, one];
        let split = row.read(&files, &["one", "two"], 2).expect("both are whole");
        assert_eq!(split.labels, [3, 9, 0, 1]);
        let want = [103, 109, 100, 101].map(|level| [level; PIXELS]).concat();
        assert_eq!(split.inputs, Inputs::Images(want.into()));
        for (rows, want) in [(3, "should hold 9219 bytes of 3 images"), (1, "goes on after")] {
            let error = row.read(&files, &["one"], rows).expect_err("there are two images");
            let found = error.to_string();
            assert!(found.contains(want) && found.contains("1.bin"), "{found}");
        }
    }

    #[test]
    fn the_fine_label_is_the_second_byte() {
        let scratch = Scratch::new("cifar100");
        let files = |bytes: &[u8]| {
            [InputFile { role: "train".into(), path: scratch.write("train.bin", bytes) }]
        };
        let row = Row { before: 1, classes: &HUNDRED };
        let split = row.read(&files(&rows(&[7], &[99, 5])), &["train"], 2).expect("it is whole");
        assert_eq!(split.labels, [99, 5]);
        let error = row.read(&files(&rows(&[7], &[5, 100])), &["train"], 2);
        let found = error.expect_err("there are 100 classes").to_string();
        assert!(found.ends_with("has label 100 for sample 1: expected 0 to 99"), "{found}");
    }

    #[test]
    fn fine_classes_are_in_the_order_of_their_labels() {
        assert!(HUNDRED.is_sorted());
    }
}
