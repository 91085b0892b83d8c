//! Training and inference on the CPU, with kernels of our own.
//!
//! The tensor library walks a network operation by operation and writes every intermediate result
//! to memory. Here the passes are written out for the layers a network is made of: maps with sixteen
//! samples in a register, vectors as matrix products. They compute what the forward pass of the tensor
//! library and its recorded gradients compute, up to rounding; a network with a layer that is not known here
//! goes that way instead.

mod backward;
mod buffer;
mod conv;
mod linear;
mod maps;
mod norm;
mod pool;
mod rows;
mod tiles;
mod wide;

use super::{
    forward::{self, Mode},
    optim::OptimizerState,
    state::State,
    values::{NetworkValues, download, upload},
};
use crate::device::Device;
use artifacts::{
    ClassId,
    architecture::{Layer, NamedLayer, Network},
};
use backward::HostBackward;
use buffer::PoolGuard;
use conv::Conv;
use maps::{Dims, MapBatch};
use norm::Statistics;
use pool::MaxPool;
use rayon::prelude::*;
use rows::{Activation, VectorBatch};
use std::sync::Arc;

/// The values of a network, on the host.
pub(super) struct Weights {
    params: Vec<Vec<f32>>,
    stats: Vec<Vec<f32>>,
    /// Keeps freed buffers: weights are used for one forward pass after another.
    _keeper: PoolGuard,
}

/// A training between two steps, on the host.
pub(super) struct Training<'a> {
    network: &'a Network,
    weights: Weights,
    optimizer: OptimizerState<Vec<f32>>,
}

