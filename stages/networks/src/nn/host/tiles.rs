//! How the channels of a convolution are cut into tiles: what a kernel sums at once, in as many vector
//! registers as there are.

/// Tiles of one width, then some of a narrower one, so that few places stay empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tiles {
    channels: usize,
    /// How many channels a tile takes, and a narrow one.
    widths: [usize; 2],
    /// How many tiles there are of each width.
    counts: [usize; 2],
}

impl Tiles {
    /// Cuts `channels` into tiles of two widths, the narrower one last: as few empty places as can be,
    /// then as few narrow tiles.
    pub(super) fn new(channels: usize, widths: [usize; 2]) -> Self {
        let [wide, narrow] = widths;
        let cut = |narrows: usize| {
            let wides = channels.saturating_sub(narrows * narrow).div_ceil(wide);
            Self { channels, widths, counts: [wides, narrows] }
        };
        (0..wide).map(cut).min_by_key(|tiles| tiles.places()).expect("a tile takes a channel")
    }

    /// Returns how many channels there is a place for.
    pub(super) fn places(self) -> usize {
        self.wide_places() + self.counts[1] * self.widths[1]
    }

    /// Returns how many places the wide tiles have.
    pub(super) fn wide_places(self) -> usize {
        self.counts[0] * self.widths[0]
    }

    /// Returns how many channels a tile takes, and a narrow one.
    pub(super) fn widths(self) -> [usize; 2] {
        self.widths
    }

    /// Returns how many tiles there are.
    pub(super) fn count(self) -> usize {
        self.counts.iter().sum()
    }

    /// Returns the first channel of the tile at `index`, and its width.
    pub(super) fn tile(self, index: usize) -> (usize, usize) {
        let [wide, narrow] = self.widths;
        match index.checked_sub(self.counts[0]) {
            None => (index * wide, wide),
            Some(past) => (self.wide_places() + past * narrow, narrow),
        }
    }

    /// Returns the tile that `channel` is in, and its place there.
    pub(super) fn find(self, channel: usize) -> (usize, usize) {
        let [wide, narrow] = self.widths;
        match channel.checked_sub(self.wide_places()) {
            None => (channel / wide, channel % wide),
            Some(past) => (self.counts[0] + past / narrow, past % narrow),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_worked_by_hand() {
        let counts = |channels, widths| Tiles::new(channels, widths).counts;
        assert_eq!(counts(64, [8, 8]), [8, 0]);
        assert_eq!(counts(3, [8, 8]), [1, 0]);
        assert_eq!(counts(64, [6, 4]), [10, 1]);
        assert_eq!(counts(32, [6, 4]), [4, 2]);
        assert_eq!(counts(6, [6, 4]), [1, 0]);
        assert_eq!(counts(2, [6, 4]), [0, 1]);
        assert_eq!(counts(16, [3, 2]), [4, 2]);
        assert_eq!(counts(1, [3, 2]), [0, 1]);
    }

    #[test]
    fn every_channel_is_in_its_tile() {
        for (channels, widths) in (1..40).flat_map(|n| [(n, [8, 8]), (n, [6, 4]), (n, [3, 2])]) {
            let tiles = Tiles::new(channels, widths);
            for channel in 0..channels {
                let (index, place) = tiles.find(channel);
                let (first, width) = tiles.tile(index);
                assert_eq!(first + place, channel);
                assert!(place < width && index < tiles.count());
            }
        }
    }
}
