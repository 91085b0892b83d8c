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

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Streams;

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
