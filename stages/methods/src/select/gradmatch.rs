//! GradMatch: a weighted subset whose gradient is that of the whole.

use super::{Compat, Group, Picks, SelectInput, Selector, deepcore_batch};
use crate::linalg::{Gram, PartialCholesky, cross, dot, largest, nonnegative, weighted};
use artifacts::units::{Count, NonNegative};
use engine::StageError;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps samples, and weighs them, so that their gradient matches the mean gradient of the group.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct GradMatch {
    /// The ridge on the weights. Left out, it is 0.5, the paper's; with `compat`, it is 1, which
    /// that release uses whatever it is told.
    pub(crate) lambda: Option<NonNegative>,
    /// `deepcore` divides gradients by the size of their batch, takes the first step without the
    /// ridge, and drops samples of no weight, so that fewer than the budget may be kept;
    /// `deepcore-2022` also takes the softmax twice.
    pub(crate) compat: Compat,
    /// The batch size that `compat` divides by.
    pub(crate) batch: Count,
}

impl Default for GradMatch {
    fn default() -> Self {
        Self { lambda: None, compat: Compat::default(), batch: deepcore_batch() }
    }
}

/// Orthogonal matching pursuit of a target known by its inner products, `target`, with all vectors
/// of `gram`: the picks in order, and the Gram matrix of the picks, row-major.
pub(super) fn pursue(
    gram: &Gram<'_>,
    target: &[f64],
    lambda: f64,
    budget: usize,
    plain_first: bool,
    watch: &dyn super::Watch,
) -> Result<(Vec<u32>, Vec<f64>), StageError> {
    let n = gram.len();
    let mut factor = PartialCholesky::new(n).on(gram.compute(), budget);
    // The inner products of all vectors with the residual.
    let mut left = target.to_vec();
    let mut instead: Option<Vec<f64>> = None;
    let (mut taken, mut picks) = (vec![false; n], Vec::with_capacity(budget));
    let kernel = |places: &[u32]| gram.rows(places);
    while picks.len() < budget {
        watch.step(picks.len(), budget)?;
        let now = instead.as_ref().unwrap_or(&left);
        let mut best: Option<usize> = None;
        for i in (0..n).filter(|i| !taken[*i]) {
            if best.is_none_or(|best| now[i] > now[best]) {
                best = Some(i);
            }
        }
        let next = best.expect("there are more samples than the budget");
        taken[next] = true;
        picks.push(next as u32);
        instead = None;
        if plain_first && picks.len() == 1 {
            let row = gram.rows(&[next as u32]);
            instead = (row[next] > 0.0).then(|| {
                let share = target[next] / f64::from(row[next]);
                target.iter().zip(&row).map(|(t, k)| t - share * f64::from(*k)).collect()
            });
        }
        // With y = L^-1 (target of the picks), the residual is target - (L^-1 K)' y, and only the
        // last entry of y is new.
        let was = left[next];
        let open = |i: usize| if taken[i] { f64::NEG_INFINITY } else { left[i] };
        let likely = |count: usize| largest(n, count, open);
        let (new, pivot) = factor.choose(next, lambda, &kernel, likely);
        if pivot > 0.0 {
            let y = was / pivot;
            for (left, v) in left.iter_mut().zip(new) {
                *left -= y * f64::from(*v);
            }
        }
    }
    let square = pairs(gram, &picks);
    Ok((picks, square))
}

/// How weights are found once the picks are known.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Solve {
    /// The best weights that are not negative.
    Best,
    /// The weights, not negative, that come nearest to solving the normal equations: DeepCore's.
    Nearest,
}

