//! Where data comes from: `load.*`. What is done to it afterwards is the business of others.

mod cifar;
mod digits;
mod error;
mod features;
mod file;
mod idx;
mod images;
mod mat;
mod names;
mod published;
mod qmnist;
pub mod readers;
mod svhn;
mod synthetic;

use artifacts::{
    dataset::{self, DatasetMeta, Inputs, Split},
    parts::Parts,
    units::Count,
};
use engine::{Method, StageCtx, StageError};
pub use error::{FileError, FolderError};
pub use images::ImageError;
pub use mat::MatError;
pub(crate) use names::numbers;
use published::{OnDisk, PublishedFolder};
use schemars::schema_for;

/// Returns every way to get a data set.
pub(crate) fn methods() -> Vec<Method> {
    vec![
        Method {
            name: "load.cifar10",
            summary: "CIFAR-10: 50,000 + 10,000 colour images of 32x32 in 10 classes",
            manual: CIFAR10,
            parse: |with| Ok(Box::new(OnDisk { settings: with.read()?, set: &cifar::CIFAR10 })),
            schema: || schema_for!(PublishedFolder),
        },
        Method {
            name: "load.cifar100",
            summary: "CIFAR-100: 50,000 + 10,000 colour images of 32x32 in 100 classes",
            manual: CIFAR100,
            parse: |with| Ok(Box::new(OnDisk { settings: with.read()?, set: &cifar::CIFAR100 })),
            schema: || schema_for!(PublishedFolder),
        },
        Method {
            name: "load.digits",
            summary: "UCI's handwritten digits: 1,797 grey images of 8x8, carried in the program",
            manual: DIGITS,
            parse: |with| Ok(Box::new(with.read::<digits::Digits>()?)),
            schema: || schema_for!(digits::Digits),
        },
        Method {
            name: "load.fashion-mnist",
            summary: "Fashion-MNIST: 60,000 + 10,000 grey images of 28x28 in 10 classes",
            manual: FASHION,
            parse: |with| Ok(Box::new(OnDisk { settings: with.read()?, set: &idx::FASHION })),
            schema: || schema_for!(PublishedFolder),
        },
        Method {
            name: "load.features",
            summary: "embeddings and labels from safetensors or NumPy files",
            manual: FEATURES,
            parse: |with| Ok(Box::new(with.read::<features::LoadFeatures>()?)),
            schema: || schema_for!(features::LoadFeatures),
        },
        Method {
            name: "load.folder",
            summary: "any JPEG and PNG images, in a folder for each class",
            manual: FOLDER,
            parse: |with| Ok(Box::new(with.read::<images::folder::ImageFolder>()?)),
            schema: || schema_for!(images::folder::ImageFolder),
        },
        Method {
            name: "load.idx",
            summary: "any data set in IDX files, the format of MNIST",
            manual: IDX,
            parse: |with| Ok(Box::new(with.read::<idx::Idx>()?)),
            schema: || schema_for!(idx::Idx),
        },
        Method {
            name: "load.imagenet",
            summary: "ImageNet (ILSVRC 2012): 1,281,167 + 50,000 colour images in 1,000 classes",
            manual: IMAGENET,
            parse: |with| Ok(Box::new(images::imagenet::ImageNet(with.read()?))),
            schema: || schema_for!(images::Images),
        },
        Method {
            name: "load.mnist",
            summary: "MNIST: 60,000 + 10,000 handwritten digits of 28x28",
            manual: MNIST,
            parse: |with| Ok(Box::new(OnDisk { settings: with.read()?, set: &idx::MNIST })),
            schema: || schema_for!(PublishedFolder),
        },
        Method {
            name: "load.qmnist",
            summary: "QMNIST: 60,000 + 60,000 handwritten digits of 28x28",
            manual: QMNIST,
            parse: |with| Ok(Box::new(OnDisk { settings: with.read()?, set: &qmnist::QMNIST })),
            schema: || schema_for!(PublishedFolder),
        },
        Method {
            name: "load.svhn",
            summary: "SVHN: 73,257 + 26,032 colour images of house numbers, 32x32, in 10 classes",
            manual: SVHN,
            parse: |with| Ok(Box::new(with.read::<svhn::Svhn>()?)),
            schema: || schema_for!(svhn::Svhn),
        },
        Method {
            name: "load.synthetic",
            summary: "Gaussian classes with known hard, duplicate and mislabelled samples",
            manual: SYNTHETIC,
            parse: |with| Ok(Box::new(with.read::<synthetic::Synthetic>()?)),
            schema: || schema_for!(synthetic::Synthetic),
        },
        Method {
            name: "load.tiny-imagenet",
            summary: "Tiny ImageNet: 100,000 + 10,000 colour images of 64x64 in 200 classes",
            manual: TINY,
            parse: |with| Ok(Box::new(images::tiny::TinyImageNet(with.read()?))),
            schema: || schema_for!(images::Images),
        },
    ]
}

