//! Dyn-Unc, dynamic uncertainty: the spread of the label's probability in a sliding window.

use super::{Scorer, TrainedProxy, fold_epochs};
use crate::MethodError;
use artifacts::scores::Scores;
use artifacts::units::Count;
use engine::{Problem, StageError, Streams};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The spread of the label's probability in a sliding window, averaged over training.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct DynUnc {
    /// How many epochs a window spans.
    window: Count,
    /// How many epochs, from the first; all on record if left out.
    epochs: Option<Count>,
}

impl Default for DynUnc {
    fn default() -> Self {
        Self { window: Count::try_from(10).expect("10 is above 0"), epochs: None }
    }
}

impl DynUnc {
    pub(super) fn problems_of(window: Count, epochs: Option<Count>) -> Vec<Problem> {
        let problem = |setting: &str, message: &str| Problem {
            setting: setting.to_owned(),
            message: message.to_owned(),
            hint: None,
        };
        let mut all = vec![];
        if window.get() < 2 {
            all.push(problem("window", "one epoch has no spread: a window spans at least 2"));
        }
        if epochs.is_some_and(|epochs| epochs < window) {
            all.push(problem("epochs", "the epochs do not fill one window"));
        }
        all
    }
}

/// Returns, for each sample, the mean over all windows of `of(mean, deviation)` of its p_y.
pub(super) fn windows(
    proxy: &dyn TrainedProxy,
    window: Count,
    epochs: Option<Count>,
    of: impl Fn(f64, f64) -> f64,
) -> Result<Vec<f32>, StageError> {
    let (n, span) = (proxy.labels().len(), window.get());
    let (mut recent, mut count) = (VecDeque::<Vec<f32>>::new(), 0u32);
    let mut sums = vec![0.0f64; n];
    fold_epochs(proxy, 1, epochs.map_or(0, Count::get), |_, rows| {
        recent.push_back(rows.iter().map(|row| row.p_y).collect());
        if recent.len() > span {
            recent.pop_front();
        }
        if recent.len() == span {
            count += 1;
            for (i, sum) in sums.iter_mut().enumerate() {
                let values = || recent.iter().map(|epoch| f64::from(epoch[i]));
                let mean = values().sum::<f64>() / span as f64;
                let square: f64 = values().map(|p| (p - mean) * (p - mean)).sum();
                *sum += of(mean, (square / (span - 1) as f64).sqrt());
            }
        }
    })?;
    if count == 0 {
        return Err(MethodError::Window { window: span, recorded: proxy.epochs() }.into());
    }
    Ok(sums.iter().map(|sum| (sum / f64::from(count)) as f32).collect())
}

impl Scorer for DynUnc {
    const NAME: &'static str = "score.dyn-unc";
    const SUMMARY: &'static str =
        "the spread of the label's probability in a sliding window, averaged";
    const MANUAL: &'static str = "\
The mean over all windows of J epochs of the standard deviation (over J - 1) of p_y. High is kept.

He et al., *Large-scale Dataset Pruning with Dynamic Uncertainty*, CVPR 2024 workshops, eq. 2 and 3.
Cost: O(nTJ). A sample that an epoch did not see has no score.";

    fn problems(&self) -> Vec<Problem> {
        Self::problems_of(self.window, self.epochs)
    }

    fn score(&self, proxy: &dyn TrainedProxy, _: Streams) -> Result<Scores, StageError> {
        windows(proxy, self.window, self.epochs, |_, deviation| deviation)
            .map(Scores::harder_when_high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::testing::InMemory;

    #[test]
    fn every_window_counts_once() {
        // p_y = 1/2, 3/4, 3/4: windows of 2 deviate by 1/(4 sqrt 2) and by 0.
        let epochs = [vec![0.0, 0.0], vec![3f32.ln(), 0.0], vec![3f32.ln(), 0.0]];
        let proxy = InMemory::recorded(&[0], 2, &epochs);
        let rule = DynUnc { window: Count::try_from(2).expect("2 is above 0"), epochs: None };
        let values = rule.score(&proxy, Streams::new(0, &[])).expect("it is recorded");
        assert!((values.scores[0] - 0.125 / 2f32.sqrt()).abs() < 1e-6);
        let long = DynUnc::default().score(&proxy, Streams::new(0, &[]));
        assert!(long.is_err());
    }
}
