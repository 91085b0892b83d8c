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

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng as _;

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
