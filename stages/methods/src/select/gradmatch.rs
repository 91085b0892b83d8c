//! GradMatch: a weighted subset whose gradient is that of the whole.

use super::{Group, Picks, SelectInput, Selector};
use crate::{
    MethodError,
    linalg::{Gram, PartialCholesky, cross, dot, largest, nonnegative, weighted},
};
use artifacts::{Matrix, units::NonNegative};
use engine::StageError;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps samples, and weighs them, so that their gradient matches the mean gradient of the group.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct GradMatch {
    /// The ridge on the weights.
    pub(crate) lambda: NonNegative,
}

impl Default for GradMatch {
    fn default() -> Self {
        Self { lambda: NonNegative::try_from(0.5).expect("it is not negative") }
    }
}

/// An orthogonal matching pursuit of a target known by its inner products with all vectors of a Gram
/// matrix.
pub(super) struct Pursuit<'a> {
    gram: &'a Gram<'a>,
    lambda: f64,
    factor: PartialCholesky,
    /// The inner products of all vectors with the residual.
    left: Vec<f64>,
    taken: Vec<bool>,
    picks: Vec<u32>,
}

impl<'a> Pursuit<'a> {
    /// Expects up to `budget` picks.
    pub(super) fn new(gram: &'a Gram<'a>, target: &[f64], lambda: f64, budget: usize) -> Self {
        let n = gram.len();
        let factor = PartialCholesky::new(n).on(gram.compute(), budget);
        let (taken, picks) = (vec![false; n], Vec::with_capacity(budget));
        Self { gram, lambda, factor, left: target.to_vec(), taken, picks }
    }

    /// Picks the place of the largest inner product with the residual; of equal ones the first.
    pub(super) fn step(&mut self) -> usize {
        let next = self.best_by(&self.left);
        self.pick(next);
        next
    }

    /// Returns the place, not yet picked, of the largest of `products`; of equal ones the first.
    pub(super) fn best_by(&self, products: &[f64]) -> usize {
        let mut best: Option<usize> = None;
        for i in (0..products.len()).filter(|i| !self.taken[*i]) {
            if best.is_none_or(|best| products[i] > products[best]) {
                best = Some(i);
            }
        }
        best.expect("there are more samples than the budget")
    }

    /// Picks `next`.
    pub(super) fn pick(&mut self, next: usize) {
        let Self { gram, lambda, factor, left, taken, picks } = self;
        taken[next] = true;
        picks.push(next as u32);
        // With y = L^-1 (target of the picks), the residual is target - (L^-1 K)' y, and only the
        // last entry of y is new.
        let was = left[next];
        let open = |i: usize| if taken[i] { f64::NEG_INFINITY } else { left[i] };
        let likely = |count: usize| largest(taken.len(), count, open);
        let kernel = |places: &[u32]| gram.rows(places);
        let (new, pivot) = factor.choose(next, *lambda, &kernel, likely);
        if pivot > 0.0 {
            let y = was / pivot;
            for (left, v) in left.iter_mut().zip(new) {
                *left -= y * f64::from(*v);
            }
        }
    }

    /// Returns the picks in order, and their Gram matrix, row-major.
    pub(super) fn finish(self) -> (Vec<u32>, Vec<f64>) {
        let square = pairs(self.gram, &self.picks);
        (self.picks, square)
    }
}

/// Runs the pursuit: the picks in order, and their Gram matrix, row-major.
pub(super) fn pursue(
    gram: &Gram<'_>,
    target: &[f64],
    lambda: f64,
    budget: usize,
    watch: &dyn super::Watch,
) -> Result<(Vec<u32>, Vec<f64>), StageError> {
    let mut pursuit = Pursuit::new(gram, target, lambda, budget);
    for done in 0..budget {
        watch.step(done, budget)?;
        pursuit.step();
    }
    Ok(pursuit.finish())
}

/// Returns the mean gradient, \[C, 1 + d\] row-major, of samples whose parts in the logits are
/// `residuals` and in the inputs `inputs`.
pub(super) fn mean_gradient(residuals: &Matrix<'_>, inputs: &Matrix<'_>) -> Vec<f64> {
    let n = residuals.rows() as f64;
    cross(residuals, inputs).iter().map(|sum| sum / n).collect()
}

/// Returns the inner product of `gradient` with that of every sample of `gram`.
pub(super) fn along(gram: &Gram<'_>, gradient: &[f64]) -> Vec<f64> {
    weighted(&gram.spaces()[1], Some(&gram.spaces()[0]), gradient)
}

