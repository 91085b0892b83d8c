//! The loss: cross-entropy on the device for the gradient, and on the host for the epoch's mean loss and
//! accuracy.

use super::Tensor;
use artifacts::{ClassId, logits::argmax};
use burn::tensor::activation;
use rayon::prelude::*;

/// How much each sample of a batch counts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BatchWeights {
    /// One for each sample; `None` is 1 for all.
    each: Option<Vec<f32>>,
    /// What the sum of weighted losses is divided by.
    total: f64,
}

impl BatchWeights {
    /// Returns the weights of a batch of `n`: sum(w ce) / sum(w), and sum(ce) / n where there are none.
    pub(super) fn of(weights: Option<Vec<f32>>, n: usize) -> Self {
        let total = match &weights {
            Some(weights) => weights.iter().map(|w| f64::from(*w)).sum(),
            None => n as f64,
        };
        Self { each: weights, total }
    }

    /// Multiplies each sample's weight by its factor, and not the total: sum(f w ce) / sum(w).
    pub(super) fn times(mut self, factors: Vec<f32>) -> Self {
        self.each = Some(match self.each {
            None => factors,
            Some(weights) => weights.iter().zip(&factors).map(|(w, f)| w * f).collect(),
        });
        self
    }

    fn at(&self, at: usize) -> f64 {
        self.each.as_ref().map_or(1.0, |weights| f64::from(weights[at]))
    }
}

/// Returns the target matrix \[b, `classes`\], row-major, with which [`loss`] is the mean cross-entropy
/// with label smoothing (Szegedy et al., 2016; PyTorch's `label_smoothing`), weighted by `weights`.
pub(super) fn targets(
    labels: &[ClassId],
    weights: &BatchWeights,
    classes: usize,
    smoothing: f64,
) -> Vec<f32> {
    // A batch that weighs nothing moves nothing.
    let total = if weights.total == 0.0 { 1.0 } else { weights.total };
    let mut out = vec![0f32; labels.len() * classes];
    for (at, (row, label)) in out.chunks_exact_mut(classes).zip(labels).enumerate() {
        let share = weights.at(at) / total;
        row.fill((share * smoothing / classes as f64) as f32);
        row[label.index()] = (share * (1.0 - smoothing + smoothing / classes as f64)) as f32;
    }
    out
}

/// Returns minus the sum of `targets` times the log-softmax of `logits`: one number.
pub(super) fn loss(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    (activation::log_softmax(logits, 1) * targets).sum().neg()
}

/// The running sums of an epoch: weighted loss, weights, correct predictions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tally {
    loss: f64,
    weight: f64,
    correct: u64,
    seen: u64,
}

impl Tally {
    /// Adds a batch. `logits` is \[b, classes\], row-major. Returns its mean loss, and that of each sample.
    pub(super) fn add(
        &mut self,
        logits: &[f32],
        labels: &[ClassId],
        weights: &BatchWeights,
        smoothing: f64,
    ) -> (f64, Vec<f64>) {
        let classes = logits.len() / labels.len().max(1);
        let rows = logits.par_chunks_exact(classes.max(1)).zip(labels);
        let figures: Vec<(f64, bool)> =
            rows.map(|(row, label)| figures(row, *label, smoothing)).collect();
        let mut loss = 0.0;
        for (at, (ce, correct)) in figures.iter().enumerate() {
            loss += weights.at(at) * ce;
            self.correct += u64::from(*correct);
        }
        self.loss += loss;
        self.weight += weights.total;
        self.seen += labels.len() as u64;
        let mean = if weights.total == 0.0 { 0.0 } else { loss / weights.total };
        (mean, figures.into_iter().map(|(ce, _)| ce).collect())
    }

    /// Returns how many samples were added.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Returns the mean loss.
    pub(super) fn loss(&self) -> f64 {
        if self.weight == 0.0 { 0.0 } else { self.loss / self.weight }
    }

    /// Returns the share of samples whose largest logit is their label's.
    pub(super) fn accuracy(&self) -> f64 {
        if self.seen == 0 { 0.0 } else { self.correct as f64 / self.seen as f64 }
    }
}

fn figures(row: &[f32], label: ClassId, smoothing: f64) -> (f64, bool) {
    let top = argmax(row);
    let largest = f64::from(row[top]);
    let total: f64 = row.iter().map(|z| (f64::from(*z) - largest).exp()).sum();
    let norm = largest + total.ln();
    let own = norm - f64::from(row[label.index()]);
    let mean = norm - row.iter().map(|z| f64::from(*z)).sum::<f64>() / row.len() as f64;
    ((1.0 - smoothing) * own + smoothing * mean, top == label.index())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use burn::tensor::TensorData;

    // p = (1/4, 1/2, 1/4) and (1/2, 1/4, 1/4); labels 0 and 0; weights 1 and 3.
    #[test]
    fn weighted_and_smoothed_by_hand() {
        let ln2 = 2f64.ln();
        let logits = vec![0.0, ln2 as f32, 0.0, ln2 as f32, 0.0, 0.0];
        let device = Device::CPU.inner();
        let matrix =
            |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [2, 3]), &device);
        let cases = [
            (None, 0.0, (2.0 + 1.0) / 2.0 * ln2),
            (Some(&[1.0, 3.0][..]), 0.0, (2.0 + 3.0) / 4.0 * ln2),
            // Smoothed: .7 of the label's and .3 of the mean (2 + 1 + 2) / 3.
            (Some(&[1.0, 3.0][..]), 0.3, (0.7 * (2.0 + 3.0) / 4.0 + 0.3 * 5.0 / 3.0) * ln2),
        ];
        for (weights, smoothing, want) in cases {
            let weights = BatchWeights::of(weights.map(<[f32]>::to_vec), 2);
            let target = matrix(targets(&[ClassId::at(0); 2], &weights, 3, smoothing));
            let found = loss(matrix(logits.clone()), target).into_scalar::<f32>();
            assert!((f64::from(found) - want).abs() < 1e-6, "{found} is not {want}");
            let mut tally = Tally::default();
            let (found, each) = tally.add(&logits, &[ClassId::at(0); 2], &weights, smoothing);
            assert!(smoothing > 0.0 || (each[0] - 2.0 * ln2).abs() < 1e-7);
            assert!((found - want).abs() < 1e-7 && (tally.loss() - want).abs() < 1e-7);
            assert!((tally.accuracy() - 0.5).abs() < 1e-12);
        }
    }

    #[test]
    fn factors_stand_for_samples_that_are_not_there() {
        // Weights 1 and 3, factors 2 and 1: (2 ln 4 + 3 ln 2) / 4.
        let ln2 = 2f64.ln();
        let logits = [0.0, ln2 as f32, 0.0, ln2 as f32, 0.0, 0.0];
        let weights = BatchWeights::of(Some(vec![1.0, 3.0]), 2).times(vec![2.0, 1.0]);
        let (found, _) = Tally::default().add(&logits, &[ClassId::at(0); 2], &weights, 0.0);
        assert!((found - 7.0 * ln2 / 4.0).abs() < 1e-7, "{found}");
        let target = targets(&[ClassId::at(0); 2], &weights, 3, 0.0);
        assert_eq!(target, [0.5, 0.0, 0.0, 0.75, 0.0, 0.0]);
        let plain = BatchWeights::of(None, 2).times(vec![2.0, 1.0]);
        assert_eq!(targets(&[ClassId::at(0); 2], &plain, 3, 0.0), [1.0, 0.0, 0.0, 0.5, 0.0, 0.0]);
    }
}
