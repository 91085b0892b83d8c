//! Draws from a random stream whose results never change with a library's version.

use rand::Rng;

/// Returns a whole number below `n`, which is not 0.
pub fn below(rng: &mut impl Rng, n: u32) -> u32 {
    // The high half of a 64 by 32 bit product: its bias is below 2^-32.
    ((u128::from(rng.next_u64()) * u128::from(n)) >> 64) as u32
}

/// Returns a number from `-bound` up to `bound`.
pub fn uniform(rng: &mut impl Rng, bound: f64) -> f32 {
    let unit = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    (bound * (2.0 * unit - 1.0)) as f32
}

/// Shuffles `items` (Fisher and Yates).
pub fn shuffle<T>(rng: &mut impl Rng, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        let bound = u32::try_from(last + 1).expect("positions fit in 32 bits");
        items.swap(last, below(rng, bound) as usize);
    }
}
