//! Numbers that stand for something, told apart by the compiler: a sample, its label's class, the group it belongs
//! to, and its place among the samples that a selector picks from. A label read from the store or from a file is a
//! [`ClassId`] from there on; it becomes a plain number where a tensor is filled or a row is indexed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What picks a row of a matrix.
pub trait RowIndex: Copy {
    /// Returns the position, from 0.
    fn index(self) -> usize;
}

impl RowIndex for u32 {
    fn index(self) -> usize {
        self as usize
    }
}

/// A number of 32 bits that says in its type what it stands for: what a tensor of samples, labels or groups is read
/// into and written from. A bare `u32` is none.
pub trait Id: Copy + From<u32> + Into<u32> {}

/// Defines a number that is not taken for another.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        #[serde(transparent)]
        #[schemars(inline)]
        pub struct $name(u32);

        impl $name {
            /// Returns the one at `position`.
            ///
            /// # Panics
            ///
            /// Panics if `position` does not fit 32 bits: no training set is so large.
            #[must_use]
            pub fn at(position: usize) -> Self {
                Self(u32::try_from(position).expect("a position of 32 bits"))
            }

            /// Returns the first `count`, in order.
            pub fn all(count: usize) -> impl ExactSizeIterator<Item = Self> {
                (0..count).map(Self::at)
            }

            /// Returns those at `positions`.
            #[must_use]
            pub fn list(positions: impl IntoIterator<Item = u32>) -> Vec<Self> {
                positions.into_iter().map(Self).collect()
            }

            /// Returns the position, from 0.
            #[inline]
            #[must_use]
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl Id for $name {}

        impl RowIndex for $name {
            #[inline]
            fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl From<u32> for $name {
            #[inline]
            fn from(position: u32) -> Self {
                Self(position)
            }
        }

        impl From<$name> for u32 {
            #[inline]
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A training sample: its position in the full training split, from 0. Never a position in a subset
    /// or in a group of samples.
    SampleId
}

id! {
    /// A class, which a sample's label names: its position in the data set's list of classes, from 0.
    ClassId
}

id! {
    /// A group of samples that a data set tells apart for worst-group accuracy, such as a class seen with one
    /// background (a spurious attribute): its position in the list of the groups' names, from 0.
    GroupId
}

id! {
    /// A sample of a group that a selector picks from: its place in the group, from 0, and its row in the
    /// group's matrices. Only the group knows which [`SampleId`] that is.
    InGroup
}
