//! Inner products between all pairs of n vectors, a block of rows at a time.
//!
//! Tiles have the same shapes but for a multiple of rows, so that a row has the same bits whether the
//! whole matrix is held, the row is asked for alone, or its neighbours in the block are others.

use super::{Compute, DeviceVectors, TILE, column_sums, cross, gemm, tiles};
use artifacts::Matrix;
use rayon::prelude::*;

/// How many rows are computed together at least.
pub(super) const BLOCK: usize = 64;
/// And how many where there are more: every tile of vectors is then read and laid out less often.
const MANY: usize = 4 * BLOCK;

/// The products, over one or several spaces, of the inner products of n vectors: with one space a
/// Gram matrix, with two that of outer products `u ⊗ v`, which are never built.
pub(crate) struct Gram<'a> {
    spaces: Vec<Matrix<'a>>,
    /// The same vectors in an accelerator's memory, where that is faster.
    on_device: Option<Box<dyn DeviceVectors>>,
    /// Where that is: the host, unless the vectors were uploaded.
    compute: Compute,
}

impl<'a> Gram<'a> {
    /// # Panics
    ///
    /// Panics if there is no space, or the spaces hold different numbers of vectors.
    pub(crate) fn new(spaces: Vec<Matrix<'a>>) -> Self {
        assert!(!spaces.is_empty() && spaces.iter().all(|one| one.rows() == spaces[0].rows()));
        Self { spaces, on_device: None, compute: Compute::default() }
    }

    /// Has products of single vectors with all, and with `pairs` those of all pairs, computed by the
    /// accelerator of `compute`, where that is faster.
    pub(crate) fn on(mut self, compute: &Compute, pairs: bool) -> Self {
        self.on_device = compute.upload(&self.spaces, pairs);
        if self.on_device.is_some() {
            self.compute = compute.clone();
        }
        self
    }

    /// Returns where products are computed.
    pub(crate) fn compute(&self) -> &Compute {
        &self.compute
    }

    /// Returns the vectors in the accelerator's memory, if products are computed there.
    pub(crate) fn on_device(&self) -> Option<&dyn DeviceVectors> {
        self.on_device.as_deref()
    }

    /// How many vectors.
    pub(crate) fn len(&self) -> usize {
        self.spaces[0].rows()
    }

    pub(crate) fn spaces(&self) -> &[Matrix<'a>] {
        &self.spaces
    }

    /// Writes the products of vectors `rows` with vectors `start..start + width`, at most a tile of
    /// them, into `out`, rows `stride` apart.
    pub(super) fn tile(
        &self,
        rows: &Gathered,
        start: usize,
        width: usize,
        out: &mut [f32],
        stride: usize,
    ) {
        let padded = rows.padded();
        let mut other = vec![0.0; if self.spaces.len() > 1 { padded * width } else { 0 }];
        for (at, (space, gathered)) in self.spaces.iter().zip(&rows.spaces).enumerate() {
            let k = space.cols();
            let right = &space.data()[start * k..(start + width) * k];
            // Always whole blocks of rows: the kernel then takes the same path for each.
            let shape = (padded, width, k);
            if at == 0 && rows.count == padded {
                gemm(shape, gathered, right, out, stride);
            } else if at == 0 {
                let mut whole = vec![0.0; padded * width];
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

    /// Returns the products of each of `vectors` with all, one row after the other. Their last bits
    /// depend on how many are asked for together, and are not those of a tile.
    pub(crate) fn rows(&self, vectors: &[u32]) -> Vec<f32> {
        if let Some(on_device) = &self.on_device {
            let row = |j: &u32| {
                let parts = self.spaces.iter().map(|space| space.row(*j as usize)).enumerate();
                on_device.times(&parts.collect::<Vec<_>>())
            };
            return vectors.iter().flat_map(row).collect();
        }
        let (n, m) = (self.len(), vectors.len());
        let own: Vec<Matrix<'_>> = self.spaces.iter().map(|space| space.gather(vectors)).collect();
        let parts = tiles(n).into_par_iter().map(|tile| {
            let (mut out, mut other) = (vec![0.0; m * tile.len()], vec![0.0; m * tile.len()]);
            for (at, (space, own)) in self.spaces.iter().zip(&own).enumerate() {
                let k = space.cols();
                let right = &space.data()[tile.start * k..tile.end * k];
                let product = if at == 0 { &mut out } else { &mut other };
                gemm((m, tile.len(), k), own.data(), right, product, tile.len());
                if at > 0 {
                    out.iter_mut().zip(&other).for_each(|(out, other)| *out *= other);
                }
            }
            (tile, out)
        });
        let mut rows = vec![0.0; m * n];
        for (tile, part) in parts.collect::<Vec<_>>() {
            for (row, part) in rows.chunks_exact_mut(n).zip(part.chunks_exact(tile.len())) {
                row[tile.clone()].copy_from_slice(part);
            }
        }
        rows
    }

    /// Returns, for every vector, the sum of its products with all of them, itself included. No
    /// pair is visited: the sum is taken inside the product.
    pub(crate) fn row_sums(&self) -> Vec<f64> {
        match &self.spaces[..] {
            [space] => weighted(space, None, &column_sums(space)),
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

    pub(super) fn gathered(&self, rows: &[u32]) -> Gathered {
        let padded = padded(rows.len());
        let spaces = self.spaces.iter().map(|space| {
            let mut data = Vec::with_capacity(padded * space.cols());
            for row in rows {
                data.extend_from_slice(space.row(*row as usize));
            }
            data.resize(padded * space.cols(), 0.0);
            data
        });
        Gathered { count: rows.len(), spaces: spaces.collect() }
    }

    /// Calls `each` for every block of `rows` (of at most [`MANY`]) and every tile of vectors, in
    /// order within a block and in parallel over blocks, or over tiles if there is one block.
    /// `each` gets the block's rows, the tile's first vector, and the products, rows `width` apart;
    /// it may change them in place. What it returns comes back by block, then by tile.
    pub(crate) fn map_tiles<T: Send>(
        &self,
        rows: &[u32],
        each: impl Fn(&[u32], usize, usize, &mut [f32]) -> T + Sync,
    ) -> Vec<Vec<T>> {
        let n = self.len();
        if rows.len() <= BLOCK {
            let gathered = self.gathered(rows);
            let tile = |start: usize| {
                let width = TILE.min(n - start);
                let mut out = vec![0.0; rows.len() * width];
                self.tile(&gathered, start, width, &mut out, width);
                each(rows, start, width, &mut out)
            };
            let starts: Vec<usize> = (0..n).step_by(TILE).collect();
            return vec![starts.into_par_iter().map(tile).collect()];
        }
        let block = |block: &[u32]| {
            let gathered = self.gathered(block);
            let mut out = vec![0.0; block.len() * TILE.min(n)];
            let tile = |start: usize| {
                let width = TILE.min(n - start);
                let out = &mut out[..block.len() * width];
                self.tile(&gathered, start, width, out, width);
                each(block, start, width, out)
            };
            (0..n).step_by(TILE).map(tile).collect()
        };
        rows.par_chunks(MANY).map(block).collect()
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

/// The vectors of one block, padded with zeros to a multiple of [`BLOCK`].
pub(super) struct Gathered {
    count: usize,
    spaces: Vec<Vec<f32>>,
}

impl Gathered {
    fn padded(&self) -> usize {
        padded(self.count)
    }
}

fn padded(count: usize) -> usize {
    count.next_multiple_of(BLOCK)
}
