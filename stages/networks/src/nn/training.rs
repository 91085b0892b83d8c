//! The training loop of `proxy-train` and `train`: epochs, records, tests, checkpoints.
//!
//! A training that goes on from a checkpoint computes what it would have computed without the
//! break: the state is kept bit by bit, and every epoch draws from streams of its own.

use super::{
    epoch::{EpochJob, accuracy, outputs},
    feed::{Feed, InputNormalisation},
    memory::{self, guarded},
    replay::Replays,
    settings::{Length, TrainingConfig},
    state::State,
    values::NetworkValues,
};
use crate::{NetworkError, device::Device, error::LESS_MEMORY};
use artifacts::architecture::Network;
use artifacts::subset::Subset;
use artifacts::{
    ClassId,
    dataset::{CleanLabels, Dataset, Groups, Origins},
    network::History,
    parts::{self, Parts},
    record::{self, Detail},
};
use engine::{StageCtx, StageError, StageProgress};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// The random streams a training draws from.
pub(crate) const STREAMS: &[&str] = &["init", "shuffle", "augment", "dropout"];

/// What is written down of every epoch, for the scores that watch training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RecordMode {
    /// The logits of each sample's own training step: no extra cost.
    #[default]
    Inflight,
    /// The logits of an extra pass after the epoch, in evaluation mode and without augmentation.
    Clean,
    /// Nothing.
    None,
}

/// A data set and a network that fit each other, on a device.
pub(crate) struct TrainingSetup {
    pub(crate) network: Network,
    pub(crate) form: InputNormalisation,
    pub(crate) classes: usize,
    pub(crate) train: Feed,
    pub(crate) train_labels: Vec<ClassId>,
    pub(crate) test: Feed,
    pub(crate) test_labels: Vec<ClassId>,
    pub(crate) clean: Option<CleanLabels>,
    pub(crate) groups: Option<Groups>,
    pub(crate) origins: Option<Origins>,
    pub(crate) device: Device,
}

/// Returns the device the run was given.
///
/// # Errors
///
/// Fails if its name means nothing to this crate.
pub(crate) fn device(ctx: &StageCtx<'_>) -> Result<Device, NetworkError> {
    let name = ctx.device;
    Device::from_name(name).ok_or_else(|| NetworkError::NoSuchDevice { name: name.to_owned() })
}

/// Reads the data set on port `data` and builds the network of `plan` for it.
///
/// # Errors
///
/// Fails if the data set does not decode or the network cannot take its samples.
pub(crate) fn prepare(
    ctx: &StageCtx<'_>,
    plan: &TrainingConfig,
) -> Result<TrainingSetup, StageError> {
    ctx.fetch_inputs(&["data", "subset"]);
    let data = Dataset::read(ctx, "data")?;
    let (device, classes) = (device(ctx)?, data.meta.classes.len());
    let network = Network::new(plan.architecture, &data.meta.sample, classes)
        .map_err(|error| NetworkError::Samples { sample: data.meta.sample.clone(), error })?;
    plan.precision.check(device)?;
    plan.augment.check(&data.meta.sample).map_err(NetworkError::from)?;
    let form =
        InputNormalisation { sample: data.meta.sample, mean: data.meta.mean, std: data.meta.std };
    Ok(TrainingSetup {
        network,
        classes,
        train: Feed::new(device, &form, data.train.inputs),
        train_labels: data.train.labels,
        test: Feed::new(device, &form, data.test.inputs),
        test_labels: data.test.labels,
        clean: data.clean,
        groups: data.groups,
        origins: data.origins,
        device,
        form,
    })
}

/// What is written down, and how much of it as logits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recording {
    pub(crate) what: RecordMode,
    /// Bytes of logits, over all epochs. An epoch past it is stored as rows.
    pub(crate) limit: u64,
}

impl Recording {
    /// Returns how `epoch`, counted from 1, of `n` samples is stored: the epochs before do not depend on
    /// how many follow.
    pub(crate) fn detail(&self, epoch: usize, n: usize, classes: usize) -> Detail {
        let bytes = (epoch * n * classes * 2) as u64;
        if bytes <= self.limit { Detail::Logits } else { Detail::Rows }
    }
}

/// A training that is one of several: what it reports to.
pub(crate) struct FoldWatch<'a> {
    /// The steps of the trainings before it, and of all together.
    pub(crate) before: u64,
    pub(crate) total: u64,
    /// Called after each epoch with its number and the network.
    pub(crate) each_epoch: &'a mut EpochCallback<'a>,
}

/// Called after an epoch with its number, from 1, and the network; an error stops the training.
pub(crate) type EpochCallback<'a> = dyn FnMut(usize, &NetworkValues) -> Result<(), StageError> + 'a;

