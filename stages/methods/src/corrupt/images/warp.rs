//! Glass blur, zoom blur and fog on the values of an image `[c, h, w]`.

use super::blur::gaussian;
use artifacts::draw;
use rand::{Rng, RngExt as _};

/// Blurs, moves each pixel about by up to `reach` places, `times` over, and blurs again, as frosted glass does.
pub(super) fn glass(
    image: &mut [f64],
    (h, w): (usize, usize),
    (std, reach, times): (f64, usize, usize),
    rng: &mut impl Rng,
) {
    gaussian(image, (h, w), std);
    // In whole levels in between, as the authors' code has it.
    image.iter_mut().for_each(|value| *value = (*value * 255.0).floor() / 255.0);
    let size = h * w;
    for _ in 0..times {
        for y in (reach + 1..=h.saturating_sub(reach)).rev() {
            for x in (reach + 1..=w.saturating_sub(reach)).rev() {
                let mut by = || draw::below(rng, 2 * reach as u32) as usize;
                let (across, down) = (by(), by());
                let from = (y + down - reach) * w + x + across - reach;
                // That code means to swap the two, and copies one.
                for plane in image.chunks_exact_mut(size) {
                    plane[y * w + x] = plane[from];
                }
            }
        }
    }
    gaussian(image, (h, w), std);
}

/// The mean of an image and of its middle enlarged 1, 1.01, 1.02, ... times, up to below `most`, as of a
/// camera that moves towards it.
pub(super) fn zoom(image: &mut [f64], (h, w): (usize, usize), most: f64) {
    const STEP: f64 = 0.01;
    let steps = ((most - 1.0) / STEP).ceil() as usize;
    for plane in image.chunks_exact_mut(h * w) {
        let before = plane.to_vec();
        for step in 0..steps {
            enlarge(&before, (h, w), 1.0 + STEP * step as f64, plane);
        }
        plane.iter_mut().for_each(|value| *value /= (steps + 1) as f64);
    }
}

/// Adds the middle of `plane`, enlarged `times` with linear interpolation to the same size, to `sum`.
pub(super) fn enlarge(plane: &[f64], (h, w): (usize, usize), times: f64, sum: &mut [f64]) {
    let (down, across) = (Enlarged::new(h, times), Enlarged::new(w, times));
    for (at, sum) in sum.iter_mut().enumerate() {
        let (y, dy) = down.place(at / w);
        let (x, dx) = across.place(at % w);
        let value = |y: usize, x: usize| plane[y.min(h - 1) * w + x.min(w - 1)];
        let row =
            |y: usize| value(y, x) * (1.0 - dx) + if dx > 0.0 { value(y, x + 1) * dx } else { 0.0 };
        *sum += row(y) * (1.0 - dy) + if dy > 0.0 { row(y + 1) * dy } else { 0.0 };
    }
}

/// One side of an enlarged middle: what is cut out, and where a position of the result lies in it.
struct Enlarged {
    from: usize,
    trim: usize,
    scale: f64,
}

impl Enlarged {
    fn new(side: usize, times: f64) -> Self {
        let cut = (side as f64 / times).ceil() as usize;
        let made = (cut as f64 * times).round_ties_even() as usize;
        // First and last stay where they are.
        let scale = if made > 1 { (cut - 1) as f64 / (made - 1) as f64 } else { 0.0 };
        Self { from: (side - cut) / 2, trim: (made - side) / 2, scale }
    }

    /// Returns the place before a position of the result, and how far behind it that lies.
    fn place(&self, at: usize) -> (usize, f64) {
        let at = (at + self.trim) as f64 * self.scale;
        (self.from + at as usize, at.fract())
    }
}

/// Lays fog over an image: a plasma fractal, `amount` where it is thickest, coarser with a larger `decay`.
pub(super) fn fog(
    image: &mut [f64],
    (h, w): (usize, usize),
    (amount, decay): (f64, f64),
    rng: &mut impl Rng,
) {
    let side = h.max(w).next_power_of_two().max(2);
    let thick = plasma(side, decay, |wibble| wibble * (2.0 * rng.random::<f64>() - 1.0));
    let most = image.iter().copied().fold(0.0, f64::max);
    for plane in image.chunks_exact_mut(h * w) {
        for (at, value) in plane.iter_mut().enumerate() {
            let fog = amount * thick[(at / w) * side + at % w];
            *value = (*value + fog) * most / (most + amount);
        }
    }
}

