//! A weighted draw by sensitivity: lightweight coresets.

use super::{Group, Picks, SelectInput, Selector, draw};
use crate::linalg::{column_sums, squared_distance};
use artifacts::Matrix;
use engine::StageError;
use rand::Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Draws samples far from the mean more often, and weighs them less.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Sensitivity {
    /// Whether a sample can be drawn again.
    replacement: Replacement,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Replacement {
    /// It cannot: the budget is kept exactly.
    #[default]
    Without,
    /// It can, as in the paper: its weights are added, and fewer samples than the budget are kept.
    With,
}

/// Returns how much of the draw falls on each row: half uniformly, half by squared distance from the mean.
fn chances(rows: &Matrix<'_>) -> Vec<f64> {
    let n = rows.rows() as f64;
    let mean: Vec<f32> = column_sums(rows).iter().map(|sum| (sum / n) as f32).collect();
    let apart: Vec<f64> = (0..rows.rows())
        .into_par_iter()
        .with_min_len(256)
        .map(|i| squared_distance(rows.row(i), &mean).into())
        .collect();
    let total: f64 = apart.iter().sum();
    // Where all are at the mean, nothing tells them apart.
    let far = |apart: f64| if total > 0.0 { apart / total } else { 1.0 / n };
    apart.into_iter().map(|apart| 0.5 / n + 0.5 * far(apart)).collect()
}

/// Returns the chance of each row to be among `budget`: in proportion to `chances`, and none above 1.
fn inclusion(chances: &[f64], budget: usize) -> Vec<f64> {
    let mut certain = vec![false; chances.len()];
    loop {
        let sure = certain.iter().filter(|sure| **sure).count();
        let open = || chances.iter().zip(&certain).filter(|(_, sure)| !**sure);
        let factor = (budget - sure) as f64 / open().map(|(chance, _)| chance).sum::<f64>();
        let more: Vec<usize> =
            (0..chances.len()).filter(|i| !certain[*i] && factor * chances[*i] >= 1.0).collect();
        if more.is_empty() || sure + more.len() >= budget {
            more.iter().take(budget - sure).for_each(|i| certain[*i] = true);
            let full = sure + more.len() >= budget;
            let chance = |(chance, sure): (&f64, &bool)| match (sure, full) {
                (true, _) => 1.0,
                (false, true) => 0.0,
                (false, false) => factor * chance,
            };
            return chances.iter().zip(&certain).map(chance).collect();
        }
        more.into_iter().for_each(|i| certain[i] = true);
    }
}

/// Draws `budget` rows, each with its chance, which sum to the budget: systematic sampling in a random order.
fn systematic(stream: &mut impl Rng, chances: &[f64], budget: usize) -> Vec<u32> {
    let n = chances.len();
    let order = draw::sample(stream, (0..n as u32).collect(), n);
    let offset = draw::uniform(stream);
    let (mut drawn, mut before) = (vec![], 0.0);
    for place in &order {
        before += chances[*place as usize];
        // A certain one spans a whole step, whatever rounding made of the sum.
        if drawn.len() < budget && before > drawn.len() as f64 + offset {
            drawn.push(*place);
        }
    }
    // Rounding of the sum may lose the last.
    let mut is_drawn = vec![false; n];
    drawn.iter().for_each(|place| is_drawn[*place as usize] = true);
    let left = order.iter().rev().filter(|place| !is_drawn[**place as usize]);
    let missing = budget - drawn.len();
    drawn.extend(left.take(missing));
    drawn
}

/// Draws `budget` times, and returns what was drawn and how often.
fn repeatedly(stream: &mut impl Rng, chances: &[f64], budget: usize) -> BTreeMap<u32, u32> {
    let mut sums = Vec::with_capacity(chances.len());
    let mut total = 0.0;
    for chance in chances {
        total += chance;
        sums.push(total);
    }
    let mut counts = BTreeMap::new();
    for _ in 0..budget {
        let point = draw::uniform(stream) * total;
        let place = sums.partition_point(|sum| *sum <= point).min(chances.len() - 1);
        *counts.entry(place as u32).or_default() += 1;
    }
    counts
}

impl Selector for Sensitivity {
    const NAME: &'static str = "select.sensitivity";
    const SUMMARY: &'static str = "a weighted draw that stands for all: lightweight coresets";
    const MANUAL: &'static str = "\
Draws samples x with the chance `q(x) = 1/2 1/n + 1/2 d(x, mu)^2 / sum d(x', mu)^2`, d the Euclidean
distance of embeddings and mu their mean, and gives each the weight `1 / (m q(x))` for m draws: sums over
the picks are then sums over all in the mean. What is far from the mean is drawn more often, for it counts
most in sums of squares, and weighs less.

Without replacement, the default, the chances to be kept are m q(x), or 1 where that is more, and the draw
is a systematic one in a random order, which keeps exactly the budget; weights are 1 over these chances.
With replacement, as in the paper, repeated draws of a sample add their weights, and fewer samples are kept.

Bachem, Lucic & Krause, *Scalable k-Means Clustering via Lightweight Coresets*, KDD 2018: there the picks
are a coreset of k-means within an additive error. It is of the inputs alone: a network's loss promises
nothing of the kind. Cost: O(n d).";
    const STREAMS: &'static [&'static str] = &["picks"];
    const READS: &'static [SelectInput] = &[SelectInput::Embeddings];

    fn variants() -> Vec<Self> {
        [Replacement::Without, Replacement::With].map(|replacement| Self { replacement }).to_vec()
    }

    fn may_keep_fewer(&self) -> bool {
        self.replacement == Replacement::With
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let chances = chances(&group.embeddings());
        let mut stream = group.streams.at("picks", group.index);
        if self.replacement == Replacement::With {
            let counts = repeatedly(&mut stream, &chances, budget);
            let weight = |(place, count): (&u32, &u32)| {
                (f64::from(*count) / (budget as f64 * chances[*place as usize])) as f32
            };
            let weights = counts.iter().map(weight).collect();
            return Ok(Picks::at_rows(counts.into_keys().collect(), Some(weights)));
        }
        let kept = inclusion(&chances, budget);
        let places = systematic(&mut stream, &kept, budget);
        let weight = |place: &u32| kept[*place as usize].max(f64::MIN_POSITIVE).recip() as f32;
        let weights = places.iter().map(weight).collect();
        Ok(Picks::at_rows(places, Some(weights)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Streams;

    #[test]
    fn chances_worked_by_hand() {
        // The mean is 2; squares 4, 1, 1, 4, 0 of 10 in all.
        let x = [0.0, 1.0, 3.0, 4.0, 2.0];
        let found = chances(&Matrix::new(&x[..], 5, 1));
        for (found, wanted) in found.iter().zip([0.3, 0.15, 0.15, 0.3, 0.1]) {
            assert!((found - wanted).abs() < 1e-9);
        }
        // Of four, 0.3 would be kept 1.2 times: those two surely, and of the rest 0.75 : 0.75 : 0.5.
        let kept = inclusion(&found, 4);
        for (kept, wanted) in kept.iter().zip([1.0, 0.75, 0.75, 1.0, 0.5]) {
            assert!((kept - wanted).abs() < 1e-9, "{kept}");
        }
        assert_eq!(inclusion(&found, 5), [1.0; 5]);
    }

    #[test]
    fn rows_are_kept_as_often_as_they_should_be() {
        let mut stream = Streams::new(3, Sensitivity::STREAMS).get("picks");
        let kept = [1.0, 0.75, 0.75, 1.0, 0.5];
        let mut counts = [0u32; 5];
        for _ in 0..20_000 {
            let drawn = systematic(&mut stream, &kept, 4);
            assert_eq!(drawn.len(), 4);
            drawn.into_iter().for_each(|place| counts[place as usize] += 1);
        }
        for (count, chance) in counts.iter().zip(kept) {
            assert!((f64::from(*count) / 20_000.0 - chance).abs() < 0.015, "{counts:?}");
        }
        let mut sums = [0u32; 2];
        for (place, count) in repeatedly(&mut stream, &[0.2, 0.8], 20_000) {
            sums[place as usize] = count;
        }
        assert!((f64::from(sums[0]) / 20_000.0 - 0.2).abs() < 0.015, "{sums:?}");
    }
}
