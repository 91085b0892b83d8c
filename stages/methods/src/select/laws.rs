//! What holds for every selector, whatever it computes: it keeps its budget, keeps each sample once,
//! gives finite weights, and does the same on any number of threads.
//!
//! The checks run over the registry, so a new selector is held to them by being registered. They are
//! public for the crate that has a real accelerator.

use super::{Group, Picks, Query, SelectFn, Selector, TrainingSet, group::Unwatched, registered};
use crate::linalg::{Compute, noise};
use artifacts::{ClassId, Matrix, SampleId};
use engine::Streams;

/// Where the selectors compute, and how far its picks may be from the host's.
pub struct Place {
    /// Where.
    pub compute: Compute,
    /// Whether the picks have to be the same on any number of threads.
    pub is_exact: bool,
}

/// A training set that is hard on methods: some samples equal, one fitted perfectly, one class rare.
struct Samples {
    labels: Vec<ClassId>,
    scores: Vec<f64>,
    cut: Vec<f64>,
    probabilities: Vec<f32>,
    logits: Vec<f32>,
    embeddings: Vec<f32>,
    losses: Vec<f32>,
    counts: Vec<u64>,
    query: Vec<SampleId>,
}

/// Returns scores as selectors are given them.
pub(super) fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

const EPOCHS: usize = 4;
const CLASSES: usize = 3;
pub(super) const WIDTH: usize = 5;

impl Samples {
    fn new(n: usize) -> Self {
        let labels = ClassId::list((0..n as u32).map(|i| if i % 17 == 5 { 2 } else { i % 2 }));
        let mut logits = noise(n * CLASSES, 1);
        let mut embeddings = noise(n * WIDTH, 2);
        for i in (0..n).step_by(4).skip(1) {
            let (z, h) = (logits[..CLASSES].to_vec(), embeddings[..WIDTH].to_vec());
            logits[i * CLASSES..(i + 1) * CLASSES].copy_from_slice(&z);
            embeddings[i * WIDTH..(i + 1) * WIDTH].copy_from_slice(&h);
        }
        if n > 3 {
            logits[3 * CLASSES + labels[3].index()] = 1e4;
            embeddings[2 * WIDTH..3 * WIDTH].fill(0.0);
        }
        let scores = noise(n, 3).iter().map(|v| f64::from((v * 4.0).round())).collect();
        let probabilities = shares(noise(n, 8));
        let losses = noise(n * EPOCHS, 11);
        let query = [0, 3, 4].into_iter().filter(|at| *at < n).map(SampleId::at).collect();
        let counts = noise(n, 13).iter().map(|value| (value.abs() * 40.0) as u64).collect();
        let cut = doubles(&noise(n, 10));
        Self { labels, scores, cut, probabilities, logits, embeddings, losses, counts, query }
    }

    /// Samples of a single class.
    fn of_one_class(n: usize) -> Self {
        Self { labels: vec![ClassId::at(0); n], ..Self::new(n) }
    }

    /// Samples of which nothing is known that tells them apart.
    fn flat(n: usize) -> Self {
        let Self { labels, query, .. } = Self::new(n);
        let zeros = |each: usize| vec![0.0; n * each];
        Self {
            labels,
            scores: vec![0.0; n],
            cut: vec![0.0; n],
            probabilities: zeros(1),
            logits: zeros(CLASSES),
            embeddings: zeros(WIDTH),
            losses: zeros(EPOCHS),
            counts: vec![0; n],
            query,
        }
    }

    /// Thirty samples, each of them four times.
    fn of_fours() -> Self {
        let four = |values: Vec<f32>| values.repeat(4);
        let labels = ClassId::list((0..30).map(|i| i % 3));
        Self {
            labels: labels.repeat(4),
            scores: doubles(&four(noise(30, 4))),
            cut: doubles(&four(noise(30, 10))),
            probabilities: four(shares(noise(30, 9))),
            logits: four(noise(30 * CLASSES, 5)),
            embeddings: four(noise(30 * WIDTH, 6)),
            losses: four(noise(30 * EPOCHS, 12)),
            counts: vec![7; 120],
            query: vec![SampleId::at(1)],
        }
    }

    fn training_set(&self) -> TrainingSet<'_> {
        let n = self.labels.len();
        let rows = self
            .query
            .iter()
            .flat_map(|sample| self.embeddings[sample.index() * WIDTH..][..WIDTH].iter().copied());
        let vectors = Matrix::new(rows.collect::<Vec<f32>>(), self.query.len(), WIDTH);
        TrainingSet {
            labels: &self.labels,
            scores: Some(&self.scores),
            cut: Some(&self.cut),
            probabilities: Some(&self.probabilities),
            logits: Some(Matrix::new(&self.logits, n, CLASSES)),
            embeddings: Some(Matrix::new(&self.embeddings, n, WIDTH)),
            losses: Some(Matrix::new(&self.losses, n, EPOCHS)),
            query: Some(Query { vectors, samples: &self.query }),
            counts: Some(&self.counts),
            like: Some(&self.query),
            ..TrainingSet::default()
        }
    }
}

