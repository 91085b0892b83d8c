//! Double-end pruning: neither the hardest nor the easiest samples.

use super::{Group, Picks, SelectInput, Selector, draw, top::hardest_first};
use artifacts::units::Fraction;
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Skips both ends of the score, and draws from what is between them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct DoubleEnd {
    /// The share of the group that is skipped at the hard end, by `cut`, or by `scores` where `cut` is
    /// not connected. Where too few would be left for the budget, fewer are skipped.
    hard: Fraction,
    /// The share of the group that is skipped at the easy end, by `scores`: as many as are not kept
    /// if left out, so that nothing is drawn. Where too few would be left, fewer are skipped.
    easy: Option<Fraction>,
}

impl Default for DoubleEnd {
    fn default() -> Self {
        Self { hard: Fraction::try_from(0.1).expect("0.1 is a fraction"), easy: None }
    }
}

impl Selector for DoubleEnd {
    const NAME: &'static str = "select.double-end";
    const SUMMARY: &'static str = "neither the hardest nor the easiest samples";
    const MANUAL: &'static str = "\
Skips the share `rule.hard` of the hardest samples, then the share `rule.easy` of the easiest, and draws the
budget uniformly from what is between. Without `rule.easy` all are skipped that the budget leaves over: the
hardest of the rest are kept, and nothing is random. Which are the hardest is told by port `cut` where it
is connected, and otherwise by `scores`; the easy end is always of `scores`. Of equal scores the earlier
is harder. Cost: O(n log n).

The double-end pruning of Zheng et al., *ELFS: Label-Free Coreset Selection with Proxy Training Dynamics*,
ICLR 2025: `rule.hard` is their beta, 0.4 at a tenth of CIFAR-10, and AUM the score. With one
score and no `rule.easy` it picks what `select.window` does. `rule.easy = 0` is a random subset of what a
cut leaves, the simplest that stands wrong labels: cut a little more than their share.

The authors' slice keeps nothing where no easy samples are left over; here it keeps the budget.";
    const STREAMS: &'static [&'static str] = &["picks"];
    const READS: &'static [SelectInput] = &[SelectInput::Scores, SelectInput::Cut];

    fn streams(&self) -> &'static [&'static str] {
        if self.easy.is_some() { Self::STREAMS } else { &[] }
    }

    fn variants() -> Vec<Self> {
        let drawn = Self { easy: Fraction::try_from(0.3).ok(), ..Self::default() };
        vec![Self::default(), drawn]
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let (n, scores) = (group.len(), group.scores());
        let skip = self.hard.of(n).min(n - budget);
        let mut is_skipped = vec![false; n];
        for at in &hardest_first(group.cut().as_ref().unwrap_or(&scores))[..skip] {
            is_skipped[*at as usize] = true;
        }
        let mut between = hardest_first(&scores);
        between.retain(|at| !is_skipped[*at as usize]);
        let left_over = between.len() - budget;
        let easy = self.easy.map_or(left_over, |easy| easy.of(n).min(left_over));
        between.truncate(between.len() - easy);
        if self.easy.is_none() {
            return Ok(between.into());
        }
        between.sort_unstable();
        let mut stream = group.streams.at("picks", group.index);
        Ok(draw::sample(&mut stream, between, budget).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::TrainingSet;
    use artifacts::{ClassId, SampleId};
    use engine::Streams;

    fn rule(hard: f64, easy: Option<f64>) -> DoubleEnd {
        let fraction = |value| Fraction::try_from(value).expect("it is a fraction");
        DoubleEnd { hard: fraction(hard), easy: easy.map(fraction) }
    }

    fn select(rule: &DoubleEnd, cut: Option<&[f64]>, budget: usize, seed: u64) -> Vec<u32> {
        let scores: Vec<f64> = (0..10).map(f64::from).collect();
        let ground = TrainingSet {
            labels: &[ClassId::at(0); 10],
            scores: Some(&scores),
            cut,
            ..TrainingSet::default()
        };
        let members: Vec<SampleId> = SampleId::all(10).collect();
        let group = Group::unwatched(&ground, &members, 0, Streams::new(seed, rule.streams()));
        rule.select(&group, budget).expect("nobody stops it").rows()
    }

    #[test]
    fn both_ends_are_skipped() {
        assert_eq!(select(&rule(0.2, None), None, 3, 0), [7, 6, 5]);
        for seed in 0..20 {
            let picks = select(&rule(0.2, Some(0.4)), None, 3, seed);
            assert!(picks.iter().all(|at| (4..8).contains(at)), "{picks:?}");
        }
        // Only one can be skipped at all, and the hard end goes first.
        let mut picks = select(&rule(0.2, Some(0.4)), None, 9, 0);
        picks.sort_unstable();
        assert_eq!(picks, [0, 1, 2, 3, 4, 5, 6, 7, 8].map(|at: u32| at));
    }

    #[test]
    fn the_hard_end_may_be_of_another_score() {
        let cut = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5.0, 0.0];
        assert_eq!(select(&rule(0.1, None), Some(&cut), 3, 0), [9, 7, 6]);
    }
}
