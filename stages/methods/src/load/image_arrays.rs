//! `load.image-arrays`: images that lie in arrays, as CIFAR-10-C, CIFAR-10.1, MedMNIST and Keras have them.

use super::{
    Loaded, Loader, file,
    labels::{self, FileLabels, refused},
    names,
    split_files::SplitFiles,
};
use crate::OwnFileError;
use artifacts::{
    dataset::{DatasetMeta, Inputs, Split},
    formats::{Array, ArrayError, DataFile, Scalar, Values, Wanted},
    parts::Parts,
    units::Count,
};
use engine::{InputFile, Problem, StageCtx, StageError};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What images and labels are called in files: first where a file holds both splits.
const TRAIN_IMAGES: [&str; 8] =
    ["train_images", "x_train", "images", "image", "data", "x", "imgs", "arr_0"];
const TRAIN_LABELS: [&str; 9] =
    ["train_labels", "y_train", "labels", "label", "targets", "target", "classes", "y", "arr_1"];
const TEST_IMAGES: [&str; 8] =
    ["test_images", "x_test", "images", "image", "data", "x", "imgs", "arr_0"];
const TEST_LABELS: [&str; 9] =
    ["test_labels", "y_test", "labels", "label", "targets", "target", "classes", "y", "arr_1"];
/// How many of the names say which split it is.
const OF_SPLIT: usize = 2;

/// Where the images are, and what they are called.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct ImageArrays {
    /// The file with the images to train on. Required.
    #[serde(skip_serializing)]
    train: Option<PathBuf>,
    /// The file with their labels, if that is another one.
    #[serde(skip_serializing)]
    train_labels: Option<PathBuf>,
    /// The file with the images to test on. Without it they are those of `train`, if it holds both splits.
    #[serde(skip_serializing)]
    test: Option<PathBuf>,
    /// The file with their labels, if that is another one.
    #[serde(skip_serializing)]
    test_labels: Option<PathBuf>,
    /// The name of the array of images, in files that hold several. Without it, a usual one.
    images: Option<String>,
    /// The name of the array of labels, in files that hold several. Without it, a usual one.
    labels: Option<String>,
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

impl Default for ImageArrays {
    fn default() -> Self {
        Self {
            train: None,
            train_labels: None,
            test: None,
            test_labels: None,
            images: None,
            labels: None,
            name: "image-arrays".to_owned(),
            classes: None,
            train_limit: None,
            test_limit: None,
        }
    }
}

impl Loader for ImageArrays {
    const NAME: &'static str = "load.image-arrays";
    const SUMMARY: &'static str =
        "images in arrays of bytes: CIFAR-10-C, MedMNIST, your own .npy and .npz";
    const MANUAL: &'static str = "\
Images that lie in arrays of unsigned bytes, [n, h, w], [n, h, w, 3] or [n, 3, h, w] (1 in place of 3 too), and \
their labels, in any file that `load.features` reads: NumPy's `.npy` and `.npz`, PyTorch's `.pt`, pickles, \
safetensors. CIFAR-10-C and CIFAR-10.1 have images and labels in a file each (`train` and `train-labels`, `test` and \
`test-labels`); the `.npz` files of MedMNIST (`train_images`, `train_labels`, `test_images` and so on) and of Keras \
(`x_train`, ...) hold both splits, so `train` is enough. In other files that hold several arrays, `images` and \
`labels` say what they are called.

Labels are whole numbers from 0, or texts, which become classes in alphabetical order (or in that of `classes`). \
Without labels all samples are of one class, `unlabelled`. Without images to test on the test split is empty. Mean \
and standard deviation of each channel are measured on the whole training split, before `train-limit`. The paths are \
not part of the key: the files' bytes are.

Cost: a file is held in memory twice while it is read.";

    fn problems(&self) -> Vec<Problem> {
        let mut all = names::problems(self.classes.as_deref());
        all.extend(self.split_files().problems("images"));
        all
    }

    fn files(&self) -> Result<Vec<InputFile>, Problem> {
        self.split_files().files()
    }

    fn load(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let mut loaded = self.read(ctx.files())?;
        ctx.check_cancelled()?;
        loaded.limit(self.train_limit, self.test_limit);
        loaded.put(ctx)
    }
}

/// How an array holds images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ImageLayout {
    channels: usize,
    h: usize,
    w: usize,
    /// Whether the channels of a pixel stand side by side.
    last: bool,
}

impl ImageLayout {
    /// Returns the shape of an image, `[c, h, w]`.
    pub(super) fn sample(self) -> Vec<usize> {
        vec![self.channels, self.h, self.w]
    }
}

