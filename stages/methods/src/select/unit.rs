//! Budgets in tokens, bytes or another count of the data: as many samples are picked as fit.

use super::Picks;
use crate::MethodError;
use artifacts::columns::SampleColumns;
use engine::StageError;

/// Returns the column `unit` of the data behind a selection.
///
/// # Errors
///
/// Fails if the data has no such count.
pub(super) fn sizes<'a>(
    columns: Option<&'a SampleColumns>,
    unit: &str,
) -> Result<&'a [u64], MethodError> {
    let counts = columns.map(|columns| &columns.counts);
    let found = counts.and_then(|counts| counts.get(unit));
    found.map(Vec::as_slice).ok_or_else(|| MethodError::NoUnit {
        unit: unit.to_owned(),
        there: counts.map_or_else(Vec::new, |counts| counts.keys().cloned().collect()),
    })
}

/// Returns the picks of `select` for the largest number of samples whose sizes together are at most `budget`,
/// of `n` samples of `total` together. It is asked for several numbers, each closer.
///
/// # Errors
///
/// Fails as `select` does.
pub(super) fn fill(
    (n, total): (usize, u64),
    budget: u64,
    size: impl Fn(&Picks) -> u64,
    mut select: impl FnMut(usize) -> Result<Picks, StageError>,
) -> Result<Picks, StageError> {
    if total <= budget {
        return select(n);
    }
    // What fits and what does not: how many, and how large they are.
    let (mut fits, mut beyond) = ((0, 0), (n, total));
    let mut best = Picks::default();
    let mut halve = false;
    while beyond.0 - fits.0 > 1 {
        let part = if halve {
            0.5
        } else {
            (budget - fits.1) as f64 / beyond.1.saturating_sub(fits.1).max(1) as f64
        };
        halve = !halve;
        let step = (part * (beyond.0 - fits.0) as f64).round() as usize;
        let count = fits.0 + step.clamp(1, beyond.0 - fits.0 - 1);
        let picks = select(count)?;
        let found = size(&picks);
        if found <= budget {
            fits = (count, found);
            best = picks;
        } else {
            beyond = (count, found);
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_picked_as_fit() {
        let sizes: Vec<u64> = (0..1000).map(|at| 1 + at * 7919 % 97).collect();
        let size = |picks: &Picks| picks.rows().iter().map(|row| sizes[*row as usize]).sum();
        for budget in [0, 1, 500, 20_000, sizes.iter().sum::<u64>() - 1, u64::MAX] {
            let mut asked = 0;
            let picks = fill((1000, sizes.iter().sum()), budget, size, |count| {
                asked += 1;
                Ok(Picks::from((0..count as u32).collect::<Vec<_>>()))
            });
            let picks = picks.expect("nothing fails");
            let next = picks.places.len() as u32 + 1;
            assert!(size(&picks) <= budget);
            let more = Picks::from((0..next.min(1000)).collect::<Vec<_>>());
            assert!(size(&more) > budget || next > 1000, "{budget}");
            assert!(asked < 25, "{asked} times");
        }
    }

    #[test]
    fn a_unit_that_the_data_lacks_is_told_with_those_it_has() {
        let counts = [("tokens".to_owned(), vec![3, 4])].into();
        let columns = SampleColumns { ids: None, counts };
        assert_eq!(sizes(Some(&columns), "tokens").expect("it is there"), [3, 4]);
        let error = sizes(Some(&columns), "token").expect_err("it is not").to_string();
        assert!(error.contains("`token`") && error.contains("`tokens`"), "{error}");
        assert!(sizes(None, "tokens").is_err());
    }
}
