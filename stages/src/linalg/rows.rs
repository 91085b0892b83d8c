//! Rows of a matrix made from inner products, element by element, held as far as they fit in memory.

use super::{
    Gram, TILE, excess,
    gram::BLOCK,
    resident::{Entry, Resident},
};
use rayon::prelude::*;
use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

// A limit on memory changes how results are computed, never which: it is no setting of a method.
static MEMORY: AtomicUsize = AtomicUsize::new(4 << 30);

/// Sets how many bytes a matrix of all pairs may take before its rows are computed anew each time.
/// Results do not depend on it.
pub fn set_memory(bytes: usize) {
    MEMORY.store(bytes, Ordering::Relaxed);
}

/// Returns how many bytes a matrix of all pairs may take.
pub(crate) fn memory() -> usize {
    MEMORY.load(Ordering::Relaxed)
}

/// Rows of what an [`Entry`] makes of a [`Gram`]. They have the same bits however they are asked for
/// and whatever is held.
pub(crate) struct Rows<'a, E> {
    gram: Gram<'a>,
    entry: E,
    held: Held,
}

enum Held {
    Whole(Vec<f32>),
    Some(Kept),
}

/// Some rows of n numbers: of those asked for, the last there is room for.
#[derive(Default)]
struct Kept {
    /// Room for rows, one after the other. What was not written yet takes no memory.
    slots: Vec<f32>,
    /// How many slots were ever written.
    used: usize,
    /// Slots whose rows were forgotten.
    free: Vec<usize>,
    /// Where a row is, and when it was last asked for.
    at: BTreeMap<u32, (usize, u64)>,
    /// The same the other way round.
    asked: BTreeMap<u64, u32>,
    now: u64,
    /// Rows computed last that found no slot.
    last: BTreeMap<u32, Vec<f32>>,
}

impl Kept {
    fn get(&self, j: u32, n: usize) -> Option<&[f32]> {
        let slot = self.at.get(&j).map(|(slot, _)| &self.slots[slot * n..(slot + 1) * n]);
        slot.or_else(|| self.last.get(&j).map(Vec::as_slice))
    }

    /// Notes that `rows` are asked for; returns those that are not at hand.
    fn ask(&mut self, rows: &[u32]) -> Vec<u32> {
        let mut missing = vec![];
        for j in rows {
            self.now += 1;
            match self.at.get_mut(j) {
                Some((_, asked)) => {
                    self.asked.remove(asked);
                    *asked = self.now;
                    self.asked.insert(self.now, *j);
                }
                None => missing.push(*j),
            }
        }
        missing
    }

    /// Puts rows in the place of those not asked for the longest, or of none where the last `spare`
    /// asked for leave no other.
    fn put(&mut self, new: impl Iterator<Item = (u32, Vec<f32>)>, n: usize, spare: usize) {
        self.last.clear();
        for (j, row) in new {
            let unused = (self.used < self.slots.len() / n).then_some(self.used);
            let slot = self.free.pop().or(unused).or_else(|| {
                let oldest = (self.at.len() > spare).then(|| self.asked.pop_first()).flatten();
                oldest.and_then(|(_, oldest)| self.at.remove(&oldest)).map(|(slot, _)| slot)
            });
            let Some(slot) = slot else {
                self.last.insert(j, row);
                continue;
            };
            self.used = self.used.max(slot + 1);
            self.slots[slot * n..(slot + 1) * n].copy_from_slice(&row);
            self.now += 1;
            self.at.insert(j, (slot, self.now));
            self.asked.insert(self.now, j);
        }
    }

    fn forget(&mut self, j: u32) {
        if let Some((slot, asked)) = self.at.remove(&j) {
            self.asked.remove(&asked);
            self.free.push(slot);
        }
    }
}

impl<'a, E: Entry> Rows<'a, E> {
    pub(crate) fn new(gram: Gram<'a>, entry: E) -> Self {
        Self { gram, entry, held: Held::Some(Kept::default()) }
    }

    pub(crate) fn len(&self) -> usize {
        self.gram.len()
    }

    fn there(&self) -> Option<&Resident> {
        self.gram.there()
    }

