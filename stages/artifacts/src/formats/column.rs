//! Numbers that other programs made: one array out of a file, checked before it is believed.
//!
//! What is wrong comes back as a clause that follows the file's name.

use super::{Array, ArrayError, Scalar, array};
use crate::{
    SampleId,
    subset::{PickedSample, Subset, SubsetError},
};
use cache::retrying;
use engine::SpecPath;
use std::{fs, io, path::Path};
use thiserror::Error;

/// What a file gives for the samples of a training set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// One score a sample.
    Scores,
    /// Positions.
    Indices,
    /// One weight a position.
    Weights,
    /// One label a sample.
    Labels,
    /// One group a sample.
    Groups,
}

impl Column {
    /// Returns the name of its tensor, and of its column in text.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scores => "scores",
            Self::Indices => "indices",
            Self::Weights => "weights",
            Self::Labels => "labels",
            Self::Groups => "groups",
        }
    }

    fn singular(self) -> &'static str {
        match self {
            Self::Scores => "score",
            Self::Indices => "index",
            Self::Weights => "weight",
            Self::Labels => "label",
            Self::Groups => "group",
        }
    }
}

/// What is wrong with a file of numbers: a clause that follows its name.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ColumnError {
    /// The system does not read it.
    #[error("cannot be read: {0}")]
    Unread(io::Error),
    /// Its array does not read.
    #[error(transparent)]
    Array(#[from] ArrayError),
    /// Its JSON is something else.
    #[error("is not a list of numbers: {0}")]
    Json(serde_json::Error),
    /// It is not UTF-8.
    #[error("is not text")]
    NotText,
    /// Its columns have other names.
    #[error("has no column `{}` or `{}`: it has {head}", column.name(), column.singular())]
    NoColumn {
        /// The column wanted.
        column: Column,
        /// Its first line.
        head: String,
    },
    /// Its columns have no names.
    #[error("has several columns and no names: begin it with `{},...`", .0.singular())]
    NoNames(Column),
    /// A line's index is not that of its place.
    #[error("has index `{found}` on line {line}: expected {wanted}, in order")]
    Order {
        /// What stands there.
        found: String,
        /// The line, counted from 1.
        line: usize,
        /// The index of that place.
        wanted: usize,
    },
    /// A line has something else than a number.
    #[error("has `{found}` on line {line}: expected {wanted}")]
    Cell {
        /// What stands there.
        found: String,
        /// The line, counted from 1.
        line: usize,
        /// What should, such as `a whole number`.
        wanted: &'static str,
    },
    /// A number is a NaN or an infinity.
    #[error("has {value} as {} {position}", column.singular())]
    NotFinite {
        /// The column read.
        column: Column,
        /// The value.
        value: f32,
        /// Its position, counted from 0.
        position: usize,
    },
    /// The array has more dimensions than one.
    #[error("has {} of shape {shape:?}: expected [n]", column.name())]
    Shape {
        /// The column read.
        column: Column,
        /// The shape.
        shape: Vec<usize>,
    },
    /// Indices or labels are not whole numbers.
    #[error("has {} of type {scalar:?}: expected integers", column.name())]
    NotWhole {
        /// The column read.
        column: Column,
        /// The type of its numbers.
        scalar: Scalar,
    },
    /// There is not one weight for each index.
    #[error("has {indices} indices, but there are {weights} weights")]
    WeightCount {
        /// How many indices there are.
        indices: usize,
        /// How many weights.
        weights: usize,
    },
    /// A weight is below 0.
    #[error("goes with the weight {weight} of index {position}")]
    NegativeWeight {
        /// The weight.
        weight: f32,
        /// Its position, counted from 0.
        position: usize,
    },
    /// An index is no position in the training set.
    #[error("has index {index} at position {position}: expected 0 to {}", n.saturating_sub(1))]
    Index {
        /// The index.
        index: i128,
        /// Its position in the file, counted from 0.
        position: usize,
        /// How many training samples there are.
        n: usize,
    },
    /// The samples are no subset: an index stands there twice, say.
    #[error("{}", as_subset(.0))]
    Subset(#[from] SubsetError),
}

fn as_subset(error: &SubsetError) -> String {
    match error {
        SubsetError::Twice(sample) => format!("has index {sample} twice"),
        other => format!("gives no subset: {other}"),
    }
}

/// Returns whether the file at `path` has a tensor or column of this name, where it can have
/// several.
pub fn has(path: &Path, column: Column) -> bool {
    let Ok(bytes) = retrying(|| fs::read(path)) else { return false };
    if is_text(path) {
        let head = String::from_utf8_lossy(&bytes);
        return position(head.lines().next().unwrap_or_default(), column).is_some();
    }
    let all = safetensors::SafeTensors::deserialize(&bytes);
    all.is_ok_and(|all| all.names().into_iter().any(|name| name == column.name()))
}

/// Returns the numbers of `column` in `path`, all of them finite.
pub fn floats(path: &Path, column: Column) -> Result<Vec<f32>, ColumnError> {
    let bytes = read(path)?;
    let values: Vec<f32> = if is_json(path) {
        let all: Vec<f64> = json(&bytes)?;
        all.into_iter().map(|value| value as f32).collect()
    } else if is_text(path) {
        lines(&bytes, column, "a number")?
    } else {
        let array = flat(&bytes, column)?;
        array
            .floats()
            .or_else(|| Some(array.wholes()?.iter().map(|one| *one as f32).collect()))
            .expect("every element is a float or whole")
    };
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(values),
        Some(position) => Err(ColumnError::NotFinite { column, value: values[position], position }),
    }
}