/// Moves noise from -1 to 1 into what a probability may be.
fn shares(noise: Vec<f32>) -> Vec<f32> {
    noise.into_iter().map(|value| (value + 1.0) / 2.0).collect()
}

/// A selector with settings of its own, as the laws see it.
pub(super) struct Subject {
    name: &'static str,
    is_whole: bool,
    streams: &'static [&'static str],
    may_keep_fewer: bool,
    avoids_copies: Option<usize>,
    select: Box<SelectFn<'static>>,
}

impl Subject {
    /// Returns a selector at each of its variants.
    pub(super) fn of<S: Selector>() -> Vec<Self> {
        S::variants().into_iter().map(Self::with).collect()
    }

    fn with<S: Selector>(rule: S) -> Self {
        Self {
            name: S::NAME,
            is_whole: S::WHOLE,
            streams: rule.streams(),
            may_keep_fewer: rule.may_keep_fewer(),
            avoids_copies: rule.avoids_copies(),
            select: Box::new(move |group, budget| rule.select(group, budget)),
        }
    }
}

/// Checks every registered selector, with every variant of its settings, at each place.
///
/// # Panics
///
/// Panics with the selector's name where one breaks a law.
pub fn check_all(places: &[Place]) {
    for subject in registered().into_iter().flat_map(|one| (one.subjects)()) {
        for place in places {
            budgets(&subject, place);
            copies(&subject, place);
        }
    }
}

fn pick(
    subject: &Subject,
    samples: &Samples,
    budget: usize,
    compute: &Compute,
    threads: usize,
) -> Picks {
    let set = samples.training_set();
    let members: Vec<SampleId> = SampleId::all(samples.labels.len()).collect();
    let group = Group {
        ground: &set,
        members: &members,
        index: 0,
        streams: Streams::new(7, subject.streams),
        watch: &Unwatched,
        compute,
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.expect("threads can be had");
    pool.install(|| (subject.select)(&group, budget)).expect("it applies")
}

fn budgets(subject: &Subject, place: &Place) {
    // Large enough for several tiles on the host; an accelerator has none.
    let largest = if place.is_exact { 600 } else { 150 };
    for n in [1, 2, 7, largest] {
        for samples in [Samples::new(n), Samples::of_one_class(n), Samples::flat(n)] {
            for budget in [1, n.div_ceil(10), n / 2, n] {
                if budget == 0 || (subject.is_whole && budget < n) {
                    continue;
                }
                let picks = pick(subject, &samples, budget, &place.compute, 1);
                if place.is_exact {
                    let others = pick(subject, &samples, budget, &place.compute, 3);
                    assert_eq!(picks, others, "{} depends on the threads", subject.name);
                }
                sound(subject, &picks, n, budget);
            }
        }
    }
}

fn sound(subject: &Subject, picks: &Picks, n: usize, budget: usize) {
    let name = subject.name;
    let mut places = picks.places.clone();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), picks.places.len(), "{name} repeats a sample");
    assert!(places.iter().all(|place| place.index() < n), "{name}");
    let count = places.len();
    let fewer = subject.may_keep_fewer && count < budget;
    assert!(count == budget || fewer, "{name}: {count} of {budget}");
    if let Some(weights) = &picks.weights {
        assert_eq!(weights.len(), count, "{name}");
        assert!(weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0), "{name}");
        assert!(weights.iter().any(|weight| *weight > 0.0), "{name}");
    }
}

fn copies(subject: &Subject, place: &Place) {
    let Some(most) = subject.avoids_copies else { return };
    let budget = most.min(30);
    let picks = pick(subject, &Samples::of_fours(), budget, &place.compute, 2);
    let mut originals: Vec<usize> = picks.places.iter().map(|place| place.index() % 30).collect();
    originals.sort_unstable();
    originals.dedup();
    assert_eq!(originals.len(), budget, "{} picks a sample and its copy", subject.name);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{linalg::stand_in::stand_in, select::craig::Craig};

    #[test]
    fn every_selector_keeps_the_laws() {
        let host = Place { compute: Compute::default(), is_exact: true };
        let accelerator = Place { compute: stand_in(), is_exact: false };
        check_all(&[host, accelerator]);
    }

    #[test]
    fn craig_weights_count_the_samples() {
        let picks =
            pick(&Subject::with(Craig::default()), &Samples::new(600), 60, &Compute::default(), 2);
        assert_eq!(picks.weights.expect("it weighs").iter().sum::<f32>(), 600.0);
    }

    #[test]
    fn every_method_has_a_name_of_its_family_and_a_schema() {
        for method in registered().into_iter().map(|one| one.method) {
            assert!(method.name.starts_with("select.") && !method.manual.is_empty());
            let schema = serde_json::to_value((method.schema)()).expect("it is JSON");
            let settings = &schema["properties"];
            assert!(
                settings["rule"].is_object() && settings["keep"].is_object(),
                "{}",
                method.name
            );
        }
    }
}
