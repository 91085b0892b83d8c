//! Dense kernels on the CPU, on all cores, with the same bits on any number of them.
//!
//! Work is cut into tiles whose size depends on the problem alone; a sum over tiles is taken in
//! their order. Nothing here knows what a sample or a selector is.

mod accelerator;
mod cholesky;
mod clustered;
mod coverage;
mod cross_rows;
mod eigen;
mod gram;
mod k_means;
mod lanes;
mod neighbours;
mod nnls;
mod pairwise;
mod pairwise_rows;
mod prefetch;
mod rows;
#[cfg(test)]
pub(crate) mod stand_in;

pub use accelerator::{Accelerator, Compute, DEFAULT_MEMORY, DeviceRows, DeviceVectors};
pub(crate) use cholesky::PartialCholesky;
pub(crate) use clustered::{ClusterSearch, clustered_neighbours};
pub(crate) use coverage::CoverageGains;
pub(crate) use cross_rows::cross_rows;
pub(crate) use eigen::symmetric_eigen;
pub(crate) use gram::{Gram, weighted};
pub(crate) use k_means::{k_means, nearest_centres};
pub use lanes::in_widest;
pub(crate) use lanes::noise;
pub(crate) use lanes::{dot, excess, squared_distance};
pub(crate) use neighbours::{nearest_among, neighbours};
pub(crate) use nnls::{nonnegative, positive_solve};
pub use pairwise::{Pairwise, PairwiseElements};
pub(crate) use pairwise_rows::PairwiseRows;
pub(crate) use prefetch::{RowPrefetcher, largest};
pub(crate) use rows::{group_means, unit, unit_of};

use artifacts::Matrix;
use rayon::prelude::*;

/// Returns the dot product of every row of `matrix` with `vector`.
pub(crate) fn times(matrix: &Matrix<'_>, vector: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; matrix.rows()];
    out.par_iter_mut()
        .with_min_len(256)
        .enumerate()
        .for_each(|(i, out)| *out = dot(matrix.row(i), vector));
    out
}

/// Returns the sum of all rows of `matrix`, in f64. Tiles of rows are summed in order.
pub(crate) fn column_sums(matrix: &Matrix<'_>) -> Vec<f64> {
    let parts: Vec<Vec<f64>> = tiles(matrix.rows())
        .into_par_iter()
        .map(|tile| {
            let mut sums = vec![0.0; matrix.cols()];
            for i in tile {
                for (sum, value) in sums.iter_mut().zip(matrix.row(i)) {
                    *sum += f64::from(*value);
                }
            }
            sums
        })
        .collect();
    let mut total = vec![0.0; matrix.cols()];
    for part in parts {
        for (total, part) in total.iter_mut().zip(part) {
            *total += part;
        }
    }
    total
}

/// How many rows a tile has.
pub(crate) const TILE: usize = 256;

/// Returns `0..n` cut into tiles.
pub(crate) fn tiles(n: usize) -> Vec<std::ops::Range<usize>> {
    (0..n).step_by(TILE).map(|start| start..(start + TILE).min(n)).collect()
}

/// Writes `a` times the transpose of `b` into `out`, whose rows are `stride` apart: `a` is \[m, k\],
/// `b` is \[n, k\], both row-major. One thread; an element depends on its row of `a` and of `b` alone.
///
/// # Panics
///
/// Panics if a slice is too short for its shape.
pub(crate) fn gemm(
    (m, n, k): (usize, usize, usize),
    a: &[f32],
    b: &[f32],
    out: &mut [f32],
    stride: usize,
) {
    assert!(a.len() >= m * k && b.len() >= n * k, "the factors fill their shapes");
    let step = k.cast_signed();
    strided((m, n, k), (a, step, 1), (b, 1, step), (out, stride));
}

