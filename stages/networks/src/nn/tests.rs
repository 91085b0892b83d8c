//! Networks and trainings as wholes.

use super::{
    Tensor,
    epoch::{EpochJob, outputs},
    feed::{Augment, Feed, InputNormalisation},
    forward::{Batch, Forward as _, Mode},
    input_gradients::{self, input_gradients, normalised},
    model::Model,
    optim::Rule,
    replay::Replays,
    sampler::Sampler,
    schedule::Schedule,
    settings::{Length, Precision, TrainingConfig},
    state::State,
    values::{NetworkValues, download},
};
use crate::device::Device;
use artifacts::architecture::{Architecture, Family, LayerError, Network};
use artifacts::{
    ClassId, SampleId,
    subset::{PickedSample, Subset},
};
use artifacts::{dataset::Inputs, units::Count};
use burn::tensor::{DType, TensorData};
use engine::Streams;
use safetensors::SafeTensors;

fn network(name: Family, width: Option<u64>, sample: &[usize], classes: usize) -> Network {
    let width = width.and_then(|width| Count::try_from(width).ok());
    Network::new(Architecture { name, width }, sample, classes).expect("it fits")
}

fn trained(network: &Network) -> usize {
    network.specs().iter().filter(|spec| spec.trained()).map(|spec| spec.len()).sum()
}

#[test]
fn parameters_are_as_many_as_published() {
    let count = |name, sample: &[usize], classes| trained(&network(name, None, sample, classes));
    assert_eq!(count(Family::Mlp, &[1, 28, 28], 10), 118_282);
    assert_eq!(count(Family::Lenet, &[1, 28, 28], 10), 61_706);
    assert_eq!(count(Family::Lenet, &[3, 32, 32], 10), 62_006);
    assert_eq!(count(Family::Resnet18, &[3, 32, 32], 10), 11_173_962);
    assert_eq!(count(Family::Resnet34, &[3, 32, 32], 10), 21_282_122);
    assert_eq!(count(Family::Resnet50, &[3, 32, 32], 10), 23_520_842);
    assert_eq!(count(Family::Vgg16, &[3, 32, 32], 10), 14_728_266);
    assert_eq!(count(Family::Linear, &[20], 3), 63);
    assert_eq!(count(Family::Wideresnet16, &[3, 32, 32], 10), 10_961_370);
    assert_eq!(count(Family::Wideresnet28, &[3, 32, 32], 10), 36_479_194);
    assert_eq!(count(Family::MobilenetV3Small, &[3, 32, 32], 10), 1_528_106);
    assert_eq!(count(Family::MobilenetV3Large, &[3, 32, 32], 10), 4_214_842);
    // For ImageNet: the figures torchvision prints.
    for (family, published) in [
        (Family::Alexnet, 61_100_840),
        (Family::Vgg11, 132_868_840),
        (Family::Vgg16, 138_365_992),
        (Family::Vgg19, 143_678_248),
        (Family::Resnet18, 11_689_512),
        (Family::Resnet50, 25_557_032),
        (Family::Resnet101, 44_549_160),
        (Family::Resnet152, 60_192_808),
        (Family::MobilenetV3Small, 2_542_856),
        (Family::MobilenetV3Large, 5_483_032),
    ] {
        assert_eq!(count(family, &[3, 224, 224], 1000), published, "{family:?}");
    }
    assert_eq!(count(Family::InceptionV3, &[3, 299, 299], 1000), 23_834_568);
    let embedding = |name, sample: &[usize]| network(name, None, sample, 10).embedding();
    assert_eq!(embedding(Family::Alexnet, &[3, 32, 32]), 3072);
    assert_eq!(embedding(Family::Alexnet, &[1, 28, 28]), 3072);
    assert_eq!(embedding(Family::InceptionV3, &[3, 32, 32]), 2048);
    assert_eq!(embedding(Family::Wideresnet16, &[3, 32, 32]), 512);
    assert_eq!(embedding(Family::Resnet152, &[3, 32, 32]), 2048);
    assert_eq!(embedding(Family::MobilenetV3Small, &[3, 32, 32]), 1024);
    let resnet = network(Family::Resnet18, None, &[3, 32, 32], 10);
    assert_eq!((resnet.embedding(), resnet.head()), (512, "linear.weight".to_owned()));
    let names: Vec<_> = resnet.specs().iter().map(|spec| spec.name.as_str()).collect();
    for name in ["conv1.weight", "layer1.0.bn1.running_mean", "layer2.0.shortcut.0.weight"] {
        assert!(names.contains(&name));
    }
}

