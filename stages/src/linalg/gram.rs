//! Inner products between all pairs of n vectors, a block of rows at a time, held while they fit.
//!
//! Every block is computed with the same tile shapes, so that a row has the same bits whether the
//! whole matrix is held, the row is asked for alone, or its neighbours in the block are others.

use super::{Matrix, TILE, cross, gemm};
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many rows are computed together.
pub(crate) const BLOCK: usize = 64;

// A limit on memory changes how results are computed, never which: it is no setting of a method.
static MEMORY: AtomicUsize = AtomicUsize::new(4 << 30);

/// Sets how many bytes a matrix of all pairs may take before it is computed in tiles instead.
/// Results do not depend on it.
pub fn set_memory(bytes: usize) {
    MEMORY.store(bytes, Ordering::Relaxed);
}

/// The products, over one or several spaces, of the inner products of n vectors: with one space a
/// Gram matrix, with two that of outer products `u ⊗ v`, which are never built.
pub(crate) struct Gram<'a> {
    spaces: Vec<Matrix<'a>>,
}

impl<'a> Gram<'a> {
    /// # Panics
    ///
    /// Panics if there is no space, or the spaces hold different numbers of vectors.
    pub(crate) fn new(spaces: Vec<Matrix<'a>>) -> Self {
        assert!(!spaces.is_empty() && spaces.iter().all(|one| one.rows() == spaces[0].rows()));
        Self { spaces }
    }

    /// How many vectors.
    pub(crate) fn len(&self) -> usize {
        self.spaces[0].rows()
    }

    pub(crate) fn spaces(&self) -> &[Matrix<'a>] {
        &self.spaces
    }

    /// Writes the products of vectors `rows` (at most [`BLOCK`]) with vectors `start..start + width`,
    /// at most a tile of them, into `out`, rows `stride` apart.
    fn tile(&self, rows: &Gathered, start: usize, width: usize, out: &mut [f32], stride: usize) {
        let mut other = vec![0.0; if self.spaces.len() > 1 { BLOCK * width } else { 0 }];
        for (at, (space, gathered)) in self.spaces.iter().zip(&rows.spaces).enumerate() {
            let k = space.cols();
            let right = &space.data()[start * k..(start + width) * k];
            // Always a whole block of rows: the kernel then takes the same path for each.
            let shape = (BLOCK, width, k);
            if at == 0 && rows.count == BLOCK {
                gemm(shape, gathered, right, out, stride);
            } else if at == 0 {
                let mut whole = vec![0.0; BLOCK * width];
                gemm(shape, gathered, right, &mut whole, width);
                for (row, whole) in whole.chunks_exact(width).take(rows.count).enumerate() {
                    out[row * stride..row * stride + width].copy_from_slice(whole);
                }
            } else {
                gemm(shape, gathered, right, &mut other, width);
                for (row, other) in other.chunks_exact(width).take(rows.count).enumerate() {
                    let out = &mut out[row * stride..row * stride + width];
                    for (out, other) in out.iter_mut().zip(other) {
                        *out *= other;
                    }
                }
            }
        }
    }

    /// Returns the products of vector `j` with all, at the cost of reading them once. Its last bits
    /// are not those of a tile: a caller takes rows from here or from tiles, never both.
    pub(crate) fn single_row(&self, j: usize) -> Vec<f32> {
        let mut row = self.spaces[0].times(self.spaces[0].row(j));
        for space in &self.spaces[1..] {
            for (value, other) in row.iter_mut().zip(space.times(space.row(j))) {
                *value *= other;
            }
        }
        row
    }

    /// Returns, for every vector, the sum of its products with all of them, itself included. No
    /// pair is visited: the sum is taken inside the product.
    pub(crate) fn row_sums(&self) -> Vec<f64> {
        match &self.spaces[..] {
            [space] => weighted(space, None, &space.column_sums()),
            [left, right] => weighted(right, Some(left), &cross(left, right)),
            _ => {
                let all: Vec<u32> = (0..self.len() as u32).collect();
                let sum = |values: &[f32]| values.iter().map(|v| f64::from(*v)).sum::<f64>();
                let blocks = self.map_tiles(&all, |_, _, width, out| {
                    out.chunks_exact(width).map(sum).collect::<Vec<f64>>()
                });
                let rows = |tiles: Vec<Vec<f64>>| {
                    let count = tiles.first().map_or(0, Vec::len);
                    let row = |at: usize| tiles.iter().map(|tile| tile[at]).sum::<f64>();
                    (0..count).map(row).collect::<Vec<f64>>()
                };
                blocks.into_iter().flat_map(rows).collect()
            }
        }
    }