/// A data set that was read, on its way into the store.
#[derive(Debug)]
pub(crate) struct Loaded {
    meta: DatasetMeta,
    train: Split,
    test: Split,
}

impl Loaded {
    pub(crate) fn new(meta: DatasetMeta, train: Split, test: Split) -> Self {
        Self { meta, train, test }
    }

    /// Keeps the first `train` and the first `test` samples.
    fn limit(&mut self, train: Option<Count>, test: Option<Count>) {
        let each = self.meta.each();
        for (split, limit) in [(&mut self.train, train), (&mut self.test, test)] {
            let Some(n) = limit else { continue };
            split.labels.truncate(n.get());
            split.inputs.truncate(n.get(), each);
        }
        (self.meta.train, self.meta.test) = (self.train.labels.len(), self.test.labels.len());
    }

    /// Takes mean and standard deviation of each channel from the training images.
    pub(crate) fn with_moments(mut self) -> Self {
        let Inputs::Images(images) = &self.train.inputs else { return self };
        let mut levels = Levels::new(self.meta.sample[0]);
        images.chunks_exact(self.meta.each()).for_each(|image| levels.add(image));
        (self.meta.mean, self.meta.std) = levels.moments();
        self
    }

    pub(crate) fn put(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        dataset::put(ctx, &self.meta, &self.train, &self.test)
    }
}

/// How often each grey level occurs in each channel. Counted, not summed: exact, and the same in
/// any order.
struct Levels(Vec<[u64; 256]>);

impl Levels {
    fn new(channels: usize) -> Self {
        Self(vec![[0; 256]; channels])
    }

    /// Counts an image, `[c, h, w]`.
    fn add(&mut self, image: &[u8]) {
        let plane = image.len() / self.0.len();
        for (count, plane) in self.0.iter_mut().zip(image.chunks_exact(plane)) {
            plane.iter().for_each(|level| count[usize::from(*level)] += 1);
        }
    }

    /// Returns mean and standard deviation of each channel, with levels scaled to 0..1.
    fn moments(&self) -> (Vec<f32>, Vec<f32>) {
        let moment = |count: &[u64; 256], f: &dyn Fn(f64) -> f64| {
            let n = count.iter().sum::<u64>() as f64;
            let levels = count.iter().enumerate();
            levels.map(|(level, times)| f(level as f64 / 255.0) * *times as f64).sum::<f64>() / n
        };
        let both = self.0.iter().map(|count| {
            let mean = moment(count, &|x| x);
            let std = moment(count, &|x| (x - mean) * (x - mean)).sqrt();
            // A channel that never changes must not be divided by zero.
            (mean as f32, if std > 0.0 { std as f32 } else { 1.0 })
        });
        both.unzip()
    }
}

const DIGITS: &str = "\
Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, UCI Machine Learning Repository, \
1998; CC BY 4.0): the 1,797 images of UCI's test file, 8x8, carried in the program. Nothing has to \
be downloaded, which makes it the set for first steps and for tests.

The original 17 grey levels (0 to 16) are stored as `level * 255 / 16`, rounded. The split is fixed and stratified: within each class, in the order of the file, every fifth \
sample is a test sample. 1,442 are to train on, 355 to test.";

const MNIST: &str = "\
MNIST (LeCun, Bottou, Bengio, Haffner, 1998), from its four IDX files, each as it is or as `.gz`. \
Searched in `data/mnist`, `data/MNIST` and `data/MNIST/raw` below the current directory, or only in \
`dir` (and `raw`, `MNIST/raw` below it) if that is given.

