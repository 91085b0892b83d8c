//! `load.features`: embeddings that were made elsewhere, and their labels if there are any.

use super::{
    Loaded, Loader,
    columns::WantedColumns,
    file, image_arrays,
    labels::{self, FileLabels, refused},
    names,
    split_files::SplitFiles,
};
use crate::OwnFileError;
use artifacts::{
    columns::SampleColumns,
    dataset::{DatasetMeta, Inputs, Split},
    formats::{Array, ArrayError, DataFile, FileKind, Scalar, Values, Wanted},
    parts::Parts,
    units::Count,
};
use engine::{InputFile, Problem, StageCtx, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The class of samples without labels.
pub(super) const UNLABELLED: &str = "unlabelled";

/// What embeddings and labels are called in files.
const EMBEDDINGS: [&str; 6] = ["embeddings", "embedding", "features", "feature", "vectors", "x"];
const LABELS: [&str; 7] = ["labels", "label", "targets", "target", "classes", "class", "y"];

/// Columns of a table of features that are none.
const NO_FEATURES: [&str; 6] = ["", "unnamed: 0", "index", "idx", "id", "split"];

/// Where the embeddings are, and what they are called.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct LoadFeatures {
    /// The file with the embeddings to train on. Required.
    #[serde(skip_serializing)]
    train: Option<PathBuf>,
    /// The file with their labels, if that is another one.
    #[serde(skip_serializing)]
    train_labels: Option<PathBuf>,
    /// The file with the embeddings to test on. Without it the test split is empty.
    #[serde(skip_serializing)]
    test: Option<PathBuf>,
    /// The file with their labels, if that is another one.
    #[serde(skip_serializing)]
    test_labels: Option<PathBuf>,
    /// The name of the array or column of embeddings, in files that hold several.
    embeddings: String,
    /// The name of the array or column of labels, in files that hold several.
    labels: String,
    /// The name of the column of the samples' ids, in a table that has one. Without it, a column called
    /// `id`, `uid`, `sample_id` or `key`, if there is one and no id stands there twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<String>,
    /// The names of columns of whole numbers that budgets may count, such as `["tokens"]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    counts: Vec<String>,
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

impl Default for LoadFeatures {
    fn default() -> Self {
        Self {
            train: None,
            train_labels: None,
            test: None,
            test_labels: None,
            embeddings: "embeddings".to_owned(),
            labels: "labels".to_owned(),
            ids: None,
            counts: vec![],
            name: "features".to_owned(),
            classes: None,
            train_limit: None,
            test_limit: None,
        }
    }
}

impl Loader for LoadFeatures {
    const NAME: &'static str = "load.features";
    // 2: ids of the samples are kept.
    const REVISION: u32 = 2;
    const SUMMARY: &'static str =
        "embeddings, and labels if there are any, from the files of other programs";
    const MANUAL: &'static str = "\
Embeddings made elsewhere, and their labels if there are any, so that selectors can be run on them. Which kind
a file is, is told by its content: NumPy's `.npy` (either order, numbers of any type) and `.npz`, safetensors,
PyTorch's `.pt` and pickles of arrays (nothing in them is run), Parquet, Arrow, CSV, TSV and JSON, each also
gzip'ed. HDF5 and MATLAB files are named, with the line that converts them.

A file that holds several arrays or columns has the embeddings under `embeddings` and the labels under `labels`,
or under another usual name (`features`, `label`, `target`, `y`); the two settings give any other. In a
table, embeddings are a column of lists, or all columns of numbers but labels, `index` and `id`. FileLabels may
also stand in a file of their own. A single array in a file has no name and needs none.

Embeddings are numbers of shape [n, ...], of images too (`load.image-arrays` keeps those as images), flattened
to [n, d] and kept as f32. A value that is not finite is refused. FileLabels are whole numbers from 0, or texts, which become classes in alphabetical order (or in that of
`classes`). Without labels all samples are of one class, `unlabelled`: enough for selectors that look at
embeddings. Ids of the training samples (`ids`) and counts (`counts`: tokens, bytes) travel with them: exports and
imports go by the ids, `unit` of a selector by a count. Without test files the test split is empty. Nothing is normalised. Paths are relative to the
current directory and not part of the key: the files' bytes are.";

    fn problems(&self) -> Vec<Problem> {
        let mut all = names::problems(self.classes.as_deref());
        all.extend(self.split_files().problems("embeddings"));
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

/// The embeddings of a split.
struct Embeddings {
    values: Vec<f32>,
    n: usize,
    d: usize,
    /// The shape of an image, if they are images in truth.
    images: Option<Vec<usize>>,
    columns: SampleColumns,
}

impl Embeddings {
    fn of(array: &Array<'_>) -> Result<Self, ArrayError> {
        let (values, n, d) = array.embeddings()?;
        let is_images = array.scalar == Scalar::U8 && array.shape.len() == 4;
        let layout = image_arrays::layout(&array.shape).filter(|_| is_images);
        let images = layout.map(image_arrays::ImageLayout::sample);
        Ok(Self { values, n, d, images, columns: SampleColumns::default() })
    }
}

impl LoadFeatures {
    fn split_files(&self) -> SplitFiles<'_> {
        SplitFiles {
            train: self.train.as_ref(),
            train_labels: self.train_labels.as_ref(),
            test: self.test.as_ref(),
            test_labels: self.test_labels.as_ref(),
        }
    }

    fn read(&self, files: &[InputFile]) -> Result<Loaded, StageError> {
        let (mut train, train_labels) = self.split(files, "train")?;
        let (test, test_labels) = match files.iter().any(|file| file.role == "test") {
            true => self.split(files, "test")?,
            false => {
                let columns = SampleColumns::default();
                let none = Embeddings { values: vec![], n: 0, d: train.d, images: None, columns };
                (none, FileLabels::None(0))
            }
        };
        if test.d != train.d {
            let error = OwnFileError::Width { found: test.d, train: train.d };
            return Err(refused(file::path(files, "test")?, error));
        }
        let path = |role: &str| match file::path(files, &format!("{role}-labels")) {
            Ok(path) => Ok(path),
            Err(_) => file::path(files, role),
        };
        let given = self.classes.as_deref();
        let (classes, labels) = labels::classes(given, [&train_labels, &test_labels], &path)?;
        let [train_labels, test_labels] = labels;
        let meta = DatasetMeta {
            name: self.name.clone(),
            classes,
            sample: vec![train.d],
            train: train.n,
            test: test.n,
            mean: vec![0.0],
            std: vec![1.0],
            space: None,
        };
        let split =
            |one: Embeddings, labels| Split { inputs: Inputs::Features(one.values), labels };
        let note = train.images.take().map(|shape| {
            format!("these are images of {shape:?}: `load.image-arrays` keeps them as images")
        });
        let columns = std::mem::take(&mut train.columns);
        let loaded = Loaded::new(meta, split(train, train_labels), split(test, test_labels));
        Ok(Loaded { note, columns, ..loaded })
    }

    /// Reads the embeddings and labels of the split called `which`.
    fn split(
        &self,
        files: &[InputFile],
        which: &str,
    ) -> Result<(Embeddings, FileLabels), StageError> {
        let path = file::path(files, which)?;
        let wrong = |error: ArrayError| refused(path, error);
        let opened = DataFile::open(path).map_err(|error| wrong(error.into()))?;
        let mut embeddings = self.embeddings(&opened).map_err(wrong)?;
        let (n, d) = (embeddings.n, embeddings.d);
        let order = opened.order(n).map_err(|error| wrong(error.into()))?;
        if let Some(rows) = &order {
            let row = |row: &usize| embeddings.values[row * d..][..d].iter().copied();
            embeddings.values = rows.iter().flat_map(row).collect();
        }
        if which == "train" {
            let columns = self.wanted_columns().read(&opened, n, order.as_deref());
            embeddings.columns = columns.map_err(wrong)?;
        }
        let role = format!("{which}-labels");
        let labels = if files.iter().any(|file| file.role == role) {
            let other = file::path(files, &role)?;
            let wrong = |error: ArrayError| refused(other, error);
            let opened = DataFile::open(other).map_err(|error| wrong(error.into()))?;
            let (_, found) =
                opened.pick(self.wanted_labels()).map_err(|error| wrong(error.into()))?;
            let labels = self.labels_of(found).map_err(wrong)?;
            let order = opened.order(labels.len()).map_err(|error| wrong(error.into()))?;
            let labels = labels.ordered(order.as_deref());
            if labels.len() != n {
                let error = OwnFileError::LabelCount {
                    labels: labels.len(),
                    embeddings: path.to_owned(),
                    n,
                };
                return Err(refused(other, error));
            }
            labels
        } else {
            let labels = self.own_labels(&opened, n).map_err(wrong)?.ordered(order.as_deref());
            if labels.len() != n {
                let error = OwnFileError::LabelCount {
                    labels: labels.len(),
                    embeddings: path.to_owned(),
                    n,
                };
                return Err(refused(path, error));
            }
            labels
        };
        Ok((embeddings, labels))
    }

    fn embeddings(&self, file: &DataFile) -> Result<Embeddings, ArrayError> {
        let wanted = self.wanted_embeddings();
        let names = file.names()?;
        let is = |name: &String, names: &[&str]| {
            names.iter().any(|one| name.trim().eq_ignore_ascii_case(one))
        };
        let found = file.find(wanted);
        if found.is_err() && wanted.given.is_none() && is_table(file.kind()) {
            // A table with a column for each feature.
            let labels = self.wanted_labels();
            let features = names.iter().filter(|name| {
                let label = labels.given.map_or(is(name, labels.usual), |given| **name == given);
                !label && !is(name, &NO_FEATURES) && !self.wanted_columns().has(name)
            });
            let features: Vec<String> = features.cloned().collect();
            if !features.is_empty() {
                return Embeddings::of(&array(file.matrix(&features)?)?);
            }
        }
        let found = found?;
        let values = file.get(&found)?;
        Embeddings::of(&array(values)?)
    }

    /// Returns the labels in the file of the embeddings, if it has any.
    fn own_labels(&self, file: &DataFile, n: usize) -> Result<FileLabels, ArrayError> {
        let wanted = self.wanted_labels();
        let several = file.names()?.len() > 1;
        if several && (wanted.given.is_some() || file.has(wanted.usual)) {
            return self.labels_of(file.pick(wanted)?.1);
        }
        Ok(FileLabels::None(n))
    }

    fn labels_of(&self, values: Values<'_>) -> Result<FileLabels, ArrayError> {
        FileLabels::of(values, self.classes.as_deref())
    }

    fn wanted_columns(&self) -> WantedColumns<'_> {
        WantedColumns { ids: self.ids.as_deref(), counts: &self.counts }
    }

    fn wanted_embeddings(&self) -> Wanted<'_> {
        let given = (self.embeddings != EMBEDDINGS[0]).then_some(self.embeddings.as_str());
        Wanted { given, usual: &EMBEDDINGS, setting: Some("embeddings") }
    }

    fn wanted_labels(&self) -> Wanted<'_> {
        let given = (self.labels != LABELS[0]).then_some(self.labels.as_str());
        Wanted { given, usual: &LABELS, setting: Some("labels") }
    }
}

