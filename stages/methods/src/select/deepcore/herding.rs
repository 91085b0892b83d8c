//! Herding as DeepCore does it.

use super::{Group, Picks, SelectInput, Selector};
use crate::select::herding::herd;
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Picks the sample that brings the mean farthest away.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct DeepCoreHerding {}

impl Selector for DeepCoreHerding {
    const NAME: &'static str = "select.deepcore.herding";
    const SUMMARY: &'static str = "herding as DeepCore does it: by the farthest sample";
    const MANUAL: &'static str = "\
`select.herding`, but of the samples not yet picked the one that brings the mean of the picks *farthest*
from the mean of all: DeepCore takes the largest distance in all of its history, and its picks lead away
from the mean. Release of February 2023 (commit 74ec709); that of 2022 does the same.

Guo, Zhao & Bai, *DeepCore: A Comprehensive Library for Coreset Selection in Deep Learning*, DEXA 2022.
Cost: that of `select.herding`.";
    const READS: &'static [SelectInput] = &[SelectInput::Embeddings];
    const ON_DEVICE: bool = true;

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let farthest = |distance: f32| distance;
        Ok(herd(&group.embeddings(), budget, farthest, group.compute, group.watch)?.into())
    }
}
