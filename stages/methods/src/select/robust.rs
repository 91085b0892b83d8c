//! Estimate the label noise, cut a little above it, cover what is left.

use super::{
    Group, Picks, SelectInput, Selector, TrainingSet, ccs::stratified, top::hardest_first,
};
use artifacts::{
    ClassId,
    units::{Count, Fraction},
};
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Strata of the score after a cut a little above the share of wrong labels, which is estimated.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Robust {
    /// The share of wrong labels, if it is known; left out, it is estimated from the proxy.
    noise: Option<Fraction>,
    /// How much more than the wrong labels is cut, where there are any.
    slack: Fraction,
    /// How much is cut of clean data where a tenth or less is kept, but no more than the networks of
    /// the folds misread; it falls to 0 where half is kept.
    clean_cutoff: Fraction,
    /// Which classes are rare: those of less than this part of the mean size. Networks misread what is rare, so
    /// no larger share of such a class is cut than of all.
    rare: Fraction,
    /// How many strata of equal width the scores are cut into.
    strata: Count,
}

impl Default for Robust {
    fn default() -> Self {
        let fraction = |value: f64| Fraction::try_from(value).expect("it is a fraction");
        Self {
            noise: None,
            slack: fraction(0.02),
            clean_cutoff: fraction(0.1),
            rare: fraction(0.5),
            strata: Count::try_from(50).expect("it is above 0"),
        }
    }
}

/// Below this estimate the labels are taken for right: what confident learning flags of clean data are the
/// samples between two classes.
const FLOOR: f64 = 0.05;

/// From this keep fraction up nothing of clean data is cut.
const CUT_NOTHING: f64 = 0.5;

/// Up to this keep fraction all that clean data bear is cut.
const CUT_ALL: f64 = 0.1;

impl Robust {
    /// Returns the share of wrong labels in the training set.
    fn estimate(&self, set: &TrainingSet<'_>) -> f64 {
        let issues = set.label_issues();
        self.noise.map_or_else(|| issues.share().max(issues.unrelated), f64::from)
    }

    /// Returns `order` without the first `skip` of it; of a rare class no more than the share `cutoff`.
    fn without(&self, skip: usize, cutoff: f64, order: &[u32], group: &Group<'_>) -> Vec<u32> {
        let class = |at: u32| group.ground.labels[group.members[at as usize].index()];
        let mut left: BTreeMap<ClassId, usize> = BTreeMap::new();
        order.iter().for_each(|at| *left.entry(class(*at)).or_default() += 1);
        let few = f64::from(self.rare) * order.len() as f64 / left.len().max(1) as f64;
        left.values_mut().filter(|size| (**size as f64) < few).for_each(|size| {
            *size = (cutoff * *size as f64).round() as usize;
        });
        let mut skip = skip;
        let mut is_cut = |at: u32| {
            let left = left.get_mut(&class(at)).expect("every class was counted");
            let is_cut = skip > 0 && *left > 0;
            (skip, *left) = if is_cut { (skip - 1, *left - 1) } else { (skip, *left) };
            is_cut
        };
        order.iter().copied().filter(|at| !is_cut(*at)).collect()
    }

    /// Returns the share of a group that is cut where the share `keep` of it is kept, and the networks of
    /// the folds misread `misread` of all samples.
    fn cutoff(&self, noise: f64, misread: f64, keep: f64) -> f64 {
        let clean = ((CUT_NOTHING - keep) / (CUT_NOTHING - CUT_ALL)).clamp(0.0, 1.0);
        let clean = clean * f64::from(self.clean_cutoff).min(misread);
        if noise < FLOOR { clean } else { clean.max(noise + f64::from(self.slack)) }
    }
}

