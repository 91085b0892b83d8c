//! What is wrong with a data set whose parts do not fit together.

use crate::{ClassId, GroupId};
use thiserror::Error;

/// How the parts of a data set contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// The samples do not fill their shape.
    #[error("split `{split}` has {found} elements, but {n} samples of {sample:?} have {wanted}")]
    Elements {
        /// The split.
        split: &'static str,
        /// How many elements it has.
        found: usize,
        /// How many samples.
        n: usize,
        /// The shape of one.
        sample: Vec<usize>,
        /// How many elements so many have.
        wanted: usize,
    },
    /// There is not one label for each sample.
    #[error("split `{split}` has {found} labels for {n} samples")]
    LabelCount {
        /// The split.
        split: &'static str,
        /// How many labels it has.
        found: usize,
        /// How many samples.
        n: usize,
    },
    /// A label is no class.
    #[error("label {label} of sample {sample} in `{split}` is not one of {classes} classes")]
    Label {
        /// The split, or `clean`.
        split: &'static str,
        /// The position of the sample.
        sample: usize,
        /// Its label.
        label: ClassId,
        /// How many classes there are.
        classes: usize,
    },
    /// There is not one clean label for each training sample.
    #[error("there are {found} clean labels for {n} samples")]
    CleanCount {
        /// How many there are.
        found: usize,
        /// How many training samples.
        n: usize,
    },
    /// The positions of the touched samples are out of order, or beyond the training split.
    #[error("the touched positions are not distinct, sorted and below {n}")]
    Touched {
        /// How many training samples there are.
        n: usize,
    },
    /// A column has not one value for each training sample.
    #[error("column `{column}` has {found} values for {n} samples")]
    ColumnLength {
        /// The column: `id`, or the name of a count.
        column: String,
        /// How many values it has.
        found: usize,
        /// How many training samples.
        n: usize,
    },
    /// There is not one group for each sample.
    #[error("split `{split}` has {found} groups for {n} samples")]
    GroupCount {
        /// The split.
        split: &'static str,
        /// How many groups are given.
        found: usize,
        /// How many samples.
        n: usize,
    },
    /// A group has no name.
    #[error("group {group} of sample {sample} in `{split}` is not one of {groups} groups")]
    Group {
        /// The split.
        split: &'static str,
        /// The position of the sample.
        sample: usize,
        /// Its group.
        group: GroupId,
        /// How many groups have a name.
        groups: usize,
    },
    /// It is not said of each training sample what was done to it.
    #[error("it is said of {found} samples what was done to them, and there are {n}")]
    OriginCount {
        /// Of how many it is said.
        found: usize,
        /// How many training samples.
        n: usize,
    },
    /// What was done to a sample is none of what can be.
    #[error("{byte} stands for nothing that is done to samples")]
    Origin {
        /// What it is said to be.
        byte: u8,
    },
    /// A copy is no duplicate, or of no other sample.
    #[error("the copies are not distinct, sorted duplicates of other samples")]
    Copies,
}
