//! Inner loops over two vectors, in the widest registers this machine has. Sixty-four running sums,
//! added in a fixed order, and no fused operation: wider registers give the same bits.

const LANES: usize = 64;

/// Returns the sum of `term` over the pairs of `a` and `b`. The loops count instead of zipping: the
/// adapters of iterators are compiled apart from what calls them, and without the vector registers.
#[inline(always)]
fn folded(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut rest = 0.0;
    for i in 0..a_rest.len().min(b_rest.len()) {
        rest += term(a_rest[i], b_rest[i]);
    }
    let mut sums = [0.0f32; LANES];
    for i in 0..a_chunks.len().min(b_chunks.len()) {
        let (x, y) = (&a_chunks[i], &b_chunks[i]);
        for lane in 0..LANES {
            sums[lane] += term(x[lane], y[lane]);
        }
    }
    added(sums) + rest
}

/// Returns the sum of all, in a fixed order.
#[inline(always)]
fn added(mut sums: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

/// Defines a function that is compiled once for each set of vector instructions `pulp` knows, and runs
/// with the widest this machine has: for loops that the compiler vectorises by itself.
#[macro_export]
macro_rules! in_widest {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$doc])*
        $vis fn $name($($arg: $type),*) $(-> $out)? {
            #[inline(always)]
            fn plain($($arg: $type),*) $(-> $out)? $body
            pulp::Arch::new().dispatch(#[inline(always)] || plain($($arg),*))
        }
    };
}
pub use in_widest;

/// Defines a sum over two vectors.
macro_rules! sum_of {
    ($(#[$doc:meta])* $name:ident, $term:expr) => {
        in_widest! {
            $(#[$doc])*
            pub(crate) fn $name(a: &[f32], b: &[f32]) -> f32 {
                folded(a, b, $term)
            }
        }
    };
}

sum_of! {
    /// Returns the dot product.
    dot, |x, y| x * y
}

sum_of! {
    /// Returns the squared Euclidean distance, free of cancellation.
    squared_distance, |x, y| (x - y) * (x - y)
}

sum_of! {
    /// Returns the sum of what `a` exceeds `b` by, where it does.
    excess, |x, y| if x > y { x - y } else { 0.0 }
}

/// Returns what [`excess`] returns of two vectors of `n` elements, to the bit, from the places, in
/// ascending order, where the first is the greater, and by how much.
pub(crate) fn excess_of(n: usize, places: impl IntoIterator<Item = (usize, f32)>) -> f32 {
    let (mut sums, mut rest, whole) = ([0.0f32; LANES], 0.0, n / LANES * LANES);
    for (place, by) in places {
        let sum = if place < whole { &mut sums[place % LANES] } else { &mut rest };
        *sum += by;
    }
    added(sums) + rest
}

/// Returns `n` numbers that look random, from -1 to 1: the same for the same seed.
pub(crate) fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    (0..n).map(|_| ((next() >> 40) as f64 / f64::from(1 << 23) - 1.0) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_sum_what_a_loop_sums() {
        for n in [0, 1, 63, 64, 65, 300] {
            let (a, b) = (noise(n, 1), noise(n, 2));
            let pairs = || a.iter().zip(&b).map(|(x, y)| (f64::from(*x), f64::from(*y)));
            let slow: f64 = pairs().map(|(x, y)| x * y).sum();
            assert!((f64::from(dot(&a, &b)) - slow).abs() < 1e-5);
            let slow: f64 = pairs().map(|(x, y)| (x - y).max(0.0)).sum();
            assert!((f64::from(excess(&a, &b)) - slow).abs() < 1e-4);
            let greater = a.iter().zip(&b).enumerate().filter(|(_, (x, y))| x > y);
            let by = greater.map(|(place, (x, y))| (place, x - y));
            assert_eq!(excess_of(n, by).to_bits(), excess(&a, &b).to_bits());
            let slow: f64 = pairs().map(|(x, y)| (x - y) * (x - y)).sum();
            assert!((f64::from(squared_distance(&a, &b)) - slow).abs() < 1e-4);
        }
    }
}
