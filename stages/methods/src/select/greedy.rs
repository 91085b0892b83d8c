//! Greedy maximisation of a set function, the plain way and three faster ones.

use super::{Group, draw};
use artifacts::units::Fraction;
use engine::{Becomes, Renamed, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, collections::BinaryHeap};

/// How the next pick is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum GreedyOptimizer {
    /// Every gain is computed anew for each pick.
    Naive,
    /// Gains are computed anew only until the best of them is known to be the best of all (Minoux
    /// 1978): the picks of `naive`, for a submodular function.
    #[default]
    Lazy,
    /// A gain is good enough once it is at least `beta` of what it was.
    ApproximateLazy,
    /// The best of a random few, of which there are `n / budget * ln(1 / epsilon)` (Mirzasoleiman et
    /// al., AAAI 2015).
    Stochastic,
}

impl GreedyOptimizer {
    /// All of them.
    const ALL: [Self; 4] = [Self::Naive, Self::Lazy, Self::ApproximateLazy, Self::Stochastic];
}

/// How the picks of a greedy method are found.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Search {
    /// `naive`, `lazy`, `approximate-lazy`, or `stochastic`.
    pub(crate) optimizer: GreedyOptimizer,
    /// For `approximate-lazy`: which share of its former gain is good enough.
    pub(crate) beta: Fraction,
    /// For `stochastic`: the share of the optimum that may be lost to the draw.
    pub(crate) epsilon: Fraction,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            optimizer: GreedyOptimizer::default(),
            beta: Fraction::try_from(0.9).expect("0.9 is a fraction"),
            epsilon: Fraction::try_from(0.1).expect("0.1 is a fraction"),
        }
    }
}

/// The stream that `stochastic` draws from.
pub(super) const CANDIDATES: &[&str] = &["candidates"];

impl Search {
    /// Returns a search with each optimizer.
    pub(super) fn each() -> [Self; 4] {
        GreedyOptimizer::ALL.map(|optimizer| Self { optimizer, ..Self::default() })
    }

    /// Returns the streams it draws from.
    pub(super) fn streams(&self) -> &'static [&'static str] {
        if self.optimizer == GreedyOptimizer::Stochastic { CANDIDATES } else { &[] }
    }

    /// Tells whether the picks are those of the plain greedy algorithm, found lazily.
    pub(super) fn is_lazy(&self) -> bool {
        self.optimizer == GreedyOptimizer::Lazy
    }
}

/// A set function, as seen from the set picked so far.
pub(super) trait Objective {
    /// How many places there are.
    fn len(&self) -> usize;

    /// How many gains are worth asking for at once: at first, and at most where many are needed. None
    /// where a gain is at hand without work: then nothing is gained by being lazy.
    fn batch(&self) -> Option<[usize; 2]>;

    /// Returns what each of `places`, none of them picked, would add.
    fn gains(&mut self, places: &[u32]) -> Vec<f64>;

    /// Picks `place`.
    fn choose(&mut self, place: usize);
}

/// Picks `budget` places, each the best there is to `search`; of equal ones the first.
pub(super) fn maximize(
    objective: &mut impl Objective,
    budget: usize,
    search: Search,
    group: &Group<'_>,
) -> Result<Vec<u32>, StageError> {
    match (search.optimizer, objective.batch()) {
        (GreedyOptimizer::Lazy, Some(batch)) => lazy(objective, budget, batch, group),
        (GreedyOptimizer::Naive | GreedyOptimizer::Lazy, _) => {
            best_of(objective, budget, group, |_, open| open.to_vec())
        }
        (GreedyOptimizer::ApproximateLazy, _) => {
            approximately_lazy(objective, budget, search.beta.into(), group)
        }
        (GreedyOptimizer::Stochastic, _) => {
            let mut stream = group.streams.at("candidates", group.index);
            let few = f64::from(search.epsilon).max(f64::MIN_POSITIVE).recip().ln();
            let size = (few * objective.len() as f64 / budget as f64).round().max(1.0) as usize;
            best_of(objective, budget, group, |_, open| {
                let mut few = draw::sample(&mut stream, open.to_vec(), size.min(open.len()));
                few.sort_unstable();
                few
            })
        }
    }
}

