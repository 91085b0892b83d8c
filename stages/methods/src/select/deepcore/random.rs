//! The random subset that DeepCore draws.

use super::{Group, Picks, SelectInput, Selector, numpy::RandomState};
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps the samples that numpy draws, without replacement.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct DeepCoreRandom {
    /// DeepCore's `--seed`. The pipeline's own changes nothing.
    pub(crate) numpy_seed: u32,
}

impl Selector for DeepCoreRandom {
    const NAME: &'static str = "select.deepcore.random";
    const SUMMARY: &'static str = "the random subset that DeepCore draws from its seed";
    const MANUAL: &'static str = "\
DeepCore's `Uniform`: drawn from numpy's legacy generator, seeded with DeepCore's `--seed`. Gives its very
subset with `balance = \"none\"` or `\"class-rounded\"`. Its `replace`, which keeps samples twice, is not offered:
a subset holds each sample once. Release of February 2023 (commit 74ec709); that of 2022 does the same.

Guo, Zhao & Bai, *DeepCore: A Comprehensive Library for Coreset Selection in Deep Learning*, DEXA 2022.
Cost: that of `select.random`.";
    const READS: &'static [SelectInput] = &[];

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let mut state = RandomState::new(self.numpy_seed);
        state.skip_to(group);
        Ok(state.choice(group.len() as u32, budget).into())
    }
}