/// Returns weights of the picks whose Gram matrix is `square` and whose products with the target
/// are `target`, none of them negative: those that `solve` finds for the matrix with the smallest
/// ridge, from `lambda`, for which it finds any.
///
/// # Errors
///
/// Fails if the gradients are too large for their products to be told apart.
pub(super) fn weigh(
    square: &[f64],
    target: &[f64],
    lambda: f64,
    solve: impl Fn(&[f64], &[f64]) -> Option<Vec<f64>>,
) -> Result<Vec<f64>, StageError> {
    const TRIES: usize = 16;
    let k = target.len();
    let mut ridge = lambda;
    let trace: f64 = (0..k).map(|i| square[i * k + i]).sum();
    for _ in 0..TRIES {
        let mut m = square.to_vec();
        (0..k).for_each(|i| m[i * k + i] += ridge);
        match solve(&m, target) {
            Some(weights) => return Ok(weights),
            // Picks that repeat each other, and no ridge: the smallest that tells them apart.
            None => ridge = (ridge * 10.0).max(1e-9 * (trace / k as f64)).max(f64::MIN_POSITIVE),
        }
    }
    Err(MethodError::EqualGradients.into())
}

impl GradMatch {
    /// Replaces picks of no weight by others that still point towards the target, until all have
    /// one; those that never do get the smallest weight there is.
    fn refill(
        &self,
        gram: &Gram<'_>,
        target: &[f64],
        mean: &[f64],
        mut picks: Vec<u32>,
        mut weights: Vec<f64>,
    ) -> Result<(Vec<u32>, Vec<f64>), StageError> {
        const ROUNDS: usize = 8;
        let (residuals, inputs) = (&gram.spaces()[0], &gram.spaces()[1]);
        let budget = picks.len();
        let mut tried = vec![false; gram.len()];
        picks.iter().for_each(|pick| tried[*pick as usize] = true);
        for _ in 0..ROUNDS {
            if weights.iter().all(|weight| *weight > 0.0) {
                return Ok((picks, weights));
            }
            let kept: Vec<(u32, f64)> =
                picks.iter().copied().zip(weights).filter(|(_, weight)| *weight > 0.0).collect();
            let mut rest = mean.to_vec();
            for (pick, weight) in &kept {
                let (r, h) = (residuals.row(*pick as usize), inputs.row(*pick as usize));
                for (rest, r) in rest.chunks_exact_mut(h.len()).zip(r) {
                    for (rest, h) in rest.iter_mut().zip(h) {
                        *rest -= weight * f64::from(*r) * f64::from(*h);
                    }
                }
            }
            let left = weighted(inputs, Some(residuals), &rest);
            let mut fresh: Vec<u32> = (0..gram.len() as u32)
                .filter(|i| !tried[*i as usize] && left[*i as usize] > 0.0)
                .collect();
            fresh.sort_by(|a, b| left[*b as usize].total_cmp(&left[*a as usize]).then(a.cmp(b)));
            fresh.truncate(budget - kept.len());
            let done = fresh.is_empty();
            fresh.iter().for_each(|pick| tried[*pick as usize] = true);
            let idle = picks.iter().filter(|pick| kept.iter().all(|(one, _)| one != *pick));
            let idle: Vec<u32> = idle.copied().take(budget - kept.len() - fresh.len()).collect();
            picks = kept.iter().map(|(pick, _)| *pick).chain(fresh).chain(idle).collect();
            let square = pairs(gram, &picks);
            let right: Vec<f64> = picks.iter().map(|pick| target[*pick as usize]).collect();
            weights = weigh(&square, &right, self.lambda.into(), nonnegative)?;
            if done {
                break;
            }
        }
        let positive = weights.iter().copied().filter(|weight| *weight > 0.0);
        let least = positive.fold(f64::INFINITY, f64::min);
        let least = if least.is_finite() { least } else { 1.0 / gram.len() as f64 };
        weights.iter_mut().for_each(|weight| *weight = weight.max(least));
        Ok((picks, weights))
    }
}

/// Returns the products of all pairs of `picks`, row-major: with the same bits on every machine, as
/// weights show their last ones.
fn pairs(gram: &Gram<'_>, picks: &[u32]) -> Vec<f64> {
    let k = picks.len();
    let product = |i: usize, j: usize| -> f64 {
        let parts = gram.spaces().iter().map(|space| {
            f64::from(dot(space.row(picks[i] as usize), space.row(picks[j] as usize)))
        });
        parts.product()
    };
    let half: Vec<Vec<f64>> =
        (0..k).into_par_iter().map(|i| (0..=i).map(|j| product(i, j)).collect()).collect();
    let mut square = vec![0.0; k * k];
    for (i, row) in half.iter().enumerate() {
        for (j, value) in row.iter().enumerate() {
            (square[i * k + j], square[j * k + i]) = (*value, *value);
        }
    }
    square
}

