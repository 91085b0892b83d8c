//! DeepFool: the distance of a sample to the decision boundary. The stage around it, which reads the
//! network, is in the crate `networks`.

use artifacts::{
    ClassId,
    logits::argmax,
    units::{Count, NonNegative},
};
use engine::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A network as a function from samples to logits that can be differentiated in its input.
pub trait InputGradients {
    /// Returns how many numbers a sample has.
    fn features(&self) -> usize;

    /// Returns how many logits there are.
    fn classes(&self) -> usize;

    /// Returns the logits of `x`, \[b, features\] row-major: \[b, classes\].
    fn logits(&mut self, x: &[f32]) -> Vec<f32>;

    /// Returns the gradients of chosen logits at `x`, \[b, features\] row-major. `classes`, \[b, k\],
    /// names the logits of each sample; what comes back is \[b, k, features\].
    fn gradients(&mut self, x: &[f32], classes: &[ClassId]) -> Vec<f32>;
}

/// A way to measure how far samples are from a network's decision boundary: its settings, and a
/// function of the network.
pub trait BoundaryDistance:
    Clone + Default + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static
{
    /// The name in a pipeline file.
    const NAME: &'static str;
    /// What it does, in a line.
    const SUMMARY: &'static str;
    /// The manual.
    const MANUAL: &'static str;
    /// The revision of its results.
    const REVISION: u32;

    /// Returns what is wrong with the settings as a whole, named from inside `rule`.
    fn problems(&self) -> Vec<Problem> {
        vec![]
    }

    /// Returns how far each sample of `start`, \[b, d\] row-major, is from the boundary.
    fn distances(&self, network: &mut dyn InputGradients, start: Vec<f32>) -> Vec<f32>;
}

/// How the boundary is looked for.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct DeepFool {
    /// After how many steps a sample is left where it is.
    pub iterations: Count,
    /// How many of the classes that the proxy finds most probable are looked at, the predicted one
    /// among them; at least 2.
    pub candidates: Count,
    /// How far beyond the estimated boundary a step goes, as a share of its length.
    pub overshoot: NonNegative,
}

impl Default for DeepFool {
    fn default() -> Self {
        let count = |n: u64| Count::try_from(n).expect("it is above 0");
        Self {
            iterations: count(50),
            candidates: count(10),
            overshoot: NonNegative::try_from(0.02).expect("it is not negative"),
        }
    }
}

impl DeepFool {
    /// Returns the square of how far each sample of `start`, \[b, d\] row-major, is from the boundary.
    pub(super) fn squares(&self, network: &mut dyn InputGradients, start: Vec<f32>) -> Vec<f64> {
        let (d, classes) = (network.features(), network.classes());
        let b = start.len() / d;
        let beyond = 1.0 + f64::from(self.overshoot) as f32;
        let candidates = self.candidates.get().min(classes);
        let mut logits = network.logits(&start);
        let ranked: Vec<Vec<ClassId>> =
            logits.chunks_exact(classes).map(|row| ranked(row, candidates)).collect();
        let mut moved = vec![0f32; start.len()];
        let mut stuck = vec![false; b];
        let mut left: Vec<usize> = (0..b).collect();
        for _ in 0..self.iterations.get() {
            if left.is_empty() {
                break;
            }
            let gather = |moved: &[f32]| -> Vec<f32> {
                let each = left.iter().flat_map(|i| i * d..(i + 1) * d);
                each.map(|at| start[at] + beyond * moved[at]).collect()
            };
            let wanted: Vec<ClassId> =
                left.iter().flat_map(|i| ranked[*i].iter().copied()).collect();
            let gradients = network.gradients(&gather(&moved), &wanted);
            for (at, i) in left.iter().enumerate() {
                let logits = &logits[at * classes..][..classes];
                let slopes = &gradients[at * candidates * d..][..candidates * d];
                match step(logits, slopes, &ranked[*i]) {
                    Some(step) => {
                        let moved = &mut moved[i * d..][..d];
                        moved.iter_mut().zip(step).for_each(|(sum, by)| *sum += by);
                    }
                    None => stuck[*i] = true,
                }
            }
            left.retain(|i| !stuck[*i]);
            let points: Vec<f32> = left
                .iter()
                .flat_map(|i| i * d..(i + 1) * d)
                .map(|at| start[at] + beyond * moved[at])
                .collect();
            let all = network.logits(&points);
            let stays: Vec<bool> = all
                .chunks_exact(classes)
                .zip(&left)
                .map(|(row, i)| argmax(row) == ranked[*i][0].index())
                .collect();
            let rows = all.chunks_exact(classes).zip(&stays).filter(|(_, stays)| **stays);
            logits = rows.flat_map(|(row, _)| row.iter().copied()).collect();
            let mut stays = stays.into_iter();
            left.retain(|_| stays.next().expect("there is one for each"));
        }
        let square = |row: &[f32]| row.iter().map(|v| f64::from(beyond * v).powi(2)).sum::<f64>();
        let squares = moved.chunks_exact(d).map(square).zip(stuck);
        squares.map(|(square, stuck)| if stuck { f64::INFINITY } else { square }).collect()
    }
}

