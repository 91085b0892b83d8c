//! Numbers that other programs made: one array out of a file, checked before it is believed.
//!
//! What is wrong comes back as a clause that follows the file's name.

use super::{Array, array};
use crate::{
    SampleId,
    subset::{PickedSample, Subset, SubsetError},
};
use cache::retrying;
use engine::SpecPath;
use std::{fs, path::Path};

/// What a file gives for the samples of a training set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// One score a sample.
    Scores,
    /// Positions.
    Indices,
    /// One weight a position.
    Weights,
}

impl Column {
    /// Returns the name of its tensor, and of its column in text.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scores => "scores",
            Self::Indices => "indices",
            Self::Weights => "weights",
        }
    }

    fn singular(self) -> &'static str {
        match self {
            Self::Scores => "score",
            Self::Indices => "index",
            Self::Weights => "weight",
        }
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
pub fn floats(path: &Path, column: Column) -> Result<Vec<f32>, String> {
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
        Some(at) => Err(format!("has {} as {} {at}", values[at], column.singular())),
    }
}

/// Returns the positions in `path`, in the order of the file.
pub fn indices(path: &Path) -> Result<Vec<i128>, String> {
    let bytes = read(path)?;
    if is_json(path) {
        let all: Vec<i64> = json(&bytes)?;
        return Ok(all.into_iter().map(i128::from).collect());
    }
    if is_text(path) {
        return lines(&bytes, Column::Indices, "a whole number");
    }
    let array = flat(&bytes, Column::Indices)?;
    let wholes = array.wholes();
    wholes.ok_or_else(|| format!("has indices of type {:?}: expected integers", array.scalar))
}

/// Returns `found` as a subset of `n` samples, each with its weight.
pub fn picked(found: &[i128], weights: Option<&[f32]>, n: usize) -> Result<Subset, String> {
    if let Some(weights) = weights {
        if weights.len() != found.len() {
            let (weights, found) = (weights.len(), found.len());
            return Err(format!("has {found} indices, but there are {weights} weights"));
        }
        if let Some(at) = weights.iter().position(|weight| *weight < 0.0) {
            return Err(format!("goes with the weight {} of index {at}", weights[at]));
        }
    }
    let mut picked = Vec::with_capacity(found.len());
    for (at, index) in found.iter().enumerate() {
        let inside = u32::try_from(*index).ok().filter(|index| (*index as usize) < n);
        let index = inside.ok_or_else(|| {
            let last = n.saturating_sub(1);
            format!("has index {index} at position {at}: expected 0 to {last}")
        })?;
        let weight = weights.map(|weights| weights[at]);
        picked.push(PickedSample { sample: SampleId::from(index), weight });
    }
    Subset::new(n, picked).map_err(|error| match error {
        SubsetError::Twice(sample) => format!("has index {sample} twice"),
        other => format!("does not give a subset: {other}"),
    })
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

fn read(path: &Path) -> Result<Vec<u8>, String> {
    retrying(|| fs::read(path)).map_err(|error| format!("cannot be read: {error}"))
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

fn json<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<Vec<T>, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("is not a list of numbers: {error}"))
}

/// Returns the array of a `.npy` file or the tensor named for `column`, which has one dimension.
fn flat(bytes: &[u8], column: Column) -> Result<Array<'_>, String> {
    let found = array(bytes, column.name())?;
    match found.shape[..] {
        [_] | [_, 1] => Ok(found),
        _ => Err(format!("has {} of shape {:?}: expected [n]", column.name(), found.shape)),
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
    wanted: &str,
) -> Result<Vec<T>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not text".to_owned())?;
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).peekable();
    let head = lines.peek().map(|(_, line)| *line).unwrap_or_default();
    let is_head = head.split(',').any(|cell| cell.trim().parse::<f64>().is_err());
    let at = match position(head, column) {
        Some(at) => at,
        None if is_head && !head.is_empty() => {
            let names = (column.name(), column.singular());
            return Err(format!("has no column `{}` or `{}`: it has {head}", names.0, names.1));
        }
        None if head.contains(',') => {
            let name = column.singular();
            return Err(format!("has several columns and no names: begin it with `{name},...`"));
        }
        None => 0,
    };
    // Rows that carry their own position must stand in its order, or the values go astray.
    let order = position(head, Column::Indices).filter(|_| column == Column::Scores);
    let rows = lines.skip(usize::from(is_head)).enumerate();
    rows.map(|(row, (number, line))| {
        let cell = |at: usize| line.split(',').nth(at).unwrap_or_default().trim();
        let number = number + 1;
        if let Some(order) = order
            && cell(order).parse() != Ok(row)
        {
            let found = cell(order);
            return Err(format!("has index `{found}` on line {number}: expected {row}, in order"));
        }
        let found = cell(at);
        found.parse().map_err(|_| format!("has `{found}` on line {number}: expected {wanted}"))
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
            picked(found, weights, 5).expect_err("it is refused")
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
        assert_eq!(read("1\n2.5\n\n", Column::Scores), Ok(vec![1.0, 2.5]));
        let table = "index,score,label\n0,0.25,7\n1,-3,0\n";
        assert_eq!(read(table, Column::Scores), Ok(vec![0.25, -3.0]));
        assert_eq!(read(table, Column::Indices), Ok(vec![0.0, 1.0]));
        let says = |text: &str| read(text, Column::Scores).expect_err("it is refused");
        assert_eq!(says("1\nx\n"), "has `x` on line 2: expected a number");
        assert!(says("a,b\n1,2\n").starts_with("has no column `scores` or `score`"));
        assert!(says("1,2\n").starts_with("has several columns and no names"));
        let astray = says("index,score\n1,0.5\n0,0.25\n");
        assert_eq!(astray, "has index `1` on line 2: expected 0, in order");
    }
}
