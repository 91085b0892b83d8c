//! Labels as files give them, numbers or texts, made into positions among the names of classes.

use super::{features::UNLABELLED, names};
use crate::{MethodError, OwnFileError};
use artifacts::{
    ClassId,
    formats::{ArrayError, Values},
};
use engine::StageError;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// A label beyond this is taken for a mistake: each class gets a name of its own.
const MOST_CLASSES: usize = 1_000_000;

/// Numbers that leave out more classes than this, and than they name, are taken for identifiers.
const MOST_EMPTY: usize = 1000;

/// Labels as a file has them.
#[derive(Debug)]
pub(super) enum FileLabels {
    Numbers(Vec<ClassId>),
    Texts(Vec<String>),
    /// There are none, of so many samples.
    None(usize),
}

/// What finds the file of the labels of a split, `train` or `test`.
pub(super) type FindLabelFile<'p, 'f> = &'f dyn Fn(&str) -> Result<&'p Path, MethodError>;

impl FileLabels {
    /// Takes the labels out of an array or a column; `classes` are the names that the user gave.
    pub(super) fn of(values: Values<'_>, classes: Option<&[String]>) -> Result<Self, ArrayError> {
        match values {
            Values::Texts(texts) => {
                let is_class =
                    |name: &str| classes.is_some_and(|all| all.iter().any(|one| one == name));
                let missing = |text: &String| text.trim().is_empty() && !is_class(text);
                match texts.iter().position(missing) {
                    Some(sample) => Err(ArrayError::NoLabel(sample)),
                    None => Ok(Self::Texts(texts)),
                }
            }
            Values::Numbers(array) => {
                let classes = classes.map_or(MOST_CLASSES, <[_]>::len);
                array.labels(classes).map(Self::Numbers)
            }
        }
    }

    /// Puts them where a table's index says: first that of row `rows[0]`.
    pub(super) fn ordered(self, rows: Option<&[usize]>) -> Self {
        match (self, rows) {
            (Self::Numbers(labels), Some(rows)) if labels.len() == rows.len() => {
                Self::Numbers(rows.iter().map(|row| labels[*row]).collect())
            }
            (Self::Texts(labels), Some(rows)) if labels.len() == rows.len() => {
                Self::Texts(rows.iter().map(|row| labels[*row].clone()).collect())
            }
            (labels, _) => labels,
        }
    }

    /// Returns them and `more` of another file behind, if these are of the same kind.
    pub(super) fn and(self, more: Self) -> Option<Self> {
        match (self, more) {
            (Self::Numbers(mut all), Self::Numbers(mut more)) => {
                all.append(&mut more);
                Some(Self::Numbers(all))
            }
            (Self::Texts(mut all), Self::Texts(mut more)) => {
                all.append(&mut more);
                Some(Self::Texts(all))
            }
            (Self::None(n), Self::None(more)) => Some(Self::None(n + more)),
            _ => None,
        }
    }

    /// Returns what they are, for a message.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Numbers(_) => "labels that are numbers",
            Self::Texts(_) => "labels that are texts",
            Self::None(_) => "no labels",
        }
    }

    /// Checks that those that are texts are among `classes`, if these are given.
    pub(super) fn known(&self, classes: Option<&[String]>) -> Result<(), ArrayError> {
        let (Self::Texts(labels), Some(classes)) = (self, classes) else { return Ok(()) };
        let classes: BTreeSet<&str> = classes.iter().map(String::as_str).collect();
        match labels.iter().position(|label| !classes.contains(label.as_str())) {
            Some(sample) => Err(ArrayError::NoSuchLabel { sample, label: labels[sample].clone() }),
            None => Ok(()),
        }
    }

    /// Returns the labels written out.
    pub(super) fn texts(self) -> Vec<String> {
        match self {
            Self::Numbers(numbers) => numbers.iter().map(ClassId::to_string).collect(),
            Self::Texts(texts) => texts,
            Self::None(n) => vec![String::new(); n],
        }
    }

    /// Returns the labels of both splits as they are written: numbers if all are, else texts.
    pub(super) fn both(train: Vec<String>, test: Vec<String>) -> [Self; 2] {
        let numbers = |labels: &[String]| -> Option<Vec<ClassId>> {
            labels.iter().map(|text| text.trim().parse::<u32>().ok().map(ClassId::from)).collect()
        };
        match (numbers(&train), numbers(&test)) {
            (Some(train), Some(test)) => [Self::Numbers(train), Self::Numbers(test)],
            _ => [Self::Texts(train), Self::Texts(test)],
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Numbers(labels) => labels.len(),
            Self::Texts(labels) => labels.len(),
            Self::None(n) => *n,
        }
    }
}

