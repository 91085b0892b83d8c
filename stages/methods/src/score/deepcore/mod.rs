//! The scores as DeepCore's code makes them: see [`crate::select::deepcore`].

pub(super) mod deepfool;
pub(crate) mod entropy;
pub(crate) mod grand;
pub(crate) mod least_confidence;

use crate::select::deepcore::{compat, unused_batch};
use engine::Renamed;

/// Returns how these methods were written while they were a setting of the paper's.
pub(super) fn renamed() -> Vec<Renamed> {
    let deepfool = &["candidates", "overshoot"];
    let mut all = [
        compat("score.deepfool", "score.deepcore.deepfool", deepfool, false),
        compat("score.entropy", "score.deepcore.entropy", &[], false),
        compat("score.grand", "score.deepcore.grand", &[], true),
        compat("score.least-confidence", "score.deepcore.least-confidence", &[], false),
    ]
    .concat();
    all.push(unused_batch("score.grand"));
    all
}
