//! The distributions the tests ask for; none of them takes a parameter it has not checked.

use statrs::distribution::{ChiSquared, Continuous as _, ContinuousCDF as _, Normal, StudentsT};

/// Returns the `p`-quantile of Student's t with `freedom` degrees of freedom.
///
/// # Panics
///
/// Panics if there is no degree of freedom.
pub(super) fn t_quantile(p: f64, freedom: usize) -> f64 {
    students_t(freedom).inverse_cdf(p)
}

/// Returns the chance that Student's t is at least as far from 0 as `t`.
///
/// # Panics
///
/// Panics if there is no degree of freedom.
pub(super) fn t_both_tails(t: f64, freedom: usize) -> f64 {
    if t.is_infinite() {
        return 0.0;
    }
    (2.0 * students_t(freedom).sf(t.abs())).min(1.0)
}

/// Returns the chance that a chi squared with `freedom` degrees of freedom is at least `x`.
///
/// # Panics
///
/// Panics if there is no degree of freedom.
pub(super) fn chi_squared_tail(x: f64, freedom: usize) -> f64 {
    ChiSquared::new(freedom as f64).expect("there is a degree of freedom").sf(x)
}

/// Returns the chance that a standard normal is at least as far from 0 as `z`.
pub(super) fn normal_both_tails(z: f64) -> f64 {
    (2.0 * Normal::standard().sf(z.abs())).min(1.0)
}

/// Returns the `p`-quantile of the range of `k` independent standard normals: that of the
/// studentized range with infinitely many degrees of freedom.
///
/// # Panics
///
/// Panics if there are fewer than two, or `p` is not between 0 and 1.
pub(super) fn range_quantile(p: f64, k: usize) -> f64 {
    assert!(k >= 2 && p > 0.0 && p < 1.0, "a range of {k} has no quantile {p}");
    let (mut low, mut high) = (0.0, 1.0);
    while range_cdf(high, k) < p {
        high *= 2.0;
    }
    while high - low > 1e-11 * high {
        let middle = (low + high) / 2.0;
        if range_cdf(middle, k) < p { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// Returns the chance that the range of `k` standard normals is at most `q`: the integral of
/// `k phi(z) (Phi(z + q) - Phi(z))^(k-1)`, where `z` is the smallest of them.
fn range_cdf(q: f64, k: usize) -> f64 {
    let normal = Normal::standard();
    let power = i32::try_from(k - 1).unwrap_or(i32::MAX);
    let density = |z: f64| normal.pdf(z) * (normal.cdf(z + q) - normal.cdf(z)).max(0.0).powi(power);
    // The integrand is smooth and below 1e-22 at both ends, where the trapezoid rule converges
    // faster than any power of the step.
    let from = -10.0;
    let to = 10.0;
    let steps = 800;
    let step = (to - from) / f64::from(steps);
    let sum: f64 = (1..steps).map(|i| density(from + step * f64::from(i))).sum();
    (k as f64 * sum * step).min(1.0)
}

fn students_t(freedom: usize) -> StudentsT {
    StudentsT::new(0.0, 1.0, freedom as f64).expect("there is a degree of freedom")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, want: f64) {
        assert!((found - want).abs() < 1e-8, "{found} is not {want}");
    }

    #[test]
    fn tails_and_quantiles_are_those_of_scipy() {
        near(t_quantile(0.975, 2), 4.302_652_729_749_462);
        near(t_quantile(0.95, 7), 1.894_578_605_090_006_2);
        near(t_quantile(0.995, 29), 2.756_385_903_670_605);
        near(t_both_tails(-2.5, 4), 0.066_766_544_811_988_14);
        near(chi_squared_tail(5.88, 3), 0.117_596_701_638_608_83);
        near(chi_squared_tail(0.3, 2), 0.860_707_976_425_057_8);
        assert_eq!(t_both_tails(f64::INFINITY, 3), 0.0);
    }

    #[test]
    fn the_range_of_normals_is_that_of_scipy() {
        near(range_cdf(3.3, 3), 0.948_689_093_581_810_1);
        near(range_cdf(1.0, 5), 0.045_045_144_811_355_76);
        near(range_cdf(5.0, 10), 0.985_142_562_112_216_4);
    }
}
