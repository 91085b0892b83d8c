//! The volume that picks span, as far as a query spans it too.

use super::{greedy::Objective, similarity::lifted};
use crate::linalg::{dot, positive_solve, strided};
use artifacts::Matrix;
use rayon::prelude::*;

/// `log det S_A - log det (S_A - eta^2 S_AQ S_Q^-1 S_QA)` with a ridge, as seen from the picks A so far.
///
/// A similarity (1 + cosine) / 2 is the inner product of vectors of d + 1 numbers. What of a sample x is
/// outside the span of the picks is `x' P x`, with `P` a matrix of that width: the identity at first, and
/// less `P x x' P / (ridge + x' P x)` after x was picked. The second determinant begins with what of the
/// identity the query leaves. So a pick costs O(n d), however many there are.
pub(super) struct QueryVolume {
    vectors: Matrix<'static>,
    alone: Outside,
    beyond_query: Outside,
    ridge: f64,
}

/// What of each sample is outside a span.
struct Outside {
    /// \[width, width\], symmetric.
    projection: Vec<f64>,
    /// `x' P x` for each sample x.
    parts: Vec<f64>,
}

impl Outside {
    fn new(vectors: &Matrix<'_>, projection: Vec<f64>) -> Self {
        let width = vectors.cols();
        let part = |i: usize| {
            let row = vectors.row(i);
            let inner =
                |p: &[f64]| -> f64 { row.iter().zip(p).map(|(x, p)| f64::from(*x) * p).sum() };
            let products = row.iter().zip(projection.chunks_exact(width));
            products.map(|(x, p)| f64::from(*x) * inner(p)).sum()
        };
        let parts = (0..vectors.rows()).into_par_iter().with_min_len(64).map(part).collect();
        Self { projection, parts }
    }

    /// Returns `P x`, divided so that the square of a sample's product with it is what the sample loses,
    /// and takes x out of `P`.
    fn remove(&mut self, x: &[f32], part: f64, ridge: f64) -> Vec<f32> {
        let width = x.len();
        let inner = |p: &[f64]| -> f64 { x.iter().zip(p).map(|(x, p)| f64::from(*x) * p).sum() };
        let divisor = ridge + part;
        // Nothing of it is outside: it takes nothing from anyone.
        let scale = if divisor > f64::EPSILON { divisor.sqrt().recip() } else { 0.0 };
        let image: Vec<f64> =
            self.projection.chunks_exact(width).map(|p| scale * inner(p)).collect();
        for (row, a) in self.projection.chunks_exact_mut(width).zip(&image) {
            for (value, b) in row.iter_mut().zip(&image) {
                *value -= a * b;
            }
        }
        image.into_iter().map(|value| value as f32).collect()
    }
}

/// Returns the transpose of `rows` times `rows`, in f64 throughout.
fn square(rows: &Matrix<'_>) -> Vec<f64> {
    let width = rows.cols();
    let mut sum = vec![0.0; width * width];
    let mut part = vec![0.0; width * width];
    let step = width.cast_signed();
    for chunk in rows.data().chunks(ROWS_AT_ONCE * width) {
        let chunk: Vec<f64> = chunk.iter().map(|value| f64::from(*value)).collect();
        let shape = (width, width, chunk.len() / width);
        strided(shape, (&chunk, 1, step), (&chunk, step, 1), (&mut part, width));
        sum.iter_mut().zip(&part).for_each(|(sum, part)| *sum += part);
    }
    sum
}

/// How many rows are multiplied at once.
const ROWS_AT_ONCE: usize = 1024;

/// Returns `(1 - eta^2) I + eta^2 ridge (ridge I + sum_q q q')^-1`, which is what a query leaves of the
/// identity.
fn left_by(query: &Matrix<'_>, eta: f64, ridge: f64) -> Vec<f64> {
    let width = query.cols();
    let column = |at: usize| -> Vec<f64> { (0..width).map(|i| f64::from(i == at)).collect() };
    // Above what rounding leaves of 0, so that there is an inverse: a projection is the limit.
    let ridge = ridge.max(1e-9 * query.rows() as f64);
    let mut gram = square(query);
    (0..width).for_each(|at| gram[at * width + at] += ridge);
    let inverse = positive_solve(gram, (0..width).map(column).collect());
    let inverse = inverse.expect("a square with a ridge is positive definite");
    let entry = |at: usize, other: usize| {
        let identity = if at == other { 1.0 - eta * eta } else { 0.0 };
        identity + eta * eta * ridge * f64::midpoint(inverse[at][other], inverse[other][at])
    };
    (0..width * width).map(|at| entry(at / width, at % width)).collect()
}

impl QueryVolume {
    /// Starts with nothing picked from `pool`; its rows and those of `query` are unit vectors.
    pub(super) fn new(pool: &Matrix<'_>, query: &Matrix<'_>, eta: f64, ridge: f64) -> Self {
        let vectors = lifted(pool);
        let width = vectors.cols();
        let identity = (0..width * width).map(|at| f64::from(at / width == at % width)).collect();
        let alone = Outside::new(&vectors, identity);
        let beyond_query = Outside::new(&vectors, left_by(&lifted(query), eta, ridge));
        Self { vectors, alone, beyond_query, ridge }
    }
}

impl Objective for QueryVolume {
    fn len(&self) -> usize {
        self.vectors.rows()
    }

    fn batch(&self) -> Option<[usize; 2]> {
        None
    }

    fn gains(&mut self, places: &[u32]) -> Vec<f64> {
        let floor = self.ridge.max(f64::EPSILON);
        // Rounding may leave a little below nothing.
        let volume = |outside: &Outside, at: usize| (floor + outside.parts[at].max(0.0)).ln();
        let gain = |place: &u32| {
            let at = *place as usize;
            volume(&self.alone, at) - volume(&self.beyond_query, at)
        };
        places.iter().map(gain).collect()
    }

    fn choose(&mut self, place: usize) {
        let x = self.vectors.row(place).to_vec();
        let (alone, beyond) = (&mut self.alone, &mut self.beyond_query);
        let first = alone.remove(&x, alone.parts[place].max(0.0), self.ridge);
        let second = beyond.remove(&x, beyond.parts[place].max(0.0), self.ridge);
        let vectors = &self.vectors;
        let parts = alone.parts.par_iter_mut().zip(&mut beyond.parts).with_min_len(256);
        parts.enumerate().for_each(|(i, (alone, beyond))| {
            let row = vectors.row(i);
            *alone -= f64::from(dot(row, &first)).powi(2);
            *beyond -= f64::from(dot(row, &second)).powi(2);
        });
    }
}
