//! Agreement of two orders (Spearman's rank correlation) and of two subsets (Jaccard index).

use super::ranks::ranks;
use artifacts::SampleId;

/// Returns Spearman's rank correlation (Spearman 1904), ties sharing their ranks; `None` if either
/// says nothing: fewer than two values, or all equal.
///
/// # Panics
///
/// Panics if there are not as many of one as of the other.
pub(crate) fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    assert_eq!(a.len(), b.len(), "both speak of the same samples");
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() + 1) as f64 / 2.0;
    let product = |x: &[f64], y: &[f64]| -> f64 {
        x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum()
    };
    let scale = (product(&a, &a) * product(&b, &b)).sqrt();
    (scale > 0.0).then(|| (product(&a, &b) / scale).clamp(-1.0, 1.0))
}

/// Returns the share of the samples in either subset that are in both (Jaccard 1901); 1 if both
/// are empty. Both are sorted, without repeats.
pub(crate) fn jaccard(a: &[SampleId], b: &[SampleId]) -> f64 {
    let both = a.iter().filter(|one| b.binary_search(one).is_ok()).count();
    let either = a.len() + b.len() - both;
    if either == 0 { 1.0 } else { both as f64 / either as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rank_correlation_is_that_of_scipy() {
        let a = [1.0, 2.0, 2.0, 3.0, 5.0, 5.0, 5.0, 8.0];
        let b = [2.0, 1.0, 4.0, 4.0, 4.0, 9.0, 7.0, 8.0];
        let found = spearman(&a, &b).expect("there is an order");
        assert!((found - 0.817_626_233_818_269_9).abs() < 1e-12, "{found}");
        let found = spearman(&[0.1, 0.4, 0.3, 0.9, 0.2], &[1.0, 3.0, 2.0, 5.0, 4.0]);
        assert!(found.is_some_and(|found| (found - 0.7).abs() < 1e-12));
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]), None);
    }

    #[test]
    fn jaccard_counts_what_is_in_both() {
        let of = |a: &[u32], b: &[u32]| {
            let [a, b] =
                [a, b].map(|all| all.iter().map(|one| SampleId::from(*one)).collect::<Vec<_>>());
            jaccard(&a, &b)
        };
        assert_eq!(of(&[1, 2, 3], &[2, 3, 4, 5]), 0.4);
        assert_eq!((of(&[], &[]), of(&[1], &[])), (1.0, 0.0));
    }
}
