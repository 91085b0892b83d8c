//! One pass over the samples: the steps, and what they add up to.
//!
//! No store and no events here: what is to be told to anybody goes through one closure.

use super::{
    Tensor,
    feed::{Feed, Move},
    loss::{self, Tally},
    network::{Mode, Network},
    settings::Plan,
    state::{Epoch, State},
    values::{Values, download},
};
use burn::tensor::TensorData;
use engine::{StageError, Streams};
use std::time::{Duration, Instant};

/// What a training works on. It does not change while it runs.
pub(crate) struct Job<'a> {
    pub(crate) plan: Plan,
    pub(crate) network: &'a Network,
    pub(crate) feed: &'a Feed,
    /// The label of every sample of the feed.
    pub(crate) labels: &'a [u32],
    /// The samples trained on: positions in the feed.
    pub(crate) rows: &'a [u32],
    /// The weight of each of `rows`.
    pub(crate) weights: Option<&'a [f32]>,
    pub(crate) classes: usize,
    pub(crate) streams: Streams,
}

/// Hears of every step, with the newest loss known; an error stops the training.
pub(crate) type Watch<'a> = dyn FnMut(u64, Option<f64>) -> Result<(), StageError> + 'a;

// An accelerator runs ahead of the host. Every so often, or when this many logits wait there, the
// host catches up; nothing but the time of the news depends on it.
const CATCH_UP: Duration = Duration::from_secs(2);
const WAITING: usize = 1 << 24;

// Samples a forward pass without gradients takes at once.
const EVAL_BATCH: usize = 256;

impl Job<'_> {
    /// Returns how many steps an epoch has.
    pub(crate) fn per_epoch(&self) -> u64 {
        self.rows.len().div_ceil(self.plan.batch) as u64
    }

    /// Returns how many steps the training has.
    pub(crate) fn steps(&self) -> u64 {
        self.plan.length.steps(self.per_epoch())
    }

    /// Trains for one epoch, or for what is left of the steps. With `record`, \[n, classes\] for the
    /// whole feed, the logits of each sample's own step are written at its position.
    ///
    /// # Errors
    ///
    /// Fails if `watch` does, or the loss stops being a number.
    pub(crate) fn epoch(
        &self,
        state: &mut State,
        mut record: Option<&mut [f32]>,
        watch: &mut Watch<'_>,
    ) -> Result<(), StageError> {
        let (per_epoch, horizon) = (self.per_epoch(), self.plan.horizon(self.per_epoch()));
        let index = state.steps() / per_epoch;
        let mut order: Vec<u32> = (0..self.rows.len() as u32).collect();
        super::draw::shuffle(&mut self.streams.at("shuffle", index), &mut order);
        let moves: Option<Vec<Move>> =
            (self.plan.augment != super::feed::Augment::None).then(|| {
                let mut rng = self.streams.at("augment", index);
                order.iter().map(|_| self.plan.augment.draw(&mut rng)).collect()
            });
        let rate = |step| self.plan.schedule.rate(self.plan.lr, step, per_epoch, horizon);
        let first_rate = rate(state.steps());
        let mut books = Books { job: self, tally: Tally::default(), waiting: vec![], last: None };
        let mut caught_up = Instant::now();
        for (at, picks) in order.chunks(self.plan.batch).enumerate() {
            if state.steps() >= self.steps() {
                break;
            }
            let from = at * self.plan.batch;
            let moves = moves.as_ref().map(|moves| &moves[from..from + picks.len()]);
            let logits = self.step(state, picks, moves, rate(state.steps()));
            books.waiting.push((picks.to_vec(), logits));
            let full = books.waiting.len() * picks.len() * self.classes >= WAITING;
            if self.feed.device().is_cpu() || full || caught_up.elapsed() >= CATCH_UP {
                books.catch_up(record.as_deref_mut(), index)?;
                caught_up = Instant::now();
            }
            watch(state.steps(), books.last)?;
        }
        books.catch_up(record, index)?;
        state.history.push(Epoch {
            epoch: index + 1,
            lr: first_rate,
            loss: books.tally.loss(),
            train_accuracy: books.tally.accuracy(),
            test_accuracy: None,
        });
        Ok(())
    }

    /// Takes one step on the samples at `picks`, positions in `rows`. Returns their logits.
    fn step(&self, state: &mut State, picks: &[u32], moves: Option<&[Move]>, lr: f64) -> Tensor<2> {
        let rows: Vec<u32> = picks.iter().map(|pick| self.rows[*pick as usize]).collect();
        let labels: Vec<u32> = rows.iter().map(|row| self.labels[*row as usize]).collect();
        let weights = self.weights_of(picks);
        let leaves: Vec<Tensor<1>> = state
            .values
            .params
            .iter()
            .map(|param| Tensor::from_inner(param.clone()).require_grad())
            .collect();
        let input = self.feed.batch(&rows, moves).recorded();
        let pass = self.network.forward(&leaves, &state.values.stats, input, Mode::Train);
        let targets = loss::targets(&labels, weights.as_deref(), self.classes, self.plan.smoothing);
        let targets = TensorData::new(targets, [labels.len(), self.classes]);
        let targets = Tensor::<2>::from_data(targets, &self.feed.device().inner());
        let logits = pass.logits.clone().inner();
        let loss = loss::loss(pass.logits, Tensor::from_inner(targets));
        let mut gradients = loss.backward();
        let gradients = leaves.iter().map(|leaf| leaf.grad_remove(&mut gradients)).collect();
        drop(leaves);
        state.values.stats = pass.stats;
        state.optimizer.step(&mut state.values.params, gradients, lr);
        logits
    }

    fn weights_of(&self, picks: &[u32]) -> Option<Vec<f32>> {
        self.weights.map(|all| picks.iter().map(|pick| all[*pick as usize]).collect())
    }
}

