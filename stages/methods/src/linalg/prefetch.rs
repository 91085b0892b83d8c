//! Rows computed a few at a time, ahead of being asked for.
//!
//! A greedy method asks for one row a step, and a row alone costs a walk through all vectors. The
//! rows of what is likely to be asked for next come from the same walk.

/// Rows computed ahead. Which are at hand depends on what was asked for before, and on nothing else.
pub(crate) struct RowPrefetcher<T> {
    width: usize,
    used: usize,
    places: Vec<u32>,
    rows: Vec<T>,
}

// So many rows cost about as much as one, which is the walk through all vectors.
const FEWEST: usize = 16;
const MOST: usize = 64;

impl<T> RowPrefetcher<T> {
    /// Starts with nothing at hand. `alone` asks for single rows always.
    pub(crate) fn new(alone: bool) -> Self {
        Self { width: if alone { 0 } else { FEWEST }, used: 0, places: vec![], rows: vec![] }
    }

    /// Returns row `j` as it was when computed. If it is not at hand, `likely(count)` names up to so
    /// many places to be asked for next, and `compute(places)` returns rows, one after the other.
    pub(crate) fn row(
        &mut self,
        j: u32,
        likely: impl FnOnce(usize) -> Vec<u32>,
        compute: impl FnOnce(&[u32]) -> Vec<T>,
    ) -> &[T] {
        if !self.has(j) {
            // Many of the last ones served: more are worth computing. Few did: fewer are.
            if self.width > 0 && !self.places.is_empty() {
                if self.used > self.width / 4 {
                    self.width = (2 * self.width).min(MOST);
                } else if self.used <= self.width / 8 {
                    self.width = (self.width / 2).max(FEWEST);
                }
            }
            self.places = vec![j];
            let others = likely(self.width.saturating_sub(1));
            self.places.extend(others.into_iter().filter(|place| *place != j));
            self.rows = compute(&self.places);
            self.used = 0;
        }
        self.used += 1;
        let at = self.places.iter().position(|place| *place == j).expect("it is at hand");
        let n = self.rows.len() / self.places.len();
        &self.rows[at * n..(at + 1) * n]
    }

    /// Whether row `j` is at hand.
    pub(crate) fn has(&self, j: u32) -> bool {
        self.places.contains(&j)
    }
}

/// Returns the places of the `count` largest of `n` values, the largest first; of equal ones the
/// first. Places whose value is negative infinity are left out.
pub(crate) fn largest(n: usize, count: usize, value: impl Fn(usize) -> f64) -> Vec<u32> {
    let value = |place: &u32| value(*place as usize);
    let mut places: Vec<u32> =
        (0..n as u32).filter(|place| value(place) > f64::NEG_INFINITY).collect();
    let order = |a: &u32, b: &u32| value(b).total_cmp(&value(a)).then(a.cmp(b));
    if count < places.len() {
        if count > 0 {
            places.select_nth_unstable_by(count - 1, order);
        }
        places.truncate(count);
    }
    places.sort_unstable_by(order);
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_from_one_computation_while_they_are_asked_for() {
        let mut ahead = RowPrefetcher::new(false);
        let mut computed = vec![];
        let mut ask = |ahead: &mut RowPrefetcher<u32>, j: u32| {
            let row = ahead.row(
                j,
                |count| (100..100 + count as u32).collect(),
                |places| {
                    computed.push(places.len());
                    places.iter().flat_map(|place| [*place, place * 2]).collect()
                },
            );
            assert_eq!(row, [j, j * 2]);
        };
        for j in [1, 100, 103, 104, 105, 2, 3, 4] {
            ask(&mut ahead, j);
        }
        // Five of sixteen served, so twice as many come next; then the one asked for alone.
        assert_eq!(computed, [16, 32, 16, 16]);
        let mut alone = RowPrefetcher::new(true);
        alone.row(1, |count| vec![9; count], |places| places.to_vec());
        assert!(alone.has(1) && !alone.has(9));
    }

    #[test]
    fn the_largest_come_first_and_equals_by_place() {
        let values = [1.0, f64::NEG_INFINITY, 3.0, 1.0, 3.0];
        assert_eq!(largest(5, 3, |i| values[i]), [2, 4, 0]);
        assert_eq!(largest(5, 9, |i| values[i]), [2, 4, 0, 3]);
        assert_eq!(largest(5, 0, |i| values[i]), [0u32; 0]);
    }
}
