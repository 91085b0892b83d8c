//! Training and inference on the CPU, with kernels of our own.
//!
//! The tensor library walks a network operation by operation and writes every intermediate result
//! to memory. Here the passes are written out for the layers a network is made of, with sixteen
//! samples in a register. What they compute is what [`Network::forward`] and its recorded gradients
//! compute, up to rounding; a network with a layer that is not known here goes that way instead.

mod conv;
mod maps;
mod norm;
mod pool;
mod wide;

use super::{
    layer::{Layer, Named},
    network::{self, Mode, Network},
    optim::Optimizer,
    state::State,
    values::{Values, download, upload},
};
use crate::device::Device;
use conv::Conv;
use maps::{Dims, Maps};
use norm::Statistics;
use pool::MaxPool;

/// The values of a network, on the host.
pub(super) struct Weights {
    params: Vec<Vec<f32>>,
    stats: Vec<Vec<f32>>,
}

/// A training between two steps, on the host.
pub(super) struct Training<'a> {
    network: &'a Network,
    weights: Weights,
    optimizer: Optimizer<Vec<f32>>,
}

/// Returns whether `network` has convolutions and every layer of it is known here. What is linear
/// alone is a few matrix products, which the tensor library does faster.
pub(super) fn takes(network: &Network) -> bool {
    if !network.layers().iter().any(|(_, layer)| matches!(layer, Layer::Conv { .. })) {
        return false;
    }
    fn all(layers: &[Named]) -> bool {
        layers.iter().all(|(_, layer)| match layer {
            Layer::Conv { groups: 1, .. }
            | Layer::BatchNorm
            | Layer::Relu
            | Layer::MaxPool { .. }
            | Layer::GlobalAvgPool
            | Layer::Flatten
            | Layer::Linear { .. } => true,
            Layer::Residual { main, shortcut } => all(main) && all(shortcut),
            _ => false,
        })
    }
    all(network.layers())
}

impl Weights {
    pub(super) fn of(values: &Values) -> Self {
        Self {
            params: values.params.iter().map(download).collect(),
            stats: values.stats.iter().map(download).collect(),
        }
    }

    /// Returns the logits of `samples`, \[n, ...\], and what goes into the head, in evaluation mode.
    pub(super) fn outputs(
        &self,
        network: &Network,
        samples: &[f32],
        sample: &[usize],
    ) -> (Vec<f32>, Vec<f32>) {
        let mut pass = Pass::new(self, Mode::Eval);
        let (logits, embeddings) = pass.forward(network, lay(samples, sample), &mut None);
        (logits.unpack(), embeddings.unpack())
    }
}

impl<'a> Training<'a> {
    /// Takes up the training where `state` stands.
    pub(super) fn of(network: &'a Network, state: &State) -> Self {
        let weights = Weights::of(&state.values);
        Self { network, weights, optimizer: state.optimizer.map(download) }
    }

    /// Puts the training where it stands into `state`.
    pub(super) fn put(self, state: &mut State) {
        let all = |values: Vec<Vec<f32>>| {
            values.into_iter().map(|values| upload(values, Device::CPU)).collect()
        };
        state.values = Values { params: all(self.weights.params), stats: all(self.weights.stats) };
        state.optimizer = self.optimizer.map(|values| upload(values.clone(), Device::CPU));
    }

    /// Returns how many steps were taken.
    pub(super) fn steps(&self) -> u64 {
        self.optimizer.steps()
    }

    /// Takes one step on `samples`, `micro` of them at a time. `targets` is \[n, classes\] as
    /// [`super::loss::targets`] gives it. Returns the logits, \[n, classes\].
    pub(super) fn step(
        &mut self,
        samples: &[f32],
        sample: &[usize],
        targets: &[f32],
        (micro, lr): (usize, f64),
    ) -> Vec<f32> {
        let each: usize = sample.iter().product();
        let classes = targets.len() * each / samples.len().max(1);
        let mut gradients: Vec<Vec<f32>> =
            self.weights.params.iter().map(|param| vec![0.0; param.len()]).collect();
        let mut all = Vec::with_capacity(targets.len());
        let parts = samples.chunks(micro * each).zip(targets.chunks(micro * classes));
        for (at, (samples, targets)) in parts.enumerate() {
            let mut tape = Some(vec![]);
            let mut pass = Pass::new(&self.weights, Mode::Train);
            let (logits, _) = pass.forward(self.network, lay(samples, sample), &mut tape);
            let (dims, updated) = (logits.dims, std::mem::take(&mut pass.updated));
            let logits = logits.unpack();
            let gradient = Maps::pack(&slope(&logits, targets, classes), dims);
            let mut back =
                Back { weights: &self.weights, gradients: &mut gradients, first: at == 0 };
            back.all(tape.unwrap_or_default(), gradient, false);
            self.weights.stats = updated;
            all.extend(logits);
        }
        self.optimizer.step_host(&mut self.weights.params, &gradients, lr);
        all
    }
}

