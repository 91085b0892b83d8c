//! Coverage-centric coreset selection.

use super::{Group, Picks, SelectInput, Selector, draw, top::hardest_first};
use artifacts::units::{Count, Fraction};
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Skips the very hardest samples and spreads the budget over strata of the score.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Ccs {
    /// The share of the group that is skipped, from the hardest down. Where too few would be left
    /// for the budget, fewer are skipped.
    cutoff: Fraction,
    /// How many strata of equal width the scores are cut into.
    strata: Count,
}

impl Default for Ccs {
    fn default() -> Self {
        Self {
            cutoff: Fraction::try_from(0.1).expect("0.1 is a fraction"),
            strata: Count::try_from(50).expect("it is above 0"),
        }
    }
}

impl Selector for Ccs {
    const NAME: &'static str = "select.ccs";
    const SUMMARY: &'static str =
        "spreads the budget over strata of the score, without the hardest";
    const MANUAL: &'static str = "\
Skips the share `rule.cutoff` of the hardest samples, cuts the range of the scores that are left into
`rule.strata` bins of equal width, and visits the bins from the emptiest to the fullest: each gives
min(its size, what is left of the budget / bins left), drawn uniformly.

Zheng et al., *Coverage-centric Coreset Selection for High Pruning Rates*, ICLR 2023, algorithm 1; the
authors score by AUM and cut 0 to 0.3 of CIFAR-10 for keep fractions 0.7 to 0.1. Cost: O(n log n).
Their release may fall short of the budget by what was rounded down; here the fullest bin makes up for
it. A score that is not finite is in the stratum at its end.";
    const STREAMS: &'static [&'static str] = &["strata"];
    const READS: &'static [SelectInput] = &[SelectInput::Scores];

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let scores = group.scores();
        let order = hardest_first(&scores);
        let skip = self.cutoff.of(order.len()).min(order.len() - budget);
        let kept = &order[skip..];
        let finite = || kept.iter().map(|at| scores[*at as usize]).filter(|s| s.is_finite());
        let low = f64::from(finite().fold(f32::INFINITY, f32::min));
        let width = (f64::from(finite().fold(f32::NEG_INFINITY, f32::max)) - low)
            / self.strata.get() as f64;
        let mut strata: Vec<Vec<u32>> = vec![vec![]; self.strata.get()];
        for at in kept {
            // A range of no width is one stratum; NaN and minus infinity become 0.
            let stratum = ((f64::from(scores[*at as usize]) - low) / width) as usize;
            strata[stratum.min(self.strata.get() - 1)].push(*at);
        }
        strata.retain(|stratum| !stratum.is_empty());
        strata.iter_mut().for_each(|stratum| stratum.sort_unstable());
        // Equal sizes stay in the order of their scores.
        strata.sort_by_key(Vec::len);
        let mut stream = group.streams.at("strata", group.index);
        let (mut picks, bins) = (vec![], strata.len());
        for (at, stratum) in strata.into_iter().enumerate() {
            let share = (budget - picks.len()) / (bins - at);
            let count = share.min(stratum.len());
            picks.extend(draw::sample(&mut stream, stratum, count));
        }
        Ok(picks.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::TrainingSet;
    use artifacts::SampleId;
    use engine::Streams;

    #[test]
    fn small_strata_are_kept_whole_and_large_ones_share_the_rest() {
        // Cut into two: 0 and 1 below 5, then 17 at 9; 100 is skipped.
        let mut scores = vec![0.0, 1.0];
        scores.extend([9.0; 17]);
        scores.push(100.0);
        let ground =
            TrainingSet { labels: &[0; 20], scores: Some(&scores), ..TrainingSet::default() };
        let members: Vec<SampleId> = SampleId::all(20).collect();
        let rule = Ccs {
            cutoff: Fraction::try_from(0.05).expect("0.05 is a fraction"),
            strata: Count::try_from(2).expect("it is above 0"),
        };
        let select = |seed, budget| {
            let streams = Streams::new(seed, Ccs::STREAMS);
            let group = Group::unwatched(&ground, &members, 0, streams);
            rule.select(&group, budget).expect("nobody stops it").rows()
        };
        let picks = select(1, 7);
        assert!(picks.len() == 7 && picks[..2].iter().all(|at| *at < 2), "{picks:?}");
        assert!(picks[2..].iter().all(|at| (2..19).contains(at)), "{picks:?}");
        assert!((2..20).any(|seed| select(seed, 7) != picks), "the strata are drawn from");
        // All but the skipped, and with it where nothing may be skipped.
        assert_eq!((select(1, 19).contains(&19), select(1, 20).len()), (false, 20));
    }
}
