//! `corrupt.label-file`: training labels that somebody else gave.

use super::{changed, relabelled};
use crate::{MethodError, OwnFileError, own_file};
use artifacts::{
    ClassId, dataset,
    formats::{
        ArrayError,
        column::{self, Column, ColumnError},
    },
    parts::{DATA, Parts},
};
use engine::{ArtifactKind, InputFile, Port, Problem, SpecPath, Stage, StageCtx, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(super) const MANUAL: &str = "\
Takes the training labels from a file, such as those that people gave: one for each training sample, in
their order, each the number of a class, counted from 0. The test split and the samples themselves stay as
they are.

Which kind the file is, is told by its content: NumPy's `.npy` and `.npz`, safetensors, PyTorch's `.pt`, pickles
of arrays, Parquet, Arrow, JSON, CSV, TSV, or one number a line. Of several arrays or columns it is the one
called `label` or `labels`, or what `column` names. In a table with a column `index`, or a first column without a
name, each row goes where that says. What can be seen without the data (that the file is there and reads) is checked before anything
runs. The path is relative to the pipeline file and not part of the key: the file's bytes are.

The labels from before are kept as the clean ones, and the samples whose label differs from them count as
touched. Only `evaluate` and the models' summaries read that. The log tells how many labels are wrong.
Corrupting corrupted data keeps the original labels as clean. Where the file says what was known, the output
is the input.

CIFAR-10N (Wei et al., arXiv:2110.12088) has five such lists for CIFAR-10, in the order in which `load.cifar10`
reads it. Its authors publish them as `CIFAR-10_human.pt`: `column = \"worse_label\"` takes one of them.
`corrupt.labels` draws labels with the same confusions for other data.";

/// Where the labels are.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct LabelFile {
    /// The file with one label for each sample of the full training set. Required.
    #[serde(skip_serializing)]
    file: Option<SpecPath>,
    /// The name of the array or column, in files that hold several. Default `labels` or `label`.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<String>,
}

impl LabelFile {
    /// Returns what the file holds: whole numbers, which may be no classes.
    fn read(&self) -> Result<Vec<i128>, MethodError> {
        let written = self.file.as_ref().ok_or(MethodError::NoSetting("file"))?;
        column::wholes(&written.path(), Column::Labels, self.column.as_deref())
            .map_err(|error| self.refused(error))
    }

    /// Returns `found` as the labels of `n` samples of so many `classes`.
    fn labels(
        &self,
        found: &[i128],
        n: usize,
        classes: usize,
    ) -> Result<Vec<ClassId>, MethodError> {
        if found.len() != n {
            return Err(self.refused(OwnFileError::TrainLabels { labels: found.len(), n }));
        }
        let class = |(sample, label): (usize, &i128)| {
            let label = *label;
            let class = u32::try_from(label).ok().map(ClassId::from);
            let error = ColumnError::Array(ArrayError::Label { sample, label, classes });
            class.filter(|class| class.index() < classes).ok_or_else(|| self.refused(error))
        };
        found.iter().enumerate().map(class).collect()
    }

    fn refused(&self, error: impl Into<OwnFileError>) -> MethodError {
        let path = self.file.as_ref().map(SpecPath::path).unwrap_or_default();
        MethodError::OwnFile { path, error: Box::new(error.into()) }
    }
}

impl Stage for LabelFile {
    fn method(&self) -> &'static str {
        "corrupt.label-file"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn settings(&self) -> Value {
        json!(self)
    }

    fn inputs(&self) -> Vec<Port> {
        vec![Port::one("data", DATA)]
    }

    fn output(&self) -> ArtifactKind {
        DATA
    }

    fn problems(&self) -> Vec<Problem> {
        own_file::problems(self.file.as_ref(), || self.read())
    }

