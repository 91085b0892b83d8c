//! The gradient of the loss in the logits: prediction minus label.

use artifacts::{ClassId, Matrix, logits::softmax};
use rayon::prelude::*;

/// Returns `p - onehot(y)` of every row of `logits`, \[n, C\]: the gradient of the cross-entropy in the
/// logits.
pub(crate) fn residuals(logits: &Matrix<'_>, labels: &[ClassId]) -> Matrix<'static> {
    each_row(logits, |i, row| residual(row, labels[i].index()))
}

/// Returns what `value` makes of each row of `logits`, given its number: as many values as a row has.
pub(super) fn each_row(
    logits: &Matrix<'_>,
    value: impl Fn(usize, &[f32]) -> Vec<f64> + Sync,
) -> Matrix<'static> {
    let (n, classes) = (logits.rows(), logits.cols());
    let mut data = vec![0.0f32; n * classes];
    let rows = data.par_chunks_exact_mut(classes.max(1)).enumerate();
    rows.with_min_len(64).for_each(|(i, out)| {
        for (out, value) in out.iter_mut().zip(value(i, logits.row(i))) {
            *out = value as f32;
        }
    });
    Matrix::new(data, n, classes)
}

/// Returns `p - onehot(label)` of one sample.
pub(super) fn residual(logits: &[f32], label: usize) -> Vec<f64> {
    let mut p = softmax(logits);
    // 1 - p_y as the sum of the others: exact where p_y is nearly 1.
    p[label] = -p.iter().enumerate().filter(|(c, _)| *c != label).map(|(_, p)| p).sum::<f64>();
    p
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gradient_is_the_slope_of_its_loss() {
        let z = [0.3f32, -1.2, 0.9];
        let loss = |z: &[f64; 3]| {
            let total: f64 = z.iter().map(|z| z.exp()).sum();
            -(z[2].exp() / total).ln()
        };
        let slope = residual(&z, 2);
        for c in 0..3 {
            let (mut up, mut down) = (z.map(f64::from), z.map(f64::from));
            up[c] += 1e-5;
            down[c] -= 1e-5;
            let numeric = (loss(&up) - loss(&down)) / 2e-5;
            assert!((slope[c] - numeric).abs() < 1e-7);
        }
    }
}