/// What was computed and what has been read of it.
struct Books<'j, 'a> {
    job: &'j Job<'a>,
    tally: Tally,
    /// Batches in order: positions in `rows`, logits.
    waiting: Vec<(Vec<u32>, Tensor<2>)>,
    last: Option<f64>,
}

impl Books<'_, '_> {
    fn catch_up(&mut self, mut record: Option<&mut [f32]>, epoch: u64) -> Result<(), StageError> {
        let (job, classes) = (self.job, self.job.classes);
        for (picks, logits) in self.waiting.drain(..) {
            let logits = download(&logits);
            if logits.iter().any(|z| !z.is_finite()) {
                let message =
                    format!("the training diverged: a logit of epoch {} is not finite", epoch + 1);
                return Err(StageError::method(message)
                    .with_hint("a smaller `lr` or a `schedule.warmup` usually helps"));
            }
            let rows: Vec<usize> =
                picks.iter().map(|pick| job.rows[*pick as usize] as usize).collect();
            let labels: Vec<u32> = rows.iter().map(|row| job.labels[*row]).collect();
            let weights = job.weights_of(&picks);
            let smoothing = job.plan.smoothing;
            self.last = Some(self.tally.add(&logits, &labels, weights.as_deref(), smoothing));
            if let Some(record) = record.as_deref_mut() {
                for (row, logits) in rows.into_iter().zip(logits.chunks_exact(classes)) {
                    record[row * classes..][..classes].copy_from_slice(logits);
                }
            }
        }
        Ok(())
    }
}

/// Logits and embeddings of samples, row-major.
pub(crate) struct Outputs {
    /// \[n, classes\].
    pub(crate) logits: Vec<f32>,
    /// \[n, embedding\]; empty if it was not asked for.
    pub(crate) embeddings: Vec<f32>,
}

/// Returns what the network makes of every sample of `feed`, in evaluation mode and without
/// augmentation. `pause` is called between batches; an error stops it.
///
/// # Errors
///
/// Fails if `pause` does.
pub(crate) fn outputs(
    network: &Network,
    values: &Values,
    feed: &Feed,
    embeddings: bool,
    pause: &mut dyn FnMut(usize) -> Result<(), StageError>,
) -> Result<Outputs, StageError> {
    let rows: Vec<u32> = (0..feed.len() as u32).collect();
    let mut out = Outputs { logits: vec![], embeddings: vec![] };
    let mut waiting = vec![];
    for picks in rows.chunks(EVAL_BATCH) {
        pause(picks[0] as usize)?;
        let input = feed.batch(picks, None);
        let pass = network.forward(&values.params, &values.stats, input, Mode::Eval);
        waiting.push((pass.logits, embeddings.then_some(pass.embeddings)));
        // On an accelerator, a few batches are under way while one is read.
        if feed.device().is_cpu() || waiting.len() >= 16 {
            drain(&mut waiting, &mut out);
        }
    }
    drain(&mut waiting, &mut out);
    Ok(out)
}

fn drain(waiting: &mut Vec<(Tensor<2>, Option<Tensor<2>>)>, out: &mut Outputs) {
    for (logits, embeddings) in waiting.drain(..) {
        out.logits.extend(download(&logits));
        if let Some(embeddings) = embeddings {
            out.embeddings.extend(download(&embeddings));
        }
    }
}

/// Returns the share of rows whose largest logit is their label's.
pub(crate) fn accuracy(logits: &[f32], labels: &[u32]) -> f64 {
    let classes = logits.len() / labels.len().max(1);
    let rows = logits.chunks_exact(classes.max(1)).zip(labels);
    let right = rows.filter(|(row, label)| loss::argmax(row) == **label as usize).count();
    if labels.is_empty() { 0.0 } else { right as f64 / labels.len() as f64 }
}
