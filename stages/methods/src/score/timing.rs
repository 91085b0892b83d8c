//! What the scores of records and embeddings cost: run by hand, in release, with `--ignored --nocapture`.
//!
//! `CORESIFT_TIMING` gives the sizes, such as `5000,50000`, and `CORESIFT_METHODS` picks methods by a part
//! of their names. Twenty epochs of ten classes are on record; d = 512.

use super::{Scorer, testing::InMemory};
use crate::linalg::noise;
use engine::Streams;
use rustix::time::{ClockId, clock_gettime};
use std::time::Instant;

const D: usize = 512;
const CLASSES: usize = 10;
const EPOCHS: u64 = 20;

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
fn time<S: Scorer>(proxy: &InMemory) {
    if std::env::var("CORESIFT_METHODS")
        .is_ok_and(|some| !some.split(',').any(|part| S::NAME.contains(part)))
    {
        return;
    }
    peak();
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let values = S::default().score(proxy, Streams::new(0, S::STREAMS)).expect("nobody stops it");
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let peak = peak().unwrap_or(f64::NAN);
    let n = values.scores.len();
    eprintln!("{:22} n {n:7}  {cpu:9.3} CPU s  {wall:9.3} s  {peak:8.0} MiB", S::NAME);
}

#[test]
#[ignore = "it takes its time, and asserts nothing"]
#[expect(clippy::disallowed_methods, reason = "whoever runs it picks by hand")]
fn scores() {
    let sizes = std::env::var("CORESIFT_TIMING").unwrap_or_else(|_| "5000".to_owned());
    for n in sizes.split(',').map(|n| n.parse().expect("it is a number")) {
        scores_of(n);
    }
}

fn scores_of(n: usize) {
    let labels: Vec<u32> = (0..n as u32).map(|i| i % CLASSES as u32).collect();
    let epochs: Vec<Vec<f32>> = (0..EPOCHS).map(|epoch| noise(n * CLASSES, 10 + epoch)).collect();
    let (means, mut embeddings) = (noise(CLASSES * D, 1), noise(n * D, 2));
    for (at, h) in embeddings.iter_mut().enumerate() {
        *h += means[labels[at / D] as usize * D + at % D];
    }
    let proxy = InMemory { embeddings, ..InMemory::recorded(&labels, CLASSES, &epochs) };
    time::<super::cartography::Cartography>(&proxy);
    time::<super::eva::Eva>(&proxy);
    time::<super::lbpe::Lbpe>(&proxy);
    time::<super::tdds::Tdds>(&proxy);
    time::<super::prototype::Prototype>(&proxy);
    time::<super::knn_label::KnnLabel>(&proxy);
    time::<super::zcore::ZCore>(&proxy);
}