/// Returns whether every layer of `network` is known here.
pub(super) fn supports(network: &Network) -> bool {
    fn all(layers: &[NamedLayer]) -> bool {
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
    pub(super) fn of(values: &NetworkValues) -> Self {
        Self {
            params: values.params.iter().map(download).collect(),
            stats: values.stats.iter().map(download).collect(),
            _keeper: PoolGuard::new(),
        }
    }

    /// Returns the logits of `samples`, \[n, ...\], and what goes into the head, in evaluation mode.
    pub(super) fn outputs(
        &self,
        network: &Network,
        samples: Vec<f32>,
        sample: &[usize],
    ) -> (Vec<f32>, Vec<f32>) {
        let mut pass = HostForward::new(self, Mode::Eval);
        let (logits, embeddings) =
            pass.forward(network, Activation::of(samples, sample), &mut None);
        let values = |flow: Activation| Arc::unwrap_or_clone(flow.rows().data);
        (values(logits), values(embeddings))
    }

    /// Returns the gradients of chosen logits with respect to `samples`, in evaluation mode. `classes`,
    /// \[n, k\], says which logits of each sample; what comes back is \[n, k, ...\].
    pub(super) fn input_gradients(
        &self,
        network: &Network,
        samples: Vec<f32>,
        sample: &[usize],
        classes: &[ClassId],
    ) -> Vec<f32> {
        let each: usize = sample.iter().product();
        let n = samples.len() / each;
        let k = classes.len() / n;
        let mut tape = Some(vec![]);
        let mut pass = HostForward::new(self, Mode::Eval);
        let logits = pass.forward(network, Activation::of(samples, sample), &mut tape).0.dims();
        let tape = tape.unwrap_or_default();
        // The samples went through once; each of their chosen logits goes back on its own.
        let slope = |at: usize| {
            let mut one = vec![0f32; n * logits.c];
            for (i, classes) in classes.chunks_exact(k).enumerate() {
                one[i * logits.c + classes[at].index()] = 1.0;
            }
            let mut back = HostBackward { weights: self, gradients: None, first: true };
            back.all(tape.clone(), Activation::VectorBatch(VectorBatch::flat(n, one)), true).rows()
        };
        let slopes: Vec<VectorBatch> = (0..k).into_par_iter().map(slope).collect();
        let places = (0..n).flat_map(|i| slopes.iter().map(move |rows| (i, rows)));
        places.flat_map(|(i, rows)| &rows.data[i * each..(i + 1) * each]).copied().collect()
    }
}

impl<'a> Training<'a> {
    /// Copies parameters, statistics and optimiser from `state` to the host.
    pub(super) fn of(network: &'a Network, state: &State) -> Self {
        let weights = Weights::of(&state.values);
        Self { network, weights, optimizer: state.optimizer.map(download) }
    }

    /// Copies parameters, statistics and optimiser back into `state`.
    pub(super) fn put(self, state: &mut State) {
        let all = |values: Vec<Vec<f32>>| {
            values.into_iter().map(|values| upload(values, Device::CPU)).collect()
        };
        state.values =
            NetworkValues { params: all(self.weights.params), stats: all(self.weights.stats) };
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
        mut samples: Vec<f32>,
        sample: &[usize],
        targets: &[f32],
        (micro, lr): (usize, f64),
    ) -> Vec<f32> {
        let each: usize = sample.iter().product();
        let classes = targets.len() * each / samples.len().max(1);
        let mut gradients: Vec<Vec<f32>> =
            self.weights.params.iter().map(|param| vec![0.0; param.len()]).collect();
        let mut all = Vec::with_capacity(targets.len());
        for (at, targets) in targets.chunks(micro * classes).enumerate() {
            let rest = samples.split_off((micro * each).min(samples.len()));
            let samples = std::mem::replace(&mut samples, rest);
            let mut tape = Some(vec![]);
            let mut pass = HostForward::new(&self.weights, Mode::Train);
            let (logits, _) =
                pass.forward(self.network, Activation::of(samples, sample), &mut tape);
            let updated = std::mem::take(&mut pass.updated);
            let logits = logits.rows();
            let gradient = VectorBatch::flat(
                logits.len(),
                cross_entropy_gradient(&logits.data, targets, classes),
            );
            let mut back = HostBackward {
                weights: &self.weights,
                gradients: Some(&mut gradients),
                first: at == 0,
            };
            back.all(tape.unwrap_or_default(), Activation::VectorBatch(gradient), false);
            self.weights.stats = updated;
            all.extend_from_slice(&logits.data);
        }
        self.optimizer.step_host(&mut self.weights.params, &gradients, lr);
        all
    }
}

/// Returns the gradient of minus the sum of `targets` times the log-softmax of `logits`.
fn cross_entropy_gradient(logits: &[f32], targets: &[f32], classes: usize) -> Vec<f32> {
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

/// One entry of the tape: the layer and the inputs it saved for the backward pass. A parameter is named by
/// its position.
#[derive(Clone)]
enum TapeOp {
    Conv {
        conv: Conv,
        input: MapBatch,
        weight: usize,
        bias: Option<usize>,
    },
    Linear {
        input: VectorBatch,
        weight: usize,
    },
    Norm {
        x: MapBatch,
        statistics: Statistics,
        scale: usize,
        relu: Option<MapBatch>,
    },
    /// A norm in evaluation mode: its channels' factors.
    Affine {
        scales: Vec<f32>,
        relu: Option<MapBatch>,
    },
    Relu {
        y: Activation,
    },
    Pool {
        pool: MaxPool,
        x: MapBatch,
        y: MapBatch,
    },
    Average {
        from: Dims,
    },
    Flatten {
        from: Dims,
    },
    Residual {
        main: Vec<TapeOp>,
        shortcut: Vec<TapeOp>,
    },
}

type Tape = Option<Vec<TapeOp>>;

/// A forward pass: the position among the parameters and statistics, and the tape.
struct HostForward<'a> {
    weights: &'a Weights,
    mode: Mode,
    params: usize,
    stats: usize,
    updated: Vec<Vec<f32>>,
}

impl<'a> HostForward<'a> {
    fn new(weights: &'a Weights, mode: Mode) -> Self {
        Self { weights, mode, params: 0, stats: 0, updated: vec![] }
    }

    /// Returns the logits and what goes into the head.
    fn forward(
        &mut self,
        network: &Network,
        input: Activation,
        tape: &mut Tape,
    ) -> (Activation, Activation) {
        let (head, body) = network.layers().split_last().expect("every family ends in its head");
        let embeddings = self.all(body, input, tape);
        let logits = self.all(std::slice::from_ref(head), embeddings.clone(), tape);
        (logits, embeddings)
    }

    fn all(&mut self, layers: &[NamedLayer], mut x: Activation, tape: &mut Tape) -> Activation {
        let mut at = 0;
        while let Some((_, layer)) = layers.get(at) {
            at += 1;
            x = match *layer {
                Layer::BatchNorm => {
                    let relu = matches!(layers.get(at), Some((_, Layer::Relu)));
                    at += usize::from(relu);
                    Activation::MapBatch(self.norm(x.maps(), relu, tape))
                }
                _ => self.layer(layer, x, tape),
            };
        }
        x
    }

    fn layer(&mut self, layer: &Layer, mut x: Activation, tape: &mut Tape) -> Activation {
        match *layer {
            Layer::Conv { out, kernel, stride, pad, groups: 1, bias } => {
                let conv = Conv { out, kernel, stride, pad };
                Activation::MapBatch(self.conv(conv, bias, x.maps(), tape))
            }
            Layer::Linear { .. } => Activation::VectorBatch(self.linear(x.rows(), tape)),
            Layer::Flatten => {
                let from = x.dims();
                keep(tape, || TapeOp::Flatten { from });
                x.shaped(Dims { c: from.c * from.pixels(), h: 1, w: 1, ..from })
            }
            Layer::Relu => {
                pool::relu(x.change());
                keep(tape, || TapeOp::Relu { y: x.clone() });
                x
            }
            Layer::MaxPool { kernel, stride, pad } => {
                let (pool, x) = (MaxPool { kernel, stride, pad }, x.maps());
                let y = pool.forward(&x);
                keep(tape, || TapeOp::Pool { pool, x, y: y.clone() });
                Activation::MapBatch(y)
            }
            Layer::GlobalAvgPool => {
                let x = x.maps();
                keep(tape, || TapeOp::Average { from: x.dims });
                Activation::MapBatch(pool::average(&x))
            }
            Layer::Residual { ref main, ref shortcut } => {
                let new = || tape.as_ref().map(|_| vec![]);
                let (mut there, mut around) = (new(), new());
                let mut y = self.all(main, x.clone(), &mut there);
                y.add(self.all(shortcut, x, &mut around));
                keep(tape, || TapeOp::Residual {
                    main: there.unwrap_or_default(),
                    shortcut: around.unwrap_or_default(),
                });
                y
            }
            _ => unreachable!("`takes` was asked"),
        }
    }

    fn linear(&mut self, x: VectorBatch, tape: &mut Tape) -> VectorBatch {
        let (weight, bias) = (self.param(), self.param());
        let params = &self.weights.params;
        let y = linear::forward(&x, &params[weight], &params[bias]);
        keep(tape, || TapeOp::Linear { input: x, weight });
        y
    }

    fn conv(&mut self, conv: Conv, bias: bool, x: MapBatch, tape: &mut Tape) -> MapBatch {
        let weight = self.param();
        let bias = bias.then(|| self.param());
        let params = &self.weights.params;
        let y = conv.forward(&x, &params[weight], bias.map(|bias| &params[bias][..]));
        keep(tape, || TapeOp::Conv { conv, input: x, weight, bias });
        y
    }

    fn norm(&mut self, x: MapBatch, relu: bool, tape: &mut Tape) -> MapBatch {
        let (scale, shift) = (self.param(), self.param());
        let (mean, variance) = (self.stats, self.stats + 1);
        self.stats += 2;
        let Weights { params, stats, .. } = self.weights;
        let statistics = match self.mode {
            Mode::Train => norm::statistics(&x, forward::EPSILON),
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
            let unbiased = forward::MOMENTUM * count / (count - 1.0).max(1.0);
            let toward = |old: &[f32], new: &[f32], weight: f64| {
                let step = |(old, new): (&f32, &f32)| {
                    old * (1.0 - forward::MOMENTUM) as f32 + new * weight as f32
                };
                old.iter().zip(new).map(step).collect()
            };
            self.updated.push(toward(&stats[mean], &statistics.mean, forward::MOMENTUM));
            self.updated.push(toward(&stats[variance], &statistics.variance, unbiased));
        }
        keep(tape, || {
            let relu = relu.then(|| y.clone());
            match self.mode {
                Mode::Train => TapeOp::Norm { x, statistics, scale, relu },
                Mode::Eval => TapeOp::Affine { scales, relu },
            }
        });
        y
    }

    fn param(&mut self) -> usize {
        self.params += 1;
        self.params - 1
    }
}

fn inverses(variance: &[f32]) -> Vec<f32> {
    let inverse = |v: &f32| (1.0 / (f64::from(*v) + forward::EPSILON).sqrt()) as f32;
    variance.iter().map(inverse).collect()
}

fn keep(tape: &mut Tape, done: impl FnOnce() -> TapeOp) {
    if let Some(tape) = tape {
        tape.push(done());
    }
}
