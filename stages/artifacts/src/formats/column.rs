//! Numbers that other programs made: one column out of a file, checked before it is believed.
//!
//! What is wrong comes back as a clause that follows the file's name.

use super::{Array, ArrayError, DataFile, FormatError, Values, Wanted, mask};
use crate::{
    SampleId,
    subset::{PickedSample, Subset},
};
use engine::{Problem, SpecPath};
use std::path::Path;

pub use super::{
    column_error::ColumnError,
    mask::{is_mask, no_flags},
};

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

    /// Returns the names it has in files.
    fn usual(self) -> &'static [&'static str] {
        match self {
            Self::Scores => &["scores", "score"],
            Self::Indices => &["indices", "index", "idx"],
            Self::Weights => &["weights", "weight"],
            Self::Labels => &["labels", "label", "targets", "target"],
            Self::Groups => &["groups", "group"],
        }
    }

    pub(super) fn singular(self) -> &'static str {
        match self {
            Self::Scores => "score",
            Self::Indices => "index",
            Self::Weights => "weight",
            Self::Labels => "label",
            Self::Groups => "group",
        }
    }
}

/// Returns whether the file at `path` has a tensor or column of this name, where it can have
/// several.
pub fn has(path: &Path, column: Column) -> bool {
    DataFile::open(path).is_ok_and(|file| has_in(&file, column))
}

/// Returns whether `file` has a tensor or column of this name, where it can have several.
pub fn has_in(file: &DataFile, column: Column) -> bool {
    file.has(column.usual())
}

/// Opens the file at `path`.
fn open(path: &Path) -> Result<DataFile, ColumnError> {
    Ok(DataFile::open(path).map_err(ArrayError::from)?)
}

/// A column of a file: its numbers or texts, one a row.
struct ColumnValues<'a> {
    file: &'a DataFile,
    name: String,
}

impl<'a> ColumnValues<'a> {
    /// Finds `column` in `file`: under the name `given`, or under its usual ones.
    fn of(file: &'a DataFile, column: Column, given: Option<&str>) -> Result<Self, ColumnError> {
        let setting = matches!(column, Column::Scores | Column::Labels).then_some("column");
        let wanted = Wanted { given, usual: column.usual(), setting };
        let name = file.find(wanted).map_err(ArrayError::from)?;
        Ok(Self { file, name })
    }

    fn values(&self) -> Result<Values<'_>, ColumnError> {
        Ok(self.file.get(&self.name).map_err(ArrayError::from)?)
    }

    /// Returns the values as an array of one dimension.
    fn array(&self, column: Column, wanted: &'static str) -> Result<Array<'_>, ColumnError> {
        match self.values()? {
            Values::Numbers(found) => match found.shape[..] {
                [_] | [_, 1] => Ok(found),
                _ => Err(ColumnError::Shape { column, shape: found.shape }),
            },
            Values::Texts(texts) => {
                let odd = texts.iter().position(|text| text.parse::<f64>().is_err());
                let position = odd.unwrap_or(0);
                let text = texts.into_iter().nth(position).unwrap_or_default();
                Err(ColumnError::Text { column, text, position, wanted })
            }
        }
    }

    /// Puts values, one a row, in the order that the file's index tells.
    fn ordered<T: Clone>(&self, values: Vec<T>) -> Result<Vec<T>, FormatError> {
        Ok(match self.file.order(values.len())? {
            Some(rows) => rows.into_iter().map(|row| values[row].clone()).collect(),
            None => values,
        })
    }
}

/// Returns the numbers of `column` in `path`, all of them finite.
///
/// # Errors
///
/// Says what the file has in place of them.
pub fn floats(path: &Path, column: Column) -> Result<Vec<f32>, ColumnError> {
    Ok(doubles(path, column, None)?.into_iter().map(|value| value as f32).collect())
}

