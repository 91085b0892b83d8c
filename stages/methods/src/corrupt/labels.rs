//! `corrupt.labels`: symmetric, pair-flip and asymmetric label noise, noise of any matrix, and noise that
//! depends on the sample itself.

use super::{
    another, changed,
    class_ref::{self, ClassRef},
    instance, relabelled,
    transition::{self, LabelMatrix, Preset},
};
use crate::MethodError;
use artifacts::{
    ClassId, SampleId,
    dataset::{self, Dataset},
    parts::{DATA, Parts},
    units::Fraction,
};
use engine::{ArtifactKind, Port, Problem, Stage, StageCtx, StageError};
use rand::{Rng, RngExt as _, seq::index};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) const MANUAL: &str = "\
Gives a share `rate` of the training samples another label. The test split and the samples themselves \
stay as they are.

- `symmetric`: a label drawn evenly from the other classes, or from all if `own-class` is set (then \
about one in C of the touched samples keeps its label; both conventions are in use).
- `pair-flip`: class y becomes y + 1, the last becomes the first (Han et al., arXiv:1804.06872).
- `asymmetric`: classes are taken for similar ones, as `map` says. Only samples of a class in the map can \
be touched, and `rate` is the share of those. With ten classes and no map, CIFAR-10's usual one: truck to \
automobile, bird to airplane, deer to horse, cat to dog and dog to cat (Patrini et al., arXiv:1609.03683).
- `matrix`: row y of `matrix` holds the probability of each label for a sample of class y, and so the \
share of wrong labels too; there is no `rate`. `preset = \"cifar10n-worst\"` is the matrix of what people \
really confuse, for data of ten classes in CIFAR-10's order (or of any ten, for mistakes as uneven as \
people's): the worst of three annotations of each image of CIFAR-10N, 40.2 % wrong if the classes are \
equally large (Wei et al., arXiv:2110.12088; counted in the published labels and rounded to three decimals). \
`corrupt.label-file` takes the labels themselves.
- `instance-dependent`: what a sample looks like is what it is taken for (Xia et al., *Part-dependent Label \
Noise*, NeurIPS 2020, in the form of the authors' code). Each class y has a random matrix W_y, standard normal; \
the other classes get softmax(W_y x) of a sample x of y (standardised pixels or features), times the sample's own \
rate, drawn from a normal distribution around `rate` with standard deviation 0.1 within 0 and 1. Every sample's \
label is drawn on its own, so the share of wrong labels is about `rate`. Cost: O(n C d) for C classes and d \
values, by all threads.

`count = \"exact\"` touches exactly `rate` times the number of samples that can be, rounded; with a matrix \
each class gets each label as often as its row says, rounded by the largest remainders. `bernoulli` \
decides for each sample on its own. The log tells how many labels are wrong in the end.

The output also says which samples were touched (those that got another label, where labels are drawn from a \
distribution) and what their labels were. Only `evaluate` and the models' summaries read that. Corrupting \
corrupted data draws on the labels as they are by then, keeps the original ones as clean, and counts a sample as touched if it ever \
was. Where nothing is touched (`rate = 0`), the output is the input, so that everything behind it is what \
the clean run already did.";

/// How labels are corrupted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Labels {
    /// Which label a touched sample gets.
    kind: Noise,
    /// The share of samples touched; for `asymmetric`, of those whose class is in the map. Not for
    /// `matrix`, which says it itself.
    rate: Fraction,
    /// How that share is meant; not for `instance-dependent`, which draws every sample on its own.
    count: Counting,
    /// With `symmetric`: the drawn label may be the sample's own.
    own_class: bool,
    /// With `asymmetric`: what each class is taken for, such as `{ cat = "dog", "9" = 1 }`. A class
    /// is named or numbered from 0; text is taken for a name if there is such a class. Without it,
    /// data with ten classes get CIFAR-10's usual map.
    map: Option<BTreeMap<String, ClassRef>>,
    /// With `matrix`: for each class, in their order, the probability of each label. A row sums to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    matrix: Option<LabelMatrix>,
    /// With `matrix`: a matrix that was measured, instead of one of your own.
    #[serde(skip_serializing_if = "Option::is_none")]
    preset: Option<Preset>,
}

