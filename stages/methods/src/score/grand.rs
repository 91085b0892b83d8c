//! GraNd: the norm of the loss's gradient in the last layer.

use super::{Scorer, TrainedProxy};
use crate::select::residuals;
use artifacts::{Matrix, scores::Scores};
use engine::{StageError, Streams};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The norm of the loss's gradient in the last layer.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct GraNd {}

/// Returns the norm of every gradient in weights and bias of the last layer, given the gradients in the
/// logits.
pub(super) fn norms(residuals: &Matrix<'_>, embeddings: &Matrix<'_>) -> Vec<f32> {
    let squares = |row: &[f32]| row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    let value = |i: usize| {
        let (error, width) = (squares(residuals.row(i)), squares(embeddings.row(i)));
        (error * (1.0 + width)).sqrt() as f32
    };
    (0..residuals.rows()).into_par_iter().map(value).collect()
}

impl Scorer for GraNd {
    const NAME: &'static str = "score.grand";
    const SUMMARY: &'static str = "the norm of the last layer's gradient; high is hard";
    const MANUAL: &'static str = "\
`||p - onehot(y)|| * sqrt(1 + ||h||^2)`: the norm of the gradient of the loss in weights and bias of the
last layer, in closed form. The paper averages ten networks early in training: list several proxies,
which differ in their seed, on the port.

Paul, Ganguli & Dziugaite, *Deep Learning on a Data Diet*, NeurIPS 2021, definition 2.1. Cost:
O(n(C + d)). The paper's norm is over all parameters; this one, like DeepCore's, over the last layer.
In DeepCore's own, `score.deepcore.grand`, the samples of a short last batch score higher.";

    fn score(&self, proxy: &dyn TrainedProxy, _: Streams) -> Result<Scores, StageError> {
        let (logits, embeddings) = (proxy.logits()?, proxy.embeddings()?);
        let residuals = residuals(&logits, proxy.labels());
        Ok(Scores::harder_when_high(norms(&residuals, &embeddings)))
    }
}
