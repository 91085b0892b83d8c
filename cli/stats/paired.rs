//! Paired tests of two methods under the same conditions: Student's t, Wilcoxon's signed ranks, and Holm's
//! correction for several.

use super::{
    Test,
    distributions::{normal_both_tails, t_both_tails},
    interval::MeanStd,
    ranks::{ranks, ties},
};
use std::collections::BTreeMap;

/// Returns the paired t test (Student 1908) of `differences` against a mean of 0; `None` if there
/// are fewer than two, or all are 0.
pub(crate) fn paired_t(differences: &[f64]) -> Option<Test> {
    let MeanStd { mean, std: Some(std), n } = MeanStd::of(differences)? else { return None };
    if std == 0.0 && mean == 0.0 {
        return None;
    }
    let statistic = mean / (std / (n as f64).sqrt());
    Some(Test { statistic, p: t_both_tails(statistic, n - 1) })
}

/// Up to so many differences the distribution is exact, above it the normal one stands in.
const EXACT: usize = 50;

/// Returns Wilcoxon's signed-rank test (Wilcoxon 1945) of `differences`; `None` if all are 0.
///
/// Differences of 0 are left out, tied ones share their ranks. Up to 50 differences, the chance is
/// that over all ways to give them signs, ties or not: what SciPy computes without ties, and with
/// them up to 13. Above, it is the normal approximation, corrected for ties and not for continuity.
pub(crate) fn wilcoxon(differences: &[f64]) -> Option<Test> {
    let differences: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    let sizes: Vec<f64> = differences.iter().map(|d| d.abs()).collect();
    if sizes.is_empty() {
        return None;
    }
    let ranks = ranks(&sizes);
    let of = |positive: bool| -> f64 {
        let signed = differences.iter().zip(&ranks);
        // Not `sum`: that of nothing is -0.
        signed.filter(|(d, _)| (**d > 0.0) == positive).fold(0.0, |sum, (_, rank)| sum + rank)
    };
    let statistic = of(true).min(of(false));
    let n = sizes.len() as f64;
    let p = if sizes.len() <= EXACT {
        exact(&ranks, statistic)
    } else {
        let ties: f64 = ties(&sizes).map(|t| t.powi(3) - t).sum();
        let variance = n * (n + 1.0) * (2.0 * n + 1.0) / 24.0 - ties / 48.0;
        normal_both_tails((statistic - n * (n + 1.0) / 4.0) / variance.sqrt())
    };
    Some(Test { statistic, p })
}

/// Returns the chance that the smaller of the two rank sums is at most `statistic` when each rank
/// falls to either sign.
fn exact(ranks: &[f64], statistic: f64) -> f64 {
    // Twice a shared rank is a whole number.
    let twice = |rank: f64| (2.0 * rank).round() as usize;
    let mut chances = BTreeMap::from([(0, 1.0)]);
    for rank in ranks {
        let mut next: BTreeMap<usize, f64> = BTreeMap::new();
        for (sum, chance) in chances {
            *next.entry(sum).or_default() += chance / 2.0;
            *next.entry(sum + twice(*rank)).or_default() += chance / 2.0;
        }
        chances = next;
    }
    let tail: f64 = chances.range(..=twice(statistic)).map(|(_, chance)| chance).sum();
    (2.0 * tail).min(1.0)
}

/// Returns `p` values corrected for their number (Holm 1979), in the order given: the smallest is
/// multiplied by how many there are, the next by one less, and none falls below the one before it.
pub(crate) fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    // Equal ones get the same value in either order.
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]).then(a.cmp(b)));
    let mut corrected = vec![0.0; p.len()];
    let mut least = 0.0_f64;
    for (place, at) in order.iter().enumerate() {
        least = least.max((p[*at] * (p.len() - place) as f64).min(1.0));
        corrected[*at] = least;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: Option<Test>, statistic: f64, p: f64) {
        let found = found.expect("there is something to test");
        let off = (found.statistic - statistic).abs().max((found.p - p).abs());
        assert!(off < 1e-9, "{found:?} is not {statistic}, p = {p}");
    }

    fn differences() -> Vec<f64> {
        let a = [0.9305, 0.9241, 0.9380, 0.9102, 0.9290, 0.9333, 0.9187, 0.9274];
        let b = [0.8207, 0.9251, 0.8401, 0.8012, 0.8300, 0.8502, 0.8190, 0.9000];
        a.iter().zip(b).map(|(a, b)| a - b).collect()
    }

    #[test]
    fn the_paired_t_test_is_that_of_scipy() {
        near(paired_t(&differences()), 5.312_377_747_889_108, 0.001_108_387_214_156_174_3);
        assert_eq!(paired_t(&[0.5]), None);
        assert_eq!(paired_t(&[0.0, 0.0]), None);
        near(paired_t(&[0.5, 0.5]).map(|t| Test { statistic: 0.0, ..t }), 0.0, 0.0);
    }

    #[test]
    fn signed_ranks_are_those_of_scipy() {
        near(wilcoxon(&differences()), 1.0, 0.015_625);
        near(wilcoxon(&[0.3, -0.1, 0.5]), 1.0, 0.5);
        let mixed = |i: i32| f64::from(i * 37 % 101 - 30) / 7.0 + 0.013 * f64::from(i);
        near(wilcoxon(&(0..20).map(mixed).collect::<Vec<_>>()), 42.0, 0.017_181_396_484_375);
        // With ties and a zero: SciPy goes through all signs.
        let tied = [1.0, 2.0, 2.0, -1.0, 3.0, 0.0, 4.0, -2.0, 5.0, 5.0];
        near(wilcoxon(&tied), 5.5, 0.050_781_25);
        assert_eq!(wilcoxon(&[0.0, 0.0]), None);
    }

    #[test]
    fn many_signed_ranks_are_nearly_normal() {
        let mixed = |i: i32| f64::from(i * 37 % 101 - 40) / 7.0 + 0.013 * f64::from(i);
        let all: Vec<f64> = (0..60).map(mixed).collect();
        near(wilcoxon(&all), 541.0, 0.005_900_870_631_494_955);
        let tied: Vec<f64> = (0..70).map(|i| f64::from(i * 37 % 11 - 4)).collect();
        near(wilcoxon(&tied), 678.5, 0.023_481_528_588_625_407);
    }

    #[test]
    fn holm_steps_down() {
        // Worked by hand: 0.01 * 4, 0.02 * 3 = 0.06, 0.03 * 2 = 0.06, 0.04 * 1 below 0.06.
        let found = holm(&[0.04, 0.01, 0.03, 0.02]);
        for (found, want) in found.iter().zip([0.06, 0.04, 0.06, 0.06]) {
            assert!((found - want).abs() < 1e-12, "{found} is not {want}");
        }
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }
}
