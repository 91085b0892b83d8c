//! A draw from a determinantal point process (k-DPP).

use super::{Group, Picks, SelectInput, Selector, draw::uniform, similarity::lifted};
use crate::linalg::{cross, dot, product, symmetric_eigen, unit};
use artifacts::{Matrix, units::Count};
use engine::StageError;
use rand::Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Draws samples that are unlike each other.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Dpp {
    /// How many samples are drawn together at most; half the width of the embeddings if left out.
    round: Option<Count>,
}

/// An eigenvalue below this share of the largest counts as 0.
const NOTHING: f64 = 1e-6;

/// Returns the logarithm of the sum of what these are the logarithms of.
fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

/// Draws `count` of the eigenvalues, a set with a chance in proportion to its product (Kulesza & Taskar 2012);
/// the last first.
fn eigenvalues(stream: &mut impl Rng, values: &[f64], count: usize) -> Vec<usize> {
    let n = values.len();
    // The logarithms of the elementary symmetric polynomials, [count + 1, n + 1].
    let at = |l: usize, j: usize| l * (n + 1) + j;
    let mut sums = vec![f64::NEG_INFINITY; (count + 1) * (n + 1)];
    sums[..=n].fill(0.0);
    for l in 1..=count {
        for j in 1..=n {
            let with = values[j - 1].ln() + sums[at(l - 1, j - 1)];
            sums[at(l, j)] = log_add(sums[at(l, j - 1)], with);
        }
    }
    let mut drawn = vec![];
    for j in (1..=n).rev() {
        let left = count - drawn.len();
        if left == 0 {
            break;
        }
        let with = values[j - 1].ln() + sums[at(left - 1, j - 1)];
        if uniform(stream).ln() < with - sums[at(left, j)] || left == j {
            drawn.push(j - 1);
        }
    }
    drawn
}

/// Draws as many rows of `y` as it has columns, which are orthonormal: a set with a chance in proportion to
/// the squared volume it spans. Fewer, if rounding leaves nothing outside the span of those drawn.
fn spanning(stream: &mut impl Rng, y: &Matrix<'_>) -> Vec<u32> {
    let mut outside: Vec<f64> = (0..y.rows())
        .into_par_iter()
        .with_min_len(256)
        .map(|i| dot(y.row(i), y.row(i)).into())
        .collect();
    let (mut basis, mut drawn): (Vec<Vec<f32>>, Vec<u32>) = (vec![], vec![]);
    while drawn.len() < y.cols() {
        let total: f64 = outside.iter().sum();
        let mut left = uniform(stream) * total;
        let found = outside.iter().position(|part| {
            left -= part;
            left < 0.0
        });
        // Rounding may leave a little at the end: then it is the last that can be drawn.
        let found = found.or_else(|| outside.iter().rposition(|part| *part > 0.0));
        let Some(next) = found else { break };
        let mut new = y.row(next).to_vec();
        // Twice, for what rounding left of the first time.
        for known in basis.iter().chain(&basis) {
            let part = dot(&new, known);
            new.iter_mut().zip(known).for_each(|(new, known)| *new -= part * known);
        }
        let length = dot(&new, &new).sqrt();
        if length > 0.0 {
            new.iter_mut().for_each(|value| *value /= length);
        }
        outside.par_iter_mut().with_min_len(256).enumerate().for_each(|(i, outside)| {
            *outside = (*outside - f64::from(dot(y.row(i), &new)).powi(2)).max(0.0);
        });
        outside[next] = 0.0;
        drawn.push(next as u32);
        basis.push(new);
    }
    drawn
}

/// Draws at most `most` rows of `vectors` from the determinantal process whose kernel their products are.
fn draw(stream: &mut impl Rng, vectors: &Matrix<'_>, most: usize) -> Vec<u32> {
    let width = vectors.cols();
    let (values, directions) = symmetric_eigen(cross(vectors, vectors), width);
    let largest = values.iter().copied().fold(0.0, f64::max);
    let there = |at: &usize| values[*at] > NOTHING * largest;
    let there: Vec<usize> = (0..width).filter(there).collect();
    let some: Vec<f64> = there.iter().map(|at| values[*at]).collect();
    let chosen = eigenvalues(stream, &some, most.min(some.len()));
    // Of the n by n kernel the eigenvectors are the products with those of the dual, divided by the root.
    let dual = |at: &usize| {
        let at = there[*at];
        let root = values[at].sqrt();
        directions[at * width..(at + 1) * width].iter().map(move |value| (value / root) as f32)
    };
    let data: Vec<f32> = chosen.iter().flat_map(dual).collect();
    let directions = Matrix::new(data, chosen.len(), width);
    let y = product(vectors, &directions);
    spanning(stream, &Matrix::new(y, vectors.rows(), chosen.len()))
}