impl Selector for Robust {
    const NAME: &'static str = "select.robust";
    const SUMMARY: &'static str =
        "estimates the wrong labels, cuts a little more than them, covers the rest";
    const MANUAL: &'static str = "\
Three steps. The share of wrong labels is `rule.noise`, or what the out-of-fold logits of `proxy` tell: what
confident learning flags (prune by noise rate), or how many labels have nothing to do with their sample, if
that is more. These are told, from eight classes on, by labels among the less probable half of the classes:
a label drawn by chance is there every other time, that of a sample which is only hard hardly ever. So
samples that belong to no class count too, which confident learning does not flag. Both need networks that
have learnt the task: to one that guesses all labels are unrelated (the log has the estimate and the share
misread). So many samples and `rule.slack` more are cut: those that are flagged, then the hardest by
`scores`. Networks misread what is rare, so of a class of less than `rule.rare` of the mean size no larger
share is cut than of all. What is left is covered as `select.ccs` does. Where too few would be left for the
budget, fewer are cut.

An estimate below 0.05 counts as none, for of clean data too some samples lie between two classes. Then the
hardest are cut, as `select.ccs` does, but as many as these data bear: where a tenth is kept, the share that
the networks of the folds misread, and `rule.clean-cutoff` at most; less above it, nothing where half is
kept or more. A student of few samples cannot learn what networks of many get wrong; where they get little
wrong, what is hard is what is worth keeping.

Connect a proxy trained with `folds` to `proxy`, and `score.aum` with `rule.margin = \"probability\"` of one
trained on everything to `scores`:

