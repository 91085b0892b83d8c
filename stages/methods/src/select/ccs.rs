//! CCS, coverage-centric coreset selection: strata of the score, without the hardest samples.

use super::{Group, Picks, SelectInput, Selector, TrainingSet, draw, top::hardest_first};
use artifacts::units::{Count, Fraction};
use engine::StageError;
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Skips the very hardest samples and spreads the budget over strata of the score.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Ccs {
    /// The share of the group that is skipped, from the hardest down by `cut`, or by `scores` where
    /// `cut` is not connected. Where too few would be left for the budget, fewer are skipped.
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
min(its size, what is left of the budget / bins left), drawn uniformly. Which are the hardest is told by
port `cut` where it is connected, and otherwise by `scores`; the strata are always of `scores`.

Zheng et al., *Coverage-centric Coreset Selection for High Pruning Rates*, ICLR 2023, algorithm 1. The
authors always cut by AUM, whatever is stratified: connect it to `cut`. Cost: O(n log n).

Bins of equal width depend on the scale of the score. The authors' AUM is of probabilities:

    [stage.margins]
    use  = \"score.aum\"
    from = { proxy = \"proxy\" }
    with = { rule.margin = \"probability\" }

    [stage.subset]
    use  = \"select.ccs\"
    from = { scores = \"margins\" }
    with = { keep = 0.1 }

With the margins of logits, which are the default of `score.aum`, a tenth of Fashion-MNIST trained an MLP to
84.4 %, as a random tenth did; with those of probabilities to 86.8 %. Logit margins are told in the log.

The right `rule.cutoff` is a property of the data, of its wrong labels and of how early it is learnt, and
no score tells it. The authors cut 0 to 0.3 of CIFAR-10 for keep fractions 0.7 to 0.1; on Fashion-MNIST 0.1
was best for 0.3 and 0.1, and 0.3 worse than random. Where labels are wrong, cut a little more than their
share. The default of 0.1 is for clean data; sweep it.

Their release may fall short of the budget by what was rounded down; here the fullest bin makes up for
it. It also loses the hardest sample where all scores are below 0. A score that is not finite is in the
stratum at its end.";
    const STREAMS: &'static [&'static str] = &["strata"];
    const READS: &'static [SelectInput] = &[SelectInput::Scores, SelectInput::Cut];

    fn remarks(&self, set: &TrainingSet<'_>) -> Vec<String> {
        // A probability less another is from -1 to 1.
        let is_wide = |scores: &[f64]| scores.iter().any(|score| score.abs() > 1.0);
        if set.scored_by != Some("score.aum") || !set.scores.is_some_and(is_wide) {
            return vec![];
        }
        let remark = "the strata are of margins of logits, and depend on the scale of the logits: \
                      CCS is defined on `rule.margin = \"probability\"` of `score.aum`";
        vec![remark.to_owned()]
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let scores = group.scores();
        let order = hardest_first(group.cut().as_ref().unwrap_or(&scores));
        let skip = self.cutoff.of(order.len()).min(order.len() - budget);
        let mut stream = group.streams.at("strata", group.index);
        Ok(stratified(&scores, &order[skip..], self.strata, budget, &mut stream).into())
    }
}

/// Returns `budget` of the samples at `kept`, spread over `strata` bins of equal width of their scores.
pub(super) fn stratified(
    scores: &[f64],
    kept: &[u32],
    strata: Count,
    budget: usize,
    stream: &mut impl Rng,
) -> Vec<u32> {
    let finite = || kept.iter().map(|at| scores[*at as usize]).filter(|s| s.is_finite());
    let low = finite().fold(f64::INFINITY, f64::min);
    let width = (finite().fold(f64::NEG_INFINITY, f64::max) - low) / strata.get() as f64;
    let mut bins: Vec<Vec<u32>> = vec![vec![]; strata.get()];
    for at in kept {
        // A range of no width is one stratum; NaN and minus infinity become 0.
        let stratum = ((scores[*at as usize] - low) / width) as usize;
        bins[stratum.min(strata.get() - 1)].push(*at);
    }
    bins.retain(|stratum| !stratum.is_empty());
    bins.iter_mut().for_each(|stratum| stratum.sort_unstable());
    // Equal sizes stay in the order of their scores.
    bins.sort_by_key(Vec::len);
    let (mut picks, count) = (vec![], bins.len());
    for (at, stratum) in bins.into_iter().enumerate() {
        let share = (budget - picks.len()) / (count - at);
        let taken = share.min(stratum.len());
        picks.extend(draw::sample(stream, stratum, taken));
    }
    picks
}

#[cfg(test)]
mod tests {
    use super::*;
    use artifacts::{ClassId, SampleId};
    use engine::Streams;

    #[test]
    fn small_strata_are_kept_whole_and_large_ones_share_the_rest() {
        // Cut into two: 0 and 1 below 5, then 17 at 9; 100 is skipped.
        let mut scores = vec![0.0, 1.0];
        scores.extend([9.0; 17]);
        scores.push(100.0);
        let ground = TrainingSet {
            labels: &[ClassId::at(0); 20],
            scores: Some(&scores),
            ..TrainingSet::default()
        };
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

    #[test]
    fn the_hardest_are_cut_by_a_score_of_their_own() {
        let scores: Vec<f64> = (0..10).map(f64::from).collect();
        let cut: Vec<f64> = (0..10).map(|i| if i == 4 { 1.0 } else { 0.0 }).collect();
        let ground = TrainingSet {
            labels: &[ClassId::at(0); 10],
            scores: Some(&scores),
            cut: Some(&cut),
            ..TrainingSet::default()
        };
        let members: Vec<SampleId> = SampleId::all(10).collect();
        let group = Group::unwatched(&ground, &members, 0, Streams::new(1, Ccs::STREAMS));
        let mut picks = Ccs::default().select(&group, 9).expect("nobody stops it").rows();
        picks.sort_unstable();
        assert_eq!(picks, [0, 1, 2, 3, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn margins_of_logits_are_remarked_on() {
        let remarks = |scored_by, scores: &[f64]| {
            let set = TrainingSet { scores: Some(scores), scored_by, ..TrainingSet::default() };
            Ccs::default().remarks(&set).len()
        };
        assert_eq!(remarks(Some("score.aum"), &[0.5, -7.25]), 1);
        assert_eq!(remarks(Some("score.aum"), &[0.5, -1.0]), 0);
        assert_eq!(remarks(Some("score.forgetting"), &[12.0]), 0);
    }
}
