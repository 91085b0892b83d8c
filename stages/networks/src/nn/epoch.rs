//! One epoch: the training steps over all samples, and the mean loss and accuracy of them.
//!
//! No store and no events here: progress goes through one callback.

use super::{
    Tensor,
    feed::{Feed, Move},
    forward::{self, Batch, Forward as _, Mode},
    host,
    loss::{self, BatchWeights, Tally},
    optim::Factor,
    replay::Replays,
    sampler::{EpochDraw, Sampler},
    settings::{Length, Precision, TrainingConfig},
    state::State,
    values::{NetworkValues, download},
};
use crate::{NetworkError, device::beside};
use artifacts::network::TrainedEpoch;
use artifacts::{
    ClassId,
    architecture::{Network, Role},
};
use artifacts::{SampleId, subset::Subset};
use burn::tensor::{FloatDType, TensorData};
use engine::{StageError, Streams};
use std::time::{Duration, Instant};

/// The constant inputs of a training: network, samples, labels, weights, random streams.
pub(crate) struct EpochJob<'a> {
    pub(crate) plan: TrainingConfig,
    pub(crate) network: &'a Network,
    pub(crate) feed: &'a Feed,
    /// The label of every sample of the feed.
    pub(crate) labels: &'a [ClassId],
    /// The samples trained on, and how much each counts.
    pub(crate) subset: &'a Subset,
    pub(crate) classes: usize,
    pub(crate) streams: Streams,
    /// Whether the tensor library does it all, on the CPU too: slower, and what tests compare with.
    pub(crate) recorded: bool,
}

/// Called after every step with how far the training is, as [`EpochJob::reached`] counts it, and the newest loss
/// known; an error stops the training.
pub(crate) type StepCallback<'a> = dyn FnMut(u64, Option<f64>) -> Result<(), StageError> + 'a;

// An accelerator runs ahead of the host. Every so often, or when this many logits wait there, the
// host catches up; nothing but the time of the news depends on it.
const CATCH_UP: Duration = Duration::from_secs(2);
const WAITING: usize = 1 << 24;

// Samples a forward pass without gradients takes at once.
const EVAL_BATCH: usize = 256;

