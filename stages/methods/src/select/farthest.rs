//! Farthest-first traversal, whatever the distance.

use super::Watch;
use engine::StageError;
use rayon::prelude::*;

const CHUNK: usize = 4096;

/// Returns the place of the largest value; of equal ones the first.
pub(super) fn argmax(values: &[f32]) -> Option<usize> {
    let best = |(start, chunk): (usize, &[f32])| {
        let mut best = (start, chunk[0]);
        for (at, value) in chunk.iter().enumerate() {
            if *value > best.1 {
                best = (start + at, *value);
            }
        }
        best
    };
    let chunks = values.par_chunks(CHUNK).enumerate().map(|(at, chunk)| best((at * CHUNK, chunk)));
    let first = |a: (usize, f32), b: (usize, f32)| {
        if b.1 > a.1 || (b.1 == a.1 && b.0 < a.0) { b } else { a }
    };
    chunks.reduce_with(first).map(|(at, _)| at)
}

/// Starts from `seeds` and adds, up to `budget` in all, the place farthest from those chosen; of
/// equally far ones the first. `approach(centre, order, nearest)` lowers each distance in `nearest`
/// to that of `centre`, the `order`-th to be chosen, if that is smaller.
pub(super) fn farthest_first(
    n: usize,
    seeds: &[u32],
    budget: usize,
    watch: &dyn Watch,
    mut approach: impl FnMut(usize, usize, &mut [f32]),
) -> Result<Vec<u32>, StageError> {
    let mut nearest = vec![f32::INFINITY; n];
    let mut chosen: Vec<u32> = vec![];
    while chosen.len() < budget {
        watch.step(chosen.len(), budget)?;
        let next = match seeds.get(chosen.len()) {
            Some(seed) => *seed as usize,
            None => argmax(&nearest).expect("there are more samples than the budget"),
        };
        if chosen.len() + 1 < budget {
            approach(next, chosen.len(), &mut nearest);
        }
        chosen.push(next as u32);
        // Not chosen again, even where all others are duplicates of a centre.
        nearest[next] = f32::NEG_INFINITY;
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equals_wins_across_chunks() {
        let mut values = vec![0.0; 10_000];
        values[9000] = 2.0;
        values[4100] = 2.0;
        values[4099] = 2.0;
        assert_eq!(argmax(&values), Some(4099));
    }
}
