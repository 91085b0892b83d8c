//! What holds for every selector, whatever it computes.

use super::*;
use crate::{
    device::Device,
    linalg::{Matrix, noise},
    select::{greedy::Optimizer, similarity::Features},
};
use engine::Streams;

/// A training set that is hard on methods: some samples equal, one fitted perfectly, one class rare.
struct Set {
    labels: Vec<u32>,
    scores: Vec<f32>,
    logits: Vec<f32>,
    embeddings: Vec<f32>,
}

const CLASSES: usize = 3;
const WIDTH: usize = 5;

impl Set {
    fn new(n: usize) -> Self {
        let labels: Vec<u32> = (0..n as u32).map(|i| if i % 17 == 5 { 2 } else { i % 2 }).collect();
        let mut logits = noise(n * CLASSES, 1);
        let mut embeddings = noise(n * WIDTH, 2);
        for i in (0..n).step_by(4).skip(1) {
            let (z, h) = (logits[..CLASSES].to_vec(), embeddings[..WIDTH].to_vec());
            logits[i * CLASSES..(i + 1) * CLASSES].copy_from_slice(&z);
            embeddings[i * WIDTH..(i + 1) * WIDTH].copy_from_slice(&h);
        }
        if n > 3 {
            logits[3 * CLASSES + labels[3] as usize] = 1e4;
            embeddings[2 * WIDTH..3 * WIDTH].fill(0.0);
        }
        let scores = noise(n, 3).iter().map(|v| (v * 4.0).round()).collect();
        Self { labels, scores, logits, embeddings }
    }

    /// Samples of a single class.
    fn of_one_class(n: usize) -> Self {
        Self { labels: vec![0; n], ..Self::new(n) }
    }

    /// Samples of which nothing is known that tells them apart.
    fn flat(n: usize) -> Self {
        let Self { labels, .. } = Self::new(n);
        let zeros = |each: usize| vec![0.0; n * each];
        Self { labels, scores: zeros(1), logits: zeros(CLASSES), embeddings: zeros(WIDTH) }
    }

    /// Thirty samples, each of them four times.
    fn of_fours() -> Self {
        let four = |values: Vec<f32>| values.repeat(4);
        let labels: Vec<u32> = (0..30).map(|i| i % 3).collect();
        Self {
            labels: labels.repeat(4),
            scores: four(noise(30, 4)),
            logits: four(noise(30 * CLASSES, 5)),
            embeddings: four(noise(30 * WIDTH, 6)),
        }
    }

    fn ground(&self) -> Ground<'_> {
        let n = self.labels.len();
        Ground {
            labels: &self.labels,
            scores: Some(&self.scores),
            logits: Some(Matrix::new(&self.logits, n, CLASSES)),
            embeddings: Some(Matrix::new(&self.embeddings, n, WIDTH)),
        }
    }
}

fn law<S: Selector>(rule: &S, exact: bool) {
    for (n, set) in [1, 2, 7, 600]
        .into_iter()
        .flat_map(|n| [Set::new(n), Set::of_one_class(n), Set::flat(n)].map(|set| (n, set)))
    {
        let ground = set.ground();
        let members: Vec<u32> = (0..n as u32).collect();
        for budget in [1, n.div_ceil(10), n / 2, n] {
            if budget == 0 || (S::WHOLE && budget < n) {
                continue;
            }
            let on = |device: Device, threads: usize| {
                let streams = Streams::new(7, rule.streams());
                let group = Group { device, ..Group::unwatched(&ground, &members, 0, streams) };
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                let pool = pool.expect("threads can be had");
                pool.install(|| rule.select(&group, budget)).expect("it applies")
            };
            let picks = on(Device::CPU, 1);
            assert_eq!(picks, on(Device::CPU, 3), "{} depends on the threads", S::NAME);
            sound(S::NAME, &picks, n, budget, exact);
            sound(S::NAME, &on(Device::STAND_IN, 2), n, budget, exact);
        }
    }
}