impl Selector for GradMatch {
    const NAME: &'static str = "select.gradmatch";
    const SUMMARY: &'static str = "a weighted subset whose gradient matches that of the whole";
    const MANUAL: &'static str = "\
Orthogonal matching pursuit of the group's mean last-layer gradient b: each pick is the sample whose gradient
has the largest inner product with what is left of b, and the weights of all picks are then solved for anew,
with a ridge. In the end the weights are the best that are not negative, times the size of the group: they
sum to about that. Of equal products the earlier sample is picked. Samples that come out with no weight
are replaced by others that still point towards the rest of b.

Killamsetty, Sivasubramanian, Ramakrishnan, De & Iyer, *GRAD-MATCH*, ICML 2021, algorithm 2. Cost: O(n (C + d +
k)) a pick: inner products come from the gradients' factors, and the Cholesky factor grows by a row; memory
O(n k).

DeepCore's own, which weighs and regularises otherwise, is `select.deepcore.gradmatch`.";
    const REVISION: u32 = 2;
    const READS: &'static [SelectInput] = &[SelectInput::Logits, SelectInput::Embeddings];
    const ON_DEVICE: bool = true;

    fn variants() -> Vec<Self> {
        let unregularised = NonNegative::try_from(0.0).ok().map(|lambda| Self { lambda });
        unregularised.into_iter().chain([Self::default()]).collect()
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let (residuals, inputs) = (group.residuals(), group.inputs_of_last_layer());
        let n = group.len() as f64;
        let mean = mean_gradient(&residuals, &inputs);
        let gram = Gram::new(vec![residuals, inputs]).on(group.compute, false);
        let target = along(&gram, &mean);
        let lambda = self.lambda.into();
        let (picks, square) = pursue(&gram, &target, lambda, budget, group.watch)?;
        let right: Vec<f64> = picks.iter().map(|pick| target[*pick as usize]).collect();
        let weights = weigh(&square, &right, lambda, nonnegative)?;
        let (places, weights) = self.refill(&gram, &target, &mean, picks, weights)?;
        let weights = weights.iter().map(|weight| (weight * n) as f32).collect();
        Ok(Picks::at_rows(places, Some(weights)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{linalg::noise, select::group::Unwatched};

    #[test]
    fn the_pursuit_is_the_one_that_solves_anew_at_every_step() {
        let (n, d, k) = (40, 6, 12);
        let x = Matrix::new(noise(n * d, 4), n, d);
        let product = |i: usize, j: usize| f64::from(dot(x.row(i), x.row(j)));
        let target: Vec<f64> =
            (0..n).map(|i| (0..n).map(|j| product(i, j)).sum::<f64>() / n as f64).collect();
        for lambda in [0.5, 0.05] {
            let gram = Gram::new(vec![x.view()]);
            let (fast, square) =
                pursue(&gram, &target, lambda, k, &Unwatched).expect("nobody stops it");

            let mut slow: Vec<usize> = vec![];
            let mut weights: Vec<f64> = vec![];
            while slow.len() < k {
                let left = |i: usize| {
                    let known = slow.iter().zip(&weights).map(|(j, w)| w * product(i, *j));
                    target[i] - known.sum::<f64>()
                };
                let open = (0..n).filter(|i| !slow.contains(i));
                let best = open.fold(None, |best: Option<usize>, i| match best {
                    Some(best) if left(best) >= left(i) => Some(best),
                    _ => Some(i),
                });
                slow.push(best.expect("there are enough"));
                // Gauss-Seidel on the normal equations, run until it stands still.
                weights = vec![0.0; slow.len()];
                for _ in 0..20_000 {
                    for (a, i) in slow.iter().enumerate() {
                        let others = slow.iter().zip(&weights).enumerate();
                        let known: f64 = others
                            .filter(|(b, _)| *b != a)
                            .map(|(_, (j, w))| w * product(*i, *j))
                            .sum();
                        weights[a] = (target[*i] - known) / (product(*i, *i) + lambda);
                    }
                }
            }
            assert_eq!(fast.iter().map(|i| *i as usize).collect::<Vec<_>>(), slow);
            for (a, i) in slow.iter().enumerate() {
                for (b, j) in slow.iter().enumerate() {
                    assert!((square[a * k + b] - product(*i, *j)).abs() < 1e-6);
                }
            }
        }
    }
}
