//! Formulas of two samples: similarities and distances, made of the inner product of their vectors. Each
//! is written once, and computed by the host element by element or by an accelerator for whole tensors.

/// A formula of two vectors whose inner product is known.
#[derive(Clone, Debug, PartialEq)]
pub enum Pairwise {
    /// `scale` times the inner product plus `shift`; `diagonal` for a vector and itself.
    Affine {
        /// What the inner product is multiplied by.
        scale: f32,
        /// What is added.
        shift: f32,
        /// The element of a vector and itself.
        diagonal: f32,
    },
    /// The squared Euclidean distance, from the squared lengths of all vectors. Infinity for a vector
    /// and itself, so that none is its own neighbour.
    SquaredDistance {
        /// The squared lengths, \[n\].
        squares: Vec<f64>,
    },
    /// Minus the Euclidean distance, at least 1e-6 away from 0.
    NegativeDistance {
        /// The squared lengths, \[n\].
        squares: Vec<f64>,
    },
}

/// Elements of a matrix of all pairs, one or many, while a formula is computed.
pub trait PairwiseElements: Sized {
    /// Returns `scale` times each plus `shift`.
    #[must_use]
    fn affine(self, scale: f32, shift: f32) -> Self;

    /// Returns the squared distances of pairs whose inner products these are, from the squared lengths
    /// of all vectors.
    #[must_use]
    fn squared_distances(self, squares: &[f64]) -> Self;

    /// Returns each, or `floor` where it is below it.
    #[must_use]
    fn at_least(self, floor: f64) -> Self;

    /// Returns minus the square root of each.
    #[must_use]
    fn negative_root(self) -> Self;
}

// Keeps a distance apart from the 0 of a sample and itself; DeepCore's floor under the squared one.
const FLOOR: f64 = 1e-12;

impl Pairwise {
    /// `(1 + cosine) / 2` of unit vectors: from 0 to 1, and 1 for a vector and itself.
    pub const SIMILARITY: Self = Self::Affine { scale: 0.5, shift: 0.5, diagonal: 1.0 };

    /// Returns the element of a vector and itself.
    #[must_use]
    pub fn diagonal(&self) -> f32 {
        match self {
            Self::Affine { diagonal, .. } => *diagonal,
            Self::SquaredDistance { .. } => f32::INFINITY,
            Self::NegativeDistance { .. } => -1e-6,
        }
    }

    /// Computes the formula off the diagonal, from the inner products.
    #[inline(always)]
    pub fn of<E: PairwiseElements>(&self, products: E) -> E {
        match self {
            Self::Affine { scale, shift, .. } => products.affine(*scale, *shift),
            Self::SquaredDistance { squares } => products.squared_distances(squares),
            Self::NegativeDistance { squares } => {
                products.squared_distances(squares).at_least(FLOOR).negative_root()
            }
        }
    }

    /// Turns `values`, the inner products of vector `j` with those from `start` on, into elements of
    /// row `j`.
    pub(crate) fn finish_row(&self, j: usize, start: usize, values: &mut [f32]) {
        for (at, value) in values.iter_mut().enumerate() {
            let i = start + at;
            *value = if i == j { self.diagonal() } else { self.element(j, i, *value) };
        }
    }

    /// Returns the element in row `j`, column `i`, of which `product` is the inner product.
    #[inline(always)]
    pub(crate) fn element(&self, j: usize, i: usize, product: f32) -> f32 {
        self.of(HostElement { j, i, value: product.into() }).value as f32
    }
}

/// One element on the host: distances are computed in f64.
#[derive(Clone, Copy)]
struct HostElement {
    j: usize,
    i: usize,
    value: f64,
}

impl PairwiseElements for HostElement {
    #[inline(always)]
    fn affine(self, scale: f32, shift: f32) -> Self {
        // In f32, as an accelerator does it.
        Self { value: (self.value as f32 * scale + shift).into(), ..self }
    }

    #[inline(always)]
    fn squared_distances(self, squares: &[f64]) -> Self {
        let value = squares[self.i] + squares[self.j] - 2.0 * self.value;
        Self { value, ..self }
    }

    #[inline(always)]
    fn at_least(self, floor: f64) -> Self {
        Self { value: self.value.max(floor), ..self }
    }

    #[inline(always)]
    fn negative_root(self) -> Self {
        Self { value: -self.value.sqrt(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Vectors (3, 4) and (0, 5): product 20, squared lengths 25 and 25, distance sqrt(10).
    #[test]
    fn formulas_worked_by_hand() {
        let squares = vec![25.0, 25.0];
        let distance = Pairwise::SquaredDistance { squares: squares.clone() };
        assert_eq!(distance.element(0, 1, 20.0), 10.0);
        let near = Pairwise::NegativeDistance { squares };
        assert_eq!(near.element(1, 0, 20.0), -(10f32.sqrt()));
        assert_eq!(near.element(1, 0, 25.0), -1e-6);
        assert_eq!(Pairwise::SIMILARITY.element(0, 1, -0.5), 0.25);
        let mut row = [0.5, 9.0, 1.0];
        Pairwise::SIMILARITY.finish_row(1, 0, &mut row);
        assert_eq!(row, [0.75, 1.0, 1.0]);
    }
}