fn is_table(kind: FileKind) -> bool {
    matches!(kind, FileKind::Text | FileKind::Json | FileKind::Parquet | FileKind::Arrow)
}

fn array(values: Values<'_>) -> Result<Array<'_>, ArrayError> {
    match values {
        Values::Numbers(array) => Ok(array),
        Values::Texts(_) => Err(ArrayError::EmbeddingTexts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::file::Scratch;
    use artifacts::ClassId;
    use half::f16;
    use safetensors::Dtype;
    use safetensors::tensor::TensorView;

    fn f32s(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|one| one.to_le_bytes()).collect()
    }

    fn i64s(values: &[i64]) -> Vec<u8> {
        values.iter().flat_map(|one| one.to_le_bytes()).collect()
    }

    type Given<'a> = (Dtype, &'a [usize], &'a [u8]);

    fn view<'a>((dtype, shape, data): Given<'a>) -> TensorView<'a> {
        TensorView::new(dtype, shape.to_vec(), data).expect("the bytes fill the shape")
    }

    fn tensors(x: Given<'_>, y: Given<'_>) -> Vec<u8> {
        safetensors::serialize([("embeddings", view(x)), ("labels", view(y))], None)
            .expect("it can be encoded")
    }

    fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        artifacts::formats::npy::encode(1, &header, data)
    }

    fn load(stage: &LoadFeatures) -> Result<Loaded, StageError> {
        stage.read(&stage.files().expect("the files are there"))
    }

    #[test]
    fn both_formats_give_the_same_data() {
        let scratch = Scratch::new("features");
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let wide: Vec<u8> = x.iter().flat_map(|one| f64::from(*one).to_le_bytes()).collect();
        let half: Vec<u8> = x.iter().flat_map(|one| f16::from_f32(*one).to_le_bytes()).collect();
        let both = tensors((Dtype::F16, &[3, 1, 2], &half), (Dtype::I64, &[3], &i64s(&[2, 0, 1])));
        let one = LoadFeatures {
            train: Some(scratch.write("both.safetensors", &both)),
            ..LoadFeatures::default()
        };
        let two = LoadFeatures {
            train: Some(scratch.write("x.npy", &npy("<f8", "(3, 2)", &wide))),
            train_labels: Some(scratch.write("y.npy", &npy("|u1", "(3,)", &[2, 0, 1]))),
            test: Some(scratch.write("t.npy", &npy("<f4", "(1, 2)", &f32s(&[9.0, 8.0])))),
            test_labels: Some(scratch.write("u.npy", &npy("<i4", "(1, 1)", &[3, 0, 0, 0]))),
            ..LoadFeatures::default()
        };
        assert_eq!((one.problems(), two.problems()), (vec![], vec![]));
        let (one, two) = (load(&one).expect("it is whole"), load(&two).expect("they are whole"));
        assert_eq!(one.train, two.train);
        assert_eq!(one.train.inputs, Inputs::Features(x.to_vec()));
        assert_eq!(one.train.labels, ClassId::list([2, 0, 1]));
        assert_eq!((one.meta.sample, one.meta.test, one.meta.classes.len()), (vec![2], 0, 3));
        assert_eq!((two.meta.test, two.test.labels[0].index(), two.meta.classes.len()), (1, 3, 4));
    }

    #[test]
    fn files_that_do_not_fit_are_named() {
        let scratch = Scratch::new("features-odd");
        let y = i64s(&[0, 1]);
        let labels = (Dtype::I64, &[2_usize][..], &y[..]);
        let good = f32s(&[1.0, 2.0]);
        let bad = f32s(&[1.0, f32::NAN]);
        let whole = tensors((Dtype::F32, &[2, 1], &good), labels);
        for (bytes, want) in [
            (
                tensors((Dtype::F32, &[2, 1], &bad), labels),
                "the value NaN in the embedding of sample 1",
            ),
            (tensors((Dtype::F32, &[1, 2], &good), labels), "has 2 labels, but"),
            (tensors((Dtype::F32, &[2], &good), labels), "of shape [2]: expected [n, d]"),
            (
                tensors((Dtype::F32, &[2, 1], &good), (Dtype::I64, &[2], &i64s(&[0, -1]))),
                "has label -1 for sample 1: expected 0 to 999999",
            ),
            (
                tensors((Dtype::F32, &[2, 1], &good), (Dtype::F32, &[2], &bad)),
                "has label NaN for sample 1: expected whole numbers",
            ),
            (whole[..whole.len() - 1].to_vec(), "is neither .npy nor whole safetensors"),
            (u64::MAX.to_le_bytes().to_vec(), "is of a kind that is not known"),
            (b"<!DOCTYPE html><html>".to_vec(), "is a web page"),
        ] {
            let train = Some(scratch.write("x", &bytes));
            let error = load(&LoadFeatures { train, ..LoadFeatures::default() })
                .expect_err("it does not fit");
            let found = error.to_string();
            assert!(found.contains(want) && found.contains("/x`"), "{found}");
        }
        let train = Some(scratch.write("x", &whole));
        let labels = "target".to_owned();
        let error =
            load(&LoadFeatures { train, labels, ..LoadFeatures::default() }).expect_err("no such");
        let found = error.to_string();
        assert!(found.ends_with(
            "has no tensor `target`: it has `embeddings`, `labels`; `labels` names another"
        ));
    }

    #[test]
    fn a_table_has_a_column_for_each_feature_and_texts_are_classes() {
        let scratch = Scratch::new("features-table");
        // The rows say where they belong.
        let text = b"index,width,height,species\n2,5,6,cat\n0,1,2.5,cat\n1,3,4,ant\n";
        let stage = LoadFeatures {
            train: Some(scratch.write("x.csv", text)),
            labels: "species".to_owned(),
            ..LoadFeatures::default()
        };
        let found = load(&stage).expect("it is a table");
        assert_eq!(found.train.inputs, Inputs::Features(vec![1.0, 2.5, 3.0, 4.0, 5.0, 6.0]));
        assert_eq!(found.meta.classes, ["ant", "cat"]);
        assert_eq!(found.train.labels, ClassId::list([1, 0, 1]));
        let classes = Some(names::owned(&["cat", "dog"]));
        let error = load(&LoadFeatures { classes, ..stage }).expect_err("ant is no class");
        assert!(error.to_string().contains("has label `ant` for sample 1"), "{error}");
    }

    #[test]
    fn labels_may_be_missing_and_may_not_be_identifiers() {
        let scratch = Scratch::new("features-labels");
        let x = scratch.write("x.npy", &npy("<f4", "(3, 1)", &f32s(&[1.0, 2.0, 3.0])));
        let alone = LoadFeatures { train: Some(x), ..LoadFeatures::default() };
        let found = load(&alone).expect("it is whole");
        assert_eq!(
            (found.meta.classes, found.train.labels),
            (names::owned(&["unlabelled"]), ClassId::list([0; 3]))
        );
        let y = scratch.write("y.npy", &npy("<i8", "(3,)", &i64s(&[0, 1, 900_000])));
        let error =
            load(&LoadFeatures { train_labels: Some(y), ..alone }).expect_err("it is an id");
        assert!(
            error.to_string().contains("has label 900000, but only 3 different labels"),
            "{error}"
        );
    }
}
