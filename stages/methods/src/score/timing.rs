//! What the scores of records and embeddings cost: run by hand, in release, with `--ignored --nocapture`.
//!
//! See `crate::timing` for its variables. Twenty epochs of ten classes are on record; d = 512.

use super::{Scorer, testing::InMemory};
use crate::linalg::noise;
use artifacts::scores::Scores;
use engine::Streams;

const D: usize = 512;
const CLASSES: usize = 10;
const EPOCHS: u64 = 20;

fn time<S: Scorer>(proxy: &InMemory) {
    let size = |values: &Scores| format!("n {:7}", values.scores.len());
    crate::timing::time(S::NAME, size, || {
        S::default().score(proxy, Streams::new(0, S::STREAMS)).expect("nobody stops it")
    });
}

#[test]
#[ignore = "it takes its time, and asserts nothing"]
fn scores() {
    for n in crate::timing::sizes() {
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
    // A tenth is held out and is the query, a fifth has scores.
    let tenth: Vec<u32> = (0..n as u32).filter(|i| i % 10 == 0).collect();
    let known: Vec<f32> = (0..n).map(|i| if i % 5 == 0 { i as f32 } else { f32::NAN }).collect();
    let proxy = InMemory { embeddings, ..InMemory::recorded(&labels, CLASSES, &epochs) };
    let proxy = proxy.holding_out(&tenth).knowing(&known).asking(&tenth);
    time::<super::cartography::Cartography>(&proxy);
    time::<super::cld::Cld>(&proxy);
    time::<super::eva::Eva>(&proxy);
    time::<super::extrapolate::Extrapolate>(&proxy);
    time::<super::influence::Influence>(&proxy);
    time::<super::lbpe::Lbpe>(&proxy);
    time::<super::tdds::Tdds>(&proxy);
    time::<super::prototype::Prototype>(&proxy);
    time::<super::knn_label::KnnLabel>(&proxy);
    time::<super::zcore::ZCore>(&proxy);
}
