//! Draws from a stream that no library's next release changes.

use rand::Rng;

/// Returns a number below `n`, each equally likely (Lemire 2019).
///
/// # Panics
///
/// Panics if `n` is 0.
pub(super) fn below(stream: &mut impl Rng, n: usize) -> usize {
    assert!(n > 0, "there is nothing to draw from");
    let n = n as u64;
    loop {
        let wide = u128::from(stream.next_u64()) * u128::from(n);
        if wide as u64 >= n.wrapping_neg() % n {
            return (wide >> 64) as usize;
        }
    }
}

/// Draws `count` of `all` without replacement; what is drawn comes in the order of the draw.
///
/// # Panics
///
/// Panics if there are fewer.
pub(super) fn sample(stream: &mut impl Rng, mut all: Vec<u32>, count: usize) -> Vec<u32> {
    for at in 0..count {
        let other = at + below(stream, all.len() - at);
        all.swap(at, other);
    }
    all.truncate(count);
    all
}

/// Returns a number above 0 and below 1: 53 bits and a half.
pub(super) fn uniform(stream: &mut impl Rng) -> f64 {
    ((stream.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// Draws `count` places without replacement, each draw in proportion to what `log_weights` are the
/// logarithms of; those of weight 0, which is minus infinity, come last, in order. What is drawn comes
/// in the order of the draw.
///
/// A weight's exponential waiting time decides (Efraimidis & Spirakis 2006), in logarithms, so that
/// no weight is too small.
pub(super) fn weighted(stream: &mut impl Rng, log_weights: &[f64], count: usize) -> Vec<u32> {
    let mut waits: Vec<(f64, u32)> = (0..)
        .zip(log_weights)
        .map(|(at, weight)| ((-uniform(stream).ln()).ln() - weight, at))
        .collect();
    waits.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    waits.into_iter().take(count).map(|(_, at)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Streams;

    #[test]
    fn weights_are_chances_and_no_weight_comes_last() {
        let mut stream = Streams::new(5, &["pick"]).get("pick");
        let weights = [1.0f64, 3.0, 0.0, 4.0].map(|weight| weight.ln() - 700.0);
        let (mut first, mut second) = ([0u32; 4], [0u32; 4]);
        for _ in 0..20_000 {
            let drawn = weighted(&mut stream, &weights, 4);
            assert_eq!(drawn[3], 2);
            first[drawn[0] as usize] += 1;
            second[drawn[1] as usize] += 1;
        }
        // First 1/8, 3/8, 1/2. Second, for place 0: 3/8 * 1/5 + 1/2 * 1/4 = 0.2.
        for (count, chance) in first.iter().zip([0.125, 0.375, 0.0, 0.5]) {
            assert!((f64::from(*count) / 20_000.0 - chance).abs() < 0.015, "{first:?}");
        }
        assert!((f64::from(second[0]) / 20_000.0 - 0.2).abs() < 0.015, "{second:?}");
    }

    #[test]
    fn every_pair_is_drawn_about_as_often() {
        let mut stream = Streams::new(3, &["pick"]).get("pick");
        let mut counts = [0u32; 25];
        for _ in 0..20_000 {
            let drawn = sample(&mut stream, (0..5).collect(), 2);
            counts[(drawn[0] * 5 + drawn[1]) as usize] += 1;
        }
        for (pair, count) in counts.iter().enumerate() {
            let same = pair / 5 == pair % 5;
            assert!(if same { *count == 0 } else { (850..1150).contains(count) }, "{counts:?}");
        }
    }
}
