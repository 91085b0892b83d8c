//! Forgetting events: how often a learnt sample is predicted wrong again.

use super::{Scorer, TrainedProxy, fold_epochs};
use artifacts::scores::Scores;
use engine::{StageError, Streams};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How often a sample that was classified rightly is later classified wrongly.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Forgetting {
    /// What a sample that was never classified rightly counts.
    pub(crate) never_learnt: NeverLearnt,
    /// How many epochs, from the first; all on record if left out.
    pub(crate) epochs: Option<artifacts::units::Count>,
}

/// What a sample that was never classified rightly counts.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NeverLearnt {
    /// More than any other: one more than there are epochs. The paper's infinity, kept finite so
    /// that repeats can be averaged.
    #[default]
    Hardest,
    /// 1000, as in the code of dataset cartography.
    Thousand,
    /// 0, as in DeepCore and CCS: it ranks with what is never forgotten.
    Zero,
}

impl Scorer for Forgetting {
    const NAME: &'static str = "score.forgetting";
    const SUMMARY: &'static str = "how often a learnt sample is forgotten during training";
    const MANUAL: &'static str = "\
The number of times a sample goes from right to wrong between two recorded epochs that saw it. Counts
are small whole numbers and tie massively; every selector breaks ties by position, DeepCore by whatever
its sort does.

Toneva et al., *An Empirical Study of Example Forgetting during Deep Neural Network Learning*, ICLR 2019,
algorithm 1. Cost: O(nT). Record `inflight` predictions for the paper's counts, which are taken
in training mode just before the step on the sample. A sample never learnt ranks hardest, as in the paper;
`rule.never-learnt = \"zero\"` is DeepCore's and CCS's reading.";

    fn score(&self, proxy: &dyn TrainedProxy, _: Streams) -> Result<Scores, StageError> {
        let labels = proxy.labels();
        let (mut last, mut learnt) = (vec![false; labels.len()], vec![false; labels.len()]);
        let mut seen = vec![false; labels.len()];
        let (mut events, mut epochs) = (vec![0u32; labels.len()], 0u32);
        let until = self.epochs.map_or(0, artifacts::units::Count::get);
        fold_epochs(proxy, 1, until, |_, rows| {
            epochs += 1;
            for (i, row) in rows.iter().enumerate().filter(|(_, row)| row.seen()) {
                let right = row.top == Some(labels[i]);
                events[i] += u32::from(last[i] && !right);
                (last[i], seen[i]) = (right, true);
                learnt[i] |= right;
            }
        })?;
        let never = match self.never_learnt {
            NeverLearnt::Hardest => epochs + 1,
            NeverLearnt::Thousand => 1000,
            NeverLearnt::Zero => 0,
        };
        let value = |i: usize| match (seen[i], learnt[i]) {
            (false, _) => f32::NAN,
            (true, true) => events[i] as f32,
            (true, false) => never as f32,
        };
        Ok(Scores::harder_when_high((0..labels.len()).map(value).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::testing::InMemory;

    #[test]
    fn events_worked_by_hand() {
        // Class 0 is right: sample 0 goes right wrong right wrong, sample 1 is never right,
        // sample 2 is never seen, sample 3 is right, unseen, wrong, right.
        let (right, wrong, unseen) = ([1.0, 0.0], [0.0, 1.0], [f32::NAN; 2]);
        let epochs = [
            [right, wrong, unseen, right],
            [wrong, wrong, unseen, unseen],
            [right, wrong, unseen, wrong],
            [wrong, wrong, unseen, right],
        ];
        let epochs: Vec<Vec<f32>> = epochs.iter().map(|epoch| epoch.concat()).collect();
        let proxy = InMemory::recorded(&[0; 4], 2, &epochs);
        for (never_learnt, expected) in
            [(NeverLearnt::Hardest, 5.0), (NeverLearnt::Thousand, 1000.0), (NeverLearnt::Zero, 0.0)]
        {
            let rule = Forgetting { never_learnt, epochs: None };
            let scores = rule.score(&proxy, Streams::new(0, &[])).expect("it is recorded").scores;
            assert_eq!((scores[0], scores[1], scores[3]), (2.0, expected, 1.0));
            assert!(scores[2].is_nan());
        }
    }
}
