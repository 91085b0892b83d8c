//! Contextual diversity (CDAL): farthest-first traversal by the divergence of predictions.

use super::{Group, Picks, SelectInput, Selector, farthest::farthest_first, k_center::seeds};
use artifacts::{Matrix, SampleId};
use engine::StageError;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Covers the predictions: each pick is the sample whose prediction diverges most from those before.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct ContextualDiversity {
    /// Samples to start from, as positions in the training set, in this order; they count towards
    /// the budget. Left empty, or where a class holds none of them, the first is drawn at random.
    pub(crate) centers: Vec<SampleId>,
}

/// Predictions and their logarithms, for the symmetric divergence
/// `sum_c p log(p/q) / 2 + q log(q/p) / 2 = sum_c (p - q)(log p - log q) / 2`.
pub(super) struct Divergence {
    p: Vec<f32>,
    log_p: Vec<f32>,
    classes: usize,
}

/// Returns the symmetric divergence of two predictions, each with its logarithms.
#[inline]
fn symmetric((p, log_p): (&[f32], &[f32]), (q, log_q): (&[f32], &[f32])) -> f32 {
    let classes = p.len();
    let (log_p, q, log_q) = (&log_p[..classes], &q[..classes], &log_q[..classes]);
    let mut sum = 0.0;
    for c in 0..classes {
        sum += (p[c] - q[c]) * (log_p[c] - log_q[c]);
    }
    0.5 * sum
}

impl Divergence {
    pub(super) fn new(logits: &Matrix<'_>) -> Self {
        let classes = logits.cols();
        let (mut p, mut log_p) = (vec![0.0; logits.data().len()], vec![0.0; logits.data().len()]);
        let rows =
            p.par_chunks_exact_mut(classes.max(1)).zip(log_p.par_chunks_exact_mut(classes.max(1)));
        rows.enumerate().with_min_len(64).for_each(|(i, (p, log_p))| {
            let largest =
                f64::from(logits.row(i).iter().copied().fold(f32::NEG_INFINITY, f32::max));
            let total: f64 = logits.row(i).iter().map(|z| (f64::from(*z) - largest).exp()).sum();
            for (c, z) in logits.row(i).iter().enumerate() {
                // From the logits: a probability that underflows still has a logarithm.
                let log = f64::from(*z) - largest - total.ln();
                (p[c], log_p[c]) = (log.exp() as f32, log as f32);
            }
        });
        Self { p, log_p, classes }
    }

    #[inline]
    fn row(&self, i: usize) -> (&[f32], &[f32]) {
        let range = i * self.classes..(i + 1) * self.classes;
        (&self.p[range.clone()], &self.log_p[range])
    }

    /// The divergence between the predictions of `i` and `j`.
    #[inline]
    pub(super) fn between(&self, i: usize, j: usize) -> f32 {
        symmetric(self.row(i), self.row(j))
    }

    /// Lowers each of `nearest` to the divergence of its sample from sample `centre`, if that is smaller.
    fn approach(&self, centre: usize, nearest: &mut [f32]) {
        let (centre, classes) = (self.row(centre), self.classes.max(1));
        let rows = self.p.par_chunks_exact(classes).zip(self.log_p.par_chunks_exact(classes));
        nearest.par_iter_mut().zip(rows).with_min_len(1024).for_each(|(nearest, row)| {
            *nearest = nearest.min(symmetric(centre, row));
        });
    }

    /// The divergence of the prediction of `j` from that of `i`: `KL(p_i || p_j)`.
    #[inline]
    pub(super) fn from(&self, i: usize, j: usize) -> f32 {
        let ((p, log_p), (_, log_q)) = (self.row(i), self.row(j));
        (0..self.classes).map(|c| p[c] * (log_p[c] - log_q[c])).sum()
    }
}

impl Selector for ContextualDiversity {
    const NAME: &'static str = "select.contextual-diversity";
    const SUMMARY: &'static str =
        "covers the predictions: each pick diverges most from those before";
    const MANUAL: &'static str = "\
Farthest-first traversal by the symmetric Kullback-Leibler divergence of the proxy's predictions,
`sum_c p log(p/q) / 2 + q log(q/p) / 2`. Of equally far samples the earlier is picked.

Agarwal, Arora, Anand & Arora, *Contextual Diversity for Active Learning*, ECCV 2020, with its core-set
variant (CDAL-CS) on image-level predictions, as in DeepCore. Cost: O(k n C).

Logarithms come from the logits, so that a probability too small for an f32 has a finite divergence;
DeepCore's becomes NaN there and is picked first.";
    const STREAMS: &'static [&'static str] = &["first"];
    const READS: &'static [SelectInput] = &[SelectInput::Logits];

    fn avoids_copies(&self) -> Option<usize> {
        Some(usize::MAX)
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let divergence = Divergence::new(&group.logits());
        let seeds = seeds(group, &self.centers)?;
        let picks =
            farthest_first(group.len(), &seeds, budget, group.watch, |centre, _, nearest| {
                divergence.approach(centre, nearest);
            })?;
        Ok(picks.into())
    }
}
