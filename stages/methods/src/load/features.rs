//! `load.features`: embeddings and labels that were made elsewhere.

use super::{Loaded, Loader, file, names};
use crate::{MethodError, OwnFileError};
use artifacts::{
    dataset::{DatasetMeta, Inputs, Split},
    formats::{array, npy},
    parts::Parts,
    units::Count,
};
use engine::{InputFile, Problem, StageCtx, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A label beyond this is taken for a mistake: each class gets a name of its own.
const MOST_CLASSES: usize = 1_000_000;

/// Where the embeddings are, and what they are called.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct LoadFeatures {
    /// The file with the embeddings to train on: safetensors or `.npy`. Required.
    #[serde(skip_serializing)]
    train: Option<PathBuf>,
    /// The file with their labels, if that is another one. Needed beside a `.npy` file.
    #[serde(skip_serializing)]
    train_labels: Option<PathBuf>,
    /// The file with the embeddings to test on. Without it the test split is empty.
    #[serde(skip_serializing)]
    test: Option<PathBuf>,
    /// The file with their labels, if that is another one. Needed beside a `.npy` file.
    #[serde(skip_serializing)]
    test_labels: Option<PathBuf>,
    /// The name of the tensor of embeddings in safetensors files.
    embeddings: String,
    /// The name of the tensor of labels in safetensors files.
    labels: String,
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
            name: "features".to_owned(),
            classes: None,
            train_limit: None,
            test_limit: None,
        }
    }
}

impl Loader for LoadFeatures {
    const NAME: &'static str = "load.features";
    const SUMMARY: &'static str = "embeddings and labels from safetensors or NumPy files";
    const MANUAL: &'static str = "\
Embeddings and labels made elsewhere, so that selectors can be run on them. Each file is safetensors \
(tensors named by `embeddings` and `labels`) or NumPy's `.npy`; which one is told by its content. A \
`.npy` file holds one array, so its labels come from a second file.

Embeddings are f16, bf16, f32 or f64 (kept as f32), of shape [n, ...], flattened to [n, d]. Labels are \
whole numbers from 0, of shape [n]. A value that is not finite is refused. Of `.npy`, versions 1 to 3 \
in C order and little-endian are read. Without test files the test split is empty. Nothing is \
normalised. Paths are relative to the current directory and not part of the key: the files' bytes are.";

    fn problems(&self) -> Vec<Problem> {
        let mut all = names::problems(self.classes.as_deref());
        let mut problem = |setting: &str, message: String, hint: &str| {
            let hint = Some(hint.to_owned());
            all.push(Problem { setting: setting.to_owned(), message, hint });
        };
        if self.train.is_none() {
            let hint = "give the path of a safetensors or .npy file";
            problem("train", "setting `train` is required".to_owned(), hint);
        }
        if self.test.is_none() && self.test_labels.is_some() {
            let message = "there are labels to test on, but no embeddings".to_owned();
            problem("test-labels", message, "set `test` too");
        }
        let pairs = [
            ("train-labels", &self.train, &self.train_labels),
            ("test-labels", &self.test, &self.test_labels),
        ];
        for (setting, embeddings, labels) in pairs {
            let npy = |path: &PathBuf| path.extension().is_some_and(|end| end == "npy");
            if labels.is_none() && embeddings.as_ref().is_some_and(npy) {
                let message = format!("a .npy file holds one array: `{setting}` is missing");
                problem(setting, message, "save the labels as a second .npy file");
            }
        }
        all
    }

    fn files(&self) -> Result<Vec<InputFile>, Problem> {
        let given = [
            ("train", &self.train),
            ("train-labels", &self.train_labels),
            ("test", &self.test),
            ("test-labels", &self.test_labels),
        ];
        let mut files = vec![];
        for (role, path) in given {
            let Some(path) = path else { continue };
            if !path.is_file() {
                let message = format!("there is no file `{}`", path.display());
                let hint = Some("a path is relative to the current directory".to_owned());
                return Err(Problem { setting: role.to_owned(), message, hint });
            }
            files.push(InputFile { role: role.to_owned(), path: path.clone() });
        }
        Ok(files)
    }

