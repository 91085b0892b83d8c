//! The nearest others of every row, looked for in the clusters around it (an inverted file, IVF).

use super::{TILE, gemm, k_means, nearest_among, neighbours::Nearest};
use artifacts::Matrix;
use engine::StageError;
use rand::Rng;
use rayon::prelude::*;
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

/// Where neighbours are looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClusterSearch {
    /// Into how many clusters the rows are cut.
    pub(crate) clusters: usize,
    /// In how many of them, the nearest, a row looks for neighbours.
    pub(crate) probes: usize,
}

/// How many rows a centre is the mean of when centres are learnt: beyond, they move little.
const ROWS_A_CENTRE: usize = 40;

/// How often centres move.
const STEPS: usize = 10;

/// Returns up to `count` near others of every row, nearest first: the nearest among the rows in the
/// `search.probes` clusters whose centres are nearest to it. Distances are Euclidean; of equally near others the
/// earlier is nearer. Centres are drawn from `stream`. `step` is told how many rows of how many are done.
///
/// # Errors
///
/// Fails as `step` does.
pub(crate) fn clustered_neighbours(
    features: &Matrix<'_>,
    count: usize,
    search: ClusterSearch,
    stream: &mut impl Rng,
    step: impl Fn(usize, usize) -> Result<(), StageError> + Sync,
) -> Result<Vec<Vec<u32>>, StageError> {
    let (n, d) = (features.rows(), features.cols());
    let count = count.min(n.saturating_sub(1));
    let size = (search.clusters * ROWS_A_CENTRE).min(n);
    let sample: Vec<u32> = (0..size).map(|at| (at * n / size) as u32).collect();
    let sample = features.gather(&sample);
    let centres = k_means(&sample, (search.clusters, STEPS), stream, || step(0, n))?;
    drop(sample);
    let (mut members, mut askers) = (vec![vec![]; centres.rows()], vec![vec![]; centres.rows()]);
    let probes = nearest_among(features, &centres, search.probes, || step(0, n))?;
    for (row, near) in probes.iter().enumerate() {
        for (rank, (cluster, _)) in near.iter().enumerate() {
            askers[*cluster as usize].push(row as u32);
            if rank == 0 {
                members[*cluster as usize].push(row as u32);
            }
        }
    }
    drop(probes);
    // Rows are done as often as they ask.
    let (asked, all) = (AtomicUsize::new(0), askers.iter().map(Vec::len).sum::<usize>());
    let square = |row: &[f32]| row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    let found: Vec<Mutex<Nearest>> = (0..n).map(|_| Mutex::new(Nearest::new(count))).collect();
    members.par_iter().zip(&askers).try_for_each(|(members, askers)| {
        let others = features.gather(members);
        let squares: Vec<f64> = (0..others.rows()).map(|at| square(others.row(at))).collect();
        let width = others.rows();
        for rows in askers.chunks(TILE) {
            step(asked.fetch_add(rows.len(), Ordering::Relaxed) * n / all, n)?;
            let tile = features.gather(rows);
            let mut products = vec![0.0; rows.len() * width];
            gemm((rows.len(), width, d), tile.data(), others.data(), &mut products, width);
            for (at, products) in products.chunks_exact(width.max(1)).enumerate() {
                let (row, own) = (rows[at], square(tile.row(at)));
                // The order in which rows are met does not matter.
                let mut nearest =
                    found[row as usize].lock().unwrap_or_else(PoisonError::into_inner);
                for ((other, product), square) in members.iter().zip(products).zip(&squares) {
                    if *other != row {
                        let apart = own + square - 2.0 * f64::from(*product);
                        nearest.meet(*other as usize, apart.max(0.0) as f32);
                    }
                }
            }
        }
        Ok::<(), StageError>(())
    })?;
    let places = |one: Mutex<Nearest>| one.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(found.into_iter().map(|one| places(one).places()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::{Compute, neighbours, noise};
    use engine::Streams;

    #[test]
    fn all_clusters_give_the_exact_neighbours_and_one_gives_some() {
        // Ten heaps of 60, apart from each other.
        let (n, d) = (600, 4);
        let mut x = noise(n * d, 1);
        for (at, value) in x.iter_mut().enumerate() {
            let heap = at / d % 10;
            *value += if at % d == heap % d { 8.0 * (heap as f32 + 1.0) } else { 0.0 };
        }
        let x = Matrix::new(&x, n, d);
        let exact = neighbours(&x, 5, &Compute::default(), |_, _| Ok(())).expect("it goes on");
        let search = |clusters, probes| {
            let mut stream = Streams::new(1, &["clusters"]).get("clusters");
            let search = ClusterSearch { clusters, probes };
            clustered_neighbours(&x, 5, search, &mut stream, |_, _| Ok(())).expect("it goes on")
        };
        assert_eq!(search(8, 8), exact);
        let near = search(60, 1);
        let both = exact.iter().zip(&near);
        let right: usize =
            both.map(|(exact, near)| near.iter().filter(|one| exact.contains(one)).count()).sum();
        assert!((n..n * 5).contains(&right), "{right} of {}", n * 5);
        // More clusters than rows that differ, and rows without any other.
        let same = Matrix::new(vec![1.0f32; 3], 3, 1);
        let mut stream = Streams::new(1, &["clusters"]).get("clusters");
        let search = ClusterSearch { clusters: 3, probes: 2 };
        let found = clustered_neighbours(&same, 2, search, &mut stream, |_, _| Ok(()));
        assert_eq!(found.expect("it goes on"), [[1, 2], [0, 2], [0, 1]]);
    }
}