The key holds the files' bytes, not their place. Packed or not, what comes out is the same, so all \
stages behind are cache hits. Normalised with mean .1307, standard deviation .3081.";

const FASHION: &str = "\
Fashion-MNIST (Xiao, Rasul, Vollgraf, arXiv:1708.07747), from its four IDX files, each as it is or \
as `.gz`. Searched where Debian's package `dataset-fashion-mnist` puts it \
(`/usr/share/datasets/fashion-mnist`), then in `data/fashion-mnist`, `data/FashionMNIST` and \
`data/FashionMNIST/raw` below the current directory; or only in `dir` (and `raw`, \
`FashionMNIST/raw` below it) if that is given.

Normalised with mean .2860, standard deviation .3530.";

const QMNIST: &str = "\
QMNIST (Yadav and Bottou, arXiv:1905.10498): MNIST rebuilt from its source, with all 60,000 test \
digits, of which MNIST kept the first 10,000. From its four files, `qmnist-train-images-idx3-ubyte` \
and so on, each as it is or as `.gz`; of the extended labels the first column is read, the class. \
Searched in `data/qmnist`, `data/QMNIST` and `data/QMNIST/raw` below the current directory, or only \
in `dir` (and `raw`, `QMNIST/raw` below it) if that is given.

`test-limit = 10_000` tests on MNIST's own test digits. Normalised with mean .1307, standard deviation \
.3081, which are MNIST's.";

const SVHN: &str = "\
Street View House Numbers (Netzer et al., 2011), the cropped digits: `train_32x32.mat` and \
`test_32x32.mat`, with `extra` also `extra_32x32.mat`. Searched in `data/svhn` and `data/SVHN` below \
the current directory, or only in `dir` (and `svhn` below it) if that is given.

The files' class 10 is the digit 0. Normalised with mean .4377 .4438 .4728, standard deviation .1980 \
.2010 .1970, with `extra` too. A file is held in memory about three times while it is read.";

const TINY: &str = "\
Tiny ImageNet (Stanford, cs231n): 200 classes of ImageNet at 64x64, 500 images of each to train on and \
50 to test on, in the folder `tiny-imagenet-200` as it unpacks. Searched in `data/tiny-imagenet-200`, \
`data/tiny-imagenet` and `data/tiny-imagenet/tiny-imagenet-200` below the current directory, or only \
in `dir` (and `tiny-imagenet-200` below it) if that is given.

The test split is the archive's `val`, labelled by `val_annotations.txt`. Its own `test` has no labels \
and is not read; DeepCore's loader takes it for the test split, so its accuracies mean nothing. \
Classes are sorted by number, images by name. Normalised with mean .4802 .4481 .3975, standard \
deviation .2770 .2691 .2821 (grey images with what is measured).";

const IMAGENET: &str = "\
ImageNet (Russakovsky et al., arXiv:1409.0575), ILSVRC 2012: `train/WNID/*.JPEG`, and in `val` either a \
folder for each class or all images together with Kaggle's `LOC_val_solution.csv` beside `train` or up \
to three folders above. Searched in `data/imagenet`, `data/ILSVRC2012` and \
`data/ILSVRC/Data/CLS-LOC` below the current directory, or only in `dir` (and `ILSVRC/Data/CLS-LOC`, \
`Data/CLS-LOC` below it) if that is given.

The images are decoded once, in parallel, into one object of the store: 200 GB at 224x224, 65 GB at \
128x128. They are never all in memory, neither here nor in training. Test images are the 50,000 of \
`val`. Classes are sorted by number, images by name. Where \
`LOC_synset_mapping.txt` is found, class names have words. Normalised with mean .485 .456 .406, standard deviation .229 \
.224 .225 (grey images with what is measured).";

const FOLDER: &str = "\
Any images, each class a folder: `DIR/train/CLASS/IMAGE` and `DIR/test/CLASS/IMAGE` (or `val`, `valid`, \
`validation`); or only `DIR/train/CLASS/IMAGE` or `DIR/CLASS/IMAGE`, and `test-fraction` of each class \
is drawn from the stage's seed to test on. Classes are sorted by name, images by their path in the \
folder of the class. JPEG and PNG are read, told by their content; another kind of image is an error, \
other files are passed over.

