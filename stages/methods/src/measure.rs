//! Metrics of logits against labels: accuracy, loss, calibration error, Brier score, confusion.

use artifacts::{ClassId, GroupId, logits::argmax};

/// How good a set of predictions is.
#[derive(Debug, PartialEq)]
pub struct Measured {
    /// The share of samples whose largest logit is their label's.
    pub accuracy: f64,
    /// The mean negative log-likelihood, in nats.
    pub loss: f64,
    /// The expected calibration error over 15 bins (Guo et al., 2017).
    pub ece: f64,
    /// The mean squared distance of probabilities and one-hot label (Brier, 1950).
    pub brier: f64,
    /// The smallest accuracy of any class.
    pub worst_class: f64,
    /// The accuracy of each class; `None` for one without samples.
    pub per_class: Vec<Option<f64>>,
    /// How often each class was predicted for each: \[label\]\[prediction\]. `None` where that would be
    /// too large to be of use.
    pub confusion: Option<Vec<Vec<u64>>>,
}

const BINS: usize = 15;

/// Of more classes than these nobody reads which is taken for which, and all pairs would fill the memory.
const MOST_CONFUSED: usize = 1000;

/// Measures `logits`, \[n, `classes`\] row-major with n above 0, against the labels.
pub fn measure(logits: &[f32], labels: &[ClassId], classes: usize) -> Measured {
    let n = labels.len() as f64;
    let mut confusion = (classes <= MOST_CONFUSED).then(|| vec![vec![0u64; classes]; classes]);
    // Per class: samples, right ones.
    let mut counts = vec![(0u64, 0u64); classes];
    let (mut loss, mut brier) = (0.0, 0.0);
    // Per bin: samples, right ones, sum of confidences.
    let mut bins = [(0u64, 0u64, 0.0); BINS];
    for (row, label) in logits.chunks_exact(classes).zip(labels) {
        let (top, label) = (argmax(row), label.index());
        if let Some(confusion) = &mut confusion {
            confusion[label][top] += 1;
        }
        counts[label].0 += 1;
        counts[label].1 += u64::from(top == label);
        let largest = f64::from(row[top]);
        let weights: Vec<f64> = row.iter().map(|z| (f64::from(*z) - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        loss += total.ln() + largest - f64::from(row[label]);
        for (class, weight) in weights.iter().enumerate() {
            let miss = weight / total - if class == label { 1.0 } else { 0.0 };
            brier += miss * miss;
        }
        // Bins are open on the left: a confidence of exactly 1/15 is in the first.
        let confidence = 1.0 / total;
        let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        bins[bin].0 += 1;
        bins[bin].1 += u64::from(top == label);
        bins[bin].2 += confidence;
    }
    let share = |(all, right): &(u64, u64)| (*all > 0).then(|| *right as f64 / *all as f64);
    let per_class: Vec<Option<f64>> = counts.iter().map(share).collect();
    let right: u64 = counts.iter().map(|(_, right)| right).sum();
    let gaps = bins.iter().map(|(_, right, sum)| (*right as f64 - sum).abs());
    Measured {
        accuracy: right as f64 / n,
        loss: loss / n,
        ece: gaps.sum::<f64>() / n,
        brier: brier / n,
        worst_class: per_class.iter().flatten().copied().fold(1.0, f64::min),
        per_class,
        confusion,
    }
}

/// How good the predictions are within each group (Sagawa et al., 2020).
#[derive(Debug, PartialEq)]
pub struct GroupAccuracy {
    /// The accuracy of each group; `None` for one without samples.
    pub per_group: Vec<Option<f64>>,
    /// The group with the smallest accuracy, of equals the first, and that accuracy.
    pub worst: Option<(GroupId, f64)>,
}

/// Measures `logits`, \[n, `classes`\] row-major, against the labels, apart for each of `count` groups.
pub fn by_group(
    logits: &[f32],
    labels: &[ClassId],
    classes: usize,
    groups: &[GroupId],
    count: usize,
) -> GroupAccuracy {
    let mut counts = vec![(0_u64, 0_u64); count];
    let rows = logits.chunks_exact(classes);
    for ((row, label), group) in rows.zip(labels).zip(groups) {
        let (right, all) = &mut counts[group.index()];
        *right += u64::from(argmax(row) == label.index());
        *all += 1;
    }
    let share = |(right, all): &(u64, u64)| (*all > 0).then(|| *right as f64 / *all as f64);
    let per_group: Vec<Option<f64>> = counts.iter().map(share).collect();
    let known = GroupId::all(count).zip(&per_group);
    let known = known.filter_map(|(group, one)| Some((group, (*one)?)));
    let worst = known.min_by(|(_, a), (_, b)| a.total_cmp(b));
    GroupAccuracy { per_group, worst }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Probabilities (1/4, 1/2, 1/4), (3/4, 1/8, 1/8), (3/4, 1/8, 1/8); labels 1, 0, 1.
    #[test]
    fn figures_worked_by_hand() {
        let (a, b) = (2f32.ln(), 6f32.ln());
        let logits = [0.0, a, 0.0, b, 0.0, 0.0, b, 0.0, 0.0];
        let found = measure(&logits, &ClassId::list([1, 0, 1]), 3);
        let near = |found: f64, want: f64| assert!((found - want).abs() < 1e-6, "{found} {want}");
        near(found.accuracy, 2.0 / 3.0);
        near(found.loss, (2f64.ln() + (4.0f64 / 3.0).ln() + 8f64.ln()) / 3.0);
        // (1/16 + 1/4 + 1/16), (1/16 + 2/64), (9/16 + 49/64 + 1/64).
        near(found.brier, (0.375 + 0.093_75 + 1.343_75) / 3.0);
        // One bin holds 1/2 (right); one holds 3/4 twice, one right: |1 - .5| + |1 - 1.5|.
        near(found.ece, (0.5 + 0.5) / 3.0);
        assert_eq!(found.per_class, [Some(1.0), Some(0.5), None]);
        near(found.worst_class, 0.5);
        let confusion = [[1, 0, 0], [1, 1, 0], [0, 0, 0]].map(|row| row.to_vec()).to_vec();
        assert_eq!(found.confusion, Some(confusion));
        let many = measure(&vec![0.0; 5000], &[ClassId::at(3)], 5000);
        assert_eq!((many.confusion, many.per_class[3]), (None, Some(0.0)));
    }

    #[test]
    fn the_worst_group_is_the_first_of_the_least_accurate() {
        // Predicted 0, 1, 1, 0, 0.
        let logits = [2.0, 1.0, 0.0, 1.0, 0.0, 1.0, 3.0, 1.0, 1.0, 0.0];
        let by_group = |rows: usize, labels: [u32; 5], groups: [u32; 5], count| {
            let (labels, groups) = (ClassId::list(labels), GroupId::list(groups));
            by_group(&logits[..rows * 2], &labels[..rows], 2, &groups[..rows], count)
        };
        let found = by_group(5, [0, 0, 1, 0, 1], [3, 1, 1, 3, 2], 5);
        assert_eq!(found.per_group, [None, Some(0.5), Some(0.0), Some(1.0), None]);
        assert_eq!(found.worst, Some((GroupId::at(2), 0.0)));
        let level = by_group(5, [0, 0, 1, 0, 0], [0, 2, 2, 1, 1], 3);
        assert_eq!(level.per_group, [Some(1.0), Some(1.0), Some(0.5)]);
        let level = by_group(5, [1, 0, 1, 1, 0], [2, 1, 1, 0, 0], 3);
        assert_eq!(level.per_group, [Some(0.5), Some(0.5), Some(0.0)]);
        let level = by_group(2, [0, 1, 0, 0, 0], [1, 0, 0, 0, 0], 2);
        assert_eq!(level.worst, Some((GroupId::at(0), 1.0)));
        assert_eq!(by_group(0, [0; 5], [0; 5], 3).worst, None);
    }
}