/// Returns the transpose of `a` times `b`, in f64: `a` is \[n, m\], `b` is \[n, k\], the result
/// \[m, k\], row-major. Tiles of rows are summed in order.
pub(crate) fn cross(a: &Matrix<'_>, b: &Matrix<'_>) -> Vec<f64> {
    assert_eq!(a.rows(), b.rows(), "the factors fit together");
    let (m, k) = (a.cols(), b.cols());
    let parts: Vec<Vec<f32>> = tiles(a.rows())
        .into_par_iter()
        .map(|tile| {
            let mut out = vec![0.0; m * k];
            let left = (&a.data()[tile.start * m..tile.end * m], 1, m.cast_signed());
            let right = (&b.data()[tile.start * k..tile.end * k], k.cast_signed(), 1);
            strided((m, k, tile.len()), left, right, (&mut out, k));
            out
        })
        .collect();
    let mut total = vec![0.0; m * k];
    for part in parts {
        for (total, part) in total.iter_mut().zip(part) {
            *total += f64::from(part);
        }
    }
    total
}

/// A matrix product on one thread. A factor is its elements, and how far apart rows and columns are.
#[expect(unsafe_code, reason = "the kernel takes pointers; every access is checked before")]
pub fn strided<T: Number>(
    (m, n, k): (usize, usize, usize),
    (a, a_row, a_col): (&[T], isize, isize),
    (b, b_row, b_col): (&[T], isize, isize),
    (out, stride): (&mut [T], usize),
) {
    if m == 0 || n == 0 {
        return;
    }
    let fits = |len: usize, rows: usize, cols: usize, row: isize, col: isize| {
        let last = (rows as isize - 1) * row + (cols as isize - 1) * col;
        rows == 0 || cols == 0 || (row >= 0 && col >= 0 && (last as usize) < len)
    };
    assert!(fits(a.len(), m, k, a_row, a_col) && fits(b.len(), k, n, b_row, b_col));
    assert!(stride >= n && out.len() >= (m - 1) * stride + n, "the product fits");
    // SAFETY: the assertions above keep every element the kernel touches inside its slice:
    // `a[i * a_row + t * a_col]`, `b[t * b_row + j * b_col]`, `out[i * stride + j]` for i < m,
    // j < n, t < k; `out` is borrowed mutably, so it overlaps neither factor.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride.cast_signed(),
            false,
            a.as_ptr(),
            a_col,
            a_row,
            b.as_ptr(),
            b_col,
            b_row,
            T::ZERO,
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// What matrices are made of.
pub trait Number: 'static {
    /// The number that adds nothing.
    const ZERO: Self;
    /// The number that multiplies to the same.
    const ONE: Self;
}

impl Number for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
}

impl Number for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
}

/// Returns `a` times the transpose of `b`: \[rows of a, rows of b\], row-major.
pub(crate) fn product(a: &Matrix<'_>, b: &Matrix<'_>) -> Vec<f32> {
    assert_eq!(a.cols(), b.cols(), "the factors fit together");
    let (k, n) = (a.cols(), b.rows());
    let mut out = vec![0.0; a.rows() * n];
    if n == 0 {
        return out;
    }
    out.par_chunks_mut(TILE * n).enumerate().for_each(|(tile, out)| {
        let (start, m) = (tile * TILE, out.len() / n);
        gemm((m, n, k), &a.data()[start * k..(start + m) * k], b.data(), out, n);
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::lanes::noise;

    #[test]
    fn a_product_is_the_sum_of_products() {
        for (m, n, k) in [(1, 1, 1), (300, 7, 5), (3, 70, 129), (257, 64, 33)] {
            let (a, b) = (noise(m * k, 1), noise(n * k, 2));
            let c = product(&Matrix::new(&a, m, k), &Matrix::new(&b, n, k));
            for i in 0..m {
                for j in 0..n {
                    let slow: f64 =
                        (0..k).map(|t| f64::from(a[i * k + t]) * f64::from(b[j * k + t])).sum();
                    assert!((f64::from(c[i * n + j]) - slow).abs() < 1e-5 * k as f64);
                }
            }
        }
    }

    #[test]
    fn sums_of_rows_worked_by_hand() {
        let matrix = Matrix::new(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3, 2);
        assert_eq!(column_sums(&matrix), [9.0, 12.0]);
        assert_eq!(cross(&Matrix::new(vec![0.0, 1.0, 2.0], 3, 1), &matrix), [13.0, 16.0]);
        assert_eq!(times(&matrix, &[1.0, -1.0]), [-1.0, -1.0, -1.0]);
        assert_eq!(matrix.gather(&[2, 0]).data(), [5.0, 6.0, 1.0, 2.0]);
    }
}