impl EpochJob<'_> {
    /// Returns how many steps an epoch has; at most, where the sampler leaves out what is learnt.
    pub(crate) fn per_epoch(&self) -> u64 {
        self.plan.sampler.seen(self.subset.len()).div_ceil(self.plan.batch) as u64
    }

    /// Returns how many steps the training has, with epochs of [`Self::per_epoch`].
    pub(crate) fn steps(&self) -> u64 {
        self.plan.length.steps(self.per_epoch())
    }

    /// Whether the training is over.
    pub(crate) fn finished(&self, state: &State) -> bool {
        match self.plan.length {
            Length::Epochs(epochs) => state.history.len() as u64 >= epochs,
            Length::Steps(steps) => state.steps() >= steps,
        }
    }

    /// Returns how far a training is between two epochs, of [`Self::steps`]: the steps it took, or would
    /// have taken without what the sampler left out.
    pub(crate) fn reached(&self, state: &State) -> u64 {
        self.position(state.history.len() as u64, (0, 1), state.steps())
    }

    /// Returns how far a training is after `at` of the `of` steps of `epoch`, counted from 0, and `steps`
    /// in all. A schedule over epochs runs its course however short they become.
    fn position(&self, epoch: u64, (at, of): (usize, usize), steps: u64) -> u64 {
        match self.plan.length {
            Length::Epochs(_) if self.plan.sampler.varies() => {
                let per_epoch = self.per_epoch();
                epoch * per_epoch + per_epoch * at as u64 / of.max(1) as u64
            }
            Length::Epochs(_) | Length::Steps(_) => steps,
        }
    }

    /// Trains for one epoch, or for what is left of the steps, and returns whether it was a whole one. With
    /// `record`, \[n, classes\] for the whole feed, the logits of each sample's own step are written at its
    /// position. `replays` are the steps recorded on an accelerator, from epoch to epoch.
    ///
    /// # Errors
    ///
    /// Fails if `watch` does, or the loss stops being a number.
    pub(crate) fn epoch(
        &self,
        state: &mut State,
        replays: &mut Replays,
        mut record: Option<&mut [f32]>,
        watch: &mut StepCallback<'_>,
    ) -> Result<bool, StageError> {
        let (per_epoch, horizon) = (self.per_epoch(), self.plan.horizon(self.per_epoch()));
        let index = state.history.len() as u64;
        let samples = (self.subset.len(), &state.losses[..]);
        let (plan, now) = (&self.plan, (index, state.steps()));
        let draw = plan.sampler.draw(&self.streams, plan.length, now, samples);
        let EpochDraw { order, factors } = draw;
        let of = order.len().div_ceil(self.plan.batch);
        let moves: Option<Vec<Move>> =
            (self.plan.augment != super::feed::Augment::None).then(|| {
                let mut rng = self.streams.at("augment", index);
                order.iter().map(|_| self.plan.augment.draw(&mut rng)).collect()
            });
        let rate = |step| self.plan.schedule.rate(self.plan.lr, step, per_epoch, horizon);
        let first_rate = rate(self.reached(state));
        let mut books = Books {
            job: self,
            tally: Tally::default(),
            factors,
            losses: std::mem::take(&mut state.losses),
            waiting: vec![],
            last: None,
        };
        let mut whole = true;
        let mut caught_up = Instant::now();
        let mut host = self.on_host().then(|| host::Training::of(self.network, state));
        for (at, picks) in order.chunks(self.plan.batch).enumerate() {
            let done = host.as_ref().map_or(state.steps(), host::Training::steps);
            if matches!(self.plan.length, Length::Steps(steps) if done >= steps) {
                whole = false;
                break;
            }
            let reached = self.position(index, (at, of), done);
            let weights = self.weights_of(picks, books.factors.as_deref());
            let from = at * self.plan.batch;
            let moves = moves.as_ref().map(|moves| &moves[from..from + picks.len()]);
            if let Some(host) = &mut host {
                // Within the pool a loop over pieces starts at once; from without, each wakes it up.
                let lr = rate(reached);
                let batch = (picks, &weights);
                let logits = rayon::scope(|_| self.step_on_host(host, batch, moves, lr));
                books.add(picks, &logits, record.as_deref_mut(), index)?;
            } else {
                let logits = self.step(state, replays, (picks, &weights), moves, rate(reached));
                books.waiting.push((picks.to_vec(), logits));
                let full = books.waiting.len() * picks.len() * self.classes >= WAITING;
                let free = !self.feed.device().capabilities().asynchronous;
                if free || full || caught_up.elapsed() >= CATCH_UP {
                    books.catch_up(record.as_deref_mut(), index)?;
                    caught_up = Instant::now();
                }
            }
            watch(self.position(index, (at + 1, of), done + 1), books.last)?;
        }
        books.catch_up(record, index)?;
        match host {
            Some(host) => host.put(state),
            None => beside(|| replays.put(state)),
        }
        let sampled = self.plan.sampler != Sampler::All;
        state.history.push(TrainedEpoch {
            epoch: index + 1,
            lr: first_rate,
            loss: books.tally.loss(),
            train_accuracy: books.tally.accuracy(),
            test_accuracy: None,
            samples: sampled.then_some(books.tally.seen()),
        });
        state.losses = books.losses;
        Ok(whole)
    }

    fn on_host(&self) -> bool {
        !self.recorded
            && self.plan.precision == Precision::F32
            && self.feed.device().capabilities().host_kernels
            && host::supports(self.network)
    }

    /// Does what [`Self::step`] does, with the CPU's own kernels.
    fn step_on_host(
        &self,
        host: &mut host::Training<'_>,
        batch: (&[u32], &BatchWeights),
        moves: Option<&[Move]>,
        lr: f64,
    ) -> Vec<f32> {
        let (rows, targets) = self.targets(batch);
        let samples = self.feed.on_host(&rows, moves).expect("the CPU keeps samples on the host");
        host.step(samples, self.feed.sample(), &targets, (self.plan.micro, lr))
    }

    /// Returns the samples at `picks`, positions in the subset.
    fn samples_at(&self, picks: &[u32]) -> Vec<SampleId> {
        picks.iter().map(|pick| self.subset.samples()[*pick as usize]).collect()
    }

    /// Returns where in the feed the samples at `picks` are, and their targets.
    fn targets(&self, (picks, weights): (&[u32], &BatchWeights)) -> (Vec<u32>, Vec<f32>) {
        let samples: Vec<SampleId> = self.samples_at(picks);
        let labels: Vec<_> = samples.iter().map(|sample| self.labels[sample.index()]).collect();
        let smoothing = self.plan.smoothing;
        let targets = loss::targets(&labels, weights, self.classes, smoothing);
        (samples.into_iter().map(u32::from).collect(), targets)
    }

    /// Takes one step on the samples at `picks`, positions in the subset. Returns their logits.
    fn step(
        &self,
        state: &mut State,
        replays: &mut Replays,
        batch: (&[u32], &BatchWeights),
        moves: Option<&[Move]>,
        lr: f64,
    ) -> Tensor<2> {
        let (rows, targets) = self.targets(batch);
        if replays.takes(self, state, rows.len()) {
            let batch = beside(|| (self.feed.batch(&rows, moves), self.uploaded(&targets)));
            if let Some(logits) = replays.step(self, state, batch, lr) {
                return logits;
            }
        }
        beside(|| {
            let kernels =
                |state: &mut State| self.step_by_kernels(state, (&rows, &targets), moves, lr);
            replays.aside(state, kernels)
        })
    }

    /// Takes one step kernel by kernel, with as many samples at once as the memory was said to hold.
    fn step_by_kernels(
        &self,
        state: &mut State,
        (rows, targets): (&[u32], &[f32]),
        moves: Option<&[Move]>,
        lr: f64,
    ) -> Tensor<2> {
        let micro = self.plan.micro;
        let mut sums: Vec<Option<Tensor<1>>> = vec![None; state.values.params.len()];
        let mut all = vec![];
        let mut drops = self.streams.at("dropout", state.steps());
        let parts = rows.chunks(micro).zip(targets.chunks(micro * self.classes));
        for (at, (rows, targets)) in parts.enumerate() {
            let moves = moves.map(|moves| &moves[at * micro..][..rows.len()]);
            let batch = (self.feed.batch(rows, moves), self.uploaded(targets));
            let values = &state.values;
            let pass =
                gradients(self.network, self.plan.precision, values, batch, Some(&mut drops));
            state.values.stats = pass.stats;
            all.push(pass.logits);
            for (sum, gradient) in sums.iter_mut().zip(pass.gradients) {
                *sum = match (sum.take(), gradient) {
                    (Some(sum), Some(gradient)) => Some(sum + gradient),
                    (sum, gradient) => sum.or(gradient),
                };
            }
        }
        let rates = state.optimizer.next_rates(lr).map(|rate| Factor::Host(*rate));
        state.optimizer.step(&mut state.values.params, sums, &rates);
        if all.len() == 1 { all.remove(0) } else { Tensor::cat(all, 0) }
    }

    fn uploaded(&self, targets: &[f32]) -> Tensor<2> {
        let n = targets.len() / self.classes;
        let data = TensorData::new(targets.to_vec(), [n, self.classes]);
        Tensor::from_data(data, &self.feed.device().inner())
    }

    /// Returns how much the samples at `picks` count, each times its factor in this epoch.
    fn weights_of(&self, picks: &[u32], factors: Option<&[f32]>) -> BatchWeights {
        let at = |all: &[f32]| picks.iter().map(|pick| all[*pick as usize]).collect();
        let weights = BatchWeights::of(self.subset.weights().map(at), picks.len());
        match factors {
            Some(factors) => weights.times(at(factors)),
            None => weights,
        }
    }
}

