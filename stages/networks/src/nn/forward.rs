//! The forward pass of a network in the tensor library, recorded for a backward pass where its
//! parameters require a gradient.

use super::{
    Tensor,
    accelerated::{ChannelOrder, conv_by_product, factors, on_accelerator, spread},
};
use artifacts::{
    architecture::{Layer, NamedLayer, Network, Spec},
    draw,
};
use burn::tensor::{
    DType, FloatDType, TensorData, activation, module,
    ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions},
};
use rand::Rng;

/// What goes in and out of a layer: a batch.
#[derive(Clone)]
pub(crate) enum Batch {
    /// \[n, d\].
    Flat(Tensor<2>),
    /// \[n, c, h, w\].
    Map(Tensor<4>),
}

/// Where batch normalisation takes its statistics from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// From the batch; the running ones are updated.
    Train,
    /// From the running ones.
    Eval,
}

/// What a forward pass returns.
pub(crate) struct ForwardOutput {
    /// \[n, classes\].
    pub(crate) logits: Tensor<2>,
    /// What goes into the head: \[n, embedding\].
    pub(crate) embeddings: Tensor<2>,
    /// The running statistics after it: those that went in, if the mode is `Eval`.
    pub(crate) stats: Vec<Tensor<1>>,
}

// PyTorch's `BatchNorm2d`.
pub(super) const EPSILON: f64 = 1e-5;
pub(super) const MOMENTUM: f64 = 0.1;

/// The forward passes of a network.
pub(crate) trait Forward {
    /// Runs `input` through the layers. `params` are the trained tensors and `stats` the running
    /// statistics, both flat and in the order of [`Network::specs`]. With `params` that require a
    /// gradient, the pass is recorded for a backward pass.
    fn forward(
        &self,
        params: &[Tensor<1>],
        stats: &[Tensor<1>],
        input: Batch,
        mode: Mode,
    ) -> ForwardOutput;

    /// Does what [`Self::forward`] does in training, and draws from `drops` what dropout leaves out; without
    /// it nothing is left out.
    fn forward_training(
        &self,
        params: &[Tensor<1>],
        stats: &[Tensor<1>],
        input: Batch,
        drops: Option<&mut dyn Rng>,
    ) -> ForwardOutput;
}

impl Forward for Network {
    fn forward(
        &self,
        params: &[Tensor<1>],
        stats: &[Tensor<1>],
        input: Batch,
        mode: Mode,
    ) -> ForwardOutput {
        let last = input.on_accelerator();
        pass(self, (params, stats), input, mode, last, None)
    }

    fn forward_training(
        &self,
        params: &[Tensor<1>],
        stats: &[Tensor<1>],
        input: Batch,
        drops: Option<&mut dyn Rng>,
    ) -> ForwardOutput {
        let last = input.on_accelerator();
        pass(self, (params, stats), input, Mode::Train, last, drops)
    }
}

/// Runs `input` through the layers, with channels `last` in maps or second.
pub(super) fn pass(
    network: &Network,
    (params, stats): (&[Tensor<1>], &[Tensor<1>]),
    input: Batch,
    mode: Mode,
    last: bool,
    drops: Option<&mut dyn Rng>,
) -> ForwardOutput {
    let (head, body) = network.layers().split_last().expect("every family ends in its head");
    let input = match input {
        Batch::Map(x) if last => Batch::Map(x.permute([0, 2, 3, 1])),
        input => input,
    };
    let mut run = ForwardPass {
        last,
        specs: network.specs().iter().filter(|spec| spec.trained()),
        params: params.iter(),
        stats: stats.iter(),
        updated: Vec::with_capacity(stats.len()),
        mode,
        drops,
    };
    let embeddings = run.all(body, input);
    let embeddings = run.flat(embeddings);
    let logits = run.layer(&head.1, Batch::Flat(embeddings.clone())).flat();
    ForwardOutput { logits, embeddings, stats: run.updated }
}

impl Batch {
    pub(super) fn flat(self) -> Tensor<2> {
        match self {
            Self::Flat(x) => x,
            Self::Map(x) => x.flatten(1, 3),
        }
    }

    fn on_accelerator(&self) -> bool {
        match self {
            Self::Flat(x) => on_accelerator(x),
            Self::Map(x) => on_accelerator(x),
        }
    }

    fn map(self) -> Tensor<4> {
        match self {
            Self::Map(x) => x,
            Self::Flat(_) => unreachable!("the shapes were checked when the network was made"),
        }
    }

    /// Whether operations on it are recorded.
    pub(super) fn is_recorded(&self) -> bool {
        match self {
            Self::Flat(x) => is_recorded(x),
            Self::Map(x) => is_recorded(x),
        }
    }

