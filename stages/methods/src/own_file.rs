//! A file that a setting names: what plans say of it, for every stage that reads one.

use crate::MethodError;
use artifacts::formats::{
    ArrayError,
    column::{self, ColumnError},
};
use engine::{InputFile, Problem, SpecPath};
use std::path::PathBuf;
use thiserror::Error;

/// What is wrong with a file that a setting names: a clause that follows its name.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OwnFileError {
    /// Its list of numbers does not read.
    #[error(transparent)]
    Column(#[from] ColumnError),
    /// Its array does not read.
    #[error(transparent)]
    Array(#[from] ArrayError),
    /// It has the embeddings, and no file is named for the labels.
    #[error("holds one array: setting `{setting}` is missing")]
    OneArray {
        /// The setting that names the other file.
        setting: String,
    },
    /// It has not one label for each sample.
    #[error("has {labels} labels, but `{}` has {n} embeddings", embeddings.display())]
    LabelCount {
        /// How many labels it has.
        labels: usize,
        /// The file of the embeddings.
        embeddings: PathBuf,
        /// How many there are.
        n: usize,
    },
    /// It has not one label for each training sample.
    #[error("has {labels} labels, but there are {n} training samples")]
    TrainLabels {
        /// How many labels it has.
        labels: usize,
        /// How many training samples there are.
        n: usize,
    },
    /// It has not one group for each sample.
    #[error("has {groups} groups, but there are {n} samples")]
    GroupCount {
        /// How many it has.
        groups: usize,
        /// How many samples there are.
        n: usize,
    },
    /// One of its numbers is no group.
    #[error("has group {group} for sample {sample}: expected 0 to {}", groups.saturating_sub(1))]
    Group {
        /// The position of the sample.
        sample: usize,
        /// Its number.
        group: i128,
        /// How many groups there are.
        groups: usize,
    },
    /// Its embeddings are longer or shorter than those to train on.
    #[error("has embeddings of {found} values, but those to train on have {train}")]
    Width {
        /// How many values one has.
        found: usize,
        /// How many those to train on have.
        train: usize,
    },
}

/// Returns the input file that setting `file` names, if it does.
///
/// # Errors
///
/// Says that nothing is there.
pub(crate) fn files(file: Option<&SpecPath>) -> Result<Vec<InputFile>, Problem> {
    let Some(written) = file else { return Ok(vec![]) };
    match column::missing("file", written) {
        Some(problem) => Err(problem),
        None => Ok(vec![InputFile { role: "file".to_owned(), path: written.path() }]),
    }
}

/// Returns what `read` finds wrong with it. A file that is not there is told with the others that are not.
pub(crate) fn problems<T>(
    file: Option<&SpecPath>,
    read: impl FnOnce() -> Result<T, MethodError>,
) -> Vec<Problem> {
    if files(file).is_err() {
        return vec![];
    }
    let problem = |error: MethodError| Problem {
        setting: "file".to_owned(),
        message: error.to_string(),
        hint: None,
    };
    read().err().map(problem).into_iter().collect()
}