impl Selector for Dpp {
    const NAME: &'static str = "select.dpp";
    const SUMMARY: &'static str = "a random draw of samples that are unlike each other";
    const MANUAL: &'static str = "\
Draws from a determinantal point process of fixed size (k-DPP): a set S with a chance in proportion to `det
s_SS`, s = (1 + cosine) / 2 of embeddings. Sets of samples that are alike are rare, whole regions are met as
often as they are wide, and each seed gives another set; `select.log-det` finds the set of the largest
determinant instead. No score is read and neither end of any is kept.

No set larger than the rank of s, which is at most one more than the width of the embeddings, has a
determinant above 0. So the budget is drawn in rounds of `rule.round` samples, each from those that are
left: within a round samples repel each other, between rounds they do not.

Kulesza & Taskar, *Determinantal Point Processes for Machine Learning*, Foundations and Trends in Machine
Learning 2012: the dual representation and k-DPPs. Rounds are our own. Cost: O(n d^2 + d^3) a round for the
eigenvectors of the d by d dual, then O(n r) a pick for rounds of r; memory O(n r).";
    const STREAMS: &'static [&'static str] = &["picks"];
    const READS: &'static [SelectInput] = &[SelectInput::Embeddings];

    fn variants() -> Vec<Self> {
        vec![Self::default(), Self { round: Count::try_from(1).ok() }]
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let vectors = lifted(&unit(&group.embeddings()));
        let round = self.round.map_or(vectors.cols() / 2, Count::get).max(1);
        let mut stream = group.streams.at("picks", group.index);
        let mut open: Vec<u32> = (0..group.len() as u32).collect();
        let mut picks = vec![];
        while picks.len() < budget && open.len() > budget - picks.len() {
            group.watch.step(picks.len(), budget)?;
            let most = round.min(budget - picks.len());
            let drawn = draw(&mut stream, &vectors.gather(&open), most);
            picks.extend(drawn.iter().map(|at| open[*at as usize]));
            let mut is_drawn = vec![false; open.len()];
            drawn.iter().for_each(|at| is_drawn[*at as usize] = true);
            let mut is_drawn = is_drawn.into_iter();
            open.retain(|_| !is_drawn.next().unwrap_or(false));
        }
        // All that is left is as many as are missing.
        if picks.len() < budget {
            picks.extend(open);
        }
        Ok(picks.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Streams;
    use std::collections::BTreeMap;

    #[test]
    fn sets_are_drawn_as_often_as_their_determinant_is_large() {
        let x = [1.0, 0.0, 0.8, 0.6, 0.0, 1.0, -0.6, 0.8, 1.0, 0.0];
        let vectors = Matrix::new(&x[..], 5, 2);
        let det = |i: usize, j: usize| {
            let (a, b) = (vectors.row(i), vectors.row(j));
            f64::from(a[0] * b[1] - a[1] * b[0]).powi(2)
        };
        let pairs = || (0..5).flat_map(|i| (i + 1..5).map(move |j| (i, j)));
        let total: f64 = pairs().map(|(i, j)| det(i, j)).sum();
        let mut stream = Streams::new(1, Dpp::STREAMS).get("picks");
        let mut counts: BTreeMap<(usize, usize), u32> = BTreeMap::new();
        for _ in 0..20_000 {
            let mut drawn = draw(&mut stream, &vectors, 2);
            drawn.sort_unstable();
            *counts.entry((drawn[0] as usize, drawn[1] as usize)).or_default() += 1;
        }
        for (i, j) in pairs() {
            let found = f64::from(counts.get(&(i, j)).copied().unwrap_or(0)) / 20_000.0;
            assert!((found - det(i, j) / total).abs() < 0.015, "{i} {j}: {counts:?}");
        }
        assert!(!counts.contains_key(&(0, 4)), "copies are never drawn together");
    }

    #[test]
    fn single_samples_are_drawn_as_often_as_they_are_long() {
        // With one of three eigenvalues, each is drawn as often as it is large: 1, 2 and 5 of 8.
        let mut stream = Streams::new(2, Dpp::STREAMS).get("picks");
        let (mut one, mut two) = ([0u32; 3], [0u32; 3]);
        for _ in 0..20_000 {
            one[eigenvalues(&mut stream, &[1.0, 2.0, 5.0], 1)[0]] += 1;
            let drawn = eigenvalues(&mut stream, &[1.0, 2.0, 5.0], 2);
            two[3 - drawn[0] - drawn[1]] += 1;
        }
        // Of two, the one left out: products 10, 5 and 2 of 17.
        for (counts, chances) in [(one, [1.0, 2.0, 5.0]), (two, [10.0, 5.0, 2.0])] {
            let all: f64 = chances.iter().sum();
            for (count, chance) in counts.iter().zip(chances) {
                assert!((f64::from(*count) / 20_000.0 - chance / all).abs() < 0.015, "{counts:?}");
            }
        }
    }
}
