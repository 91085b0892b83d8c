//! How alike samples are: `(1 + cosine) / 2` of their last-layer gradients or their embeddings.

use super::{Compat, Group};
use crate::linalg::{Gram, Matrix, Rows};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What similarity is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Features {
    /// The gradient of the sample's loss in the last layer.
    #[default]
    Gradient,
    /// The embedding.
    Embedding,
}

/// Returns unit vectors whose inner products are the cosines between the members of `group`. A
/// gradient is the product of two: of residual and of embedding, and is never built. A vector of
/// no length stays so, and its cosine with any other is 0.
pub(super) fn cosines(group: &Group<'_>, of: Features, compat: Compat) -> Gram<'static> {
    match of {
        // No length matters to a cosine, so neither does what a batch divides by.
        Features::Gradient => Gram::new(vec![
            unit(&group.residuals(compat, usize::MAX)),
            unit(&group.inputs_of_last_layer()),
        ]),
        Features::Embedding => Gram::new(vec![unit(&group.embeddings())]),
    }
}

fn unit(vectors: &Matrix<'_>) -> Matrix<'static> {
    let mut data = vectors.data().to_vec();
    for row in data.chunks_exact_mut(vectors.cols().max(1)) {
        let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        if length > 0.0 {
            row.iter_mut().for_each(|v| *v = (f64::from(*v) / length) as f32);
        }
    }
    Matrix::new(data, vectors.rows(), vectors.cols())
}

/// The similarity of `j` and `i`, whose cosine is `cosine`: from 0 to 1, and 1 for a sample and itself.
pub(super) fn similarity(j: usize, i: usize, cosine: f32) -> f32 {
    if i == j { 1.0 } else { 0.5 + 0.5 * cosine }
}

/// Returns all similarities, a row at a time.
pub(super) fn rows(
    cosines: Gram<'static>,
) -> Rows<'static, impl Fn(usize, usize, f32) -> f32 + Sync + use<>> {
    Rows::new(cosines, similarity)
}

/// Returns the similarities of `j` with all.
pub(super) fn row(cosines: &Gram<'_>, j: usize) -> Vec<f32> {
    let mut row = cosines.single_row(j);
    for (i, value) in row.iter_mut().enumerate() {
        *value = similarity(j, i, *value);
    }
    row
}
