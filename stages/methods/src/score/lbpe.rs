//! LBPE: the error in the epochs that got most samples right.

use super::{Means, Scorer, TrainedProxy, fold_epochs};
use crate::MethodError;
use artifacts::{scores::Scores, units::Count};
use engine::{StageError, Streams};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The sum of the error vector's length over the epochs of best training accuracy.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Lbpe {
    /// How many epochs are summed: those on record that classified most samples rightly.
    best: Count,
}

impl Default for Lbpe {
    fn default() -> Self {
        Self { best: Count::try_from(10).expect("10 is above 0") }
    }
}

impl Scorer for Lbpe {
    const NAME: &'static str = "score.lbpe";
    const SUMMARY: &'static str = "the error summed over the epochs of best training accuracy";
    const MANUAL: &'static str = "\
The sum of `||p - onehot(y)||` over the K recorded epochs of best training accuracy, of equally good ones
the earlier; accuracy is the share of right predictions among the samples that the epoch saw. A sum is the
mean over those of the epochs that saw the sample, times K. High is hard.

The method keeps the LOW end, as many of each class: `select.bottom` with `balance = \"class\"`.

The error is that of Paul, Ganguli & Dziugaite, *Deep Learning on a Data Diet*, NeurIPS 2021. The sum is told
as later work on dataset pruning tells it: neither its authors' code nor their own text was at hand, so that
details may differ. Cost: O(nT) from rows, O(nTC) from logits; K epochs are read twice.";

    fn score(&self, proxy: &dyn TrainedProxy, _: Streams) -> Result<Scores, StageError> {
        let (labels, count) = (proxy.labels(), self.best.get());
        let mut accuracies = vec![];
        fold_epochs(proxy, 1, 0, |epoch, rows| {
            let seen = rows.iter().filter(|row| row.seen()).count();
            let right =
                rows.iter().zip(labels).filter(|(row, label)| row.top == Some(**label)).count();
            // An epoch that saw nothing is the worst of all.
            accuracies.push((right as f64 / seen.max(1) as f64, epoch));
        })?;
        if accuracies.len() < count {
            let recorded = accuracies.len();
            return Err(MethodError::Window { window: count, recorded }.into());
        }
        accuracies.sort_by(|(a, at), (b, to)| b.total_cmp(a).then(at.cmp(to)));
        let mut best: Vec<usize> = accuracies[..count].iter().map(|(_, epoch)| *epoch).collect();
        best.sort_unstable();
        let mut means = Means::new(labels.len());
        for epoch in best {
            means.add(&proxy.rows(epoch)?, |row| row.el2n);
        }
        Ok(Scores::harder_when_high(means.finish(count as f64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::testing::InMemory;

    #[test]
    fn the_best_epochs_worked_by_hand() {
        // Right are 1, 2, 2, and 0 of two samples; the second and third epochs count.
        let (right, wrong) = ([3f32.ln(), 0.0], [0.0, 3f32.ln()]);
        let surer = [7f32.ln(), 0.0];
        let epochs = [[right, wrong], [right, surer], [surer, right], [wrong, wrong]];
        let epochs: Vec<Vec<f32>> = epochs.iter().map(|epoch| epoch.concat()).collect();
        let proxy = InMemory::recorded(&[0, 0], 2, &epochs);
        let score = |best: u64| {
            let rule = Lbpe { best: Count::try_from(best).expect("it is above 0") };
            rule.score(&proxy, Streams::new(0, &[])).map(|values| values.scores)
        };
        // Lengths are sqrt(2) (1 - p_y): p_y is 3/4 where it is right, 7/8 where it is surer.
        let (one, two) = (score(1).expect("recorded"), score(2).expect("recorded"));
        let unit = 2f32.sqrt() / 8.0;
        assert!((one[0] - 2.0 * unit).abs() < 1e-6 && (one[1] - unit).abs() < 1e-6);
        assert!((two[0] - 3.0 * unit).abs() < 1e-6 && (two[1] - 3.0 * unit).abs() < 1e-6);
        assert!(score(5).is_err());
    }
}
