//! What every selector costs on one group: run by hand, in release, with `--ignored --nocapture`.
//!
//! `CORESIFT_TIMING` gives the sizes, such as `5000,10000`, and `CORESIFT_METHODS` picks methods by a
//! part of their names. A tenth is selected of each; d = 512, ten classes in one group.

use super::{Group, Picks, Selector, TrainingSet};
use crate::linalg::noise;
use artifacts::{Matrix, SampleId};
use engine::Streams;
use rustix::time::{ClockId, clock_gettime};
use std::time::Instant;

const D: usize = 512;
const CLASSES: usize = 10;

fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// Returns the largest memory held since the last call, in MiB, where the system tells it.
fn peak() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    // 5 resets the high-water mark.
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    Some(kib / 1024.0)
}

#[expect(clippy::print_stderr, reason = "the figures are what it is run for")]
#[expect(clippy::disallowed_methods, reason = "whoever runs it picks by hand")]
fn time<S: Selector>(rule: &S, group: &Group<'_>, budget: usize) {
    if std::env::var("CORESIFT_METHODS")
        .is_ok_and(|some| !some.split(',').any(|part| S::NAME.contains(part)))
    {
        return;
    }
    peak();
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let Picks { places, .. } = rule.select(group, budget).expect("nobody stops it");
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let peak = peak().unwrap_or(f64::NAN);
    let (n, picks) = (group.len(), places.len());
    eprintln!("{:30} n {n:7} k {picks:6}  {cpu:9.3} CPU s  {wall:9.3} s  {peak:8.0} MiB", S::NAME);
}

#[test]
#[ignore = "it takes its time, and asserts nothing"]
#[expect(clippy::disallowed_methods, reason = "whoever runs it picks by hand")]
fn selectors() {
    let sizes = std::env::var("CORESIFT_TIMING").unwrap_or_else(|_| "5000".to_owned());
    for n in sizes.split(',').map(|n| n.parse().expect("it is a number")) {
        selectors_of(n);
    }
}

fn selectors_of(n: usize) {
    let labels: Vec<u32> = (0..n as u32).map(|i| i % CLASSES as u32).collect();
    let (means, mut embeddings) = (noise(CLASSES * D, 1), noise(n * D, 2));
    for (at, h) in embeddings.iter_mut().enumerate() {
        *h = (*h + means[labels[at / D] as usize * D + at % D]).max(0.0);
    }
    let mut logits = noise(n * CLASSES, 3);
    for (i, label) in labels.iter().enumerate() {
        logits[i * CLASSES + *label as usize] += 2.0;
    }
    let scores = noise(n, 4);
    let probabilities: Vec<f32> = scores.iter().map(|score| (1.0 - score) / 2.0).collect();
    let ground = TrainingSet {
        labels: &labels,
        scores: Some(&scores),
        probabilities: Some(&probabilities),
        logits: Some(Matrix::new(&logits, n, CLASSES)),
        embeddings: Some(Matrix::new(&embeddings, n, D)),
        ..TrainingSet::default()
    };
    let members: Vec<SampleId> = SampleId::all(n).collect();
    let streams = Streams::new(0, &["first", "picks", "strata", "clusters"]);
    let group = Group::unwatched(&ground, &members, 0, streams);
    let budget = n / 10;
    time(&super::top::Top::default(), &group, budget);
    time(&super::random::RandomSubset::default(), &group, budget);
    time(&super::k_center::KCenter::default(), &group, budget);
    time(&super::contextual_diversity::ContextualDiversity::default(), &group, budget);
    time(&super::herding::Herding::default(), &group, budget);
    time(&super::cal::Cal::default(), &group, budget);
    time(&super::craig::Craig::default(), &group, budget);
    time(&super::gradmatch::GradMatch::default(), &group, budget);
    if n == 5000 {
        time(&super::gradmatch::GradMatch::default(), &group, 150);
    }
    time(&super::glister::Glister::default(), &group, budget);
    time(&super::facility_location::FacilityLocation::default(), &group, budget);
    time(&super::graph_cut::GraphCut::default(), &group, budget);
    time(&super::log_det::LogDet::default(), &group, budget);
    time(&super::ccs::Ccs::default(), &group, budget);
    time(&super::beta::Beta::default(), &group, budget);
    time(&super::double_end::DoubleEnd::default(), &group, budget);
    time(&super::gm_matching::GmMatching::default(), &group, budget);
    time(&super::dedup::Dedup::default(), &group, budget);
    time(&super::d2::D2::default(), &group, budget);
    time(&super::bws::Bws::default(), &group, budget);
    time(&super::infomax::InfoMax::default(), &group, budget);
}