    fn gathered(&self, rows: &[u32]) -> Gathered {
        let spaces = self.spaces.iter().map(|space| {
            let mut data = Vec::with_capacity(BLOCK * space.cols());
            for row in rows {
                data.extend_from_slice(space.row(*row as usize));
            }
            data.resize(BLOCK * space.cols(), 0.0);
            data
        });
        Gathered { count: rows.len(), spaces: spaces.collect() }
    }

    /// Calls `each` for every block of `rows` (of at most [`BLOCK`]) and every tile of vectors, in
    /// order within a block and in parallel over blocks, or over tiles if there is one block.
    /// `each` gets the block's rows, the tile's first vector, and the products, rows `width` apart;
    /// it may change them in place. What it returns comes back by block, then by tile.
    pub(crate) fn map_tiles<T: Send>(
        &self,
        rows: &[u32],
        each: impl Fn(&[u32], usize, usize, &mut [f32]) -> T + Sync,
    ) -> Vec<Vec<T>> {
        let n = self.len();
        let blocks: Vec<(&[u32], Gathered)> =
            if rows.len() <= BLOCK { vec![(rows, self.gathered(rows))] } else { vec![] };
        let run = |block: &[u32], gathered: &Gathered, start: usize| {
            let width = TILE.min(n - start);
            let mut out = vec![0.0; block.len() * width];
            self.tile(gathered, start, width, &mut out, width);
            each(block, start, width, &mut out)
        };
        if let [(block, gathered)] = &blocks[..] {
            let starts: Vec<usize> = (0..n).step_by(TILE).collect();
            let tiles = starts.into_par_iter().map(|start| run(block, gathered, start));
            return vec![tiles.collect()];
        }
        rows.par_chunks(BLOCK)
            .map(|block| {
                let gathered = self.gathered(block);
                (0..n).step_by(TILE).map(|start| run(block, &gathered, start)).collect()
            })
            .collect()
    }
}

/// Returns `l_i' W r_i` for every row i, where `W` is \[cols of left, cols of right\]; with no `left`
/// its vectors are taken as 1.
pub(crate) fn weighted(right: &Matrix<'_>, left: Option<&Matrix<'_>>, w: &[f64]) -> Vec<f64> {
    let cols = right.cols();
    (0..right.rows())
        .into_par_iter()
        .with_min_len(64)
        .map(|i| {
            let inner = |w: &[f64]| -> f64 {
                right.row(i).iter().zip(w).map(|(value, w)| f64::from(*value) * w).sum()
            };
            match left {
                None => inner(w),
                Some(left) => {
                    let parts = left.row(i).iter().zip(w.chunks_exact(cols));
                    parts.map(|(value, w)| f64::from(*value) * inner(w)).sum()
                }
            }
        })
        .collect()
}

/// The vectors of one block, padded with zeros to [`BLOCK`].
struct Gathered {
    count: usize,
    spaces: Vec<Vec<f32>>,
}

/// Rows of a matrix made from a [`Gram`] element by element, held whole while that fits in memory.
pub(crate) struct Rows<'a, F> {
    gram: Gram<'a>,
    entry: F,
    held: Option<Vec<f32>>,
}

