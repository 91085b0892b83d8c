//! Blurs of the values of an image `[c, h, w]`.

/// What is seen beyond the border of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Border {
    /// The outermost pixels, repeated.
    Repeated,
    /// A mirror stands on the outermost pixels, which are seen once.
    Mirrored,
    /// A mirror stands behind the outermost pixels, which are seen twice.
    Reflected,
}

impl Border {
    /// Returns the position below `n` that is seen at `at`.
    pub(super) fn place(self, at: i64, n: usize) -> usize {
        let last = n as i64 - 1;
        let place = match self {
            Self::Repeated => at.clamp(0, last),
            Self::Mirrored => {
                let period = (2 * last).max(1);
                let at = at.rem_euclid(period);
                at.min(period - at).min(last)
            }
            Self::Reflected => {
                let at = at.rem_euclid(2 * last + 2);
                at.min(2 * last + 1 - at)
            }
        };
        place as usize
    }
}

/// Blurs with a Gaussian cut off at four standard deviations; beyond the border its values are repeated.
pub(super) fn gaussian(image: &mut [f64], (h, w): (usize, usize), std: f64) {
    gaussian_to(image, (h, w), std, (4.0, Border::Repeated));
}

/// Blurs with a Gaussian cut off at so many standard deviations.
pub(super) fn gaussian_to(
    image: &mut [f64],
    (h, w): (usize, usize),
    std: f64,
    (cut, border): (f64, Border),
) {
    let reach = (cut * std + 0.5) as i64;
    let weight = |at: i64| (-0.5 * (at as f64 / std) * (at as f64 / std)).exp();
    let taps: Vec<f64> = (-reach..=reach).map(weight).collect();
    let total: f64 = taps.iter().sum();
    let taps: Vec<f64> = taps.iter().map(|tap| tap / total).collect();
    for plane in image.chunks_exact_mut(h * w) {
        along(plane, (h, w), (&taps, reach, border), true);
        along(plane, (h, w), (&taps, reach, border), false);
    }
}

/// Replaces each value of a plane by the sum over the taps of those around it, down or across.
fn along(
    plane: &mut [f64],
    (h, w): (usize, usize),
    (taps, reach, border): (&[f64], i64, Border),
    down: bool,
) {
    let before = plane.to_vec();
    let near = |at: usize, by: i64, n: usize| border.place(at as i64 + by, n);
    for (at, value) in plane.iter_mut().enumerate() {
        let (y, x) = (at / w, at % w);
        let place = |by| if down { near(y, by, h) * w + x } else { y * w + near(x, by, w) };
        *value = (-reach..=reach).zip(taps).map(|(by, tap)| tap * before[place(by)]).sum();
    }
}

/// Blurs with a disc, as a lens that is out of focus does; beyond the border the image is reflected.
pub(super) fn defocus(image: &mut [f64], (h, w): (usize, usize), radius: f64, alias: f64) {
    let (kernel, reach) = disc(radius, alias);
    let side = (2 * reach + 1) as usize;
    let seen = |at, n| Border::Mirrored.place(at, n);
    for plane in image.chunks_exact_mut(h * w) {
        let before = plane.to_vec();
        for (at, value) in plane.iter_mut().enumerate() {
            let (y, x) = ((at / w) as i64, (at % w) as i64);
            let mut sum = 0.0;
            for (tap, weight) in kernel.iter().enumerate() {
                let (dy, dx) = ((tap / side) as i64 - reach, (tap % side) as i64 - reach);
                sum += weight * before[seen(y + dy, h) * w + seen(x + dx, w)];
            }
            *value = sum;
        }
    }
}

/// Returns the weights of a disc smoothed by a Gaussian of three by three taps, and how far they reach.
fn disc(radius: f64, alias: f64) -> (Vec<f64>, i64) {
    let reach = radius.floor() as i64 + 1;
    let side = -reach..=reach;
    let inside = |y: i64, x: i64| f64::from(u8::from((y * y + x * x) as f64 <= radius * radius));
    let places = || side.clone().flat_map(|y| side.clone().map(move |x| (y, x)));
    let total: f64 = places().map(|(y, x)| inside(y, x)).sum();
    let edge = (-0.5 / (alias * alias)).exp();
    let taps = [edge, 1.0, edge].map(|tap| tap / (1.0 + 2.0 * edge));
    let smooth = |(y, x): (i64, i64)| {
        let mut sum = 0.0;
        for (dy, down) in (-1..=1).zip(taps) {
            for (dx, across) in (-1..=1).zip(taps) {
                sum += down * across * inside(y + dy, x + dx);
            }
        }
        sum / total
    };
    (places().map(smooth).collect(), reach)
}

/// Makes an image coarser: it is shrunk to `share` of its sides and enlarged again, both by box filters with
/// whole levels in between, across and then down.
pub(super) fn pixelate(levels: &[u8], (h, w): (usize, usize), share: f64) -> Vec<u8> {
    let small = |n: usize| ((n as f64 * share) as usize).max(1);
    let (low, narrow) = (small(h), small(w));
    let mut out = Vec::with_capacity(levels.len());
    for plane in levels.chunks_exact(h * w) {
        let shrunk = resized(plane, (h, w), (low, narrow));
        out.extend(resized(&shrunk, (low, narrow), (h, w)));
    }
    out
}