    fn files(&self) -> Result<Vec<InputFile>, Problem> {
        own_file::files(self.file.as_ref())
    }

    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let artifact = dataset::input(ctx, "data")?;
        let (meta, train, test) = dataset::labels(ctx, "data", artifact)?;
        let labels = self.labels(&self.read()?, train.len(), meta.classes.len())?;
        let touched = changed(&train, &labels);
        relabelled(ctx, artifact, (train, test), &labels, touched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use artifacts::formats::npy;
    use std::{fs, path::Path};

    fn from(folder: &Path, name: &str, bytes: &[u8]) -> LabelFile {
        let path = folder.join(name);
        fs::write(&path, bytes).expect("a place to write to");
        serde_json::from_value(json!({ "file": path })).expect("the settings are read")
    }

    fn i64s(values: &[i64]) -> Vec<u8> {
        values.iter().flat_map(|one| one.to_le_bytes()).collect()
    }

    #[test]
    fn every_format_gives_the_same_labels() {
        let place = tempfile::tempdir().expect("a place");
        let data = i64s(&[2, 0, 1]);
        let header = "{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }\n";
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::I64, vec![3], &data);
        let view = view.expect("the bytes fill the shape");
        let tensors = safetensors::serialize([("labels", view)], None).expect("it can be encoded");
        for (name, bytes) in [
            ("y.npy", npy::encode(1, header, &data).as_slice()),
            ("y.safetensors", &tensors),
            ("y.json", b"[2, 0, 1]"),
            ("y.txt", b"2\n0\n1\n"),
            ("y.csv", b"index,label,score\n0,2,0.5\n1,0,0.5\n2,1,0.5\n"),
            ("names.csv", b"name,labels\na,2\nb,0\nc,1\n"),
        ] {
            let stage = from(place.path(), name, bytes);
            assert_eq!(stage.problems(), vec![], "{name}");
            let found = stage.read().expect("it reads");
            assert_eq!(found, [2, 0, 1], "{name}");
            let labels = stage.labels(&found, 3, 3).expect("they are classes");
            assert_eq!(labels, ClassId::list([2, 0, 1]));
            assert_eq!(stage.settings(), json!({}), "the path is not in the key");
        }
    }

    #[test]
    fn labels_that_do_not_fit_the_data_are_refused() {
        let place = tempfile::tempdir().expect("a place");
        let stage = from(place.path(), "y.txt", b"2\n0\n");
        let says = |found: &[i128], n| {
            let error = stage.labels(found, n, 3).expect_err("it does not fit").to_string();
            error.split_once("y.txt` ").expect("the file is named").1.to_owned()
        };
        assert_eq!(says(&[2, 0], 3), "has 2 labels, but there are 3 training samples");
        assert_eq!(says(&[2, 0, 1, 1], 3), "has 4 labels, but there are 3 training samples");
        assert_eq!(says(&[2, 3], 2), "has label 3 for sample 1: expected 0 to 2");
        assert_eq!(
            says(&[-1, 0], 2),
            "has label -1 for sample 0: expected 0 to 2; leave out samples without a label, which -1 often stands for"
        );
    }

    #[test]
    fn files_that_do_not_read_are_told_before_anything_runs() {
        let place = tempfile::tempdir().expect("a place");
        let header = "{'descr': '<i8', 'fortran_order': False, 'shape': (1, 2), }\n";
        let wide = npy::encode(1, header, &i64s(&[0, 1]));
        let floats = npy::encode(1, &header.replace("i8", "f8").replace("1, 2", "2,"), &[0xff; 16]);
        for (name, bytes, wanted) in [
            ("a.txt", b"0\n1.5\n".as_slice(), "has 1.5 as label 1: expected whole numbers"),
            (
                "b.csv",
                b"index,label\n2,0\n0,1\n",
                "has index 2 in row 0: expected each of 0 to 1 once",
            ),
            ("c.csv", b"index,class\n0,0\n", "has no column `labels`: it has `index`, `class`"),
            ("d.npy", &wide, "has labels of shape [1, 2]: expected [n]"),
            ("e.npy", &floats, "has NaN as label 0: expected whole numbers"),
        ] {
            let problems = from(place.path(), name, bytes).problems();
            assert_eq!(problems.len(), 1, "{name}");
            assert_eq!(problems[0].setting, "file");
            assert!(problems[0].message.contains(wanted), "{}", problems[0].message);
        }
        let none = LabelFile::default();
        assert_eq!(none.problems()[0].message, "setting `file` is required");
    }
}
