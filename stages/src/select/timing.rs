//! How long every selector takes on one group: run by hand, in release, with `--ignored`.

use super::{Ground, Group, Picks, Selector, group::Unwatched};
use crate::linalg::{Matrix, noise};
use engine::Streams;
use std::time::Instant;

const SHAPE: (usize, usize, usize, usize) = (5000, 512, 10, 500);

#[expect(clippy::print_stderr, reason = "the figures are what it is run for")]
fn time<S: Selector>(rule: &S, group: &Group<'_>, budget: usize) {
    let start = Instant::now();
    let Picks { places, .. } = rule.select(group, budget).expect("nobody stops it");
    eprintln!("{:32} {:8.3} s  {} picks", S::NAME, start.elapsed().as_secs_f64(), places.len());
}

#[test]
#[ignore = "it takes its time, and asserts nothing"]
fn selectors() {
    let (n, d, classes, budget) = SHAPE;
    let labels: Vec<u32> = (0..n as u32).map(|i| i % classes as u32).collect();
    let (means, noise_h) = (noise(classes * d, 1), noise(n * d, 2));
    let embeddings: Vec<f32> = (0..n * d)
        .map(|at| (means[labels[at / d] as usize * d + at % d] + noise_h[at]).max(0.0))
        .collect();
    let mut logits = noise(n * classes, 3);
    for (i, label) in labels.iter().enumerate() {
        logits[i * classes + *label as usize] += 2.0;
    }
    let scores = noise(n, 4);
    let ground = Ground {
        labels: &labels,
        scores: Some(&scores),
        logits: Some(Matrix::new(&logits, n, classes)),
        embeddings: Some(Matrix::new(&embeddings, n, d)),
    };
    let members: Vec<u32> = (0..n as u32).collect();
    let streams = Streams::new(0, &["first", "picks"]);
    let group = Group { ground: &ground, members: &members, index: 0, streams, watch: &Unwatched };
    time(&super::top::Top::default(), &group, budget);
    time(&super::random::Random::default(), &group, budget);
    time(&super::k_center::KCenter::default(), &group, budget);
    time(&super::contextual_diversity::ContextualDiversity::default(), &group, budget);
    time(&super::herding::Herding::default(), &group, budget);
    time(&super::cal::Cal::default(), &group, budget);
    time(&super::craig::Craig::default(), &group, budget);
    time(&super::gradmatch::GradMatch::default(), &group, budget);
    time(&super::glister::Glister::default(), &group, budget);
    time(&super::facility_location::FacilityLocation::default(), &group, budget);
    time(&super::graph_cut::GraphCut::default(), &group, budget);
    time(&super::log_det::LogDet::default(), &group, budget);
}
