//! Confident learning: how many labels are wrong, and which, from out-of-fold probabilities.
//!
//! Northcutt, Jiang and Chuang, *Confident Learning: Estimating Uncertainty in Dataset Labels*, JAIR
//! 2021: the confident joint (eq. 1, with thresholds by class), calibrated to the counts of the labels
//! (eq. 3), and pruning by noise rate (section 3.2).

use artifacts::{
    ClassId, Matrix,
    logits::{argmax, softmax},
};
use rayon::prelude::*;

/// A class counts as confident from so little below its threshold, as in the authors' code.
const TOLERANCE: f64 = 1e-6;

/// What out-of-fold probabilities say of labels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LabelIssues {
    /// The share of labels that are wrong: the mass of the calibrated joint off its diagonal.
    pub(crate) noise: f64,
    /// The share of samples that the networks take for another class than their label says.
    pub(crate) misread: f64,
    /// The share of labels that have nothing to do with their sample: for them the label is as often among the
    /// less probable half of the classes as chance has it, and where a sample is only hard it is among the
    /// first. Zero below [`MANY_CLASSES`], where the second class is far down already.
    pub(crate) unrelated: f64,
    /// Whether each sample is flagged.
    pub(crate) flagged: Vec<bool>,
}

impl LabelIssues {
    /// Returns how large a share of the samples is flagged.
    pub(crate) fn share(&self) -> f64 {
        let count = self.flagged.iter().filter(|flagged| **flagged).count();
        count as f64 / self.flagged.len().max(1) as f64
    }
}

/// From how many classes on a label in the less probable half of them is no near miss.
const MANY_CLASSES: usize = 8;

/// Returns the probabilities of `logits`, \[n, C\] row by row.
pub(crate) fn probabilities(logits: &Matrix<'_>) -> Vec<f64> {
    let rows = (0..logits.rows()).into_par_iter().with_min_len(64);
    rows.flat_map_iter(|at| softmax(logits.row(at))).collect()
}

/// Returns what `p`, \[n, `classes`\] row by row, says of `labels`: the probabilities must come from
/// networks that have not seen the sample.
pub(crate) fn label_issues(p: &[f64], labels: &[ClassId], classes: usize) -> LabelIssues {
    let n = labels.len();
    let row = |at: usize| &p[at * classes..(at + 1) * classes];
    let mut counts = vec![0usize; classes];
    let mut thresholds = vec![0.0; classes];
    for (at, label) in labels.iter().enumerate() {
        counts[label.index()] += 1;
        thresholds[label.index()] += row(at)[label.index()];
    }
    for (threshold, count) in thresholds.iter_mut().zip(&counts) {
        // A class without a sample is never confident.
        *threshold = if *count > 0 { *threshold / *count as f64 } else { f64::INFINITY };
    }
    let mut joint = vec![vec![0usize; classes]; classes];
    for (at, label) in labels.iter().enumerate() {
        let confident = (0..classes).filter(|j| row(at)[*j] >= thresholds[*j] - TOLERANCE);
        // Of equally probable ones the first.
        let best = confident.reduce(|best, j| if row(at)[j] > row(at)[best] { j } else { best });
        if let Some(best) = best {
            joint[label.index()][best] += 1;
        }
    }
    let calibrated: Vec<Vec<usize>> = joint
        .iter_mut()
        .enumerate()
        .map(|(label, cells)| {
            cells[label] = cells[label].max(1);
            calibrate(cells, counts[label])
        })
        .collect();
    let right: usize = (0..classes).map(|label| calibrated[label][label]).sum();
    let mut flagged = vec![false; n];
    let mut members = vec![vec![]; classes];
    for (at, label) in labels.iter().enumerate() {
        members[label.index()].push(at);
    }
    for (label, members) in members.iter().enumerate() {
        for (other, count) in calibrated[label].iter().enumerate() {
            if other == label || *count == 0 {
                continue;
            }
            let lead = |at: usize| row(at)[other] - row(at)[label];
            let mut order = members.clone();
            // Rounding leaves a cell at most as many as the label has.
            order.select_nth_unstable_by(count - 1, |a, b| {
                lead(*b).total_cmp(&lead(*a)).then(a.cmp(b))
            });
            order[..*count].iter().for_each(|at| flagged[*at] = true);
        }
    }
    let (mut misread, mut far) = (0usize, 0usize);
    let half = classes / 2;
    for (at, label) in labels.iter().enumerate() {
        let predicted: Vec<f32> = row(at).iter().map(|p| *p as f32).collect();
        let is_misread = argmax(&predicted) != label.index();
        misread += usize::from(is_misread);
        let above = row(at).iter().filter(|p| **p > row(at)[label.index()]).count();
        far += usize::from(above >= classes - half);
        // Nothing is flagged that the networks predict as it is labelled.
        flagged[at] &= is_misread;
    }
    let share = |count: usize| count as f64 / n.max(1) as f64;
    let unrelated = if classes < MANY_CLASSES {
        0.0
    } else {
        (share(far) * classes as f64 / half as f64).min(1.0)
    };
    LabelIssues { noise: share(n - right), misread: share(misread), unrelated, flagged }
}

