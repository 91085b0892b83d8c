//! Snow before an image, whose values are 0 to 1.

use super::{
    motion::{self, Motion},
    warp,
};
use crate::normals::normals;
use rand::Rng;

/// The parameters of a snowfall.
pub(super) struct Snowfall {
    /// Mean and standard deviation of the normal noise that flakes are made of.
    noise: (f64, f64),
    /// How many times that is enlarged.
    enlarged: f64,
    /// The value below which there is no flake.
    least: f64,
    /// Radius and standard deviation of the flakes' motion blur.
    motion: (f64, f64),
    /// The share of the image that is not whitened.
    kept: f64,
}

const fn fall(
    noise: (f64, f64),
    enlarged: f64,
    least: f64,
    motion: (f64, f64),
    kept: f64,
) -> Snowfall {
    Snowfall { noise, enlarged, least, motion, kept }
}

/// Severities 1 to 5.
pub(super) const SEVERITIES: [Snowfall; 5] = [
    fall((0.1, 0.2), 1.0, 0.6, (8.0, 3.0), 0.95),
    fall((0.1, 0.2), 1.0, 0.5, (10.0, 4.0), 0.9),
    fall((0.15, 0.3), 1.75, 0.55, (10.0, 4.0), 0.9),
    fall((0.25, 0.3), 2.25, 0.6, (12.0, 6.0), 0.85),
    fall((0.3, 0.3), 1.25, 0.65, (14.0, 12.0), 0.8),
];

impl Snowfall {
    /// Lays falling flakes over an image `[c, h, w]` and whitens it.
    pub(super) fn cover(
        &self,
        image: &mut [f64],
        (channels, h, w): (usize, usize, usize),
        rng: &mut impl Rng,
    ) {
        let flakes = self.flakes((h, w), rng);
        self.whiten(image, channels);
        let size = h * w;
        for plane in image.chunks_exact_mut(size) {
            for (at, value) in plane.iter_mut().enumerate() {
                // The same flakes, turned by half a circle, fall from the other side.
                let both = u32::from(flakes[at]) + u32::from(flakes[size - 1 - at]);
                *value += f64::from(both) / 255.0;
            }
        }
    }

    /// Draws the levels of a layer of flakes.
    fn flakes(&self, (h, w): (usize, usize), rng: &mut impl Rng) -> Vec<u8> {
        let mut draws = vec![0.0; h * w];
        normals(rng, &mut draws);
        let noise: Vec<f64> = draws.iter().map(|draw| self.noise.0 + self.noise.1 * draw).collect();
        let mut layer = vec![0.0; h * w];
        warp::enlarge(&noise, (h, w), self.enlarged, &mut layer);
        let level =
            |value: &f64| if *value < self.least { 0 } else { (value.min(1.0) * 255.0) as u8 };
        let layer: Vec<u8> = layer.iter().map(level).collect();
        // Down to the left or the right: 90 degrees off the horizontal, give or take 45.
        let (radius, std) = self.motion;
        Motion::new(radius, std, motion::angle(-90.0, rng)).blur(&layer, (h, w))
    }

    /// Brings every pixel that is darker than a bright grey of its lightness nearer to that.
    fn whiten(&self, image: &mut [f64], channels: usize) {
        const LIGHTNESS: [f64; 3] = [0.299, 0.587, 0.114];
        let size = image.len() / channels.max(1);
        for at in 0..size {
            let grey = if channels == 3 {
                LIGHTNESS.iter().enumerate().map(|(one, part)| part * image[one * size + at]).sum()
            } else {
                image[at]
            };
            for value in image.iter_mut().skip(at).step_by(size) {
                let white = value.max(1.5 * grey + 0.5);
                *value = self.kept * *value + (1.0 - self.kept) * white;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Streams;

    fn near(found: &[f64], wanted: &[f64]) {
        assert_eq!(found.len(), wanted.len());
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
        }
    }

    #[test]
    fn what_is_dark_is_whitened_by_a_share() {
        // Red and white: lightness .299, which makes .9485, and 1, which makes 2. A tenth of each is taken.
        let mut image = [1.0, 1.0, 0.0, 1.0, 0.0, 1.0];
        SEVERITIES[1].whiten(&mut image, 3);
        near(&image, &[1.0, 1.1, 0.09485, 1.1, 0.09485, 1.1]);
        let mut grey = [0.0, 0.2];
        SEVERITIES[1].whiten(&mut grey, 1);
        near(&grey, &[0.05, 0.26]);
    }

    #[test]
    fn flakes_fall_on_black_alike_from_both_sides_and_on_all_channels() {
        let rng = || Streams::new(3, &["train-images"]).at("train-images", 7);
        let white = 1.0 - 0.95;
        let mut image = vec![0.0; 3 * 32 * 32];
        SEVERITIES[0].cover(&mut image, (3, 32, 32), &mut rng());
        let (red, green) = (&image[..1024], &image[1024..2048]);
        assert_eq!(red, green);
        let turned: Vec<f64> = red.iter().rev().copied().collect();
        near(red, &turned);
        assert!(red.iter().all(|value| *value >= 0.5 * white - 1e-12));
        // Of 1,024 draws 0.6 % lie 2.5 deviations above the mean; each flake is drawn out over several pixels.
        let flakes = SEVERITIES[0].flakes((32, 32), &mut rng());
        let lit = flakes.iter().filter(|level| **level > 0).count();
        assert!((10..400).contains(&lit), "{lit}");
    }
}
