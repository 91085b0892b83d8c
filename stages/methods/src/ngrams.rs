//! Texts as words and their sequences, hashed: what `load.text` makes features of and `score.ngram-weight` counts.

use unicode_segmentation::UnicodeSegmentation as _;

/// The longest sequences that are counted.
pub(crate) const LONGEST: usize = 5;

/// Returns the tokens of a text in lower case: words, numbers and single signs, as Unicode divides words (UAX 29),
/// without the blanks between them.
fn tokens(lower: &str) -> impl Iterator<Item = &str> {
    lower.split_word_bounds().filter(|token| !token.trim().is_empty())
}

/// Calls `see` with the hash of every sequence of 1 to `longest` tokens of `text`. Returns how many tokens it has.
pub(crate) fn each(text: &str, longest: usize, mut see: impl FnMut(u64)) -> u64 {
    let lower = text.to_lowercase();
    // The hashes of the sequences that end at the last token, the shortest first.
    let mut ending: Vec<u64> = Vec::with_capacity(longest);
    let mut count = 0;
    for token in tokens(&lower) {
        let token = of_bytes(token.as_bytes());
        ending.truncate(longest.saturating_sub(1));
        // Each sequence goes on with the token, and a new one begins with it.
        ending.iter_mut().for_each(|sequence| *sequence = mixed(*sequence ^ token));
        ending.insert(0, mixed(token));
        ending.iter().for_each(|sequence| see(*sequence));
        count += 1;
    }
    count
}

/// Returns which of so many buckets a hash falls into.
pub(crate) fn bucket(hash: u64, buckets: usize) -> usize {
    ((u128::from(hash) * buckets as u128) >> 64) as usize
}

/// Returns FNV-1a of bytes.
fn of_bytes(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Spreads a hash over all bits (the end of SplitMix64).
fn mixed(hash: u64) -> u64 {
    let hash = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn hashes(text: &str, longest: usize) -> Vec<u64> {
        let mut all = vec![];
        each(text, longest, |hash| all.push(hash));
        all
    }

    #[test]
    fn sequences_are_of_neighbours_in_order() {
        let found: Vec<&str> = tokens("don't stop: 3.5 \u{4e16}\u{754c}\n").collect();
        assert_eq!(found, ["don't", "stop", ":", "3.5", "\u{4e16}", "\u{754c}"]);
        let [a, b, ab] = hashes("A b", 2)[..] else { panic!("two tokens and a pair") };
        assert_eq!(hashes("a", 2), [a]);
        assert_eq!(hashes("b", 1), [b]);
        assert_eq!(hashes("c a  b", 2)[3..], [b, ab]);
        assert_ne!(hashes("b a", 2)[2], ab);
        // Three, two pairs and a sequence of three.
        let all = hashes("x y z", 3);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 6);
        assert_eq!(each("x y z", 3, |_| {}), 3);
    }

    #[test]
    fn buckets_are_filled_evenly() {
        let mut counts = [0u32; 10];
        (0..10_000).for_each(|n: u32| counts[bucket(hashes(&n.to_string(), 1)[0], 10)] += 1);
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    }
}
