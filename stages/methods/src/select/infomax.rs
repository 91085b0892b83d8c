//! InfoMax: high scores, less what neighbours tell twice.

use super::{Group, Picks, SelectInput, Selector, sparse::SparseRows};
use crate::linalg::{dot, unit};
use artifacts::{
    Matrix,
    units::{Count, NonNegative},
};
use engine::StageError;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps high scores that neighbours do not repeat.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct InfoMax {
    /// What it costs to keep two samples that are alike, beside scores from 0 to 1.
    alpha: NonNegative,
    /// To how many nearest others of the group a sample is alike at all.
    neighbors: Count,
    /// How many steps the search takes.
    steps: Count,
}

impl Default for InfoMax {
    fn default() -> Self {
        Self {
            alpha: NonNegative::try_from(0.3).expect("0.3 is not below 0"),
            neighbors: Count::try_from(5).expect("5 is above 0"),
            steps: Count::try_from(100).expect("100 is above 0"),
        }
    }
}

/// Returns the cosines of joined samples, or 0 where they are below.
fn kernel(vectors: &Matrix<'_>, nearest: &[Vec<u32>]) -> SparseRows {
    SparseRows::new(nearest, |i, j| dot(vectors.row(i), vectors.row(j)).max(0.0).into())
}

/// Returns `kernel` times `x`.
fn times(kernel: &SparseRows, x: &[f64]) -> Vec<f64> {
    let one = |row: &Vec<(u32, f64)>| row.iter().map(|(j, k)| k * x[*j as usize]).sum();
    kernel.0.par_iter().with_min_len(256).map(one).collect()
}

/// How often the shift of a projection is halved: beyond the digits of an f64.
const HALVINGS: usize = 64;

/// Moves `x` to the nearest point with all of it from 0 to 1 and a sum of `total`.
fn project(x: &mut [f64], total: f64) {
    let low = x.iter().copied().fold(f64::INFINITY, f64::min) - 1.0;
    let high = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (mut low, mut high) = (low, high);
    for _ in 0..HALVINGS {
        let shift = f64::midpoint(low, high);
        let sum: f64 = x.iter().map(|value| (value - shift).clamp(0.0, 1.0)).sum();
        if sum > total {
            low = shift;
        } else {
            high = shift;
        }
    }
    x.iter_mut().for_each(|value| *value = (*value - high).clamp(0.0, 1.0));
}

impl InfoMax {
    /// Returns the places of the `budget` largest weights of the relaxed problem, largest first; of equal
    /// ones that which would gain most by growing, then the earlier.
    fn solve(
        &self,
        scores: &[f64],
        kernel: &SparseRows,
        budget: usize,
        watch: &dyn super::Watch,
    ) -> Result<Vec<u32>, StageError> {
        let (n, alpha) = (scores.len(), f64::from(self.alpha));
        let gradient_at = |x: &[f64]| -> Vec<f64> {
            let repeated = times(kernel, x);
            scores.iter().zip(repeated).map(|(score, one)| score - 2.0 * alpha * one).collect()
        };
        let row_sum = |row: &Vec<(u32, f64)>| row.iter().map(|(_, k)| k).sum::<f64>();
        let curvature = 2.0 * alpha * kernel.0.iter().map(row_sum).fold(0.0, f64::max);
        // A step no longer than one over the curvature never makes it worse; with none, any will do.
        let length = curvature.max(0.1).recip();
        let mut x = vec![budget as f64 / n as f64; n];
        let steps = self.steps.get();
        for step in 0..steps {
            watch.step(step * budget / steps, budget)?;
            let gradient = gradient_at(&x);
            for (x, gradient) in x.iter_mut().zip(gradient) {
                *x += length * gradient;
            }
            project(&mut x, budget as f64);
        }
        let gradient = gradient_at(&x);
        let mut order: Vec<u32> = (0..n as u32).collect();
        order.sort_by(|a, b| {
            let (a, b) = (*a as usize, *b as usize);
            x[b].total_cmp(&x[a]).then(gradient[b].total_cmp(&gradient[a])).then(a.cmp(&b))
        });
        order.truncate(budget);
        Ok(order)
    }
}

