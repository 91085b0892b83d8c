//! How a budget is divided among classes: exactly, and never beyond what a class has.

/// Returns `share` of `n`, rounded to the nearest whole, a half to the even one.
pub(crate) fn rounded(share: f64, n: usize) -> usize {
    (share * n as f64).round_ties_even() as usize
}

/// Divides `budget` in proportion to `weights`, at most `available` each. What a full class cannot
/// take goes to the others in proportion; what is left of whole numbers goes to the largest
/// remainders, of equal ones to the lower class. `None` if the classes of positive weight have
/// fewer than `budget`.
pub(crate) fn divide(budget: usize, weights: &[f64], available: &[usize]) -> Option<Vec<usize>> {
    let room: usize =
        available.iter().zip(weights).filter(|(_, w)| **w > 0.0).map(|(n, _)| n).sum();
    if room < budget {
        return None;
    }
    let mut given = vec![0; weights.len()];
    let mut open: Vec<usize> =
        (0..weights.len()).filter(|c| weights[*c] > 0.0 && available[*c] > 0).collect();
    let mut left = budget;
    // Fill up those whose share is more than they have, until the rest can take theirs.
    loop {
        let total: f64 = open.iter().map(|c| weights[*c]).sum();
        let share = |c: usize| left as f64 * weights[c] / total;
        let (full, rest): (Vec<usize>, Vec<usize>) =
            open.iter().partition(|c| share(**c) >= available[**c] as f64);
        if full.is_empty() {
            let mut parts: Vec<(usize, f64)> = rest.iter().map(|c| (*c, share(*c))).collect();
            for (class, part) in &parts {
                given[*class] = part.floor() as usize;
            }
            let placed: usize = parts.iter().map(|(class, _)| given[*class]).sum();
            // Shares that are equal but for rounding are equal.
            let remainder = |part: f64| ((part - part.floor()) * 1e9).round();
            parts.sort_by(|a, b| remainder(b.1).total_cmp(&remainder(a.1)).then(a.0.cmp(&b.0)));
            let mut missing = left.saturating_sub(placed);
            while missing > 0 {
                for (class, _) in &parts {
                    if missing > 0 && given[*class] < available[*class] {
                        given[*class] += 1;
                        missing -= 1;
                    }
                }
            }
            return Some(given);
        }
        for class in full {
            given[class] = available[class];
            left -= available[class];
        }
        open = rest;
        if open.is_empty() {
            return Some(given);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_worked_by_hand() {
        // 3.5, 2.1, 1.4 of 7: remainders .5, .1, .4.
        assert_eq!(divide(7, &[50.0, 30.0, 20.0], &[50, 30, 20]), Some(vec![4, 2, 1]));
        // Equal remainders go to the lower classes.
        assert_eq!(divide(5, &[1.0; 3], &[9; 3]), Some(vec![2, 2, 1]));
        // A full class hands on its excess in proportion.
        assert_eq!(divide(30, &[1.0; 3], &[2, 100, 100]), Some(vec![2, 14, 14]));
        assert_eq!(divide(5, &[1.0, 0.0], &[4, 100]), None);
        assert_eq!(divide(0, &[1.0, 1.0], &[0, 3]), Some(vec![0, 0]));
        assert_eq!(divide(8, &[3.0, 1.0], &[5, 3]), Some(vec![5, 3]));
    }

    #[test]
    fn every_budget_is_met_exactly() {
        let available = [13, 0, 7, 29, 1];
        for weights in [[1.0; 5], [13.0, 0.0, 7.0, 29.0, 1.0], [0.1, 0.3, 0.7, 1e-9, 5.0]] {
            for budget in 0..=50 {
                let given = divide(budget, &weights, &available).expect("there is room");
                assert_eq!(given.iter().sum::<usize>(), budget);
                assert!(given.iter().zip(&available).all(|(given, most)| given <= most));
            }
        }
    }

    #[test]
    fn a_half_goes_to_the_even_number() {
        assert_eq!([rounded(0.5, 5), rounded(0.5, 7), rounded(0.1, 25)], [2, 4, 2]);
    }
}
