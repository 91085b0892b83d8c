//! Facility location on the gradients that DeepCore computes.

use super::{Group, Picks, Release, SelectInput, Selector};
use crate::select::{
    facility_location::facilities,
    greedy::{self, Search},
    similarity::Features,
};
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps samples so that every sample has one like it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct DeepCoreFacilityLocation {
    /// What similarity is of: `gradient` or `embedding`.
    pub(crate) features: Features,
    /// How the picks are found.
    pub(crate) search: Search,
    /// Which release: `2023`, or `2022`, whose gradients are of a softmax taken twice.
    pub(crate) release: Release,
}

impl Selector for DeepCoreFacilityLocation {
    const NAME: &'static str = "select.deepcore.facility-location";
    const SUMMARY: &'static str = "facility location on DeepCore's gradients";
    const MANUAL: &'static str = "\
`select.facility-location`, on gradients as DeepCore computes them. Those of its release of February 2023
(commit 74ec709) are right, and so are its picks, but for rounding; that of 2022 takes the softmax twice:
`rule.release = \"2022\"`.

Guo, Zhao & Bai, *DeepCore: A Comprehensive Library for Coreset Selection in Deep Learning*, DEXA 2022.
Cost: that of `select.facility-location`.";
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
        let cosines = self.release.cosines(group, self.features, true);
        Ok(facilities(cosines, budget, self.search, group)?.into())
    }
}