    /// Returns the same batch in bf16.
    pub(super) fn half(self) -> Self {
        match self {
            Self::Flat(x) => Self::Flat(x.cast(FloatDType::BF16)),
            Self::Map(x) => Self::Map(x.cast(FloatDType::BF16)),
        }
    }

    /// Returns the same batch as a constant of a recorded pass.
    pub(crate) fn recorded(self) -> Self {
        match self {
            Self::Flat(x) => Self::Flat(Tensor::from_inner(x)),
            Self::Map(x) => Self::Map(Tensor::from_inner(x)),
        }
    }
}

/// A forward pass on its way: each layer takes its tensors off the front.
struct ForwardPass<'a, 'd, S> {
    specs: S,
    params: std::slice::Iter<'a, Tensor<1>>,
    stats: std::slice::Iter<'a, Tensor<1>>,
    updated: Vec<Tensor<1>>,
    mode: Mode,
    /// Whether this is an accelerator, and maps are \[n, h, w, c\] between layers; else \[n, c, h, w\].
    last: bool,
    /// Where dropout draws from; without it nothing is dropped.
    drops: Option<&'d mut dyn Rng>,
}

impl<'a, S: Iterator<Item = &'a Spec>> ForwardPass<'a, '_, S> {
    fn all(&mut self, layers: &[NamedLayer], input: Batch) -> Batch {
        layers.iter().fold(input, |x, (_, layer)| self.layer(layer, x))
    }

    /// Returns `x` with one row a sample, its channels one after the other.
    fn flat(&self, x: Batch) -> Tensor<2> {
        match x {
            Batch::Map(x) if self.last => x.permute([0, 3, 1, 2]).flatten(1, 3),
            x => x.flat(),
        }
    }

    /// Does what the tensor library does to maps whose channels come second.
    fn channels_second(&self, x: Batch, work: impl FnOnce(Tensor<4>) -> Tensor<4>) -> Batch {
        let x = x.map();
        Batch::Map(match self.last {
            true => work(x.permute([0, 3, 1, 2])).permute([0, 2, 3, 1]),
            false => work(x),
        })
    }

    fn layer(&mut self, layer: &Layer, x: Batch) -> Batch {
        match *layer {
            Layer::Conv { stride, pad, groups, bias, .. } => {
                let weight = self.param::<4>();
                let bias = bias.then(|| self.param::<1>());
                if groups == 1 && self.last {
                    return Batch::Map(conv_by_product(x.map(), weight, bias, stride, [pad; 2]));
                }
                let options = ConvOptions::new([stride; 2], [pad; 2], [1; 2], groups);
                self.channels_second(x, |x| module::conv2d(x, weight, bias, options))
            }
            Layer::BatchNorm => Batch::Map(self.batch_norm(x.map())),
            Layer::Relu => match x {
                Batch::Flat(x) => Batch::Flat(activation::relu(x)),
                Batch::Map(x) => Batch::Map(activation::relu(x)),
            },
            Layer::Strip { height, width, .. } => {
                let (weight, pad) = (self.param::<4>(), [height / 2, width / 2]);
                if self.last {
                    return Batch::Map(conv_by_product(x.map(), weight, None, 1, pad));
                }
                let options = ConvOptions::new([1; 2], pad, [1; 2], 1);
                Batch::Map(module::conv2d(x.map(), weight, None, options))
            }
            Layer::HardSigmoid => match x {
                Batch::Flat(x) => Batch::Flat(hard_sigmoid(x)),
                Batch::Map(x) => Batch::Map(hard_sigmoid(x)),
            },
            Layer::HardSwish => match x {
                Batch::Flat(x) => Batch::Flat(x.clone() * hard_sigmoid(x)),
                Batch::Map(x) => Batch::Map(x.clone() * hard_sigmoid(x)),
            },
            Layer::Dropout { percent } => {
                let x = self.flat(x);
                Batch::Flat(self.dropout(x, percent))
            }
            Layer::AvgPool { kernel, stride, pad } => {
                let options = AvgPoolOptions::new([kernel; 2]);
                let options = options.with_stride([stride; 2]).with_padding([pad; 2]);
                self.channels_second(x, |x| module::avg_pool2d(x, options))
            }
            Layer::MaxPool { kernel, stride, pad } => {
                let options = MaxPoolOptions::new([kernel; 2]);
                let options = options.with_stride([stride; 2]).with_padding([pad; 2]);
                self.channels_second(x, |x| module::max_pool2d(x, options))
            }
            Layer::Squeeze => {
                let x = x.map();
                let means = ChannelOrder::of(&x, self.last).means(x);
                let [n, c] = means.dims();
                Batch::Map(means.reshape(if self.last { [n, 1, 1, c] } else { [n, c, 1, 1] }))
            }
            Layer::Gate { ref gate } => {
                let gates = self.all(gate, x.clone()).map();
                let x = x.map();
                let order = ChannelOrder::of(&x, self.last);
                Batch::Map(order.gated(x, gates))
            }
            Layer::Branches { ref branches } => {
                let parts = branches.iter().map(|branch| self.all(branch, x.clone()).map());
                Batch::Map(Tensor::cat(parts.collect(), if self.last { 3 } else { 1 }))
            }
            Layer::GlobalAvgPool => {
                let x = x.map();
                Batch::Flat(ChannelOrder::of(&x, self.last).means(x))
            }
            Layer::Flatten => Batch::Flat(self.flat(x)),
            Layer::Linear { .. } => {
                let weight = self.param::<2>();
                let bias = self.param::<1>();
                let y = self.flat(x).matmul(weight.transpose());
                if !self.last {
                    return Batch::Flat(y + bias.unsqueeze());
                }
                let [n, out] = y.dims();
                let [some, others] = factors(n);
                let bias = spread(bias, [some, others, out]).reshape([n, out]);
                Batch::Flat(y + bias)
            }
            Layer::Residual { ref main, ref shortcut } => {
                let around = x.clone();
                let out = self.all(main, x).map();
                Batch::Map(out + self.all(shortcut, around).map())
            }
        }
    }