/// Which label a touched sample gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Noise {
    /// Any, with equal probability.
    Symmetric,
    /// The next class's.
    PairFlip,
    /// That of the class it is taken for.
    Asymmetric,
    /// One drawn with the probabilities of its class.
    Matrix,
    /// One drawn with the probabilities of the sample itself.
    InstanceDependent,
}

/// How a share is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Counting {
    /// As a number of samples.
    Exact,
    /// As the probability of each sample.
    Bernoulli,
}

impl Default for Labels {
    fn default() -> Self {
        Self {
            kind: Noise::Symmetric,
            rate: Fraction::try_from(0.1).expect("0.1 is a fraction"),
            count: Counting::Exact,
            own_class: false,
            map: None,
            matrix: None,
            preset: None,
        }
    }
}

impl Stage for Labels {
    fn method(&self) -> &'static str {
        "corrupt.labels"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn settings(&self) -> Value {
        json!(self)
    }

    fn inputs(&self) -> Vec<Port> {
        vec![Port::one("data", DATA)]
    }

    fn output(&self) -> ArtifactKind {
        DATA
    }

    fn streams(&self) -> &'static [&'static str] {
        &["labels"]
    }

    fn problems(&self) -> Vec<Problem> {
        let mut all = vec![];
        let mut problem = |setting: &str, message: &str, hint: &str| {
            let (setting, message) = (setting.to_owned(), message.to_owned());
            all.push(Problem { setting, message, hint: Some(hint.to_owned()) });
        };
        if self.own_class && self.kind != Noise::Symmetric {
            let message = "`own-class` means something for symmetric noise only";
            problem("own-class", message, "set `kind` to \"symmetric\" or leave `own-class` out");
        }
        if self.map.is_some() && self.kind != Noise::Asymmetric {
            let message = "`map` means something for asymmetric noise only";
            problem("map", message, "set `kind` to \"asymmetric\" or leave `map` out");
        }
        if self.map.as_ref().is_some_and(BTreeMap::is_empty) {
            let message = "`map` is empty";
            problem("map", message, "say what a class is taken for, such as `cat = \"dog\"`");
        }
        if self.kind == Noise::InstanceDependent && self.count != Counting::Exact {
            let message = "`count` means nothing where every sample has a rate of its own";
            problem("count", message, "leave `count` out");
        }
        if self.kind == Noise::Matrix {
            if self.rate != Self::default().rate {
                let message = "`rate` means nothing with a matrix, which has its own";
                problem("rate", message, "leave `rate` out");
            }
            let hint = "set `matrix` to a list for each class, or `preset` to \"cifar10n-worst\"";
            match (&self.matrix, self.preset) {
                (None, None) => problem("kind", "there is no matrix to draw labels from", hint),
                (Some(_), Some(_)) => {
                    let message = "`preset` and `matrix` are both set";
                    problem("preset", message, "leave one of them out");
                }
                _ => {}
            }
        } else {
            let hint = "set `kind` to \"matrix\" or leave it out";
            for (setting, is_set) in
                [("matrix", self.matrix.is_some()), ("preset", self.preset.is_some())]
            {
                let message = format!("`{setting}` means something for `kind = \"matrix\"` only");
                if is_set {
                    problem(setting, &message, hint);
                }
            }
        }
        all
    }

    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let artifact = dataset::input(ctx, "data")?;
        let (meta, train, test) = dataset::labels(ctx, "data", artifact)?;
        if self.kind == Noise::InstanceDependent && f64::from(self.rate) > 0.0 {
            if meta.classes.len() < 2 {
                return Err(MethodError::OneClass.into());
            }
            let data = Dataset::read(ctx, "data")?;
            let labels = instance::flipped(&data, f64::from(self.rate), ctx.streams());
            let touched = changed(&train, &labels);
            return relabelled(ctx, artifact, (train, test), &labels, touched);
        }
        let mut rng = ctx.streams().get("labels");
        let (labels, touched) = self.corrupt(&train, &meta.classes, &mut rng)?;
        relabelled(ctx, artifact, (train, test), &labels, touched)
    }
}

