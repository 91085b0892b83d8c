//! Brightness, contrast and saturation of the values of an image, which are 0 to 1.

/// Adds to the value of every pixel's hue, saturation and value (HSV), up to 1.
pub(super) fn brighten(image: &mut [f64], channels: usize, by: f64) {
    if channels != 3 {
        // What is grey is its own value.
        image.iter_mut().for_each(|value| *value = (*value + by).clamp(0.0, 1.0));
        return;
    }
    each_colour(image, |[hue, saturation, value]| [hue, saturation, (value + by).clamp(0.0, 1.0)]);
}

/// Multiplies the saturation of every pixel and adds to it.
pub(super) fn saturate(image: &mut [f64], times: f64, plus: f64) {
    each_colour(image, |[hue, saturation, value]| {
        [hue, (saturation * times + plus).clamp(0.0, 1.0), value]
    });
}

/// Moves every value towards its channel's mean, of which it keeps a share of the distance.
pub(super) fn contrast(image: &mut [f64], channels: usize, share: f64) {
    let plane = image.len() / channels.max(1);
    for plane in image.chunks_exact_mut(plane.max(1)) {
        let mean = plane.iter().sum::<f64>() / plane.len() as f64;
        plane.iter_mut().for_each(|value| *value = (*value - mean) * share + mean);
    }
}

/// Replaces every pixel of an image of three channels by what `change` makes of it as hue, saturation
/// and value.
fn each_colour(image: &mut [f64], change: impl Fn([f64; 3]) -> [f64; 3]) {
    let n = image.len() / 3;
    let (red, rest) = image.split_at_mut(n);
    let (green, blue) = rest.split_at_mut(n);
    for at in 0..n {
        let rgb = to_rgb(change(to_hsv([red[at], green[at], blue[at]])));
        [red[at], green[at], blue[at]] = rgb;
    }
}

/// Returns hue (0 up to 6, red at 0), saturation and value.
fn to_hsv([r, g, b]: [f64; 3]) -> [f64; 3] {
    let value = r.max(g).max(b);
    let range = value - r.min(g).min(b);
    if range == 0.0 {
        return [0.0, 0.0, value];
    }
    let hue = if value == r {
        ((g - b) / range).rem_euclid(6.0)
    } else if value == g {
        2.0 + (b - r) / range
    } else {
        4.0 + (r - g) / range
    };
    [hue, range / value, value]
}

fn to_rgb([hue, saturation, value]: [f64; 3]) -> [f64; 3] {
    // How far each channel is from being the largest.
    [5.0, 3.0, 1.0].map(|own: f64| {
        let along = (own + hue).rem_euclid(6.0);
        value - value * saturation * along.min(4.0 - along).clamp(0.0, 1.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: &[f64], wanted: &[f64]) {
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
        }
    }

    #[test]
    fn colours_go_there_and_back() {
        for (rgb, hsv) in [
            ([1.0, 0.0, 0.0], [0.0, 1.0, 1.0]),
            ([0.0, 0.5, 0.0], [2.0, 1.0, 0.5]),
            ([0.25, 0.25, 0.5], [4.0, 0.5, 0.5]),
            ([0.5, 0.25, 0.5], [5.0, 0.5, 0.5]),
            ([0.5, 0.375, 0.25], [0.5, 0.5, 0.5]),
            ([0.3, 0.3, 0.3], [0.0, 0.0, 0.3]),
        ] {
            near(&to_hsv(rgb), &hsv);
            near(&to_rgb(hsv), &rgb);
        }
    }

    #[test]
    fn pixels_become_brighter_greyer_and_duller() {
        // Planes of two pixels: dark orange and black.
        let orange = || [0.5, 0.0, 0.375, 0.0, 0.25, 0.0];
        let mut image = orange();
        brighten(&mut image, 3, 0.25);
        near(&image, &[0.75, 0.25, 0.5625, 0.25, 0.375, 0.25]);
        let mut image = orange();
        saturate(&mut image, 0.5, 0.0);
        near(&image, &[0.5, 0.0, 0.4375, 0.0, 0.375, 0.0]);
        let mut image = orange();
        contrast(&mut image, 3, 0.5);
        near(&image, &[0.375, 0.125, 0.28125, 0.09375, 0.1875, 0.0625]);
        let mut grey = [0.5, 0.9];
        brighten(&mut grey, 1, 0.2);
        near(&grey, &[0.7, 1.0]);
    }
}
