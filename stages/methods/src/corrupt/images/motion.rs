//! Motion blur: that of a camera that moves along a line.

use super::blur::Border;
use rand::{Rng, RngExt as _};

/// A one-sided Gaussian along a line, as ImageMagick's motion blur takes it.
pub(super) struct Motion {
    /// What each pixel takes of which other: the share, and how far down and across that lies.
    taps: Vec<(f64, i64, i64)>,
}

impl Motion {
    /// Returns a blur of this standard deviation over twice the radius, towards an angle from the
    /// horizontal, clockwise.
    pub(super) fn new(radius: f64, std: f64, degrees: f64) -> Self {
        let reach = 2 * radius.ceil() as i64;
        let (down, across) = degrees.to_radians().sin_cos();
        let weight = |at: i64| (-0.5 * (at as f64 / std) * (at as f64 / std)).exp();
        let total: f64 = (0..=reach).map(weight).sum();
        let place = |at: i64, along: f64| (at as f64 * along - 0.5).ceil() as i64;
        let tap = |at| (weight(at) / total, place(at, down), place(at, across));
        Self { taps: (0..=reach).map(tap).collect() }
    }

    /// Returns the blurred levels of a plane, rounded; beyond the border its levels are repeated.
    pub(super) fn blur(&self, plane: &[u8], (h, w): (usize, usize)) -> Vec<u8> {
        let near = |at: usize, by: i64, n: usize| Border::Repeated.place(at as i64 + by, n);
        let level = |at: usize| {
            let (y, x) = (at / w, at % w);
            let taken = |(weight, down, across): &(f64, i64, i64)| {
                weight * f64::from(plane[near(y, *down, h) * w + near(x, *across, w)])
            };
            self.taps.iter().map(taken).sum::<f64>().round() as u8
        };
        (0..plane.len()).map(level).collect()
    }
}

/// Draws an angle from `middle - 45` to `middle + 45` degrees.
pub(super) fn angle(middle: f64, rng: &mut impl Rng) -> f64 {
    middle - 45.0 + 90.0 * rng.random::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_drawn_out_one_way_as_worked_by_hand() {
        // Radius 1: three taps of 1, e^-1/2 and e^-2, of 255 of which 146, 89 and 20 are left.
        let mut row = [0; 7];
        row[4] = 255;
        assert_eq!(Motion::new(1.0, 1.0, 0.0).blur(&row, (1, 7)), [0, 0, 20, 89, 146, 0, 0]);
        // Upwards: what lies above is taken, and the first row stands for those above it.
        let up = Motion::new(0.5, 1.0, -90.0);
        assert_eq!(up.blur(&[255, 0, 0, 0], (4, 1)), [255, 109, 20, 0]);
        // Along the diagonal, 0.7 and 1.4 places off, both rounded to one.
        let slanted = Motion::new(1.0, 1.0, 45.0);
        assert_eq!(slanted.blur(&[0, 0, 0, 255], (2, 2)), [109, 109, 109, 255]);
    }
}