/// Returns weights of the picks whose Gram matrix is `square` and whose products with the target
/// are `target`, none of them negative.
///
/// # Errors
///
/// Fails if the gradients are too large for their products to be told apart.
pub(super) fn weigh(
    square: &[f64],
    target: &[f64],
    lambda: f64,
    solve: Solve,
) -> Result<Vec<f64>, StageError> {
    const TRIES: usize = 16;
    let k = target.len();
    let mut ridge = lambda;
    let trace: f64 = (0..k).map(|i| square[i * k + i]).sum();
    for _ in 0..TRIES {
        let mut m = square.to_vec();
        (0..k).for_each(|i| m[i * k + i] += ridge);
        let found = match solve {
            Solve::Best => nonnegative(&m, target),
            Solve::Nearest => {
                let mut q = vec![0.0; k * k];
                for i in 0..k {
                    for j in 0..=i {
                        // The matrix is symmetric: a row is a column.
                        let rows = m[i * k..(i + 1) * k].iter().zip(&m[j * k..(j + 1) * k]);
                        let value: f64 = rows.map(|(a, b)| a * b).sum();
                        (q[i * k + j], q[j * k + i]) = (value, value);
                    }
                }
                let row = |i: usize| m[i * k..(i + 1) * k].iter().zip(target);
                let c: Vec<f64> = (0..k).map(|i| row(i).map(|(a, b)| a * b).sum()).collect();
                nonnegative(&q, &c)
            }
        };
        match found {
            Some(weights) => return Ok(weights),
            // Picks that repeat each other, and no ridge: the smallest that tells them apart.
            None => ridge = (ridge * 10.0).max(1e-9 * (trace / k as f64)).max(f64::MIN_POSITIVE),
        }
    }
    Err(StageError::method("the gradients of the picks cannot be told apart")
        .with_hint("set a larger `rule.lambda`"))
}

impl GradMatch {
    fn lambda(&self) -> f64 {
        let default = if self.compat == Compat::None { 0.5 } else { 1.0 };
        self.lambda.filter(|_| self.compat == Compat::None).map_or(default, f64::from)
    }

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
            weights = weigh(&square, &right, self.lambda(), Solve::Best)?;
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

DeepCore divides gradients by the size of their batch, so that its ridge of 1 outweighs them and the pursuit
becomes a ranking; solves the normal equations for non-negative weights instead of the problem itself; and
keeps fewer samples where weights are 0: `rule.compat = \"deepcore\"`.";
    const REVISION: u32 = 2;
    const READS: SelectInput = SelectInput::Outputs;
    const ON_DEVICE: bool = true;

    fn problems(&self) -> Vec<engine::Problem> {
        if self.compat != Compat::None && self.lambda.is_some() {
            return vec![engine::Problem {
                setting: "lambda".to_owned(),
                message: "DeepCore's ridge is 1 whatever it is told".to_owned(),
                hint: Some("leave out `lambda`, or leave out `compat`".to_owned()),
            }];
        }
        vec![]
    }

    fn variants() -> Vec<Self> {
        let unregularised = Self { lambda: NonNegative::try_from(0.0).ok(), ..Self::default() };
        let compats = Compat::ALL.map(|compat| Self { compat, ..Self::default() });
        compats.into_iter().chain([unregularised]).collect()
    }

    fn may_keep_fewer(&self) -> bool {
        self.compat != Compat::None
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let deepcore = self.compat != Compat::None;
        let residuals = group.residuals(self.compat, self.batch.get());
        let inputs = group.inputs_of_last_layer();
        let n = group.len() as f64;
        let mean: Vec<f64> = cross(&residuals, &inputs).iter().map(|sum| sum / n).collect();
        let gram = Gram::new(vec![residuals, inputs]).on(group.compute, false);
        let target = weighted(&gram.spaces()[1], Some(&gram.spaces()[0]), &mean);
        let (picks, square) = pursue(&gram, &target, self.lambda(), budget, deepcore, group.watch)?;
        let right: Vec<f64> = picks.iter().map(|pick| target[*pick as usize]).collect();
        let solve = if deepcore { Solve::Nearest } else { Solve::Best };
        let weights = weigh(&square, &right, self.lambda(), solve)?;
        if deepcore {
            return Ok(without_zeros(&picks, &weights));
        }
        let (places, weights) = self.refill(&gram, &target, &mean, picks, weights)?;
        let weights = weights.iter().map(|weight| (weight * n) as f32).collect();
        Ok(Picks { places, weights: Some(weights) })
    }
}

/// DeepCore's answer: picks of no weight are dropped, and a single pick weighs 1.
pub(super) fn without_zeros(picks: &[u32], weights: &[f64]) -> Picks {
    if picks.len() == 1 {
        return Picks { places: picks.to_vec(), weights: Some(vec![1.0]) };
    }
    let kept = picks.iter().zip(weights).filter(|(_, weight)| **weight > 0.0);
    let (places, weights) = kept.map(|(pick, weight)| (*pick, *weight as f32)).unzip();
    Picks { places, weights: Some(weights) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{linalg::noise, select::group::Unwatched};
    use artifacts::Matrix;

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
                pursue(&gram, &target, lambda, k, false, &Unwatched).expect("nobody stops it");

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