    /// Returns how many rows are worth asking for at once.
    pub(crate) fn batch(&self) -> usize {
        if self.there().is_some() { 2 * BLOCK } else { BLOCK }
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
        let row = n.saturating_mul(size_of::<f32>()).max(1);
        if self.there().is_some() {
            return room;
        }
        if row.saturating_mul(n) > room {
            self.held = Held::Some(Kept { slots: vec![0.0; room / row * n], ..Kept::default() });
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
        room - row * n
    }

    fn at_hand(&self, j: u32) -> Option<&[f32]> {
        let n = self.len();
        match &self.held {
            Held::Whole(all) => Some(&all[j as usize * n..][..n]),
            Held::Some(kept) => kept.get(j, n),
        }
    }

    /// Returns row `j`.
    pub(crate) fn row(&self, j: u32) -> Cow<'_, [f32]> {
        if let Some(there) = self.there() {
            return there.row(&self.entry, j).into();
        }
        match self.at_hand(j) {
            Some(row) => row.into(),
            None => self.computed(&[j]).remove(0).into(),
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

    /// Forgets row `j`, which is not asked for again.
    pub(crate) fn forget(&mut self, j: u32) {
        if let Held::Some(kept) = &mut self.held {
            kept.forget(j);
        }
    }

    /// Returns, for each of `rows`, the sum over the row of what exceeds `floor`, \[n\]. A few rows
    /// are kept for the next time, many are not.
    pub(crate) fn excess(&mut self, rows: &[u32], floor: &[f32]) -> Vec<f64> {
        if let Some(there) = self.there() {
            return there.excess(&self.entry, rows, floor);
        }
        if let Held::Some(kept) = &mut self.held
            && rows.len() <= BLOCK
        {
            let missing = kept.ask(rows);
            if !missing.is_empty() {
                let (new, n) = (self.computed(&missing), self.len());
                if let Held::Some(kept) = &mut self.held {
                    kept.put(missing.into_iter().zip(new), n, rows.len());
                }
            }
        }
        let above =
            |start: usize, row: &[f32]| f64::from(excess(row, &floor[start..start + row.len()]));
        self.fold(rows, above, |a, b| a + b)
    }

    /// Returns the smallest of all elements.
    pub(crate) fn least(&self) -> f32 {
        if let Some(there) = self.there() {
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
        let at_hand: Option<Vec<&[f32]>> = rows.iter().map(|j| self.at_hand(*j)).collect();
        if let Some(at_hand) = at_hand {
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
        let row = |tiles: &[Vec<T>], at: usize| {
            tiles.iter().map(|tile| tile[at]).reduce(&join).unwrap_or_default()
        };
        let rows = |tiles: &Vec<Vec<T>>| {
            let count = tiles.first().map_or(0, Vec::len);
            (0..count).map(|at| row(tiles, at)).collect::<Vec<T>>()
        };
        blocks.iter().flat_map(rows).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        linalg::{Matrix, dot, lanes::noise},
        nn::Tensor,
    };

    /// Twice the products, and 1/4 on the diagonal.
    pub(in super::super) struct Twice;

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
            assert_eq!(held.row(j)[j as usize], Twice::DIAGONAL);
        }
        let by_hand: f64 = loose.row(5).iter().map(|v| f64::from(*v)).sum::<f64>() - 0.25;
        let itself: f64 = gram().rows(&[5])[5].into();
        assert!(((gram().row_sums()[5] - itself) * 2.0 - by_hand).abs() < 1e-2);
        let slow = f64::from(dot(&x[..d], &x[d..2 * d])) * f64::from(dot(&r[..c], &r[c..2 * c]));
        assert!((f64::from(held.row(0)[1]) - 2.0 * slow).abs() < 1e-3);
        // Symmetric to the bit, too: a column is a row.
        assert_eq!(held.row(3)[600].to_bits(), held.row(600)[3].to_bits());

        let floor = noise(n, 3);
        let asked: [Vec<u32>; 5] = [
            vec![5],
            (0..700).rev().step_by(3).collect(),
            (0..60).collect(),
            (50..90).collect(),
            (60..120).collect(),
        ];
        for rows in asked {
            let sums = held.excess(&rows, &floor);
            assert_eq!(sums, loose.excess(&rows, &floor));
            assert_eq!(sums, some.excess(&rows, &floor));
            for j in [3, 65, 85, 119] {
                assert_eq!(held.row(j), some.row(j));
            }
        }
        let kept = |rows: &Rows<'_, Twice>| match &rows.held {
            Held::Some(kept) => kept.at.keys().copied().collect::<Vec<u32>>(),
            Held::Whole(_) => panic!("it has room for some"),
        };
        // The last to be asked for, and of those before the later.
        assert_eq!(kept(&some), (50..120).collect::<Vec<u32>>());
        assert_eq!(kept(&loose), [0u32; 0]);
        some.forget(60);
        assert_eq!(some.excess(&[200, 201], &floor), held.excess(&[200, 201], &floor));
        assert_eq!((kept(&some).len(), kept(&some)[68..].to_vec()), (70, vec![200, 201]));
        assert_eq!(held.row(3), some.row(3));
        assert_eq!(held.least(), loose.least());
    }
}
