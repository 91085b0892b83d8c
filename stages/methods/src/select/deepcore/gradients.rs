//! The gradient of the loss in the logits, as DeepCore computes it.

use super::Group;
use crate::{
    linalg::Gram,
    select::{
        residuals::{each_row, residual},
        similarity::{Features, cosines, cosines_of_gradients},
    },
};
use artifacts::{ClassId, Matrix, logits::softmax, units::Count};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A release of DeepCore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Release {
    /// Of February 2023, commit 74ec709.
    #[default]
    #[serde(rename = "2023")]
    Of2023,
    /// As of its paper of 2022, whose gradients are of a softmax taken twice.
    #[serde(rename = "2022")]
    Of2022,
}

impl Release {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::Of2023, Self::Of2022];

    /// Returns the cosines between the members of `group`, with all pairs if `pairs` are asked for.
    pub(super) fn cosines(self, group: &Group<'_>, of: Features, pairs: bool) -> Gram<'static> {
        match of {
            Features::Gradient => {
                // One batch: no length matters to a cosine.
                let residuals = residuals(&group.logits(), &group.labels(), self, usize::MAX);
                cosines_of_gradients(group, &residuals, pairs)
            }
            Features::Embedding => cosines(group, of, pairs),
        }
    }
}

/// DeepCore's default batch size.
pub(crate) fn batch_size() -> Count {
    Count::try_from(256).expect("256 is above 0")
}

/// Returns the gradient of the loss in every row of `logits`, \[n, C\], divided by the size of the
/// batch it falls in, batches being consecutive runs of `batch` rows: the mean that DeepCore's
/// criterion takes, which makes the rows of a short last batch larger.
pub(crate) fn residuals(
    logits: &Matrix<'_>,
    labels: &[ClassId],
    release: Release,
    batch: usize,
) -> Matrix<'static> {
    let n = logits.rows();
    each_row(logits, |i, row| {
        let label = labels[i].index();
        let divisor = batch.min(n - i / batch * batch) as f64;
        let mut gradient = match release {
            Release::Of2023 => residual(row, label),
            Release::Of2022 => residual_of_softmax(row, label),
        };
        gradient.iter_mut().for_each(|value| *value /= divisor);
        gradient
    })
}

/// Returns the gradient in `logits` of a cross-entropy that takes their softmax for logits.
fn residual_of_softmax(logits: &[f32], label: usize) -> Vec<f64> {
    let p = softmax(logits);
    let narrow: Vec<f32> = p.iter().map(|p| *p as f32).collect();
    let mut t = softmax(&narrow);
    t[label] -= 1.0;
    let mean: f64 = p.iter().zip(&t).map(|(p, t)| p * t).sum();
    p.iter().zip(&t).map(|(p, t)| p * (t - mean)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_of_2022_is_the_slope_of_its_loss() {
        let z = [0.3f32, -1.2, 0.9];
        let soft = |z: [f64; 3]| {
            let total: f64 = z.iter().map(|z| z.exp()).sum();
            z.map(|z| z.exp() / total)
        };
        let loss = |z: &[f64; 3]| -soft(soft(*z))[2].ln();
        let slope = residual_of_softmax(&z, 2);
        for c in 0..3 {
            let (mut up, mut down) = (z.map(f64::from), z.map(f64::from));
            up[c] += 1e-5;
            down[c] -= 1e-5;
            let numeric = (loss(&up) - loss(&down)) / 2e-5;
            assert!((slope[c] - numeric).abs() < 1e-7);
        }
    }

    #[test]
    fn a_short_last_batch_is_divided_by_less() {
        let logits = Matrix::new(vec![0.0; 10], 5, 2);
        let all = residuals(&logits, &[ClassId::at(0); 5], Release::Of2023, 2);
        let second: Vec<f32> = (0..5).map(|i| all.row(i)[1]).collect();
        assert_eq!(second, [0.25, 0.25, 0.25, 0.25, 0.5]);
    }
}
