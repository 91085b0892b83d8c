//! MIG: the most information over a graph of labels.

use super::{Group, Picks, SelectInput, Selector};
use crate::linalg::{dot, group_means, k_means, nearest_centres, unit};
use artifacts::{
    Matrix,
    units::{Count, Fraction},
};
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps samples of high score that bring most information on labels little is known of.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Mig {
    /// What the labels are: `clusters` of the embeddings, or the samples' `classes`.
    labels: LabelSource,
    /// How many clusters there are.
    clusters: Count,
    /// At most so many steps are taken to find the clusters.
    steps: Count,
    /// Labels whose centres have at least this cosine share their information.
    threshold: Fraction,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum LabelSource {
    #[default]
    Clusters,
    Classes,
}

impl Default for Mig {
    fn default() -> Self {
        Self {
            labels: LabelSource::default(),
            clusters: Count::try_from(100).expect("100 is above 0"),
            steps: Count::try_from(20).expect("20 is above 0"),
            threshold: Fraction::try_from(0.9).expect("0.9 is a fraction"),
        }
    }
}

/// What so much information on a label is worth.
fn worth(information: f64) -> f64 {
    (information + 1e-6).powf(0.8)
}

/// Returns for each label how its information spreads: to which labels, itself among them, and in which shares.
/// `centres` are of length 1, or 0 where a label has no samples.
fn spread(centres: &Matrix<'_>, threshold: f64) -> Vec<Vec<(usize, f64)>> {
    let cosine = |a: usize, b: usize| f64::from(dot(centres.row(a), centres.row(b))).min(1.0);
    let of = |label: usize| {
        let near = (0..centres.rows()).filter_map(|other| {
            let cosine = if other == label { 1.0 } else { cosine(label, other) };
            (cosine >= threshold && cosine > 0.0).then_some((other, cosine))
        });
        let near: Vec<(usize, f64)> = near.collect();
        let all: f64 = near.iter().map(|(_, cosine)| cosine).sum();
        near.into_iter().map(|(other, cosine)| (other, cosine / all)).collect()
    };
    (0..centres.rows()).map(of).collect()
}

/// Picks `budget` places, each the one that adds most worth; of equal ones the first. `scores` are from 0 up.
fn most_worth(
    labels: &[u32],
    scores: &[f64],
    spread: &[Vec<(usize, f64)>],
    budget: usize,
    mut step: impl FnMut(usize) -> Result<(), StageError>,
) -> Result<Vec<u32>, StageError> {
    // Within a label a higher score adds more, whatever is known: only the best of each is in question.
    let mut waiting = vec![vec![]; spread.len()];
    for (place, label) in labels.iter().enumerate() {
        waiting[*label as usize].push(place);
    }
    for places in &mut waiting {
        // The best last, of equal ones the first.
        places.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]).then(b.cmp(a)));
    }
    let mut known = vec![0.0; spread.len()];
    let mut picks = vec![];
    while picks.len() < budget {
        step(picks.len())?;
        let gain = |place: usize, label: usize| -> f64 {
            let more = |(other, share): &(usize, f64)| {
                worth(known[*other] + share * scores[place]) - worth(known[*other])
            };
            spread[label].iter().map(more).sum()
        };
        let best = waiting.iter().enumerate().filter_map(|(label, places)| {
            let place = *places.last()?;
            Some((gain(place, label), place, label))
        });
        let best = best.reduce(|best, one| {
            let is_better = one.0 > best.0 || (one.0 == best.0 && one.1 < best.1);
            if is_better { one } else { best }
        });
        let Some((_, place, label)) = best else { break };
        waiting[label].pop();
        for (other, share) in &spread[label] {
            known[*other] += share * scores[place];
        }
        picks.push(place as u32);
    }
    Ok(picks)
}

