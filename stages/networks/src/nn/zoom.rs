//! A part of an image brought to the size of the whole (torchvision's `RandomResizedCrop`), bilinear.
//!
//! A part is never larger than the whole, so there is nothing to be smoothed.

use artifacts::draw;
use rand::Rng;

/// A part of an image, as shares of its sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Zoom {
    pub(super) top: f32,
    pub(super) left: f32,
    pub(super) height: f32,
    pub(super) width: f32,
}

/// Where a value is taken from: between two pixels, this far from the first to the second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tap {
    pub(super) first: usize,
    pub(super) second: usize,
    pub(super) share: f32,
}

// A part that does not fit is drawn again so many times before the whole is taken.
const TRIES: usize = 10;

impl Zoom {
    /// All of it.
    pub(super) const WHOLE: Self = Self { top: 0.0, left: 0.0, height: 1.0, width: 1.0 };

    /// Draws a part.
    pub(super) fn draw(rng: &mut impl Rng) -> Self {
        for _ in 0..TRIES {
            let area = 0.54 + draw::uniform(rng, 0.46);
            let ratio = (4.0f32 / 3.0).powf(draw::uniform(rng, 1.0));
            let (height, width) = ((area / ratio).sqrt(), (area * ratio).sqrt());
            let (down, right) = (0.5 + draw::uniform(rng, 0.5), 0.5 + draw::uniform(rng, 0.5));
            if height <= 1.0 && width <= 1.0 {
                let (top, left) = ((1.0 - height) * down, (1.0 - width) * right);
                return Self { top, left, height, width };
            }
        }
        Self::WHOLE
    }

    /// Returns where each row is taken from.
    pub(super) fn rows(self, height: usize) -> Vec<Tap> {
        (0..height).map(|y| tap(y, height, self.top, self.height)).collect()
    }

    /// Returns where each column is taken from, right to left if it is to `flip`.
    pub(super) fn columns(self, width: usize, flip: bool) -> Vec<Tap> {
        let mut taps: Vec<Tap> = (0..width).map(|x| tap(x, width, self.left, self.width)).collect();
        if flip {
            taps.reverse();
        }
        taps
    }
}

// The middle of pixel `at` of the whole, in the part that begins at `from` and is `share` long.
fn tap(at: usize, side: usize, from: f32, share: f32) -> Tap {
    let place = from * side as f32 + share * (at as f32 + 0.5) - 0.5;
    let place = place.clamp(0.0, (side - 1) as f32);
    let first = place as usize;
    Tap { first, second: (first + 1).min(side - 1), share: place - first as f32 }
}

/// Returns what lies `share` of the way from `first` to `second`.
pub(super) fn between(first: f32, second: f32, share: f32) -> f32 {
    first + (second - first) * share
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Streams;

    #[test]
    fn a_zoom_worked_by_hand() {
        // The left half of four pixels: middles at -.25 (clamped), .25, .75 and 1.25.
        let half = Zoom { left: 0.0, width: 0.5, ..Zoom::WHOLE };
        let places = |flip| {
            half.columns(4, flip).iter().map(|tap| tap.first as f32 + tap.share).collect::<Vec<_>>()
        };
        assert_eq!(places(false), [0.0, 0.25, 0.75, 1.25]);
        assert_eq!(places(true), [1.25, 0.75, 0.25, 0.0]);
        let whole: Vec<_> = Zoom::WHOLE.rows(3).iter().map(|tap| (tap.first, tap.share)).collect();
        assert_eq!(whole, [(0, 0.0), (1, 0.0), (2, 0.0)]);
        let mut rng = Streams::new(5, &["augment"]).get("augment");
        let mut area = 0.0;
        for _ in 0..4000 {
            let Zoom { top, left, height, width } = Zoom::draw(&mut rng);
            assert!(top >= 0.0 && left >= 0.0 && top + height < 1.0001 && left + width < 1.0001);
            assert!((0.0799..1.0001).contains(&(height * width)));
            assert!((0.7499..1.3334).contains(&(width / height)));
            area += f64::from(height * width) / 4000.0;
        }
        // Uniform from .08 to 1 but for large parts that do not fit: a little below .54.
        assert!((0.45..0.54).contains(&area), "{area}");
    }
}