/// Returns the gradient of minus the sum of `targets` times the log-softmax of `logits`.
fn slope(logits: &[f32], targets: &[f32], classes: usize) -> Vec<f32> {
    let mut out = vec![0f32; logits.len()];
    let rows = logits.chunks_exact(classes).zip(targets.chunks_exact(classes));
    for (out, (logits, targets)) in out.chunks_exact_mut(classes).zip(rows) {
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mass: f32 = targets.iter().sum();
        let mut total = 0.0;
        for (out, logit) in out.iter_mut().zip(logits) {
            *out = (logit - top).exp();
            total += *out;
        }
        for (out, target) in out.iter_mut().zip(targets) {
            *out = *out * (mass / total) - target;
        }
    }
    out
}

fn lay(samples: &[f32], sample: &[usize]) -> Maps {
    let each: usize = sample.iter().product();
    let n = samples.len() / each.max(1);
    let dims = match *sample {
        [c, h, w] => Dims { n, c, h, w },
        _ => Dims { n, c: each, h: 1, w: 1 },
    };
    Maps::pack(samples, dims)
}

/// What a layer leaves for the way back. A parameter is its position.
enum Done {
    Conv { conv: Conv, input: Maps, weight: usize, bias: Option<usize> },
    Norm { x: Maps, statistics: Statistics, scale: usize, relu: Option<Maps> },
    Relu { y: Maps },
    Pool { pool: MaxPool, places: Vec<u16>, from: Dims },
    Average { from: Dims },
    Flatten { from: Dims },
    Residual { main: Vec<Done>, shortcut: Vec<Done> },
}

type Tape = Option<Vec<Done>>;

/// A forward pass on its way.
struct Pass<'a> {
    weights: &'a Weights,
    mode: Mode,
    params: usize,
    stats: usize,
    updated: Vec<Vec<f32>>,
}

impl<'a> Pass<'a> {
    fn new(weights: &'a Weights, mode: Mode) -> Self {
        Self { weights, mode, params: 0, stats: 0, updated: vec![] }
    }

    /// Returns the logits and what goes into the head.
    fn forward(&mut self, network: &Network, input: Maps, tape: &mut Tape) -> (Maps, Maps) {
        let (head, body) = network.layers().split_last().expect("every family ends in its head");
        let embeddings = self.all(body, input, tape);
        let logits = self.all(std::slice::from_ref(head), embeddings.clone(), tape);
        (logits, embeddings)
    }

    fn all(&mut self, layers: &[Named], mut x: Maps, tape: &mut Tape) -> Maps {
        let mut at = 0;
        while let Some((_, layer)) = layers.get(at) {
            at += 1;
            x = match *layer {
                Layer::BatchNorm => {
                    let relu = matches!(layers.get(at), Some((_, Layer::Relu)));
                    at += usize::from(relu);
                    self.norm(x, relu, tape)
                }
                _ => self.layer(layer, x, tape),
            };
        }
        x
    }

    fn layer(&mut self, layer: &Layer, mut x: Maps, tape: &mut Tape) -> Maps {
        match *layer {
            Layer::Conv { out, kernel, stride, pad, groups: 1, bias } => {
                self.conv(Conv { out, kernel, stride, pad }, bias, x, tape)
            }
            Layer::Linear { out } => {
                let x = flat(x, tape);
                self.conv(Conv { out, kernel: 1, stride: 1, pad: 0 }, true, x, tape)
            }
            Layer::Flatten => flat(x, tape),
            Layer::Relu => {
                pool::relu(&mut x);
                keep(tape, || Done::Relu { y: x.clone() });
                x
            }
            Layer::MaxPool { kernel, stride, pad } => {
                let pool = MaxPool { kernel, stride, pad };
                let (y, places) = pool.forward(&x);
                keep(tape, || Done::Pool { pool, places, from: x.dims });
                y
            }
            Layer::GlobalAvgPool => {
                keep(tape, || Done::Average { from: x.dims });
                pool::average(&x)
            }
            Layer::Residual { ref main, ref shortcut } => {
                let new = || tape.as_ref().map(|_| vec![]);
                let (mut there, mut around) = (new(), new());
                let mut y = self.all(main, x.clone(), &mut there);
                pool::add(&mut y, &self.all(shortcut, x, &mut around));
                keep(tape, || Done::Residual {
                    main: there.unwrap_or_default(),
                    shortcut: around.unwrap_or_default(),
                });
                y
            }
            _ => unreachable!("`takes` was asked"),
        }
    }

    fn conv(&mut self, conv: Conv, bias: bool, x: Maps, tape: &mut Tape) -> Maps {
        let weight = self.param();
        let bias = bias.then(|| self.param());
        let params = &self.weights.params;
        let y = conv.forward(&x, &params[weight], bias.map(|bias| &params[bias][..]));
        keep(tape, || Done::Conv { conv, input: x, weight, bias });
        y
    }

