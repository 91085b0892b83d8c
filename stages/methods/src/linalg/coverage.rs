//! Gains of facility location: for a row, the sum over samples i of max(0, s_ij - best_i), where best_i is
//! the similarity of the nearest sample chosen so far. It only rises, so ever fewer terms are above 0.

use super::{
    PairwiseRows, TILE,
    gram::BLOCK,
    lanes::{excess, excess_of},
};
use rayon::{current_num_threads, prelude::*};

/// A row is listed once it exceeds the floor in at most one place in this many.
const FEW: usize = 4;

/// Rows, and a floor under their elements, \[n\]. Where the matrix is too large to be held, the
/// elements of a row that were above the floor when it was last looked at are listed, as far as there
/// is room: only they can be above it later. Sums have the same bits either way.
pub(crate) struct CoverageGains<'a> {
    rows: PairwiseRows<'a>,
    floor: Vec<f32>,
    lists: Vec<Option<AboveFloor>>,
    /// How many more elements there is room for.
    room: usize,
}

/// Where a row is above the floor, in ascending order, and its elements there.
type AboveFloor = Vec<(u32, f32)>;

impl<'a> CoverageGains<'a> {
    /// Starts with the same floor under all elements. Takes what it can use of `room` bytes.
    pub(crate) fn new(mut rows: PairwiseRows<'a>, level: f32, room: &mut usize) -> Self {
        let left = rows.hold(*room);
        let dense = rows.is_held() || rows.on_device().is_some();
        let lists = if dense { 0 } else { left / size_of::<(u32, f32)>() };
        *room = if dense { left } else { 0 };
        let n = rows.len();
        Self { rows, floor: vec![level; n], lists: vec![None; n], room: lists }
    }

    pub(crate) fn rows(&self) -> &PairwiseRows<'a> {
        &self.rows
    }

    /// Starts anew with the same floor under all elements.
    pub(crate) fn level(&mut self, level: f32) {
        for j in 0..self.lists.len() {
            self.take(j as u32);
        }
        self.floor.fill(level);
    }

    /// Starts anew with these floors under the elements of every row.
    ///
    /// # Panics
    ///
    /// Panics if there is not one for each place of a row.
    pub(crate) fn begin_at(&mut self, floors: Vec<f32>) {
        assert_eq!(floors.len(), self.floor.len(), "there is a floor for each place");
        self.level(0.0);
        self.floor = floors;
    }

    /// Raises the floor to row `j`, which is not asked for again.
    pub(crate) fn raise(&mut self, j: u32) {
        if let Some(list) = self.take(j) {
            for (place, value) in list {
                let floor = &mut self.floor[place as usize];
                *floor = floor.max(value);
            }
        } else {
            for (floor, value) in self.floor.iter_mut().zip(self.rows.row(j).iter()) {
                *floor = floor.max(*value);
            }
        }
    }

    /// Returns, for each of `rows`, the sum over the row of what exceeds the floor.
    pub(crate) fn excess(&mut self, rows: &[u32]) -> Vec<f64> {
        if let Some((vectors, formula)) = self.rows.on_device() {
            return vectors.excess(formula, rows, &self.floor);
        }
        if self.rows.is_held() {
            let floor = &self.floor;
            let above =
                |start: usize, row: &[f32]| f64::from(excess(row, &floor[start..][..row.len()]));
            return self.rows.fold(rows, above, |a, b| a + b);
        }
        // New lists of so many rows at most lie beside the others until it is seen which fit.
        let some = 4 * BLOCK * current_num_threads();
        rows.chunks(some).flat_map(|rows| self.excess_of_some(rows)).collect()
    }

    fn excess_of_some(&mut self, rows: &[u32]) -> Vec<f64> {
        let lists: Vec<Option<AboveFloor>> = rows.iter().map(|j| self.take(*j)).collect();
        let unlisted = rows.iter().zip(&lists).filter(|(_, list)| list.is_none());
        let unlisted: Vec<u32> = unlisted.map(|(j, _)| *j).collect();
        let mut looked_at = self.looked_at(&unlisted).into_iter();
        let floor = &self.floor;
        let lowered = lists.into_par_iter().map(|list| list.map(|list| lowered(list, floor)));
        let lowered: Vec<Option<(f64, AboveFloor)>> = lowered.collect();
        let mut sums = Vec::with_capacity(rows.len());
        for (j, known) in rows.iter().zip(lowered) {
            let (sum, list) = match known {
                Some((sum, list)) => (sum, Some(list)),
                None => looked_at.next().expect("every row without a list was looked at"),
            };
            sums.push(sum);
            if let Some(list) = list.filter(|list| list.capacity() <= self.room) {
                self.room -= list.capacity();
                self.lists[*j as usize] = Some(list);
            }
        }
        sums
    }

    fn take(&mut self, j: u32) -> Option<AboveFloor> {
        let list = self.lists[j as usize].take()?;
        self.room += list.capacity();
        Some(list)
    }

    /// Looks at whole rows: returns the sums of what exceeds the floor, and lists where they are short.
    fn looked_at(&self, rows: &[u32]) -> Vec<(f64, Option<AboveFloor>)> {
        let most = (self.floor.len() / FEW).min(self.room);
        let tile = |start: usize, row: &[f32]| {
            let floor = &self.floor[start..start + row.len()];
            let sum = f64::from(excess(row, floor));
            (sum, if most > 0 { listed(row, floor, start) } else { None })
        };
        let join = |(a, list): (f64, Option<AboveFloor>), (b, more): (f64, Option<AboveFloor>)| {
            let both = list.zip(more).filter(|(list, more)| list.len() + more.len() <= most);
            let list = both.map(|(mut list, more)| {
                list.extend(more);
                list
            });
            (a + b, list)
        };
        let mut all = self.rows.fold(rows, tile, join);
        all.iter_mut().filter_map(|(_, list)| list.as_mut()).for_each(Vec::shrink_to_fit);
        all
    }
}

