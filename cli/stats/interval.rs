//! Mean, standard deviation, and confidence intervals of the mean: Student's t and bootstrap.

use super::distributions::t_quantile;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// The mean and the spread of a few measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MeanStd {
    pub(crate) mean: f64,
    /// With n - 1 below; `None` for a single value.
    pub(crate) std: Option<f64>,
    pub(crate) n: usize,
}

impl MeanStd {
    /// Returns that of `values`, or `None` of none.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let std = (n > 1).then(|| (squares / (n - 1) as f64).sqrt());
        Some(Self { mean, std, n })
    }
}

/// A confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// Returns Student's interval for the mean (Student 1908); `None` for fewer than two values. It
/// supposes that the values are about normal.
pub(crate) fn t_interval(values: &[f64], level: f64) -> Option<Interval> {
    let MeanStd { mean, std, n } = MeanStd::of(values)?;
    let half = t_quantile(0.5 + level / 2.0, n.checked_sub(1).filter(|freedom| *freedom > 0)?)
        * std?
        / (n as f64).sqrt();
    Some(Interval { low: mean - half, high: mean + half })
}

/// How many bootstrap resamples are drawn.
const DRAWS: usize = 10_000;

/// Returns the percentile bootstrap interval for the mean (Efron 1979); `None` for fewer than two
/// values. The same values and seed give the same interval. With very few values it is too narrow.
pub(crate) fn bootstrap_interval(values: &[f64], level: f64, seed: u64) -> Option<Interval> {
    let n = values.len();
    if n < 2 {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // Off by less than n / 2^64 from equally likely.
    let mut draw = || values[((u128::from(rng.next_u64()) * n as u128) >> 64) as usize];
    let mut means: Vec<f64> =
        (0..DRAWS).map(|_| (0..n).map(|_| draw()).sum::<f64>() / n as f64).collect();
    means.sort_by(f64::total_cmp);
    let tail = (1.0 - level) / 2.0;
    Some(Interval { low: quantile(&means, tail), high: quantile(&means, 1.0 - tail) })
}

/// Returns the `p`-quantile of `sorted`, linear between neighbours.
fn quantile(sorted: &[f64], p: f64) -> f64 {
    let at = p * (sorted.len() - 1) as f64;
    let (below, part) = (at.floor(), at.fract());
    let low = sorted[below as usize];
    let high = sorted[(below as usize + 1).min(sorted.len() - 1)];
    low + (high - low) * part
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCURACY: [f64; 8] = [0.9305, 0.9241, 0.9380, 0.9102, 0.9290, 0.9333, 0.9187, 0.9274];

    fn near(found: Interval, low: f64, high: f64, tolerance: f64) {
        let off = (found.low - low).abs().max((found.high - high).abs());
        assert!(off < tolerance, "{found:?} is not {low} to {high}");
    }

    #[test]
    fn the_spread_is_that_of_a_sample() {
        let stat = MeanStd::of(&[2.0, 4.0, 9.0]).expect("there are values");
        // The deviations are -3, -1 and 4: 26 / 2 = 13.
        assert_eq!((stat.mean, stat.std, stat.n), (5.0, Some(13.0_f64.sqrt()), 3));
        assert_eq!(MeanStd::of(&[2.0]), Some(MeanStd { mean: 2.0, std: None, n: 1 }));
        assert_eq!(MeanStd::of(&[]), None);
    }

    #[test]
    fn student_s_interval_is_that_of_scipy() {
        let found = t_interval(&ACCURACY, 0.95).expect("eight values");
        near(found, 0.919_099_692_759_562_9, 0.933_700_307_240_437_1, 1e-10);
        let found = t_interval(&[2.0, 4.0, 9.0], 0.9).expect("three values");
        near(found, -1.078_434_701_553_735_7, 11.078_434_701_553_735, 1e-8);
        assert_eq!(t_interval(&[1.0], 0.95), None);
    }

    #[test]
    fn the_bootstrap_agrees_with_scipy_and_repeats_itself() {
        let found = bootstrap_interval(&ACCURACY, 0.95, 1).expect("eight values");
        // SciPy with 200,000 draws; ours are 10,000, whose ends scatter by about 1e-4.
        near(found, 0.920_487_5, 0.931_737_5, 4e-4);
        assert_eq!(bootstrap_interval(&ACCURACY, 0.95, 1), Some(found));
        assert_eq!(bootstrap_interval(&[1.0], 0.95, 1), None);
    }
}