/// Returns the positions in `path`, in the order of the file.
pub fn indices(path: &Path) -> Result<Vec<i128>, ColumnError> {
    wholes(path, Column::Indices)
}

/// Returns the whole numbers of `column` in `path`, in the order of the file.
pub fn wholes(path: &Path, column: Column) -> Result<Vec<i128>, ColumnError> {
    let bytes = read(path)?;
    if is_json(path) {
        let all: Vec<i64> = json(&bytes)?;
        return Ok(all.into_iter().map(i128::from).collect());
    }
    if is_text(path) {
        return lines(&bytes, column, "a whole number");
    }
    let array = flat(&bytes, column)?;
    let wholes = array.wholes();
    wholes.ok_or(ColumnError::NotWhole { column, scalar: array.scalar })
}

/// Returns `found` as a subset of `n` samples, each with its weight.
pub fn picked(found: &[i128], weights: Option<&[f32]>, n: usize) -> Result<Subset, ColumnError> {
    if let Some(weights) = weights {
        if weights.len() != found.len() {
            let (indices, weights) = (found.len(), weights.len());
            return Err(ColumnError::WeightCount { indices, weights });
        }
        if let Some(position) = weights.iter().position(|weight| *weight < 0.0) {
            return Err(ColumnError::NegativeWeight { weight: weights[position], position });
        }
    }
    let mut picked = Vec::with_capacity(found.len());
    for (at, index) in found.iter().enumerate() {
        let inside = u32::try_from(*index).ok().filter(|index| (*index as usize) < n);
        let index = inside.ok_or(ColumnError::Index { index: *index, position: at, n })?;
        let weight = weights.map(|weights| weights[at]);
        picked.push(PickedSample { sample: SampleId::from(index), weight });
    }
    Ok(Subset::new(n, picked)?)
}