/// Returns scores brought to 0..1; all 1 where they are equal.
fn scaled(scores: &[f64]) -> Vec<f64> {
    let all = || scores.iter().copied().filter(|score| score.is_finite());
    let (least, most) =
        (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let scale = |score: &f64| {
        let score = score.clamp(least.min(most), most.max(least));
        if most > least { (score - least) / (most - least) } else { 1.0 }
    };
    scores.iter().map(scale).collect()
}

impl Mig {
    /// Returns the label of each row of `vectors`, which are of length 1, and the centres of the labels.
    fn labelled(
        &self,
        group: &Group<'_>,
        vectors: &Matrix<'_>,
        budget: usize,
    ) -> Result<(Vec<u32>, Matrix<'static>), StageError> {
        match self.labels {
            LabelSource::Classes => {
                let labels = group.labels();
                let count = labels.iter().max().map_or(0, |last| last.index() + 1);
                let (means, _) = group_means(vectors, &labels, count);
                let labels = labels.into_iter().map(u32::from).collect();
                Ok((labels, unit(&means)))
            }
            LabelSource::Clusters => {
                let mut stream = group.streams.at("clusters", group.index);
                let size = (self.clusters.get(), self.steps.get());
                let centres = k_means(vectors, size, &mut stream, || group.watch.step(0, budget))?;
                let labels = nearest_centres(vectors, &centres);
                Ok((labels, unit(&centres)))
            }
        }
    }
}

impl Selector for Mig {
    const NAME: &'static str = "select.mig";
    const SUMMARY: &'static str =
        "samples of high score that bring most information on a graph of labels";
    const MANUAL: &'static str = "\
Each sample has a label and brings as much information on it as its score, brought to 0..1, of which labels whose centres
have a cosine of at least `threshold` get their share. Greedily maximises what it is all worth together, the sum over labels l
of (u_l + 1e-6)^0.8, where u_l is the information on l: quality counts, and less so where much is known
already. Of equal gains the earlier sample is picked.

Labels are k-means clusters of the embeddings, of length 1, or the classes. Their centres are the nodes of the graph. A
label's information is divided among itself and its neighbours in proportion to their cosines, itself with 1, so that
it is the same amount in all.

Chen, Li, Zhang, Wang et al., *MIG: Automatic Data Selection for Instruction Tuning by Maximizing Information Gain in
Semantic Space*, Findings of ACL 2025, arXiv:2504.13835: 0.8, 1e-6 and 0.9 are the release's. There a language model
gives each sample several tags, which the graph is of, and scores are a judge's (by `score.import`) and not
brought to 0..1. Cost: O(n d clusters) a step for the clusters, then O(labels) gains a pick.

    [stage.subset]
    use  = \"select.mig\"
    from = { scores = \"quality\", data = \"data\" }
    with = { keep = 0.1, rule.clusters = 200 }";
    const STREAMS: &'static [&'static str] = &["clusters"];
    const READS: &'static [SelectInput] = &[SelectInput::Scores, SelectInput::Embeddings];

    fn streams(&self) -> &'static [&'static str] {
        if self.labels == LabelSource::Clusters { Self::STREAMS } else { &[] }
    }

    fn variants() -> Vec<Self> {
        let few = Count::try_from(3).expect("3 is above 0");
        let low = Fraction::try_from(0.2).expect("it is a fraction");
        let classes = Self { labels: LabelSource::Classes, ..Self::default() };
        vec![Self::default(), Self { clusters: few, threshold: low, ..Self::default() }, classes]
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let vectors = unit(&group.embeddings());
        let (labels, centres) = self.labelled(group, &vectors, budget)?;
        let spread = spread(&centres, self.threshold.into());
        let scores = scaled(&group.scores());
        let step = |done| group.watch.step(done, budget);
        Ok(most_worth(&labels, &scores, &spread, budget, step)?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picks(labels: &[u32], scores: &[f64], centres: &[f32], threshold: f64) -> Vec<u32> {
        let spread = spread(&Matrix::new(centres, centres.len() / 2, 2), threshold);
        most_worth(labels, scores, &spread, labels.len(), |_| Ok(())).expect("nobody stops it")
    }

    #[test]
    fn picks_worked_by_hand() {
        // Two labels at a right angle: after 1 on the first, 0.9 more brings 1.9^.8 - 1 = .671, while 0.7 on the
        // second brings .752; then 0.9 on the first .671, 0.5 more on the second 1.2^.8 - .752 = .405.
        let far = [1.0, 0.0, 0.0, 1.0];
        assert_eq!(picks(&[0, 0, 1, 1], &[1.0, 0.9, 0.7, 0.5], &far, 0.9), [0, 2, 1, 3]);
        // Of one direction: what is known of one is known of both, and scores decide.
        let near = [1.0, 0.0, 1.0, 0.0];
        assert_eq!(picks(&[0, 0, 1, 1], &[1.0, 0.9, 0.7, 0.95], &near, 0.9), [0, 3, 1, 2]);
        // A cosine of 0.8, above the threshold: each keeps 1 / 1.8 of its own.
        let shares = spread(&Matrix::new(vec![1.0, 0.0, 0.8, 0.6], 2, 2), 0.75);
        assert!((shares[0][0].1 - 1.0 / 1.8).abs() < 1e-6 && shares[0][1].0 == 1, "{shares:?}");
        // Equal ones in order.
        assert_eq!(picks(&[0, 1, 0], &[0.0, 0.0, 0.0], &far, 0.9), [0, 1, 2]);
    }

    #[test]
    fn the_best_of_each_label_is_the_greedy_choice() {
        let labels = [0, 1, 2, 0, 1, 2, 0, 0, 2];
        let scores = [0.3, 0.9, 0.1, 0.8, 0.85, 0.2, 0.6, 0.8, 0.5];
        let spread = spread(&Matrix::new(vec![1.0, 0.0, 0.96, 0.28, 0.0, 1.0], 3, 2), 0.9);
        let found = most_worth(&labels, &scores, &spread, 9, |_| Ok(())).expect("nobody stops it");
        let value = |picks: &[usize]| -> f64 {
            let mut known = [0.0; 3];
            for place in picks {
                for (other, share) in &spread[labels[*place] as usize] {
                    known[*other] += share * scores[*place];
                }
            }
            known.into_iter().map(worth).sum()
        };
        let mut slow: Vec<usize> = vec![];
        while slow.len() < 9 {
            let open = (0..9).filter(|place| !slow.contains(place));
            let with = |place: usize| value(&[&slow[..], &[place]].concat());
            let best = open.map(|place| (with(place), place));
            let better = |best: (f64, usize), one: (f64, usize)| {
                if one.0 > best.0 + 1e-12 { one } else { best }
            };
            slow.push(best.reduce(better).expect("some are open").1);
        }
        assert_eq!(found.iter().map(|place| *place as usize).collect::<Vec<_>>(), slow);
    }

    #[test]
    fn scores_are_brought_to_one_scale() {
        assert_eq!(scaled(&[-2.0, 0.0, 2.0]), [0.0, 0.5, 1.0]);
        assert_eq!(scaled(&[3.0, 3.0]), [1.0, 1.0]);
        assert_eq!(scaled(&[0.0, 1.0, f64::INFINITY, f64::NEG_INFINITY]), [0.0, 1.0, 1.0, 0.0]);
    }
}
