//! Rows of a matrix made from inner products, element by element.

use super::{DeviceVectors, Gram, Pairwise, TILE, gram::BLOCK};
use rayon::prelude::*;
use std::borrow::Cow;

/// Rows of the matrix of all pairs that a formula makes of a [`Gram`]. They have the same bits however
/// they are asked for and whether they are held or not.
pub(crate) struct PairwiseRows<'a> {
    gram: Gram<'a>,
    formula: Pairwise,
    /// The whole matrix.
    held: Option<Vec<f32>>,
}

/// How many rows an accelerator computes together.
const DEVICE_BLOCK: usize = 1024;

impl<'a> PairwiseRows<'a> {
    pub(crate) fn new(gram: Gram<'a>, formula: Pairwise) -> Self {
        Self { gram, formula, held: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.gram.len()
    }

    /// Returns the vectors in an accelerator's memory and the formula, if rows are computed there.
    pub(super) fn on_device(&self) -> Option<(&dyn DeviceVectors, &Pairwise)> {
        self.gram.on_device().map(|vectors| (vectors, &self.formula))
    }

    /// Returns whether the whole matrix is held in memory.
    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Returns how many rows are worth asking for at once: at first, and at most where many are needed.
    pub(crate) fn batch(&self) -> [usize; 2] {
        match (self.on_device(), self.is_held()) {
            (Some(_), _) => [2 * DEVICE_BLOCK, 16 * DEVICE_BLOCK],
            (None, true) => [BLOCK; 2],
            (None, false) => [BLOCK, 8 * BLOCK],
        }
    }

    /// Computes the whole matrix now, for a caller that asks for rows again and again, if it fits
    /// into `room` bytes. Returns what is left of the room. An accelerator computes rows anew each time.
    pub(crate) fn hold(&mut self, room: usize) -> usize {
        let n = self.len();
        let whole = n.saturating_mul(n).saturating_mul(size_of::<f32>());
        if self.on_device().is_some() || whole > room {
            return room;
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
                self.formula.finish_row(*row as usize, 0, out);
            }
        });
        self.held = Some(all);
        room - whole
    }

    /// Returns row `j`.
    pub(crate) fn row(&self, j: u32) -> Cow<'_, [f32]> {
        if let Some((vectors, formula)) = self.on_device() {
            return vectors.row(formula, j).into();
        }
        if let Some(all) = &self.held {
            return all[j as usize * self.len()..][..self.len()].into();
        }
        self.fold(&[j], |_, values| values.to_vec(), joined).swap_remove(0).into()
    }

    /// Calls `each` for every one of `rows`, in order: with its position among them, and its elements.
    pub(crate) fn for_each(&self, rows: &[u32], mut each: impl FnMut(usize, &[f32])) {
        if self.on_device().is_some() || self.is_held() {
            return rows.iter().enumerate().for_each(|(at, j)| each(at, &self.row(*j)));
        }
        for (block, rows) in rows.chunks(BLOCK).enumerate() {
            let all = self.fold(rows, |_, values| values.to_vec(), joined);
            all.iter().enumerate().for_each(|(at, row)| each(block * BLOCK + at, row));
        }
    }

    /// Returns the smallest of all elements.
    pub(crate) fn least(&self) -> f32 {
        if let Some((vectors, formula)) = self.on_device() {
            return vectors.least(formula);
        }
        let all: Vec<u32> = (0..self.len() as u32).collect();
        let least = |_: usize, row: &[f32]| row.iter().copied().fold(f32::INFINITY, f32::min);
        self.fold(&all, least, f32::min).into_iter().fold(f32::INFINITY, f32::min)
    }

    /// Returns, for each of `rows`, what `join` makes of `each(first, values)` over the tiles of the
    /// row, in order, where `values` begin at column `first`.
    pub(super) fn fold<T: Default + Send>(
        &self,
        rows: &[u32],
        each: impl Fn(usize, &[f32]) -> T + Sync,
        join: impl Fn(T, T) -> T + Sync,
    ) -> Vec<T> {
        if let Some(all) = &self.held {
            let row = |j: &u32| {
                let tiles = all[*j as usize * self.len()..][..self.len()].chunks(TILE).enumerate();
                let parts = tiles.map(|(tile, values)| each(tile * TILE, values));
                parts.reduce(&join).unwrap_or_default()
            };
            return rows.par_iter().map(row).collect();
        }
        let blocks = self.gram.map_tiles(rows, |block, start, width, out| {
            let rows = block.iter().zip(out.chunks_exact_mut(width));
            let parts = rows.map(|(row, values)| {
                self.formula.finish_row(*row as usize, start, values);
                each(start, values)
            });
            parts.collect::<Vec<T>>()
        });
        let joined = |tiles: Vec<Vec<T>>| {
            let whole = tiles.into_iter().reduce(|rows, tile| {
                rows.into_iter().zip(tile).map(|(row, part)| join(row, part)).collect()
            });
            whole.unwrap_or_default()
        };
        blocks.into_iter().flat_map(joined).collect()
    }
}

fn joined(mut row: Vec<f32>, more: Vec<f32>) -> Vec<f32> {
    row.extend(more);
    row
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::linalg::{dot, lanes::noise};
    use artifacts::Matrix;

    /// Twice the products, and 1/4 on the diagonal.
    pub(in super::super) const TWICE: Pairwise =
        Pairwise::Affine { scale: 2.0, shift: 0.0, diagonal: 0.25 };

    #[test]
    fn a_row_has_the_same_bits_however_it_is_asked_for() {
        let (n, d, c) = (700, 513, 3);
        let (x, r) = (noise(n * d, 1), noise(n * c, 2));
        let gram = || Gram::new(vec![Matrix::new(&r, n, c), Matrix::new(&x, n, d)]);
        let mut held = PairwiseRows::new(gram(), TWICE);
        assert_eq!(held.hold(n * n * 4 + 7), 7);
        let mut loose = PairwiseRows::new(gram(), TWICE);
        assert_eq!(loose.hold(n * n * 4 - 1), n * n * 4 - 1);
        for j in [0, 63, 64, 100, 699] {
            assert_eq!(held.row(j), loose.row(j));
            assert_eq!(held.row(j)[j as usize], TWICE.diagonal());
        }
        let by_hand: f64 = loose.row(5).iter().map(|v| f64::from(*v)).sum::<f64>() - 0.25;
        let itself: f64 = gram().rows(&[5])[5].into();
        assert!(((gram().row_sums()[5] - itself) * 2.0 - by_hand).abs() < 1e-2);
        let slow = f64::from(dot(&x[..d], &x[d..2 * d])) * f64::from(dot(&r[..c], &r[c..2 * c]));
        assert!((f64::from(held.row(0)[1]) - 2.0 * slow).abs() < 1e-3);
        // Symmetric to the bit, too: a column is a row.
        assert_eq!(held.row(3)[600].to_bits(), held.row(600)[3].to_bits());
        // Many rows are computed block by block, a few tile by tile.
        let firsts = |rows: &PairwiseRows<'_>, asked: &[u32]| {
            rows.fold(asked, |_, values| vec![values[0]], |a, b| [a, b].concat())
        };
        for asked in [vec![5], (0..700).rev().step_by(3).collect(), vec![]] {
            assert_eq!(firsts(&held, &asked), firsts(&loose, &asked));
            let mut count = 0;
            loose.for_each(&asked, |at, row| {
                assert_eq!((at, &*held.row(asked[at])), (count, row));
                count += 1;
            });
            assert_eq!(count, asked.len());
        }
        assert_eq!(held.least(), loose.least());
    }
}
