//! Bringing the columns of a table to one scale.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the columns are brought to scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Scale {
    /// Not at all.
    #[default]
    None,
    /// Each to mean 0 and standard deviation 1 of the training samples; one that never varies to 0.
    Standard,
}

impl Scale {
    // Settings that were written before there was a choice have the keys that they had.
    pub(super) fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// Mean and sum of squared deviations of each column, updated row by row (Welford, *Note on a Method for
/// Calculating Corrected Sums of Squares and Products*, Technometrics 1962).
pub(super) struct Moments {
    rows: f64,
    columns: Vec<(f64, f64)>,
}

impl Moments {
    pub(super) fn new(d: usize) -> Self {
        Self { rows: 0.0, columns: vec![(0.0, 0.0); d] }
    }

    /// Takes whole rows of f32 in, little-endian.
    pub(super) fn add(&mut self, block: &[u8]) {
        for row in rows(block, self.columns.len()) {
            self.rows += 1.0;
            for (value, (mean, squares)) in row.zip(&mut self.columns) {
                let value = f64::from(value);
                let apart = value - *mean;
                *mean += apart / self.rows;
                *squares += apart * (value - *mean);
            }
        }
    }

    /// Returns what brings each column to mean 0 and standard deviation 1 (of the population).
    pub(super) fn standardiser(self) -> Standardiser {
        let deviation = |(mean, squares): (f64, f64)| (mean, (squares / self.rows).sqrt());
        Standardiser { columns: self.columns.into_iter().map(deviation).collect() }
    }
}

/// Mean and standard deviation of each column.
pub(super) struct Standardiser {
    columns: Vec<(f64, f64)>,
}

impl Standardiser {
    /// Returns whole rows with each column less its mean, over its standard deviation.
    pub(super) fn scaled(&self, block: &[u8]) -> Vec<u8> {
        let mut scaled = Vec::with_capacity(block.len());
        for row in rows(block, self.columns.len()) {
            for (value, (mean, deviation)) in row.zip(&self.columns) {
                let apart = f64::from(value) - mean;
                let value = if *deviation > 0.0 { (apart / deviation) as f32 } else { 0.0 };
                scaled.extend(value.to_le_bytes());
            }
        }
        scaled
    }
}

/// Returns the largest magnitude in a block of f32.
pub(super) fn largest(block: &[u8]) -> f32 {
    rows(block, 1).flatten().fold(0.0, |largest, value| largest.max(value.abs()))
}

/// Returns the rows of `d` f32 in a block.
fn rows(block: &[u8], d: usize) -> impl Iterator<Item = impl Iterator<Item = f32>> {
    let (words, _) = block.as_chunks::<4>();
    words.chunks_exact(d).map(|row| row.iter().map(|word| f32::from_le_bytes(*word)))
}
