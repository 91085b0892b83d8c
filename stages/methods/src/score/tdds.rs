//! TDDS: the change of the prediction, and how unevenly it comes.

use super::{Scorer, TrainedProxy, epochs_asked_for};
use crate::MethodError;
use artifacts::{
    logits::softmax,
    scores::Scores,
    units::{Count, Fraction},
};
use engine::{Problem, StageError, Streams};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The spread of the prediction's change from epoch to epoch, the last windows weighing most.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Tdds {
    /// How many epochs a window spans: one more than it has changes.
    window: Count,
    /// The weight of the last window; that of the window before is `1 - decay` times it, and so on.
    decay: Fraction,
    /// How many epochs, from the first; all on record if left out. The paper takes (epochs, window)
    /// of (90, 10), (70, 10), (60, 20), (20, 10), (10, 5) to prune 30, 50, 70, 80, 90 %.
    epochs: Option<Count>,
}

impl Default for Tdds {
    fn default() -> Self {
        Self {
            window: Count::try_from(10).expect("10 is above 0"),
            decay: Fraction::try_from(0.9).expect("0.9 is a fraction"),
            epochs: None,
        }
    }
}

// In the logarithms of the authors' code.
const FLOOR: f64 = 1e-8;

impl Scorer for Tdds {
    const NAME: &'static str = "score.tdds";
    const SUMMARY: &'static str = "how unevenly the prediction changes at the end of training";
    const MANUAL: &'static str = "\
The change between two epochs is `sum_c |p' (log p' - log p)|`, with 1e-8 inside the logarithms. A window of
J epochs has J - 1 of them; its value is the length of their deviations from their mean, not divided by
their number. The score is the sum over windows of `decay (1 - decay)^age` times the value, age 0 being
the last window. High is kept.

With the paper's decay of 0.9 the last window has 90 % of the weight and the last two 99 %: it is a score
of the last window, whatever the name says, and `rule.epochs` decides which that is. A small decay weighs
all windows.

Zhang, Du, Li, Xie & Zhou, *Spanning Training Progress: Temporal Dual-Depth Scoring for Enhanced Dataset
Pruning*, CVPR 2024. Record `inflight` predictions as logits (`record-limit`). Cost: O(nT(C + J)), memory
O(n(C + J)). A sample that an epoch did not see has no score.

The release stores its scores sorted, apart from the samples they are of, and trains with each batch's loss
times the batch's mean score; neither is done here.";

    fn problems(&self) -> Vec<Problem> {
        let problem = |setting: &str, message: &str| Problem {
            setting: setting.to_owned(),
            message: message.to_owned(),
            hint: None,
        };
        let mut all = vec![];
        if self.window.get() < 3 {
            let message = "one change has no spread: a window spans at least 3 epochs";
            all.push(problem("window", message));
        }
        if f64::from(self.decay) == 0.0 {
            all.push(problem("decay", "a decay of 0 weighs no window at all"));
        }
        if self.epochs.is_some_and(|epochs| epochs < self.window) {
            all.push(problem("epochs", "the epochs do not fill one window"));
        }
        all
    }

    fn score(&self, proxy: &dyn TrainedProxy, _: Streams) -> Result<Scores, StageError> {
        let (n, span) = (proxy.labels().len(), self.window.get());
        let epochs = epochs_asked_for(proxy, 1, self.epochs.map_or(0, Count::get))?;
        if *epochs.end() < span {
            return Err(MethodError::Window { window: span, recorded: *epochs.end() }.into());
        }
        let decay = f64::from(self.decay);
        let (mut logs, mut recent) = (vec![], VecDeque::<Vec<f32>>::new());
        let mut sums = vec![0.0f64; n];
        for epoch in epochs {
            let logits = proxy.epoch_logits(epoch)?;
            let classes = logits.cols().max(1);
            logs.resize(n * classes, 0.0f32);
            let change = |(i, logs): (usize, &mut [f32])| {
                let mut change = 0.0;
                for (p, log) in softmax(logits.row(i)).into_iter().zip(logs) {
                    let now = (p + FLOOR).ln() as f32;
                    change += p * f64::from(now - *log).abs();
                    *log = now;
                }
                change as f32
            };
            let changes = logs.par_chunks_mut(classes).enumerate().map(change).collect();
            // Before the first epoch there is nothing to change from.
            if epoch > 1 {
                recent.push_back(changes);
            }
            if recent.len() == span - 1 {
                let add = |(i, sum): (usize, &mut f64)| {
                    let changes = || recent.iter().map(|epoch| f64::from(epoch[i]));
                    let mean = changes().sum::<f64>() / (span - 1) as f64;
                    let square: f64 = changes().map(|one| (one - mean) * (one - mean)).sum();
                    *sum = decay * square.sqrt() + (1.0 - decay) * *sum;
                };
                sums.par_iter_mut().enumerate().for_each(add);
                recent.pop_front();
            }
        }
        Ok(Scores::harder_when_high(sums.into_iter().map(|sum| sum as f32).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::testing::InMemory;

    #[test]
    fn two_windows_worked_by_hand() {
        // p_y = 1/2, 3/4, 1/2, 3/4: the changes are d, e, d, and each window deviates alike.
        let (half, more) = (vec![0.0, 0.0], vec![3f32.ln(), 0.0]);
        let epochs = [half.clone(), more.clone(), half, more];
        let proxy = InMemory::recorded(&[0], 2, &epochs);
        let rule = Tdds { window: Count::try_from(3).expect("3 is above 0"), ..Tdds::default() };
        let values = rule.score(&proxy, Streams::new(0, &[])).expect("it is recorded");
        let d = 0.75 * 1.5f64.ln() + 0.25 * 2f64.ln();
        let e = 0.5 * 1.5f64.ln() + 0.5 * 2f64.ln();
        let wanted = 0.99 * (d - e).abs() / 2f64.sqrt();
        assert!((f64::from(values.scores[0]) - wanted).abs() < 1e-6);
        assert!(Tdds::default().score(&proxy, Streams::new(0, &[])).is_err());
    }

    #[test]
    fn what_never_changes_scores_zero_and_what_is_not_seen_nothing() {
        let epochs = vec![vec![1.0, 0.0, f32::NAN, f32::NAN]; 3];
        let proxy = InMemory::recorded(&[0, 1], 2, &epochs);
        let rule = Tdds { window: Count::try_from(3).expect("3 is above 0"), ..Tdds::default() };
        let values = rule.score(&proxy, Streams::new(0, &[])).expect("it is recorded");
        assert_eq!(values.scores[0], 0.0);
        assert!(values.scores[1].is_nan());
    }
}