/// Returns the numbers of `column` in `path`, or of that called `given`: all of them finite, and none beyond
/// what an f32 holds.
///
/// # Errors
///
/// Says what the file has in place of them.
pub fn doubles(path: &Path, column: Column, given: Option<&str>) -> Result<Vec<f64>, ColumnError> {
    doubles_in(&open(path)?, column, given)
}

/// Returns the numbers of `column` in `file`, as [`doubles`].
///
/// # Errors
///
/// As [`doubles`].
pub fn doubles_in(
    file: &DataFile,
    column: Column,
    given: Option<&str>,
) -> Result<Vec<f64>, ColumnError> {
    let found = ColumnValues::of(file, column, given)?;
    let array = found.array(column, "a number")?;
    let values = array.doubles();
    if let Some(position) = array.first_merged(&values).filter(|_| column == Column::Scores) {
        return Err(ColumnError::Merged { position });
    }
    if let Some(position) = values.iter().position(|value| !(*value as f32).is_finite()) {
        return Err(ColumnError::NotFinite { column, value: values[position], position });
    }
    match column {
        // Indices and their weights are in any order.
        Column::Weights | Column::Indices => Ok(values),
        Column::Scores | Column::Labels | Column::Groups => {
            Ok(found.ordered(values).map_err(ArrayError::from)?)
        }
    }
}

/// Returns the positions in `path`, in the order of the file; of a mask of bools, those that are true.
///
/// # Errors
///
/// Says what the file has in place of them.
pub fn indices(path: &Path) -> Result<Vec<i128>, ColumnError> {
    indices_in(&open(path)?, None)
}

/// Returns the positions in `file`, as [`indices`], of a training set of `n` samples if that is known: so long is a
/// mask.
///
/// # Errors
///
/// Says what the file has in place of them.
pub fn indices_in(file: &DataFile, n: Option<usize>) -> Result<Vec<i128>, ColumnError> {
    let column = Column::Indices;
    let found = ColumnValues::of(file, column, None)?;
    let values = found.values()?;
    if let Some(mask) = mask::flags(&values) {
        if let Some(samples) = n.filter(|n| *n != mask.len()) {
            return Err(ColumnError::MaskLength { mask: mask.len(), samples });
        }
        let kept = mask.iter().enumerate().filter(|(_, kept)| **kept);
        let kept: Vec<i128> = kept.map(|(at, _)| at as i128).collect();
        return if kept.is_empty() { Err(ColumnError::Empty) } else { Ok(kept) };
    }
    drop(values);
    let wholes = whole_numbers(&found.array(column, "a whole number")?, column)?;
    if wholes.len() > 2 && wholes.iter().all(|one| matches!(one, 0 | 1)) {
        return Err(ColumnError::Mask(wholes.len()));
    }
    if wholes.is_empty() { Err(ColumnError::Empty) } else { Ok(wholes) }
}

/// Returns the whole numbers of `column` in `path`, or of that called `given`, in the order of the samples.
///
/// # Errors
///
/// Says what the file has in place of them.
pub fn wholes(path: &Path, column: Column, given: Option<&str>) -> Result<Vec<i128>, ColumnError> {
    let file = open(path)?;
    let found = ColumnValues::of(&file, column, given)?;
    let wholes = whole_numbers(&found.array(column, "a whole number")?, column)?;
    Ok(found.ordered(wholes).map_err(ArrayError::from)?)
}

