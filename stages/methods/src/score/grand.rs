//! The norm of the gradient.

use super::{Scorer, TrainedProxy};
use crate::select::{Compat, Residuals};
use artifacts::scores::Scores;
use artifacts::units::Count;
use engine::{StageError, Streams};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The norm of the loss's gradient in the last layer.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct GraNd {
    /// `deepcore` divides each gradient by the size of the batch it was computed in, and
    /// `deepcore-2022` also takes the softmax twice, as those releases do.
    pub(crate) compat: Compat,
    /// The batch size that `compat` divides by.
    pub(crate) batch: Count,
}

impl Default for GraNd {
    fn default() -> Self {
        Self { compat: Compat::None, batch: crate::select::deepcore_batch() }
    }
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
DeepCore's criterion averages over the batch, so that the samples of a short last batch
score higher: `rule.compat = \"deepcore\"`.";

    fn score(&self, proxy: &dyn TrainedProxy, _: Streams) -> Result<Scores, StageError> {
        let (logits, embeddings) = (proxy.logits()?, proxy.embeddings()?);
        let residuals = Residuals::of(&logits, proxy.labels(), self.compat, self.batch.get());
        let squares = |row: &[f32]| row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
        let value = |i: usize| {
            let (error, width) = (squares(residuals.row(i)), squares(embeddings.row(i)));
            (error * (1.0 + width)).sqrt() as f32
        };
        let values = (0..proxy.labels().len()).into_par_iter().map(value).collect();
        Ok(Scores::harder_when_high(values))
    }
}
