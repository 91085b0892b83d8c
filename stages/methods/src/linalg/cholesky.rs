//! The Cholesky factor of a kernel matrix, grown one chosen row at a time.

use super::{Compute, DeviceRows, RowPrefetcher, strided, tiles};
use rayon::prelude::*;

/// For a chosen sequence S of a kernel K (with a ridge on its diagonal): the rows of
/// `L⁻¹ K[S, :]`, where `L` is the Cholesky factor of `K[S, S]`. Each choice costs O(n |S|); most of
/// it is done for several likely choices in one product.
pub(crate) struct PartialCholesky {
    n: usize,
    count: usize,
    /// \[[`BLOCK`], n\] each; rows still to come are 0.
    blocks: Vec<Vec<f32>>,
    ahead: RowPrefetcher<f64>,
    /// How many rows there were when those at hand were computed.
    base: usize,
    /// The same rows on an accelerator, where that is worth it.
    on_device: Option<Box<dyn DeviceRows>>,
}

/// What there is of a kernel: whole rows of it.
pub(crate) trait KernelRows {
    /// Returns the rows of `places`, one after the other, the ridge not in them.
    fn rows(&self, places: &[u32]) -> Vec<f32>;
}

impl<F: Fn(&[u32]) -> Vec<f32>> KernelRows for F {
    fn rows(&self, places: &[u32]) -> Vec<f32> {
        self(places)
    }
}

const BLOCK: usize = 256;
/// How many rows an accelerator allocates at a time.
const DEVICE_BLOCK: usize = 256;
const CHUNK: usize = 1024;

impl PartialCholesky {
    /// Starts with nothing chosen from `n`.
    pub(crate) fn new(n: usize) -> Self {
        let ahead = RowPrefetcher::new(false);
        Self { n, count: 0, blocks: vec![], ahead, base: 0, on_device: None }
    }

    /// Has sums over the rows, of which there will be up to `most`, computed by the accelerator of
    /// `compute`, where that is faster.
    pub(crate) fn on(mut self, compute: &Compute, most: usize) -> Self {
        let elements = self.n * most.min(DEVICE_BLOCK);
        let accelerator = compute.worth_offloading(elements);
        self.on_device = accelerator.map(|one| one.growing_rows(self.n));
        // An accelerator is as fast with a row alone.
        self.ahead = RowPrefetcher::new(self.on_device.is_some());
        self
    }

    /// Returns what each row chosen so far has at `place`.
    fn at(&self, place: usize) -> Vec<f64> {
        self.rows(0).map(|row| f64::from(row[place])).collect()
    }

    fn rows(&self, from: usize) -> impl Iterator<Item = &[f32]> {
        let row = |t: usize| &self.blocks[t / BLOCK][t % BLOCK * self.n..][..self.n];
        (from..self.count).map(row)
    }