    fn norm(&mut self, x: Maps, relu: bool, tape: &mut Tape) -> Maps {
        let (scale, shift) = (self.param(), self.param());
        let (mean, variance) = (self.stats, self.stats + 1);
        self.stats += 2;
        let Weights { params, stats } = self.weights;
        let statistics = match self.mode {
            Mode::Train => norm::statistics(&x, network::EPSILON),
            Mode::Eval => Statistics {
                mean: stats[mean].clone(),
                inverse: inverses(&stats[variance]),
                variance: vec![],
            },
        };
        let Statistics { mean: means, inverse, .. } = &statistics;
        let scales: Vec<f32> = params[scale].iter().zip(inverse).map(|(s, i)| s * i).collect();
        let shifts = params[shift].iter().zip(means.iter().zip(&scales));
        let shifts: Vec<f32> = shifts.map(|(shift, (mean, scale))| shift - mean * scale).collect();
        let y = norm::affine(&x, &scales, &shifts, relu);
        if self.mode == Mode::Train {
            let count = norm::count(x.dims);
            // The running variance is the unbiased one, the one normalised by is not.
            let unbiased = network::MOMENTUM * count / (count - 1.0).max(1.0);
            let toward = |old: &[f32], new: &[f32], weight: f64| {
                let step = |(old, new): (&f32, &f32)| {
                    old * (1.0 - network::MOMENTUM) as f32 + new * weight as f32
                };
                old.iter().zip(new).map(step).collect()
            };
            self.updated.push(toward(&stats[mean], &statistics.mean, network::MOMENTUM));
            self.updated.push(toward(&stats[variance], &statistics.variance, unbiased));
        }
        keep(tape, || Done::Norm { x, statistics, scale, relu: relu.then(|| y.clone()) });
        y
    }

    fn param(&mut self) -> usize {
        self.params += 1;
        self.params - 1
    }
}

fn inverses(variance: &[f32]) -> Vec<f32> {
    let inverse = |v: &f32| (1.0 / (f64::from(*v) + network::EPSILON).sqrt()) as f32;
    variance.iter().map(inverse).collect()
}

/// Returns `x` as vectors.
fn flat(x: Maps, tape: &mut Tape) -> Maps {
    let from = x.dims;
    let dims = Dims { n: from.n, c: from.c * from.h * from.w, h: 1, w: 1 };
    if dims != from {
        keep(tape, || Done::Flatten { from });
    }
    x.reshaped(dims)
}

fn keep(tape: &mut Tape, done: impl FnOnce() -> Done) {
    if let Some(tape) = tape {
        tape.push(done());
    }
}

/// The way back.
struct Back<'a> {
    weights: &'a Weights,
    gradients: &'a mut [Vec<f32>],
    /// Whether these are the first gradients of the step.
    first: bool,
}

impl Back<'_> {
    /// Returns the gradient of what went into `tape`; where it is not `wanted`, whatever is at hand.
    fn all(&mut self, mut tape: Vec<Done>, mut gradient: Maps, wanted: bool) -> Maps {
        while let Some(done) = tape.pop() {
            let learns = |done: &Done| !matches!(done, Done::Flatten { .. } | Done::Relu { .. });
            let wanted = wanted || tape.iter().any(learns);
            gradient = self.one(done, gradient, wanted);
        }
        gradient
    }

    fn one(&mut self, done: Done, mut gradient: Maps, wanted: bool) -> Maps {
        match done {
            Done::Conv { conv, input, weight, bias } => {
                self.add(weight, conv.to_weight(&gradient, &input));
                if let Some(bias) = bias {
                    self.add(bias, conv::to_bias(&gradient));
                }
                if wanted {
                    conv.to_input(&gradient, &self.weights.params[weight], input.dims)
                } else {
                    gradient
                }
            }
            Done::Norm { x, statistics, scale, relu } => {
                if let Some(y) = relu {
                    pool::relu_backward(&mut gradient, &y);
                }
                let values = &self.weights.params[scale];
                let (scales, shifts) = norm::backward(&mut gradient, &x, &statistics, values);
                self.add(scale, scales);
                self.add(scale + 1, shifts);
                gradient
            }
            Done::Relu { y } => {
                pool::relu_backward(&mut gradient, &y);
                gradient
            }
            Done::Pool { pool, places, from } => pool.backward(&gradient, &places, from),
            Done::Average { from } => pool::average_backward(&gradient, from),
            Done::Flatten { from } => gradient.reshaped(from),
            Done::Residual { main, shortcut } => {
                let around = self.all(shortcut, gradient.clone(), true);
                let mut back = self.all(main, gradient, true);
                pool::add(&mut back, &around);
                back
            }
        }
    }

    fn add(&mut self, param: usize, gradient: Vec<f32>) {
        if self.first {
            self.gradients[param] = gradient;
        } else {
            for (sum, value) in self.gradients[param].iter_mut().zip(gradient) {
                *sum += value;
            }
        }
    }
}
