//! IDX, the format of MNIST and its kin: `load.idx`, `load.mnist`, `load.fashion-mnist`.
//!
//! Only unsigned bytes are read, as all of these sets are.

use super::{
    FileError, Loaded, Loader,
    file::{self, Source, broken},
    names,
    published::{Published, PublishedSet, Wanted},
};
use artifacts::{
    dataset::{DatasetMeta, Inputs, Split},
    parts::Parts,
    units::Count,
};
use engine::{InputFile, Problem, StageCtx, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const FILES: [Wanted; 4] = [
    Wanted {
        role: "train-images",
        names: &[
            "train-images-idx3-ubyte",
            "train-images-idx3-ubyte.gz",
            "train-images.idx3-ubyte",
            "train-images.idx3-ubyte.gz",
        ],
    },
    Wanted {
        role: "train-labels",
        names: &[
            "train-labels-idx1-ubyte",
            "train-labels-idx1-ubyte.gz",
            "train-labels.idx1-ubyte",
            "train-labels.idx1-ubyte.gz",
        ],
    },
    Wanted {
        role: "test-images",
        names: &[
            "t10k-images-idx3-ubyte",
            "t10k-images-idx3-ubyte.gz",
            "t10k-images.idx3-ubyte",
            "t10k-images.idx3-ubyte.gz",
        ],
    },
    Wanted {
        role: "test-labels",
        names: &[
            "t10k-labels-idx1-ubyte",
            "t10k-labels-idx1-ubyte.gz",
            "t10k-labels.idx1-ubyte",
            "t10k-labels.idx1-ubyte.gz",
        ],
    },
];

pub(super) const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
const CLOTHES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// MNIST.
pub(super) struct Mnist;

impl PublishedSet for Mnist {
    const SUMMARY: &'static str = "MNIST: 60,000 + 10,000 handwritten digits of 28x28";
    const MANUAL: &'static str = "\
MNIST (LeCun, Bottou, Bengio, Haffner, 1998), from its four IDX files, each as it is or as `.gz`. \
Searched in `data/mnist`, `data/MNIST` and `data/MNIST/raw` below the current directory, or only in \
`dir` (and `raw`, `MNIST/raw` below it) if that is given.

The key holds the files' bytes, not their place. Packed or not, what comes out is the same, so all \
stages behind are cache hits. Normalised with mean .1307, standard deviation .3081.";
    const SET: Published = Published {
        method: "load.mnist",
        title: "MNIST",
        places: &["data/mnist", "data/MNIST", "data/MNIST/raw"],
        nested: &["", "raw", "MNIST/raw"],
        files: &FILES,
        hint: "download MNIST's four files (`train-images-idx3-ubyte.gz`, `train-labels-idx1-ubyte.gz`, \
               `t10k-images-idx3-ubyte.gz`, `t10k-labels-idx1-ubyte.gz`) from \
               yann.lecun.com/exdb/mnist into `data/mnist`, or say with \
               `dir` where they are",
        read: |files| known(files, "mnist", &DIGITS, 0.1307, 0.3081),
    };
}

/// Fashion-MNIST.
pub(super) struct FashionMnist;

impl PublishedSet for FashionMnist {
    const SUMMARY: &'static str =
        "Fashion-MNIST: 60,000 + 10,000 grey images of 28x28 in 10 classes";
    const MANUAL: &'static str = "\
Fashion-MNIST (Xiao, Rasul, Vollgraf, arXiv:1708.07747), from its four IDX files, each as it is or \
as `.gz`. Searched where Debian's package `dataset-fashion-mnist` puts it \
(`/usr/share/datasets/fashion-mnist`), then in `data/fashion-mnist`, `data/FashionMNIST` and \
`data/FashionMNIST/raw` below the current directory; or only in `dir` (and `raw`, \
`FashionMNIST/raw` below it) if that is given.

Normalised with mean .2860, standard deviation .3530.";
    const SET: Published = Published {
        method: "load.fashion-mnist",
        title: "Fashion-MNIST",
        places: &[
            "/usr/share/datasets/fashion-mnist",
            "data/fashion-mnist",
            "data/FashionMNIST",
            "data/FashionMNIST/raw",
        ],
        nested: &["", "raw", "FashionMNIST/raw"],
        files: &FILES,
        hint: "install the Debian package `dataset-fashion-mnist`, or download Fashion-MNIST's four \
               files (`train-images-idx3-ubyte.gz` and so on) from \
               github.com/zalandoresearch/fashion-mnist into `data/fashion-mnist`, or say with \
               `dir` where they are",
        read: |files| known(files, "fashion-mnist", &CLOTHES, 0.2860, 0.3530),
    };
}

/// Any data set in IDX files.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Idx {
    /// The folder the four files lie in, relative to the current directory. Not part of the key:
    /// the files' bytes are.
    // Skipped on the way out: what is written is what is keyed.
    #[serde(skip_serializing)]
    dir: Option<PathBuf>,
    /// What the data set is called in reports.
    name: String,
    /// The names of the classes, in the order of the labels. Without it, the labels are their own
    /// names, from 0 to the highest one found.
    classes: Option<Vec<String>>,
    /// Keep only the first so many training samples, in the order of the files.
    train_limit: Option<Count>,
    /// Keep only the first so many test samples, in the order of the files.
    test_limit: Option<Count>,
}

