//! The nearest others of every row, exactly.

use super::{Compute, Pairwise, gemm, tiles};
use artifacts::Matrix;
use engine::StageError;
use rayon::prelude::*;
use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

/// Returns the `count` nearest others of every row, nearest first; of equally near ones the
/// earlier is nearer. Fewer, if there are not so many. `step` is told how many rows of how many are done.
///
/// # Errors
///
/// Fails as `step` does.
pub(crate) fn neighbours(
    features: &Matrix<'_>,
    count: usize,
    compute: &Compute,
    step: impl Fn(usize, usize) -> Result<(), StageError>,
) -> Result<Vec<Vec<u32>>, StageError> {
    let n = features.rows();
    let count = count.min(n.saturating_sub(1));
    let squares: Vec<f64> = (0..n)
        .into_par_iter()
        .map(|i| features.row(i).iter().map(|v| f64::from(*v).powi(2)).sum())
        .collect();
    let formula = Pairwise::SquaredDistance { squares };
    if let Some(vectors) = compute.upload(&[features.view()], true) {
        // A slab of rows at a time, so that the run hears of it.
        let all: Vec<u32> = (0..n as u32).collect();
        let mut found = Vec::with_capacity(n);
        for slab in all.chunks(4096) {
            step(found.len(), n)?;
            found.extend(vectors.smallest(&formula, slab, count));
        }
        return Ok(found);
    }
    // Every pair of tiles is multiplied once, and both learn from it.
    let tiles = tiles(n);
    let found: Vec<Mutex<Vec<Nearest>>> =
        tiles.iter().map(|tile| Mutex::new(vec![Nearest::new(count); tile.len()])).collect();
    let locked = |at: usize| found[at].lock().unwrap_or_else(PoisonError::into_inner);
    let d = features.cols();
    let rows = |tile: &Range<usize>| &features.data()[tile.start * d..tile.end * d];
    for (at, tile) in tiles.iter().enumerate() {
        step(tile.start, n)?;
        (at..tiles.len()).into_par_iter().for_each(|to| {
            let other = &tiles[to];
            let width = other.len();
            let mut apart = vec![0.0; tile.len() * width];
            gemm((tile.len(), width, d), rows(tile), rows(other), &mut apart, width);
            for (j, apart) in tile.clone().zip(apart.chunks_exact_mut(width)) {
                formula.finish_row(j, other.start, apart);
            }
            for (nearest, apart) in locked(at).iter_mut().zip(apart.chunks_exact(width)) {
                for (i, distance) in other.clone().zip(apart) {
                    nearest.meet(i, *distance);
                }
            }
            if to > at {
                let mut theirs = locked(to);
                for (j, apart) in tile.clone().zip(apart.chunks_exact(width)) {
                    for (nearest, distance) in theirs.iter_mut().zip(apart) {
                        nearest.meet(j, *distance);
                    }
                }
            }
        });
    }
    let done =
        found.into_iter().map(|one| one.into_inner().unwrap_or_else(PoisonError::into_inner));
    Ok(done.flatten().map(Nearest::places).collect())
}

