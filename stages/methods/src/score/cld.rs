//! CLD, the correlation of loss differences: samples that are learnt when their class is.

use super::{Scorer, TrainedProxy, epochs_asked_for};
use crate::MethodError;
use artifacts::{ClassId, scores::Scores};
use engine::{StageError, Streams};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a sample's loss moves from epoch to epoch with the held-out loss of its class.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Cld {
    /// The last epoch of the record that is looked at; 0 is the last there is.
    epochs: usize,
}

/// A correlation of pairs that come one after the other (Welford).
#[derive(Clone, Copy, Default)]
struct Correlation {
    seen: f64,
    means: (f64, f64),
    squares: (f64, f64),
    product: f64,
}

impl Correlation {
    fn add(&mut self, x: f64, y: f64) {
        self.seen += 1.0;
        let off = (x - self.means.0, y - self.means.1);
        self.means.0 += off.0 / self.seen;
        self.means.1 += off.1 / self.seen;
        self.squares.0 += off.0 * (x - self.means.0);
        self.squares.1 += off.1 * (y - self.means.1);
        self.product += off.0 * (y - self.means.1);
    }

    /// Pearson's r; 0 where one of the two does not vary, NaN where fewer than two were added.
    fn value(self) -> f64 {
        let scale = (self.squares.0 * self.squares.1).sqrt();
        match scale {
            _ if self.seen < 2.0 => f64::NAN,
            0.0 => 0.0,
            scale => self.product / scale,
        }
    }
}

impl Scorer for Cld {
    const NAME: &'static str = "score.cld";
    const SUMMARY: &'static str =
        "how a sample's loss moves with the held-out loss of its class; high is kept";
    const MANUAL: &'static str = "\
With the loss differences dl_i(t) = l_i(t) - l_i(t-1) of a sample, and dv_k(t), the same of the mean loss of the
held-out samples of class k, between the epochs on record: Pearson's correlation over t of dl_i and dv_y, for
the sample's label y, -1 to 1. High is kept: such a sample is learnt when its class is; that of a wrong label
is not. 0 where a loss does not change.

Nagaraj, Ravikumar & Roy, *Coresets from Trajectories: Selecting Data via Correlation of Loss Differences*,
2025. The held-out samples are those that the proxy was not trained on: train it on a subset, with
`record = \"clean\"`, as in

    [stage.part]
    use  = \"select.random\"
    from = { data = \"data\" }
    with = { keep = 0.9, balance = \"class\" }

    [stage.proxy]
    use  = \"proxy-train\"
    from = { data = \"data\", subset = \"part\" }
    with = { record = \"clean\", epochs = 20 }

They have scores too. Cost: O(nT) from rows, O(nTC) from logits. Their code and its settings were not to be had;
they claim that early epochs suffice and that no strata are needed.";

    fn score(&self, proxy: &dyn TrainedProxy, _: Streams) -> Result<Scores, StageError> {
        let epochs = epochs_asked_for(proxy, 1, self.epochs)?;
        let recorded = *epochs.end();
        if recorded < 3 {
            return Err(MethodError::Window { window: 3, recorded }.into());
        }
        let (labels, held_out) = (proxy.labels(), proxy.held_out()?);
        if !held_out.contains(&true) {
            return Err(MethodError::NoHeldOut.into());
        }
        let mut all = vec![Correlation::default(); labels.len()];
        let mut before: Option<(Vec<f32>, Vec<f64>)> = None;
        for epoch in epochs {
            let losses: Vec<f32> = proxy.rows(epoch)?.iter().map(|row| row.loss).collect();
            let classes = class_means(&losses, labels, &held_out, proxy.classes());
            if classes.iter().all(|mean| mean.is_nan()) {
                return Err(MethodError::HeldOutUnseen.into());
            }
            if let Some((last, last_classes)) = &before {
                for (i, one) in all.iter_mut().enumerate() {
                    let class = labels[i].index();
                    let x = f64::from(losses[i]) - f64::from(last[i]);
                    let y = classes[class] - last_classes[class];
                    if x.is_finite() && y.is_finite() {
                        one.add(x, y);
                    }
                }
            }
            before = Some((losses, classes));
        }
        let values = all.into_iter().map(|one| one.value() as f32).collect();
        Ok(Scores::harder_when_high(values))
    }
}

/// Returns the mean loss of each class over its held-out samples that the epoch saw; NaN where there are none.
fn class_means(losses: &[f32], labels: &[ClassId], held_out: &[bool], classes: usize) -> Vec<f64> {
    let (mut sums, mut seen) = (vec![0.0; classes], vec![0u32; classes]);
    for ((loss, label), _) in losses.iter().zip(labels).zip(held_out).filter(|(_, held)| **held) {
        if !loss.is_nan() {
            sums[label.index()] += f64::from(*loss);
            seen[label.index()] += 1;
        }
    }
    sums.iter().zip(seen).map(|(sum, seen)| sum / f64::from(seen)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::testing::InMemory;

    #[test]
    fn correlations_worked_by_hand() {
        // Logits (z, 0), label 0: the loss is ln(1 + e^-z). Sample 3 is held out; sample 0 moves as it
        // does, sample 1 against it, sample 2 not at all, and sample 4's class has nothing held out.
        let (easy, hard) = ([2.0, 0.0], [0.0, 0.0]);
        let epochs: Vec<Vec<f32>> = [easy, hard, easy, hard]
            .iter()
            .zip([hard, easy, hard, easy])
            .map(|(with, against)| [*with, against, hard, *with, hard].concat())
            .collect();
        let labels = [0, 0, 0, 0, 1];
        let proxy = InMemory::recorded(&labels, 2, &epochs).holding_out(&[3]);
        let found = Cld::default().score(&proxy, Streams::new(0, &[])).expect("it is recorded");
        for (value, want) in found.scores.iter().zip([1.0, -1.0, 0.0, 1.0]) {
            assert!((value - want).abs() < 1e-5, "{:?}", found.scores);
        }
        assert!(found.scores[4].is_nan(), "nothing of its class is held out");
        let proxy = InMemory::recorded(&labels, 2, &epochs);
        assert!(Cld::default().score(&proxy, Streams::new(0, &[])).is_err());
        let short = InMemory::recorded(&labels, 2, &epochs[..2]).holding_out(&[3]);
        assert!(Cld::default().score(&short, Streams::new(0, &[])).is_err());
    }
}