/// A finished training.
pub(crate) struct Trained {
    pub(crate) state: State,
    /// The recorded epochs.
    pub(crate) records: Parts,
}

/// Trains on the samples of `subset`, weighted if it is.
///
/// # Errors
///
/// Fails if there is nothing to train on, the training diverges, the store fails, or the run was
/// stopped; the last whole epoch is then kept as a checkpoint.
pub(crate) fn train(
    ctx: &StageCtx<'_>,
    plan: TrainingConfig,
    setup: &TrainingSetup,
    subset: &Subset,
    recording: Recording,
    fold: Option<FoldWatch<'_>>,
) -> Result<Trained, StageError> {
    if subset.is_empty() {
        return Err(NetworkError::NoSamples.into());
    }
    let job = EpochJob {
        plan,
        network: &setup.network,
        feed: &setup.train,
        labels: &setup.train_labels,
        subset,
        classes: setup.classes,
        streams: ctx.streams(),
        recorded: false,
    };
    // The samples are there already.
    memory::check(&setup.network, &plan, setup.device, 0)?;
    let mut run = TrainingLoop::resume(ctx, &job, setup, recording)?;
    run.fold = fold;
    while !job.finished(&run.trained.state) {
        match guarded(setup.device, LESS_MEMORY, || run.epoch()) {
            Ok(()) => {}
            Err(StageError::Cancelled) => {
                run.keep_whole()?;
                return Err(StageError::Cancelled);
            }
            Err(error) => return Err(error),
        }
    }
    let mut trained = run.trained;
    if let Some(last) = trained.state.history.last().copied()
        && last.test_accuracy.is_none()
    {
        // Not in the checkpoint: a longer training would not have looked here.
        let found = test_accuracy(ctx, setup, &trained.state.values)?;
        if let Some(last) = trained.state.history.last_mut() {
            last.test_accuracy = found;
        }
    }
    Ok(trained)
}

/// Checkpoints closer to each other than this are skipped, all but the last.
const APART: Duration = Duration::from_secs(10);
/// News more often than this are not sent.
const NEWS: Duration = Duration::from_millis(50);

struct TrainingLoop<'a, 'f> {
    ctx: &'a StageCtx<'a>,
    job: &'a EpochJob<'a>,
    setup: &'a TrainingSetup,
    recording: Recording,
    fold: Option<FoldWatch<'f>>,
    trained: Trained,
    replays: Replays,
    /// The state after the last whole epoch, if it is not in the store.
    whole: Option<(State, Parts)>,
    kept: Instant,
}