fn sound(name: &str, picks: &Picks, n: usize, budget: usize, exact: bool) {
    let mut places = picks.places.clone();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), picks.places.len(), "{name} repeats a sample");
    assert!(places.iter().all(|place| (*place as usize) < n));
    let count = places.len();
    assert!(count == budget || (!exact && count < budget), "{name}: {count} of {budget}");
    if let Some(weights) = &picks.weights {
        assert_eq!(weights.len(), count);
        assert!(weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0));
        assert!(weights.iter().any(|weight| *weight > 0.0), "{name}");
    }
}

#[test]
fn every_selector_keeps_its_budget_on_any_number_of_threads() {
    law(&bottom::Bottom::default(), true);
    law(&full::Full::default(), true);
    law(&random::Random::default(), true);
    law(&top::Top::default(), true);
    law(&window::Window::default(), true);
    law(&k_center::KCenter::default(), true);
    law(&contextual_diversity::ContextualDiversity::default(), true);
    for compat in [Compat::None, Compat::Deepcore, Compat::Deepcore2022] {
        law(&cal::Cal { compat, ..Default::default() }, true);
        law(&herding::Herding { compat }, true);
        law(&glister::Glister { compat, ..Default::default() }, true);
        law(&gradmatch::GradMatch { compat, ..Default::default() }, compat == Compat::None);
    }
    let nothing = crate::units::NonNegative::try_from(0.0).ok();
    law(&gradmatch::GradMatch { lambda: nothing, ..Default::default() }, true);
    for optimizer in
        [Optimizer::Naive, Optimizer::Lazy, Optimizer::ApproximateLazy, Optimizer::Stochastic]
    {
        law(&craig::Craig { optimizer, ..Default::default() }, true);
        for features in [Features::Gradient, Features::Embedding] {
            let rule =
                facility_location::FacilityLocation { optimizer, features, ..Default::default() };
            law(&rule, true);
            law(&graph_cut::GraphCut { optimizer, features, ..Default::default() }, true);
            for compat in [Compat::None, Compat::Deepcore] {
                let rule = log_det::LogDet { optimizer, features, compat, ..Default::default() };
                law(&rule, true);
            }
        }
    }
}

fn distinct<S: Selector>(rule: &S, budget: usize) {
    let set = Set::of_fours();
    let (ground, members) = (set.ground(), (0..120).collect::<Vec<u32>>());
    for device in [Device::CPU, Device::STAND_IN] {
        let streams = Streams::new(3, rule.streams());
        let group = Group { device, ..Group::unwatched(&ground, &members, 0, streams) };
        let picks = rule.select(&group, budget).expect("it applies");
        let mut which: Vec<u32> = picks.places.iter().map(|place| place % 30).collect();
        which.sort_unstable();
        which.dedup();
        assert_eq!(which.len(), budget, "{} picks a sample and its copy", S::NAME);
    }
}

#[test]
fn what_is_covered_is_not_picked_again() {
    distinct(&k_center::KCenter::default(), 30);
    distinct(&contextual_diversity::ContextualDiversity::default(), 30);
    distinct(&craig::Craig::default(), 30);
    for features in [Features::Gradient, Features::Embedding] {
        let rule = facility_location::FacilityLocation { features, ..Default::default() };
        distinct(&rule, 30);
        // Beyond the rank of the similarities all are equally new.
        distinct(&log_det::LogDet { features, ..Default::default() }, WIDTH);
    }
}

#[test]
fn craig_weights_count_the_samples() {
    let set = Set::new(600);
    let (ground, members) = (set.ground(), (0..600).collect::<Vec<u32>>());
    let streams = Streams::new(0, &[]);
    let group = Group::unwatched(&ground, &members, 0, streams);
    let picks = craig::Craig::default().select(&group, 60).expect("it applies");
    assert_eq!(picks.weights.expect("it weighs").iter().sum::<f32>(), 600.0);
}

#[test]
fn every_method_has_a_name_of_its_family_and_a_schema() {
    // What comes from a file has no budget of its own.
    let own = |method: &Method| method.name != "select.import";
    let all: Vec<Method> = methods().into_iter().filter(own).collect();
    for method in &all {
        assert!(method.name.starts_with("select.") && !method.manual.is_empty());
        let schema = serde_json::to_value((method.schema)()).expect("it is JSON");
        assert!(
            schema["properties"]["rule"].is_object() && schema["properties"]["keep"].is_object()
        );
    }
    assert_eq!(all.len(), 17);
}
