//! How fast a network trains on a device, and whether two devices agree: on random images, with no
//! store and no pipeline around it.

use super::{
    epoch::{EpochJob, Outputs, outputs},
    feed::{Augment, Feed, InputNormalisation, PIXEL},
    memory::{self, guarded},
    optim::Rule,
    replay::Replays,
    sampler::Sampler,
    schedule::Schedule,
    settings::{Length, TrainingConfig},
    state::State,
    training::STREAMS,
    values::NetworkValues,
};
use crate::{NetworkError, device::Device, error::LESS_MEMORY};
use artifacts::architecture::{Architecture, Family, Network};
use artifacts::subset::Subset;
use artifacts::{ClassId, dataset::Inputs, units::Count};
use engine::{StageError, Streams};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use std::time::{Duration, Instant};

const CLASSES: usize = 10;

/// What is timed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BenchmarkWork {
    /// The architecture, by the name a pipeline gives it.
    pub model: String,
    /// Its width; the family's own if there is none.
    pub width: Option<usize>,
    /// Channels, height, width.
    pub sample: [usize; 3],
    /// Samples a step.
    pub batch: usize,
    /// `none`, `crop`, `flip` or `crop-flip`.
    pub augment: String,
    /// `f32` or `bf16`.
    pub precision: String,
    /// Steps of an epoch.
    pub steps: usize,
}

/// Images a second.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Speed {
    /// Forward, backward and the optimiser's step.
    pub train: f64,
    /// Forward alone, in evaluation mode.
    pub forward: f64,
}

/// How far the outputs of one network on two devices are apart.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Agreement {
    /// The largest difference of two logits, over the largest logit.
    pub logits: f64,
    /// The largest difference of two EL2N scores.
    pub scores: f64,
    /// The share of the hardest tenth, by that score, that both pick.
    pub picked: f64,
}

struct Setup {
    network: Network,
    plan: TrainingConfig,
    labels: Vec<ClassId>,
    form: InputNormalisation,
    pixels: Vec<u8>,
}

impl BenchmarkWork {
    fn setup(&self) -> Result<Setup, NetworkError> {
        let name: Family = named("model", &self.model)?;
        let width = self.width.and_then(|width| Count::try_from(width as u64).ok());
        let architecture = Architecture { name, width };
        let network = Network::new(architecture, &self.sample, CLASSES)?;
        let augment: Augment = named("augmentation", &self.augment)?;
        augment.check(&self.sample)?;
        let n = self.batch * self.steps.max(1);
        let mut rng = Streams::new(0, &["images"]).get("images");
        let each: usize = self.sample.iter().product();
        let pixels = (0..n * each).map(|_| artifacts::draw::below(&mut rng, 256) as u8).collect();
        let labels =
            ClassId::list((0..n).map(|_| artifacts::draw::below(&mut rng, CLASSES as u32)));
        let [channels, _, _] = self.sample;
        let form = InputNormalisation {
            sample: self.sample.to_vec(),
            mean: vec![0.5; channels],
            std: vec![0.25; channels],
        };
        let lr = 0.01;
        let plan = TrainingConfig {
            architecture,
            length: Length::Epochs(u64::from(u32::MAX)),
            batch: self.batch.max(1),
            micro: self.batch.max(1),
            precision: named("precision", &self.precision)?,
            rule: Rule::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 },
            lr,
            schedule: Schedule { horizon: 100, ..Schedule::default() }.resolved(lr),
            augment,
            smoothing: 0.0,
            test_every: 0,
            checkpoint_every: 1,
            sampler: Sampler::All,
        };
        Ok(Setup { network, plan, labels, form, pixels })
    }

    /// Returns how fast it goes on `device`, `at_once` of them beside each other: all together, over
    /// about `time` after an epoch that is not counted.
    ///
    /// # Errors
    ///
    /// Fails if a name means nothing, the network cannot take such images, or memory does not do.
    pub fn speed(
        &self,
        device: Device,
        at_once: usize,
        time: Duration,
    ) -> Result<Speed, StageError> {
        let setup = self.setup()?;
        setup.plan.precision.check(device)?;
        let at_once = at_once.max(1);
        let pixels = PIXEL * setup.pixels.len() * at_once;
        memory::check(&setup.network, &setup.plan, device, pixels)?;
        let each = |_| guarded(device, LESS_MEMORY, || setup.speed(device, time));
        let all: Vec<Result<Speed, StageError>> = if at_once == 1 {
            vec![each(())]
        } else {
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..at_once).map(|_| scope.spawn(|| each(()))).collect();
                let joined = threads.into_iter().map(|thread| {
                    thread.join().unwrap_or_else(|_| Err(NetworkError::Thread.into()))
                });
                joined.collect()
            })
        };
        let mut sum = Speed { train: 0.0, forward: 0.0 };
        for one in all {
            let Speed { train, forward } = one?;
            sum = Speed { train: sum.train + train, forward: sum.forward + forward };
        }
        Ok(sum)
    }

    /// Returns how far the outputs of the same trained network on the CPU and on `device` are apart.
    ///
    /// # Errors
    ///
    /// As [`Self::speed`].
    pub fn agreement(&self, device: Device) -> Result<Agreement, StageError> {
        let setup = self.setup()?;
        setup.plan.precision.check(device)?;
        let feed = setup.feed(Device::CPU);
        let mut state = setup.start(Device::CPU);
        setup.job(&feed).epoch(&mut state, &mut Replays::default(), None, &mut |_, _| Ok(()))?;
        let here = setup.outputs(&state.values, &feed)?;
        let values = state.values.moved(device);
        let there = guarded(device, LESS_MEMORY, || setup.outputs(&values, &setup.feed(device)))?;
        Ok(agreement(&here.logits, &there.logits, &setup.labels))
    }
}

