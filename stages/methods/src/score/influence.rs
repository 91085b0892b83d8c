//! Influence on a query set (TracIn, LESS), by the gradients of the last layer.

use super::{ScoreInput, Scorer, TrainedProxy, usable_embeddings};
use crate::{
    linalg::{cross, gemm, tiles},
    select::residuals,
};
use artifacts::{Matrix, SampleId, scores::Scores};
use engine::{StageError, Streams};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How gradients are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Form {
    /// By their inner product.
    #[default]
    Tracin,
    /// By their cosine.
    Less,
}

/// What the query is divided into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Tasks {
    /// Nothing: all of it is one task.
    #[default]
    All,
    /// One task for each class that it has.
    Class,
}

/// How far a step on a sample would lower the loss of a query set, by the gradients of the last layer.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Influence {
    /// `tracin`: the inner product of gradients. `less`: their cosine.
    form: Form,
    /// `all`: the mean over the query. `class`: the mean over the samples of each class of the query, and
    /// of these means the largest.
    tasks: Tasks,
}

/// The gradients of the loss in the last layer, a row each in two factors: `residuals` (p - y) and
/// `embeddings`, to which the bias adds a 1. Gradient i is their outer product.
struct Gradients<'a> {
    residuals: Matrix<'a>,
    embeddings: Matrix<'a>,
}

impl Gradients<'_> {
    /// Returns the length of each gradient: |p - y| sqrt(|h|^2 + 1).
    fn lengths(&self) -> Vec<f64> {
        let square = |row: &[f32]| row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
        let rows = 0..self.residuals.rows();
        rows.map(|i| {
            (square(self.residuals.row(i)) * (square(self.embeddings.row(i)) + 1.0)).sqrt()
        })
        .collect()
    }

    /// Returns the mean gradient of the samples at `rows`, each times its `scale`: weights \[C, d\], and
    /// the bias.
    fn mean(&self, rows: &[SampleId], scale: &dyn Fn(usize) -> f64) -> (Vec<f32>, Vec<f32>) {
        let mut residuals = self.residuals.gather(rows).data().to_vec();
        let (classes, n) = (self.residuals.cols(), rows.len());
        for (row, sample) in residuals.chunks_exact_mut(classes).zip(rows) {
            let scale = scale(sample.index()) / n as f64;
            row.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
        }
        let residuals = Matrix::new(residuals, n, classes);
        let weights = cross(&residuals, &self.embeddings.gather(rows));
        let ones = Matrix::new(vec![1.0; n], n, 1);
        let bias = cross(&residuals, &ones);
        let narrow = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
        (narrow(weights), narrow(bias))
    }

    /// Returns the inner product of each gradient with one over the whole layer.
    fn products(&self, (weights, bias): &(Vec<f32>, Vec<f32>)) -> Vec<f64> {
        let (classes, d) = (self.residuals.cols(), self.embeddings.cols());
        let tile = |rows: std::ops::Range<usize>| {
            let mut out = vec![0.0; rows.len() * classes];
            let embeddings = &self.embeddings.data()[rows.start * d..rows.end * d];
            gemm((rows.len(), classes, d), embeddings, weights, &mut out, classes);
            let products = out.chunks_exact(classes).zip(rows).map(|(row, i)| {
                let terms = row.iter().zip(bias).zip(self.residuals.row(i));
                terms.map(|((one, bias), p)| f64::from(one + bias) * f64::from(*p)).sum()
            });
            products.collect::<Vec<f64>>()
        };
        tiles(self.residuals.rows()).into_par_iter().map(tile).collect::<Vec<_>>().concat()
    }
}

impl Scorer for Influence {
    const NAME: &'static str = "score.influence";
    const SUMMARY: &'static str =
        "how far a step on a sample lowers the loss of a query set; high is kept";
    const MANUAL: &'static str = "\
With g the gradient of a sample's loss in the last layer of the proxy after its last epoch, weights and bias:
the mean over the query samples v of <g_z, g_v>, which is what a small step on z takes off the query's mean loss
(`tracin`), or of the cosine of g_z and g_v (`less`). With `tasks = \"class\"` the mean is taken over the query
samples of each class and the largest counts: a sample that helps one class is not outweighed by the others.
High is kept: `select.top`. The outer products g = (p - y) (h, 1) are never written down: <g_z, g_v> =
<p_z - y_z, p_v - y_v> (<h_z, h_v> + 1), exactly.

Pruthi, Liu, Kale & Sundararajan, *Estimating Training Data Influence by Tracing Gradient Descent*, NeurIPS 2020
(TracIn, of one checkpoint). Xia, Malladi, Gururangan, Arora & Chen, *LESS: Selecting Influential Data for
Targeted Instruction Tuning*, ICML 2024; LESS sums over checkpoints, divides z's gradient by Adam's state and
projects those of all layers: here one checkpoint, SGD's gradient, and the last layer without projection.

The query is a subset of the training set, on port `query`: samples of the distribution that matters, such as a
rare class or a trusted part. They get scores themselves, each with its own gradient in the mean. A gradient
of length 0 has influence 0. Cost: O(n C d) for each task, and O(n (C + d)) memory.