/// Returns how an array of this shape holds images, if it does.
pub(super) fn layout(shape: &[usize]) -> Option<ImageLayout> {
    let (channels, h, w, last) = match *shape {
        [_, h, w] => (1, h, w, false),
        [_, h, w, channels @ (1 | 3)] => (channels, h, w, true),
        [_, channels @ (1 | 3), h, w] => (channels, h, w, false),
        _ => return None,
    };
    shape.iter().all(|side| *side > 0).then_some(ImageLayout { channels, h, w, last })
}

/// The images of a split, its labels, and the shape of an image.
struct FoundArrays {
    images: Vec<u8>,
    labels: FileLabels,
    sample: Vec<usize>,
}

impl ImageArrays {
    fn split_files(&self) -> SplitFiles<'_, PathBuf> {
        SplitFiles {
            train: self.train.as_ref(),
            train_labels: self.train_labels.as_ref(),
            test: self.test.as_ref(),
            test_labels: self.test_labels.as_ref(),
        }
    }

    fn read(&self, files: &[InputFile]) -> Result<Loaded, StageError> {
        let train_path = file::path(files, "train")?;
        let opened =
            |path| DataFile::open(path).map_err(|error| refused(path, ArrayError::from(error)));
        let both = opened(train_path)?;
        let train = self.split(files, "train", &both)?;
        let test = match file::path(files, "test") {
            Ok(path) => self.split(files, "test", &opened(path)?)?,
            Err(_) if both.has(&TEST_IMAGES[..OF_SPLIT]) => self.split(files, "test", &both)?,
            Err(_) => {
                let (labels, sample) = (FileLabels::None(0), train.sample.clone());
                FoundArrays { images: vec![], labels, sample }
            }
        };
        if test.sample != train.sample {
            let path = file::path(files, "test").unwrap_or(train_path);
            let error = OwnFileError::ImageShape { found: test.sample, train: train.sample };
            return Err(refused(path, error));
        }
        let path = |role: &str| {
            let own = file::path(files, &format!("{role}-labels"));
            own.or_else(|_| file::path(files, role)).or(Ok(train_path))
        };
        let given = self.classes.as_deref();
        let (classes, labels) = labels::classes(given, [&train.labels, &test.labels], &path)?;
        let [train_labels, test_labels] = labels;
        let meta = DatasetMeta {
            name: self.name.clone(),
            classes,
            sample: train.sample,
            train: train_labels.len(),
            test: test_labels.len(),
            mean: vec![],
            std: vec![],
            space: None,
        };
        let split =
            |images: Vec<u8>, labels| Split { inputs: Inputs::Images(images.into()), labels };
        let (train, test) = (split(train.images, train_labels), split(test.images, test_labels));
        Ok(Loaded::new(meta, train, test).with_moments())
    }

    /// Reads the images of the split called `which` out of `opened`, and its labels.
    fn split(
        &self,
        files: &[InputFile],
        which: &str,
        opened: &DataFile,
    ) -> Result<FoundArrays, StageError> {
        let path = file::path(files, which).or_else(|_| file::path(files, "train"))?;
        let wrong = |error: ArrayError| refused(path, error);
        let is_train = which == "train";
        let usual: &[&str] = if is_train { &TRAIN_IMAGES } else { &TEST_IMAGES };
        let wanted = Wanted { given: self.images.as_deref(), usual, setting: Some("images") };
        let found = opened.pick(wanted).map_err(|error| wrong(error.into()))?.1;
        let Values::Numbers(array) = found else { return Err(wrong(ArrayError::EmbeddingTexts)) };
        let (images, sample) = images(array).map_err(|error| refused(path, error))?;
        let n = images.len() / sample.iter().product::<usize>();

        let usual: &[&str] = if is_train { &TRAIN_LABELS } else { &TEST_LABELS };
        let wanted = Wanted { given: self.labels.as_deref(), usual, setting: Some("labels") };
        let (labels_path, labels) = match file::path(files, &format!("{which}-labels")) {
            Ok(other) => {
                let wrong = |error: ArrayError| refused(other, error);
                let opened = DataFile::open(other).map_err(|error| wrong(error.into()))?;
                let found = opened.pick(wanted).map_err(|error| wrong(error.into()))?.1;
                (other, FileLabels::of(found, self.classes.as_deref()).map_err(wrong)?)
            }
            Err(_) if wanted.given.is_some() || opened.has(usual) => {
                let found = opened.pick(wanted).map_err(|error| wrong(error.into()))?.1;
                (path, FileLabels::of(found, self.classes.as_deref()).map_err(wrong)?)
            }
            Err(_) => (path, FileLabels::None(n)),
        };
        if labels.len() != n {
            let (labels, images) = (labels.len(), path.to_owned());
            return Err(refused(labels_path, OwnFileError::ImageLabels { labels, images, n }));
        }
        Ok(FoundArrays { images, labels, sample })
    }
}