Images are resized with a bilinear filter as wide as the pixels it makes (antialiased). Transparency \
is left out, 16 bits become 8, grey is 0.299 R + 0.587 G + 0.114 B, and an orientation in the file's \
notes is not followed. Mean and standard deviation are those of the training images. A damaged image \
is one that does not decode or ends before its end; a JPEG with wrong bits inside may decode to \
wrong pixels, which no decoder can tell.

The key holds the names and bytes of all images. Their digests are remembered folder by folder, by \
name, size and dates, so a second plan reads no image.";

const IDX: &str = "\
Any data set in MNIST's format (KMNIST, EMNIST, your own): `train-images-idx3-ubyte`, \
`train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte` in `dir`, each as it \
is or as `.gz`. Elements are unsigned bytes. Images have the dimensions [n, h, w], or [n, c, h, w] for \
colour.

Mean and standard deviation of each channel are measured on the whole training split, before \
`train-limit`.";

const CIFAR10: &str = "\
CIFAR-10 (Krizhevsky, 2009), the binary version: `data_batch_1.bin` to `data_batch_5.bin` and \
`test_batch.bin`. Searched in `data/cifar10`, `data/cifar10/cifar-10-batches-bin` and \
`data/cifar-10-batches-bin` below the current directory, or only in `dir` (and \
`cifar-10-batches-bin` below it) if that is given.

Training samples stand in the order of the files, as in other libraries, so positions can be compared. \
Normalised with mean .4914 .4822 .4465, standard deviation .2470 .2435 .2616.";

const CIFAR100: &str = "\
CIFAR-100 (Krizhevsky, 2009), the binary version: `train.bin` and `test.bin`, with the 100 fine labels. \
Searched in `data/cifar100`, `data/cifar100/cifar-100-binary` and `data/cifar-100-binary` below the \
current directory, or only in `dir` (and `cifar-100-binary` below it) if that is given.

Normalised with mean .5071 .4865 .4409, standard deviation .2673 .2564 .2762.";

const SYNTHETIC: &str = "\
Gaussian classes of unit variance, made from the stage's seed, for tests and for questions whose \
answer is known. Class centres are `separation` apart: exactly if there are at most as many classes \
as dimensions, else about so (random directions). Samples take turns through the classes.

Three disjoint sets of training samples are special. *Hard* ones have their centre moved nine \
twentieths of the way to another class's. *Duplicates* are exact copies, label included, of a sample \
that is neither a duplicate nor mislabelled; the log lists each with its source. *Mislabelled* ones \
have a label drawn from the other classes; they stand in part `clean`, as corrupted ones do, for \
evaluation only. The test split has none of the three.";

const FEATURES: &str = "\
Embeddings and labels made elsewhere, so that selectors can be run on them. Each file is safetensors \
(tensors named by `embeddings` and `labels`) or NumPy's `.npy`; which one is told by its content. A \
`.npy` file holds one array, so its labels come from a second file.

Embeddings are f16, bf16, f32 or f64 (kept as f32), of shape [n, ...], flattened to [n, d]. Labels are \
whole numbers from 0, of shape [n]. A value that is not finite is refused. Of `.npy`, versions 1 to 3 \
in C order and little-endian are read. Without test files the test split is empty. Nothing is \
normalised. Paths are relative to the current directory and not part of the key: the files' bytes are.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_per_channel() {
        let images = vec![0, 255, 51, 51, 255, 0, 51, 51];
        let split = Split { inputs: Inputs::Images(images.into()), labels: vec![0, 0] };
        let meta = DatasetMeta {
            name: "two".to_owned(),
            classes: names::owned(&["a"]),
            sample: vec![2, 1, 2],
            train: 2,
            test: 2,
            mean: vec![],
            std: vec![],
        };
        let meta = Loaded::new(meta, split.clone(), split).with_moments().meta;
        assert_eq!((meta.mean, meta.std), (vec![0.5, 0.2], vec![0.5, 1.0]));
    }
}
