//! Deduplication in embedding space (SemDeDup, D4): near copies are dropped.

use super::{Group, Picks, SelectInput, Selector, sparse::SparseRows};
use crate::linalg::{dot, k_means, product, unit};
use artifacts::{
    Matrix,
    units::{Count, Fraction},
};
use engine::StageError;
use rand::Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, collections::BinaryHeap};

/// Drops what is most like another sample, until the budget is left.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Dedup {
    /// How many clusters: a sample is compared with those of its own. The square root of the size of
    /// the group if left out.
    clusters: Option<Count>,
    /// When a sample is a copy: `greedy` where a sample that is still kept is like it, `chain` where
    /// any is, dropped or not.
    reading: Reading,
    /// The share of the group that is kept as no copy, before those nearest to the centres of new
    /// clusters are dropped down to the budget, as D4 does. Left out, copies alone are dropped.
    diversify: Option<Fraction>,
    /// At most so many steps are taken to find the clusters.
    steps: Count,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Reading {
    #[default]
    Greedy,
    Chain,
}

impl Default for Dedup {
    fn default() -> Self {
        Self {
            clusters: None,
            reading: Reading::default(),
            diversify: None,
            steps: Count::try_from(20).expect("20 is above 0"),
        }
    }
}

/// Rows in clusters.
struct Clusters {
    /// The cosine of each row with the centre it is nearest to.
    nearness: Vec<f32>,
    /// The rows of each cluster, the farthest from its centre first; of equally far ones the earlier.
    members: Vec<Vec<u32>>,
    /// The cosines of the pairs that are compared, if not all of a cluster are.
    joined: Option<SparseRows>,
}

impl Clusters {
    fn new(
        vectors: &Matrix<'_>,
        (count, steps): (usize, usize),
        stream: &mut impl Rng,
        step: impl Fn() -> Result<(), StageError>,
    ) -> Result<Self, StageError> {
        let centres = unit(&k_means(vectors, (count, steps), stream, step)?);
        let mut members = vec![vec![]; centres.rows()];
        let mut nearness = Vec::with_capacity(vectors.rows());
        let rows: Vec<u32> = (0..vectors.rows() as u32).collect();
        for rows in rows.chunks(ROWS_AT_ONCE) {
            let cosines = product(&vectors.gather(rows), &centres);
            for (row, cosines) in rows.iter().zip(cosines.chunks_exact(centres.rows())) {
                let nearer = |best, at| if cosines[at] > cosines[best] { at } else { best };
                let nearest = (1..cosines.len()).fold(0, nearer);
                nearness.push(cosines[nearest]);
                members[nearest].push(*row);
            }
        }
        for rows in &mut members {
            let nearness = |row: &u32| nearness[*row as usize];
            rows.sort_by(|a, b| nearness(a).total_cmp(&nearness(b)).then(a.cmp(b)));
        }
        Ok(Self { nearness, members, joined: None })
    }

    /// Returns all of `vectors` in one cluster, in order, of which those are compared that a graph joins.
    fn joined(vectors: &Matrix<'_>, neighbours: &[Vec<u32>]) -> Self {
        let cosine = |i: usize, j: usize| f64::from(dot(vectors.row(i), vectors.row(j)));
        let all = (0..vectors.rows() as u32).collect();
        let joined = Some(SparseRows::new(neighbours, cosine));
        Self { nearness: vec![], members: vec![all], joined }
    }

    /// Returns how like member `at` of a cluster is to those before it that are not `dropped`.
    fn likeness(&self, vectors: &Matrix<'_>, at: (usize, usize), dropped: &[bool]) -> Likeness {
        let members = &self.members[at.0];
        let row = members[at.1];
        let mut likeness = Likeness { cosine: f32::NEG_INFINITY, row, at, to: at.1 };
        let mut meet = |before: usize, cosine: f32| {
            if cosine > likeness.cosine {
                (likeness.cosine, likeness.to) = (cosine, before);
            }
        };
        match &self.joined {
            // All are in one cluster in order: a row is the member at its place.
            Some(joined) => {
                let before = joined.row(at.1).iter().take_while(|(other, _)| *other < row);
                for (other, cosine) in before.filter(|(other, _)| !dropped[*other as usize]) {
                    meet(*other as usize, *cosine as f32);
                }
            }
            None => {
                let before = members[..at.1].iter().enumerate();
                for (before, other) in before.filter(|(_, other)| !dropped[**other as usize]) {
                    meet(before, dot(vectors.row(row as usize), vectors.row(*other as usize)));
                }
            }
        }
        likeness
    }
}

/// How many rows are multiplied with all centres at once.
const ROWS_AT_ONCE: usize = 4096;