#[test]
fn samples_that_do_not_fit_are_refused() {
    let refused = |name, sample: &[usize]| {
        Network::new(Architecture { name, width: None }, sample, 10).expect_err("it cannot fit")
    };
    assert!(matches!(refused(Family::Lenet, &[784]), LayerError::NotAMap { .. }));
    assert!(matches!(refused(Family::Vgg16, &[3, 16, 16]), LayerError::TooSmall { .. }));
    assert_eq!(refused(Family::Mlp, &[2, 2]), LayerError::Sample(vec![2, 2]));
}

// A VGG has its first normalisation right after its first convolution.
#[test]
fn running_statistics_follow_pytorch() {
    let network = network(Family::Vgg11, Some(1), &[1, 32, 32], 2);
    let device = Device::CPU;
    let mut rng = Streams::new(1, &["init"]).get("init");
    let values = NetworkValues::start(&network, device, &mut rng);
    // Kernel: only the middle, 2; bias 1. Two images, all 0 and all 3: outputs 1 and 7.
    let set = |values: Vec<f32>| {
        let n = values.len();
        Tensor::<1>::from_data(TensorData::new(values, [n]), &device.inner())
    };
    let mut kernel = vec![0.0; 9];
    kernel[4] = 2.0;
    let mut params = values.params.clone();
    params[0] = set(kernel);
    params[1] = set(vec![1.0]);
    let pixels = [vec![0f32; 1024], vec![3f32; 1024]].concat();
    let data = TensorData::new(pixels, [2, 1, 32, 32]);
    let input = Batch::Map(Tensor::from_data(data, &device.inner()));
    let pass = network.forward(&params, &values.stats, input, Mode::Train);
    // Mean 4, biased variance 9, unbiased 9 * 2048 / 2047; a tenth of each, .9 of 0 and 1.
    let (mean, variance) = (download(&pass.stats[0])[0], download(&pass.stats[1])[0]);
    assert!((mean - 0.4).abs() < 1e-6, "{mean}");
    assert!((f64::from(variance) - (0.9 + 0.9 * 2048.0 / 2047.0)).abs() < 2e-6, "{variance}");
}

struct Toy {
    network: Network,
    feed: Feed,
    labels: Vec<ClassId>,
    subset: Subset,
    plan: TrainingConfig,
    recorded: bool,
}

/// Random images, each a little brighter in the corner its label names.
fn toy(network: Network, sample: &[usize], n: usize, plan: TrainingConfig) -> Toy {
    let mut rng = Streams::new(5, &["toy"]).get("toy");
    let labels = ClassId::list((0..n as u32).map(|i| i % 4));
    let [_, height, width] = *sample else { panic!("it is images") };
    let each: usize = sample.iter().product();
    let mut pixels = vec![0u8; n * each];
    for (image, label) in pixels.chunks_exact_mut(each).zip(&labels) {
        for (at, pixel) in image.iter_mut().enumerate() {
            let (y, x) = (at / width % height, at % width);
            let corner = u32::from(y >= height / 2) * 2 + u32::from(x >= width / 2);
            let light = if corner == u32::from(*label) { 90 } else { 0 };
            *pixel = (light + artifacts::draw::below(&mut rng, 120)) as u8;
        }
    }
    let channels = sample[0];
    let form = InputNormalisation {
        sample: sample.to_vec(),
        mean: vec![0.3; channels],
        std: vec![0.2; channels],
    };
    let feed = Feed::new(Device::CPU, &form, Inputs::Images(pixels.into()));
    Toy { network, feed, labels, subset: Subset::all(n), plan, recorded: false }
}

fn plan(epochs: u64, lr: f64) -> TrainingConfig {
    TrainingConfig {
        architecture: Architecture { name: Family::Mlp, width: None },
        length: Length::Epochs(epochs),
        batch: 16,
        micro: 16,
        precision: Precision::F32,
        rule: Rule::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 },
        lr,
        schedule: Schedule { horizon: 4, ..Schedule::default() }.resolved(lr),
        augment: Augment::None,
        smoothing: 0.0,
        test_every: 0,
        checkpoint_every: 1,
        sampler: Sampler::All,
    }
}

