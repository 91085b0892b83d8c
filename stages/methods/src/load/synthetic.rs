//! `load.synthetic`: Gaussian classes with samples whose nature is known.

use super::{Loaded, Loader, names};
use crate::{corrupt::another, normals::normals};
use artifacts::{
    ClassId, SampleId,
    dataset::{self, CleanLabels, DatasetMeta, Inputs, Split},
    parts::Parts,
    units::{Count, Fraction, NonNegative},
};
use engine::{Problem, StageCtx, StageError, Streams};
use rand::{Rng, RngExt as _, seq::index};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// 16 GiB of f32.
const MOST_VALUES: usize = 1 << 32;
/// Beyond this, making centres orthogonal costs more than it is worth.
const MOST_ORTHOGONAL: usize = 1000;
/// How far a hard sample's centre moves towards another class: still on its own side.
const NEAR_THE_BORDER: f64 = 0.45;
/// The log of more duplicates than this would outweigh the data.
const MOST_LOGGED: usize = 10_000;

/// How many samples, of what shape, and how odd.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Synthetic {
    /// How many training samples.
    n: Count,
    /// How many test samples.
    test: usize,
    /// How many values a sample has.
    d: Count,
    /// How many classes.
    classes: Count,
    /// How far the centres of two classes are apart, in standard deviations of a class.
    separation: NonNegative,
    /// The share of training samples close to the border with another class.
    hard: Fraction,
    /// The share of training samples that are exact copies of others.
    duplicate: Fraction,
    /// The share of training samples with a wrong label.
    mislabelled: Fraction,
}

impl Default for Synthetic {
    fn default() -> Self {
        let count = |n| Count::try_from(n).expect("it is not 0");
        let none = Fraction::try_from(0.0).expect("0 is a fraction");
        Self {
            n: count(1000),
            test: 500,
            d: count(16),
            classes: count(4),
            separation: NonNegative::try_from(4.0).expect("4 is not below zero"),
            hard: none,
            duplicate: none,
            mislabelled: none,
        }
    }
}

impl Loader for Synthetic {
    const NAME: &'static str = "load.synthetic";
    const SUMMARY: &'static str =
        "Gaussian classes with known hard, duplicate and mislabelled samples";
    const MANUAL: &'static str = "\
Gaussian classes of unit variance, made from the stage's seed, for tests and for questions whose \
answer is known. Class centres are `separation` apart: exactly if there are at most as many classes \
as dimensions, else about so (random directions). Samples take turns through the classes.

Three disjoint sets of training samples are special. *Hard* ones have their centre moved nine \
twentieths of the way to another class's. *Duplicates* are exact copies, label included, of a sample \
that is neither a duplicate nor mislabelled; the log lists each with its source. *Mislabelled* ones \
have a label drawn from the other classes; they stand in part `clean`, as corrupted ones do, for \
evaluation only. The test split has none of the three.";

    fn streams(&self) -> &'static [&'static str] {
        &["centres", "train", "test", "roles"]
    }

    fn problems(&self) -> Vec<Problem> {
        let mut all = vec![];
        let mut problem = |setting: &str, message: String, hint: &str| {
            let hint = Some(hint.to_owned());
            all.push(Problem { setting: setting.to_owned(), message, hint });
        };
        let (n, d, classes) = (self.n.get(), self.d.get(), self.classes.get());
        for (setting, rows) in [("n", n), ("test", self.test), ("classes", classes)] {
            if rows.checked_mul(d).is_none_or(|values| values > MOST_VALUES) {
                let message = format!("{rows} x {d} values are more than {MOST_VALUES}");
                problem(setting, message, "ask for fewer samples or dimensions");
            }
        }
        let [hard, duplicate, mislabelled] =
            [self.hard, self.duplicate, self.mislabelled].map(|share| share.of(n));
        if hard + duplicate + mislabelled > n {
            let message = format!(
                "{hard} hard, {duplicate} duplicate and {mislabelled} mislabelled samples are more \
                 than the {n} there are"
            );
            problem("", message, "a sample is at most one of the three: lower a share");
        } else if duplicate > 0 && duplicate + mislabelled == n {
            let message = "no sample is left to make duplicates of".to_owned();
            problem("duplicate", message, "lower `duplicate` or `mislabelled`");
        }
        for (setting, count) in [("hard", hard), ("mislabelled", mislabelled)] {
            if count > 0 && classes == 1 {
                let message = format!("`{setting}` needs a second class");
                problem(setting, message, "raise `classes`");
            }
        }
        all
    }

    fn load(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let made = self.make(ctx.streams());
        ctx.check_cancelled()?;
        for line in made.log() {
            ctx.log(line);
        }
        let mut parts = made.loaded.put(ctx)?;
        if let Some(clean) = &made.clean {
            parts.insert("clean".to_owned(), dataset::put_clean(ctx, clean)?);
        }
        Ok(parts)
    }
}

/// The data set, and what is known about it.
struct Made {
    loaded: Loaded,
    clean: Option<CleanLabels>,
    /// The samples near a border, sorted.
    hard: Vec<u32>,
    /// Each copy with its source, sorted.
    duplicates: Vec<(u32, u32)>,
}

