//! Herding towards the geometric median.

use super::{Group, Picks, SelectInput, Selector, farthest::argmax};
use crate::linalg::{squared_distance, tiles, times, unit};
use artifacts::{Matrix, units::Count};
use engine::StageError;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps the geometric median, which outliers do not move: each pick brings the mean of those kept
/// nearer to it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct GmMatching {
    /// Whether embeddings are brought to length 1 first.
    normalize: bool,
    /// At most so many steps are taken towards the median.
    steps: Count,
}

impl Default for GmMatching {
    fn default() -> Self {
        Self { normalize: true, steps: Count::try_from(50).expect("50 is above 0") }
    }
}

/// A sample counts as no nearer to the median than this.
const NEAREST: f64 = 1e-6;

/// A step shorter than this is the last.
const SETTLED: f64 = 1e-6;

/// Returns the point whose distances to all rows have the smallest sum, by Weiszfeld's steps from the
/// mean.
fn geometric_median(rows: &Matrix<'_>, steps: usize) -> Vec<f64> {
    let mut median = weighted_mean(rows, |_| 1.0);
    for _ in 0..steps {
        let from: Vec<f32> = median.iter().map(|value| *value as f32).collect();
        let weight = |i: usize| {
            let distance = f64::from(squared_distance(rows.row(i), &from)).sqrt();
            distance.max(NEAREST).recip()
        };
        let next = weighted_mean(rows, weight);
        let moved: f64 = next.iter().zip(&median).map(|(a, b)| (a - b).powi(2)).sum();
        median = next;
        if moved.sqrt() < SETTLED {
            break;
        }
    }
    median
}

/// Returns the mean of the rows, row i weighing `weight(i)`. Tiles of rows are summed in order.
fn weighted_mean(rows: &Matrix<'_>, weight: impl Fn(usize) -> f64 + Sync) -> Vec<f64> {
    let parts: Vec<(Vec<f64>, f64)> = tiles(rows.rows())
        .into_par_iter()
        .map(|tile| {
            let (mut sums, mut total) = (vec![0.0; rows.cols()], 0.0);
            for i in tile {
                let weight = weight(i);
                total += weight;
                for (sum, value) in sums.iter_mut().zip(rows.row(i)) {
                    *sum += weight * f64::from(*value);
                }
            }
            (sums, total)
        })
        .collect();
    let (mut sums, mut total) = (vec![0.0; rows.cols()], 0.0);
    for (part, weight) in parts {
        total += weight;
        sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
    sums.iter_mut().for_each(|sum| *sum /= total);
    sums
}

impl Selector for GmMatching {
    const NAME: &'static str = "select.gm-matching";
    const SUMMARY: &'static str =
        "keeps the geometric median of the embeddings: herding that outliers do not lead";
    const MANUAL: &'static str = "\
Finds the geometric median m of the group's embeddings, the point with the smallest sum of distances to
them, and herds towards it: from theta = m, picks the sample x not yet picked with the largest
`<theta, x>`, of equal ones the earlier, and adds m - x to theta. Neither end of any score: the mean of the
picks is brought to m, which stays in place until half of the samples are outliers. With the mean for m it
is herding.

Acharya, Sanghavi, Dimakis & Dhillon, *Geometric Median Matching for Robust k-Subset Selection from Noisy
Data*, ICML 2025. They go class by class: `balance = \"class\"`. The median is found by Weiszfeld's steps
from the mean, at most `rule.steps` or until one is shorter than 1e-6, each sample weighing
1 / max(distance, 1e-6). Cost: O((k + steps) n d).

It is robust where inputs are broken. A wrong label on a good input has an embedding like any other: under
30 % wrong labels it kept half of them, where herding kept all; a cut by `score.aum` does better.";
    const READS: &'static [SelectInput] = &[SelectInput::Embeddings];
    const ON_DEVICE: bool = true;

    fn variants() -> Vec<Self> {
        vec![Self::default(), Self { normalize: false, ..Self::default() }]
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let embeddings = group.embeddings();
        let vectors = if self.normalize { unit(&embeddings) } else { embeddings };
        let median = geometric_median(&vectors, self.steps.get());
        let on_device = group.compute.upload(&[vectors.view()], false);
        let mut theta = median.clone();
        let (mut taken, mut order) = (vec![false; group.len()], Vec::with_capacity(budget));
        while order.len() < budget {
            group.watch.step(order.len(), budget)?;
            let direction: Vec<f32> = theta.iter().map(|value| *value as f32).collect();
            let mut products = match &on_device {
                Some(on_device) => on_device.times(&[(0, &direction)]),
                None => times(&vectors, &direction),
            };
            for (product, taken) in products.iter_mut().zip(&taken) {
                if *taken {
                    *product = f32::NEG_INFINITY;
                }
            }
            let next = argmax(&products).expect("there are more samples than the budget");
            taken[next] = true;
            order.push(next as u32);
            for ((theta, median), x) in theta.iter_mut().zip(&median).zip(vectors.row(next)) {
                *theta += median - f64::from(*x);
            }
        }
        Ok(order.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::TrainingSet;
    use artifacts::{ClassId, SampleId};
    use engine::Streams;

    #[test]
    fn the_median_of_a_cross_is_its_middle_and_an_outlier_does_not_move_it_far() {
        // Whatever the arms' lengths, the unit vectors from (1, 2) to the four ends sum to 0.
        let cross = [1.0, 12.0, 1.0, -1.0, 0.0, 2.0, 100.0, 2.0];
        let median = geometric_median(&Matrix::new(&cross[..], 4, 2), 500);
        assert!((median[0] - 1.0).abs() < 1e-3 && (median[1] - 2.0).abs() < 1e-3, "{median:?}");
        // Three quarters at 0: there the median stays, however far the others are.
        let line = [0.0, 0.0, 0.0, 1e6];
        let median = geometric_median(&Matrix::new(&line[..], 4, 1), 50);
        assert!(median[0].abs() < 1e-3, "{median:?}");
    }

    #[test]
    fn picks_worked_by_hand() {
        // A symmetric set: m = 0 up to rounding of the mean, which is exact here. Then theta is what was
        // picked, turned round: after (1, 0) the largest product is that of (-1, 0).
        let points = [1.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0, -1.0];
        let ground = TrainingSet {
            labels: &[ClassId::at(0); 4],
            embeddings: Some(Matrix::new(&points[..], 4, 2)),
            ..TrainingSet::default()
        };
        let members: Vec<SampleId> = SampleId::all(4).collect();
        let group = Group::unwatched(&ground, &members, 0, Streams::new(0, &[]));
        let picks = GmMatching::default().select(&group, 4).expect("nobody stops it").rows();
        assert_eq!(picks, [0, 2, 1, 3]);
    }
}
