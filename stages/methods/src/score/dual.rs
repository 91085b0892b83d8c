//! DUAL: difficulty and uncertainty, told early.

use super::{
    Scorer, Scores, TrainedProxy,
    dyn_unc::{DynUnc, windows},
};
use artifacts::units::Count;
use engine::{Problem, StageError, Streams};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The spread of the label's probability in a sliding window times its distance from 1.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Dual {
    /// How many epochs a window spans.
    window: Count,
    /// How many epochs, from the first; all on record if left out. The paper stops at 30 (CIFAR)
    /// or 60 (ImageNet) of a schedule of 200.
    epochs: Option<Count>,
}

impl Default for Dual {
    fn default() -> Self {
        Self { window: Count::try_from(10).expect("10 is above 0"), epochs: None }
    }
}

impl Scorer for Dual {
    const NAME: &'static str = "score.dual";
    const SUMMARY: &'static str =
        "uncertainty times difficulty in a sliding window, early in training";
    const MANUAL: &'static str = "\
The mean over all windows of J epochs of `std(p_y) * (1 - mean(p_y))`, with the deviation over J - 1.
High is kept. The paper follows it, at high pruning rates, with a Beta-weighted draw, which is a
selector of its own.

Cho et al., *Lightweight Dataset Pruning without Full Training via Example Difficulty and Prediction
Uncertainty*, ICML 2025. Cost: O(nTJ). A sample that an epoch did not see has no
score; the authors' code takes the missing prediction for a uniform one.";

    fn problems(&self) -> Vec<Problem> {
        DynUnc::problems_of(self.window, self.epochs)
    }

    fn score(&self, proxy: &dyn TrainedProxy, _: Streams) -> Result<Scores, StageError> {
        windows(proxy, self.window, self.epochs, |mean, deviation| deviation * (1.0 - mean))
            .map(Scores::harder_when_high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::testing::InMemory;

    #[test]
    fn one_window_worked_by_hand() {
        // p_y = 1/2, then 3/4: mean 5/8, deviation over J - 1 = 1/(4 sqrt 2).
        let proxy = InMemory::recorded(&[0], 2, &[vec![0.0, 0.0], vec![3f32.ln(), 0.0]]);
        let rule = Dual { window: Count::try_from(2).expect("2 is above 0"), epochs: None };
        let values = rule.score(&proxy, Streams::new(0, &[])).expect("it is recorded");
        assert!((values.scores[0] - 0.375 / (4.0 * 2f32.sqrt())).abs() < 1e-6);
    }
}