impl Default for Idx {
    fn default() -> Self {
        let name = "idx".to_owned();
        Self { dir: None, name, classes: None, train_limit: None, test_limit: None }
    }
}

static ANY: Published = Published {
    method: "load.idx",
    title: "a data set of IDX files",
    places: &[],
    nested: &["", "raw"],
    files: &FILES,
    hint: "the folder must hold `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, \
           `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, each as it is or as `.gz`",
    read: |files| read(files, "idx", None),
};

impl Loader for Idx {
    const NAME: &'static str = "load.idx";
    const SUMMARY: &'static str = "any data set in IDX files, the format of MNIST";
    const MANUAL: &'static str = "\
Any data set in MNIST's format (KMNIST, EMNIST, your own): `train-images-idx3-ubyte`, \
`train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte` in `dir`, each as it \
is or as `.gz`. Elements are unsigned bytes. Images have the dimensions [n, h, w], or [n, c, h, w] for \
colour.

Mean and standard deviation of each channel are measured on the whole training split, before \
`train-limit`.";

    fn problems(&self) -> Vec<Problem> {
        names::problems(self.classes.as_deref())
    }

    fn files(&self) -> Result<Vec<InputFile>, Problem> {
        let Some(dir) = &self.dir else {
            let message = "it must be said which folder the IDX files lie in".to_owned();
            let hint = Some(format!("set `dir`: {}", ANY.hint));
            return Err(Problem { setting: "dir".to_owned(), message, hint });
        };
        ANY.find(Some(dir))
    }

    fn load(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let mut loaded = read(ctx.files(), &self.name, self.classes.clone())?;
        ctx.check_cancelled()?;
        loaded.limit(self.train_limit, self.test_limit);
        loaded.put(ctx)
    }
}

/// Reads MNIST or a set of the same shape.
fn known(
    files: &[InputFile],
    name: &str,
    classes: &[&str],
    mean: f32,
    std: f32,
) -> Result<Loaded, StageError> {
    let mut loaded = read(files, name, Some(names::owned(classes)))?;
    let sample = &loaded.meta.sample;
    if *sample != [1, 28, 28] {
        let path = file::path(files, "train-images")?;
        let (found, wanted) = (sample.clone(), "[1, 28, 28]");
        return Err(broken(path, FileError::ImageShape { found, wanted }));
    }
    (loaded.meta.mean, loaded.meta.std) = (vec![mean], vec![std]);
    Ok(loaded)
}