impl Labels {
    /// Returns the labels after, and the samples touched, sorted.
    fn corrupt(
        &self,
        labels: &[ClassId],
        classes: &[String],
        rng: &mut impl Rng,
    ) -> Result<(Vec<ClassId>, Vec<SampleId>), MethodError> {
        let count = classes.len() as u32;
        if f64::from(self.rate) == 0.0 {
            return Ok((labels.to_vec(), vec![]));
        }
        if count < 2 && !self.own_class {
            return Err(MethodError::OneClass);
        }
        let map = match self.kind {
            Noise::Matrix => return self.draw(labels, classes.len(), rng),
            Noise::InstanceDependent => unreachable!("`run` draws it from the samples"),
            Noise::Asymmetric => class_ref::map(self.map.as_ref(), classes)?,
            Noise::Symmetric => vec![None; classes.len()],
            Noise::PairFlip => (0..count).map(|label| Some(((label + 1) % count).into())).collect(),
        };
        let can = |sample: &SampleId| {
            self.kind == Noise::Symmetric || map[labels[sample.index()].index()].is_some()
        };
        let able: Vec<SampleId> = SampleId::all(labels.len()).filter(can).collect();
        let touched = self.pick(&able, rng);
        let mut after = labels.to_vec();
        for sample in &touched {
            let label = &mut after[sample.index()];
            *label = match map[label.index()] {
                Some(other) => other,
                None if self.own_class => rng.random_range(0..count).into(),
                None => another(rng, *label, count),
            };
        }
        Ok((after, touched))
    }

    /// Returns the labels that the matrix gives, and the samples whose label is another, sorted.
    fn draw(
        &self,
        labels: &[ClassId],
        classes: usize,
        rng: &mut impl Rng,
    ) -> Result<(Vec<ClassId>, Vec<SampleId>), MethodError> {
        let measured = self.preset.map(Preset::matrix);
        let matrix = self.matrix.as_ref().or(measured.as_ref());
        let matrix = matrix.ok_or(MethodError::NoSetting("matrix"))?;
        if matrix.classes() != classes {
            return Err(MethodError::MatrixClasses { rows: matrix.classes(), classes });
        }
        let after = match self.count {
            Counting::Exact => transition::exact(matrix, labels, rng),
            Counting::Bernoulli => transition::each(matrix, labels, rng),
        };
        let touched = changed(labels, &after);
        Ok((after, touched))
    }

