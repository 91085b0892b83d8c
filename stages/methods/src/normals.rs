//! Draws from the normal distribution, for every method that adds noise.

use rand::{Rng, RngExt as _};
use std::f64::consts::TAU;

/// Fills `out` with draws from N(0, 1), two at a time (Box and Muller, 1958).
pub(crate) fn normals(rng: &mut impl Rng, out: &mut [f64]) {
    for pair in out.chunks_mut(2) {
        // 1 - u lies in (0, 1]: its logarithm is finite.
        let (u, angle): (f64, f64) = (rng.random(), rng.random());
        let radius = (-2.0 * (1.0 - u).ln()).sqrt();
        let (sin, cos) = (TAU * angle).sin_cos();
        for (value, part) in pair.iter_mut().zip([cos, sin]) {
            *value = radius * part;
        }
    }
}
