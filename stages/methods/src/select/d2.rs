//! D2 pruning: difficulty and diversity passed along a graph of neighbours.

use super::{Group, Picks, SelectInput, Selector, sparse::SparseRows};
use crate::linalg::squared_distance;
use artifacts::{
    Matrix,
    units::{Count, NonNegative},
};
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, collections::BinaryHeap};

/// Keeps what is hard in hard surroundings, but not beside what is kept already.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct D2 {
    /// How many nearest others of the group a sample is joined to, by Euclidean distance of embeddings.
    neighbors: Count,
    /// What a sample makes of its neighbours' scores: `sum` adds them to its own, `product` multiplies
    /// their sum by its own.
    forward: ForwardMessage,
    /// By how much a pick lowers its neighbours: `weighted`, less the farther they are, or `absolute`.
    reverse: Reverse,
    /// How fast `weighted` falls with the distance.
    gamma: NonNegative,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum ForwardMessage {
    #[default]
    Sum,
    Product,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Reverse {
    #[default]
    Weighted,
    Absolute,
}

impl Default for D2 {
    fn default() -> Self {
        Self {
            neighbors: Count::try_from(5).expect("5 is above 0"),
            forward: ForwardMessage::default(),
            reverse: Reverse::default(),
            gamma: NonNegative::try_from(0.1).expect("0.1 is not below 0"),
        }
    }
}

/// A neighbour's score counts as at least this.
const LEAST_SCORE: f64 = 1e-7;

/// Returns the distances of joined rows.
fn distances(features: &Matrix<'_>, nearest: &[Vec<u32>]) -> SparseRows {
    let distance =
        |i: usize, j: usize| f64::from(squared_distance(features.row(i), features.row(j))).sqrt();
    SparseRows::new(nearest, distance)
}

/// Returns `scores` moved to 0 to 1; those that are not finite are at their end.
pub(super) fn rescaled(scores: &[f64]) -> Vec<f64> {
    let finite = || scores.iter().copied().filter(|score| score.is_finite());
    let low = finite().fold(f64::INFINITY, f64::min);
    let width = finite().fold(f64::NEG_INFINITY, f64::max) - low;
    let place = |score: &f64| match *score {
        f64::INFINITY => 1.0,
        score if width > 0.0 => ((score - low) / width).clamp(0.0, 1.0),
        _ => 0.0,
    };
    scores.iter().map(place).collect()
}

/// A value that a place had: of equal ones the earlier place is larger.
#[derive(Clone, Copy, Debug)]
struct Valued {
    value: f64,
    place: u32,
}

impl Ord for Valued {
    fn cmp(&self, other: &Self) -> Ordering {
        self.value.total_cmp(&other.value).then(other.place.cmp(&self.place))
    }
}

impl PartialOrd for Valued {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Valued {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Valued {}

impl D2 {
    /// Returns each sample's value once it has the messages of its neighbours' `scores`.
    fn forward_values(&self, graph: &SparseRows, scores: &[f64]) -> Vec<f64> {
        let value = |(edges, own): (&Vec<(u32, f64)>, &f64)| {
            let message = |(j, distance): &(u32, f64)| {
                (-distance).exp() * scores[*j as usize].max(LEAST_SCORE)
            };
            let sum: f64 = edges.iter().map(message).sum();
            match self.forward {
                ForwardMessage::Sum => own + sum,
                ForwardMessage::Product => own * sum,
            }
        };
        graph.0.iter().zip(scores).map(value).collect()
    }

    /// Picks the highest value `budget` times; each pick lowers its neighbours.
    fn traverse(
        &self,
        graph: &SparseRows,
        mut values: Vec<f64>,
        budget: usize,
        watch: &dyn super::Watch,
    ) -> Result<Vec<u32>, StageError> {
        let all = (0..).zip(&values);
        let mut heap: BinaryHeap<Valued> =
            all.map(|(place, value)| Valued { value: *value, place }).collect();
        let (mut taken, mut order) = (vec![false; values.len()], Vec::with_capacity(budget));
        while order.len() < budget {
            let Valued { value, place } =
                heap.pop().expect("there are more samples than the budget");
            // A value that has changed since stands in the heap once more.
            if taken[place as usize] || value.total_cmp(&values[place as usize]).is_ne() {
                continue;
            }
            watch.step(order.len(), budget)?;
            taken[place as usize] = true;
            order.push(place);
            for (j, distance) in graph.row(place as usize) {
                if taken[*j as usize] {
                    continue;
                }
                let factor = match self.reverse {
                    Reverse::Weighted => (-f64::from(self.gamma) * distance).exp(),
                    Reverse::Absolute => 1.0,
                };
                values[*j as usize] -= factor * value;
                heap.push(Valued { value: values[*j as usize], place: *j });
            }
        }
        Ok(order)
    }
}

impl Selector for D2 {
    const NAME: &'static str = "select.d2";
    const SUMMARY: &'static str = "the hardest in hard surroundings, but not beside one another";
    const MANUAL: &'static str = "\
Joins each sample to its `rule.neighbors` nearest others in the embedding, both ways, with distances d. A
sample first hears of its neighbours' scores s, brought to 0 to 1:

    g_i = s_i + sum_j exp(-d_ij) s_j      (`rule.forward = \"sum\"`)
    g_i = s_i * sum_j exp(-d_ij) s_j      (`\"product\"`)

Then the highest g is picked, of equal ones the earlier, and lowers its neighbours j, until the budget is
full:

    g_j -= exp(-gamma d_ij) g_i           (`rule.reverse = \"weighted\"`)
    g_j -= g_i                            (`\"absolute\"`)

High scores are kept. The score is on port `scores`, the embeddings are those of `proxy`, or the features of
`data`.

Maharana, Yadav & Bansal, *D2 Pruning: Message Passing for Balancing Diversity and Difficulty in Data
Pruning*, ICLR 2024. The authors join 5 to 15 neighbours, and go class by class (`balance = \"class\"`) after
a cut of the hardest. Embeddings that are far from one another, of
a wide layer say, have `exp(-d)` near 0, and then only the picks talk. Cost: O(n^2 d) for the neighbours in
tiles, O(n) memory, O(k log n) for the picks.

The authors' code feeds AUM in as a number of at most 0, which every message raises to 1e-7, so that the
graph does nothing; here scores are rescaled first. It holds the matrix of all pairs. Where distances are
given to it, it does not join both ways.";
    const READS: &'static [SelectInput] =
        &[SelectInput::Scores, SelectInput::Embeddings, SelectInput::Graph];
    const ON_DEVICE: bool = true;

    fn variants() -> Vec<Self> {
        let other = Self {
            forward: ForwardMessage::Product,
            reverse: Reverse::Absolute,
            ..Self::default()
        };
        vec![Self::default(), other]
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let features = group.embeddings();
        let step = |done, total| group.watch.step(done * budget / total, budget);
        let nearest = group.neighbours(&features, self.neighbors.get(), step)?;
        let graph = distances(&features, &nearest);
        let values = self.forward_values(&graph, &rescaled(&group.scores()));
        Ok(self.traverse(&graph, values, budget, group.watch)?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        linalg::{Compute, neighbours, noise},
        select::group::Unwatched,
    };

    #[test]
    fn messages_worked_by_hand() {
        // On a line at 0, 1, 3 with one neighbour each: 0 - 1 and 1 - 3.
        let features = Matrix::new(vec![0.0, 1.0, 3.0], 3, 1);
        let graph = distances(&features, &[vec![1], vec![0], vec![1]]);
        assert_eq!(graph.row(1), [(0, 1.0), (2, 2.0)]);
        let one = Count::try_from(1).expect("1 is above 0");
        let rule = D2 { neighbors: one, ..D2::default() };
        let (near, far) = ((-1f64).exp(), (-2f64).exp());
        let close = |found: &[f64], wanted: [f64; 3]| {
            assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        };
        let scores = rescaled(&[-2.0, 2.0, 0.0]);
        assert_eq!(scores, [0.0, 1.0, 0.5]);
        let values = rule.forward_values(&graph, &scores);
        close(&values, [near, 1.0 + near * LEAST_SCORE + far * 0.5, 0.5 + far]);
        // The middle is picked, and lowers both by nearly all it has: the farther less.
        let order = rule.traverse(&graph, values, 3, &Unwatched).expect("nobody stops it");
        assert_eq!(order, [1, 2, 0]);
        let product = D2 { forward: ForwardMessage::Product, ..rule };
        let values = product.forward_values(&graph, &scores);
        close(&values, [0.0, near * LEAST_SCORE + far * 0.5, 0.5 * far]);
    }

    #[test]
    fn the_heap_picks_what_a_full_search_picks() {
        let (n, d) = (200, 3);
        let x = noise(n * d, 1);
        let x = Matrix::new(&x, n, d);
        let nearest = neighbours(&x, 4, &Compute::default(), |_, _| Ok(())).expect("it goes on");
        let graph = distances(&x, &nearest);
        for rule in D2::variants() {
            let scores: Vec<f64> = noise(n, 2).into_iter().map(f64::from).collect();
            let scores = rescaled(&scores);
            let mut values = rule.forward_values(&graph, &scores);
            let found = rule.traverse(&graph, values.clone(), 150, &Unwatched);
            let mut taken = vec![false; n];
            for found in found.expect("nobody stops it") {
                let mut best = None;
                for i in (0..n).filter(|i| !taken[*i]) {
                    if best.is_none_or(|best: usize| values[i] > values[best]) {
                        best = Some(i);
                    }
                }
                let best = best.expect("some are left");
                assert_eq!(best, found as usize);
                taken[best] = true;
                for (j, distance) in graph.row(best) {
                    if !taken[*j as usize] {
                        let factor = match rule.reverse {
                            Reverse::Weighted => (-0.1 * distance).exp(),
                            Reverse::Absolute => 1.0,
                        };
                        values[*j as usize] -= factor * values[best];
                    }
                }
            }
        }
    }

    #[test]
    fn infinite_scores_are_at_the_ends() {
        let scores = rescaled(&[f64::INFINITY, 1.0, 3.0, f64::NEG_INFINITY]);
        assert_eq!(scores, [1.0, 0.0, 1.0, 0.0]);
        assert_eq!(rescaled(&[2.0, 2.0]), [0.0, 0.0]);
    }
}
