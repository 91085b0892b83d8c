//! Random samples that are as long as those of another subset.

use super::{Group, Picks, SelectInput, Selector, divide, draw};
use artifacts::units::Count;
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps samples drawn at random whose counts are distributed as those of another subset.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct LengthMatched {
    /// The column of counts that is matched.
    column: String,
    /// Into how many strata of about one size the samples are divided by it.
    bins: Count,
}

impl Default for LengthMatched {
    fn default() -> Self {
        Self { column: "tokens".to_owned(), bins: Count::try_from(20).expect("20 is above 0") }
    }
}

/// Returns the largest count of each of `bins` strata, which have about as many of `counts` each. Equal counts
/// are in one stratum, so that there may be fewer.
fn strata(counts: &[u64], bins: usize) -> Vec<u64> {
    let mut sorted = counts.to_vec();
    sorted.sort_unstable();
    let last = |bin: usize| (bin * sorted.len()).div_ceil(bins).checked_sub(1);
    let mut largest: Vec<u64> = (1..=bins).filter_map(last).map(|at| sorted[at]).collect();
    largest.dedup();
    largest
}

/// Returns in which of `strata` a count is; what is beyond the last is in the last.
fn stratum(strata: &[u64], count: u64) -> usize {
    strata.partition_point(|largest| *largest < count).min(strata.len() - 1)
}

/// Moves what a stratum has not to the nearest that have it, as much below as above while both can.
fn spill(quotas: &mut [usize], sizes: &[usize]) {
    for full in 0..quotas.len() {
        let mut excess = quotas[full].saturating_sub(sizes[full]);
        quotas[full] -= excess;
        for distance in 1..quotas.len() {
            let below = full.checked_sub(distance);
            let above = Some(full + distance).filter(|at| *at < quotas.len());
            let room = |at: Option<usize>| at.map_or(0, |at| sizes[at].saturating_sub(quotas[at]));
            let rooms = (room(below), room(above));
            let to_above = (excess - excess.div_ceil(2).min(rooms.0)).min(rooms.1);
            let to_below = (excess - to_above).min(rooms.0);
            for (at, more) in [(below, to_below), (above, to_above)] {
                if let Some(at) = at {
                    quotas[at] += more;
                }
            }
            excess -= to_below + to_above;
        }
    }
}

/// Returns how many of `budget` samples each stratum gives, of the sizes that it has, so that they are
/// distributed as `like`, which has at least one.
fn quotas(strata: &[u64], sizes: &[usize], like: &[u64], budget: usize) -> Vec<usize> {
    let mut shares = vec![0.0; sizes.len()];
    like.iter().for_each(|count| shares[stratum(strata, *count)] += 1.0);
    let boundless = vec![budget; sizes.len()];
    let mut quotas =
        divide(budget, &shares, &boundless).expect("a stratum of a share takes the budget");
    spill(&mut quotas, sizes);
    quotas
}

impl Selector for LengthMatched {
    const NAME: &'static str = "select.length-matched";
    const SUMMARY: &'static str =
        "samples drawn uniformly among those as long as another subset's: a baseline for texts";
    const MANUAL: &'static str = "\
The samples are divided into `bins` strata by the quantiles of a column of counts, `tokens` unless `column` says
otherwise. Each stratum gives as large a share of the budget as it has of the subset on port `like` (largest
remainders, of equal ones to the shorter), drawn uniformly; what it has not is given by the nearest strata, as much by the
shorter as by the longer. With `balance`, strata and shares are those of each class or group, where `like` has
samples of it, and else the shares of all of `like`. Weights of `like` do not count.

What a selector gains over `select.random` may be the length of what it picks: many scores rise with it. This
baseline knows nothing but the lengths of the other subset. Give both the same budget and `unit`. Within a stratum,
samples are not matched further: more `bins` where `like` takes the longest of all.

Length is a hard baseline for instruction data: Zhao, Andriushchenko, Croce & Flammarion, *Long Is More for
Alignment: A Simple but Tough-to-Beat Baseline for Instruction Fine-Tuning*, ICML 2024. Liu, Zeng, He, Jiang & He,
*What Makes Good Data for Alignment?* (DEITA), ICLR 2024, compare their score of complexity with it. The strata are
this program's. Cost: O(n log n).