impl Made {
    fn log(&self) -> Vec<String> {
        let mislabelled = self.clean.as_ref().map_or(0, |clean| clean.touched.len());
        let (hard, copies) = (self.hard.len(), self.duplicates.len());
        let mut lines = vec![format!("{hard} hard, {copies} duplicate, {mislabelled} mislabelled")];
        for some in self.duplicates[..copies.min(MOST_LOGGED)].chunks(20) {
            let pairs: Vec<_> = some.iter().map(|(copy, of)| format!("{copy} of {of}")).collect();
            lines.push(format!("duplicates: {}", pairs.join(", ")));
        }
        if copies > MOST_LOGGED {
            lines.push(format!("and {} duplicates more", copies - MOST_LOGGED));
        }
        lines
    }
}

impl Synthetic {
    fn make(&self, streams: Streams) -> Made {
        let (n, d, classes) = (self.n.get(), self.d.get(), self.classes.get());
        let centres = self.centres(&mut streams.get("centres"));
        let mut rng = streams.get("roles");
        let counts = [self.hard, self.duplicate, self.mislabelled].map(|share| share.of(n));
        // One draw for all three keeps them disjoint. Sorted, so that later draws go by position.
        let picked = index::sample(&mut rng, n, counts.iter().sum()).into_vec();
        let (hard, rest) = picked.split_at(counts[0]);
        let (copies, wrong) = rest.split_at(counts[1]);
        let [hard, copies, wrong] = [hard, copies, wrong].map(|some| {
            let mut some: Vec<u32> = some.iter().map(|at| *at as u32).collect();
            some.sort_unstable();
            some
        });

        let mut labels: Vec<ClassId> = (0..n).map(|at| ClassId::at(at % classes)).collect();
        let mut towards = vec![None; n];
        for at in &hard {
            towards[*at as usize] = Some(another(&mut rng, labels[*at as usize], classes as u32));
        }
        let mut values = vec![0.0; n * d];
        values.par_chunks_mut(d).enumerate().for_each(|(at, row)| {
            let own = &centres[labels[at].index()];
            let far = towards[at].map(|class: ClassId| &centres[class.index()]);
            sample(&mut streams.at("train", at as u64), row, own, far);
        });

        let taken: BTreeSet<u32> = copies.iter().chain(&wrong).copied().collect();
        let sources: Vec<u32> = (0..n as u32).filter(|at| !taken.contains(at)).collect();
        let mut duplicates = vec![];
        for copy in copies {
            let of = sources[rng.random_range(0..sources.len() as u32) as usize];
            let (from, to) = (of as usize, copy as usize);
            values.copy_within(from * d..(from + 1) * d, to * d);
            labels[to] = labels[from];
            duplicates.push((copy, of));
        }
        let before = labels.clone();
        for at in &wrong {
            labels[*at as usize] = another(&mut rng, labels[*at as usize], classes as u32);
        }
        let touched: Vec<SampleId> = wrong.into_iter().map(SampleId::from).collect();
        let clean = (!touched.is_empty()).then_some(CleanLabels { labels: before, touched });

        let mut test = vec![0.0; self.test * d];
        test.par_chunks_mut(d).enumerate().for_each(|(at, row)| {
            sample(&mut streams.at("test", at as u64), row, &centres[at % classes], None);
        });
        let test_labels = (0..self.test).map(|at| ClassId::at(at % classes)).collect();
        let names = ClassId::all(classes).collect::<Vec<_>>();
        let meta = DatasetMeta {
            name: "synthetic".to_owned(),
            classes: names::numbers(&[&names]),
            sample: vec![d],
            train: n,
            test: self.test,
            mean: vec![0.0],
            std: vec![1.0],
            space: None,
        };
        let train = Split { inputs: Inputs::Features(values), labels };
        let test = Split { inputs: Inputs::Features(test), labels: test_labels };
        Made { loaded: Loaded::new(meta, train, test), clean, hard, duplicates }
    }