impl Toy {
    fn start(&self) -> State {
        let mut rng = Streams::new(7, super::training::STREAMS).get("init");
        let losses = self.plan.sampler.first_losses(self.subset.len());
        let values = NetworkValues::start(&self.network, Device::CPU, &mut rng);
        State::start(values, self.plan.rule, losses)
    }

    /// Trains until `epochs` epochs are done.
    fn go_on(&self, state: &mut State, epochs: usize) {
        let job = EpochJob {
            plan: self.plan,
            network: &self.network,
            feed: &self.feed,
            labels: &self.labels,
            subset: &self.subset,
            classes: 4,
            streams: Streams::new(7, &["init", "shuffle", "augment", "dropout", "sampler"]),
            recorded: self.recorded,
        };
        while state.history.len() < epochs {
            job.epoch(state, &mut Replays::default(), None, &mut |_, _| Ok(()))
                .expect("nothing stops it");
        }
    }

    /// Returns the state as it would come back from the store.
    fn stored(&self, state: &State) -> State {
        let encoded = state.encode(&self.network).expect("it encodes");
        let read = |bytes| SafeTensors::deserialize(bytes).expect("it was just written");
        let parts = [&encoded.weights, &encoded.optimizer, &encoded.history].map(|part| read(part));
        let losses = self.plan.sampler.first_losses(self.subset.len());
        State::decode(&self.network, self.plan.rule, Device::CPU, &losses, parts.each_ref())
            .expect("it fits")
    }

    fn bytes(&self, state: &State) -> [Vec<u8>; 3] {
        let encoded = state.encode(&self.network).expect("it encodes");
        [encoded.weights, encoded.optimizer, encoded.history]
    }
}

#[test]
fn every_family_learns() {
    let cases = [
        (Family::Mlp, Some(16), [1, 8, 8], 0.05),
        (Family::Lenet, None, [1, 12, 12], 0.02),
        (Family::Resnet18, Some(4), [3, 8, 8], 0.05),
        (Family::Resnet50, Some(8), [1, 8, 8], 0.02),
        (Family::Vgg11, Some(4), [1, 32, 32], 0.05),
        (Family::Alexnet, None, [1, 8, 8], 0.1),
        (Family::Wideresnet16, Some(1), [3, 8, 8], 0.05),
        (Family::MobilenetV3Small, None, [3, 8, 8], 0.05),
    ];
    for (name, width, sample, lr) in cases {
        let toy = toy(network(name, width, &sample, 4), &sample, 64, plan(4, lr));
        let mut state = toy.start();
        toy.go_on(&mut state, 4);
        let losses: Vec<f64> = state.history.iter().map(|epoch| epoch.loss).collect();
        assert!(losses[3] < losses[0] - 0.02, "{name:?}: {losses:?}");
        let mut pause = |_| Ok(());
        let all = outputs(&toy.network, &state.values, &toy.feed, true, &mut pause)
            .expect("nothing stops it");
        assert_eq!(all.logits.len(), 64 * 4);
        assert_eq!(all.embeddings.len(), 64 * toy.network.embedding());
    }
}

/// Samples of `n`, later ones of a larger weight.
fn weighted(n: usize, kept: impl Fn(usize) -> bool) -> Subset {
    let samples = SampleId::all(n).filter(|sample| kept(sample.index()));
    let picked = samples
        .map(|sample| PickedSample { sample, weight: Some(0.5 + sample.index() as f32 / 16.0) });
    Subset::new(n, picked.collect()).expect("each is there once")
}

/// A training that uses everything that draws or remembers.
fn full(rule: Rule) -> Toy {
    let sample = [2, 8, 8];
    let plan = TrainingConfig { rule, augment: Augment::CropFlip, smoothing: 0.1, ..plan(4, 0.01) };
    let mut toy = toy(network(Family::Resnet18, Some(2), &sample, 4), &sample, 40, plan);
    toy.subset = weighted(40, |position| position % 7 != 3);
    toy
}

