//! Elastic transforms of the values of an image `[c, h, w]`: it is drawn out like rubber.

use super::blur::{self, Border};
use rand::{Rng, RngExt as _};

/// How far pixels move, in parts of the shorter side.
pub(super) struct Elastic {
    /// How far each moves on its own, before that is smoothed.
    alone: f64,
    /// The standard deviation of the Gaussian that smooths it.
    std: f64,
    /// How far each of three points moves, and all others with them.
    together: f64,
}

/// Severities 1 to 5.
pub(super) const SEVERITIES: [Elastic; 5] = [
    Elastic { alone: 0.0, std: 0.0, together: 0.08 },
    Elastic { alone: 0.05, std: 0.2, together: 0.07 },
    Elastic { alone: 0.08, std: 0.06, together: 0.06 },
    Elastic { alone: 0.1, std: 0.04, together: 0.05 },
    Elastic { alone: 0.1, std: 0.03, together: 0.03 },
];

/// How many standard deviations the Gaussian reaches.
const REACH: f64 = 3.0;

impl Elastic {
    /// Moves the pixels of an image: first all by a random affine map, then each on its own.
    pub(super) fn stretch(&self, image: &mut [f64], (h, w): (usize, usize), rng: &mut impl Rng) {
        let side = h.min(w) as f64;
        let mut by = |most: f64| most * (2.0 * rng.random::<f64>() - 1.0);
        let from = corners((h, w));
        let to = from.map(|point| point.map(|at| at + by(self.together * side)));
        let map = Affine::between(to, from);
        moved(image, (h, w), Border::Mirrored, |y, x| map.of(y, x));
        if self.alone == 0.0 {
            return;
        }
        let mut field = || {
            let mut field: Vec<f64> = (0..h * w).map(|_| by(1.0)).collect();
            blur::gaussian_to(&mut field, (h, w), self.std * side, (REACH, Border::Reflected));
            field.iter_mut().for_each(|by| *by *= self.alone * side);
            field
        };
        let (across, down) = (field(), field());
        moved(image, (h, w), Border::Reflected, |y, x| {
            let at = y * w + x;
            [y as f64 + down[at], x as f64 + across[at]]
        });
    }
}

/// Returns three corners of a square in the middle of an image, as `[y, x]`.
fn corners((h, w): (usize, usize)) -> [[f64; 2]; 3] {
    let (y, x) = ((h / 2) as f64, (w / 2) as f64);
    let by = (h.min(w) / 3).max(1) as f64;
    [[y + by, x + by], [y - by, x + by], [y - by, x - by]]
}

/// A map of the plane to itself that keeps lines straight and parallel ones parallel.
struct Affine {
    /// Of each coordinate of the image of a point: what it is of the point's y, of its x, and plus.
    rows: [[f64; 3]; 2],
}

impl Affine {
    /// Returns the one that maps three points to three others.
    fn between(from: [[f64; 2]; 3], to: [[f64; 2]; 3]) -> Self {
        let [[y0, x0], [y1, x1], [y2, x2]] = from;
        let area = (y1 - y0) * (x2 - x0) - (y2 - y0) * (x1 - x0);
        let row = |one: usize| {
            let [at, by1, by2] = [to[0][one], to[1][one] - to[0][one], to[2][one] - to[0][one]];
            let of_y = (by1 * (x2 - x0) - by2 * (x1 - x0)) / area;
            let of_x = (by2 * (y1 - y0) - by1 * (y2 - y0)) / area;
            [of_y, of_x, at - of_y * y0 - of_x * x0]
        };
        Self { rows: [row(0), row(1)] }
    }

    fn of(&self, y: usize, x: usize) -> [f64; 2] {
        self.rows.map(|[of_y, of_x, plus]| of_y * y as f64 + of_x * x as f64 + plus)
    }
}