impl Selector for InfoMax {
    const NAME: &'static str = "select.infomax";
    const SUMMARY: &'static str = "high scores that neighbours do not repeat";
    const MANUAL: &'static str = "\
Keeps the x of 0 and 1 with the budget for its sum that makes

    sum_i x_i s_i - alpha sum_ij x_i x_j K_ij

large: s are the scores, brought to 0 to 1, and K is the cosine of the embeddings between a sample and its
`rule.neighbors` nearest others, both ways, and 0 elsewhere. High scores are kept. x is relaxed to numbers
from 0 to 1, moved along the gradient and brought back to its sum `rule.steps` times; the largest are kept.
The score is on port `scores`, the embeddings are those of `proxy`, or the features of
`data`.

Tan, Wu, Du, Chen, Wang, Wang & Qi, *Data Pruning by Information Maximization*, ICLR 2025, of which the
problem is taken; the search is our own, as are the defaults. They cut the data into random parts
to be solved one by one; a sparse K is solved whole. Cost: O(n^2 d) for the neighbours in tiles, O(n) memory.";
    const READS: &'static [SelectInput] =
        &[SelectInput::Scores, SelectInput::Embeddings, SelectInput::Graph];
    const ON_DEVICE: bool = true;

    fn variants() -> Vec<Self> {
        let alone = Self {
            alpha: NonNegative::try_from(0.0).expect("0 is not below 0"),
            ..Self::default()
        };
        vec![Self::default(), alone]
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let vectors = unit(&group.embeddings());
        let step = |_, _| group.watch.step(0, budget);
        let nearest = group.neighbours(&vectors, self.neighbors.get(), step)?;
        let kernel = kernel(&vectors, &nearest);
        let scores = super::d2::rescaled(&group.scores());
        Ok(self.solve(&scores, &kernel, budget, group.watch)?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::group::Unwatched;

    #[test]
    fn a_copy_is_kept_only_where_repeating_costs_little() {
        // 0 and 1 are copies. Both: 1.9 - 2 alpha; 0 and 2: 1.5.
        let kernel = SparseRows(vec![vec![(1, 1.0)], vec![(0, 1.0)], vec![]]);
        let pick = |alpha: f64| {
            let alpha = NonNegative::try_from(alpha).expect("it is not below 0");
            let rule = InfoMax { alpha, ..InfoMax::default() };
            rule.solve(&[1.0, 0.9, 0.5], &kernel, 2, &Unwatched).expect("nobody stops it")
        };
        assert_eq!(pick(0.1), [0, 1]);
        assert_eq!(pick(0.5), [0, 2]);
    }

    #[test]
    fn projections_worked_by_hand() {
        let mut x = [0.9, 0.4, -3.0, 5.0];
        project(&mut x, 2.0);
        // The last is 1 and the third 0; the others lose 0.15 each.
        for (found, wanted) in x.iter().zip([0.75, 0.25, 0.0, 1.0]) {
            assert!((found - wanted).abs() < 1e-12, "{x:?}");
        }
        let mut all = [0.5; 3];
        project(&mut all, 3.0);
        assert_eq!(all, [1.0; 3]);
    }

    #[test]
    fn without_redundancy_the_highest_scores_are_kept() {
        let kernel = SparseRows(vec![vec![]; 5]);
        let scores = [0.1, 0.8, 0.3, 1.0, 0.8];
        let found = InfoMax::default().solve(&scores, &kernel, 3, &Unwatched);
        let mut found = found.expect("nobody stops it");
        found.sort_unstable();
        assert_eq!(found, [1, 3, 4]);
    }
}