impl<'a> TrainingLoop<'a, '_> {
    fn resume(
        ctx: &'a StageCtx<'a>,
        job: &'a EpochJob<'a>,
        setup: &'a TrainingSetup,
        recording: Recording,
    ) -> Result<Self, StageError> {
        let trained = match newest(ctx, job, setup)? {
            Some(trained) => trained,
            None => {
                let mut rng = ctx.streams().get("init");
                let values = NetworkValues::start(job.network, setup.device, &mut rng);
                let losses = job.plan.sampler.first_losses(job.subset.len());
                Trained {
                    state: State::start(values, job.plan.rule, losses),
                    records: Parts::new(),
                }
            }
        };
        Ok(Self {
            ctx,
            job,
            setup,
            recording,
            fold: None,
            trained,
            replays: Replays::default(),
            whole: None,
            kept: Instant::now(),
        })
    }

    fn epoch(&mut self) -> Result<(), StageError> {
        let (ctx, job, classes) = (self.ctx, self.job, self.setup.classes);
        let Trained { state, records } = &mut self.trained;
        let mut logits = (self.recording.what == RecordMode::Inflight)
            .then(|| vec![f32::NAN; job.labels.len() * classes]);
        let mut told = None::<Instant>;
        let (before, all) = match &self.fold {
            Some(fold) => (fold.before, fold.total),
            None => (0, job.steps()),
        };
        let whole =
            job.epoch(state, &mut self.replays, logits.as_deref_mut(), &mut |done, loss| {
                ctx.check_cancelled()?;
                if done == job.steps() || told.is_none_or(|told| told.elapsed() >= NEWS) {
                    told = Some(Instant::now());
                    let figure = loss.map(|loss| ("loss", loss));
                    ctx.progress(StageProgress {
                        figure: figure
                            .map(|(name, value): (&'static str, f64)| (name.into(), value)),
                        ..StageProgress::new(before + done, all, "step")
                    });
                }
                Ok(())
            })?;
        if self.recording.what == RecordMode::Clean {
            let feed = &self.setup.train;
            let mut pause = |_| ctx.check_cancelled();
            let all = outputs(job.network, &state.values, feed, false, &mut pause)?;
            logits = Some(all.logits);
        }
        let epoch = state.history.len();
        if let Some(logits) = logits {
            let detail = self.recording.detail(epoch, job.labels.len(), classes);
            let blob = record::put_epoch(ctx, detail, &logits, classes, job.labels)?;
            records.insert(record::part_name(epoch), blob);
        }
        if let Some(fold) = &mut self.fold {
            (fold.each_epoch)(epoch, &state.values)?;
        }
        let every = job.plan.test_every;
        if every > 0 && epoch.is_multiple_of(every) {
            let found = test_accuracy(ctx, self.setup, &state.values)?;
            if let Some(last) = state.history.last_mut() {
                last.test_accuracy = found;
            }
        }
        if let Some(last) = state.history.last() {
            let tell = |name, value| {
                let (done, unit) = (before + job.reached(state), "step");
                ctx.progress(StageProgress::new(done, all, unit).with_figure(name, value));
            };
            tell("train accuracy", last.train_accuracy);
            last.test_accuracy.into_iter().for_each(|value| tell("test accuracy", value));
        }
        // One of several trainings is no place to go on from, and neither is the end of a training counted in
        // steps that lies within an epoch.
        if whole && self.fold.is_none() { self.keep_if_due() } else { Ok(()) }
    }

    fn keep_if_due(&mut self) -> Result<(), StageError> {
        let state = &self.trained.state;
        self.whole = Some((state.clone(), self.trained.records.clone()));
        let last = self.job.finished(state);
        let due = state.history.len().is_multiple_of(self.job.plan.checkpoint_every);
        if last || (due && self.kept.elapsed() >= APART) { self.keep_whole() } else { Ok(()) }
    }

    fn keep_whole(&mut self) -> Result<(), StageError> {
        let Some((state, mut parts)) = self.whole.take() else { return Ok(()) };
        let encoded = state.encode(self.job.network)?;
        parts.insert("weights".to_owned(), self.ctx.put(&encoded.weights)?);
        parts.insert("optimizer".to_owned(), self.ctx.put(&encoded.optimizer)?);
        parts.insert("history".to_owned(), self.ctx.put(&encoded.history)?);
        let at = match self.job.plan.length {
            Length::Epochs(_) => state.history.len() as u64,
            Length::Steps(_) => state.steps(),
        };
        self.kept = Instant::now();
        self.ctx.checkpoint(at, parts)
    }
}

/// Returns the newest checkpoint, if there is one that fits.
fn newest(
    ctx: &StageCtx<'_>,
    job: &EpochJob<'_>,
    setup: &TrainingSetup,
) -> Result<Option<Trained>, StageError> {
    let Some(checkpoint) = ctx.newest_checkpoint()? else { return Ok(None) };
    let part = |name| parts::part(ctx, "checkpoint", &checkpoint.state, name);
    let (weights, optimizer, history) = (part("weights")?, part("optimizer")?, part("history")?);
    let (a, b, c) = (weights.tensors()?, optimizer.tensors()?, history.tensors()?);
    let first_losses = job.plan.sampler.first_losses(job.subset.len());
    match State::decode(job.network, job.plan.rule, setup.device, &first_losses, [&a, &b, &c]) {
        Ok(state) => {
            ctx.log(format!("goes on after epoch {}", state.history.len()));
            let mut records = checkpoint.state.parts;
            records.retain(|name, _| !["weights", "optimizer", "history"].contains(&&**name));
            Ok(Some(Trained { state, records }))
        }
        Err(why) => {
            ctx.log(format!("starts over, for the checkpoint cannot be used: {why}"));
            Ok(None)
        }
    }
}

fn test_accuracy(
    ctx: &StageCtx<'_>,
    setup: &TrainingSetup,
    values: &NetworkValues,
) -> Result<Option<f64>, StageError> {
    if setup.test_labels.is_empty() {
        return Ok(None);
    }
    let mut pause = |_| ctx.check_cancelled();
    let all = outputs(&setup.network, values, &setup.test, false, &mut pause)?;
    Ok(Some(accuracy(&all.logits, &setup.test_labels)))
}

/// Returns parts `weights` and `history` of a finished training.
pub(crate) fn put_network(
    ctx: &StageCtx<'_>,
    setup: &TrainingSetup,
    state: &State,
) -> Result<Parts, StageError> {
    let weights = state.values.tensors(&setup.network, state.steps()).encode()?;
    let history = History::of(&state.history);
    let (weights, history) = (ctx.put(&weights)?, parts::put_json(ctx, &history)?);
    Ok([("weights".to_owned(), weights), ("history".to_owned(), history)].into())
}
