//! CRAIG as DeepCore weighs it.

use super::{Group, Picks, Release, SelectInput, Selector, batch_size, residuals};
use crate::select::{
    craig::{classes, nearest, sizes},
    greedy::{self, Search},
};
use artifacts::units::Count;
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps the medoids of the gradients, each counted once too often.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct DeepCoreCraig {
    /// How the picks are found.
    pub(crate) search: Search,
    /// Which release: `2023`, or `2022`, whose gradients are of a softmax taken twice.
    pub(crate) release: Release,
    /// The batch size by which gradients are divided.
    pub(crate) batch: Count,
}

impl Default for DeepCoreCraig {
    fn default() -> Self {
        Self { search: Search::default(), release: Release::default(), batch: batch_size() }
    }
}

impl Selector for DeepCoreCraig {
    const NAME: &'static str = "select.deepcore.craig";
    const SUMMARY: &'static str = "CRAIG as DeepCore does it: with weights one too large";
    const MANUAL: &'static str = "\
`select.craig`, but 1 is added to every weight (they sum to n + k), the members of a class without a pick count
for the first pick of all, and gradients are divided by the size of their batch, batches being of one
class. Release of February 2023 (commit 74ec709); that of 2022 also takes the softmax twice:
`rule.release = \"2022\"`.

DeepCore's global mode evaluates gains on a few batches only unless the batch is the whole set; that defect
is not repeated.

Guo, Zhao & Bai, *DeepCore: A Comprehensive Library for Coreset Selection in Deep Learning*, DEXA 2022.
Cost: that of `select.craig`.";
    const STREAMS: &'static [&'static str] = greedy::CANDIDATES;
    const READS: &'static [SelectInput] = &[SelectInput::Logits, SelectInput::Embeddings];
    const ON_DEVICE: bool = true;

    fn streams(&self) -> &'static [&'static str] {
        self.search.streams()
    }

    fn variants() -> Vec<Self> {
        Release::ALL.map(|release| Self { release, ..Self::default() }).to_vec()
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let mut all = classes(group, |logits, labels| {
            residuals(logits, labels, self.release, self.batch.get())
        });
        let mut places = greedy::maximize(&mut all, budget, self.search, group)?;
        places.sort_unstable();
        let nearest = nearest(&all, &places).into_iter().map(|pick| pick.unwrap_or(0));
        let weights = sizes(nearest, places.len()).iter().map(|size| *size as f32 + 1.0).collect();
        Ok(Picks::at_rows(places, Some(weights)))
    }
}