    fn dropout(&mut self, x: Tensor<2>, percent: u8) -> Tensor<2> {
        let Some(mut rng) = self.drops.as_deref_mut() else { return x };
        let kept = 100.0 / (100.0 - f32::from(percent));
        let [n, d] = x.dims();
        let mut drawn = || u32::from(percent) <= draw::below(&mut rng, 100);
        let mask: Vec<f32> = (0..n * d).map(|_| if drawn() { kept } else { 0.0 }).collect();
        let place = if is_recorded(&x) { x.clone().inner().device() } else { x.device() };
        let mask = Tensor::<2>::from_data(TensorData::new(mask, [n, d]), &place).cast(x.dtype());
        x.clone() * if is_recorded(&x) { Tensor::from_inner(mask) } else { mask }
    }

    /// Returns the next trained tensor in its own shape.
    fn param<const D: usize>(&mut self) -> Tensor<D> {
        let spec = self.specs.next().expect("there is a spec for every tensor");
        let flat = self.params.next().expect("there is a value for every spec").clone();
        let shape: [usize; D] = spec.shape.clone().try_into().expect("the layer knows its rank");
        flat.reshape(shape)
    }

    fn batch_norm(&mut self, x: Tensor<4>) -> Tensor<4> {
        let scale = self.param::<1>();
        let shift = self.param::<1>();
        let mean = self.stats.next().expect("there is a running mean").clone();
        let variance = self.stats.next().expect("there is a running variance").clone();
        // Sums over a batch and the statistics are in f32, whatever goes in.
        let (x, half) = (floats(x.clone()), x.dtype() != DType::F32);
        let back = |y: Tensor<4>| if half { y.cast(FloatDType::BF16) } else { y };
        let order = ChannelOrder::of(&x, self.last);
        if self.mode == Mode::Eval {
            // One multiplication and one addition an element.
            let scale = scale / (like(&variance, &x) + EPSILON).sqrt();
            let shift = shift - like(&mean, &x) * scale.clone();
            self.updated.extend([mean, variance]);
            return back(order.scaled(x, scale, shift));
        }
        let (y, [batch_mean, batch_variance]) = order.normalised(x, EPSILON, (scale, shift));
        let toward = |old: Tensor<1>, new: Tensor<1>, weight: f64| {
            let new = if is_recorded(&new) { new.inner() } else { new };
            old.mul_scalar(1.0 - MOMENTUM) + new.mul_scalar(weight)
        };
        // The running variance is the unbiased one, the one normalised by is not.
        let count = order.count();
        let unbiased = MOMENTUM * count / (count - 1.0).max(1.0);
        self.updated.push(toward(mean, batch_mean, MOMENTUM));
        self.updated.push(toward(variance, batch_variance, unbiased));
        back(y)
    }
}

/// Returns `x` in f32.
pub(super) fn floats<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if x.dtype() == DType::F32 { x } else { x.cast(FloatDType::F32) }
}

fn hard_sigmoid<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.add_scalar(3.0).clamp(0.0, 6.0).div_scalar(6.0)
}

/// Whether `tensor` lives where operations are recorded.
fn is_recorded<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.device().is_autodiff()
}

/// Returns `tensor` as a constant where `other` lives.
fn like<const D: usize>(tensor: &Tensor<1>, other: &Tensor<D>) -> Tensor<1> {
    if is_recorded(other) { Tensor::from_inner(tensor.clone()) } else { tensor.clone() }
}