#[test]
fn the_cpus_kernels_train_as_the_recorded_pass_does() {
    // Not a narrow ResNet-50: its first gradient moves by a hundredth where weights move by 1e-7.
    let cases = [
        (Family::Mlp, Some(24), [1, 8, 8]),
        (Family::Lenet, None, [1, 28, 28]),
        (Family::Resnet18, Some(5), [3, 9, 7]),
        (Family::Vgg11, Some(3), [1, 32, 32]),
    ];
    for (name, width, sample) in cases {
        // One step: rounding grows with every other. Its last register holds 5 samples of 16.
        let plan = TrainingConfig { batch: 37, micro: 37, ..plan(2, 0.01) };
        let mut toy = toy(network(name, width, &sample, 4), &sample, 37, plan);
        toy.plan.smoothing = 0.1;
        toy.subset = weighted(37, |_| true);
        let mut ends = [false, true].map(|recorded| {
            toy.recorded = recorded;
            let mut state = toy.start();
            toy.go_on(&mut state, 1);
            state
        });
        let (one, other) = (&ends[0], &ends[1]);
        let pairs = one.values.params.iter().zip(&other.values.params);
        let pairs = pairs.chain(one.values.stats.iter().zip(&other.values.stats));
        for (at, (one, other)) in pairs.enumerate() {
            for (one, other) in download(one).into_iter().zip(download(other)) {
                let far = (one - other).abs();
                assert!(far < 2e-4 * (1.0 + other.abs()), "{name:?}, tensor {at}: {one}, {other}");
            }
        }
        // The same weights give the same outputs.
        let state = &mut ends[0];
        let mut pause = |_| Ok(());
        let all =
            outputs(&toy.network, &state.values, &toy.feed, true, &mut pause).expect("it runs");
        let rows: Vec<u32> = (0..37).collect();
        let input = toy.feed.batch(&rows, None);
        let pass =
            toy.network.forward(&state.values.params, &state.values.stats, input, Mode::Eval);
        let near = |found: &[f32], want: Vec<f32>| {
            found
                .iter()
                .zip(want)
                .all(|(one, other)| (one - other).abs() < 1e-4 * (1.0 + other.abs()))
        };
        assert!(near(&all.logits, download(&pass.logits)), "{name:?}");
        assert!(near(&all.embeddings, download(&pass.embeddings)), "{name:?}");
        // And the same slopes: of three logits of each sample.
        let channels = sample[0];
        let form = InputNormalisation {
            sample: sample.to_vec(),
            mean: vec![0.3; channels],
            std: vec![0.2; channels],
        };
        let values = (Device::CPU, state.values.clone());
        let x = normalised(&toy.feed, &rows);
        let model = Model::new(toy.network, form, 4, values);
        let classes = ClassId::list((0..37 * 3).map(|at| (at / 3 % 4 + at % 3) % 4));
        let ways = [input_gradients(&model), input_gradients::recorded(&model)];
        let [one, other] = ways.map(|mut way| (way.logits(&x), way.gradients(&x, &classes)));
        assert_eq!(one.1.len(), 37 * 3 * sample.iter().product::<usize>());
        assert!(near(&one.0, other.0) && near(&one.1, other.1), "{name:?}");
    }
}

#[test]
fn a_batch_in_parts_is_the_batch() {
    let sample = [1, 12, 12];
    for recorded in [false, true] {
        let ends = [16, 5].map(|micro| {
            let plan = TrainingConfig { micro, ..plan(1, 0.02) };
            let mut toy = toy(network(Family::Lenet, None, &sample, 4), &sample, 40, plan);
            toy.recorded = recorded;
            let mut state = toy.start();
            toy.go_on(&mut state, 1);
            state
        });
        for (one, other) in ends[0].values.params.iter().zip(&ends[1].values.params) {
            for (one, other) in download(one).into_iter().zip(download(other)) {
                assert!((one - other).abs() < 1e-5, "{one}, {other}");
            }
        }
        assert!((ends[0].history[0].loss - ends[1].history[0].loss).abs() < 1e-5);
    }
}

// The tensor library computes in 16 bits on the CPU too, if slowly.
#[test]
fn half_precision_learns_what_single_does() {
    let sample = [1, 8, 8];
    let losses = [Precision::F32, Precision::Bf16].map(|precision| {
        let plan = TrainingConfig { precision, ..plan(3, 0.05) };
        let toy = toy(network(Family::Resnet18, Some(4), &sample, 4), &sample, 64, plan);
        let mut state = toy.start();
        toy.go_on(&mut state, 3);
        assert!(state.values.params.iter().all(|param| param.dtype() == DType::F32));
        state.history[2].loss
    });
    assert!((losses[0] - losses[1]).abs() < 0.1 && losses[0] != losses[1], "{losses:?}");
}