    [stage.as-long]
    use  = \"select.length-matched\"
    from = { data = \"data\", like = \"subset\" }
    with = { keep = 0.1, unit = \"tokens\" }";
    const STREAMS: &'static [&'static str] = &["picks"];
    const READS: &'static [SelectInput] = &[SelectInput::Like];

    fn column(&self) -> Option<&str> {
        Some(&self.column)
    }

    fn variants() -> Vec<Self> {
        let bins = |bins| Count::try_from(bins).expect("it is above 0");
        [20, 1, 1000].map(|count| Self { bins: bins(count), ..Self::default() }).to_vec()
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let counts = group.counts();
        let strata = strata(&counts, self.bins.get());
        let of: Vec<usize> = counts.iter().map(|count| stratum(&strata, *count)).collect();
        let mut sizes = vec![0; strata.len()];
        of.iter().for_each(|at| sizes[*at] += 1);
        let mut left = quotas(&strata, &sizes, &group.like_counts(), budget);
        // All of the group in an order drawn: a larger quota takes what a smaller took, and more.
        let mut stream = group.streams.at("picks", group.index);
        let order = draw::sample(&mut stream, (0..group.len() as u32).collect(), group.len());
        let takes = |place: &u32| {
            let left = &mut left[of[*place as usize]];
            let takes = *left > 0;
            *left -= usize::from(takes);
            takes
        };
        Ok(order.into_iter().filter(takes).collect::<Vec<u32>>().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::TrainingSet;
    use artifacts::{ClassId, SampleId};
    use engine::Streams;

    #[test]
    fn quotas_worked_by_hand() {
        // Four strata of three; equal counts stay together.
        let counts = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        assert_eq!(strata(&counts, 4), [3, 6, 9, 12]);
        assert_eq!(strata(&[5, 5, 5, 5, 9], 4), [5, 9]);
        let (strata, sizes) = ([3, 6, 9, 12], [3; 4]);
        // Half of it in the first stratum, a quarter in the third and in the fourth, one of them beyond the pool.
        assert_eq!(quotas(&strata, &sizes, &[1, 3, 8, 99], 4), [2, 0, 1, 1]);
        // 1.5, 0.75 and 0.75 of three.
        assert_eq!(quotas(&strata, &sizes, &[1, 3, 8, 99], 3), [1, 0, 1, 1]);
        // All in the third: its three, then of four more two below and two above.
        assert_eq!(quotas(&strata, &sizes, &[7, 8], 7), [0, 2, 3, 2]);
        // The fourth is full with three of them, and the rest goes down, to the nearest first.
        assert_eq!(quotas(&strata, &sizes, &[7, 8], 11), [2, 3, 3, 3]);
        assert_eq!(quotas(&strata, &sizes, &[12], 5), [0, 0, 2, 3]);
    }

    #[test]
    fn picks_are_as_long_as_the_others_and_a_larger_budget_keeps_a_smaller_ones() {
        let counts: Vec<u64> = (0..400).map(|at| at * 7919 % 401).collect();
        let labels = ClassId::list((0..400).map(|at| at % 2));
        // The longest of the even ones.
        let long = |at: &usize| at.is_multiple_of(2) && counts[*at] > 350;
        let like: Vec<SampleId> = (0..400).filter(long).map(SampleId::at).collect();
        let ground = TrainingSet {
            labels: &labels,
            counts: Some(&counts),
            like: Some(&like),
            ..TrainingSet::default()
        };
        let rule = LengthMatched::default();
        let picks = |members: &[SampleId], seed: u64, budget: usize| {
            let streams = Streams::new(seed, LengthMatched::STREAMS);
            let group = Group::unwatched(&ground, members, 0, streams);
            let rows = rule.select(&group, budget).expect("it applies").rows();
            rows.into_iter().map(|row| members[row as usize]).collect::<Vec<SampleId>>()
        };
        let all: Vec<SampleId> = SampleId::all(400).collect();
        let few = picks(&all, 1, 20);
        assert!(few.iter().all(|one| counts[one.index()] > 340), "{few:?}");
        assert!(few.iter().any(|one| one.index() % 2 == 1), "their class is not matched");
        let more = picks(&all, 1, 40);
        assert!(few.iter().all(|one| more.contains(one)), "{few:?} {more:?}");
        assert_ne!(picks(&all, 2, 20), few);
        // A group of which `like` has none is matched with all of `like`.
        let odd: Vec<SampleId> = (1..400).step_by(2).map(SampleId::at).collect();
        assert!(picks(&odd, 1, 20).iter().all(|one| counts[one.index()] > 300));
    }
}
