//! Rows of a matrix: brought to length 1, and the means of groups of them.

use artifacts::{Matrix, RowIndex};
use rayon::prelude::*;

/// Returns each row divided by its Euclidean length; a row of zeros stays one.
pub(crate) fn unit(vectors: &Matrix<'_>) -> Matrix<'static> {
    divided(vectors.data().to_vec(), vectors.rows(), vectors.cols())
}

/// Returns the rows at `places`, in that order, each divided by its Euclidean length: [`unit()`] of some, in one copy.
pub(crate) fn unit_of(vectors: &Matrix<'_>, places: &[u32]) -> Matrix<'static> {
    let mut data = Vec::with_capacity(places.len() * vectors.cols());
    places.iter().for_each(|place| data.extend_from_slice(vectors.row(*place as usize)));
    divided(data, places.len(), vectors.cols())
}

fn divided(mut data: Vec<f32>, rows: usize, cols: usize) -> Matrix<'static> {
    data.par_chunks_mut(cols.max(1)).with_min_len(256).for_each(|row| {
        let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        if length > 0.0 {
            row.iter_mut().for_each(|v| *v = (f64::from(*v) / length) as f32);
        }
    });
    Matrix::new(data, rows, cols)
}

/// Returns the mean of the rows of each of `count` groups, \[count, d\], and how many rows each has, by the
/// `groups` that the rows are of; the mean of a group without rows is 0.
///
/// # Panics
///
/// Panics if a group is beyond `count`.
pub(crate) fn group_means<I: RowIndex>(
    x: &Matrix<'_>,
    groups: &[I],
    count: usize,
) -> (Matrix<'static>, Vec<usize>) {
    let d = x.cols();
    let (mut sums, mut counts) = (vec![0.0f64; count * d], vec![0usize; count]);
    for (i, group) in groups.iter().enumerate() {
        let group = group.index();
        counts[group] += 1;
        let sums = &mut sums[group * d..(group + 1) * d];
        sums.iter_mut().zip(x.row(i)).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let mean = |(at, sum): (usize, f64)| (sum / counts[at / d].max(1) as f64) as f32;
    let means = sums.into_iter().enumerate().map(mean).collect::<Vec<f32>>();
    (Matrix::new(means, count, d), counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_means_worked_by_hand() {
        let x = Matrix::new(vec![3.0, 4.0, 0.0, 0.0, 1.0, 2.0], 3, 2);
        assert_eq!(unit(&x).data()[..4], [0.6, 0.8, 0.0, 0.0]);
        assert_eq!(unit_of(&x, &[1, 0]).data(), [0.0, 0.0, 0.6, 0.8]);
        let (means, counts) = group_means(&x, &[2_u32, 0, 2], 3);
        assert_eq!((means.data(), counts), (&[0.0, 0.0, 0.0, 0.0, 2.0, 3.0][..], vec![1, 0, 2]));
    }
}
