//! Label disagreement: the share of a sample's nearest neighbours that carry another label.

use super::{ScoreInput, Scorer, TrainedProxy};
use artifacts::{ClassId, scores::Scores, units::Count};
use engine::{StageError, Streams};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The share of the nearest neighbours in the embedding that carry another label.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct KnnLabel {
    /// How many neighbours, by Euclidean distance of embeddings.
    neighbors: Count,
}

impl Default for KnnLabel {
    fn default() -> Self {
        Self { neighbors: Count::try_from(20).expect("20 is above 0") }
    }
}

impl Scorer for KnnLabel {
    const NAME: &'static str = "score.knn-label";
    const SUMMARY: &'static str = "the share of the nearest neighbours that carry another label";
    const MANUAL: &'static str = "\
Of the k nearest other samples, by Euclidean distance of embeddings and of equally near ones the earlier, the
share whose label is another. High is hard, or mislabelled: the same rule in another program told the wrong
labels of Fashion-MNIST, 10 to 30 % of all, from the right ones with an AUROC of 0.97 to 0.98. Scores are
multiples of 1/k and tie often.

The k-nearest-neighbour rule of Wilson, *Asymptotic Properties of Nearest Neighbor Rules Using Edited Data*,
IEEE SMC 1972, as a number instead of a vote. Cost: O(n^2 d) in tiles, O(nk) memory; with a graph of
neighbours on port `graph` (`graph.knn`) O(nk). A set of one sample
has no neighbours, and its sample no score.";
    const READS: ScoreInput = ScoreInput::Neighbours;

    fn score(&self, proxy: &dyn TrainedProxy, _: Streams) -> Result<Scores, StageError> {
        let (labels, near) = (proxy.labels(), proxy.neighbours(self.neighbors.get())?);
        let share = |(near, label): (&Vec<u32>, &ClassId)| {
            let others = near.iter().filter(|other| labels[**other as usize] != *label).count();
            (others as f64 / near.len() as f64) as f32
        };
        Ok(Scores::harder_when_high(near.iter().zip(labels).map(share).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::testing::InMemory;

    fn score(labels: &[u32], embeddings: &[f32], neighbors: u64) -> Vec<f32> {
        let proxy = InMemory::embedded(labels, 2, embeddings);
        let rule = KnnLabel { neighbors: Count::try_from(neighbors).expect("it is above 0") };
        rule.score(&proxy, Streams::new(0, &[])).expect("it is embedded").scores
    }

    #[test]
    fn shares_worked_by_hand() {
        // On a line: 0 and 1 are label 0, 2.5 is label 1, 10 and 11 are label 1.
        let scores = score(&[0, 0, 1, 1, 1], &[0.0, 1.0, 2.5, 10.0, 11.0], 2);
        assert_eq!(scores, [0.5, 0.5, 1.0, 0.0, 0.0]);
        // No more neighbours than there are others.
        assert_eq!(score(&[0, 1, 1], &[0.0, 1.0, 2.0], 20), [1.0, 0.5, 0.5]);
        assert!(score(&[0], &[1.0], 3)[0].is_nan());
    }
}