impl<'a, F: Fn(usize, usize, f32) -> f32 + Sync> Rows<'a, F> {
    /// `entry(j, i, product)` is the element in row `j`, column `i`.
    pub(crate) fn new(gram: Gram<'a>, entry: F) -> Self {
        Self { gram, entry, held: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.gram.len()
    }

    /// Computes the whole matrix now if it fits in memory, for a caller that asks for rows again
    /// and again.
    pub(crate) fn hold(&mut self) {
        let n = self.len();
        let bytes = n.saturating_mul(n).saturating_mul(size_of::<f32>());
        if self.held.is_some() || bytes > MEMORY.load(Ordering::Relaxed) {
            return;
        }
        let mut all = vec![0.0; n * n];
        all.par_chunks_mut((BLOCK * n).max(1)).enumerate().for_each(|(block, out)| {
            let first = block * BLOCK;
            let rows: Vec<u32> = (first..first + out.len() / n).map(|row| row as u32).collect();
            let gathered = self.gram.gathered(&rows);
            for start in (0..n).step_by(TILE) {
                let width = TILE.min(n - start);
                self.gram.tile(&gathered, start, width, &mut out[start..], n);
            }
            for (row, out) in rows.iter().zip(out.chunks_exact_mut(n)) {
                for (i, value) in out.iter_mut().enumerate() {
                    *value = (self.entry)(*row as usize, i, *value);
                }
            }
        });
        self.held = Some(all);
    }

    /// Returns row `j`.
    pub(crate) fn row(&self, j: usize) -> Vec<f32> {
        if let Some(held) = &self.held {
            return held[j * self.len()..(j + 1) * self.len()].to_vec();
        }
        let tiles = self.gram.map_tiles(&[j as u32], |_, start, _, out| {
            for (i, value) in out.iter_mut().enumerate() {
                *value = (self.entry)(j, start + i, *value);
            }
            out.to_vec()
        });
        tiles.into_iter().flatten().flatten().collect()
    }

    /// Returns, for each of `rows`, what `join` makes of `each(row, first, values)` over the tiles of
    /// the row, in order, where `values` begin at column `first`.
    pub(crate) fn fold(
        &self,
        rows: &[u32],
        each: impl Fn(usize, usize, &[f32]) -> f64 + Sync,
        join: impl Fn(f64, f64) -> f64 + Sync,
    ) -> Vec<f64> {
        if let Some(held) = &self.held {
            let n = self.len();
            return rows
                .par_iter()
                .map(|row| {
                    let row = *row as usize;
                    let tiles = held[row * n..(row + 1) * n].chunks(TILE).enumerate();
                    let parts = tiles.map(|(tile, values)| each(row, tile * TILE, values));
                    parts.reduce(&join).unwrap_or_default()
                })
                .collect();
        }
        let blocks = self.gram.map_tiles(rows, |block, start, width, out| {
            let rows = block.iter().zip(out.chunks_exact_mut(width));
            let parts = rows.map(|(row, values)| {
                let row = *row as usize;
                for (i, value) in values.iter_mut().enumerate() {
                    *value = (self.entry)(row, start + i, *value);
                }
                each(row, start, values)
            });
            parts.collect::<Vec<f64>>()
        });
        let mut all = Vec::with_capacity(rows.len());
        for tiles in blocks {
            let count = tiles.first().map_or(0, Vec::len);
            all.extend(
                (0..count).map(|row| {
                    tiles.iter().map(|tile| tile[row]).reduce(&join).unwrap_or_default()
                }),
            );
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::{dot, lanes::noise};

    #[test]
    fn a_row_has_the_same_bits_however_it_is_asked_for() {
        let (n, d, c) = (700, 513, 3);
        let (x, r) = (noise(n * d, 1), noise(n * c, 2));
        let gram = || Gram::new(vec![Matrix::new(&r, n, c), Matrix::new(&x, n, d)]);
        let mut held = Rows::new(gram(), |_, _, v| v * 2.0);
        held.hold();
        let loose = Rows::new(gram(), |_, _, v| v * 2.0);
        assert!(held.held.is_some() && loose.held.is_none());
        for j in [0, 63, 64, 100, 699] {
            assert_eq!(held.row(j), loose.row(j));
        }
        let by_hand: f64 = loose.row(5).iter().map(|v| f64::from(*v)).sum();
        assert!((gram().row_sums()[5] * 2.0 - by_hand).abs() < 1e-2);
        let slow = f64::from(dot(&x[..d], &x[d..2 * d])) * f64::from(dot(&r[..c], &r[c..2 * c]));
        assert!((f64::from(held.row(0)[1]) - 2.0 * slow).abs() < 1e-3);
        // Symmetric to the bit, too: a column is a row.
        assert_eq!(held.row(3)[600].to_bits(), held.row(600)[3].to_bits());

        let sum = |_: usize, _: usize, values: &[f32]| -> f64 {
            values.iter().map(|v| f64::from(*v)).sum()
        };
        for rows in [vec![5u32], (0..700).rev().step_by(3).collect()] {
            let add = |a: f64, b: f64| a + b;
            assert_eq!(held.fold(&rows, sum, add), loose.fold(&rows, sum, add));
        }
    }
}