/// What samples that went forward and back leave.
pub(super) struct TrainingPass {
    /// \[b, classes\].
    pub(super) logits: Tensor<2>,
    /// One for each parameter.
    pub(super) gradients: Vec<Option<Tensor<1>>>,
    /// The running statistics after it.
    pub(super) stats: Vec<Tensor<1>>,
}

/// Runs samples forward and back.
pub(super) fn gradients(
    network: &Network,
    precision: Precision,
    values: &NetworkValues,
    (input, targets): (Batch, Tensor<2>),
    drops: Option<&mut dyn rand::Rng>,
) -> TrainingPass {
    let leaves = values.params.iter();
    let leaves = leaves.map(|param| Tensor::from_inner(param.clone()).require_grad());
    let leaves: Vec<Tensor<1>> = leaves.collect();
    let (input, params) = match precision {
        Precision::F32 => (input, None),
        Precision::Bf16 => {
            let specs = network.specs().iter().filter(|spec| spec.trained());
            let halves = leaves.iter().zip(specs).map(|(leaf, spec)| match spec.role {
                Role::Weight { .. } | Role::Bias { .. } => leaf.clone().cast(FloatDType::BF16),
                _ => leaf.clone(),
            });
            (input.half(), Some(halves.collect::<Vec<_>>()))
        }
    };
    let params = params.as_ref().unwrap_or(&leaves);
    let pass = network.forward_training(params, &values.stats, input.recorded(), drops);
    let out = forward::floats(pass.logits);
    let logits = out.clone().inner();
    let loss = loss::loss(out, Tensor::from_inner(targets));
    let mut gradients = loss.backward();
    let gradients = leaves.iter().map(|leaf| leaf.grad_remove(&mut gradients)).collect();
    TrainingPass { logits, gradients, stats: pass.stats }
}