/// Returns the images of an array, each `[c, h, w]`, and that shape.
fn images(array: Array<'_>) -> Result<(Vec<u8>, Vec<usize>), OwnFileError> {
    let Some(layout) = layout(&array.shape) else {
        return Err(OwnFileError::ImageArray(array.shape));
    };
    if array.scalar != Scalar::U8 {
        return Err(OwnFileError::ImageScalar(array.scalar));
    }
    let ImageLayout { channels, h, w, last } = layout;
    if !last || channels == 1 {
        return Ok((array.data.into_owned(), layout.sample()));
    }
    let plane = h * w;
    let mut planes = vec![0; array.data.len()];
    let each = channels * plane;
    planes.par_chunks_exact_mut(each).zip(array.data.par_chunks_exact(each)).for_each(
        |(to, from)| {
            for (at, level) in from.iter().enumerate() {
                to[at % channels * plane + at / channels] = *level;
            }
        },
    );
    Ok((planes, layout.sample()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::file::Scratch;
    use artifacts::ClassId;

    fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let start = [&b"\x93NUMPY\x01\0"[..], &(header.len() as u16).to_le_bytes()].concat();
        [&start, header.as_bytes(), data].concat()
    }

    fn load(stage: &ImageArrays) -> Result<Loaded, StageError> {
        stage.read(&stage.files().expect("they are there"))
    }

    #[test]
    fn channels_stand_first_whatever_the_file_has() {
        let scratch = Scratch::new("image-arrays");
        let levels: Vec<u8> = (0..24).collect();
        let x = |shape| Some(scratch.write("x.npy", &npy("|u1", shape, &levels)));
        let train_labels = Some(scratch.write("y.npy", &npy("|i1", "(2, 1)", &[1, 0])));
        let stage =
            ImageArrays { train: x("(2, 2, 2, 3)"), train_labels, ..ImageArrays::default() };
        let found = load(&stage).expect("it is whole");
        assert_eq!((found.meta.sample, found.meta.test), (vec![3, 2, 2], 0));
        let want = [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11];
        let want: Vec<u8> = want.iter().chain(&want.map(|level| level + 12)).copied().collect();
        assert_eq!(found.train.inputs, Inputs::Images(want.into()));
        assert_eq!(found.train.labels, ClassId::list([1, 0]));
        for (shape, want) in [("(2, 3, 2, 2)", vec![3, 2, 2]), ("(2, 3, 4)", vec![1, 3, 4])] {
            let found = load(&ImageArrays { train: x(shape), ..stage.clone() }).expect("whole");
            assert_eq!(found.meta.sample, want);
            assert_eq!(found.train.inputs, Inputs::Images(levels.clone().into()));
        }
        let says = |train| {
            load(&ImageArrays { train, ..stage.clone() }).map(|_| ()).expect_err("no").to_string()
        };
        assert!(says(x("(2, 12)")).contains("has images of shape [2, 12]"));
        assert!(says(x("(1, 2, 12)")).contains("has 2 labels, but"));
        let floats = scratch.write("f.npy", &npy("<f4", "(2, 1, 3)", &levels));
        assert!(says(Some(floats)).contains("expected unsigned bytes"));
    }

    #[test]
    fn a_file_of_both_splits_is_enough() {
        let scratch = Scratch::new("image-arrays-both");
        let tensors = [
            ("train_images", vec![2, 1, 2], vec![1, 2, 3, 4]),
            ("train_labels", vec![2, 1], vec![0, 2]),
            ("test_images", vec![1, 1, 2], vec![5, 6]),
            ("test_labels", vec![1, 1], vec![1]),
            ("val_images", vec![1, 1, 2], vec![7, 8]),
        ];
        let views = tensors.iter().map(|(name, shape, data)| {
            let view =
                safetensors::tensor::TensorView::new(safetensors::Dtype::U8, shape.clone(), data);
            (*name, view.expect("the bytes fill the shape"))
        });
        let bytes = safetensors::serialize(views, None).expect("it can be encoded");
        let train = Some(scratch.write("some.safetensors", &bytes));
        let found = load(&ImageArrays { train, ..ImageArrays::default() }).expect("it is whole");
        assert_eq!(found.train.labels, ClassId::list([0, 2]));
        assert_eq!(found.test.labels, ClassId::list([1]));
        assert_eq!(found.test.inputs, Inputs::Images(vec![5, 6].into()));
        assert_eq!(found.meta.classes, ["0", "1", "2"]);
    }
}
