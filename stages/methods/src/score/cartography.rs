//! Dataset cartography: the mean and the spread of the label's probability over training.

use super::{Scorer, TrainedProxy, fold_epochs};
use artifacts::scores::Scores;
use engine::{StageError, Streams};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The mean and the spread of the label's probability over training.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Cartography {
    /// Which coordinate of the map: `variability`, `corrected-variability`, `closeness`, `confidence`,
    /// or `correctness`.
    coordinate: Coordinate,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Coordinate {
    /// The standard deviation of the label's probability: the ambiguous samples are high.
    #[default]
    Variability,
    /// The same, with what few epochs leave out of it: high for the ambiguous.
    CorrectedVariability,
    /// The mean times its distance from 1: high for what is neither learnt nor missed throughout.
    Closeness,
    /// Its mean: low is hard.
    Confidence,
    /// The share of epochs in which the sample was classified rightly: low is hard.
    Correctness,
}

impl Scorer for Cartography {
    const NAME: &'static str = "score.cartography";
    const SUMMARY: &'static str =
        "how the label's probability moves over training: its spread or its mean";
    const MANUAL: &'static str = "\
Over the epochs that saw a sample: confidence is the mean of p_y, variability its standard deviation
(over T, not T - 1), correctness the share of right predictions (the authors' code: their number).
`select.top` on variability keeps the ambiguous samples, on confidence the hard ones. Of the authors' code
are corrected variability, `sqrt(v + v^2 / (T - 1))` with v the variance, and closeness, `c (1 - c)` with c
the confidence; it keeps the high end of variability and closeness, the low end of the rest. What it
calls forgetfulness is `score.forgetting` with `rule.never-learnt = \"thousand\"`.

Swayamdipta et al., *Dataset Cartography: Mapping and Diagnosing Datasets with Training Dynamics*,
EMNLP 2020, section 2.1. Cost: O(nT) from rows, O(nTC) from logits.";

    fn score(&self, proxy: &dyn TrainedProxy, _: Streams) -> Result<Scores, StageError> {
        let labels = proxy.labels();
        // Welford's recurrence: the spread of values near 1 has no digits to lose.
        let mut all = vec![(0u32, 0.0f64, 0.0f64, 0u32); labels.len()];
        fold_epochs(proxy, 1, 0, |_, rows| {
            for ((row, label), (seen, mean, square, right)) in rows.iter().zip(labels).zip(&mut all)
            {
                if row.seen() {
                    *seen += 1;
                    let off = f64::from(row.p_y) - *mean;
                    *mean += off / f64::from(*seen);
                    *square += off * (f64::from(row.p_y) - *mean);
                    *right += u32::from(row.top == Some(*label));
                }
            }
        })?;
        let value = |(seen, mean, square, right): &(u32, f64, f64, u32)| {
            let value = match (*seen, self.coordinate) {
                (0, _) => f64::NAN,
                (_, Coordinate::Variability) => (square / f64::from(*seen)).sqrt(),
                (1, Coordinate::CorrectedVariability) => 0.0,
                (_, Coordinate::CorrectedVariability) => {
                    let variance = square / f64::from(*seen);
                    (variance + variance * variance / f64::from(seen - 1)).sqrt()
                }
                (_, Coordinate::Closeness) => mean * (1.0 - mean),
                (_, Coordinate::Confidence) => *mean,
                (_, Coordinate::Correctness) => f64::from(*right) / f64::from(*seen),
            };
            value as f32
        };
        let values = all.iter().map(value).collect();
        Ok(match self.coordinate {
            Coordinate::Confidence | Coordinate::Correctness => Scores::harder_when_low(values),
            _ => Scores::harder_when_high(values),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::testing::InMemory;

    #[test]
    fn coordinates_worked_by_hand() {
        // p_y = 1/2, then 3/4: mean 5/8, deviation 1/8, right in both (ties go to class 0).
        let proxy = InMemory::recorded(&[0], 2, &[vec![0.0, 0.0], vec![3f32.ln(), 0.0]]);
        let score = |coordinate| {
            let rule = Cartography { coordinate };
            rule.score(&proxy, Streams::new(0, &[])).expect("it is recorded").scores[0]
        };
        assert!((score(Coordinate::Variability) - 0.125).abs() < 1e-6);
        assert!((score(Coordinate::Confidence) + 0.625).abs() < 1e-6);
        assert_eq!(score(Coordinate::Correctness), -1.0);
        assert!((score(Coordinate::Closeness) - 15.0 / 64.0).abs() < 1e-6);
        // The variance is 1/64, and T - 1 is 1.
        let corrected = (1.0f32 / 64.0 + 1.0 / 4096.0).sqrt();
        assert!((score(Coordinate::CorrectedVariability) - corrected).abs() < 1e-6);
    }
}
