//! Named random streams.

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

/// The random streams a stage declared, and no others. A stream depends on the stage's seed and
/// its own name, and on nothing else: not on the order streams are asked for, nor on the thread.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    root: u64,
    declared: &'static [&'static str],
}

impl Streams {
    /// Returns the streams called `declared`, grown from `seed`.
    #[must_use]
    pub fn new(seed: u64, declared: &'static [&'static str]) -> Self {
        Self { root: seed, declared }
    }

    /// Returns the stream called `name`, from its beginning.
    ///
    /// # Panics
    ///
    /// Panics if the stage did not declare it, for then the seed is not in its key.
    #[must_use]
    pub fn get(&self, name: &str) -> ChaCha8Rng {
        self.at(name, 0)
    }

    /// Returns the `index`-th stream called `name`, from its beginning: one for each epoch, say,
    /// so that a training can go on from a checkpoint without any generator's state.
    ///
    /// # Panics
    ///
    /// Panics if the stage did not declare it, for then the seed is not in its key.
    #[must_use]
    pub fn at(&self, name: &str, index: u64) -> ChaCha8Rng {
        assert!(self.declared.contains(&name), "stream `{name}` is not declared");
        let mut hasher = blake3::Hasher::new_derive_key("coresift seed stream v1");
        hasher.update(&self.root.to_le_bytes()).update(&index.to_le_bytes());
        hasher.update(name.as_bytes());
        ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
    }
}

/// Returns the seed of a repeat, counted from 0, of a stage whose seed is `seed`. The first repeat
/// has that seed itself, so what was computed without `repeats` is found again; the `n`-th has the
/// first eight bytes, little-endian, of the BLAKE3 hash of `seed` (8 bytes) and `n` (4 bytes) with
/// the context `coresift seed repeat v1`, halved, so that it can be written in a file.
pub(crate) fn repeat_seed(seed: u64, repeat: u32) -> u64 {
    if repeat == 0 {
        return seed;
    }
    let mut hasher = blake3::Hasher::new_derive_key("coresift seed repeat v1");
    hasher.update(&seed.to_le_bytes()).update(&repeat.to_le_bytes());
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    u64::from_le_bytes(bytes) >> 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng as _;

    #[test]
    fn repeats_have_seeds_of_their_own() {
        let seeds: Vec<u64> = (0..4).map(|repeat| repeat_seed(7, repeat)).collect();
        assert_eq!(seeds, [7, 173838381245537444, 8199331672776991057, 5157558888935856191]);
        assert_ne!(repeat_seed(8, 1), seeds[1]);
        assert!(seeds.iter().all(|seed| i64::try_from(*seed).is_ok()), "TOML can hold them");
    }

    #[test]
    fn streams_do_not_disturb_each_other() {
        let streams = Streams::new(1, &["shuffle", "init"]);
        let alone = streams.get("shuffle").next_u64();
        let mut other = streams.get("init");
        other.next_u64();
        assert_eq!(streams.get("shuffle").next_u64(), alone);
        assert_ne!(other.next_u64(), alone);
        assert_ne!(streams.at("shuffle", 1).next_u64(), alone);
    }
}
