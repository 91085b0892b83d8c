//! GLISTER as DeepCore runs it.

use super::{Group, Picks, Release, SelectInput, Selector, batch_size, residuals};
use crate::select::{glister::LastLayer, top::hardest_first};
use artifacts::units::Count;
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps the samples whose gradients point most along the mean gradient.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct DeepCoreGlister {
    /// Which release: `2023`, or `2022`, whose gradients are of a softmax taken twice.
    pub(crate) release: Release,
    /// The batch size by which gradients are divided.
    pub(crate) batch: Count,
}

impl Default for DeepCoreGlister {
    fn default() -> Self {
        Self { release: Release::default(), batch: batch_size() }
    }
}

impl Selector for DeepCoreGlister {
    const NAME: &'static str = "select.deepcore.glister";
    const SUMMARY: &'static str = "GLISTER as DeepCore does it: without its step";
    const MANUAL: &'static str = "\
`select.glister`, but the step never happens, for a misspelled keyword: what is left is a ranking by the inner
product with the mean gradient. Gradients are divided by the size of their batch, so that those of a short
last batch are larger. Release of February 2023 (commit 74ec709); that of 2022 also takes the softmax
twice: `rule.release = \"2022\"`.

Guo, Zhao & Bai, *DeepCore: A Comprehensive Library for Coreset Selection in Deep Learning*, DEXA 2022.
Cost: that of `select.glister`.";
    const READS: &'static [SelectInput] = &[SelectInput::Logits, SelectInput::Embeddings];
    const ON_DEVICE: bool = true;

    fn variants() -> Vec<Self> {
        Release::ALL.map(|release| Self { release, ..Self::default() }).to_vec()
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let (logits, labels) = (group.logits(), group.labels());
        let residuals = residuals(&logits, &labels, self.release, self.batch.get());
        let inputs = group.inputs_of_last_layer();
        let layer = LastLayer::new(&logits, &labels, &residuals, &inputs, group.compute);
        let mut order = hardest_first(&layer.products(&residuals));
        order.truncate(budget);
        Ok(order.into())
    }
}
