//! The draws of numpy's legacy `RandomState`, with which DeepCore picks.
//!
//! numpy keeps this stream as it is for good (NEP 19), so what is drawn here is what DeepCore draws
//! from the same seed.

use super::Group;
use rand_mt::Mt;

/// numpy's `RandomState(seed)`.
pub(super) struct RandomState(Mt);

impl RandomState {
    pub(super) fn new(seed: u32) -> Self {
        Self(Mt::new(seed))
    }

    /// Returns `randint(0, n)`: a number below `n`.
    ///
    /// # Panics
    ///
    /// Panics if `n` is 0.
    pub(super) fn below(&mut self, n: u32) -> u32 {
        let most = n.checked_sub(1).expect("there is something to draw from");
        if most == 0 {
            return 0;
        }
        // The bits that can be set in a number up to `most`; what is above it is drawn again.
        let mask = u32::MAX >> most.leading_zeros();
        loop {
            let drawn = self.0.next_u32() & mask;
            if drawn <= most {
                return drawn;
            }
        }
    }

    /// Returns `choice(n, count, replace=False)`: the start of a whole permutation.
    pub(super) fn choice(&mut self, n: u32, count: usize) -> Vec<u32> {
        let mut all: Vec<u32> = (0..n).collect();
        for at in (1..n).rev() {
            all.swap(at as usize, self.below(at + 1) as usize);
        }
        all.truncate(count);
        all
    }

    /// Draws what comes before `group`: DeepCore draws class after class from one state.
    pub(super) fn skip_to(&mut self, group: &Group<'_>) {
        let labels = group.ground.labels;
        if group.len() == labels.len() {
            return;
        }
        for class in 0..group.index {
            let size = labels.iter().filter(|label| label.index() as u64 == class).count() as u32;
            (1..size).rev().for_each(|at| {
                self.below(at + 1);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_those_of_numpy() {
        // numpy 2.4: RandomState(7).randint(0, 300), and the first draws of RandomState(123).
        assert_eq!(RandomState::new(7).below(300), 175);
        let mut state = RandomState::new(123);
        assert_eq!(state.choice(10, 10), [4, 0, 7, 5, 8, 3, 1, 6, 9, 2]);
    }
}