/// Lists where a row, from `start` on, is above the floor, unless that is in most of it.
fn listed(row: &[f32], floor: &[f32], start: usize) -> Option<AboveFloor> {
    let count = row.iter().zip(floor).filter(|(value, floor)| value > floor).count();
    (count <= row.len() / 2).then(|| {
        let mut list = Vec::with_capacity(count);
        let all = row.iter().zip(floor).enumerate().filter(|(_, (value, floor))| value > floor);
        list.extend(all.map(|(at, (value, _))| ((start + at) as u32, *value)));
        list
    })
}

/// Returns the sum of what a row exceeds `floor` by, and where it still does.
fn lowered(mut list: AboveFloor, floor: &[f32]) -> (f64, AboveFloor) {
    list.retain(|(place, value)| *value > floor[*place as usize]);
    if list.len() <= list.capacity() / 2 {
        list.shrink_to_fit();
    }
    let tile_of = |place: u32| place as usize / TILE;
    let tiles = list.chunk_by(|(a, _), (b, _)| tile_of(*a) == tile_of(*b)).map(|tile| {
        let start = tile_of(tile[0].0) * TILE;
        let by = tile.iter().map(|(place, value)| {
            let place = *place as usize;
            (place - start, value - floor[place])
        });
        f64::from(excess_of(TILE.min(floor.len() - start), by))
    });
    // Not `sum`, which makes -0 of no tiles, and less than the 0 of a whole row.
    (tiles.fold(0.0, |sum, tile| sum + tile), list)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::linalg::{Gram, noise, pairwise_rows::tests::TWICE};
    use artifacts::Matrix;

    #[test]
    fn lists_change_no_bit_of_any_sum() {
        let (n, d) = (700, 19);
        let x = noise(n * d, 1);
        let rows = || PairwiseRows::new(Gram::new(vec![Matrix::new(&x, n, d)]), TWICE);
        let whole = n * n * size_of::<f32>();
        // One that holds the matrix, one with room for all lists, one for a few, one for none.
        let rooms = [whole + 7, whole - 1, 20_000, 3];
        let left = [7, 0, 0, 0];
        let mut all: Vec<CoverageGains<'_>> = rooms
            .iter()
            .zip(left)
            .map(|(room, left)| {
                let mut room = *room;
                let above = CoverageGains::new(rows(), -1.0, &mut room);
                assert_eq!(room, left);
                above
            })
            .collect();
        let mut open: Vec<u32> = (0..n as u32).collect();
        for step in 0..60 {
            let few: Vec<u32> = open.iter().copied().skip(step).step_by(1 + step % 9).collect();
            let sums: Vec<Vec<f64>> = all.iter_mut().map(|one| one.excess(&few)).collect();
            let bits = |sums: &[f64]| sums.iter().map(|sum| sum.to_bits()).collect::<Vec<u64>>();
            assert!(sums.iter().all(|other| bits(other) == bits(&sums[0])), "step {step}");
            let rows = rows();
            let by = rows
                .row(few[3])
                .iter()
                .zip(&all[0].floor)
                .map(|(v, f)| (v - f).max(0.0))
                .sum::<f32>();
            let plain = f64::from(by);
            assert!((plain - sums[0][3]).abs() < 1e-3);
            let pick = open.remove(step * 7);
            all.iter_mut().for_each(|one| one.raise(pick));
            assert!(all.iter().all(|one| one.floor == all[0].floor));
        }
        let listed = |one: &CoverageGains<'_>| one.lists.iter().flatten().count();
        let counts: Vec<usize> = all.iter().map(listed).collect();
        assert_eq!((counts[0], counts[3]), (0, 0));
        assert!(counts[1] > 600 && 0 < counts[2] && counts[2] < 100, "{counts:?}");
        // Once nothing is above the floor, no list is less than none.
        all.iter_mut().for_each(|one| one.floor.fill(1e9));
        let none = all.iter_mut().map(|one| one.excess(&open));
        assert!(none.into_iter().flatten().all(|sum| sum.to_bits() == 0));
        // Room comes back whole.
        for (one, room) in all.iter_mut().zip(rooms).skip(1) {
            one.level(0.0);
            assert_eq!((one.room, listed(one)), (room / 8, 0));
        }
    }
}
