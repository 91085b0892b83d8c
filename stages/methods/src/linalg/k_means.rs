//! k-means: centres of clusters of rows.

use super::{gemm, squared_distance, tiles};
use artifacts::Matrix;
use engine::StageError;
use rand::Rng;
use rayon::prelude::*;

/// Returns up to `count` centres, \[count, d\]: k-means++ draws the first ones from `stream`, and each step
/// after moves every centre to the mean of the rows nearest to it, until no row changes its centre or
/// `steps` are done. Of equally near centres the earlier is nearer; one that is nearest to no row stays
/// where it is. There are fewer than `count` where there are fewer different rows. `step` is called
/// before each pass over the rows.
///
/// # Errors
///
/// Fails as `step` does.
pub(crate) fn k_means(
    x: &Matrix<'_>,
    (count, steps): (usize, usize),
    stream: &mut impl Rng,
    step: impl Fn() -> Result<(), StageError>,
) -> Result<Matrix<'static>, StageError> {
    let (n, d) = (x.rows(), x.cols());
    let mut centres = first_centres(x, count, stream, &step)?;
    let mut nearest = vec![u32::MAX; n];
    for _ in 0..steps {
        step()?;
        let now = nearest_of(x, &centres);
        if now == nearest {
            break;
        }
        nearest = now;
        let mut members = vec![vec![]; centres.len() / d.max(1)];
        for (i, centre) in nearest.iter().enumerate() {
            members[*centre as usize].push(i);
        }
        centres.par_chunks_mut(d.max(1)).zip(members).for_each(|(centre, members)| {
            if members.is_empty() {
                return;
            }
            let mut sums = vec![0.0f64; d];
            for i in &members {
                sums.iter_mut().zip(x.row(*i)).for_each(|(sum, value)| *sum += f64::from(*value));
            }
            let all = members.len() as f64;
            centre.iter_mut().zip(sums).for_each(|(centre, sum)| *centre = (sum / all) as f32);
        });
    }
    let rows = centres.len() / d.max(1);
    Ok(Matrix::new(centres, rows, d))
}

/// Draws rows one after the other, each with a chance in proportion to its squared distance from the
/// nearest drawn before; the first uniformly.
fn first_centres(
    x: &Matrix<'_>,
    count: usize,
    stream: &mut impl Rng,
    step: impl Fn() -> Result<(), StageError>,
) -> Result<Vec<f32>, StageError> {
    let n = x.rows();
    let mut unit = || (stream.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    let mut centres = vec![];
    let mut apart = vec![f64::INFINITY; n];
    for at in 0..count.min(n) {
        step()?;
        let place = if at == 0 {
            (unit() * n as f64) as usize
        } else {
            let total: f64 = apart.iter().sum();
            let mut left = unit() * total;
            let drawn = apart.iter().position(|apart| {
                left -= apart;
                left < 0.0
            });
            // Rounding may leave a little at the end: then it is the last that can be drawn.
            match drawn.or_else(|| apart.iter().rposition(|apart| *apart > 0.0)) {
                Some(place) => place,
                None => break,
            }
        };
        let centre = x.row(place);
        centres.extend_from_slice(centre);
        apart.par_iter_mut().with_min_len(256).enumerate().for_each(|(i, apart)| {
            *apart = apart.min(squared_distance(x.row(i), centre).into());
        });
    }
    Ok(centres)
}

/// Returns the position of the nearest of `centres` for each row, by Euclidean distance; of equally near ones the
/// earlier.
pub(crate) fn nearest_centres(x: &Matrix<'_>, centres: &Matrix<'_>) -> Vec<u32> {
    nearest_of(x, centres.data())
}

fn nearest_of(x: &Matrix<'_>, centres: &[f32]) -> Vec<u32> {
    let d = x.cols().max(1);
    let count = centres.len() / d;
    let square = |centre: &[f32]| centre.iter().map(|v| f64::from(*v).powi(2)).sum();
    let squares: Vec<f64> = centres.chunks_exact(d).map(square).collect();
    let found = tiles(x.rows()).into_par_iter().map(|tile| {
        let mut products = vec![0.0; tile.len() * count];
        let rows = &x.data()[tile.start * d..tile.end * d];
        gemm((tile.len(), count, d), rows, centres, &mut products, count);
        let nearest = |products: &[f32]| {
            // The row's own square is the same for all centres.
            let apart = |at: usize| squares[at] - 2.0 * f64::from(products[at]);
            (1..count).fold(0, |best, at| if apart(at) < apart(best) { at } else { best }) as u32
        };
        products.chunks_exact(count.max(1)).map(nearest).collect::<Vec<u32>>()
    });
    found.collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::noise;
    use engine::Streams;

    fn centres(x: &Matrix<'_>, count: usize, steps: usize) -> Matrix<'static> {
        let mut stream = Streams::new(3, &["centres"]).get("centres");
        k_means(x, (count, steps), &mut stream, || Ok(())).expect("nobody stops it")
    }

    #[test]
    fn two_heaps_have_their_means_for_centres() {
        let x = [0.0, 0.0, 0.0, 2.0, 9.0, 9.0, 9.0, 11.0, 12.0, 10.0];
        let found = centres(&Matrix::new(&x[..], 5, 2), 2, 100);
        let mut rows = [found.row(0).to_vec(), found.row(1).to_vec()];
        rows.sort_by(|a, b| a[0].total_cmp(&b[0]));
        assert_eq!(rows, [[0.0, 1.0], [10.0, 10.0]]);
    }

    #[test]
    fn there_are_no_more_centres_than_different_rows() {
        let x = [1.0, 1.0, 4.0, 4.0, 4.0];
        assert_eq!(centres(&Matrix::new(&x[..], 5, 1), 4, 100).rows(), 2);
    }

    #[test]
    fn every_step_is_that_of_a_slow_version() {
        // Several tiles; the start is that of no steps at all.
        let (n, d, count) = (600, 7, 5);
        let x = noise(n * d, 2);
        let x = Matrix::new(&x[..], n, d);
        let mut slow: Vec<Vec<f64>> = {
            let start = centres(&x, count, 0);
            (0..count).map(|at| start.row(at).iter().map(|v| f64::from(*v)).collect()).collect()
        };
        for _ in 0..3 {
            let mut sums = vec![(vec![0.0; d], 0.0); count];
            for i in 0..n {
                let apart = |centre: &Vec<f64>| -> f64 {
                    centre.iter().zip(x.row(i)).map(|(c, v)| (c - f64::from(*v)).powi(2)).sum()
                };
                let nearest = (0..count)
                    .min_by(|a, b| apart(&slow[*a]).total_cmp(&apart(&slow[*b])))
                    .expect("there are some");
                let (sum, all) = &mut sums[nearest];
                *all += 1.0;
                sum.iter_mut().zip(x.row(i)).for_each(|(sum, v)| *sum += f64::from(*v));
            }
            slow = sums
                .into_iter()
                .map(|(sum, all)| sum.into_iter().map(|sum| sum / all).collect())
                .collect();
        }
        let fast = centres(&x, count, 3);
        for (fast, slow) in fast.data().iter().zip(slow.concat()) {
            assert!((f64::from(*fast) - slow).abs() < 1e-5);
        }
    }
}