fn read(files: &[InputFile], name: &str, given: Option<Vec<String>>) -> Result<Loaded, StageError> {
    let limit = given.as_ref().map_or(256, Vec::len);
    let (train, sample) = split(files, "train", limit)?;
    let (test, other) = split(files, "test", limit)?;
    if sample != other {
        let path = file::path(files, "test-images")?;
        return Err(broken(path, FileError::SplitShape { found: other, train: sample }));
    }
    let classes = given.unwrap_or_else(|| names::numbers(&[&train.labels, &test.labels]));
    let meta = DatasetMeta {
        name: name.to_owned(),
        classes,
        sample,
        train: train.labels.len(),
        test: test.labels.len(),
        mean: vec![],
        std: vec![],
    };
    Ok(Loaded::new(meta, train, test).with_moments())
}

/// Reads the images and labels called `which`, and the shape of an image.
fn split(
    files: &[InputFile],
    which: &str,
    classes: usize,
) -> Result<(Split, Vec<usize>), StageError> {
    let path = file::path(files, &format!("{which}-images"))?;
    let (mut shape, images) = array(path, &[3, 4], "pixels")?;
    let labels_path = file::path(files, &format!("{which}-labels"))?;
    let (count, labels) = array(labels_path, &[1], "labels")?;
    let n = shape.remove(0);
    if count[0] != n {
        let (labels, images) = (count[0], path.to_owned());
        return Err(broken(labels_path, FileError::LabelCount { labels, images, n }));
    }
    if shape.len() == 2 {
        shape.insert(0, 1);
    }
    let labels = file::labels(labels_path, labels, classes)?;
    Ok((Split { inputs: Inputs::Images(images.into()), labels }, shape))
}