/// How like a row is to the one before it in its cluster that it is most like.
#[derive(Clone, Copy, Debug)]
struct Likeness {
    /// Their cosine; minus infinity if none is before it.
    cosine: f32,
    row: u32,
    /// The cluster, and which of its members the row is.
    at: (usize, usize),
    /// Which member it is most like.
    to: usize,
}

/// What is dropped first is larger: of equally like ones the later.
impl Ord for Likeness {
    fn cmp(&self, other: &Self) -> Ordering {
        self.cosine.total_cmp(&other.cosine).then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Likeness {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Likeness {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Likeness {}

/// Returns how like each row is to those before it in its cluster.
fn likenesses(vectors: &Matrix<'_>, clusters: &Clusters) -> Vec<Likeness> {
    let none = vec![false; vectors.rows()];
    let places = |(cluster, members): (usize, &Vec<u32>)| {
        (0..members.len()).map(move |at| (cluster, at)).collect::<Vec<_>>()
    };
    let places = clusters.members.iter().enumerate().flat_map(places).collect::<Vec<_>>();
    let one = |at: &(usize, usize)| clusters.likeness(vectors, *at, &none);
    places.par_iter().map(one).collect()
}

/// Returns the `count` rows that are least like one before them in their cluster.
fn without_chains(vectors: &Matrix<'_>, clusters: &Clusters, count: usize) -> Vec<u32> {
    let mut all = likenesses(vectors, clusters);
    all.sort_unstable();
    all.into_iter().take(count).map(|one| one.row).collect()
}

/// Drops the row most like one before it in its cluster that is kept, until `count` are kept.
fn without_copies(vectors: &Matrix<'_>, clusters: &Clusters, count: usize) -> Vec<u32> {
    let mut dropped = vec![false; vectors.rows()];
    let mut heap = BinaryHeap::from(likenesses(vectors, clusters));
    // What a dropped row was like to others only falls, so the largest that holds is the largest.
    for _ in count..vectors.rows() {
        while let Some(first) = heap.pop() {
            let members = &clusters.members[first.at.0];
            if first.to == first.at.1 || !dropped[members[first.to] as usize] {
                dropped[first.row as usize] = true;
                break;
            }
            heap.push(clusters.likeness(vectors, first.at, &dropped));
        }
    }
    (0..vectors.rows() as u32).filter(|row| !dropped[*row as usize]).collect()
}

impl Selector for Dedup {
    const NAME: &'static str = "select.dedup";
    const SUMMARY: &'static str = "what is least a near copy of another sample";
    const MANUAL: &'static str = "\
Finds clusters of the embeddings, brought to length 1, and orders each from the sample farthest from its
centre to the nearest. A sample is a copy as far as its cosine with one before it goes: the greatest
copies are dropped until the budget is left. No score is read; of two that are alike the one nearer to its
centre goes, of equally near ones the later.

`rule.reading` says which may be before it. SemDeDup's paper keeps one of each group of copies: with
`greedy` a sample is only a copy of one that is kept. The authors' code drops it too if what it is like
is dropped itself, so that of a chain of likenesses only the first is left: `chain`.

`rule.diversify = 0.75` is D4: that share is kept so, clustered anew, and of these the samples nearest to
their centres are dropped down to the budget. Where the budget is larger, only copies are dropped.

Abbas, Tirumala, Simig, Ganguli & Morcos, *SemDeDup: Data-efficient learning at web-scale through semantic
deduplication*, 2023; Tirumala, Simig, Aghajanyan & Morcos, *D4: Improving LLM Pretraining via Document
De-Duplication and Diversification*, NeurIPS 2023. They drop by a threshold of the cosine; here the budget
sets it. Cost: O(`steps` n^1.5 d) for the clusters, O(n^1.5 d) for the cosines.

Copies in different clusters are not found: with `rule.clusters = 1` all are, for O(n^2 d). With a graph of
neighbours on port `graph` (`graph.knn`) the samples it joins are compared, O(n k), and of two that are alike the
later goes. k-means starts
from k-means++ here and moves centres to plain means, and the code of the authors takes random starts and
centres of length 1.";
    const STREAMS: &'static [&'static str] = &["clusters", "diverse"];
    const READS: &'static [SelectInput] = &[SelectInput::Embeddings, SelectInput::Graph];

    fn streams(&self) -> &'static [&'static str] {
        if self.diversify.is_some() { Self::STREAMS } else { &Self::STREAMS[..1] }
    }

    fn avoids_copies(&self) -> Option<usize> {
        if self.diversify.is_some() { None } else { Some(usize::MAX) }
    }

    fn variants() -> Vec<Self> {
        let chain = Self { reading: Reading::Chain, ..Self::default() };
        let diverse = Self { diversify: Fraction::try_from(0.75).ok(), ..Self::default() };
        vec![Self::default(), chain, diverse]
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let vectors = unit(&group.embeddings());
        let step = || group.watch.step(0, budget);
        let count = |n: usize| self.clusters.map_or((n as f64).sqrt().round() as usize, Count::get);
        let clusters = |vectors: &Matrix<'_>, name: &str| {
            let mut stream = group.streams.at(name, group.index);
            let size = (count(vectors.rows()), self.steps.get());
            Clusters::new(vectors, size, &mut stream, step)
        };
        let diverse = self.diversify.map_or(0, |share| share.of(group.len()));
        let no_copies = budget.max(diverse);
        let first = match group.graph_neighbours() {
            Some(neighbours) => Clusters::joined(&vectors, &neighbours),
            None => clusters(&vectors, "clusters")?,
        };
        let kept = match self.reading {
            Reading::Greedy => without_copies(&vectors, &first, no_copies),
            Reading::Chain => without_chains(&vectors, &first, no_copies),
        };
        if no_copies == budget {
            return Ok(kept.into());
        }
        let second = clusters(&vectors.gather(&kept), "diverse")?;
        let mut farthest: Vec<u32> = (0..kept.len() as u32).collect();
        let nearness = |at: &u32| second.nearness[*at as usize];
        farthest.sort_by(|a, b| nearness(a).total_cmp(&nearness(b)).then(a.cmp(b)));
        farthest.truncate(budget);
        Ok(farthest.into_iter().map(|at| kept[at as usize]).collect::<Vec<u32>>().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::noise;

    /// All rows in one cluster, in order.
    fn one_cluster(n: usize) -> Clusters {
        Clusters { nearness: vec![0.0; n], members: vec![(0..n as u32).collect()], joined: None }
    }

    #[test]
    fn of_a_chain_both_readings_keep_what_they_say() {
        // At 0, 10 and 19 degrees: each is like the one before it, the second more so to the third.
        let angles = [0f64, 10.0, 19.0, 90.0].map(f64::to_radians);
        let points: Vec<f32> =
            angles.iter().flat_map(|angle| [angle.cos() as f32, angle.sin() as f32]).collect();
        let vectors = Matrix::new(points, 4, 2);
        let clusters = one_cluster(4);
        // The third is dropped first; then the second, which is like the first.
        assert_eq!(without_copies(&vectors, &clusters, 3), [0, 1, 3]);
        assert_eq!(without_copies(&vectors, &clusters, 2), [0, 3]);
        assert_eq!(without_chains(&vectors, &clusters, 2), [0, 3]);
        // 0, 10 and 19 the other way: the third goes, and the second is like none that is kept.
        let clusters = Clusters { members: vec![vec![0, 2, 1, 3]], ..clusters };
        assert_eq!(without_copies(&vectors, &clusters, 3), [0, 2, 3]);
    }

    #[test]
    fn a_copy_of_a_dropped_sample_is_kept_by_the_greedy_reading() {
        // At 18, 13, 7 and 0 degrees, in this order.
        let angles = [0f64, 7.0, 13.0, 18.0].map(f64::to_radians);
        let points: Vec<f32> =
            angles.iter().flat_map(|angle| [angle.cos() as f32, angle.sin() as f32]).collect();
        let vectors = Matrix::new(points, 4, 2);
        let clusters =
            Clusters { nearness: vec![0.0; 4], members: vec![vec![3, 2, 1, 0]], joined: None };
        // 13 is 5 from 18, 7 is 6 from 13, 0 is 7 from 7. Chain drops 13, then 7.
        assert_eq!(without_chains(&vectors, &clusters, 2), [3, 0]);
        // Once 13 is dropped, 7 is 11 from 18, but 0 is still 7 from 7: 0 goes.
        assert_eq!(without_copies(&vectors, &clusters, 2), [1, 3]);
    }

    #[test]
    fn lazily_found_copies_are_those_of_a_full_search() {
        let (n, d) = (80, 3);
        let vectors = unit(&Matrix::new(noise(n * d, 1), n, d));
        let clusters = one_cluster(n);
        let mut dropped = vec![false; n];
        for count in (20..n).rev() {
            let most = (1..n)
                .filter(|j| !dropped[*j])
                .map(|at| clusters.likeness(&vectors, (0, at), &dropped))
                .max();
            dropped[most.expect("some are left").row as usize] = true;
            let wanted: Vec<u32> = (0..n as u32).filter(|row| !dropped[*row as usize]).collect();
            assert_eq!(without_copies(&vectors, &clusters, count), wanted);
        }
    }
}
