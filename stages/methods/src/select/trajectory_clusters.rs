//! Clusters of loss trajectories: S2L.

use super::{Group, Picks, SelectInput, Selector, draw};
use crate::linalg::{k_means, squared_distance};
use artifacts::{Matrix, units::Count};
use engine::StageError;
use rand::Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps as many samples of each course that the loss takes in training.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct TrajectoryClusters {
    /// How many clusters the trajectories are cut into.
    clusters: Count,
    /// How many epochs of the record are looked at, from the first; all of them if left out.
    epochs: Option<Count>,
    /// At most so many steps are taken to find the clusters.
    steps: Count,
}

impl Default for TrajectoryClusters {
    fn default() -> Self {
        Self {
            clusters: Count::try_from(100).expect("100 is above 0"),
            epochs: None,
            steps: Count::try_from(20).expect("20 is above 0"),
        }
    }
}

/// A cluster of no more samples is drawn from only after all larger ones.
const TINY: usize = 2;

/// Returns the rows of `losses` nearest to each of `centres`, ascending; of equally near centres the earlier
/// is nearer.
fn clusters(losses: &Matrix<'_>, centres: &Matrix<'_>) -> Vec<Vec<u32>> {
    let nearest = |i: usize| {
        let apart = |at: usize| squared_distance(losses.row(i), centres.row(at));
        let nearer = |best: (usize, f32), at| {
            let distance = apart(at);
            if distance < best.1 { (at, distance) } else { best }
        };
        (0..centres.rows()).fold((0, f32::INFINITY), nearer).0
    };
    let all = (0..losses.rows()).into_par_iter().with_min_len(64).map(nearest);
    let mut members = vec![vec![]; centres.rows()];
    for (i, at) in all.collect::<Vec<usize>>().into_iter().enumerate() {
        members[at].push(i as u32);
    }
    members
}

/// Draws `budget` rows: the clusters, from small to large, get equal shares of what is left of it.
fn equal_shares(mut clusters: Vec<Vec<u32>>, budget: usize, stream: &mut impl Rng) -> Vec<u32> {
    clusters.retain(|members| !members.is_empty());
    // Of equal sizes the earlier cluster first.
    clusters.sort_by_key(Vec::len);
    let (tiny, large): (Vec<_>, Vec<_>) =
        clusters.into_iter().partition(|members| members.len() <= TINY);
    let mut picks = vec![];
    for clusters in [large, tiny] {
        let count = clusters.len();
        for (at, members) in clusters.into_iter().enumerate() {
            let share = ((budget - picks.len()) / (count - at)).min(members.len());
            picks.extend(draw::sample(stream, members, share));
        }
    }
    picks
}

impl Selector for TrajectoryClusters {
    const NAME: &'static str = "select.trajectory-clusters";
    const SUMMARY: &'static str = "as many samples of each course that the loss takes in training";
    const MANUAL: &'static str = "\
The trajectory of a sample is its loss after each epoch of the proxy's training, in the record of `proxy`.
k-means (Euclidean, k-means++ start) finds `rule.clusters` clusters of them; from the smallest to the
largest each gets an equal share of what is left of the budget, drawn at random from it, or all it has if
that is less. So what is rarely learnt so is kept whole, and of what most samples do alike a few stand for
all. Clusters of one or two samples come last. Neither end of any score is kept.

An epoch that did not see a sample counts as the last before it that did; the authors' code takes a loss of
0. `balance = \"equal\"` gives classes the part of the paper's sources of data.

Yang, Mishra, Chiang & Mirzasoleiman, *SmallToLarge (S2L): Scalable Data Selection for Fine-tuning Large
Language Models by Summarizing Training Trajectories of Small Models*, NeurIPS 2024; 100 clusters and 20
steps are the release's. The rounds of its code after the first index another pool than they draw from: here
there is one. The paper's proxy is a small model of the same family as the one to be trained. Cost: O(n T k)
a step for T epochs and k clusters.";
    const STREAMS: &'static [&'static str] = &["clusters", "picks"];
    const READS: &'static [SelectInput] = &[SelectInput::Losses];

    fn epochs(&self) -> Option<Count> {
        self.epochs
    }

    fn variants() -> Vec<Self> {
        let few = Self { clusters: Count::try_from(3).expect("3 is above 0"), ..Self::default() };
        vec![Self::default(), few]
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let losses = group.losses();
        let mut stream = group.streams.at("clusters", group.index);
        let step = || group.watch.step(0, budget);
        let centres = k_means(&losses, (self.clusters.get(), self.steps.get()), &mut stream, step)?;
        let mut stream = group.streams.at("picks", group.index);
        Ok(equal_shares(clusters(&losses, &centres), budget, &mut stream).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::TrainingSet;
    use artifacts::{ClassId, SampleId};
    use engine::Streams;

    #[test]
    fn small_clusters_are_kept_whole_and_tiny_ones_come_last() {
        // Three learnt late, ten at once, two never; each a cluster.
        let mut losses = [1.0, 0.0].repeat(10);
        losses.extend([5.0, 4.0].repeat(3));
        losses.extend([20.0, 20.0].repeat(2));
        let ground = TrainingSet {
            labels: &[ClassId::at(0); 15],
            losses: Some(Matrix::new(&losses[..], 15, 2)),
            ..TrainingSet::default()
        };
        let members: Vec<SampleId> = SampleId::all(15).collect();
        let rule = TrajectoryClusters {
            clusters: Count::try_from(3).expect("3 is above 0"),
            ..TrajectoryClusters::default()
        };
        let select = |seed, budget| {
            let streams = Streams::new(seed, TrajectoryClusters::STREAMS);
            let group = Group::unwatched(&ground, &members, 0, streams);
            let mut picks = rule.select(&group, budget).expect("nobody stops it").rows();
            picks.sort_unstable();
            picks
        };
        let picks = select(1, 8);
        assert!(picks[..5].iter().all(|at| *at < 10) && picks[5..] == [10, 11, 12], "{picks:?}");
        assert!((2..20).any(|seed| select(seed, 8) != picks), "the clusters are drawn from");
        // A share of two each, and the second half of an odd one goes to the larger.
        assert_eq!(select(1, 5).iter().filter(|at| **at < 10).count(), 3);
        assert_eq!(select(1, 14).iter().filter(|at| **at > 12).count(), 1);
    }
}
