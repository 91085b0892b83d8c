//! k-centre greedy: each pick is the sample farthest from those before.

use super::{Group, Picks, SelectInput, Selector, draw, farthest::farthest_first};
use crate::{
    MethodError,
    linalg::{Compute, RowPrefetcher, largest, squared_distance, tiles},
};
use artifacts::{Matrix, SampleId};
use engine::StageError;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Covers the embeddings with balls: each pick is the sample farthest from those before.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct KCenter {
    /// Samples to start from, as positions in the training set, in this order; they count towards
    /// the budget. Left empty, or where a class holds none of them, the first centre is drawn at
    /// random.
    pub(crate) centers: Vec<SampleId>,
}

/// Returns the places in `group` of those `centers` that belong to it, or one drawn from `first`.
pub(super) fn seeds(group: &Group<'_>, centers: &[SampleId]) -> Result<Vec<u32>, StageError> {
    let n = group.ground.labels.len();
    let mut seeds: Vec<u32> = vec![];
    for center in centers {
        if center.index() >= n {
            return Err(MethodError::Center { center: *center, n }.into());
        }
        let Some(place) = group.place(*center).map(u32::from) else { continue };
        if !seeds.contains(&place) {
            seeds.push(place);
        }
    }
    if seeds.is_empty() {
        let mut stream = group.streams.at("first", group.index);
        seeds.push(draw::below(&mut stream, group.len()) as u32);
    }
    Ok(seeds)
}

/// Runs the traversal by Euclidean distance, that of several likely centres at once. A sample whose centre is at least twice as far from the new
/// centre as from itself cannot come nearer, and its distance is not computed. An accelerator
/// computes all of them.
pub(super) fn cover(
    features: &Matrix<'_>,
    seeds: &[u32],
    budget: usize,
    compute: &Compute,
    watch: &dyn super::Watch,
) -> Result<Vec<u32>, StageError> {
    if let Some(vectors) = compute.upload(&[features.view()], false) {
        return farthest_first(features.rows(), seeds, budget, watch, |centre, _, nearest| {
            let distances = vectors.squared_distances(features.row(centre));
            for (nearest, distance) in nearest.iter_mut().zip(distances) {
                *nearest = nearest.min(distance);
            }
        });
    }
    let n = features.rows();
    let mut owner = vec![0u32; n];
    let mut centres: Vec<usize> = vec![];
    let mut ahead = RowPrefetcher::new(false);
    farthest_first(n, seeds, budget, watch, |centre, order, nearest| {
        let likely = |count: usize| largest(n, count, |i| nearest[i].into());
        let distances = ahead.row(centre as u32, likely, |places| {
            reach(features, places, &centres, nearest, &owner)
        });
        for (i, (nearest, owner)) in nearest.iter_mut().zip(&mut owner).enumerate() {
            if distances[i] < *nearest {
                (*nearest, *owner) = (distances[i], order as u32);
            }
        }
        centres.push(centre);
    })
}

/// Returns the squared distances of all samples from each of `places`, \[places, n\]; infinity for a
/// sample that is at least as near to its own centre, the `owner`-th of `centres`, as it can be to
/// the place.
fn reach(
    features: &Matrix<'_>,
    places: &[u32],
    centres: &[usize],
    nearest: &[f32],
    owner: &[u32],
) -> Vec<f32> {
    // Rounding may be off by this much; only what is safe beyond it is skipped.
    const SLACK: f32 = 1.001;
    let n = features.rows();
    let new: Vec<&[f32]> = places.iter().map(|place| features.row(*place as usize)).collect();
    let apart: Vec<Vec<f32>> = new
        .par_iter()
        .map(|new| centres.iter().map(|i| squared_distance(new, features.row(*i))).collect())
        .collect();
    // A tile of samples stays in the cache while every place looks at it.
    let parts = tiles(n).into_par_iter().map(|tile| {
        let one = |(new, apart): (&&[f32], &Vec<f32>)| {
            tile.clone()
                .map(|i| {
                    let near = nearest[i].is_finite()
                        && apart
                            .get(owner[i] as usize)
                            .is_some_and(|apart| *apart >= 4.0 * SLACK * nearest[i]);
                    // A centre's own distance is negative infinity, and stays so.
                    let skip = near || nearest[i] <= 0.0;
                    if skip { f32::INFINITY } else { squared_distance(new, features.row(i)) }
                })
                .collect::<Vec<f32>>()
        };
        (tile.clone(), new.iter().zip(&apart).map(one).collect::<Vec<_>>())
    });
    let mut all = vec![0.0; places.len() * n];
    for (tile, rows) in parts.collect::<Vec<_>>() {
        for (all, row) in all.chunks_exact_mut(n).zip(rows) {
            all[tile.clone()].copy_from_slice(&row);
        }
    }
    all
}

impl Selector for KCenter {
    const NAME: &'static str = "select.k-center";
    const SUMMARY: &'static str =
        "covers the embeddings: each pick is the sample farthest from those before";
    const MANUAL: &'static str = "\
Farthest-first traversal by Euclidean distance: a 2-approximation of the smallest radius that covers all
samples with k balls. Of equally far samples the earlier is picked.

Sener & Savarese, *Active Learning for Convolutional Neural Networks: A Core-Set Approach*, ICLR 2018,
algorithm 1; Gonzalez 1985. Cost: O(k n d) at most; the triangle inequality (Elkan 2003) skips samples
that a new centre cannot come nearer to. Memory: O(n) beside the embeddings.

DeepCore draws the first centre of every class at the same rank, `select.deepcore.k-center`; here each
class draws its own.";
    const STREAMS: &'static [&'static str] = &["first"];
    const REVISION: u32 = 2;
    const READS: &'static [SelectInput] = &[SelectInput::Embeddings];
    const ON_DEVICE: bool = true;

    fn avoids_copies(&self) -> Option<usize> {
        Some(usize::MAX)
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let seeds = seeds(group, &self.centers)?;
        Ok(cover(&group.embeddings(), &seeds, budget, group.compute, group.watch)?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{linalg::noise, select::group::Unwatched};

    #[test]
    fn pruning_changes_nothing() {
        // Low dimension and clusters: where pruning bites.
        let (n, d) = (3000, 3);
        let mut x = noise(n * d, 5);
        x.iter_mut().enumerate().for_each(|(at, v)| *v += ((at / d) % 7) as f32 * 3.0);
        let features = Matrix::new(&x, n, d);
        let fast =
            cover(&features, &[17], 200, &Compute::default(), &Unwatched).expect("nobody stops it");

        let mut nearest = vec![f32::INFINITY; n];
        let mut slow = vec![17usize];
        while slow.len() < 200 {
            let last = *slow.last().expect("it has a first");
            for (i, near) in nearest.iter_mut().enumerate() {
                *near = near.min(squared_distance(features.row(i), features.row(last)));
            }
            let mut best = 0;
            for i in 0..n {
                if nearest[i] > nearest[best] {
                    best = i;
                }
            }
            slow.push(best);
        }
        assert_eq!(fast, slow.iter().map(|i| *i as u32).collect::<Vec<_>>());
    }

    #[test]
    fn duplicates_are_picked_once_each() {
        let features = Matrix::new(vec![1.0; 8], 4, 2);
        let all =
            cover(&features, &[2], 4, &Compute::default(), &Unwatched).expect("nobody stops it");
        assert_eq!(all, [2, 0, 1, 3]);
    }
}
