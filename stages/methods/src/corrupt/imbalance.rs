//! `corrupt.imbalance`: classes of unlike sizes, by leaving training samples out.

use super::stage::{Corrupted, Corruption};
use artifacts::{ClassId, SampleId, dataset::Dataset, units::Positive};
use engine::{Problem, StageError, Streams};
use rand::{Rng, seq::index};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How unlike the sizes of the classes become.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Imbalance {
    /// How the sizes fall from the first class to the last.
    profile: Profile,
    /// How many times the last class is smaller than the first, if both had as many samples; from 1 up.
    factor: Positive,
}

/// How the sizes of classes fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Profile {
    /// By the same factor from each class to the next: a long tail.
    Exponential,
    /// At once: the first half of the classes stays whole, the others are all small.
    Step,
}

impl Default for Imbalance {
    fn default() -> Self {
        let factor = Positive::try_from(50.0).expect("50 is above 0");
        Self { profile: Profile::Exponential, factor }
    }
}

impl Corruption for Imbalance {
    const NAME: &'static str = "corrupt.imbalance";
    const SUMMARY: &'static str = "leaves out training samples so that classes are of unlike sizes";
    const MANUAL: &'static str = "\
Leaves training samples out, so that classes become unlike in size: class y of C keeps a share of its samples, \
which ones is drawn. The test split stays as it is.

- `exponential`: factor^(-y / (C - 1)), a long tail (Cui, Jia, Lin, Song & Belongie, *Class-Balanced Loss Based \
on Effective Number of Samples*, CVPR 2019: n_y mu^y with the mu for which the first class is `factor` times the \
last).
- `step`: all of the first half of the classes, the middle one among them, and 1 / factor of each of the others \
(Buda, Maki & Mazurowski, *A Systematic Study of the Class Imbalance Problem in Convolutional Neural Networks*, \
Neural Networks 2018).

Numbers are rounded down, as in the usual code for CIFAR-10-LT, which 50,000 images and the factor 50 make 13,996 \
of; a class that has samples keeps one at least. Classes are those of the labels as they are by then. What was \
known about the samples that stay (clean labels, groups) stays known; they keep their order. Selectors then see \
a smaller training set, so a `keep` is a share of that.

Cost: the training samples that stay, in memory.";
    const STREAMS: &'static [&'static str] = &["samples"];

    fn problems(&self) -> Vec<Problem> {
        if f64::from(self.factor) >= 1.0 {
            return vec![];
        }
        vec![Problem {
            setting: "factor".to_owned(),
            message: "a class cannot become larger than it is".to_owned(),
            hint: Some("set `factor` to how many times the first class is the last".to_owned()),
        }]
    }

    fn corrupt(
        &self,
        mut data: Dataset,
        streams: Streams,
    ) -> Result<Option<Corrupted>, StageError> {
        let mut draws = streams.get("samples");
        let kept = self.kept(&data.train.labels, data.meta.classes.len(), &mut draws);
        let (n, left) = (data.meta.train, kept.len());
        if left == n {
            return Ok(None);
        }
        data.take(&kept);
        Ok(Some(Corrupted { data, log: format!("{left} of {n} training samples left") }))
    }
}

impl Imbalance {
    /// Returns the samples that stay, sorted.
    fn kept(&self, labels: &[ClassId], classes: usize, rng: &mut impl Rng) -> Vec<SampleId> {
        let mut members = vec![vec![]; classes];
        for (sample, label) in SampleId::all(labels.len()).zip(labels) {
            members[label.index()].push(sample);
        }
        let mut kept = vec![];
        for (class, members) in members.into_iter().enumerate() {
            let share = self.share(class, classes);
            // What is a whole number but for rounding errors is that number.
            let count = (share * members.len() as f64 + 1e-9).floor() as usize;
            let count = count.max(members.len().min(1));
            let drawn = index::sample(rng, members.len(), count);
            kept.extend(drawn.into_iter().map(|at| members[at]));
        }
        kept.sort_unstable();
        kept
    }

    /// Returns the share that `class` keeps.
    fn share(&self, class: usize, classes: usize) -> f64 {
        let factor = f64::from(self.factor);
        match self.profile {
            Profile::Exponential => {
                factor.powf(-(class as f64) / classes.saturating_sub(1).max(1) as f64)
            }
            Profile::Step if class < classes.div_ceil(2) => 1.0,
            Profile::Step => factor.recip(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corrupt::tests::{grey, run};

    fn imbalance(profile: Profile, factor: f64) -> Imbalance {
        Imbalance { profile, factor: Positive::try_from(factor).expect("above 0") }
    }

    fn sizes(found: &Imbalance, per_class: usize, classes: usize) -> Vec<usize> {
        let labels = ClassId::list((0..per_class * classes).map(|at| (at % classes) as u32));
        let mut draws = engine::Streams::new(3, Imbalance::STREAMS).get("samples");
        let kept = found.kept(&labels, classes, &mut draws);
        assert!(kept.is_sorted_by(|a, b| a < b));
        let of = |class| kept.iter().filter(|at| labels[at.index()].index() == class).count();
        (0..classes).map(of).collect()
    }

    #[test]
    fn classes_have_the_sizes_of_the_usual_long_tails() {
        // CIFAR-10-LT at 100 and 50, and a step at 10.
        let tail = sizes(&imbalance(Profile::Exponential, 100.0), 5_000, 10);
        assert_eq!(tail, [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]);
        let tail = sizes(&Imbalance::default(), 5_000, 10);
        assert_eq!((tail[9], tail.iter().sum::<usize>()), (100, 13_996));
        assert_eq!(sizes(&imbalance(Profile::Step, 10.0), 100, 5), [100, 100, 100, 10, 10]);
        assert_eq!(sizes(&imbalance(Profile::Exponential, 1e6), 10, 2), [10, 1]);
        assert_eq!(sizes(&imbalance(Profile::Exponential, 9.0), 10, 1), [10]);
    }

    #[test]
    fn the_samples_that_stay_are_the_ones_they_were() {
        let data = grey(&[1, 0, 1, 1, 0, 1], &[0, 1]);
        let before = data.train.inputs.clone();
        let found = run(&imbalance(Profile::Step, 4.0), data).expect("it can be applied");
        assert_eq!(found.train.labels.iter().filter(|label| label.index() == 1).count(), 1);
        assert_eq!((found.meta.train, found.meta.test, found.test.labels.len()), (3, 2, 2));
        let (artifacts::dataset::Inputs::Images(before), artifacts::dataset::Inputs::Images(after)) =
            (&before, &found.train.inputs)
        else {
            panic!("not images")
        };
        let mut rest = before.chunks_exact(4).zip(ClassId::list([1, 0, 1, 1, 0, 1]));
        let pairs = after.chunks_exact(4).zip(found.train.labels);
        pairs.for_each(|pair| assert!(rest.any(|one| one == pair), "in the order they had"));
        assert_eq!(imbalance(Profile::Step, 0.5).problems().len(), 1);
    }
}