    [stage.folds]
    use  = \"proxy-train\"
    from = { data = \"noisy\" }
    with = { model = \"mlp\", epochs = 10, lr = 0.05, folds = 3 }

    [stage.subset]
    use  = \"select.robust\"
    from = { scores = \"aum\", proxy = \"folds\" }
    with = { keep = 0.1 }

Ours. The estimate is that of Northcutt, Jiang & Chuang, *Confident Learning: Estimating Uncertainty in
Dataset Labels*, JAIR 2021, the cover that of Zheng et al., *Coverage-centric Coreset Selection for High
Pruning Rates*, ICLR 2023. What clean data bear was set by Fashion-MNIST and SpamAssassin, the second way to
estimate after MNIST with foreign samples. Cost: O(n C + C n log n).";
    const REVISION: u32 = 3;
    const STREAMS: &'static [&'static str] = &["strata"];
    const READS: &'static [SelectInput] = &[SelectInput::Scores, SelectInput::Logits];

    fn remarks(&self, set: &TrainingSet<'_>) -> Vec<String> {
        let (noise, n) = (self.estimate(set), set.labels.len());
        let how = if self.noise.is_some() { "given" } else { "estimated" };
        let misread = set.label_issues().misread * 100.0;
        let noise = noise * 100.0;
        vec![format!(
            "{noise:.1} % of {n} labels are wrong ({how}), the folds misread {misread:.1} %"
        )]
    }

    fn variants() -> Vec<Self> {
        let noisy = Self { noise: Fraction::try_from(0.3).ok(), ..Self::default() };
        vec![Self::default(), noisy]
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let scores = group.scores();
        let mut order = hardest_first(&scores);
        let keep = budget as f64 / order.len().max(1) as f64;
        let (noise, issues) = (self.estimate(group.ground), group.ground.label_issues());
        if noise >= FLOOR {
            // What is flagged is cut before what is only hard.
            order.sort_by_key(|at| !issues.flagged[group.members[*at as usize].index()]);
        }
        let cutoff = self.cutoff(noise, issues.misread, keep);
        let skip = (cutoff * order.len() as f64).round() as usize;
        let kept = self.without(skip.min(order.len() - budget), cutoff, &order, group);
        let mut stream = group.streams.at("strata", group.index);
        Ok(stratified(&scores, &kept, self.strata, budget, &mut stream).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::ccs::Ccs;
    use artifacts::{ClassId, Matrix, SampleId};
    use engine::Streams;

    fn select<S: Selector>(rule: &S, set: &TrainingSet<'_>, budget: usize) -> Vec<u32> {
        let members: Vec<SampleId> = SampleId::all(set.labels.len()).collect();
        let group = Group::unwatched(set, &members, 0, Streams::new(3, rule.streams()));
        rule.select(&group, budget).expect("nobody stops it").rows()
    }

    /// Two hundred samples of two classes, of which every fourth has the wrong label if `noisy`; the
    /// wrong ones score hardest.
    fn set(noisy: bool) -> (Vec<ClassId>, Vec<f64>, Vec<f32>) {
        let truth = |at: u32| at % 2;
        let wrong = |at: u32| noisy && at.is_multiple_of(4);
        let labels = (0..200).map(|at| if wrong(at) { 1 - truth(at) } else { truth(at) });
        let labels = ClassId::list(labels);
        let scores =
            (0..200).map(|at| f64::from(at) / 400.0 + if wrong(at) { 1.0 } else { 0.0 }).collect();
        let logits =
            (0..200).flat_map(|at| if truth(at) == 0 { [3.0, 0.0] } else { [0.0, 3.0] }).collect();
        (labels, scores, logits)
    }

    #[test]
    fn what_is_wrong_is_estimated_and_cut() {
        let (labels, scores, logits) = set(true);
        let ground = TrainingSet {
            labels: &labels,
            scores: Some(&scores),
            logits: Some(Matrix::new(&logits, 200, 2)),
            ..TrainingSet::default()
        };
        let noise = Robust::default().estimate(&ground);
        assert!((noise - 0.25).abs() < 0.01, "{noise}");
        for budget in [20, 60, 140] {
            let picks = select(&Robust::default(), &ground, budget);
            assert_eq!(picks.len(), budget);
            assert!(picks.iter().all(|at| !at.is_multiple_of(4)), "{budget}: {picks:?}");
        }
        let given = Robust { noise: Fraction::try_from(0.25).ok(), ..Robust::default() };
        assert_eq!(select(&given, &ground, 60), select(&Robust::default(), &ground, 60));
    }

    #[test]
    fn a_rare_class_that_is_misread_loses_its_share_and_no_more() {
        // Twenty samples of a rare class, which the networks take for another.
        let class = |at: u32| if at < 180 { at % 2 } else { 2 };
        let labels = ClassId::list((0..200).map(class));
        let scores: Vec<f64> = (0..200).map(f64::from).collect();
        let logits: Vec<f32> = (0..200)
            .flat_map(|at| if class(at) == 1 { [0.0, 3.0, 0.0] } else { [3.0, 0.0, 0.0] })
            .collect();
        let ground = TrainingSet {
            labels: &labels,
            scores: Some(&scores),
            logits: Some(Matrix::new(&logits, 200, 3)),
            ..TrainingSet::default()
        };
        let kept_of_rare = |rare: f64| {
            let fraction = |value: f64| Fraction::try_from(value).expect("it is a fraction");
            let (noise, rare) = (Some(fraction(0.1)), fraction(rare));
            let picks = select(&Robust { noise, rare, ..Robust::default() }, &ground, 176);
            assert_eq!(picks.len(), 176);
            picks.iter().filter(|at| class(**at) == 2).count()
        };
        // With the slack 0.12 is cut: 24 samples, and 2 of 20.
        assert_eq!((kept_of_rare(0.0), kept_of_rare(0.5)), (0, 18));
    }

    #[test]
    fn what_is_flagged_is_cut_before_what_is_hard() {
        let (labels, mut scores, logits) = set(true);
        // By the score the wrong ones are the easiest.
        scores.iter_mut().step_by(4).for_each(|score| *score = -1.0);
        let ground = TrainingSet {
            labels: &labels,
            scores: Some(&scores),
            logits: Some(Matrix::new(&logits, 200, 2)),
            ..TrainingSet::default()
        };
        let picks = select(&Robust::default(), &ground, 60);
        assert!(picks.iter().all(|at| !at.is_multiple_of(4)), "{picks:?}");
        // The slack takes the hardest of the others.
        assert!(!picks.contains(&199) && !picks.contains(&198), "{picks:?}");
    }

    /// Of labels that are right it is CCS with a cut of its own: no more than the folds misread.
    #[test]
    fn of_clean_labels_it_is_ccs() {
        let (labels, scores, mut logits) = set(false);
        // Eight of two hundred, too far from sure to be flagged.
        logits.chunks_mut(2).take(8).for_each(|row| row.copy_from_slice(&[0.0, 0.1]));
        logits.chunks_mut(2).skip(1).step_by(2).take(4).for_each(|row| row.reverse());
        let ground = TrainingSet {
            labels: &labels,
            scores: Some(&scores),
            logits: Some(Matrix::new(&logits, 200, 2)),
            ..TrainingSet::default()
        };
        let rule = Robust::default();
        let issues = ground.label_issues();
        assert_eq!((issues.share(), issues.misread), (0.0, 0.04));
        let cut: Ccs = serde_json::from_str(r#"{ "cutoff": 0.04 }"#).expect("a setting of it");
        assert_eq!(select(&rule, &ground, 20), select(&cut, &ground, 20));
        let cuts = [0.05, 0.1, 0.3, 0.5, 0.7].map(|keep| rule.cutoff(0.0, 0.2, keep));
        assert!(cuts.iter().zip([0.1, 0.1, 0.05, 0.0, 0.0]).all(|(a, b)| (a - b).abs() < 1e-12));
        assert!((rule.cutoff(0.3, 0.4, 0.7) - 0.32).abs() < 1e-12);
    }
}
