//! IDX, the format of MNIST and its kin: `load.idx`, `load.mnist`, `load.fashion-mnist`.
//!
//! Images are unsigned bytes, as all of these sets have them.

use super::{
    FileError, Loaded, Loader,
    emnist::{self, Emnist},
    file::{self, broken},
    idx_file, names,
    published::{Published, PublishedSet, WantedFile},
};
use artifacts::{
    dataset::{DatasetMeta, Inputs, Split},
    parts::Parts,
    units::Count,
};
use engine::{InputFile, Problem, StageCtx, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

const FILES: [WantedFile; 4] = [
    WantedFile {
        role: "train-images",
        names: &[
            "train-images-idx3-ubyte",
            "train-images-idx3-ubyte.gz",
            "train-images.idx3-ubyte",
            "train-images.idx3-ubyte.gz",
        ],
    },
    WantedFile {
        role: "train-labels",
        names: &[
            "train-labels-idx1-ubyte",
            "train-labels-idx1-ubyte.gz",
            "train-labels.idx1-ubyte",
            "train-labels.idx1-ubyte.gz",
        ],
    },
    WantedFile {
        role: "test-images",
        names: &[
            "t10k-images-idx3-ubyte",
            "t10k-images-idx3-ubyte.gz",
            "t10k-images.idx3-ubyte",
            "t10k-images.idx3-ubyte.gz",
        ],
    },
    WantedFile {
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
        archives: &[],
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
        archives: &[],
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
    /// What the names of the files begin with, such as `emnist-letters`, where `dir` holds several sets.
    /// Not part of the key: the files' bytes are.
    #[serde(skip_serializing)]
    prefix: Option<String>,
    /// What the data set is called in reports.
    name: String,
    /// The names of the classes, in the order of the labels. Without it, those of EMNIST have their
    /// characters, and other labels are their own names, from 0 to the highest one found.
    classes: Option<Vec<String>>,
    /// Keep only the first so many training samples, in the order of the files.
    train_limit: Option<Count>,
    /// Keep only the first so many test samples, in the order of the files.
    test_limit: Option<Count>,
}

impl Default for Idx {
    fn default() -> Self {
        let name = "idx".to_owned();
        let (dir, prefix, classes) = (None, None, None);
        Self { dir, prefix, name, classes, train_limit: None, test_limit: None }
    }
}

static ANY: Published = Published {
    method: "load.idx",
    title: "a data set of IDX files",
    places: &[],
    nested: &["", "raw"],
    files: &FILES,
    archives: &[],
    hint: "the folder must hold `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, \
           `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, each as it is or as `.gz`",
    read: |files| read(files, "idx", None, None),
};

impl Loader for Idx {
    const NAME: &'static str = "load.idx";
    const SUMMARY: &'static str = "any data set in IDX files, the format of MNIST";
    const MANUAL: &'static str = "\
Any data set in MNIST's format (KMNIST, EMNIST, your own): `train-images-idx3-ubyte`, \
`train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte` in `dir`, each as it \
is or as `.gz`, or in a folder of its own name. Images are unsigned bytes of the dimensions [n, h, w], or \
[n, c, h, w] for colour; labels are whole numbers of any type.

EMNIST (Cohen et al., arXiv:1702.05373) is read under its own names, such as \
`emnist-letters-train-images-idx3-ubyte.gz`; where several of its sets lie in `dir`, `prefix` says which. Its \
images, which stand column by column, are turned upright, and its classes are called by their characters; the \
labels of its letters, which begin with 1, begin with 0.

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
        let usual = match self.prefix {
            None => ANY.find(Some(dir)),
            Some(ref prefix) => {
                let message =
                    format!("there is no set of IDX files `{prefix}` in `{}`", dir.display());
                Err(Problem {
                    setting: "prefix".to_owned(),
                    message,
                    hint: Some(ANY.hint.to_owned()),
                })
            }
        };
        usual.or_else(|problem| emnist::find(dir, self.prefix.as_deref())?.ok_or(problem))
    }

    fn load(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let (set, files) = Emnist::of(ctx.files());
        let mut loaded = read(&files, &self.name, self.classes.clone(), set)?;
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
    let mut loaded = read(files, name, Some(names::owned(classes)), None)?;
    let sample = &loaded.meta.sample;
    if *sample != [1, 28, 28] {
        let path = file::path(files, "train-images")?;
        let (found, wanted) = (sample.clone(), "[1, 28, 28]");
        return Err(broken(path, FileError::ImageShape { found, wanted }));
    }
    (loaded.meta.mean, loaded.meta.std) = (vec![mean], vec![std]);
    Ok(loaded)
}

fn read(
    files: &[InputFile],
    name: &str,
    given: Option<Vec<String>>,
    set: Option<Emnist>,
) -> Result<Loaded, StageError> {
    let (train, sample) = split(files, "train", given.as_deref(), set.as_ref())?;
    let (test, other) = split(files, "test", given.as_deref(), set.as_ref())?;
    if sample != other {
        let path = file::path(files, "test-images")?;
        return Err(broken(path, FileError::SplitShape { found: other, train: sample }));
    }
    let classes = given.or(set.map(|set| set.classes));
    let classes = classes.unwrap_or_else(|| names::numbers(&[&train.labels, &test.labels]));
    let meta = DatasetMeta {
        name: name.to_owned(),
        classes,
        sample,
        train: train.labels.len(),
        test: test.labels.len(),
        mean: vec![],
        std: vec![],
        space: None,
    };
    Ok(Loaded::new(meta, train, test).with_moments())
}

/// Labels are below this where nobody says how many classes there are.
const MOST_CLASSES: usize = 65_536;

/// Reads the images and labels called `which`, and the shape of an image.
fn split(
    files: &[InputFile],
    which: &str,
    given: Option<&[String]>,
    set: Option<&Emnist>,
) -> Result<(Split, Vec<usize>), StageError> {
    let path = file::path(files, &format!("{which}-images"))?;
    let (mut shape, mut images) = idx_file::array(path, &[3, 4], "pixels")?;
    let labels_path = file::path(files, &format!("{which}-labels"))?;
    let classes = given.or(set.map(|set| &set.classes[..])).map_or(MOST_CLASSES, <[_]>::len);
    let labels = idx_file::labels(labels_path, set.map_or(0, |set| set.first), classes)?;
    let n = shape.remove(0);
    if labels.len() != n {
        let (labels, images) = (labels.len(), path.to_owned());
        return Err(broken(labels_path, FileError::LabelCount { labels, images, n }));
    }
    if shape.len() == 2 {
        shape.insert(0, 1);
    }
    if let (Some(_), [1, h, w]) = (set, &mut shape[..]) {
        emnist::upright(&mut images, (*h, *w));
        std::mem::swap(h, w);
    }
    Ok((Split { inputs: Inputs::Images(images.into()), labels }, shape))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::file::Scratch;
    use artifacts::ClassId;
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
        read(&ANY.find(Some(scratch.path())).expect("all four are there"), "few", None, None)
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
        assert_eq!(loaded.train.labels, ClassId::list([2, 0, 1]));
        assert_eq!(loaded.test.labels, ClassId::list([4]));
        assert_eq!(loaded.meta.classes, ["0", "1", "2", "3", "4"]);
        assert_eq!(loaded.meta.sample, [1, 1, 2]);
        assert_eq!((&loaded.meta.mean, &loaded.meta.std), (&vec![0.5], &vec![0.5]));
        loaded.limit(Count::try_from(2).ok(), None);
        assert_eq!((loaded.meta.train, loaded.meta.test), (2, 1));
        assert_eq!(loaded.train.inputs, Inputs::Images(vec![0, 255, 0, 255].into()));
        assert_eq!(loaded.train.labels, ClassId::list([2, 0]));
    }

    #[test]
    fn labels_are_of_any_whole_type_and_zeros_may_fill_up_gzip() {
        let scratch = Scratch::new("idx-types");
        set(&scratch);
        let images = [gz(&idx(&[3, 1, 2], &[0, 255, 0, 255, 0, 255])), vec![0; 70_000]].concat();
        scratch.write("train-images-idx3-ubyte.gz", &images);
        let labels = [2_i32, 0, 300].map(i32::to_be_bytes).concat();
        let labels = [&[0, 0, 12, 1, 0, 0, 0, 3], &labels[..]].concat();
        scratch.write("train-labels-idx1-ubyte", &labels);
        let loaded = load(&scratch).expect("all is read");
        assert_eq!(loaded.train.labels, ClassId::list([2, 0, 300]));
        let floats = [0, 0, 13, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0];
        scratch.write("train-images-idx3-ubyte.gz", &floats);
        let error = load(&scratch).expect_err("they are floats");
        assert!(error.to_string().ends_with("holds floats of 32 bits: expected unsigned bytes"));
        scratch.write("train-images-idx3-ubyte.gz", &[&images[..], &[1]].concat());
        assert!(says(&scratch).contains("does not unpack"));
    }

    #[test]
    fn letters_of_emnist_stand_upright_and_begin_with_a() {
        let scratch = Scratch::new("idx-emnist");
        for which in ["train", "test"] {
            let name = |what: &str| format!("emnist-letters-{which}-{what}-ubyte");
            scratch.write(&name("images-idx3"), &idx(&[2, 2, 2], &[1, 2, 3, 4, 5, 6, 7, 8]));
            scratch.write(&name("labels-idx1"), &idx(&[2], &[1, 26]));
        }
        let stage = Idx { dir: Some(scratch.path().to_owned()), ..Idx::default() };
        let (set, files) = Emnist::of(&stage.files().expect("all four are there"));
        let loaded = read(&files, "letters", None, set).expect("they are whole");
        assert_eq!(loaded.train.inputs, Inputs::Images(vec![1, 3, 2, 4, 5, 7, 6, 8].into()));
        assert_eq!((loaded.train.labels, loaded.meta.classes.len()), (ClassId::list([0, 25]), 26));
        let other = Idx { prefix: Some("emnist-digits".to_owned()), ..stage };
        assert!(other.files().expect_err("only letters").message.contains("`emnist-digits`"));
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
            (vec![0, 0, 10, 1, 0, 0, 0, 1, 1], "expected 00 00 08, found 00 00 0a"),
            (vec![0, 0, 13, 1, 0, 0, 0, 1, 1], "holds floats of 32 bits: expected whole numbers"),
            (vec![0, 0, 9, 1, 0, 0, 0, 3, 2, 255, 1], "has label -1 for sample 1"),
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
            for class in ClassId::all(10) {
                assert_eq!(split.labels.iter().filter(|one| **one == class).count(), each);
            }
        }
        assert_eq!(loaded.train.labels[..5], ClassId::list([9, 0, 0, 3, 0]));
        let published = (loaded.meta.mean[0], loaded.meta.std[0]);
        assert_eq!(published, (0.2860, 0.3530));
        let measured = loaded.with_moments().meta;
        assert!((measured.mean[0] - published.0).abs() < 5e-5, "{:?}", measured.mean);
        assert!((measured.std[0] - published.1).abs() < 5e-5, "{:?}", measured.std);
    }
}
