//! AUM, the area under the margin: the label's margin, averaged over training.

use super::{Means, Scorer, TrainedProxy, fold_epochs};
use artifacts::scores::Scores;
use engine::{StageError, Streams};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The mean margin of the label over the epochs of training: low is hard, or mislabelled.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Aum {
    /// What the margin is of: `logit` (Pleiss et al.) or `probability` (CCS, D2, and ELFS).
    margin: AumMargin,
    /// How many epochs, from the first; all on record if left out.
    epochs: Option<artifacts::units::Count>,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum AumMargin {
    #[default]
    Logit,
    Probability,
}

impl Scorer for Aum {
    const NAME: &'static str = "score.aum";
    const SUMMARY: &'static str = "the margin of the label, averaged over training; low is hard";
    const MANUAL: &'static str = "\
The mean over epochs of `z_y - max z_c` (or of the same in probabilities), each sample over the epochs
that saw it. Low is hard or mislabelled, so the score is its negative; the margin itself is kept as
`published`.

Pleiss, Zhang, Elenberg & Weinberger, *Identifying Mislabeled Data using the Area Under the Margin
Ranking*, NeurIPS 2020, eq. 1. Cost: O(nT) from rows, O(nTC) from logits. The thresholds from
artificial extra classes are not part of the score.";

    fn score(&self, proxy: &dyn TrainedProxy, _: Streams) -> Result<Scores, StageError> {
        let mut means = Means::new(proxy.labels().len());
        let last = self.epochs.map_or(0, artifacts::units::Count::get);
        fold_epochs(proxy, 1, last, |_, rows| {
            means.add(rows, |row| match self.margin {
                AumMargin::Logit => row.logit_margin,
                AumMargin::Probability => row.prob_margin,
            });
        })?;
        Ok(Scores::harder_when_low(means.finish(1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::testing::InMemory;

    #[test]
    fn margins_are_averaged_over_the_epochs_that_saw_the_sample() {
        let nan = f32::NAN;
        let proxy = InMemory::recorded(
            &[0, 1, 0],
            2,
            &[vec![2.0, 0.0, 3.0, 0.0, nan, nan], vec![0.0, 1.0, 0.0, 4.0, 5.0, 1.0]],
        );
        let values = Aum::default().score(&proxy, Streams::new(0, &[])).expect("it is recorded");
        assert_eq!(values.published, Some(vec![0.5, 0.5, 4.0]));
        assert_eq!(values.scores, [-0.5, -0.5, -4.0]);
    }
}
