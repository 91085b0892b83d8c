//! EL2N: the length of the error vector, prediction minus label.

use super::{Means, Scorer, TrainedProxy, fold_epochs};
use artifacts::{ClassId, scores::Scores};
use artifacts::{record::EpochRow, units::Count};
use engine::{Problem, StageError, Streams};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The Euclidean length of prediction minus one-hot label.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct El2n {
    /// Which predictions: `final` (after the last epoch, evaluation mode), `mean` or `sum` over
    /// the recorded epochs `first` to `last`.
    of: El2nEpochs,
    /// The first epoch of a mean or a sum.
    first: Option<Count>,
    /// The last epoch of a mean or a sum; the last on record if left out. `of = "sum"` with
    /// `last = 10` is the score of the CCS release.
    last: Option<Count>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum El2nEpochs {
    #[default]
    Final,
    Mean,
    Sum,
}

impl Scorer for El2n {
    const NAME: &'static str = "score.el2n";
    const SUMMARY: &'static str = "the length of prediction minus label; high is hard";
    const MANUAL: &'static str = "\
`||p - onehot(y)||`. The paper scores a network at epoch 20 of its training and averages ten of them:
list several proxies, which differ in their seed, on the port.

Paul, Ganguli & Dziugaite, *Deep Learning on a Data Diet*, NeurIPS 2021, definition 2.2. Cost: O(nC). A
sum over epochs is the mean over those that saw the sample, times their number.";

    fn problems(&self) -> Vec<Problem> {
        if self.of == El2nEpochs::Final && (self.first.is_some() || self.last.is_some()) {
            return vec![Problem {
                setting: "of".to_owned(),
                message: "epochs are given, but the final outputs are scored".to_owned(),
                hint: Some("set `rule.of` to `mean` or `sum`".to_owned()),
            }];
        }
        vec![]
    }

    fn score(&self, proxy: &dyn TrainedProxy, _: Streams) -> Result<Scores, StageError> {
        let labels = proxy.labels();
        if self.of == El2nEpochs::Final {
            let logits = proxy.logits()?;
            let value = |(i, label): (usize, &ClassId)| EpochRow::of(logits.row(i), *label).el2n;
            return Ok(Scores::harder_when_high(
                labels.par_iter().enumerate().map(value).collect(),
            ));
        }
        let mut means = Means::new(labels.len());
        let first = self.first.map_or(1, Count::get);
        let last = self.last.map_or(0, Count::get);
        let mut count = 0u32;
        fold_epochs(proxy, first, last, |_, rows| {
            means.add(rows, |row| row.el2n);
            count += 1;
        })?;
        let factor = if self.of == El2nEpochs::Sum { f64::from(count) } else { 1.0 };
        Ok(Scores::harder_when_high(means.finish(factor)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::testing::InMemory;

    #[test]
    fn final_mean_and_sum_worked_by_hand() {
        // p_y = 1/2, then 3/4: lengths sqrt(2) / 2 and sqrt(2) / 4.
        let proxy = InMemory::recorded(&[0], 2, &[vec![0.0, 0.0], vec![3f32.ln(), 0.0]]);
        for (of, quarters) in
            [(El2nEpochs::Final, 1.0), (El2nEpochs::Mean, 1.5), (El2nEpochs::Sum, 3.0)]
        {
            let rule = El2n { of, ..El2n::default() };
            let values = rule.score(&proxy, Streams::new(0, &[])).expect("it is recorded");
            assert!((values.scores[0] - quarters * 2f32.sqrt() / 4.0).abs() < 1e-6);
        }
        let late = El2n { of: El2nEpochs::Mean, last: Count::try_from(3).ok(), ..El2n::default() };
        assert!(late.score(&proxy, Streams::new(0, &[])).is_err());
    }
}
