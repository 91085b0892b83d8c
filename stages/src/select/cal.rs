//! Contrastive samples.

use super::{
    Compat, Group, Picks, Reads, Selector, contextual_diversity::Divergence, top::hardest_first,
};
use crate::{
    linalg::{Gram, Matrix},
    units::Count,
};
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
    pub(crate) divergence: Kind,
    /// `deepcore` keeps the samples that agree most with their neighbours, as that release does.
    pub(crate) compat: Compat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    #[default]
    Symmetric,
    Kl,
}

impl Default for Cal {
    fn default() -> Self {
        Self {
            neighbors: Count::try_from(10).expect("10 is above 0"),
            divergence: Kind::default(),
            compat: Compat::default(),
        }
    }
}

/// Returns the `count` nearest others of every row, nearest first; of equally near ones the
/// earlier is nearer. Fewer, if there are not so many.
pub(super) fn neighbours(
    features: &Matrix<'_>,
    count: usize,
    watch: &dyn super::Watch,
) -> Result<Vec<Vec<u32>>, StageError> {
    let n = features.rows();
    let squares: Vec<f64> = (0..n)
        .into_par_iter()
        .map(|i| features.row(i).iter().map(|v| f64::from(*v).powi(2)).sum())
        .collect();
    let gram = Gram::new(vec![features.view()]);
    let nearest = |mut all: Vec<(f32, u32)>| {
        let order = |a: &(f32, u32), b: &(f32, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        if all.len() > count {
            all.select_nth_unstable_by(count - 1, order);
            all.truncate(count);
        }
        all.sort_by(order);
        all
    };
    // A slab of rows at a time: the candidates of every tile are held until it is merged.
    const SLAB: usize = 4096;
    let all: Vec<u32> = (0..n as u32).collect();
    let mut found = Vec::with_capacity(n);
    for slab in all.chunks(SLAB) {
        watch.step(found.len(), n)?;
        let blocks = gram.map_tiles(slab, |rows, start, width, products| {
            let rows = rows.iter().zip(products.chunks_exact(width));
            let candidates = rows.map(|(row, products)| {
                let others = products.iter().enumerate().filter_map(|(i, product)| {
                    let other = start + i;
                    let square =
                        squares[*row as usize] + squares[other] - 2.0 * f64::from(*product);
                    (other != *row as usize).then_some((square as f32, other as u32))
                });
                nearest(others.collect())
            });
            candidates.collect::<Vec<_>>()
        });
        let merged = blocks.into_par_iter().flat_map_iter(|mut tiles| {
            let rows = tiles.first().map_or(0, Vec::len);
            let merge = move |row: usize| {
                let all = tiles.iter_mut().flat_map(|tile| std::mem::take(&mut tile[row]));
                nearest(all.collect()).into_iter().map(|(_, other)| other).collect()
            };
            (0..rows).map(merge).collect::<Vec<Vec<u32>>>()
        });
        found.extend(merged.collect::<Vec<_>>());
    }
    Ok(found)
}

impl Cal {
    /// Returns the mean divergence of every member from its neighbours.
    pub(super) fn scores(&self, group: &Group<'_>) -> Result<Vec<f32>, StageError> {
        let neighbours = neighbours(&group.embeddings(), self.neighbors.get(), group.watch)?;
        let divergence = Divergence::new(&group.logits());
        let score = |(i, near): (usize, &Vec<u32>)| {
            let each = near.iter().map(|other| match self.divergence {
                Kind::Symmetric => divergence.between(i, *other as usize),
                Kind::Kl => divergence.from(*other as usize, i),
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

DeepCore keeps the lowest: `rule.compat = \"deepcore\"`.";
    const READS: Reads = Reads::Outputs;

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let mut scores = self.scores(group)?;
        if self.compat != Compat::None {
            scores.iter_mut().for_each(|score| *score = -*score);
        }
        let mut order = hardest_first(&scores);
        order.truncate(budget);
        Ok(order.into())
    }
}