fn whole_numbers(array: &Array<'_>, column: Column) -> Result<Vec<i128>, ColumnError> {
    match array.first_fraction() {
        Some((position, value)) => Err(ColumnError::NotWhole { column, value, position }),
        None => Ok(array.whole_numbers().unwrap_or_default()),
    }
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
pub fn missing(setting: &str, written: &SpecPath) -> Option<Problem> {
    no_file(setting, &written.path(), "the pipeline file")
}

/// Returns what is wrong with the file at `path`, which setting `setting` names relative to `base`, if
/// there is none.
pub fn no_file(setting: &str, path: &Path, base: &str) -> Option<Problem> {
    if path.is_file() {
        return None;
    }
    let (message, hint) = if path.is_dir() {
        let hint = "name a file in it".to_owned();
        (format!("`{}` is a folder, not a file", path.display()), hint)
    } else {
        let home = path.components().any(|part| part.as_os_str() == "~");
        let hint = match home {
            true => "`~` is not expanded here: write the home folder out".to_owned(),
            false => format!("a path is relative to {base}"),
        };
        (format!("there is no file `{}`", path.display()), hint)
    };
    Some(Problem { setting: setting.to_owned(), message, hint: Some(hint) })
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

    fn read<T>(
        name: &str,
        bytes: &[u8],
        read: impl Fn(&Path) -> Result<T, ColumnError>,
    ) -> Result<T, ColumnError> {
        let place =
            std::env::temp_dir().join(format!("coresift-column-{}-{name}", std::process::id()));
        std::fs::write(&place, bytes).expect("a place to write to");
        let found = read(&place);
        std::fs::remove_file(&place).expect("it was just written");
        found
    }

    #[test]
    fn text_has_one_column_or_names_them() {
        let scores = |name: &str, text: &str| {
            read(name, text.as_bytes(), |path| doubles(path, Column::Scores, None))
        };
        assert_eq!(scores("a.txt", "1\n2.5\n\n").expect("it reads"), [1.0, 2.5]);
        let table = "index,score,label\n0,0.25,7\n1,-3,0\n";
        assert_eq!(scores("b.csv", table).expect("it reads"), [0.25, -3.0]);
        let found = read("c.csv", table.as_bytes(), indices);
        assert_eq!(found.expect("it reads"), [0, 1]);
        // Rows that say where they belong are put there.
        for head in ["index,score", ",score", "Unnamed: 0,score"] {
            let astray = format!("{head}\n2,0.5\n0,0.25\n1,3\n");
            assert_eq!(scores("d.csv", &astray).expect("it reads"), [0.25, 3.0, 0.5], "{head}");
        }
        let says = |text: &str| scores("e.csv", text).expect_err("it is refused").to_string();
        assert_eq!(says("1\nx\n3\n4\n"), "has `x` on line 2: expected a number");
        assert!(
            says("a,b\n1,2\n").starts_with("has no column `scores`: it has `a`, `b`; `column`")
        );
        assert!(says("1,2\n").starts_with("has several columns and no names"));
        let twice = says("index,score\n1,0.5\n1,0.25\n");
        assert!(
            twice.starts_with("has index 1 in row 1: expected each of 0 to 1 once; rows"),
            "{twice}"
        );
        let uneven = br#"{"index": [1, 0], "scores": [1, 2, 3]}"#;
        let uneven = read("u.json", uneven, |path| doubles(path, Column::Scores, None));
        let uneven = uneven.expect_err("a row has no index").to_string();
        assert_eq!(uneven, "has 2 rows in `index`, but 3 in another column");
        let merged = says("9007199254740992\n0\n9007199254740993\n");
        assert!(merged.starts_with("has a score at 2 that a 64-bit float cannot tell"), "{merged}");
        assert!(says("score\n1\n1e300\n2\n").contains("has 1e300 as score 1, which is beyond"));
    }

    #[test]
    fn a_mask_is_told_from_positions() {
        let header = "{'descr': '|b1', 'fortran_order': False, 'shape': (4,), }";
        let mask = crate::formats::npy::encode(1, header, &[0, 1, 0, 1]);
        assert_eq!(read("m.npy", &mask, indices).expect("it is a mask"), [1, 3]);
        let says =
            |text: &[u8]| read("m.txt", text, indices).expect_err("it is refused").to_string();
        assert!(says(b"0\n1\n1\n0\n").contains("looks like a mask"));
        assert_eq!(says(b"0\n1.5\n2\n"), "has 1.5 as index 1: expected whole numbers");
        assert_eq!(read("f.txt", b"0\n2.0\n", indices).expect("they are whole"), [0, 2]);
    }
}
