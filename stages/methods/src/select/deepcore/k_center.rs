//! k-centre greedy from the first centre that DeepCore draws.

use super::{Group, Picks, SelectInput, Selector, numpy::RandomState};
use crate::select::k_center::cover;
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Covers the embeddings with balls, from a first centre that numpy draws.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct DeepCoreKCenter {
    /// DeepCore's `--seed`. The pipeline's own changes nothing.
    pub(crate) numpy_seed: u32,
}

impl Selector for DeepCoreKCenter {
    const NAME: &'static str = "select.deepcore.k-center";
    const SUMMARY: &'static str = "k-centre greedy from the centre that DeepCore draws";
    const MANUAL: &'static str = "\
`select.k-center`, but the first centre is drawn by numpy's legacy generator from DeepCore's `--seed`: at the same
rank in classes of the same size. Release of February 2023 (commit 74ec709); that of 2022 does the
same.

Guo, Zhao & Bai, *DeepCore: A Comprehensive Library for Coreset Selection in Deep Learning*, DEXA 2022.
Cost: that of `select.k-center`.";
    const READS: &'static [SelectInput] = &[SelectInput::Embeddings];
    const ON_DEVICE: bool = true;

    fn avoids_copies(&self) -> Option<usize> {
        Some(usize::MAX)
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let first = RandomState::new(self.numpy_seed).below(group.len() as u32);
        Ok(cover(&group.embeddings(), &[first], budget, group.compute, group.watch)?.into())
    }
}
