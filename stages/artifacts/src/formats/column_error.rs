//! What is wrong with a column of numbers that another program made.

use super::{ArrayError, FormatError, array::plain, column::Column};
use crate::subset::SubsetError;
use thiserror::Error;

/// What is wrong with a file of numbers: a clause that follows its name.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ColumnError {
    /// The file does not read.
    #[error(transparent)]
    Array(#[from] ArrayError),
    /// A number is a NaN or an infinity, or too large.
    #[error("has {} as {} {position}{}", plain(*value), column.singular(), beyond(*value))]
    NotFinite {
        /// The column read.
        column: Column,
        /// The value.
        value: f64,
        /// Its position, counted from 0.
        position: usize,
    },
    /// A whole number is so large that a 64-bit float does not tell it from another.
    #[error(
        "has a score at {position} that a 64-bit float cannot tell from another: take the smallest off all of them"
    )]
    Merged {
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
    /// An index or a label is not a whole number.
    #[error("has {value} as {} {position}: expected whole numbers", column.singular())]
    NotWhole {
        /// The column read.
        column: Column,
        /// The value.
        value: f64,
        /// Its position, counted from 0.
        position: usize,
    },
    /// Texts stand where numbers are expected.
    #[error("has `{text}` as {} {position}: expected {wanted}", column.singular())]
    Text {
        /// The column read.
        column: Column,
        /// The text.
        text: String,
        /// Its position, counted from 0.
        position: usize,
        /// What should stand there.
        wanted: &'static str,
    },
    /// Indices are all 0 or 1, and some stand there twice: a mask of integers.
    #[error(
        "has 0 and 1 alone, {0} of them, which looks like a mask: save `numpy.flatnonzero(mask)`, or the mask as bool"
    )]
    Mask(usize),
    /// A mask is longer than the training set, or shorter.
    #[error(
        "has a mask of {mask} bools, but there are {samples} training samples: expected one for each"
    )]
    MaskLength {
        /// How long it is.
        mask: usize,
        /// How many training samples there are.
        samples: usize,
    },
    /// It keeps nothing.
    #[error("keeps no sample: a subset has one at least")]
    Empty,
    /// Beside the samples, a column says which of them are kept.
    #[error(
        "has a column `{name}` that is false for some of its samples: write the others alone, as by \
         `df[df['{name}'] == 1]`"
    )]
    Flags {
        /// The column.
        name: String,
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
    /// It names samples by ids that are those of no training sample.
    #[error("has {} of {all} ids that no training sample has: {}", unknown.len(), few(unknown))]
    UnknownIds {
        /// What they are.
        unknown: Vec<String>,
        /// How many ids it has.
        all: usize,
    },
    /// It names samples by ids, and the data has none.
    #[error("names samples by ids, but the data has none: save their positions from 0, as `index`")]
    NoIds,
    /// Its numbers could be positions, and ids.
    #[error(
        "has numbers that may be positions or ids of the data: say which in a first line, `index` or `id`"
    )]
    PositionsOrIds,
    /// The samples are no subset: an index stands there twice, say.
    #[error("{}", as_subset(.0))]
    Subset(#[from] SubsetError),
}

impl ColumnError {
    /// Returns whether the file is text that does not make a table of what was wanted.
    pub fn is_of_cells(&self) -> bool {
        let Self::Array(ArrayError::Format(error)) = self else { return false };
        matches!(
            error,
            FormatError::Cells { .. }
                | FormatError::Csv { .. }
                | FormatError::NoColumn { .. }
                | FormatError::NoNames(_)
        )
    }
}

/// Returns what to add of a value that is finite and too large.
fn beyond(value: f64) -> &'static str {
    if value.is_finite() {
        ", which is beyond a 32-bit float: divide them all by a constant"
    } else {
        ""
    }
}

/// Returns the first of some names.
fn few(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(3).map(|name| format!("`{name}`")).collect();
    format!("{}{}", shown.join(", "), if names.len() > 3 { " and others" } else { "" })
}

fn as_subset(error: &SubsetError) -> String {
    match error {
        SubsetError::Twice(sample) => format!("has index {sample} twice"),
        other => format!("gives no subset: {other}"),
    }
}