    /// Returns the centre of each class.
    fn centres(&self, rng: &mut impl Rng) -> Vec<Vec<f64>> {
        let (d, classes) = (self.d.get(), self.classes.get());
        let orthogonal = classes <= d.min(MOST_ORTHOGONAL);
        let mut units: Vec<Vec<f64>> = vec![];
        for _ in 0..classes {
            let mut unit = vec![0.0; d];
            normals(rng, &mut unit);
            // Twice: what rounding leaves of the others the first time goes the second time.
            for other in units.iter().chain(&units).take_while(|_| orthogonal) {
                let along = dot(&unit, other);
                unit.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
            }
            let norm = dot(&unit, &unit).sqrt();
            unit.iter_mut().for_each(|x| *x /= norm);
            units.push(unit);
        }
        // Two orthogonal vectors of length r have sqrt(2) r between their ends.
        let radius = f64::from(self.separation) / std::f64::consts::SQRT_2;
        units.iter_mut().flatten().for_each(|x| *x *= radius);
        units
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Fills `row` with a sample of the class around `own`, or of one moved towards `far`.
fn sample(rng: &mut impl Rng, row: &mut [f32], own: &[f64], far: Option<&Vec<f64>>) {
    let mut values = vec![0.0; row.len()];
    normals(rng, &mut values);
    for (at, value) in row.iter_mut().enumerate() {
        let moved = far.map_or(0.0, |far| NEAR_THE_BORDER * (far[at] - own[at]));
        *value = (own[at] + moved + values[at]) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(hard: f64, duplicate: f64, mislabelled: f64) -> Synthetic {
        let share = |x| Fraction::try_from(x).expect("the test gives a fraction");
        Synthetic {
            hard: share(hard),
            duplicate: share(duplicate),
            mislabelled: share(mislabelled),
            ..Synthetic::default()
        }
    }

    fn make(settings: &Synthetic, seed: u64) -> Made {
        settings.make(Streams::new(seed, settings.streams()))
    }

    fn row(made: &Made, at: u32) -> &[f32] {
        let Inputs::Features(values) = &made.loaded.train.inputs else { panic!("not features") };
        &values[at as usize * 16..][..16]
    }

    #[test]
    fn what_is_odd_is_known() {
        let plain = make(&settings(0.0, 0.0, 0.0), 3);
        let odd = make(&settings(0.1, 0.2, 0.05), 3);
        assert_eq!((odd.hard.len(), odd.duplicates.len()), (100, 200));
        let clean = odd.clean.as_ref().expect("some labels are wrong");
        assert_eq!(clean.touched.len(), 50);
        let copies: BTreeSet<u32> = odd.duplicates.iter().map(|(copy, _)| *copy).collect();
        for (copy, of) in &odd.duplicates {
            assert_eq!(row(&odd, *copy), row(&odd, *of));
            assert_eq!(clean.labels[*copy as usize], clean.labels[*of as usize]);
            assert!(
                !copies.contains(of) && clean.touched.binary_search(&SampleId::from(*of)).is_err()
            );
        }
        let mut plain_ones = 0;
        for at in 0..1000 {
            let wrong = clean.touched.binary_search(&SampleId::from(at)).is_ok();
            let changed = odd.loaded.train.labels[at as usize] != clean.labels[at as usize];
            assert_eq!(changed, wrong);
            let special = odd.hard.binary_search(&at).is_ok() || copies.contains(&at);
            plain_ones += u32::from(!special);
            // A sample depends on its position and the seed, not on what was done to others.
            assert_eq!(row(&odd, at) == row(&plain, at), !special, "{at}");
        }
        assert_eq!(plain_ones, 700);
        assert_eq!(odd.loaded.test, plain.loaded.test);
        assert!(plain.clean.is_none() && plain.duplicates.is_empty());
        assert_eq!(odd.log().len(), 1 + 10);
    }

    #[test]
    fn classes_are_as_far_apart_as_asked() {
        let streams = Streams::new(1, &["centres"]);
        let centres = Synthetic::default().centres(&mut streams.get("centres"));
        for (at, one) in centres.iter().enumerate() {
            for two in &centres[..at] {
                let gap: f64 = one.iter().zip(two).map(|(x, y)| (x - y) * (x - y)).sum();
                assert!((gap.sqrt() - 4.0).abs() < 1e-12);
            }
        }
        // 4 sigma apart: the nearest centre is wrong for about 3 * P(z > 2) = 6.8 % of samples.
        let made = make(&Synthetic::default(), 1);
        let Inputs::Features(values) = &made.loaded.test.inputs else { panic!("not features") };
        let distance = |row: &[f32], centre: &[f64]| -> f64 {
            row.iter().zip(centre).map(|(x, c)| (f64::from(*x) - c).powi(2)).sum()
        };
        let rows = values.chunks(16).zip(&made.loaded.test.labels);
        let wrong = rows.filter(|(row, label)| {
            let all = centres.iter().map(|centre| distance(row, centre));
            let nearest = all.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).map(|best| best.0);
            nearest != Some(label.index())
        });
        let wrong = wrong.count();
        assert!((10..55).contains(&wrong), "{wrong} of 500");
    }

    #[test]
    fn impossible_shares_are_found() {
        let says = |one: &Synthetic| one.problems().first().map(|p| p.message.clone());
        assert_eq!(says(&settings(0.5, 0.25, 0.25)), None);
        assert!(says(&settings(0.5, 0.5, 0.25)).is_some_and(|text| text.contains("more than")));
        assert!(says(&settings(0.0, 0.5, 0.5)).is_some_and(|text| text.contains("no sample")));
        let huge = Count::try_from(u64::MAX).expect("it is not 0");
        let big = Synthetic { n: huge, ..Synthetic::default() };
        assert!(says(&big).is_some_and(|text| text.contains("values are more")));
        let one = Count::try_from(1).expect("it is not 0");
        assert_eq!(Synthetic { classes: one, ..settings(0.1, 0.0, 0.1) }.problems().len(), 2);
    }
}