impl Setup {
    fn feed(&self, device: Device) -> Feed {
        Feed::new(device, &self.form, Inputs::Images(self.pixels.clone().into()))
    }

    fn start(&self, device: Device) -> State {
        let mut rng = Streams::new(0, STREAMS).get("init");
        State::start(NetworkValues::start(&self.network, device, &mut rng), self.plan.rule, vec![])
    }

    fn job<'a>(&'a self, feed: &'a Feed) -> TimedJob<'a> {
        TimedJob { setup: self, feed, subset: Subset::all(self.labels.len()) }
    }

    fn outputs(&self, values: &NetworkValues, feed: &Feed) -> Result<Outputs, StageError> {
        outputs(&self.network, values, feed, false, &mut |_| Ok(()))
    }

    fn speed(&self, device: Device, time: Duration) -> Result<Speed, StageError> {
        let feed = self.feed(device);
        let mut state = self.start(device);
        let job = self.job(&feed);
        // The books are read at the end of an epoch: then the device has done it.
        let mut replays = Replays::default();
        let mut epoch = || job.epoch(&mut state, &mut replays, None, &mut |_, _| Ok(())).map(drop);
        let train = self.rate(time, &mut epoch)?;
        let forward = self.rate(time, || self.outputs(&state.values, &feed).map(drop))?;
        Ok(Speed { train, forward })
    }

    fn rate(
        &self,
        time: Duration,
        mut work: impl FnMut() -> Result<(), StageError>,
    ) -> Result<f64, StageError> {
        work()?;
        let (begun, mut times) = (Instant::now(), 0u32);
        while times < 2 || begun.elapsed() < time {
            work()?;
            times += 1;
        }
        Ok(self.labels.len() as f64 * f64::from(times) / begun.elapsed().as_secs_f64())
    }
}

struct TimedJob<'a> {
    setup: &'a Setup,
    feed: &'a Feed,
    subset: Subset,
}

impl TimedJob<'_> {
    fn epoch(
        &self,
        state: &mut State,
        replays: &mut Replays,
        record: Option<&mut [f32]>,
        watch: &mut super::epoch::StepCallback<'_>,
    ) -> Result<bool, StageError> {
        let job = EpochJob {
            plan: self.setup.plan,
            network: &self.setup.network,
            feed: self.feed,
            labels: &self.setup.labels,
            subset: &self.subset,
            classes: CLASSES,
            streams: Streams::new(0, STREAMS),
            recorded: false,
        };
        job.epoch(state, replays, record, watch)
    }
}

