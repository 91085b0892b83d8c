//! A file that a setting names: what plans say of it, for every stage that reads one.

use crate::{MethodError, load::columns};
use artifacts::{
    formats::{
        ArrayError, DataFile, Scalar, Values,
        column::{self, ColumnError},
    },
    rows::{RowError, RowsError},
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
    /// Its rows do not read.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// Rows of it are not what they should be.
    #[error("has {} of {all} rows that cannot be used: {}", bad.len(), few_rows(bad))]
    BadRows {
        /// What to call each, and what is wrong with it.
        bad: Vec<(String, RowError)>,
        /// How many rows there are.
        all: usize,
    },
    /// It has no text to train on.
    #[error("has no text to train on")]
    NoTexts,
    /// Its labels leave out more classes than they name.
    #[error(
        "has label {label}, but only {distinct} different labels: number them from 0, with \
         `numpy.unique(y, return_inverse=True)`, or name the classes with `classes`"
    )]
    SparseLabels {
        /// The largest label.
        label: usize,
        /// How many different ones there are.
        distinct: usize,
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
    /// Its array has not the shape of images.
    #[error("has images of shape {0:?}: expected [n, h, w], [n, h, w, 3] or [n, 3, h, w]")]
    ImageArray(Vec<usize>),
    /// Its images are no bytes.
    #[error(
        "has images of type {0:?}: expected unsigned bytes; of images in 0..1, save \
         `(255 * x).round().astype(numpy.uint8)`"
    )]
    ImageScalar(Scalar),
    /// Its images have another shape than those to train on.
    #[error("has images of {found:?}, but those to train on are {train:?}")]
    ImageShape {
        /// Their shape.
        found: Vec<usize>,
        /// The shape of those to train on.
        train: Vec<usize>,
    },
    /// It has not one label for each image.
    #[error("has {labels} labels, but `{}` has {n} images", images.display())]
    ImageLabels {
        /// How many labels it has.
        labels: usize,
        /// The file of the images.
        images: PathBuf,
        /// How many there are.
        n: usize,
    },
    /// It names images that are not there.
    #[error("names {} images that are not in `{}`: {}", missing.len(), dir.display(), few(missing))]
    NoImages {
        /// What it calls them.
        missing: Vec<String>,
        /// Where they were looked for.
        dir: PathBuf,
    },
    /// A column says in which split each row is, and none is to train on.
    #[error("has no row to train on: column `{column}` holds {}", few(found))]
    NoTrainRows {
        /// The column.
        column: String,
        /// What stands in it.
        found: Vec<String>,
    },
    /// A sample of an archive has no class.
    #[error("has no class for `{0}`")]
    NoClass(String),
    /// A sample of an archive has no id.
    #[error("has no `{field}` in the JSON of `{sample}`")]
    NoId {
        /// The field that should give it.
        field: String,
        /// The sample.
        sample: String,
    },
    /// Its rows are to be files or splits, and are no texts.
    #[error("has something else than texts or whole numbers in column `{0}`")]
    NotNames(String),
    /// Its embeddings are longer or shorter than those to train on.
    #[error("has embeddings of {found} values, but those to train on have {train}")]
    Width {
        /// How many values one has.
        found: usize,
        /// How many those to train on have.
        train: usize,
    },
    /// Its embeddings are longer or shorter than those of a file before it.
    #[error("has embeddings of {found} values, but those of `{}` have {wanted}", first.display())]
    PoolWidth {
        /// How many values one has.
        found: usize,
        /// The file before it.
        first: PathBuf,
        /// How many those have.
        wanted: usize,
    },
    /// It has labels of another kind than a file before it.
    #[error("has {found}, but `{}` has {wanted}", first.display())]
    PoolLabels {
        /// What it has.
        found: &'static str,
        /// The file before it.
        first: PathBuf,
        /// What that has.
        wanted: &'static str,
    },
    /// An id of it stands in a file before it.
    #[error("has the id `{0}`, which stands in a file before it")]
    PoolId(String),
}

/// More names than these are told as their count.
const NAMED: usize = 10;

fn few_rows(bad: &[(String, RowError)]) -> String {
    let shown = bad.iter().take(NAMED).map(|(name, why)| format!("{name} {why}"));
    let mut shown: Vec<String> = shown.collect();
    if bad.len() > NAMED {
        shown.push(format!("and {} more", bad.len() - NAMED));
    }
    shown.join("; ")
}

fn few(names: &[String]) -> String {
    let mut shown: Vec<String> = names.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    if names.len() > NAMED {
        shown.push(format!("{} more", names.len() - NAMED));
    }
    shown.join(", ")
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

/// Returns the row of each of the `samples` in a table, whose rows are as they are read; `None` if it has no column
/// of ids: one that is called so, or one of texts in which all of the samples are found.
pub(crate) fn rows(file: &DataFile, samples: &[String]) -> Result<Option<Vec<usize>>, ArrayError> {
    let ordered = |ids: Vec<String>| -> Result<Vec<String>, ArrayError> {
        let order = file.order(ids.len())?;
        Ok(columns::ordered(ids, order.as_deref()))
    };
    if let Some(ids) = columns::ids(file)? {
        return columns::rows_of(&ordered(ids)?, samples).map(Some);
    }
    for name in file.names()? {
        if let Ok(Values::Texts(texts)) = file.get(&name)
            && let Ok(rows) = columns::rows_of(&ordered(texts)?, samples)
        {
            return Ok(Some(rows));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_column_of_all_ids_says_which_sample_a_row_is_of() {
        let samples = ["a.png", "b.png"].map(str::to_owned);
        let found = |text: &str| {
            let file = DataFile::new(Path::new("s.csv"), text.as_bytes().to_vec());
            rows(&file.expect("it is a table"), &samples).expect("it reads")
        };
        assert_eq!(found("filename,score\nb.png,1\na.png,2\n"), Some(vec![1, 0]));
        assert_eq!(found(",score\nb.png,1\na.png,2\n"), Some(vec![1, 0]));
        assert_eq!(found("filename,score\nb.png,1\nc.png,2\n"), None);
    }
}
