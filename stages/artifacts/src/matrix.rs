//! A row-major matrix of f32: logits, embeddings, gradients.

use crate::{RowIndex, floats::Floats};
use rayon::prelude::*;
use std::borrow::Cow;

/// A row-major matrix, owned, borrowed, or memory-mapped from the store.
#[derive(Clone, Debug)]
pub struct Matrix<'a> {
    data: Elements<'a>,
    rows: usize,
    cols: usize,
}

/// The elements of a matrix.
#[derive(Clone, Debug)]
pub enum Elements<'a> {
    /// Those of another.
    Borrowed(&'a [f32]),
    /// Its own.
    Own(Floats),
}

impl Elements<'_> {
    fn all(&self) -> &[f32] {
        match self {
            Self::Borrowed(values) => values,
            Self::Own(values) => values,
        }
    }
}

impl<'a> From<&'a [f32]> for Elements<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self::Borrowed(values)
    }
}

impl<'a> From<&'a Vec<f32>> for Elements<'a> {
    fn from(values: &'a Vec<f32>) -> Self {
        Self::Borrowed(values)
    }
}

impl From<Vec<f32>> for Elements<'_> {
    fn from(values: Vec<f32>) -> Self {
        Self::Own(values.into())
    }
}

impl From<Floats> for Elements<'_> {
    fn from(values: Floats) -> Self {
        Self::Own(values)
    }
}

impl<'a> From<Cow<'a, [f32]>> for Elements<'a> {
    fn from(values: Cow<'a, [f32]>) -> Self {
        match values {
            Cow::Borrowed(values) => Self::Borrowed(values),
            Cow::Owned(values) => Self::Own(values.into()),
        }
    }
}

impl<'a> Matrix<'a> {
    /// Returns the matrix of `rows` rows whose elements are `data`, row by row.
    ///
    /// # Panics
    ///
    /// Panics if `data` does not fill the shape.
    pub fn new(data: impl Into<Elements<'a>>, rows: usize, cols: usize) -> Self {
        let data = data.into();
        assert_eq!(data.all().len(), rows * cols, "the elements fill the shape");
        Self { data, rows, cols }
    }

    /// Returns how many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns how many columns there are.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Returns the elements, row by row.
    #[must_use]
    pub fn data(&self) -> &[f32] {
        self.data.all()
    }

    /// Returns row `i`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.data.all()[i * self.cols..(i + 1) * self.cols]
    }

    /// Returns the same elements without owning them.
    pub fn view(&self) -> Matrix<'_> {
        Matrix { data: Elements::Borrowed(self.data()), rows: self.rows, cols: self.cols }
    }

    /// Returns the rows at `positions`, in that order; all of them in order are not copied.
    pub fn gather(&self, positions: &[impl RowIndex]) -> Matrix<'_> {
        let whole = positions.len() == self.rows
            && positions.iter().enumerate().all(|(i, position)| i == position.index());
        if whole {
            return self.view();
        }
        let mut data = Vec::with_capacity(positions.len() * self.cols);
        for position in positions {
            data.extend_from_slice(self.row(position.index()));
        }
        Matrix::new(data, positions.len(), self.cols)
    }

    /// Returns the first row that holds a NaN, or a number whose square an f32 cannot hold sums of.
    pub fn first_unusable(&self) -> Option<usize> {
        let cols = self.cols.max(1);
        let bad =
            self.data().par_iter().position_first(|value| value.is_nan() || value.abs() > 1e15);
        bad.map(|at| at / cols)
    }
}
