//! Mean ranks and regrets of several methods over many blocks, Friedman's test, and Nemenyi's critical
//! difference.

use super::{
    Test,
    distributions::{chi_squared_tail, range_quantile},
};

/// Returns the ranks of `values` from 1, the smallest first; equal ones share the mean of theirs.
pub(super) fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]).then(a.cmp(b)));
    let mut ranks = vec![0.0; values.len()];
    let mut from = 0;
    while from < order.len() {
        let same = order[from..].iter().take_while(|at| values[**at] == values[order[from]]);
        let to = from + same.count().max(1);
        let mean = (from + 1 + to) as f64 / 2.0;
        order[from..to].iter().for_each(|at| ranks[*at] = mean);
        from = to;
    }
    ranks
}

/// Returns how many of `values` are equal, for each value there is.
pub(super) fn ties(values: &[f64]) -> impl Iterator<Item = f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let groups: Vec<f64> = sorted.chunk_by(|a, b| a == b).map(|same| same.len() as f64).collect();
    groups.into_iter()
}

/// Returns the mean rank of each method over `blocks`, each a value for every method; rank 1 is
/// the largest value, or the smallest if `small_is_good`.
pub(crate) fn mean_ranks(blocks: &[Vec<f64>], small_is_good: bool) -> Vec<f64> {
    let methods = blocks.first().map_or(0, Vec::len);
    let mut sums = vec![0.0; methods];
    for block in blocks {
        let turned: Vec<f64> =
            block.iter().map(|value| if small_is_good { *value } else { -value }).collect();
        sums.iter_mut().zip(ranks(&turned)).for_each(|(sum, rank)| *sum += rank);
    }
    sums.into_iter().map(|sum| sum / blocks.len() as f64).collect()
}

/// Returns how far each method is behind the best of its block, the mean over `blocks` and the largest: its
/// regret, had one method been taken for all blocks. A method that is best in every block has 0.
pub(crate) fn regrets(blocks: &[Vec<f64>], small_is_good: bool) -> Vec<(f64, f64)> {
    let sign = if small_is_good { 1.0 } else { -1.0 };
    let mut all = vec![(0.0, 0.0); blocks.first().map_or(0, Vec::len)];
    for block in blocks {
        let best = block.iter().map(|value| sign * value).fold(f64::INFINITY, f64::min);
        for ((sum, most), value) in all.iter_mut().zip(block) {
            let behind = sign * value - best;
            *sum += behind;
            *most = f64::max(*most, behind);
        }
    }
    all.into_iter().map(|(sum, most)| (sum / blocks.len() as f64, most)).collect()
}

/// Returns Friedman's test that all methods rank alike (Friedman 1937), corrected for ties; `None`
/// for fewer than three methods or two blocks, or if every block is one tie.
pub(crate) fn friedman(blocks: &[Vec<f64>]) -> Option<Test> {
    let (n, k) = (blocks.len(), blocks.first().map_or(0, Vec::len));
    if k < 3 || n < 2 {
        return None;
    }
    let blocks_n = n as f64;
    let methods = k as f64;
    let squares: f64 = mean_ranks(blocks, true).iter().map(|rank| (rank * blocks_n).powi(2)).sum();
    let tied: f64 = blocks.iter().flat_map(|block| ties(block)).map(|t| t.powi(3) - t).sum();
    let correction = 1.0 - tied / (methods * (methods.powi(2) - 1.0) * blocks_n);
    if correction <= 0.0 {
        return None;
    }
    let plain =
        12.0 / (methods * blocks_n * (methods + 1.0)) * squares - 3.0 * blocks_n * (methods + 1.0);
    let statistic = plain / correction;
    Some(Test { statistic, p: chi_squared_tail(statistic.max(0.0), k - 1) })
}

