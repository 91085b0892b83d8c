//! How far a sample is from its prototype, the centre of a cluster.

use super::{ScoreInput, Scorer, TrainedProxy, usable_embeddings};
use crate::linalg::{k_means, squared_distance};
use artifacts::{Matrix, scores::Scores, units::Count};
use engine::{StageError, Streams};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The cosine distance of the embedding to the nearest centre of its k-means clusters.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Prototype {
    /// How many clusters; as many as classes if left out.
    clusters: Option<Count>,
    /// Which end counts as hard: `far` from every centre, or `near` to one.
    hard: HardEnd,
    /// How many steps k-means takes at most; it stops when no sample changes its cluster.
    steps: Count,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum HardEnd {
    #[default]
    Far,
    Near,
}

impl Default for Prototype {
    fn default() -> Self {
        let steps = Count::try_from(100).expect("100 is above 0");
        Self { clusters: None, hard: HardEnd::default(), steps }
    }
}

/// Returns `values` divided by their Euclidean length; zeros if they have none.
fn unit(values: &[f32]) -> Vec<f32> {
    let length = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    let factor = if length > 0.0 { 1.0 / length } else { 0.0 };
    values.iter().map(|v| (f64::from(*v) * factor) as f32).collect()
}

/// Returns one less the largest cosine of each row with a centre. That of a zero vector is 0.
fn apart(embeddings: &Matrix<'_>, centres: &Matrix<'_>) -> Vec<f32> {
    let centres: Vec<Vec<f32>> = (0..centres.rows()).map(|at| unit(centres.row(at))).collect();
    let apart = |i: usize| {
        let row = unit(embeddings.row(i));
        let zero = |values: &[f32]| values.iter().all(|v| *v == 0.0);
        if zero(&row) {
            return 1.0;
        }
        // Of unit vectors half the squared distance: no digits are lost where they are near.
        let one = |centre: &Vec<f32>| match zero(centre) {
            true => 1.0,
            false => 0.5 * squared_distance(&row, centre),
        };
        centres.iter().map(one).fold(f32::INFINITY, f32::min)
    };
    (0..embeddings.rows()).into_par_iter().map(apart).collect()
}

impl Scorer for Prototype {
    const NAME: &'static str = "score.prototype";
    const SUMMARY: &'static str = "the cosine distance to the nearest k-means centre of embeddings";
    const MANUAL: &'static str = "\
k-means (Euclidean, k-means++ start, Lloyd's steps) on the embeddings, all classes together, then one less
the cosine with the nearest centre. No label plays a part. Far is hard: keep it when data are plentiful. When
they are scarce the paper keeps what is near: `rule.hard = \"near\"`, or `select.bottom`.

Sorscher, Geirhos, Shekhar, Ganguli & Morcos, *Beyond Neural Scaling Laws: Beating Power Law Scaling via Data
Pruning*, NeurIPS 2022, section 5; its embeddings come from self-supervised networks, and 'nearest' is by
cosine here. The release holds scores of ImageNet, turned so that high is kept, and no code for them. Cost:
O(ndk) a step of k-means, O(n) memory beside the embeddings. A zero embedding is at
distance 1.";
    const STREAMS: &'static [&'static str] = &["centres"];
    const READS: ScoreInput = ScoreInput::Embeddings;

    fn score(&self, proxy: &dyn TrainedProxy, streams: Streams) -> Result<Scores, StageError> {
        let embeddings = usable_embeddings(proxy)?;
        let count = self.clusters.map_or(proxy.classes(), Count::get);
        let mut stream = streams.get("centres");
        let step = || proxy.check_cancelled();
        let centres = k_means(&embeddings, (count, self.steps.get()), &mut stream, step)?;
        let values = apart(&embeddings, &centres);
        Ok(match self.hard {
            HardEnd::Far => Scores::harder_when_high(values),
            HardEnd::Near => Scores::harder_when_low(values),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::testing::InMemory;

    #[test]
    fn cosines_worked_by_hand() {
        // Two heaps on the axes; the mean of all is 45 degrees off both.
        let x = [10.0, 0.0, 11.0, 0.0, 0.0, 10.0, 0.0, 11.0];
        let proxy = InMemory::embedded(&[0, 0, 1, 1], 2, &x);
        let score = |rule: &Prototype| {
            rule.score(&proxy, Streams::new(1, Prototype::STREAMS)).expect("it is embedded")
        };
        assert_eq!(score(&Prototype::default()).scores, [0.0; 4]);
        let one = Prototype { clusters: Count::try_from(1).ok(), ..Prototype::default() };
        let wanted = 1.0 - 0.5f32.sqrt();
        assert!(score(&one).scores.iter().all(|score| (score - wanted).abs() < 1e-6));
        let near = score(&Prototype { hard: HardEnd::Near, ..one });
        assert!(near.scores.iter().all(|score| (score + wanted).abs() < 1e-6));
        assert!(near.published.is_some_and(|all| all.iter().all(|one| *one > 0.0)));
    }

    #[test]
    fn a_zero_vector_is_as_far_as_a_right_angle() {
        let (x, centres) = ([0.0, 0.0, 0.0, 5.0], [1.0, 0.0]);
        let apart = apart(&Matrix::new(&x[..], 2, 2), &Matrix::new(&centres[..], 1, 2));
        assert!(apart.iter().all(|one| (one - 1.0).abs() < 1e-6));
    }
}
