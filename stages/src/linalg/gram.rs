//! Inner products between all pairs of n vectors, a block of rows at a time, held while they fit.
//!
//! Every block is computed with the same tile shapes, so that a row has the same bits whether the
//! whole matrix is held, the row is asked for alone, or its neighbours in the block are others.

use super::{
    Matrix, TILE, cross, excess, gemm,
    resident::{Entry, Resident},
};
use crate::device::Device;
use rayon::prelude::*;
use std::{
    borrow::Cow,
    collections::{BTreeMap, VecDeque},
    sync::atomic::{AtomicUsize, Ordering},
};

/// How many rows are computed together.
pub(crate) const BLOCK: usize = 64;

// A limit on memory changes how results are computed, never which: it is no setting of a method.
static MEMORY: AtomicUsize = AtomicUsize::new(4 << 30);

/// Sets how many bytes a matrix of all pairs may take before it is computed in tiles instead.
/// Results do not depend on it.
pub fn set_memory(bytes: usize) {
    MEMORY.store(bytes, Ordering::Relaxed);
}

/// Returns how many bytes a matrix of all pairs may take.
pub(crate) fn memory() -> usize {
    MEMORY.load(Ordering::Relaxed)
}

/// The products, over one or several spaces, of the inner products of n vectors: with one space a
/// Gram matrix, with two that of outer products `u ⊗ v`, which are never built.
pub(crate) struct Gram<'a> {
    spaces: Vec<Matrix<'a>>,
    /// The same vectors on an accelerator, where there is one and it is the faster.
    there: Option<Resident>,
}

impl<'a> Gram<'a> {
    /// # Panics
    ///
    /// Panics if there is no space, or the spaces hold different numbers of vectors.
    pub(crate) fn new(spaces: Vec<Matrix<'a>>) -> Self {
        assert!(!spaces.is_empty() && spaces.iter().all(|one| one.rows() == spaces[0].rows()));
        Self { spaces, there: None }
    }

    /// Has products of single vectors with all, and with `pairs` those of all pairs, computed on
    /// `device`, where that is faster.
    pub(crate) fn on(mut self, device: Device, pairs: bool) -> Self {
        self.there = Resident::new(device, &self.spaces, pairs);
        self
    }

    /// Returns where products are computed.
    pub(crate) fn device(&self) -> Device {
        self.there.as_ref().map_or(Device::CPU, Resident::device)
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
        if let Some(there) = &self.there {
            let parts = self.spaces.iter().map(|space| space.row(j)).enumerate();
            return there.times(&parts.collect::<Vec<_>>());
        }
        let mut row = self.spaces[0].times(self.spaces[0].row(j));
        for space in &self.spaces[1..] {
            for (value, other) in row.iter_mut().zip(space.times(space.row(j))) {
                *value *= other;
            }
        }
        row
    }