/// Returns how far apart two mean ranks must be to differ at level `alpha` (Nemenyi 1963, as Demšar
/// 2006, section 3.2.2, gives it).
///
/// # Panics
///
/// Panics if there are fewer than two methods or no block.
pub(crate) fn nemenyi_difference(methods: usize, blocks: usize, alpha: f64) -> f64 {
    assert!(blocks > 0, "ranks are means over blocks");
    let k = methods as f64;
    let q = range_quantile(1.0 - alpha, methods) / 2.0_f64.sqrt();
    q * (k * (k + 1.0) / (6.0 * blocks as f64)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, want: f64) {
        assert!((found - want).abs() < 1e-8, "{found} is not {want}");
    }

    #[test]
    fn ties_share_their_ranks() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        assert_eq!(ties(&[3.0, 1.0, 3.0, 2.0]).collect::<Vec<_>>(), [1.0, 1.0, 2.0]);
    }

    #[test]
    fn regrets_are_means_over_blocks_of_what_the_best_has_more() {
        let blocks = [vec![0.9, 0.8, 0.5], vec![0.6, 0.7, 0.7], vec![0.4, 0.3, 0.4]];
        let found = regrets(&blocks, false);
        let want = [(0.1 / 3.0, 0.1), (0.2 / 3.0, 0.1), (0.4 / 3.0, 0.4)];
        for (found, want) in found.iter().zip(want) {
            near(found.0, want.0);
            near(found.1, want.1);
        }
        near(regrets(&blocks, true)[0].0, 0.5 / 3.0);
        near(regrets(&blocks, true)[0].1, 0.4);
    }

    #[test]
    fn friedman_is_that_of_scipy() {
        let blocks = [
            vec![9.1, 8.3, 7.0, 8.8],
            vec![8.2, 8.1, 6.6, 8.9],
            vec![7.7, 7.9, 7.1, 8.0],
            vec![9.0, 8.5, 8.2, 8.6],
            vec![6.1, 6.3, 5.0, 6.6],
        ];
        let found = mean_ranks(&blocks, false);
        found.iter().zip([2.0, 2.6, 4.0, 1.4]).for_each(|(found, want)| near(*found, want));
        near(mean_ranks(&blocks, true)[2], 1.0);
        let test = friedman(&blocks).expect("there are blocks");
        near(test.statistic, 11.16);
        near(test.p, 0.010_891_421_468_579_314);
        let tied = [
            vec![1.0, 2.0, 2.0],
            vec![3.0, 3.0, 3.0],
            vec![1.0, 2.0, 3.0],
            vec![2.0, 1.0, 4.0],
            vec![5.0, 5.0, 1.0],
        ];
        let test = friedman(&tied).expect("there are blocks");
        near(test.statistic, 1.285_714_285_714_294);
        near(test.p, 0.525_788_024_425_777_8);
        assert_eq!(friedman(&[vec![1.0, 1.0, 1.0], vec![2.0, 2.0, 2.0]]), None);
    }

    #[test]
    fn the_critical_difference_is_that_of_the_studentized_range() {
        // sqrt(k (k + 1) / (6 N)) times SciPy's studentized_range.ppf(1 - alpha, k, inf) / sqrt 2.
        let scale = |k: f64, n: f64| (k * (k + 1.0) / (6.0 * n)).sqrt();
        for (k, alpha, q) in [
            (2, 0.05, 1.959_963_984_540_053_4),
            (3, 0.05, 2.343_700_586_378_409),
            (5, 0.10, 2.459_515_764_271_418_3),
            (10, 0.01, 3.646_291_548_382_993_4),
            (50, 0.05, 3.992_343_290_009_407_6),
        ] {
            near(nemenyi_difference(k, 14, alpha), q * scale(k as f64, 14.0));
        }
        // Demšar's example: 4 classifiers on 14 data sets at 0.05 differ by 1.25.
        assert!((nemenyi_difference(4, 14, 0.05) - 1.25).abs() < 0.005);
    }
}
