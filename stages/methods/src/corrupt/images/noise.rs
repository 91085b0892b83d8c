//! Noise on the values of an image, which are 0 to 1.

use crate::normals::normals;
use rand::{Rng, RngExt as _};

/// Adds normal noise of standard deviation `std`.
pub(super) fn gaussian(image: &mut [f64], std: f64, rng: &mut impl Rng) {
    let mut draws = vec![0.0; image.len()];
    normals(rng, &mut draws);
    image.iter_mut().zip(draws).for_each(|(value, draw)| *value += std * draw);
}

/// Adds normal noise whose standard deviation is `std` times the value.
pub(super) fn speckle(image: &mut [f64], std: f64, rng: &mut impl Rng) {
    let mut draws = vec![0.0; image.len()];
    normals(rng, &mut draws);
    image.iter_mut().zip(draws).for_each(|(value, draw)| *value += *value * std * draw);
}

/// Makes a share `amount` of the values 0 or 1, each on its own: salt and pepper.
pub(super) fn impulse(image: &mut [f64], amount: f64, rng: &mut impl Rng) {
    for value in image {
        if rng.random::<f64>() < amount {
            *value = if rng.random::<f64>() < 0.5 { 1.0 } else { 0.0 };
        }
    }
}

/// How likely each count of photons is, summed up, for each of the 256 levels.
pub(super) struct Photons {
    most: f64,
    sums: Vec<Vec<f64>>,
}

impl Photons {
    /// Returns those of a sensor that counts `most` photons on average where it is brightest.
    pub(super) fn new(most: f64) -> Self {
        let sums = (0..=255_u8).map(|level| poisson(f64::from(level) / 255.0 * most)).collect();
        Self { most, sums }
    }

    /// Returns the value that is counted of a level, for a `drawn` number from 0 up to 1.
    fn value(&self, level: u8, drawn: f64) -> f64 {
        let count = self.sums[usize::from(level)].partition_point(|sum| *sum <= drawn);
        count as f64 / self.most
    }

    /// Counts the photons of each value.
    pub(super) fn shot(&self, levels: &[u8], image: &mut [f64], rng: &mut impl Rng) {
        let pairs = image.iter_mut().zip(levels);
        pairs.for_each(|(value, level)| *value = self.value(*level, rng.random()));
    }
}

/// Returns the distribution function of Poisson's law of this mean at 0, 1, and so on, as far as it can be
/// told from 1.
fn poisson(mean: f64) -> Vec<f64> {
    let mut probability = (-mean).exp();
    let mut sum = probability;
    let mut sums = vec![];
    for count in 1_u32.. {
        sums.push(sum);
        probability *= mean / f64::from(count);
        if f64::from(count) > mean && sum + probability == sum {
            break;
        }
        sum += probability;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Streams;

    fn rng() -> impl Rng {
        Streams::new(2, &["train"]).get("train")
    }

    /// Returns the mean and the standard deviation.
    fn moments(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / n;
        (mean, variance.sqrt())
    }

    #[test]
    fn noise_has_the_moments_it_should() {
        let level = 0.4;
        let near = |found: (f64, f64), mean: f64, std: f64| {
            // Of 40,000 draws: five standard deviations of the mean, and of the deviation.
            assert!((found.0 - mean).abs() < std / 40.0, "{found:?}");
            assert!((found.1 - std).abs() < std / 40.0, "{found:?}");
        };
        let grey = || vec![level; 40_000];
        let mut image = grey();
        gaussian(&mut image, 0.08, &mut rng());
        near(moments(&image), level, 0.08);
        let mut image = grey();
        speckle(&mut image, 0.2, &mut rng());
        near(moments(&image), level, 0.08);
        let mut image = grey();
        Photons::new(75.0).shot(&vec![102; 40_000], &mut image, &mut rng());
        near(moments(&image), level, (level / 75.0_f64).sqrt());
        assert!(image.iter().all(|value| (value * 75.0 - (value * 75.0).round()).abs() < 1e-9));
    }

    #[test]
    fn salt_and_pepper_are_as_much_as_each_other() {
        let mut image = vec![0.5; 40_000];
        impulse(&mut image, 0.05, &mut rng());
        for wanted in [0.0, 1.0] {
            let found = image.iter().filter(|value| **value == wanted).count();
            // 1,000, standard deviation 31.
            assert!(found.abs_diff(1_000) < 160, "{found}");
        }
        assert!(image.iter().all(|value| [0.0, 0.5, 1.0].contains(value)));
    }

    #[test]
    fn counts_have_their_probabilities() {
        assert_eq!(poisson(0.0), [1.0]);
        let two = poisson(2.0);
        let e = (-2.0_f64).exp();
        for (found, wanted) in two.iter().zip([e, 3.0 * e, 5.0 * e, 19.0 / 3.0 * e]) {
            assert!((found - wanted).abs() < 1e-15);
        }
        let many = poisson(500.0);
        assert!((many[many.len() - 1] - 1.0).abs() < 1e-9 && many[499] < 0.5 && many[500] > 0.5);
        let photons = Photons::new(2.0);
        assert_eq!(photons.value(255, 3.0 * e), 1.0);
        assert_eq!(photons.value(255, 2.9 * e), 0.5);
    }
}