fn named<T: DeserializeOwned>(what: &'static str, name: &str) -> Result<T, NetworkError> {
    serde_json::from_value(json!(name)).map_err(|reason| NetworkError::NoSuchName {
        what,
        name: name.to_owned(),
        reason,
    })
}

fn agreement(here: &[f32], there: &[f32], labels: &[ClassId]) -> Agreement {
    let apart =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let wide = |values: &[f32]| values.iter().map(|z| f64::from(*z)).collect::<Vec<_>>();
    let (a, b) = (wide(here), wide(there));
    let largest = a.iter().map(|z| z.abs()).fold(f64::MIN_POSITIVE, f64::max);
    let (scores, others) = (errors(&a, labels), errors(&b, labels));
    let (one, other) = (hardest(&scores), hardest(&others));
    let shared = one.iter().filter(|at| other.contains(at)).count();
    Agreement {
        logits: apart(&a, &b) / largest,
        scores: apart(&scores, &others),
        picked: shared as f64 / one.len().max(1) as f64,
    }
}

/// Returns the length of softmax less label, for each sample.
fn errors(logits: &[f64], labels: &[ClassId]) -> Vec<f64> {
    let rows = logits.chunks_exact(CLASSES).zip(labels);
    rows.map(|(row, label)| {
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = row.iter().map(|z| (z - top).exp()).sum();
        let part = |(class, z): (usize, &f64)| {
            let share = (z - top).exp() / total - f64::from(class == label.index());
            share * share
        };
        row.iter().enumerate().map(part).sum::<f64>().sqrt()
    })
    .collect()
}

/// Returns the tenth with the largest scores; of equals the earlier ones.
fn hardest(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    order.truncate(scores.len().div_ceil(10));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{DeviceChoice, DeviceFolders};

    fn work() -> BenchmarkWork {
        BenchmarkWork {
            model: "resnet18".to_owned(),
            width: Some(4),
            sample: [3, 8, 8],
            batch: 16,
            augment: "crop-flip".to_owned(),
            precision: "f32".to_owned(),
            steps: 4,
        }
    }

    #[test]
    #[expect(clippy::print_stdout, reason = "a test without its device says so")]
    fn the_device_agrees_with_the_cpu() {
        let Ok(device) = Device::open(DeviceChoice::Cuda(0), &DeviceFolders::default()) else {
            println!("skipped: no device");
            return;
        };
        let found = work().agreement(device).expect("it runs");
        assert!(found.logits < 2e-2 && found.scores < 2e-2 && found.picked > 0.8, "{found:?}");
    }

    #[test]
    fn a_network_agrees_with_itself_and_not_with_another() {
        let same = work().agreement(Device::CPU).expect("it runs");
        assert!(same.logits == 0.0 && same.scores == 0.0 && same.picked == 1.0, "{same:?}");
        let labels = ClassId::list((0..20).map(|at| at % 10));
        let logits: Vec<f32> = (0..200).map(|at| (at % 7) as f32).collect();
        let turned: Vec<f32> = logits.iter().map(|z| -z).collect();
        let other = agreement(&logits, &turned, &labels);
        assert!(other.logits == 2.0 && other.scores > 0.1, "{other:?}");
    }

    #[test]
    fn what_cannot_be_done_is_an_error_before_it_begins() {
        let time = Duration::ZERO;
        let said = |work: BenchmarkWork| {
            work.speed(Device::CPU, 1, time).expect_err("it cannot").to_string()
        };
        assert!(
            said(BenchmarkWork { precision: "bf16".to_owned(), ..work() }).contains("needs a CUDA")
        );
        assert!(said(BenchmarkWork { model: "no".to_owned(), ..work() }).contains("`no`"));
        let wide = BenchmarkWork { model: "mlp".to_owned(), width: Some(4_000_000), ..work() };
        let message = said(wide);
        assert!(message.contains("GiB") && message.contains("`cpu`"), "{message}");
    }
}
