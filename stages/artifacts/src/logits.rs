//! Logits: softmax, log-softmax, cross-entropy, the predicted class. Computed in f64.

/// Returns the softmax of `logits`: probabilities that sum to 1.
#[must_use]
pub fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut all: Vec<f64> =
        logits.iter().map(|z| (f64::from(*z) - f64::from(largest)).exp()).collect();
    let total: f64 = all.iter().sum();
    all.iter_mut().for_each(|p| *p /= total);
    all
}

/// Returns the position of the largest of `values`; of equal ones the first. NaN is never the largest
/// unless it comes first.
#[must_use]
pub fn argmax(values: &[f32]) -> usize {
    let mut top = 0;
    for (class, value) in values.iter().enumerate() {
        if *value > values[top] {
            top = class;
        }
    }
    top
}
