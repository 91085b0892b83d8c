//! The cross-entropy loss of the label.

use super::{Means, Scorer, TrainedProxy, fold_epochs};
use artifacts::scores::Scores;
use artifacts::{ClassId, record::EpochRow};
use engine::{StageError, Streams};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The cross-entropy of the label.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Loss {
    /// Which predictions: `final` (after the last epoch, evaluation mode) or `mean` over the
    /// recorded epochs.
    of: LossEpochs,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum LossEpochs {
    #[default]
    Final,
    Mean,
}

impl Scorer for Loss {
    const NAME: &'static str = "score.loss";
    const SUMMARY: &'static str = "the cross-entropy of the label; high is hard";
    const MANUAL: &'static str = "\
`-log p_y`, after the last epoch or averaged over training. `select.bottom` on it keeps the samples of
small loss, as is done against noisy labels (Han et al., *Co-teaching*, NeurIPS 2018). Cost: O(nC).";

    fn score(&self, proxy: &dyn TrainedProxy, _: Streams) -> Result<Scores, StageError> {
        let labels = proxy.labels();
        let values = match self.of {
            LossEpochs::Final => {
                let logits = proxy.logits()?;
                let value =
                    |(i, label): (usize, &ClassId)| EpochRow::of(logits.row(i), *label).loss;
                labels.par_iter().enumerate().map(value).collect()
            }
            LossEpochs::Mean => {
                let mut means = Means::new(labels.len());
                fold_epochs(proxy, 1, 0, |_, rows| means.add(rows, |row| row.loss))?;
                means.finish(1.0)
            }
        };
        Ok(Scores::harder_when_high(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::testing::InMemory;

    #[test]
    fn the_loss_worked_by_hand() {
        let proxy = InMemory::recorded(&[0], 2, &[vec![0.0, 0.0], vec![3f32.ln(), 0.0]]);
        let (half, three_quarters) = (2f32.ln(), (4.0f32 / 3.0).ln());
        for (of, expected) in
            [(LossEpochs::Final, three_quarters), (LossEpochs::Mean, (half + three_quarters) / 2.0)]
        {
            let values = Loss { of }.score(&proxy, Streams::new(0, &[])).expect("it is recorded");
            assert!((values.scores[0] - expected).abs() < 1e-6);
        }
    }
}
