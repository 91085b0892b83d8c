//! How alike samples are: `(1 + cosine) / 2` of their last-layer gradients or their embeddings.

use super::{Group, SelectInput, greedy::Search};
use crate::linalg::{Gram, Pairwise, PairwiseRows, unit};
use artifacts::Matrix;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What similarity is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Features {
    /// The gradient of the sample's loss in the last layer.
    #[default]
    Gradient,
    /// The embedding. A data set's features on `data` will do for it.
    Embedding,
}

impl Features {
    /// Returns what they are made of.
    pub(super) fn reads(self) -> &'static [SelectInput] {
        match self {
            Self::Gradient => &[SelectInput::Logits, SelectInput::Embeddings],
            Self::Embedding => &[SelectInput::Embeddings],
        }
    }
}

/// Returns unit vectors whose inner products are the cosines between the members of `group`. A
/// gradient is the product of two: of residual and of embedding, and is never built. A vector of
/// no length stays so, and its cosine with any other is 0. With `pairs`, all cosines will be asked
/// for, and not only those with single members.
pub(super) fn cosines(group: &Group<'_>, of: Features, pairs: bool) -> Gram<'static> {
    Gram::new(spaces(group, of)).on(group.compute, pairs)
}

/// Returns the sum of each sample's similarities, (1 + cosine) / 2, with all samples, itself included: n numbers.
pub(super) fn sums(cosines: &Gram<'_>) -> Vec<f64> {
    let half = 0.5 * cosines.len() as f64;
    // A vector of no length has no cosine with itself, yet is like itself.
    let itself = |j: usize| -> f64 {
        let nothing = cosines.spaces().iter().any(|s| s.row(j).iter().all(|v| *v == 0.0));
        if nothing { 0.5 } else { 0.0 }
    };
    let sums = cosines.row_sums().into_iter().enumerate();
    sums.map(|(j, sum)| half + 0.5 * sum + itself(j)).collect()
}

/// Returns the unit vectors of the members of `group` in each of the spaces whose cosines, multiplied, are
/// theirs.
pub(super) fn spaces(group: &Group<'_>, of: Features) -> Vec<Matrix<'static>> {
    match of {
        Features::Gradient => spaces_of_gradients(group, &group.residuals()),
        Features::Embedding => vec![unit(&group.embeddings())],
    }
}

fn spaces_of_gradients(group: &Group<'_>, residuals: &Matrix<'_>) -> Vec<Matrix<'static>> {
    vec![unit(residuals), unit(&group.inputs_of_last_layer())]
}

/// Returns the same of gradients whose part in the logits is `residuals`.
pub(super) fn cosines_of_gradients(
    group: &Group<'_>,
    residuals: &Matrix<'_>,
    pairs: bool,
) -> Gram<'static> {
    Gram::new(spaces_of_gradients(group, residuals)).on(group.compute, pairs)
}

/// Returns each unit vector with a 1 behind, divided by the square root of 2: the inner product of two is
/// `(1 + cosine) / 2`.
pub(super) fn lifted(unit: &Matrix<'_>) -> Matrix<'static> {
    let half = 0.5f32.sqrt();
    let cols = unit.cols() + 1;
    let mut data = Vec::with_capacity(unit.rows() * cols);
    for i in 0..unit.rows() {
        data.extend(unit.row(i).iter().map(|value| value * half));
        data.push(half);
    }
    Matrix::new(data, unit.rows(), cols)
}

/// Returns all similarities, a row at a time.
pub(super) fn rows(cosines: Gram<'static>) -> PairwiseRows<'static> {
    PairwiseRows::new(cosines, Pairwise::SIMILARITY)
}

/// Returns the similarities of each of `places` with all, one row after the other.
pub(super) fn several(cosines: &Gram<'_>, places: &[u32]) -> Vec<f32> {
    let mut rows = cosines.rows(places);
    for (row, j) in rows.chunks_exact_mut(cosines.len()).zip(places) {
        Pairwise::SIMILARITY.finish_row(*j as usize, 0, row);
    }
    rows
}

/// Returns what `settings` makes of every search with every kind of feature.
pub(super) fn with_features<S>(settings: impl Fn(Search, Features) -> S) -> Vec<S> {
    let both = |search| {
        [Features::Gradient, Features::Embedding].map(|features| settings(search, features))
    };
    Search::each().into_iter().flat_map(both).collect()
}