    /// Returns those of `able` to be touched, in their order.
    fn pick(&self, able: &[SampleId], rng: &mut impl Rng) -> Vec<SampleId> {
        match self.count {
            Counting::Exact => {
                let k = self.rate.of(able.len());
                let mut picked = index::sample(rng, able.len(), k).into_vec();
                picked.sort_unstable();
                picked.into_iter().map(|at| able[at]).collect()
            }
            Counting::Bernoulli => {
                let rate = f64::from(self.rate);
                // 1 is never drawn, so a rate of 1 touches all.
                able.iter().copied().filter(|_| rng.random::<f64>() < rate).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{class_ref::CIFAR10, *};
    use engine::Streams;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|at| format!("class {at}")).collect()
    }

    fn noise(kind: Noise, rate: f64) -> Labels {
        let rate = Fraction::try_from(rate).expect("the test gives a fraction");
        Labels { kind, rate, ..Labels::default() }
    }

    fn run(noise: &Labels, labels: &[ClassId], classes: usize) -> (Vec<ClassId>, Vec<SampleId>) {
        let mut rng = Streams::new(5, noise.streams()).get("labels");
        noise.corrupt(labels, &names(classes), &mut rng).expect("it can be applied")
    }

    #[test]
    fn exact_counts_change_exactly_the_touched() {
        let before = ClassId::list((0..997).map(|at| at % 10));
        for kind in [Noise::Symmetric, Noise::PairFlip] {
            for (rate, want) in [(0.0, 0), (0.1, 100), (0.25, 249), (1.0, 997)] {
                let (after, touched) = run(&noise(kind, rate), &before, 10);
                assert_eq!(touched.len(), want);
                assert_eq!(changed(&before, &after), touched);
            }
        }
        let (after, _) = run(&noise(Noise::PairFlip, 1.0), &before, 10);
        assert!(before.iter().zip(&after).all(|(a, b)| (a.index() + 1) % 10 == b.index()));
    }

    #[test]
    fn every_other_class_is_drawn_evenly() {
        let before = vec![ClassId::at(2); 30_000];
        let count =
            |labels: &[ClassId], class| labels.iter().filter(|one| one.index() == class).count();
        let (after, _) = run(&noise(Noise::Symmetric, 1.0), &before, 4);
        assert_eq!(count(&after, 2), 0);
        // 10,000 each, standard deviation 82.
        assert!([0, 1, 3].iter().all(|class| count(&after, *class).abs_diff(10_000) < 410));
        let own = Labels { own_class: true, ..noise(Noise::Symmetric, 1.0) };
        let (after, touched) = run(&own, &before, 4);
        assert_eq!(touched.len(), 30_000);
        // 7,500 each, standard deviation 75.
        assert!((0..4).all(|class| count(&after, class).abs_diff(7_500) < 375));
    }

    #[test]
    fn bernoulli_counts_vary_around_the_rate() {
        let before = vec![ClassId::at(0); 10_000];
        let some = Labels { count: Counting::Bernoulli, ..noise(Noise::PairFlip, 0.3) };
        let (after, touched) = run(&some, &before, 2);
        assert_eq!(changed(&before, &after), touched);
        // 3,000, standard deviation 46.
        assert!(touched.len() != 3_000 && touched.len().abs_diff(3_000) < 230, "{}", touched.len());
        let all = Labels { count: Counting::Bernoulli, ..noise(Noise::PairFlip, 1.0) };
        assert_eq!(run(&all, &before, 2).1.len(), 10_000);
    }

    #[test]
    fn maps_touch_their_own_classes_only() {
        let before = ClassId::list((0..1000).map(|at| at % 10));
        let (after, touched) = run(&noise(Noise::Asymmetric, 0.4), &before, 10);
        assert_eq!(touched.len(), 200);
        let pairs =
            touched.iter().map(|at| (u32::from(before[at.index()]), u32::from(after[at.index()])));
        let pairs: std::collections::BTreeSet<_> = pairs.collect();
        assert_eq!(pairs, CIFAR10.into());
        let text = r#"{"kind": "asymmetric", "rate": 1, "map": {"class 1": "class 0", "0": 2}}"#;
        let given: Labels = serde_json::from_str(text).expect("names and numbers are fine");
        let found = run(&given, &ClassId::list([0, 1, 2]), 3);
        assert_eq!(found, (ClassId::list([2, 0, 2]), SampleId::list([0, 1])));
        assert_eq!(given.settings()["map"], json!({"class 1": "class 0", "0": 2}));
    }

    #[test]
    fn maps_that_make_no_sense_are_refused() {
        let mut rng = Streams::new(5, &["labels"]).get("labels");
        let three = names(3);
        for (map, want) in [
            (r#"{"class 7": 0}"#, "names class `class 7`"),
            (r#"{"0": 3}"#, "names class `3`"),
            (r#"{"0": 0}"#, "takes class `0` for itself"),
            (r#"{"0": 1, "class 0": 2}"#, "speaks twice of class `class 0`"),
            ("null", "needs a `map`"),
        ] {
            let text = format!(r#"{{"kind": "asymmetric", "map": {map}}}"#);
            let noise: Labels = serde_json::from_str(&text).expect("the settings are read");
            let error =
                noise.corrupt(&[ClassId::at(0)], &three, &mut rng).expect_err("the map is wrong");
            assert!(error.to_string().contains(want), "{error}");
        }
        for (text, setting) in [
            (r#"{"kind": "pair-flip", "own-class": true}"#, "own-class"),
            (r#"{"map": {"0": 1}}"#, "map"),
            (r#"{"kind": "asymmetric", "map": {}}"#, "map"),
        ] {
            let noise: Labels = serde_json::from_str(text).expect("the settings are read");
            let settings: Vec<_> = noise.problems().into_iter().map(|one| one.setting).collect();
            assert_eq!(settings, [setting]);
        }
        assert!(serde_json::from_str::<Labels>(r#"{"map": {"0": -1}}"#).is_err());
        let alone = noise(Noise::Symmetric, 0.5).corrupt(&[ClassId::at(0)], &names(1), &mut rng);
        assert!(alone.is_err());
    }

    #[test]
    fn a_matrix_gives_each_class_its_own_labels() {
        // Half of the four of class 0 become 1, one of the two of class 2 becomes 0.
        let text = r#"{"kind": "matrix", "matrix": [[0.5, 0.5, 0], [0, 1, 0], [0.5, 0, 0.5]]}"#;
        let given: Labels = serde_json::from_str(text).expect("the rows sum to 1");
        assert_eq!(given.problems(), vec![]);
        let before = ClassId::list([0, 2, 0, 1, 0, 1, 2, 0]);
        let (after, touched) = run(&given, &before, 3);
        assert_eq!(changed(&before, &after), touched);
        let of = |class: usize| {
            let pairs = before.iter().zip(&after).filter(|(old, _)| old.index() == class);
            let mut given: Vec<usize> = pairs.map(|(_, new)| new.index()).collect();
            given.sort_unstable();
            given
        };
        assert_eq!((of(0), of(1), of(2)), (vec![0, 0, 1, 1], vec![1, 1], vec![0, 2]));
        assert_eq!(
            given.settings()["matrix"],
            json!([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]])
        );
    }

    #[test]
    fn a_matrix_is_of_as_many_classes_as_the_data() {
        let mut rng = Streams::new(5, &["labels"]).get("labels");
        let human: Labels =
            serde_json::from_str(r#"{"kind": "matrix", "preset": "cifar10n-worst"}"#)
                .expect("the preset is known");
        assert_eq!(human.problems(), vec![]);
        let error =
            human.corrupt(&[ClassId::at(0)], &names(3), &mut rng).expect_err("there are ten rows");
        assert_eq!(error.to_string(), "the matrix is of 10 classes, the data are of 3");
        let before = ClassId::list((0..10_000).map(|at| at % 10));
        // 40.21 % of the diagonal's complements' mean, rounded in each class.
        let wrong = run(&human, &before, 10).1.len();
        assert!(wrong.abs_diff(4_021) <= 10, "{wrong}");
    }

    #[test]
    fn matrices_that_make_no_sense_are_refused() {
        for (text, wanted) in [
            (r#"{"kind": "matrix"}"#, "kind"),
            (r#"{"kind": "matrix", "matrix": [[1]], "preset": "cifar10n-worst"}"#, "preset"),
            (r#"{"kind": "matrix", "matrix": [[1]], "rate": 0.2}"#, "rate"),
            (r#"{"matrix": [[1]]}"#, "matrix"),
            (r#"{"preset": "cifar10n-worst"}"#, "preset"),
            (r#"{"kind": "instance-dependent", "count": "bernoulli"}"#, "count"),
            (r#"{"kind": "instance-dependent", "own-class": true}"#, "own-class"),
        ] {
            let noise: Labels = serde_json::from_str(text).expect("the settings are read");
            let settings: Vec<_> = noise.problems().into_iter().map(|one| one.setting).collect();
            assert_eq!(settings, [wanted], "{text}");
        }
    }

    #[test]
    fn settings_from_before_have_the_key_they_had() {
        let wanted = json!({
            "kind": "symmetric", "rate": 0.1, "count": "exact", "own-class": false, "map": null
        });
        assert_eq!(Labels::default().settings(), wanted);
    }

    // A change here changes everybody's corrupted data: REVISION goes up with it.
    #[test]
    fn draws_are_frozen() {
        let before = ClassId::list((0..20).map(|at| at % 5));
        let (after, touched) = run(&noise(Noise::Symmetric, 0.3), &before, 5);
        let drawn: Vec<_> = touched.iter().map(|at| after[at.index()]).collect();
        assert_eq!(
            (touched, drawn),
            (SampleId::list([1, 8, 9, 15, 17, 19]), ClassId::list([0, 1, 0, 4, 3, 2]))
        );
        let text =
            r#"{"kind": "matrix", "matrix": [[0.5, 0.3, 0.2], [0, 0.5, 0.5], [0.2, 0, 0.8]]}"#;
        let exact: Labels = serde_json::from_str(text).expect("the rows sum to 1");
        let before = ClassId::list((0..18).map(|at| at % 3));
        assert_eq!(
            run(&exact, &before, 3).0,
            ClassId::list([1, 1, 2, 0, 2, 2, 1, 1, 2, 0, 2, 2, 0, 2, 2, 2, 1, 0])
        );
        let each = Labels { count: Counting::Bernoulli, ..exact };
        assert_eq!(
            run(&each, &before, 3).0,
            ClassId::list([0, 1, 2, 0, 2, 2, 1, 2, 0, 0, 2, 2, 1, 2, 0, 0, 2, 2])
        );
    }
}