    [stage.influence]
    use  = \"score.influence\"
    from = { proxy = \"proxy\", query = \"trusted\" }";
    const READS: ScoreInput = ScoreInput::ProxyAndQuery;

    fn score(&self, proxy: &dyn TrainedProxy, _: Streams) -> Result<Scores, StageError> {
        let (labels, query) = (proxy.labels(), proxy.query()?);
        let residuals = residuals(&proxy.logits()?, labels);
        let gradients = Gradients { residuals, embeddings: usable_embeddings(proxy)? };
        let lengths = gradients.lengths();
        let inverse = |i: usize| if lengths[i] > 0.0 { lengths[i].recip() } else { 0.0 };
        let scale = |i: usize| if self.form == Form::Less { inverse(i) } else { 1.0 };
        let mut tasks: Vec<Vec<SampleId>> = match self.tasks {
            Tasks::All => vec![query],
            Tasks::Class => {
                let mut tasks = vec![vec![]; proxy.classes()];
                query.into_iter().for_each(|v| tasks[labels[v.index()].index()].push(v));
                tasks
            }
        };
        tasks.retain(|task| !task.is_empty());
        let mut best = vec![f64::NEG_INFINITY; labels.len()];
        for task in tasks {
            proxy.check_cancelled()?;
            let products = gradients.products(&gradients.mean(&task, &scale));
            for (i, (best, product)) in best.iter_mut().zip(products).enumerate() {
                *best = best.max(product * scale(i));
            }
        }
        Ok(Scores::harder_when_high(best.into_iter().map(|value| value as f32).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::testing::InMemory;

    /// Six samples of three classes with two embeddings.
    fn proxy() -> InMemory {
        let logits: Vec<f32> = (0..18).map(|i| ((i * 7) % 5) as f32 / 2.0).collect();
        let mut proxy = InMemory::recorded(&[0, 1, 2, 0, 1, 2], 3, &[logits]);
        proxy.embeddings = (0..12).map(|i| ((i * 5) % 7) as f32 / 4.0 - 0.5).collect();
        proxy.asking(&[1, 2, 4])
    }

    /// The gradient of sample `i`, written down: \[C, 1 + d\].
    fn gradient(proxy: &InMemory, i: usize) -> Vec<f64> {
        let logits = &proxy.logits[i * 3..][..3];
        let total: f64 = logits.iter().map(|z| f64::from(*z).exp()).sum();
        let h = [1.0, proxy.embeddings[i * 2], proxy.embeddings[i * 2 + 1]];
        (0..3)
            .flat_map(|class| {
                let y = f64::from(u8::from(proxy.labels[i].index() == class));
                let p = f64::from(logits[class]).exp() / total - y;
                h.map(|h| p * f64::from(h))
            })
            .collect()
    }

    #[test]
    fn both_forms_are_those_of_gradients_written_down() {
        let proxy = proxy();
        let gradients: Vec<Vec<f64>> = (0..6).map(|i| gradient(&proxy, i)).collect();
        let dot = |a: usize, b: usize| -> f64 {
            gradients[a].iter().zip(&gradients[b]).map(|(a, b)| a * b).sum()
        };
        let cosine = |a: usize, b: usize| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
        for (form, tasks) in [
            (Form::Tracin, Tasks::All),
            (Form::Less, Tasks::All),
            (Form::Tracin, Tasks::Class),
            (Form::Less, Tasks::Class),
        ] {
            let groups: &[&[usize]] = match tasks {
                Tasks::All => &[&[1, 2, 4]],
                Tasks::Class => &[&[1, 4], &[2]],
            };
            let found = Influence { form, tasks }.score(&proxy, Streams::new(0, &[]));
            for (z, found) in found.expect("it is known").scores.iter().enumerate() {
                let one = |v: usize| if form == Form::Less { cosine(z, v) } else { dot(z, v) };
                let mean = |group: &&[usize]| {
                    group.iter().map(|v| one(*v)).sum::<f64>() / group.len() as f64
                };
                let want = groups.iter().map(mean).fold(f64::NEG_INFINITY, f64::max);
                assert!((f64::from(*found) - want).abs() < 1e-5, "{found}, {want}");
            }
        }
    }
}
