//! BWS, best window selection: the window of the score from which a linear classifier learns the most.

use super::{Group, Picks, SelectInput, Selector, top::hardest_first};
use crate::linalg::{cross, positive_solve, product};
use artifacts::{
    ClassId, Matrix,
    units::{Count, Positive},
};
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps the window of the order of hardness from which a linear classifier learns the group best.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Bws {
    /// Into how many steps the order is divided: a window begins at each.
    steps: Count,
    /// The ridge of the regression.
    lambda: Positive,
}

impl Default for Bws {
    fn default() -> Self {
        Self {
            steps: Count::try_from(20).expect("20 is above 0"),
            lambda: Positive::try_from(1.0).expect("1 is above 0"),
        }
    }
}

/// How many rows are multiplied before their products are summed.
const ROWS_AT_ONCE: usize = 8192;

/// Returns the weights, \[classes, d\], of the ridge regression from `inputs` to one-hot `labels`; `None`
/// if rounding leaves the system without a solution.
fn ridge_regression(
    inputs: &Matrix<'_>,
    labels: &[ClassId],
    classes: usize,
    lambda: f64,
) -> Option<Matrix<'static>> {
    let d = inputs.cols();
    let (mut squares, mut targets) = (vec![0.0; d * d], vec![vec![0.0; d]; classes]);
    let rows: Vec<u32> = (0..inputs.rows() as u32).collect();
    for rows in rows.chunks(ROWS_AT_ONCE) {
        let part = inputs.gather(rows);
        squares.iter_mut().zip(cross(&part, &part)).for_each(|(sum, part)| *sum += part);
    }
    for (i, label) in labels.iter().enumerate() {
        let target = &mut targets[label.index()];
        target.iter_mut().zip(inputs.row(i)).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    (0..d).for_each(|i| squares[i * d + i] += lambda);
    let weights = positive_solve(squares, targets)?;
    let weights = weights.concat().into_iter().map(|weight| weight as f32).collect::<Vec<f32>>();
    Some(Matrix::new(weights, classes, d))
}

/// Returns how many rows of `inputs` are given their label; of equally likely classes the first is given.
fn count_correct(inputs: &Matrix<'_>, labels: &[ClassId], weights: &Matrix<'_>) -> usize {
    let classes = weights.rows();
    let outputs = product(inputs, weights);
    let is_right = |(outputs, label): (&[f32], &ClassId)| {
        let first =
            (1..classes).fold(0, |top, at| if outputs[at] > outputs[top] { at } else { top });
        first == label.index()
    };
    outputs.chunks_exact(classes).zip(labels).filter(|one| is_right(*one)).count()
}

/// Returns where the windows of `budget` begin, of `n` in order: at each of `steps`, and at the last place.
fn starts(n: usize, budget: usize, steps: usize) -> Vec<usize> {
    let last = n - budget;
    let mut starts: Vec<usize> = (0..steps).map(|step| step * n / steps).collect();
    starts.retain(|start| *start < last);
    starts.push(last);
    starts.dedup();
    starts
}

impl Selector for Bws {
    const NAME: &'static str = "select.bws";
    const SUMMARY: &'static str =
        "the window of the score from which a linear classifier learns the whole best";
    const MANUAL: &'static str = "\
Orders samples from hard to easy and looks at windows as large as the budget that begin at each 1 /
`rule.steps` of the order, and at the last place. On each window's embeddings, with a 1 before each, a ridge
regression to the one-hot labels is solved, and tried on the whole group: the window with the most right
answers is kept, of equal ones the harder. Neither end is preferred: the data decide. The score is on port
`scores`, the embeddings are those of `proxy`, or the features of `data`.

Choi, Ki & Moon, *BWS: Best Window Selection Based on Sample Scores for Data Pruning across Broad Ranges*,
ICML 2024; windows begin at every 5 %, and the ridge is 1. Cost: O(w (k d^2 + d^3 + n d C)) for w
windows. With `balance = \"class\"` a group has a single class, which every window gets right, and the
hardest is kept: leave the balance at `none`.

The training set is its own test: wrong labels count as right answers to be given, which pulls towards
the windows that fit them least, the easy ones.";
    const READS: &'static [SelectInput] = &[SelectInput::Scores, SelectInput::Embeddings];

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let order = hardest_first(&group.scores());
        let (inputs, labels) = (group.inputs_of_last_layer(), group.labels());
        let classes = labels.iter().max().map_or(0, |label| label.index() + 1);
        let starts = starts(group.len(), budget, self.steps.get());
        let (mut best, windows) = ((0, None), starts.len());
        for (at, start) in starts.into_iter().enumerate() {
            group.watch.step(at * budget / windows, budget)?;
            let window = &order[start..start + budget];
            let known: Vec<ClassId> = window.iter().map(|at| labels[*at as usize]).collect();
            let part = inputs.gather(window);
            let weights = ridge_regression(&part, &known, classes, self.lambda.into());
            let correct = weights.map_or(0, |weights| count_correct(&inputs, &labels, &weights));
            if best.1.is_none() || correct > best.0 {
                best = (correct, Some(window));
            }
        }
        Ok(best.1.map(<[u32]>::to_vec).unwrap_or_default().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::TrainingSet;
    use artifacts::SampleId;
    use engine::Streams;

    #[test]
    fn a_regression_worked_by_hand() {
        // Inputs (1, 1) of class 0 and (1, -1) of class 1: the squares are 2 I, with the ridge 4 I.
        let inputs = Matrix::new(vec![1.0, 1.0, 1.0, -1.0], 2, 2);
        let own = ClassId::list([0, 1]);
        let weights = ridge_regression(&inputs, &own, 2, 2.0).expect("it has a solution");
        assert_eq!(weights.data(), [0.25, 0.25, 0.25, -0.25]);
        assert_eq!(count_correct(&inputs, &own, &weights), 2);
        assert_eq!(count_correct(&inputs, &[own[1]; 2], &weights), 1);
    }

    #[test]
    fn windows_begin_at_every_step_and_at_the_last_place() {
        assert_eq!(starts(100, 83, 20), [0, 5, 10, 15, 17]);
        assert_eq!(starts(100, 100, 20), [0]);
        assert_eq!(starts(3, 1, 20), [0, 1, 2]);
    }

    #[test]
    fn a_window_of_wrong_labels_is_left() {
        // The class is the sign; the three hardest are mislabelled.
        let points = [-1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0];
        let labels = ClassId::list([0, 1, 0, 1, 0, 1, 0, 0, 1, 0]);
        let scores: Vec<f64> = (0..10).map(f64::from).collect();
        let ground = TrainingSet {
            labels: &labels,
            scores: Some(&scores),
            embeddings: Some(Matrix::new(&points[..], 10, 1)),
            ..TrainingSet::default()
        };
        let members: Vec<SampleId> = SampleId::all(10).collect();
        let group = Group::unwatched(&ground, &members, 0, Streams::new(0, &[]));
        let rule = Bws { steps: Count::try_from(10).expect("10 is above 0"), ..Bws::default() };
        let picks = rule.select(&group, 3).expect("nobody stops it").rows();
        // A window of right labels gives seven of ten right; this is the hardest of them.
        assert_eq!(picks, [6, 5, 4]);
    }
}