/// Returns a square of heights from 0 to 1 by diamonds and squares, whose edges meet; `draw` gives a number up to
/// its argument, either way.
fn plasma(side: usize, decay: f64, mut draw: impl FnMut(f64) -> f64) -> Vec<f64> {
    let mut map = vec![0.0; side * side];
    let (mut step, mut wibble) = (side, 100.0);
    while step >= 2 {
        let half = step / 2;
        let at = |y: usize, x: usize| (y % side) * side + x % side;
        let mut fill = |map: &mut Vec<f64>, place: usize, around: [usize; 4]| {
            let sum: f64 = around.iter().map(|one| map[*one]).sum();
            map[place] = sum / 4.0 + wibble * draw(wibble);
        };
        let places =
            || (0..side).step_by(step).flat_map(|y| (0..side).step_by(step).map(move |x| (y, x)));
        for (y, x) in places() {
            let corners = [at(y, x), at(y + step, x), at(y, x + step), at(y + step, x + step)];
            fill(&mut map, at(y + half, x + half), corners);
        }
        for (y, x) in places() {
            let middle = at(y + half, x + half);
            let above = at(y + side - half, x + half);
            fill(&mut map, at(y, x + half), [middle, above, at(y, x), at(y, x + step)]);
        }
        for (y, x) in places() {
            let middle = at(y + half, x + half);
            let left = at(y + half, x + side - half);
            fill(&mut map, at(y + half, x), [middle, left, at(y, x), at(y + step, x)]);
        }
        (step, wibble) = (half, wibble / decay);
    }
    let low = map.iter().copied().fold(f64::INFINITY, f64::min);
    let high = map.iter().copied().fold(f64::NEG_INFINITY, f64::max) - low;
    map.iter_mut().for_each(|value| *value = if high > 0.0 { (*value - low) / high } else { 0.0 });
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Streams;

    #[test]
    fn an_enlarged_middle_is_that_of_scipy() {
        // scipy.ndimage.zoom of 0 to 15 as 4 x 4 by 1.3, order 1, cut as the authors' code cuts it.
        let plane: Vec<f64> = (0..16).map(f64::from).collect();
        let mut sum = vec![0.0; 16];
        enlarge(&plane, (4, 4), 1.3, &mut sum);
        for (found, wanted) in sum.iter().zip(SCIPY) {
            assert!((found - wanted).abs() < 1e-9, "{sum:?}");
        }
        // A picture of one colour stays one.
        let mut grey = vec![0.25; 64];
        zoom(&mut grey, (8, 8), 1.26);
        assert!(grey.iter().all(|value| (value - 0.25).abs() < 1e-12));
    }

    #[rustfmt::skip]
    const SCIPY: [f64; 16] = [
        0.0, 0.75, 1.5, 2.25, 3.0, 3.75, 4.5, 5.25, 6.0, 6.75, 7.5, 8.25, 9.0, 9.75, 10.5, 11.25,
    ];

    #[test]
    fn a_plasma_of_two_by_two_worked_by_hand() {
        // The corner is 0. Draws of 1, 2, 3 times 100: 100; 100/2 + 200; 100/2 + 300.
        let mut draws = [1.0, 2.0, 3.0].into_iter();
        let map = plasma(2, 3.0, |_| draws.next().expect("three are drawn"));
        let wanted = [0.0, 250.0 / 350.0, 1.0, 100.0 / 350.0];
        assert!(map.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{map:?}");
    }

    #[test]
    fn glass_moves_pixels_a_little_and_keeps_the_border() {
        let mut rng = Streams::new(1, &["train-images"]).at("train-images", 0);
        // A column of 1 in 12: with a narrow blur only neighbours change.
        let mut image: Vec<f64> = (0..144).map(|at| f64::from(u8::from(at % 12 == 6))).collect();
        let before = image.clone();
        glass(&mut image, (12, 12), (0.05, 1, 1), &mut rng);
        let moved = |x: usize| {
            (0..12).filter(|y| (image[y * 12 + x] - before[y * 12 + x]).abs() > 0.5).count()
        };
        assert!(moved(6) + moved(7) > 0);
        assert_eq!([0, 1, 2, 3, 4, 5, 8, 9, 10, 11].map(moved), [0; 10]);
        assert_eq!(image[..12], before[..12]);
    }
}
