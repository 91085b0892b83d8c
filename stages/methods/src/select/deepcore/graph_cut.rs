//! Graph cut on the gradients that DeepCore computes.

use super::{Group, Picks, Release, SelectInput, Selector};
use crate::select::{
    graph_cut::{Cut, GraphCut},
    greedy::{self, Search},
    similarity::Features,
};
use artifacts::units::NonNegative;
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps samples that are like the rest and unlike each other.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct DeepCoreGraphCut {
    /// How much likeness among the kept counts against them.
    pub(crate) lambda: NonNegative,
    /// What similarity is of: `gradient` or `embedding`.
    pub(crate) features: Features,
    /// How the picks are found.
    pub(crate) search: Search,
    /// Which release: `2023`, or `2022`, whose gradients are of a softmax taken twice.
    pub(crate) release: Release,
}

impl Default for DeepCoreGraphCut {
    fn default() -> Self {
        let GraphCut { lambda, features, search } = GraphCut::default();
        Self { lambda, features, search, release: Release::default() }
    }
}

impl Selector for DeepCoreGraphCut {
    const NAME: &'static str = "select.deepcore.graph-cut";
    const SUMMARY: &'static str = "graph cut on DeepCore's gradients";
    const MANUAL: &'static str = "\
`select.graph-cut`, on gradients as DeepCore computes them. Those of its release of February 2023 (commit
74ec709) are right, and so are its picks, but for rounding; that of 2022 takes the softmax twice:
`rule.release = \"2022\"`.

Guo, Zhao & Bai, *DeepCore: A Comprehensive Library for Coreset Selection in Deep Learning*, DEXA 2022.
Cost: that of `select.graph-cut`.";
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
        let cosines = self.release.cosines(group, self.features, false);
        let mut cut = Cut::new(cosines, self.lambda.into());
        Ok(greedy::maximize(&mut cut, budget, self.search, group)?.into())
    }
}