    /// Chooses `j`. `likely(count)` names up to so many that may be chosen next, which changes how
    /// fast it goes and nothing else. Returns the new row and the new entry on the diagonal of `L`;
    /// both are zero if nothing of `j`, ridge included, is outside the span of those chosen before.
    pub(crate) fn choose(
        &mut self,
        j: usize,
        ridge: f64,
        kernel: &impl KernelRows,
        likely: impl FnOnce(usize) -> Vec<u32>,
    ) -> (&[f32], f64) {
        let mut ahead = std::mem::replace(&mut self.ahead, RowPrefetcher::new(true));
        if !ahead.has(j as u32) {
            self.base = self.count;
        }
        let row = ahead.row(j as u32, likely, |places| self.left(places, kernel));
        let (diagonal, left) = row.split_last().expect("a row ends in its diagonal");
        let at = self.at(j);
        let square = diagonal + ridge - at.iter().map(|v| v * v).sum::<f64>();
        // Below the last digits of an f32 kernel there is only noise to divide by.
        let pivot = if square > 1e-6 * diagonal.max(0.0) { square.sqrt() } else { 0.0 };
        let mut new = vec![0.0f32; self.n];
        if pivot > 0.0 {
            let factors = &at[self.base..];
            new.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, out)| {
                let start = chunk * CHUNK;
                let mut rest = [0.0f64; CHUNK];
                let rest = &mut rest[..out.len()];
                rest.copy_from_slice(&left[start..start + rest.len()]);
                for (row, factor) in self.rows(self.base).zip(factors) {
                    for (rest, value) in rest.iter_mut().zip(&row[start..]) {
                        *rest -= f64::from(*value) * factor;
                    }
                }
                for (out, rest) in out.iter_mut().zip(rest) {
                    *out = (*rest / pivot) as f32;
                }
            });
        }
        self.ahead = ahead;
        self.push(&new);
        (self.rows(self.count - 1).next().expect("it was pushed just now"), pivot)
    }

    /// Returns the kernel rows of `places` less what the rows chosen so far know of them, and behind
    /// each what the kernel has on the diagonal.
    fn left(&self, places: &[u32], kernel: &impl KernelRows) -> Vec<f64> {
        let n = self.n;
        let mut left = Vec::with_capacity(places.len() * (n + 1));
        for (row, place) in kernel.rows(places).chunks_exact(n).zip(places) {
            left.extend(row.iter().map(|value| f64::from(*value)));
            left.push(row[*place as usize].into());
        }
        let at: Vec<Vec<f64>> = places.iter().map(|place| self.at(*place as usize)).collect();
        if let Some(on_device) = &self.on_device {
            for (left, at) in left.chunks_exact_mut(n + 1).zip(&at) {
                let at: Vec<f32> = at.iter().map(|value| *value as f32).collect();
                let known = on_device.combined(&at);
                left.iter_mut().zip(known).for_each(|(left, known)| *left -= f64::from(known));
            }
            return left;
        }
        // What a block's rows have at the places, \[places, BLOCK\]; rows still to come have 0.
        let factors = |block: usize| -> Vec<f32> {
            let value = |at: &Vec<f64>, t: usize| at.get(t).map_or(0.0, |value| *value as f32);
            let rows = block * BLOCK..(block + 1) * BLOCK;
            at.iter().flat_map(|at| rows.clone().map(|t| value(at, t))).collect()
        };
        let factors: Vec<Vec<f32>> = (0..self.blocks.len()).map(factors).collect();
        let known = tiles(n).into_par_iter().map(|tile| {
            let width = tile.len();
            let mut sum = vec![0.0f64; places.len() * width];
            let mut part = vec![0.0f32; places.len() * width];
            for (block, factors) in self.blocks.iter().zip(&factors) {
                let shape = (places.len(), width, BLOCK);
                let here = (&factors[..], BLOCK.cast_signed(), 1);
                let rows = (&block[tile.start..], n.cast_signed(), 1);
                strided(shape, here, rows, (&mut part, width));
                sum.iter_mut().zip(&part).for_each(|(sum, part)| *sum += f64::from(*part));
            }
            sum
        });
        for (tile, known) in tiles(n).into_iter().zip(known.collect::<Vec<_>>()) {
            for (left, known) in left.chunks_exact_mut(n + 1).zip(known.chunks_exact(tile.len())) {
                left[tile.clone()].iter_mut().zip(known).for_each(|(left, known)| *left -= known);
            }
        }
        left
    }

    fn push(&mut self, row: &[f32]) {
        if let Some(on_device) = &mut self.on_device {
            on_device.push(row);
        }
        let at = self.count % BLOCK;
        if at == 0 {
            self.blocks.push(vec![0.0; BLOCK * self.n]);
        }
        let block = self.blocks.last_mut().expect("there is one for this row");
        block[at * self.n..(at + 1) * self.n].copy_from_slice(row);
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::lanes::noise;

    #[test]
    fn the_rows_rebuild_the_kernel_of_the_chosen() {
        let (n, d) = (9, 5);
        let x = noise(n * d, 3);
        let k = |i: usize, j: usize| -> f32 { (0..d).map(|t| x[i * d + t] * x[j * d + t]).sum() };
        let mut factor = PartialCholesky::new(n);
        let chosen = [4usize, 0, 7, 2];
        // Row t of L: what the rows before have at its choice, then the pivot.
        let (mut rows, mut l): (Vec<Vec<f32>>, Vec<Vec<f64>>) = (vec![], vec![]);
        for j in chosen {
            let row = |j: &u32| (0..n).map(|i| k(*j as usize, i)).collect::<Vec<f32>>();
            let kernel = |places: &[u32]| places.iter().flat_map(row).collect::<Vec<f32>>();
            let mut below: Vec<f64> = rows.iter().map(|row| f64::from(row[j])).collect();
            let (new, pivot) = factor.choose(j, 0.25, &kernel, |_| vec![7, 3]);
            below.push(pivot);
            rows.push(new.to_vec());
            l.push(below);
        }
        for (s, a) in chosen.iter().enumerate() {
            for (t, b) in chosen.iter().enumerate() {
                let both = s.min(t);
                let built: f64 = (0..=both).map(|u| l[s][u] * l[t][u]).sum();
                let ridge = if s == t { 0.25 } else { 0.0 };
                assert!((built - f64::from(k(*a, *b)) - ridge).abs() < 1e-5);
            }
        }
        // A column that was not chosen: L times the rows gives the kernel back.
        let built: f64 = (0..4).map(|u| l[3][u] * f64::from(rows[u][8])).sum();
        assert!((built - f64::from(k(2, 8))).abs() < 1e-5);
    }
}