/// Replaces every value of each plane by that of the place `[y, x]` that `from` tells, interpolated linearly.
fn moved(
    image: &mut [f64],
    (h, w): (usize, usize),
    border: Border,
    from: impl Fn(usize, usize) -> [f64; 2],
) {
    for plane in image.chunks_exact_mut(h * w) {
        let before = plane.to_vec();
        for (at, value) in plane.iter_mut().enumerate() {
            let [y, x] = from(at / w, at % w);
            let (dy, dx) = (y - y.floor(), x - x.floor());
            let (y, x) = (y.floor() as i64, x.floor() as i64);
            let one = |y: i64, x: i64| before[border.place(y, h) * w + border.place(x, w)];
            let row = |y: i64| one(y, x) * (1.0 - dx) + one(y, x + 1) * dx;
            *value = row(y) * (1.0 - dy) + row(y + 1) * dy;
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
            assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
        }
    }

    #[rustfmt::skip]
    const MIRRORED: [f64; 16] = [
        58.36, 53.98, 67.52, 82.66, 7.24, 9.34, 14.32, 20.9,
        16.04, 23.62, 32.8, 43.78, 91.16, 108.9, 128.24, 135.02,
    ];

    #[rustfmt::skip]
    const REFLECTED: [f64; 16] = [
        11.2, 13.18, 19.52, 27.46, 0.0, 0.7, 2.8, 6.5,
        16.04, 23.62, 32.8, 43.78, 91.16, 108.9, 128.24, 141.8,
    ];

    #[test]
    fn places_in_between_and_beyond_are_those_of_scipy() {
        // scipy.ndimage.map_coordinates of squares, order 1, modes `mirror` and `reflect`.
        for (border, wanted) in [(Border::Mirrored, MIRRORED), (Border::Reflected, REFLECTED)] {
            let mut plane: Vec<f64> = (0..16).map(|at| f64::from(at * at)).collect();
            let map = Affine { rows: [[1.3, 0.0, -1.7], [0.4, 0.9, -0.6]] };
            moved(&mut plane, (4, 4), border, |y, x| map.of(y, x));
            near(&plane, &wanted);
        }
    }

    #[test]
    fn three_points_tell_the_map_that_opencv_finds() {
        // cv2.invertAffineTransform of cv2.getAffineTransform, which have x before y.
        let from = corners((8, 9));
        assert_eq!(from, [[6.0, 6.0], [2.0, 6.0], [2.0, 2.0]]);
        let from = [[5.0, 6.0], [1.0, 6.0], [1.0, 2.0]];
        let to = [[5.25, 6.5], [1.5, 5.5], [0.5, 2.25]];
        let [y, x] = Affine::between(to, from).rows;
        near(&x, &[-0.357_541_899, 1.340_782_123, -0.837_988_827]);
        near(&y, &[1.162_011_173, -0.357_541_899, 1.223_463_687]);
    }

    #[test]
    fn fields_are_smoothed_as_scipy_does_it() {
        // scipy.ndimage.gaussian_filter, `reflect`, truncated at 3.
        let mut row = [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        blur::gaussian_to(&mut row, (1, 8), 1.3, (REACH, Border::Reflected));
        let wanted =
            [0.322385306, 0.32841447, 0.231073925, 0.094011014, 0.021415651, 0.002699634, 0.0, 0.0];
        near(&row, &wanted);
    }

    #[test]
    fn channels_move_together_and_one_colour_stays() {
        for elastic in &SEVERITIES {
            let mut rng = Streams::new(5, &["train-images"]).at("train-images", 0);
            let plane: Vec<f64> = (0..256).map(|at| f64::from(at % 16) / 16.0).collect();
            let mut image = [plane.clone(), plane.clone(), vec![0.25; 256]].concat();
            elastic.stretch(&mut image, (16, 16), &mut rng);
            assert_eq!(image[..256], image[256..512]);
            assert!(image[..256] != plane);
            near(&image[512..], &[0.25; 256]);
        }
    }
}
