//! CAL as DeepCore does it: by the lowest divergence.

use super::{Group, Picks, SelectInput, Selector};
use crate::select::{
    cal::{Cal, DivergenceKind},
    top::hardest_first,
};
use artifacts::units::Count;
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps the samples that agree most with their neighbours.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct DeepCoreCal {
    /// How many neighbours, by Euclidean distance of embeddings within the group.
    pub(crate) neighbors: Count,
    /// How predictions are compared: `symmetric`, or `kl` from the neighbour's to the sample's.
    pub(crate) divergence: DivergenceKind,
}

impl Default for DeepCoreCal {
    fn default() -> Self {
        let Cal { neighbors, divergence } = Cal::default();
        Self { neighbors, divergence }
    }
}

impl Selector for DeepCoreCal {
    const NAME: &'static str = "select.deepcore.cal";
    const SUMMARY: &'static str = "CAL as DeepCore does it: by the lowest divergence";
    const MANUAL: &'static str = "\
The score of `select.cal`, the mean divergence of a sample's prediction from those of its neighbours, but the
*lowest* are kept; of equal ones the earlier. Release of February 2023 (commit 74ec709); that of 2022 does
the same.

Guo, Zhao & Bai, *DeepCore: A Comprehensive Library for Coreset Selection in Deep Learning*, DEXA 2022.
Cost: that of `select.cal`.";
    const READS: &'static [SelectInput] = &[SelectInput::Logits, SelectInput::Embeddings];
    const ON_DEVICE: bool = true;

    fn variants() -> Vec<Self> {
        [DivergenceKind::Symmetric, DivergenceKind::Kl]
            .map(|divergence| Self { divergence, ..Self::default() })
            .to_vec()
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let cal = Cal { neighbors: self.neighbors, divergence: self.divergence };
        let agreement: Vec<f32> = cal.scores(group)?.iter().map(|score| -score).collect();
        let mut order = hardest_first(&agreement);
        order.truncate(budget);
        Ok(order.into())
    }
}
