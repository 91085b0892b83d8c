//! Moderate coresets: samples at the median distance from their class's prototype.

use super::{Group, Picks, SelectInput, Selector};
use crate::linalg::squared_distance;
use artifacts::Matrix;
use engine::StageError;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps the samples of middling distance to the median of their class.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Moderate {}

impl Selector for Moderate {
    const NAME: &'static str = "select.moderate";
    const SUMMARY: &'static str =
        "the samples whose distance to their class's median is nearest to the median distance";
    const MANUAL: &'static str = "\
The prototype of a class is the coordinate-wise median of its embeddings. Samples are ordered by their
Euclidean distance to the prototype of their own class, and the middle of that order is kept: neither
the typical nor the outlying. Of equal distances the earlier sample comes first.

Xia et al., *Moderate Coreset: A Universal Method of Data Selection for Real-world Data-efficient Deep
Learning*, ICLR 2023, section 3.2. Cost: O(n d + n log n). The authors order all classes together, which
is `balance = \"none\"`; with `balance = \"class\"` each class keeps its own middle.";
    const REVISION: u32 = 2;
    const READS: &'static [SelectInput] = &[SelectInput::Embeddings];

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let (labels, embeddings) = (group.labels(), group.embeddings());
        let mut distance = vec![0f32; group.len()];
        let mut classes = labels.clone();
        classes.sort_unstable();
        classes.dedup();
        for class in classes {
            let members: Vec<u32> =
                (0..labels.len() as u32).filter(|at| labels[*at as usize] == class).collect();
            let mine = embeddings.gather(&members);
            let prototype = medians(&mine);
            for (row, at) in members.iter().enumerate() {
                distance[*at as usize] = squared_distance(mine.row(row), &prototype);
            }
        }
        let mut order: Vec<u32> = (0..group.len() as u32).collect();
        order
            .sort_by(|a, b| distance[*a as usize].total_cmp(&distance[*b as usize]).then(a.cmp(b)));
        let nearer = (order.len() - budget) / 2;
        Ok(order[nearer..nearer + budget].to_vec().into())
    }
}

/// Returns the median of every column; of an even number of rows the mean of the middle two.
fn medians(rows: &Matrix<'_>) -> Vec<f32> {
    let middle = rows.rows() / 2;
    let median = |column: usize| {
        let mut values: Vec<f32> = (0..rows.rows()).map(|row| rows.row(row)[column]).collect();
        let (below, upper, _) = values.select_nth_unstable_by(middle, f32::total_cmp);
        let upper = *upper;
        if rows.rows() % 2 == 1 {
            return upper;
        }
        let lower = below.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        lower + (upper - lower) / 2.0
    };
    (0..rows.cols()).into_par_iter().map(median).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::TrainingSet;
    use artifacts::{ClassId, SampleId};
    use engine::Streams;

    #[test]
    fn the_middle_of_the_distances_worked_by_hand() {
        // Class 0: 0 1 2 3 100, median 2, distances 2 1 0 1 98. Class 1: 10 and 14, distances 2 2.
        let points = [0.0, 1.0, 2.0, 3.0, 100.0, 10.0, 14.0];
        let ground = TrainingSet {
            labels: &ClassId::list([0, 0, 0, 0, 0, 1, 1]),
            embeddings: Some(Matrix::new(&points[..], 7, 1)),
            ..TrainingSet::default()
        };
        let members: Vec<SampleId> = SampleId::all(7).collect();
        let streams = Streams::new(0, &[]);
        let group = Group::unwatched(&ground, &members, 0, streams);
        let select = |budget| Moderate {}.select(&group, budget).expect("nobody stops it").rows();
        // In order: 2 (0), 1 and 3 (1), 0, 5 and 6 (2), 4 (98).
        assert_eq!(select(3), [3, 0, 5]);
        assert_eq!(select(7), [2, 1, 3, 0, 5, 6, 4]);
    }
}
