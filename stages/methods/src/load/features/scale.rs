//! Bringing the columns of a table to one scale.

use artifacts::parts;
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
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    pub(super) fn new(d: usize) -> Self {
        Self { rows: 0.0, mean: vec![0.0; d], squares: vec![0.0; d] }
    }

    /// Takes whole rows of f32 in, little-endian.
    pub(super) fn add(&mut self, block: &[u8]) {
        let (words, _) = block.as_chunks::<4>();
        for row in words.chunks_exact(self.mean.len()) {
            self.rows += 1.0;
            for ((word, mean), squares) in row.iter().zip(&mut self.mean).zip(&mut self.squares) {
                let value = f64::from(f32::from_le_bytes(*word));
                let apart = value - *mean;
                *mean += apart / self.rows;
                *squares += apart * (value - *mean);
            }
        }
    }

    /// Returns whole rows with each column less its mean, over its standard deviation (of the population).
    pub(super) fn scaled(&self, block: &[u8]) -> Vec<u8> {
        let (words, _) = block.as_chunks::<4>();
        let scale = |at: usize, word: [u8; 4]| {
            let deviation = (self.squares[at] / self.rows).sqrt();
            let apart = f64::from(f32::from_le_bytes(word)) - self.mean[at];
            if deviation > 0.0 { (apart / deviation) as f32 } else { 0.0 }
        };
        let d = self.mean.len();
        let values: Vec<f32> =
            words.iter().enumerate().map(|(at, word)| scale(at % d, *word)).collect();
        parts::bytes_of_f32(&values).into()
    }
}
