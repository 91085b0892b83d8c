//! EVA: the variance of the error, early and late in training.

use super::{Scorer, TrainedProxy, epochs_asked_for, fold_epochs};
use crate::MethodError;
use artifacts::{scores::Scores, units::Fraction};
use engine::{Problem, StageError, Streams};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// The variance of the error vector's length in an early and in a late window of training.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Eva {
    /// After and up to which share of the epochs on record the early window lasts.
    early: [Fraction; 2],
    /// After and up to which share the late window lasts.
    late: [Fraction; 2],
    /// The weight of the early window; the rest is that of the late one.
    weight: Fraction,
}

impl Default for Eva {
    fn default() -> Self {
        let share = |value| Fraction::try_from(value).expect("it is a fraction");
        let (early, late) = ([share(0.0), share(0.05)], [share(0.5), share(0.55)]);
        Self { early, late, weight: share(0.5) }
    }
}

/// Returns the epochs of a window, at least two of the `recorded`, of which there are two.
fn epochs([after, to]: [Fraction; 2], recorded: usize) -> RangeInclusive<usize> {
    let first = (after.of(recorded) + 1).min(recorded - 1);
    first..=to.of(recorded).max(first + 1)
}

/// The variance of values that come one after the other (Welford).
#[derive(Clone, Copy, Default)]
struct Variance {
    seen: u32,
    mean: f64,
    square: f64,
}

impl Variance {
    fn add(&mut self, value: f64) {
        self.seen += 1;
        let off = value - self.mean;
        self.mean += off / f64::from(self.seen);
        self.square += off * (value - self.mean);
    }

    /// NaN where fewer than two were added.
    fn value(self) -> f64 {
        if self.seen < 2 { f64::NAN } else { self.square / f64::from(self.seen - 1) }
    }
}

impl Scorer for Eva {
    const NAME: &'static str = "score.eva";
    const SUMMARY: &'static str =
        "the variance of the error early and late in training; high is kept";
    const MANUAL: &'static str = "\
With `S_t = ||p_t - onehot(y)||` in epoch t: the variance of S, over one less than the epochs, in an early and
in a late window, each divided by its sum over all samples, and of these `weight` times the early one plus
`1 - weight` times the late one. High is kept. The windows are shares of the epochs on record: the default is
epochs 1 to 10 and 101 to 110 of 200, as in the authors' code; one of fewer than two epochs is widened to
two.

Hong, Zhang, Zhang & Zhou, *Evolution-aware VAriance (EVA) Coreset Selection for Medical Image
Classification*, ACM Multimedia 2024. Record `inflight` predictions. Cost: O(nT) from rows, O(nTC) from logits.
A sample that fewer than two epochs of a window saw has no score; the authors' code counts a length of 0 for
what its loader dropped, and computes nothing where the late window ends with the training.";

    fn problems(&self) -> Vec<Problem> {
        let windows = [("early", self.early), ("late", self.late)];
        let backwards = windows.into_iter().filter(|(_, [from, to])| from > to);
        let problem = |(setting, _): (&str, _)| Problem {
            setting: setting.to_owned(),
            message: "the window ends before it begins".to_owned(),
            hint: None,
        };
        backwards.map(problem).collect()
    }

    fn score(&self, proxy: &dyn TrainedProxy, _: Streams) -> Result<Scores, StageError> {
        let recorded = *epochs_asked_for(proxy, 1, 0)?.end();
        if recorded < 2 {
            return Err(MethodError::Window { window: 2, recorded }.into());
        }
        let mut values = vec![0.0f64; proxy.labels().len()];
        let weight = f64::from(self.weight);
        for (window, weight) in [(self.early, weight), (self.late, 1.0 - weight)] {
            let mut all = vec![Variance::default(); values.len()];
            let epochs = epochs(window, recorded);
            fold_epochs(proxy, *epochs.start(), *epochs.end(), |_, rows| {
                for (one, row) in all.iter_mut().zip(rows).filter(|(_, row)| row.seen()) {
                    one.add(row.el2n.into());
                }
            })?;
            let all: Vec<f64> = all.into_iter().map(Variance::value).collect();
            let total: f64 = all.iter().filter(|one| !one.is_nan()).sum();
            // Where nothing varies, nothing does as a share either.
            let factor = if total > 0.0 { weight / total } else { 0.0 };
            values.iter_mut().zip(all).for_each(|(value, one)| *value += factor * one);
        }
        Ok(Scores::harder_when_high(values.into_iter().map(|value| value as f32).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::testing::InMemory;

    #[test]
    fn windows_are_shares_of_the_record() {
        let Eva { early, late, .. } = Eva::default();
        assert_eq!((epochs(early, 200), epochs(late, 200)), (1..=10, 101..=110));
        assert_eq!((epochs(early, 4), epochs(late, 4)), (1..=2, 3..=4));
        assert_eq!((epochs(early, 2), epochs(late, 2)), (1..=2, 1..=2));
    }

    #[test]
    fn both_windows_worked_by_hand() {
        // Early p_y is 1/2, 3/4 for sample 0 and 1/2, 7/8 for sample 1: variances as 4 to 9. Late only
        // sample 0 varies. Sample 2 is not seen.
        let (half, nan) = ([0.0, 0.0], [f32::NAN; 2]);
        let (more, most) = ([3f32.ln(), 0.0], [7f32.ln(), 0.0]);
        let epochs = [[half, half, nan], [more, most, nan], [half, half, nan], [more, half, nan]];
        let epochs: Vec<Vec<f32>> = epochs.iter().map(|epoch| epoch.concat()).collect();
        let proxy = InMemory::recorded(&[0; 3], 2, &epochs);
        let values = Eva::default().score(&proxy, Streams::new(0, &[])).expect("it is recorded");
        assert!((values.scores[0] - 0.5 * (4.0 / 13.0 + 1.0)).abs() < 1e-6);
        assert!((values.scores[1] - 0.5 * 9.0 / 13.0).abs() < 1e-6);
        assert!(values.scores[2].is_nan());
        let none = InMemory::recorded(&[0], 2, &[]);
        assert!(Eva::default().score(&none, Streams::new(0, &[])).is_err());
    }
}
