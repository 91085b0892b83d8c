//! What is stored beside the weights of a network: its summary, and the history of its training.

use crate::{
    architecture::Architecture,
    dataset::{GroupCounts, Origin, OriginCount},
    parts::{PartBytes, PartError},
    record,
};
use cache::{Artifact, Store};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One epoch of a training, as its history has it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainedEpoch {
    /// Counted from 1.
    pub epoch: u64,
    /// The learning rate of its first step.
    pub lr: f64,
    /// The mean of the loss that was minimised, over its samples.
    pub loss: f64,
    /// The share of its samples that were right at their own step, augmented as they were.
    pub train_accuracy: f64,
    /// The share of the test split that was right after it, where that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_accuracy: Option<f64>,
    /// How many samples it went through, where a sampler drew them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
}

/// A training's history as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Every epoch, in order.
    pub epochs: Vec<TrainedEpoch>,
    /// The test accuracy after the last epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_last: Option<f64>,
    /// The largest test accuracy of any epoch looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_best: Option<f64>,
    /// The first epoch that had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_epoch: Option<u64>,
}

impl History {
    /// Returns the history of these epochs.
    #[must_use]
    pub fn of(epochs: &[TrainedEpoch]) -> Self {
        let mut best: Option<(f64, u64)> = None;
        for one in epochs {
            if let Some(accuracy) = one.test_accuracy
                && best.is_none_or(|(most, _)| accuracy > most)
            {
                best = Some((accuracy, one.epoch));
            }
        }
        Self {
            epochs: epochs.to_vec(),
            accuracy_last: epochs.last().and_then(|one| one.test_accuracy),
            accuracy_best: best.map(|(accuracy, _)| accuracy),
            best_epoch: best.map(|(_, epoch)| epoch),
        }
    }
}

/// What is known about a trained model, apart from its values.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ModelMeta {
    /// The architecture.
    pub model: Architecture,
    /// How many logits.
    pub classes: usize,
    /// The shape of a sample.
    pub sample: Vec<usize>,
    /// What is subtracted from a sample: per channel.
    pub mean: Vec<f32>,
    /// What it is divided by: per channel.
    pub std: Vec<f32>,
    /// How many passes were begun.
    pub epochs: usize,
    /// How many steps were taken.
    pub steps: u64,
    /// The name of the head's weight, such as `fc.weight`.
    pub head: String,
    /// How many features the head takes.
    pub embedding: usize,
    /// How many samples it was trained on.
    pub samples: usize,
    /// How many samples its steps went through, each as often as it was seen, where a sampler drew them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples_seen: Option<u64>,
    /// How many of each label.
    pub per_class: Vec<usize>,
    /// How many of them had been touched by a corruption; only if the data set was corrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrupted_kept: Option<usize>,
    /// How many training samples had been touched in all; only if the data set was corrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrupted_total: Option<usize>,
    /// How many of each group; only if the data set has groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<GroupCounts>,
    /// How many were put in or changed, by what was done; only if some were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origins: Option<BTreeMap<Origin, OriginCount>>,
}

/// What the summaries of proxies and models both say of their network.
#[derive(Deserialize)]
pub struct NetworkSummary {
    /// The architecture.
    pub model: Architecture,
    /// How many logits.
    pub classes: usize,
    /// The shape of a sample.
    pub sample: Vec<usize>,
    /// What is subtracted from a sample: per channel.
    pub mean: Vec<f32>,
    /// What it is divided by: per channel.
    pub std: Vec<f32>,
}

/// Returns how many samples went through the network of a proxy or a model in `store` while it was trained in
/// batches of so many, each as often as it did.
///
/// # Errors
///
/// Fails if its summary does not read.
pub fn open_samples_seen(store: &Store, artifact: &Artifact, batch: u64) -> Result<u64, PartError> {
    #[derive(Deserialize)]
    struct TrainingSummary {
        epochs: u64,
        steps: Option<u64>,
        samples: Option<u64>,
        samples_seen: Option<u64>,
        folds: Option<u64>,
    }
    let summary: TrainingSummary = PartBytes::open(store, artifact, "meta")?.json()?;
    if let Some(seen) = summary.samples_seen {
        return Ok(seen);
    }
    let n = match summary.samples {
        Some(n) => n,
        None => record::open_labels(store, artifact)?.len() as u64,
    };
    if let Some(folds) = summary.folds {
        return Ok(summary.epochs * n * (folds - 1));
    }
    // The last epoch of a training counted in steps may end early.
    let before = summary.epochs.saturating_sub(1);
    let last = summary.steps.map_or(n, |steps| {
        steps.saturating_sub(before * n.div_ceil(batch)).saturating_mul(batch).min(n)
    });
    Ok(before * n + last)
}

/// Returns the history of a proxy or a model in `store`.
///
/// # Errors
///
/// Fails if it does not read.
pub fn open_history(store: &Store, artifact: &Artifact) -> Result<History, PartError> {
    PartBytes::open(store, artifact, "history")?.json()
}
