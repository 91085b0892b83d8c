//! GraNd as DeepCore computes it.

use crate::{
    score::{Scorer, TrainedProxy, grand::norms},
    select::deepcore::{Release, batch_size, residuals},
};
use artifacts::{scores::Scores, units::Count};
use engine::{StageError, Streams};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The norm of the loss's gradient in the last layer, divided by the size of the batch.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct DeepCoreGraNd {
    /// Which release: `2023`, or `2022`, whose gradients are of a softmax taken twice.
    pub(crate) release: Release,
    /// The batch size by which gradients are divided.
    pub(crate) batch: Count,
}

impl Default for DeepCoreGraNd {
    fn default() -> Self {
        Self { release: Release::default(), batch: batch_size() }
    }
}

impl Scorer for DeepCoreGraNd {
    const NAME: &'static str = "score.deepcore.grand";
    const SUMMARY: &'static str = "the norm of the gradient as DeepCore computes it; high is hard";
    const MANUAL: &'static str = "\
`score.grand`, but DeepCore's criterion averages over the batch, so that gradients are divided by its size and the
samples of a short last batch score higher. Release of February 2023 (commit 74ec709); that of 2022 also
takes the softmax twice: `rule.release = \"2022\"`.

Guo, Zhao & Bai, *DeepCore: A Comprehensive Library for Coreset Selection in Deep Learning*, DEXA 2022.
Cost: that of `score.grand`.";

    fn score(&self, proxy: &dyn TrainedProxy, _: Streams) -> Result<Scores, StageError> {
        let (logits, embeddings) = (proxy.logits()?, proxy.embeddings()?);
        let residuals = residuals(&logits, proxy.labels(), self.release, self.batch.get());
        Ok(Scores::harder_when_high(norms(&residuals, &embeddings)))
    }
}