/// Returns the names of the classes, those `given` or those that are found, and the labels of both splits as
/// positions among them. `path` is the file of a split's labels.
pub(super) fn classes(
    given: Option<&[String]>,
    labels: [&FileLabels; 2],
    path: FindLabelFile<'_, '_>,
) -> Result<(Vec<String>, [Vec<ClassId>; 2]), StageError> {
    let classes = match given {
        Some(given) => given.to_vec(),
        None => found(labels, path)?,
    };
    let positions = ClassId::all(classes.len());
    let places: BTreeMap<&str, ClassId> =
        classes.iter().map(String::as_str).zip(positions).collect();
    let place = |labels: &FileLabels, role: &str| -> Result<Vec<ClassId>, StageError> {
        let checked: Result<Vec<ClassId>, ArrayError> = match labels {
            FileLabels::None(n) => Ok(vec![ClassId::at(0); *n]),
            FileLabels::Numbers(numbers) => numbers
                .iter()
                .enumerate()
                .map(|(sample, label)| {
                    let (label, classes) = (*label, classes.len());
                    let known = label.index() < classes;
                    let wrong =
                        || ArrayError::Label { sample, label: u32::from(label).into(), classes };
                    known.then_some(label).ok_or_else(wrong)
                })
                .collect(),
            FileLabels::Texts(texts) => texts
                .iter()
                .enumerate()
                .map(|(sample, text)| {
                    let place = places.get(text.as_str()).copied();
                    place.ok_or_else(|| ArrayError::NoSuchLabel { sample, label: text.clone() })
                })
                .collect(),
        };
        match checked {
            Ok(labels) => Ok(labels),
            Err(error) => Err(refused(path(role)?, error)),
        }
    };
    let labels = [place(labels[0], "train")?, place(labels[1], "test")?];
    Ok((classes, labels))
}

/// Returns the names of the classes that labels have: the texts in their alphabetical order, or the numbers
/// from 0 on.
fn found(labels: [&FileLabels; 2], path: FindLabelFile<'_, '_>) -> Result<Vec<String>, StageError> {
    let (mut texts, mut numbers): (Vec<String>, Vec<&[ClassId]>) = (vec![], vec![]);
    for labels in labels {
        match labels {
            FileLabels::Numbers(given) => numbers.push(given),
            FileLabels::Texts(given) => texts.extend_from_slice(given),
            FileLabels::None(_) => {}
        }
    }
    if !texts.is_empty() {
        texts.sort();
        texts.dedup();
        return Ok(texts);
    }
    let mut seen: Vec<ClassId> = numbers.concat();
    seen.sort_unstable();
    seen.dedup();
    let Some(last) = seen.last() else { return Ok(vec![UNLABELLED.to_owned()]) };
    let classes = last.index() + 1;
    if classes > seen.len() + seen.len().max(MOST_EMPTY) {
        let (label, distinct) = (classes - 1, seen.len());
        return Err(refused(path("train")?, OwnFileError::SparseLabels { label, distinct }));
    }
    Ok(names::numbers(&numbers))
}

/// Returns the names of classes in a note of Hugging Face's: `{"info": {"features": {"label": {"names": [..]}}}}`.
pub(super) fn noted(note: &str, column: &str) -> Option<Vec<String>> {
    let note: Value = serde_json::from_str(note).ok()?;
    let names = note.get("info")?.get("features")?.get(column)?.get("names")?.as_array()?;
    names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

/// Returns the error of a file that a setting names and that is not what it should be.
pub(super) fn refused(path: &Path, error: impl Into<OwnFileError>) -> StageError {
    MethodError::OwnFile { path: path.to_owned(), error: Box::new(error.into()) }.into()
}