/// Picks the best of what `candidates(step, open)` returns; of equal ones the first listed.
pub(super) fn best_of(
    objective: &mut impl Objective,
    budget: usize,
    group: &Group<'_>,
    mut candidates: impl FnMut(usize, &[u32]) -> Vec<u32>,
) -> Result<Vec<u32>, StageError> {
    let mut open: Vec<u32> = (0..objective.len() as u32).collect();
    let mut picks = Vec::with_capacity(budget);
    while picks.len() < budget {
        group.watch.step(picks.len(), budget)?;
        let candidates = candidates(picks.len(), &open);
        let gains = objective.gains(&candidates);
        let mut best = 0;
        for (at, gain) in gains.iter().enumerate() {
            if *gain > gains[best] {
                best = at;
            }
        }
        let next = candidates[best];
        open.remove(open.binary_search(&next).expect("a candidate is open"));
        objective.choose(next as usize);
        picks.push(next);
    }
    Ok(picks)
}

/// A gain as last computed. The greatest has the largest gain; of equal ones it is the first place.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Bound {
    pub(super) gain: f64,
    pub(super) place: u32,
}

impl Eq for Bound {}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bound {
    fn cmp(&self, other: &Self) -> Ordering {
        self.gain.total_cmp(&other.gain).then(other.place.cmp(&self.place))
    }
}

/// Returns the gains of all places.
pub(super) fn bounds(objective: &mut impl Objective) -> BinaryHeap<Bound> {
    let all: Vec<u32> = (0..objective.len() as u32).collect();
    let gains = objective.gains(&all);
    all.iter().zip(gains).map(|(place, gain)| Bound { gain, place: *place }).collect()
}

fn lazy(
    objective: &mut impl Objective,
    budget: usize,
    [few, many]: [usize; 2],
    group: &Group<'_>,
) -> Result<Vec<u32>, StageError> {
    let mut heap = bounds(objective);
    let mut fresh_at = vec![0usize; objective.len()];
    let mut picks = Vec::with_capacity(budget);
    let mut size = few;
    while picks.len() < budget {
        group.watch.step(picks.len(), budget)?;
        let step = picks.len();
        let (mut stale, mut fresh) = (vec![], vec![]);
        // The best stale ones are computed together: which of them are needed is not known yet,
        // and the pick is the same.
        let top = heap.peek().expect("there are more places than the budget");
        if fresh_at[top.place as usize] == step {
            let best = heap.pop().expect("it was seen just now");
            objective.choose(best.place as usize);
            picks.push(best.place);
            size = few;
            continue;
        }
        while stale.len() < size
            && let Some(bound) = heap.pop()
        {
            if fresh_at[bound.place as usize] == step {
                fresh.push(bound);
                break;
            }
            stale.push(bound.place);
        }
        heap.extend(fresh);
        for (place, gain) in stale.iter().zip(objective.gains(&stale)) {
            fresh_at[*place as usize] = step;
            heap.push(Bound { gain, place: *place });
        }
        size = (2 * size).min(many);
    }
    Ok(picks)
}

fn approximately_lazy(
    objective: &mut impl Objective,
    budget: usize,
    beta: f64,
    group: &Group<'_>,
) -> Result<Vec<u32>, StageError> {
    let mut heap = bounds(objective);
    let mut picks = Vec::with_capacity(budget);
    while picks.len() < budget {
        group.watch.step(picks.len(), budget)?;
        loop {
            let top = heap.pop().expect("there are more places than the budget");
            let gain = objective.gains(&[top.place])[0];
            let fresh = Bound { gain, place: top.place };
            // A gain that is not positive has no share: the best of all is taken.
            let good = top.gain > 0.0 && gain >= beta * top.gain;
            if good || heap.peek().is_none_or(|next| fresh >= *next) {
                objective.choose(top.place as usize);
                picks.push(top.place);
                break;
            }
            heap.push(fresh);
        }
    }
    Ok(picks)
}

/// Returns where the settings of the search stood before they had a table of their own.
pub(super) fn renamed() -> Vec<Renamed> {
    let moved = |method| {
        let places: [(&'static [&str], &'static [&str]); 3] = [
            (&["rule", "optimizer"], &["rule", "search", "optimizer"]),
            (&["rule", "beta"], &["rule", "search", "beta"]),
            (&["rule", "epsilon"], &["rule", "search", "epsilon"]),
        ];
        places.map(|(setting, to)| Renamed {
            method,
            setting,
            value: None,
            now: method,
            becomes: Becomes::Moved(to),
            unused: &[],
        })
    };
    let searched = [
        "select.craig",
        "select.deepcore.craig",
        "select.deepcore.facility-location",
        "select.deepcore.graph-cut",
        "select.deepcore.log-det",
        "select.facility-location",
        "select.graph-cut",
        "select.log-det",
    ];
    searched.into_iter().flat_map(moved).collect()
}
