//! Contrastive samples.

use super::{
    Compat, Group, Picks, Reads, Selector, contextual_diversity::Divergence, top::hardest_first,
};
use crate::{
    device::Device,
    linalg::{Entry, Gram, Matrix, Resident, apart},
    nn::Tensor,
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

/// The squared distance of two vectors, of which the squared lengths are known.
struct Apart {
    squares: Vec<f64>,
}

impl Entry for Apart {
    const DIAGONAL: f32 = 0.0;

    fn of(&self, j: usize, i: usize, product: f32) -> f32 {
        (self.squares[j] + self.squares[i] - 2.0 * f64::from(product)) as f32
    }

    fn of_rows(&self, rows: &[u32], products: Tensor<2>) -> Tensor<2> {
        apart(rows, &self.squares, products)
    }
}

/// Returns the `count` nearest others of every row, nearest first; of equally near ones the
/// earlier is nearer. Fewer, if there are not so many.
pub(super) fn neighbours(
    features: &Matrix<'_>,
    count: usize,
    device: Device,
    watch: &dyn super::Watch,
) -> Result<Vec<Vec<u32>>, StageError> {
    let n = features.rows();
    let count = count.min(n.saturating_sub(1));
    let squares: Vec<f64> = (0..n)
        .into_par_iter()
        .map(|i| features.row(i).iter().map(|v| f64::from(*v).powi(2)).sum())
        .collect();
    let distance = Apart { squares };
    let there = Resident::new(device, &[features.view()], true);
    let gram = Gram::new(vec![features.view()]);
    // A slab of rows at a time, so that the run hears of it.
    const SLAB: usize = 4096;
    let all: Vec<u32> = (0..n as u32).collect();
    let mut found = Vec::with_capacity(n);
    for slab in all.chunks(SLAB) {
        watch.step(found.len(), n)?;
        if let Some(there) = &there {
            found.extend(there.smallest(&distance, slab, count));
            continue;
        }
        let start = |rows: &[u32]| vec![Nearest::new(count); rows.len()];
        let blocks = gram.fold_tiles(slab, start, |nearest, rows, start, width, products| {
            for ((row, products), nearest) in
                rows.iter().zip(products.chunks_exact(width)).zip(nearest)
            {
                for (i, product) in products.iter().enumerate() {
                    nearest.meet(distance.of(*row as usize, start + i, *product), start + i, *row);
                }
            }
        });
        found.extend(blocks.into_iter().flatten().map(Nearest::places));
    }
    Ok(found)
}

/// The nearest so far, nearest first; of equally near ones the earlier, which is met first.
#[derive(Clone)]
struct Nearest {
    count: usize,
    found: Vec<(f32, u32)>,
    /// How far the last of them is, once there are enough.
    reach: f32,
}

impl Nearest {
    fn new(count: usize) -> Self {
        let reach = if count == 0 { f32::NEG_INFINITY } else { f32::INFINITY };
        Self { count, found: Vec::with_capacity(count + 1), reach }
    }

    /// Meets place `i` at a distance, seen from `row`, which is no neighbour of its own.
    #[inline]
    fn meet(&mut self, distance: f32, i: usize, row: u32) {
        if distance < self.reach && i != row as usize {
            let at = self.found.partition_point(|(other, _)| *other <= distance);
            self.found.insert(at, (distance, i as u32));
            if self.found.len() > self.count {
                self.found.pop();
            }
            if self.found.len() == self.count {
                self.reach = self.found[self.count - 1].0;
            }
        }
    }

    fn places(self) -> Vec<u32> {
        self.found.into_iter().map(|(_, place)| place).collect()
    }
}

impl Cal {
    /// Returns the mean divergence of every member from its neighbours.
    pub(super) fn scores(&self, group: &Group<'_>) -> Result<Vec<f32>, StageError> {
        let neighbours =
            neighbours(&group.embeddings(), self.neighbors.get(), group.device, group.watch)?;
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
    const ON_DEVICE: bool = true;

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