/// Returns `cells` scaled to sum to `count`, rounded by the largest remainders.
fn calibrate(cells: &[usize], count: usize) -> Vec<usize> {
    let total: usize = cells.iter().sum();
    let exact = |cell: usize| cell as f64 * count as f64 / total.max(1) as f64;
    let mut out: Vec<usize> = cells.iter().map(|cell| exact(*cell).floor() as usize).collect();
    let mut order: Vec<usize> = (0..cells.len()).collect();
    let remainder = |at: usize| exact(cells[at]) - exact(cells[at]).floor();
    order.sort_by(|a, b| remainder(*b).total_cmp(&remainder(*a)).then(a.cmp(b)));
    let short = count - out.iter().sum::<usize>();
    order.into_iter().take(short).for_each(|at| out[at] += 1);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joint_worked_by_hand() {
        // Labels 0 0 0 0 1 1; thresholds .7 (mean of .9 .8 .9 .2) and .75 (.9 .6).
        let labels = ClassId::list([0, 0, 0, 0, 1, 1]);
        let p0 = [0.9, 0.8, 0.9, 0.2, 0.1, 0.4];
        let p: Vec<f64> = p0.iter().flat_map(|p| [*p, 1.0 - p]).collect();
        let found = label_issues(&p, &labels, 2);
        // Row 0: three confident in 0 and one in 1; row 1: one in 1, and .4/.6 in none.
        assert_eq!(found.flagged, [false, false, false, true, false, false]);
        assert!((found.noise - 1.0 / 6.0).abs() < 1e-12);
        assert!((found.misread - 1.0 / 6.0).abs() < 1e-12);
        assert!((found.share() - 1.0 / 6.0).abs() < 1e-12);
    }

    #[test]
    fn nothing_is_flagged_that_is_predicted_as_labelled() {
        // Sample 1 clears the threshold of class 1 but not its own lead over class 0.
        let labels = ClassId::list([0, 0, 1, 1]);
        let p = [0.95, 0.05, 0.55, 0.45, 0.6, 0.4, 0.55, 0.45];
        let found = label_issues(&p, &labels, 2);
        assert!(!found.flagged[1], "{found:?}");
        let clean = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0];
        let found = label_issues(&clean, &labels, 2);
        assert_eq!((found.noise, found.share()), (0.0, 0.0));
    }

    #[test]
    fn rows_sum_to_the_counts_of_the_labels() {
        assert_eq!(calibrate(&[2, 1, 0], 10), [7, 3, 0]);
        assert_eq!(calibrate(&[1, 1, 1], 10), [4, 3, 3]);
        assert_eq!(calibrate(&[1, 0], 0), [0, 0]);
    }

    #[test]
    fn labels_that_have_nothing_to_do_with_their_sample_are_counted_by_how_far_down_they_are() {
        // Eight classes, falling from the first to the last. Labels 0 and 1 are right and nearly right, the others
        // stand once at each place: four of eight in the lower half, of twelve samples.
        let falling: Vec<f64> = (0..8).map(|class| f64::from(8 - class) / 36.0).collect();
        let labels = ClassId::list([0, 0, 1, 1, 0, 1, 2, 3, 4, 5, 6, 7]);
        let p: Vec<f64> = labels.iter().flat_map(|_| falling.clone()).collect();
        let found = label_issues(&p, &labels, 8);
        assert!((found.unrelated - 2.0 * 4.0 / 12.0).abs() < 1e-12);
        assert!((found.misread - 9.0 / 12.0).abs() < 1e-12);
        let few: Vec<f64> = labels.iter().flat_map(|_| [0.9, 0.1]).collect();
        let two = ClassId::list(labels.iter().map(|label| u32::from(label.index() > 0)));
        assert_eq!(label_issues(&few, &two, 2).unrelated, 0.0);
    }
}