/// Returns the `count` rows of `references` that are nearest to each row of `queries`, nearest first, each
/// with its squared Euclidean distance; of equally near ones the earlier is nearer. Fewer, if there are not
/// so many. `step` is called between tiles of queries.
///
/// # Errors
///
/// Fails as `step` does.
pub(crate) fn nearest_among(
    queries: &Matrix<'_>,
    references: &Matrix<'_>,
    count: usize,
    step: impl Fn() -> Result<(), StageError> + Sync,
) -> Result<Vec<Vec<(u32, f32)>>, StageError> {
    let d = queries.cols();
    let square = |row: &[f32]| row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    let squares: Vec<f64> =
        (0..references.rows()).into_par_iter().map(|i| square(references.row(i))).collect();
    let count = count.min(references.rows());
    let of_tile = |tile: Range<usize>| {
        step()?;
        let mut found = vec![Nearest::new(count); tile.len()];
        for other in tiles(references.rows()) {
            let width = other.len();
            let mut products = vec![0.0; tile.len() * width];
            let rows = &queries.data()[tile.start * d..tile.end * d];
            let others = &references.data()[other.start * d..other.end * d];
            gemm((tile.len(), width, d), rows, others, &mut products, width);
            for ((i, nearest), products) in
                tile.clone().zip(&mut found).zip(products.chunks_exact(width))
            {
                let own = square(queries.row(i));
                for (j, product) in other.clone().zip(products) {
                    let apart = own + squares[j] - 2.0 * f64::from(*product);
                    nearest.meet(j, apart.max(0.0) as f32);
                }
            }
        }
        Ok(found.into_iter().map(Nearest::with_distances).collect::<Vec<_>>())
    };
    let all: Result<Vec<Vec<_>>, StageError> =
        tiles(queries.rows()).into_par_iter().map(of_tile).collect();
    Ok(all?.concat())
}

/// The nearest met so far, nearest first; of equally near ones the earlier. In which order they are
/// met does not matter.
#[derive(Clone)]
pub(super) struct Nearest {
    count: usize,
    found: Vec<(f32, u32)>,
    /// How far the last of them is, once there are enough.
    reach: f32,
}

impl Nearest {
    pub(super) fn new(count: usize) -> Self {
        // Below infinity, at which a row itself stands.
        let reach = if count == 0 { f32::NEG_INFINITY } else { f32::MAX };
        Self { count, found: Vec::with_capacity(count + 1), reach }
    }

    #[inline]
    pub(super) fn meet(&mut self, place: usize, distance: f32) {
        if distance <= self.reach {
            self.put(place as u32, distance);
        }
    }

    fn put(&mut self, place: u32, distance: f32) {
        let before = |(other, at): &(f32, u32)| (*other, *at) < (distance, place);
        self.found.insert(self.found.partition_point(before), (distance, place));
        self.found.truncate(self.count);
        if let Some((last, _)) = self.found.get(self.count - 1) {
            self.reach = *last;
        }
    }

    /// Returns the places with their squared distances.
    fn with_distances(self) -> Vec<(u32, f32)> {
        self.found.into_iter().map(|(distance, place)| (place, distance)).collect()
    }

    pub(super) fn places(self) -> Vec<u32> {
        self.found.into_iter().map(|(_, place)| place).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::{noise, squared_distance};

    #[test]
    fn neighbours_are_those_of_a_full_sort() {
        // Several tiles, and pairs that are equal.
        let (n, d) = (600, 4);
        let mut x = noise(n * d, 1);
        x.iter_mut().for_each(|v| *v = (*v * 4.0).round());
        let x = Matrix::new(&x, n, d);
        let found = neighbours(&x, 7, &Compute::default(), |_, _| Ok(())).expect("nobody stops it");
        for (j, found) in found.iter().enumerate() {
            let mut all: Vec<u32> = (0..n as u32).filter(|i| *i as usize != j).collect();
            let apart = |i: &u32| squared_distance(x.row(j), x.row(*i as usize));
            all.sort_by(|a, b| apart(a).total_cmp(&apart(b)).then(a.cmp(b)));
            assert_eq!(found[..], all[..7]);
        }
        // Among others than the rows themselves: here their first 300.
        let part = Matrix::new(&x.data()[..300 * d], 300, d);
        let found = nearest_among(&x, &part, 5, || Ok(())).expect("nobody stops it");
        for (j, found) in found.iter().enumerate() {
            let mut all: Vec<u32> = (0..300).collect();
            let apart = |i: &u32| squared_distance(x.row(j), x.row(*i as usize));
            all.sort_by(|a, b| apart(a).total_cmp(&apart(b)).then(a.cmp(b)));
            let places: Vec<u32> = found.iter().map(|(place, _)| *place).collect();
            assert_eq!(places, all[..5]);
            assert!(found.iter().all(|(i, distance)| (distance - apart(i)).abs() < 1e-3));
        }
    }
}