/// Returns what is wrong with the file that a setting names, if nothing is there.
pub fn missing(setting: &str, written: &SpecPath) -> Option<engine::Problem> {
    let path = written.path();
    (!path.is_file()).then(|| engine::Problem {
        setting: setting.to_owned(),
        message: format!("there is no file `{}`", path.display()),
        hint: Some("a path is relative to the pipeline file".to_owned()),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, ColumnError> {
    retrying(|| fs::read(path)).map_err(ColumnError::Unread)
}

fn ends(path: &Path, wanted: &[&str]) -> bool {
    path.extension().and_then(|end| end.to_str()).is_some_and(|end| wanted.contains(&end))
}

fn is_json(path: &Path) -> bool {
    ends(path, &["json"])
}

fn is_text(path: &Path) -> bool {
    ends(path, &["csv", "txt"])
}

fn json<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<Vec<T>, ColumnError> {
    serde_json::from_slice(bytes).map_err(ColumnError::Json)
}

/// Returns the array of a `.npy` file or the tensor named for `column`, which has one dimension.
fn flat(bytes: &[u8], column: Column) -> Result<Array<'_>, ColumnError> {
    let found = array(bytes, column.name())?;
    match found.shape[..] {
        [_] | [_, 1] => Ok(found),
        _ => Err(ColumnError::Shape { column, shape: found.shape }),
    }
}

/// Returns where `column` stands in a line of names.
fn position(head: &str, column: Column) -> Option<usize> {
    let names = [column.name(), column.singular()];
    head.split(',').position(|cell| names.contains(&cell.trim()))
}

/// Reads one number a line: the only one, or that under the name of `column`.
fn lines<T: std::str::FromStr>(
    bytes: &[u8],
    column: Column,
    wanted: &'static str,
) -> Result<Vec<T>, ColumnError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ColumnError::NotText)?;
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).peekable();
    let head = lines.peek().map(|(_, line)| *line).unwrap_or_default();
    let is_head = head.split(',').any(|cell| cell.trim().parse::<f64>().is_err());
    let at = match position(head, column) {
        Some(at) => at,
        None if is_head && !head.is_empty() => {
            return Err(ColumnError::NoColumn { column, head: head.to_owned() });
        }
        None if head.contains(',') => return Err(ColumnError::NoNames(column)),
        None => 0,
    };
    // Rows that carry their own position must stand in its order, or the values go astray.
    let order = position(head, Column::Indices).filter(|_| {
        // One for each sample, in order; indices and their weights are in any.
        matches!(column, Column::Scores | Column::Labels)
    });
    let rows = lines.skip(usize::from(is_head)).enumerate();
    rows.map(|(row, (number, line))| {
        let cell = |at: usize| line.split(',').nth(at).unwrap_or_default().trim();
        let line_number = number + 1;
        if let Some(order) = order
            && cell(order).parse() != Ok(row)
        {
            let found = cell(order).to_owned();
            return Err(ColumnError::Order { found, line: line_number, wanted: row });
        }
        let found = cell(at);
        found.parse().map_err(|_| ColumnError::Cell {
            found: found.to_owned(),
            line: line_number,
            wanted,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_are_sorted_whole_and_inside() {
        let fine = picked(&[4, 0, 2], Some(&[0.5, 1.0, 2.0]), 5).expect("they are fine");
        assert_eq!(fine.samples(), [0, 2, 4].map(SampleId::from));
        assert_eq!(fine.weights(), Some(&[1.0, 2.0, 0.5][..]));
        let says = |found: &[i128], weights: Option<&[f32]>| {
            picked(found, weights, 5).expect_err("it is refused").to_string()
        };
        assert_eq!(says(&[0, 5], None), "has index 5 at position 1: expected 0 to 4");
        assert_eq!(says(&[-1], None), "has index -1 at position 0: expected 0 to 4");
        assert_eq!(says(&[3, 1, 3], None), "has index 3 twice");
        assert_eq!(says(&[3, 1], Some(&[1.0])), "has 2 indices, but there are 1 weights");
        assert_eq!(says(&[3], Some(&[-1.0])), "goes with the weight -1 of index 0");
    }

    #[test]
    fn text_has_one_column_or_names_them() {
        let read = |text: &str, column| lines::<f32>(text.as_bytes(), column, "a number");
        let fine = |text: &str, column| read(text, column).expect("it reads");
        assert_eq!(fine("1\n2.5\n\n", Column::Scores), [1.0, 2.5]);
        let table = "index,score,label\n0,0.25,7\n1,-3,0\n";
        assert_eq!(fine(table, Column::Scores), [0.25, -3.0]);
        assert_eq!(fine(table, Column::Indices), [0.0, 1.0]);
        let says = |text: &str| read(text, Column::Scores).expect_err("it is refused").to_string();
        assert_eq!(says("1\nx\n"), "has `x` on line 2: expected a number");
        assert!(says("a,b\n1,2\n").starts_with("has no column `scores` or `score`"));
        assert!(says("1,2\n").starts_with("has several columns and no names"));
        let astray = says("index,score\n1,0.5\n0,0.25\n");
        assert_eq!(astray, "has index `1` on line 2: expected 0, in order");
    }
}