/// Losses that are pending on the device: batches whose logits have not been downloaded yet.
struct Books<'j, 'a> {
    job: &'j EpochJob<'a>,
    tally: Tally,
    /// How much more each position of the subset counts in this epoch.
    factors: Option<Vec<f32>>,
    /// The newest loss of each position of the subset, where the sampler looks at it.
    losses: Vec<f32>,
    /// Batches in order: positions in the subset, logits.
    waiting: Vec<(Vec<u32>, Tensor<2>)>,
    last: Option<f64>,
}

impl Books<'_, '_> {
    fn catch_up(&mut self, mut record: Option<&mut [f32]>, epoch: u64) -> Result<(), StageError> {
        for (picks, logits) in std::mem::take(&mut self.waiting) {
            self.add(&picks, &download(&logits), record.as_deref_mut(), epoch)?;
        }
        Ok(())
    }

    /// Adds one batch's logits.
    fn add(
        &mut self,
        picks: &[u32],
        logits: &[f32],
        record: Option<&mut [f32]>,
        epoch: u64,
    ) -> Result<(), StageError> {
        let (job, classes) = (self.job, self.job.classes);
        if logits.iter().any(|z| !z.is_finite()) {
            return Err(NetworkError::Diverged { epoch: epoch + 1 }.into());
        }
        let samples = job.samples_at(picks);
        let labels: Vec<_> = samples.iter().map(|sample| job.labels[sample.index()]).collect();
        let weights = job.weights_of(picks, self.factors.as_deref());
        let (mean, each) = self.tally.add(logits, &labels, &weights, job.plan.smoothing);
        self.last = Some(mean);
        if !self.losses.is_empty() {
            for (pick, loss) in picks.iter().zip(each) {
                self.losses[*pick as usize] = loss as f32;
            }
        }
        if let Some(record) = record {
            for (sample, logits) in samples.into_iter().zip(logits.chunks_exact(classes)) {
                record[sample.index() * classes..][..classes].copy_from_slice(logits);
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
    values: &NetworkValues,
    feed: &Feed,
    embeddings: bool,
    pause: &mut dyn FnMut(usize) -> Result<(), StageError>,
) -> Result<Outputs, StageError> {
    let rows: Vec<u32> = (0..feed.len() as u32).collect();
    outputs_of(network, values, feed, &rows, embeddings, pause)
}

/// Does what [`outputs`] does for the samples of `feed` at `rows`, in that order.
///
/// # Errors
///
/// As [`outputs`].
pub(crate) fn outputs_of(
    network: &Network,
    values: &NetworkValues,
    feed: &Feed,
    rows: &[u32],
    embeddings: bool,
    pause: &mut dyn FnMut(usize) -> Result<(), StageError>,
) -> Result<Outputs, StageError> {
    let mut out = Outputs { logits: vec![], embeddings: vec![] };
    let mut waiting = vec![];
    let device = feed.device().capabilities();
    let on_host = device.host_kernels && host::supports(network);
    let weights = on_host.then(|| host::Weights::of(values));
    for picks in rows.chunks(EVAL_BATCH) {
        pause(picks[0] as usize)?;
        if let Some(weights) = &weights {
            let (logits, inner) = rayon::scope(|_| {
                let samples = feed.on_host(picks, None).expect("the CPU keeps samples on the host");
                weights.outputs(network, samples, feed.sample())
            });
            out.logits.extend(logits);
            out.embeddings.extend(if embeddings { inner } else { vec![] });
            continue;
        }
        let pass = beside(|| {
            let input = feed.batch(picks, None);
            network.forward(&values.params, &values.stats, input, Mode::Eval)
        });
        waiting.push((pass.logits, embeddings.then_some(pass.embeddings)));
        // Where reading waits, a few batches are under way while one is read.
        if !device.asynchronous || waiting.len() >= 16 {
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
pub(crate) fn accuracy(logits: &[f32], labels: &[ClassId]) -> f64 {
    let classes = logits.len() / labels.len().max(1);
    let rows = logits.chunks_exact(classes.max(1)).zip(labels);
    let right = rows.filter(|(row, label)| artifacts::logits::argmax(row) == label.index()).count();
    if labels.is_empty() { 0.0 } else { right as f64 / labels.len() as f64 }
}