fn resized(plane: &[u8], (h, w): (usize, usize), (to_h, to_w): (usize, usize)) -> Vec<u8> {
    let across = windows(w, to_w);
    let wide: Vec<u8> = plane
        .chunks_exact(w)
        .flat_map(|row| across.iter().map(|(from, to)| mean(row[*from..*to].iter().copied())))
        .collect();
    let column = |x: usize, from: usize, to: usize| mean((from..to).map(|y| wide[y * to_w + x]));
    let down = windows(h, to_h);
    let rows = down.iter().flat_map(|(from, to)| (0..to_w).map(|x| column(x, *from, *to)));
    rows.collect()
}

/// Returns which of `n` values each of `to` is the mean of.
fn windows(n: usize, to: usize) -> Vec<(usize, usize)> {
    let scale = n as f64 / to as f64;
    let support = scale.max(1.0) / 2.0;
    let window = |at: usize| {
        let centre = (at as f64 + 0.5) * scale;
        // A value counts if its own centre lies within the support, its upper end included.
        let inside = |one: &usize| {
            let away = *one as f64 + 0.5 - centre;
            -support < away && away <= support
        };
        let near = (centre - support - 1.0).max(0.0) as usize;
        let mut those = (near..n).skip_while(|one| !inside(one)).take_while(inside);
        let first = those.next().unwrap_or(near.min(n - 1));
        (first, those.last().unwrap_or(first) + 1)
    };
    (0..to).map(window).collect()
}

/// Returns the mean, a half rounded up.
fn mean(values: impl ExactSizeIterator<Item = u8>) -> u8 {
    let n = values.len().max(1);
    let sum: usize = values.map(usize::from).sum();
    ((2 * sum + n) / (2 * n)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: &[f64], wanted: &[f64]) {
        assert_eq!(found.len(), wanted.len());
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
        }
    }

    #[test]
    fn a_point_becomes_a_gaussian_and_the_border_is_repeated() {
        let mut image = vec![0.0; 15];
        image[7] = 1.0;
        gaussian(&mut image, (3, 5), 0.4);
        let edge = (-0.5_f64 / 0.16).exp();
        let far = (-0.5_f64 * 4.0 / 0.16).exp();
        let all = 1.0 + 2.0 * edge + 2.0 * far;
        let (a, b, c) = (1.0 / all, edge / all, far / all);
        // Rows above and below the three there are repeat the outer ones, which are dark.
        let across = [c, b, a, b, c];
        let row = |down: f64| across.map(|one| one * down);
        near(&image, &[row(b), row(a), row(b)].concat());
        let mut corner = vec![1.0, 0.0, 0.0, 0.0];
        gaussian(&mut corner, (1, 4), 0.4);
        near(&corner, &[a + b + c, b + c, c, 0.0]);
        let mut flat = vec![0.3; 32];
        gaussian(&mut flat, (4, 4), 1.0);
        near(&flat, &[0.3; 32]);
    }

    #[test]
    fn discs_are_smoothed_and_sum_to_one() {
        let (small, reach) = disc(0.4, 0.5);
        let edge = (-2.0_f64).exp();
        let (a, b) = (1.0 / (1.0 + 2.0 * edge), edge / (1.0 + 2.0 * edge));
        assert_eq!(reach, 1);
        near(&small, &[b * b, a * b, b * b, a * b, a * a, a * b, b * b, a * b, b * b]);
        for (radius, alias) in [(1.0, 0.2), (1.5, 0.1)] {
            let (kernel, reach) = disc(radius, alias);
            assert_eq!((reach, kernel.len()), (2, 25));
            near(&[kernel.iter().sum()], &[1.0]);
        }
        // Five and nine places, next to nothing beyond.
        near(&[disc(1.0, 0.1).0[12], disc(1.5, 0.1).0[12]], &[0.2, 1.0 / 9.0]);
        let mut row = vec![1.0, 0.0, 0.0];
        defocus(&mut row, (1, 3), 0.4, 0.5);
        // The second is seen on both sides of the first.
        near(&row, &[a, b, 0.0]);
        let seen = |border: Border| [-5, -2, -1, 0, 3, 4, 5].map(|at| border.place(at, 4));
        assert_eq!(seen(Border::Mirrored), [1, 2, 1, 0, 3, 2, 1]);
        assert_eq!(seen(Border::Reflected), [3, 1, 0, 0, 3, 3, 2]);
        assert_eq!(seen(Border::Repeated), [0, 0, 0, 0, 3, 3, 3]);
        for border in [Border::Mirrored, Border::Reflected] {
            assert_eq!([-1, 0, 1].map(|at| border.place(at, 1)), [0, 0, 0]);
        }
    }

    #[test]
    fn boxes_are_means_and_each_value_counts_once_or_more() {
        // 20 of 32, as pixelate makes them at its strongest.
        let found = windows(32, 20);
        assert_eq!(found[..5], [(0, 2), (2, 3), (3, 5), (5, 6), (6, 8)]);
        assert_eq!(windows(4, 8), [(0, 1), (0, 1), (1, 2), (1, 2), (2, 3), (2, 3), (3, 4), (3, 4)]);
        assert_eq!(pixelate(&[0, 1, 10, 20, 0, 2, 10, 20], (2, 4), 0.5), [1, 1, 15, 15].repeat(2));
        assert_eq!(mean([1_u8, 2].into_iter()), 2);
    }
}