    /// Returns the products of each of `vectors` with all, one row after the other. Their last bits
    /// depend on how many are asked for together.
    pub(crate) fn several_rows(&self, vectors: &[u32]) -> Vec<f32> {
        if self.there.is_some() {
            return vectors.iter().flat_map(|j| self.single_row(*j as usize)).collect();
        }
        let (n, m) = (self.len(), vectors.len());
        let own: Vec<Matrix<'_>> = self.spaces.iter().map(|space| space.gather(vectors)).collect();
        let parts = super::tiles(n).into_par_iter().map(|tile| {
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
        rows.par_chunks(BLOCK).map(block).collect()
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

/// Rows of a matrix made from a [`Gram`] element by element: held whole while that fits in memory,
/// else as many as fit of those asked for last.
pub(crate) struct Rows<'a, E> {
    gram: Gram<'a>,
    entry: E,
    held: Held,
}

enum Held {
    Whole(Vec<f32>),
    Some { rows: BTreeMap<u32, Vec<f32>>, oldest: VecDeque<u32>, room: usize },
}

impl<'a, E: Entry> Rows<'a, E> {
    pub(crate) fn new(gram: Gram<'a>, entry: E) -> Self {
        let held = Held::Some { rows: BTreeMap::new(), oldest: VecDeque::new(), room: 0 };
        Self { gram, entry, held }
    }

    pub(crate) fn len(&self) -> usize {
        self.gram.len()
    }

    /// Returns how many rows are worth asking for at once.
    pub(crate) fn batch(&self) -> usize {
        if self.gram.there.is_some() { 2 * BLOCK } else { BLOCK }
    }

    /// Turns products with vector `j`, of which the first is with vector `start`, into elements.
    fn finish(&self, j: usize, start: usize, products: &mut [f32]) {
        for (at, value) in products.iter_mut().enumerate() {
            let i = start + at;
            *value = if i == j { E::DIAGONAL } else { self.entry.of(j, i, *value) };
        }
    }

    /// Computes the whole matrix now if it fits into `room` bytes, for a caller that asks for rows
    /// again and again, and else keeps rows as they are asked for. Returns what is left of the room.
    /// An accelerator computes rows anew each time.
    pub(crate) fn hold(&mut self, room: usize) -> usize {
        let n = self.len();
        let bytes = n.saturating_mul(n).saturating_mul(size_of::<f32>());
        if self.gram.there.is_some() {
            return room;
        }
        if bytes > room {
            self.held = Held::Some { rows: BTreeMap::new(), oldest: VecDeque::new(), room };
            return 0;
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
                self.finish(*row as usize, 0, out);
            }
        });
        self.held = Held::Whole(all);
        room - bytes
    }

    /// Returns row `j`.
    pub(crate) fn row(&self, j: usize) -> Cow<'_, [f32]> {
        if let Some(there) = &self.gram.there {
            return there.row(&self.entry, j as u32).into();
        }
        match &self.held {
            Held::Whole(all) => (&all[j * self.len()..(j + 1) * self.len()]).into(),
            Held::Some { rows, .. } => match rows.get(&(j as u32)) {
                Some(row) => row.into(),
                None => self.computed(&[j as u32]).remove(0).into(),
            },
        }
    }

    /// Computes rows, at most [`BLOCK`] of them.
    fn computed(&self, rows: &[u32]) -> Vec<Vec<f32>> {
        let tiles = self.gram.map_tiles(rows, |rows, start, width, out| {
            for (row, out) in rows.iter().zip(out.chunks_exact_mut(width)) {
                self.finish(*row as usize, start, out);
            }
            out.to_vec()
        });
        let mut all = vec![Vec::with_capacity(self.len()); rows.len()];
        for tile in tiles.into_iter().flatten() {
            let width = tile.len() / rows.len();
            all.iter_mut().zip(tile.chunks_exact(width)).for_each(|(row, part)| row.extend(part));
        }
        all
    }

    /// Sees to it that `wanted` rows, few of them, are at hand as far as there is room.
    fn keep(&mut self, wanted: &[u32]) {
        let bytes = self.len() * size_of::<f32>();
        let Held::Some { rows, room, .. } = &self.held else { return };
        let most = room / bytes.max(1);
        let missing: Vec<u32> = wanted.iter().copied().filter(|j| !rows.contains_key(j)).collect();
        if most < wanted.len() || self.gram.there.is_some() {
            return;
        }
        let new: Vec<Vec<f32>> =
            missing.chunks(BLOCK).flat_map(|block| self.computed(block)).collect();
        let Held::Some { rows, oldest, .. } = &mut self.held else { return };
        for (j, row) in missing.into_iter().zip(new) {
            rows.insert(j, row);
            oldest.push_back(j);
        }
        while rows.len() > most
            && let Some(j) = oldest.pop_front()
        {
            // What is wanted now is about to be read: it counts as new.
            if wanted.contains(&j) {
                oldest.push_back(j);
            } else {
                rows.remove(&j);
            }
        }
    }

    /// Forgets row `j`, which is not asked for again.
    pub(crate) fn forget(&mut self, j: usize) {
        if let Held::Some { rows, oldest, .. } = &mut self.held
            && rows.remove(&(j as u32)).is_some()
        {
            oldest.retain(|one| *one as usize != j);
        }
    }

    /// Returns, for each of `rows`, the sum over the row of what exceeds `floor`, \[n\]. A few rows
    /// are kept for the next time, all of them are not.
    pub(crate) fn excess(&mut self, rows: &[u32], floor: &[f32]) -> Vec<f64> {
        if let Some(there) = &self.gram.there {
            return there.excess(&self.entry, rows, floor);
        }
        if rows.len() <= self.batch() {
            self.keep(rows);
        }
        let above =
            |start: usize, row: &[f32]| f64::from(excess(row, &floor[start..start + row.len()]));
        self.fold(rows, above, |a, b| a + b)
    }