/// Reads one IDX file of bytes: its dimensions, of which there are as many as `ranks` allows, and
/// its elements.
pub(super) fn array(
    path: &Path,
    ranks: &[u8],
    what: &str,
) -> Result<(Vec<usize>, Vec<u8>), StageError> {
    let mut source = Source::open(path)?;
    let magic: [u8; 4] = source.header()?;
    let [0, 0, 8, rank] = magic else {
        let (what, wanted) = ("an IDX file of bytes", &[0, 0, 8]);
        return Err(broken(path, FileError::Magic { what, wanted, found: magic[..3].to_vec() }));
    };
    if !ranks.contains(&rank) {
        return Err(broken(path, FileError::Rank { found: rank, wanted: ranks.to_vec() }));
    }
    let mut dims = vec![];
    for _ in 0..rank {
        dims.push(u32::from_be_bytes(source.header()?));
    }
    let size = dims.iter().try_fold(1_u64, |all, one| all.checked_mul(u64::from(*one)));
    let Some(size @ 1..) = size else {
        return Err(broken(path, FileError::Dimensions(dims)));
    };
    let bytes = source.body(size, what)?;
    source.end()?;
    Ok((dims.iter().map(|one| *one as usize).collect(), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::file::Scratch;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write as _;

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(vec![], Compression::fast());
        encoder.write_all(bytes).expect("a vector takes all");
        encoder.finish().expect("a vector takes all")
    }

    fn idx(dims: &[u32], bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![0, 0, 8, dims.len() as u8];
        out.extend(dims.iter().flat_map(|one| one.to_be_bytes()));
        out.extend(bytes);
        out
    }

    fn set(scratch: &Scratch) {
        let pixels = [0, 255, 0, 255, 0, 255];
        scratch.write("train-images-idx3-ubyte.gz", &gz(&idx(&[3, 1, 2], &pixels)));
        scratch.write("train-labels-idx1-ubyte", &idx(&[3], &[2, 0, 1]));
        scratch.write("t10k-images.idx3-ubyte", &idx(&[1, 1, 2], &[7, 8]));
        scratch.write("t10k-labels-idx1-ubyte.gz", &gz(&idx(&[1], &[4])));
    }

    fn load(scratch: &Scratch) -> Result<Loaded, StageError> {
        read(&ANY.find(Some(scratch.path())).expect("all four are there"), "few", None)
    }

    fn says(scratch: &Scratch) -> String {
        load(scratch).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn packed_and_plain_files_are_read() {
        let scratch = Scratch::new("idx");
        set(&scratch);
        let mut loaded = load(&scratch).expect("the files are whole");
        assert_eq!(loaded.train.inputs, Inputs::Images(vec![0, 255, 0, 255, 0, 255].into()));
        assert_eq!((&loaded.train.labels, &loaded.test.labels), (&vec![2, 0, 1], &vec![4]));
        assert_eq!(loaded.meta.classes, ["0", "1", "2", "3", "4"]);
        assert_eq!(loaded.meta.sample, [1, 1, 2]);
        assert_eq!((&loaded.meta.mean, &loaded.meta.std), (&vec![0.5], &vec![0.5]));
        loaded.limit(Count::try_from(2).ok(), None);
        assert_eq!((loaded.meta.train, loaded.meta.test), (2, 1));
        assert_eq!(loaded.train.inputs, Inputs::Images(vec![0, 255, 0, 255].into()));
        assert_eq!(loaded.train.labels, [2, 0]);
    }

    #[test]
    fn damaged_files_are_named() {
        let scratch = Scratch::new("idx-damaged");
        set(&scratch);
        let labels = "train-labels-idx1-ubyte";
        for (bytes, want) in [
            (idx(&[3], &[2, 0]), "ends after 2 of 3 bytes of labels"),
            (idx(&[3], &[2, 0, 1, 9]), "goes on after its last sample"),
            (idx(&[2], &[2, 0]), "has 2 labels, but"),
            (idx(&[3, 1], &[2, 0, 1]), "has 2 dimensions: expected 1"),
            (
                idx(&[u32::MAX], &[2]),
                "should hold 4294967295 bytes of labels, but has room for only 9",
            ),
            (vec![0, 0, 9, 1, 0, 0, 0, 1, 1], "expected 00 00 08, found 00 00 09"),
            (vec![], "should hold 4 bytes of a header, but has room for only 0"),
        ] {
            scratch.write(labels, &bytes);
            let found = says(&scratch);
            assert!(found.contains(want) && found.contains(labels), "{found}");
        }
        set(&scratch);
        let images = "train-images-idx3-ubyte.gz";
        let huge = [u32::MAX, u32::MAX, u32::MAX];
        let mut flipped = gz(&idx(&[3, 1, 2], &[0; 6]));
        let last = flipped.len() - 1;
        flipped[last] ^= 1;
        let cut = gz(&idx(&[3, 1, 2], &[1, 2, 3, 4, 5, 6]));
        for (bytes, want) in [
            (gz(&idx(&huge, &[])), "claims the dimensions"),
            (gz(&idx(&[60_000, 28, 28], &[0; 99])), "should hold 47040000 bytes of pixels"),
            (gz(&idx(&[0, 28, 28], &[])), "claims the dimensions [0, 28, 28]"),
            (flipped, "does not unpack"),
            (cut[..cut.len() - 9].to_vec(), "does not unpack"),
        ] {
            scratch.write(images, &bytes);
            let found = says(&scratch);
            assert!(found.contains(want) && found.contains(images), "{found}");
        }
    }

    // The real files, where they are installed.
    #[test]
    #[expect(clippy::print_stdout, reason = "a test without its data says so")]
    fn fashion_mnist_is_what_its_authors_say() {
        let Ok(files) = FashionMnist::SET.find(None) else {
            println!("skipped: not installed");
            return;
        };
        let loaded = (FashionMnist::SET.read)(&files).expect("the package is whole");
        assert_eq!((loaded.meta.train, loaded.meta.test), (60_000, 10_000));
        for (split, each) in [(&loaded.train, 6_000), (&loaded.test, 1_000)] {
            for class in 0..10 {
                assert_eq!(split.labels.iter().filter(|one| **one == class).count(), each);
            }
        }
        assert_eq!(loaded.train.labels[..5], [9, 0, 0, 3, 0]);
        let published = (loaded.meta.mean[0], loaded.meta.std[0]);
        assert_eq!(published, (0.2860, 0.3530));
        let measured = loaded.with_moments().meta;
        assert!((measured.mean[0] - published.0).abs() < 5e-5, "{:?}", measured.mean);
        assert!((measured.std[0] - published.1).abs() < 5e-5, "{:?}", measured.std);
    }
}