    fn load(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let mut loaded = self.read(ctx.files())?;
        ctx.check_cancelled()?;
        loaded.limit(self.train_limit, self.test_limit);
        loaded.put(ctx)
    }
}

impl LoadFeatures {
    fn read(&self, files: &[InputFile]) -> Result<Loaded, StageError> {
        let (train, d) = self.split(files, "train")?;
        let (test, other) = match files.iter().any(|file| file.role == "test") {
            true => self.split(files, "test")?,
            false => (Split { inputs: Inputs::Features(vec![]), labels: vec![] }, d),
        };
        if other != d {
            let error = OwnFileError::Width { found: other, train: d };
            return Err(refused(file::path(files, "test")?, error));
        }
        let labels = [train.labels.as_slice(), &test.labels];
        let meta = DatasetMeta {
            name: self.name.clone(),
            classes: self.classes.clone().unwrap_or_else(|| names::numbers(&labels)),
            sample: vec![d],
            train: train.labels.len(),
            test: test.labels.len(),
            mean: vec![0.0],
            std: vec![1.0],
        };
        Ok(Loaded::new(meta, train, test))
    }

    /// Reads the split called `which`, and how many values a sample has.
    fn split(&self, files: &[InputFile], which: &str) -> Result<(Split, usize), StageError> {
        let path = file::path(files, which)?;
        let bytes = file::read(path)?;
        let role = format!("{which}-labels");
        let own = files.iter().any(|file| file.role == role);
        if !own && npy::is_npy(&bytes) {
            return Err(refused(path, OwnFileError::OneArray { setting: role }));
        }
        let (values, n, d) = array(&bytes, &self.embeddings)
            .and_then(|array| array.embeddings())
            .map_err(|error| refused(path, error))?;
        let labels_path = if own { file::path(files, &role)? } else { path };
        let others = if own { file::read(labels_path)? } else { bytes };
        let classes = self.classes.as_ref().map_or(MOST_CLASSES, Vec::len);
        let labels = array(&others, &self.labels)
            .and_then(|array| array.labels(classes))
            .map_err(|error| refused(labels_path, error))?;
        if labels.len() != n {
            let (labels, embeddings) = (labels.len(), path.to_owned());
            return Err(refused(labels_path, OwnFileError::LabelCount { labels, embeddings, n }));
        }
        Ok((Split { inputs: Inputs::Features(values), labels }, d))
    }
}

fn refused(path: &Path, error: impl Into<OwnFileError>) -> StageError {
    MethodError::OwnFile { path: path.to_owned(), error: Box::new(error.into()) }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::file::Scratch;
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
        npy::encode(1, &header, data)
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
        assert_eq!(one.train.labels, [2, 0, 1]);
        assert_eq!((one.meta.sample, one.meta.test, one.meta.classes.len()), (vec![2], 0, 3));
        assert_eq!((two.meta.test, two.test.labels[0], two.meta.classes.len()), (1, 3, 4));
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
            (tensors((Dtype::I32, &[2, 1], &good), labels), "of type I32: expected floats"),
            (
                tensors((Dtype::F32, &[2, 1], &good), (Dtype::I64, &[2], &i64s(&[0, -1]))),
                "has label -1 for sample 1: expected 0 to 999999",
            ),
            (
                tensors((Dtype::F32, &[2, 1], &good), (Dtype::F32, &[2], &good)),
                "labels of type F32: expected integers",
            ),
            (npy("<f4", "(2, 1)", &good), "setting `train-labels` is missing"),
            (whole[..whole.len() - 1].to_vec(), "is neither .npy nor whole safetensors"),
            (u64::MAX.to_le_bytes().to_vec(), "is neither .npy nor whole safetensors"),
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
        assert!(error.to_string().ends_with("no tensor `target`: it holds `embeddings`, `labels`"));
    }
}
