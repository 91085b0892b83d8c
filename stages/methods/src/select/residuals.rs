//! The gradient of the loss in the logits, as defined and as DeepCore computes it.

use artifacts::{Matrix, logits::softmax, units::Count};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose results to give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Compat {
    /// The method as its paper defines it.
    #[default]
    None,
    /// The results of the DeepCore release of February 2023 (commit 74ec709), defects included.
    Deepcore,
    /// The results of DeepCore as of its paper of 2022, whose gradients are of a softmax taken twice.
    #[serde(rename = "deepcore-2022")]
    Deepcore2022,
}

impl Compat {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::None, Self::Deepcore, Self::Deepcore2022];
}

/// DeepCore's default batch size.
pub(crate) fn deepcore_batch() -> Count {
    Count::try_from(256).expect("256 is above 0")
}

/// Gradients of the cross-entropy in the logits.
pub(crate) struct Residuals;

impl Residuals {
    /// Returns `p - onehot(y)` of every row of `logits`, \[n, C\]. With `compat` each is divided by the
    /// size of the batch it falls in, batches being consecutive runs of `batch` rows: the mean
    /// that DeepCore's criterion takes, which makes the rows of a short last batch larger.
    pub(crate) fn of(
        logits: &Matrix<'_>,
        labels: &[u32],
        compat: Compat,
        batch: usize,
    ) -> Matrix<'static> {
        let (n, classes) = (logits.rows(), logits.cols());
        let mut data = vec![0.0f32; n * classes];
        let rows = data.par_chunks_exact_mut(classes.max(1)).enumerate();
        rows.with_min_len(64).for_each(|(i, out)| {
            let label = labels[i] as usize;
            let divisor = match compat {
                Compat::None => 1.0,
                _ => batch.min(n - i / batch * batch) as f64,
            };
            for (out, value) in out.iter_mut().zip(gradient(logits.row(i), label, compat)) {
                *out = (value / divisor) as f32;
            }
        });
        Matrix::new(data, n, classes)
    }
}

/// Returns the gradient of the loss at `logits` in them.
fn gradient(logits: &[f32], label: usize, compat: Compat) -> Vec<f64> {
    let mut p = softmax(logits);
    if compat == Compat::Deepcore2022 {
        let narrow: Vec<f32> = p.iter().map(|p| *p as f32).collect();
        let mut t = softmax(&narrow);
        t[label] -= 1.0;
        let mean: f64 = p.iter().zip(&t).map(|(p, t)| p * t).sum();
        return p.iter().zip(&t).map(|(p, t)| p * (t - mean)).collect();
    }
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
        let loss = |z: &[f64; 3], twice: bool| {
            let soft = |z: [f64; 3]| {
                let total: f64 = z.iter().map(|z| z.exp()).sum();
                z.map(|z| z.exp() / total)
            };
            let p = if twice { soft(soft(*z)) } else { soft(*z) };
            -p[2].ln()
        };
        for (compat, twice) in [(Compat::None, false), (Compat::Deepcore2022, true)] {
            let slope = gradient(&z, 2, compat);
            for c in 0..3 {
                let (mut up, mut down) = (z.map(f64::from), z.map(f64::from));
                up[c] += 1e-5;
                down[c] -= 1e-5;
                let numeric = (loss(&up, twice) - loss(&down, twice)) / 2e-5;
                assert!((slope[c] - numeric).abs() < 1e-7);
            }
        }
    }

    #[test]
    fn a_short_last_batch_is_divided_by_less() {
        let logits = Matrix::new(vec![0.0; 10], 5, 2);
        let all = Residuals::of(&logits, &[0; 5], Compat::Deepcore, 2);
        let second: Vec<f32> = (0..5).map(|i| all.row(i)[1]).collect();
        assert_eq!(second, [0.25, 0.25, 0.25, 0.25, 0.5]);
    }
}
