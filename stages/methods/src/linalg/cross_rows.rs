//! Inner products between the rows of one matrix and all rows of another.

use super::{TILE, gemm, gram::BLOCK};
use artifacts::Matrix;
use rayon::prelude::*;

/// Returns the products of `rows` of `a` with all rows of `b`, \[rows, rows of b\]. They have the same bits
/// however many rows are asked for together: a product is always of whole blocks, as in a `Gram`.
///
/// # Panics
///
/// Panics if the matrices have different widths.
pub(crate) fn cross_rows(a: &Matrix<'_>, rows: &[u32], b: &Matrix<'_>) -> Vec<f32> {
    assert_eq!(a.cols(), b.cols(), "the factors fit together");
    let (n, k) = (b.rows(), a.cols());
    let blocks: Vec<Vec<f32>> = rows.chunks(BLOCK).map(|rows| block_of(a, rows)).collect();
    let tiles: Vec<(usize, usize)> =
        (0..blocks.len()).flat_map(|at| (0..n).step_by(TILE).map(move |from| (at, from))).collect();
    let part = |(at, from): &(usize, usize)| {
        let width = TILE.min(n - from);
        let mut out = vec![0.0; BLOCK * width];
        let right = &b.data()[from * k..(from + width) * k];
        gemm((BLOCK, width, k), &blocks[*at], right, &mut out, width);
        out
    };
    let mut all = vec![0.0; rows.len() * n];
    // So many at once lie beside the result at most.
    for some in tiles.chunks(4 * TILE) {
        let parts: Vec<Vec<f32>> = some.par_iter().map(part).collect();
        for ((at, from), part) in some.iter().zip(parts) {
            let width = TILE.min(n - from);
            let rows = all[at * BLOCK * n..].chunks_mut(n.max(1)).take(BLOCK);
            for (row, part) in rows.zip(part.chunks_exact(width)) {
                row[*from..from + width].copy_from_slice(part);
            }
        }
    }
    all
}

/// Returns `rows` of `a`, filled up with zeros to a whole block.
fn block_of(a: &Matrix<'_>, rows: &[u32]) -> Vec<f32> {
    let mut data = Vec::with_capacity(BLOCK * a.cols());
    rows.iter().for_each(|row| data.extend_from_slice(a.row(*row as usize)));
    data.resize(BLOCK * a.cols(), 0.0);
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::noise;

    #[test]
    fn a_row_has_the_same_bits_however_it_is_asked_for() {
        let (m, n, k) = (150, 300, 33);
        let (a, b) = (noise(m * k, 1), noise(n * k, 2));
        let (a, b) = (Matrix::new(&a[..], m, k), Matrix::new(&b[..], n, k));
        let all: Vec<u32> = (0..m as u32).collect();
        let whole = cross_rows(&a, &all, &b);
        for i in [0, 63, 64, 149] {
            let row = &whole[i * n..(i + 1) * n];
            assert_eq!(cross_rows(&a, &[7, i as u32], &b)[n..], *row);
            for j in [0, 255, 256, 299] {
                let slow: f64 =
                    (0..k).map(|t| f64::from(a.row(i)[t]) * f64::from(b.row(j)[t])).sum();
                assert!((f64::from(row[j]) - slow).abs() < 1e-5);
            }
        }
        assert!(cross_rows(&a, &[], &b).is_empty());
    }
}