    /// Returns the smallest of all elements.
    pub(crate) fn least(&self) -> f32 {
        if let Some(there) = &self.gram.there {
            return there.least(&self.entry);
        }
        let all: Vec<u32> = (0..self.len() as u32).collect();
        let least = |_: usize, row: &[f32]| row.iter().copied().fold(f32::INFINITY, f32::min);
        self.fold(&all, least, f32::min).into_iter().fold(f32::INFINITY, f32::min)
    }

    /// Returns, for each of `rows`, what `join` makes of `each(first, values)` over the tiles of the
    /// row, in order, where `values` begin at column `first`.
    fn fold<T: Copy + Default + Send>(
        &self,
        rows: &[u32],
        each: impl Fn(usize, &[f32]) -> T + Sync,
        join: impl Fn(T, T) -> T + Sync,
    ) -> Vec<T> {
        let at_hand = |row: &u32| match &self.held {
            Held::Whole(all) => Some(&all[*row as usize * self.len()..][..self.len()]),
            Held::Some { rows, .. } => rows.get(row).map(Vec::as_slice),
        };
        if let Some(at_hand) = rows.iter().map(at_hand).collect::<Option<Vec<&[f32]>>>() {
            let row = |row: &[f32]| {
                let tiles = row.chunks(TILE).enumerate();
                let parts = tiles.map(|(tile, values)| each(tile * TILE, values));
                parts.reduce(&join).unwrap_or_default()
            };
            return at_hand.into_par_iter().map(row).collect();
        }
        let blocks = self.gram.map_tiles(rows, |block, start, width, out| {
            let rows = block.iter().zip(out.chunks_exact_mut(width));
            let parts = rows.map(|(row, values)| {
                self.finish(*row as usize, start, values);
                each(start, values)
            });
            parts.collect::<Vec<T>>()
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
    use crate::{
        linalg::{dot, lanes::noise},
        nn::Tensor,
    };

    struct Twice;

    impl Entry for Twice {
        const DIAGONAL: f32 = 0.25;

        fn of(&self, _: usize, _: usize, product: f32) -> f32 {
            2.0 * product
        }

        fn of_rows(&self, _: &[u32], products: Tensor<2>) -> Tensor<2> {
            products * 2.0
        }
    }

    #[test]
    fn a_row_has_the_same_bits_however_it_is_asked_for() {
        let (n, d, c) = (700, 513, 3);
        let (x, r) = (noise(n * d, 1), noise(n * c, 2));
        let gram = || Gram::new(vec![Matrix::new(&r, n, c), Matrix::new(&x, n, d)]);
        let mut held = Rows::new(gram(), Twice);
        assert_eq!(held.hold(n * n * 4 + 7), 7);
        // One with room for 70 rows, one with room for none.
        let mut some = Rows::new(gram(), Twice);
        assert_eq!(some.hold(70 * n * 4), 0);
        let mut loose = Rows::new(gram(), Twice);
        for j in [0, 63, 64, 100, 699] {
            assert_eq!(held.row(j), loose.row(j));
            assert_eq!(held.row(j)[j], Twice::DIAGONAL);
        }
        let by_hand: f64 = loose.row(5).iter().map(|v| f64::from(*v)).sum::<f64>() - 0.25;
        let itself: f64 = gram().single_row(5)[5].into();
        assert!(((gram().row_sums()[5] - itself) * 2.0 - by_hand).abs() < 1e-2);
        let slow = f64::from(dot(&x[..d], &x[d..2 * d])) * f64::from(dot(&r[..c], &r[c..2 * c]));
        assert!((f64::from(held.row(0)[1]) - 2.0 * slow).abs() < 1e-3);
        // Symmetric to the bit, too: a column is a row.
        assert_eq!(held.row(3)[600].to_bits(), held.row(600)[3].to_bits());

        let floor = noise(n, 3);
        let asked: [Vec<u32>; 4] =
            [vec![5], (0..700).rev().step_by(3).collect(), (0..60).collect(), (50..90).collect()];
        for rows in asked {
            let sums = held.excess(&rows, &floor);
            assert_eq!(sums, loose.excess(&rows, &floor));
            assert_eq!(sums, some.excess(&rows, &floor));
            assert_eq!(held.row(85), some.row(85));
        }
        let Held::Some { rows, .. } = &some.held else { panic!("it has room for some") };
        assert_eq!(rows.len(), 70);
        some.forget(85);
        assert_eq!(held.row(85), some.row(85));
        assert_eq!(held.least(), loose.least());
    }
}