#[test]
fn a_training_that_was_cut_ends_with_the_same_bytes() {
    let sgd = Rule::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 };
    let adam = Rule::Adam { weight_decay: 0.01, decoupled: true };
    let infobatch = Sampler::InfoBatch { prune: 0.5, until: 0.75 };
    for (rule, sampler) in [(sgd, Sampler::All), (adam, Sampler::All), (sgd, infobatch)] {
        let mut toy = full(rule);
        toy.plan.sampler = sampler;
        let mut whole = toy.start();
        toy.go_on(&mut whole, 4);
        let mut cut = toy.start();
        toy.go_on(&mut cut, 2);
        let before = toy.bytes(&cut);
        let mut cut = toy.stored(&cut);
        assert_eq!(toy.bytes(&cut), before);
        toy.go_on(&mut cut, 4);
        assert!(toy.bytes(&cut) == toy.bytes(&whole));
        assert!(toy.bytes(&cut)[0] != before[0]);
        let seen: Vec<Option<u64>> = cut.history.iter().map(|epoch| epoch.samples).collect();
        let all = Some(toy.subset.len() as u64);
        match sampler {
            Sampler::All => assert_eq!(seen, [None; 4]),
            _ => assert!(seen[0] == all && seen[3] == all && seen[1] < all && seen[2] < all),
        }
    }
}

#[test]
fn threads_change_no_byte() {
    let toy = full(Rule::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 });
    let trained = [1, 2, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("threads can be had").install(|| {
            let mut state = toy.start();
            toy.go_on(&mut state, 2);
            toy.bytes(&state)
        })
    });
    assert!(trained[0] == trained[1] && trained[0] == trained[2]);
}

#[test]
fn a_recorded_row_is_the_samples_own() {
    let sample = [1, 8, 8];
    // At this rate nothing moves: the record must be the network's outputs at the start.
    let still = TrainingConfig {
        rule: Rule::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 },
        ..plan(1, 1e-30)
    };
    let mut toy = toy(network(Family::Mlp, Some(8), &sample, 4), &sample, 40, still);
    let others = SampleId::all(40).filter(|sample| sample.index() != 5);
    let others = others.map(|sample| PickedSample { sample, weight: None });
    toy.subset = Subset::new(40, others.collect()).expect("each is there once");
    let mut state = toy.start();
    let job = EpochJob {
        plan: toy.plan,
        network: &toy.network,
        feed: &toy.feed,
        labels: &toy.labels,
        subset: &toy.subset,
        classes: 4,
        streams: Streams::new(7, super::training::STREAMS),
        recorded: false,
    };
    let mut record = vec![f32::NAN; 40 * 4];
    job.epoch(&mut state, &mut Replays::default(), Some(&mut record), &mut |_, _| Ok(()))
        .expect("nothing stops it");
    let all = outputs(&toy.network, &state.values, &toy.feed, false, &mut |_| Ok(()))
        .expect("nothing stops it");
    for (at, (one, other)) in record.iter().zip(&all.logits).enumerate() {
        assert!(if at / 4 == 5 { one.is_nan() } else { (one - other).abs() < 1e-5 });
    }
}

// cargo test --release -p stages --lib how_fast -- --ignored --nocapture
#[test]
#[ignore = "it measures"]
#[expect(clippy::print_stdout, reason = "the figures are for whoever asked for them")]
fn how_fast() {
    let cases = [
        (Family::Mlp, None, [1, 28, 28], 128 * 40),
        (Family::Lenet, None, [1, 28, 28], 128 * 8),
        (Family::Resnet18, Some(16), [1, 28, 28], 128),
    ];
    for (name, width, sample, n) in cases {
        let plan = TrainingConfig { batch: 128, micro: 128, ..plan(4, 0.01) };
        let toy = toy(network(name, width, &sample, 4), &sample, n, plan);
        let mut state = toy.start();
        let began = std::time::Instant::now();
        toy.go_on(&mut state, 1);
        let train = n as f64 / began.elapsed().as_secs_f64();
        let began = std::time::Instant::now();
        outputs(&toy.network, &state.values, &toy.feed, true, &mut |_| Ok(())).expect("it runs");
        let forward = n as f64 / began.elapsed().as_secs_f64();
        println!("{name:?}: {train:.0} images/s trained, {forward:.0} forward");
    }
}