impl BoundaryDistance for DeepFool {
    const NAME: &'static str = "score.deepfool";
    const SUMMARY: &'static str = "the distance to the proxy's decision boundary; near is hard";
    const REVISION: u32 = 2;
    const MANUAL: &'static str = "\
Moves a sample step by step to the nearest boundary of the proxy, taken as linear at each step, until
the prediction changes. The published value is the Euclidean length of the whole move, in the
normalised values the network sees; a sample near a boundary is hard, so the score is minus that.
A sample whose prediction no step can move (all gradients are 0) is infinitely far.

Moosavi-Dezfooli, Fawzi & Frossard, *DeepFool*, CVPR 2016, algorithm 2, with its overshoot of 0.02 and
its ten most probable classes; as a selection criterion Ducoffe & Precioso, *Adversarial Active
Learning for Deep Networks: a Margin Based Approach*, 2018. Cost: up to `iterations` steps a sample,
each one forward pass and one backward pass for each candidate class; most samples need two to four.
It reads the network of the proxy and the images, so `data` is connected too.
DeepCore's own, which squares the length and does not overshoot, is `score.deepcore.deepfool`.";

    fn problems(&self) -> Vec<Problem> {
        if self.candidates.get() >= 2 {
            return vec![];
        }
        vec![Problem {
            setting: "candidates".to_owned(),
            message: "one candidate is the predicted class alone: there is nowhere to go"
                .to_owned(),
            hint: Some("set it to 2 or more".to_owned()),
        }]
    }

    fn distances(&self, network: &mut dyn InputGradients, start: Vec<f32>) -> Vec<f32> {
        self.squares(network, start).into_iter().map(|square| square.sqrt() as f32).collect()
    }
}

/// Returns the `most` largest classes, the largest first; of equals the first.
fn ranked(logits: &[f32], most: usize) -> Vec<ClassId> {
    let mut all: Vec<ClassId> = ClassId::all(logits.len()).collect();
    all.sort_by(|a, b| logits[b.index()].total_cmp(&logits[a.index()]).then(a.cmp(b)));
    all.truncate(most);
    all
}

/// Returns the move to the nearest linear boundary between the first of `classes` and another, or
/// nothing if there is no slope to go down. `slopes` holds one gradient for each of `classes`.
fn step(logits: &[f32], slopes: &[f32], classes: &[ClassId]) -> Option<Vec<f32>> {
    let d = slopes.len() / classes.len();
    let (own, others) = slopes.split_at(d);
    let from = f64::from(logits[classes[0].index()]);
    let (mut nearest, mut best) = (None, f64::INFINITY);
    for (class, slope) in classes[1..].iter().zip(others.chunks_exact(d)) {
        let apart = slope.iter().zip(own).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        let gap = (f64::from(logits[class.index()]) - from).abs();
        let distance = gap / apart.sqrt();
        if apart > 0.0 && distance < best {
            (nearest, best) = (Some((slope, gap / apart)), distance);
        }
    }
    let (slope, scale) = nearest?;
    Some(slope.iter().zip(own).map(|(a, b)| (scale * f64::from(a - b)) as f32).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Two classes in the plane: z = (0, w x + b), flat where the first coordinate is above 9.
    pub(in crate::score) struct Line;

    impl InputGradients for Line {
        fn features(&self) -> usize {
            2
        }
        fn classes(&self) -> usize {
            2
        }
        fn logits(&mut self, x: &[f32]) -> Vec<f32> {
            let z = |x: &[f32]| if x[0] > 9.0 { -1.0 } else { 3.0 * x[0] + 4.0 * x[1] - 5.0 };
            x.chunks_exact(2).flat_map(|x| [0.0, z(x)]).collect()
        }
        fn gradients(&mut self, x: &[f32], classes: &[ClassId]) -> Vec<f32> {
            let slope = |(at, class): (usize, &ClassId)| match (class.index(), x[at / 2 * 2] > 9.0)
            {
                (1, false) => [3.0, 4.0],
                _ => [0.0, 0.0],
            };
            classes.iter().enumerate().flat_map(slope).collect()
        }
    }

    #[test]
    fn distances_to_a_line_worked_by_hand() {
        // |3x + 4y - 5| / 5: 1 at the origin, 2 at (5, 0); nothing moves (10, 0).
        let points = vec![0.0, 0.0, 5.0, 0.0, 10.0, 0.0];
        let found = DeepFool::default().distances(&mut Line, points);
        assert!((found[0] - 1.02).abs() < 1e-5 && (found[1] - 2.04).abs() < 1e-5, "{found:?}");
        assert!(found[2].is_infinite());
    }

    #[test]
    fn of_equal_logits_the_first_class_is_the_prediction() {
        assert_eq!(ranked(&[1.0, 3.0, 3.0, 2.0], 3), ClassId::list([1, 2, 3]));
    }
}
