//! CAL, contrastive active learning: samples predicted otherwise than their nearest neighbours.

use super::{
    Group, Picks, SelectInput, Selector, contextual_diversity::Divergence, top::hardest_first,
};
use artifacts::units::Count;
use engine::StageError;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps samples whose neighbours are predicted otherwise.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Cal {
    /// How many neighbours, by Euclidean distance of embeddings within the group.
    pub(crate) neighbors: Count,
    /// How predictions are compared: `symmetric`, or `kl` from the neighbour's to the sample's.
    pub(crate) divergence: DivergenceKind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DivergenceKind {
    #[default]
    Symmetric,
    Kl,
}

impl Default for Cal {
    fn default() -> Self {
        Self {
            neighbors: Count::try_from(10).expect("10 is above 0"),
            divergence: DivergenceKind::default(),
        }
    }
}

impl Cal {
    /// Returns the mean divergence of every member from its neighbours.
    pub(super) fn scores(&self, group: &Group<'_>) -> Result<Vec<f32>, StageError> {
        let step = |done, total| group.watch.step(done, total);
        let neighbours = group.neighbours(&group.embeddings(), self.neighbors.get(), step)?;
        let divergence = Divergence::new(&group.logits());
        let score = |(i, near): (usize, &Vec<u32>)| {
            let each = near.iter().map(|other| match self.divergence {
                DivergenceKind::Symmetric => divergence.between(i, *other as usize),
                DivergenceKind::Kl => divergence.from(*other as usize, i),
            });
            // A group of one has no neighbours, and no contrast.
            (each.map(f64::from).sum::<f64>() / near.len().max(1) as f64) as f32
        };
        Ok(neighbours.par_iter().enumerate().map(score).collect())
    }
}

impl Selector for Cal {
    const NAME: &'static str = "select.cal";
    const SUMMARY: &'static str = "samples predicted otherwise than their nearest neighbours";
    const MANUAL: &'static str = "\
The mean, over a sample's nearest neighbours in the embedding, of the divergence between their predictions
and its own; the highest are kept, of equal ones the earlier.

Margatina, Vernikos, Barrault & Aletras, *Active Learning by Acquiring Contrastive Examples*, EMNLP
2021, algorithm 1. The paper takes neighbours from the labelled set of active learning and the one-sided
divergence (`rule.divergence = \"kl\"`); for coreset selection the neighbours are of the group, and the
default divergence is DeepCore's symmetric one. Cost: O(n^2 d) in tiles, O(n) memory.

DeepCore keeps the lowest: `select.deepcore.cal`.";
    const READS: &'static [SelectInput] =
        &[SelectInput::Logits, SelectInput::Embeddings, SelectInput::Graph];
    const ON_DEVICE: bool = true;

    fn variants() -> Vec<Self> {
        [DivergenceKind::Symmetric, DivergenceKind::Kl]
            .map(|divergence| Self { divergence, ..Self::default() })
            .to_vec()
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let mut order = hardest_first(&self.scores(group)?);
        order.truncate(budget);
        Ok(order.into())
    }
}
