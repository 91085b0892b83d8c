//! Putting a share of each class aside, to test on.

use artifacts::{ClassId, draw, units::Fraction};
use engine::Streams;
use std::collections::BTreeMap;

/// Takes `share` of each class out of `all`, rounded, but never the whole of it; both stay in order.
pub(super) fn split<T>(
    all: &mut Vec<T>,
    label: impl Fn(&T) -> ClassId,
    share: Fraction,
    streams: Streams,
) -> Vec<T> {
    let mut classes: BTreeMap<ClassId, Vec<usize>> = BTreeMap::new();
    for (at, one) in all.iter().enumerate() {
        classes.entry(label(one)).or_default().push(at);
    }
    let mut rng = streams.get("split");
    let mut picked = vec![false; all.len()];
    for places in classes.values() {
        let mut order: Vec<u32> = (0..places.len() as u32).collect();
        draw::shuffle(&mut rng, &mut order);
        for at in &order[..share.of(places.len()).min(places.len() - 1)] {
            picked[places[*at as usize]] = true;
        }
    }
    let (mut train, mut test) = (vec![], vec![]);
    for (one, picked) in all.drain(..).zip(picked) {
        if picked { test.push(one) } else { train.push(one) }
    }
    *all = train;
    test
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_each_class_is_drawn_whatever_the_order() {
        let sorted: Vec<(u32, usize)> = [(0, 10), (1, 1), (2, 6)]
            .iter()
            .flat_map(|(label, n)| (0..*n).map(|at| (*label, at)))
            .collect();
        // Classes by turns, each in its order.
        let mut mixed = sorted.clone();
        mixed.sort_by_key(|(label, at)| (*at, *label));
        let drawn = |all: &[(u32, usize)], seed| {
            let mut train = all.to_vec();
            let share = Fraction::try_from(0.3).expect("it is a fraction");
            let test = split(&mut train, |one| one.0.into(), share, Streams::new(seed, &["split"]));
            (train, test)
        };
        let (train, test) = drawn(&sorted, 1);
        let count = |all: &[(u32, usize)], label| all.iter().filter(|one| one.0 == label).count();
        assert_eq!([0, 1, 2].map(|label| count(&test, label)), [3, 0, 2]);
        assert_eq!([0, 1, 2].map(|label| count(&train, label)), [7, 1, 4]);
        assert!(train.is_sorted() && test.is_sorted());
        assert!(test.iter().all(|one| !train.contains(one) && sorted.contains(one)));
        assert!((2..20).any(|seed| drawn(&sorted, seed) != (train.clone(), test.clone())));
        let (mut other, mut other_test) = drawn(&mixed, 1);
        assert!(other.is_sorted_by_key(|(label, at)| (*at, *label)));
        other.sort_unstable();
        other_test.sort_unstable();
        assert_eq!((other, other_test), (train, test));
    }
}
