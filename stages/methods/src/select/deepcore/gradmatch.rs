//! GradMatch as DeepCore solves it.

use super::{Group, Picks, Release, SelectInput, Selector, batch_size, residuals};
use crate::{
    linalg::{Gram, nonnegative},
    select::{
        Watch,
        gradmatch::{Pursuit, along, mean_gradient, weigh},
    },
};
use artifacts::units::Count;
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps samples whose gradients point along the mean gradient, weighted by the normal equations.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct DeepCoreGradMatch {
    /// Which release: `2023`, or `2022`, whose gradients are of a softmax taken twice.
    pub(crate) release: Release,
    /// The batch size by which gradients are divided.
    pub(crate) batch: Count,
}

impl Default for DeepCoreGradMatch {
    fn default() -> Self {
        Self { release: Release::default(), batch: batch_size() }
    }
}

/// The ridge: what is asked for reaches no place where it counts.
const LAMBDA: f64 = 1.0;

/// Runs the pursuit, its first step without the ridge: the second pick follows what that leaves.
pub(crate) fn pursue(
    gram: &Gram<'_>,
    target: &[f64],
    lambda: f64,
    budget: usize,
    watch: &dyn Watch,
) -> Result<(Vec<u32>, Vec<f64>), StageError> {
    let mut pursuit = Pursuit::new(gram, target, lambda, budget);
    // What the first pick leaves, while it is the only one.
    let mut left: Option<Vec<f64>> = None;
    for done in 0..budget {
        watch.step(done, budget)?;
        match left.take() {
            Some(left) => pursuit.pick(pursuit.best_by(&left)),
            None => {
                let next = pursuit.step();
                left = (done == 0).then(|| without(gram, target, next)).flatten();
            }
        }
    }
    Ok(pursuit.finish())
}

/// Returns the products of all vectors with the target less its part along vector `first`; nothing if
/// that has no length.
fn without(gram: &Gram<'_>, target: &[f64], first: usize) -> Option<Vec<f64>> {
    let row = gram.rows(&[first as u32]);
    (row[first] > 0.0).then(|| {
        let share = target[first] / f64::from(row[first]);
        target.iter().zip(&row).map(|(t, k)| t - share * f64::from(*k)).collect()
    })
}

/// Returns the weights, not negative, that come nearest to solving the normal equations of `m` and
/// `target`.
pub(crate) fn nearest_solution(m: &[f64], target: &[f64]) -> Option<Vec<f64>> {
    let k = target.len();
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

/// Returns the picks that have a weight. A single pick weighs 1.
pub(crate) fn without_zeros(picks: &[u32], weights: &[f64]) -> Picks {
    if picks.len() == 1 {
        return Picks::at_rows(picks.to_vec(), Some(vec![1.0]));
    }
    let kept = picks.iter().zip(weights).filter(|(_, weight)| **weight > 0.0);
    let (places, weights) = kept.map(|(pick, weight)| (*pick, *weight as f32)).unzip();
    Picks::at_rows(places, Some(weights))
}

impl Selector for DeepCoreGradMatch {
    const NAME: &'static str = "select.deepcore.gradmatch";
    const SUMMARY: &'static str = "GradMatch as DeepCore does it: nearly a ranking";
    const MANUAL: &'static str = "\
`select.gradmatch`, but gradients are divided by the size of their batch, so that the ridge, which is 1 whatever
it is told, outweighs them and the pursuit becomes a ranking; the first step is taken without the ridge; the
normal equations are solved for non-negative weights instead of the problem itself; and samples of no
weight are dropped, so that fewer than the budget may be kept. Release of February 2023 (commit 74ec709);
that of 2022 also takes the softmax twice: `rule.release = \"2022\"`.

Guo, Zhao & Bai, *DeepCore: A Comprehensive Library for Coreset Selection in Deep Learning*, DEXA 2022.
Cost: that of `select.gradmatch`.";
    const READS: &'static [SelectInput] = &[SelectInput::Logits, SelectInput::Embeddings];
    const ON_DEVICE: bool = true;

    fn variants() -> Vec<Self> {
        Release::ALL.map(|release| Self { release, ..Self::default() }).to_vec()
    }

    fn may_keep_fewer(&self) -> bool {
        true
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let (logits, labels) = (group.logits(), group.labels());
        let residuals = residuals(&logits, &labels, self.release, self.batch.get());
        let inputs = group.inputs_of_last_layer();
        let mean = mean_gradient(&residuals, &inputs);
        let gram = Gram::new(vec![residuals, inputs]).on(group.compute, false);
        let target = along(&gram, &mean);
        let (picks, square) = pursue(&gram, &target, LAMBDA, budget, group.watch)?;
        let right: Vec<f64> = picks.iter().map(|pick| target[*pick as usize]).collect();
        let weights = weigh(&square, &right, LAMBDA, nearest_solution)?;
        Ok(without_zeros(&picks, &weights))
    }
}
