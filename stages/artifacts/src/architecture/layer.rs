//! Layers as data: what they are made of, what shape they give, how they start.
//!
//! A network is a list of named layers. The names are those of the PyTorch module it follows, so
//! that its weights load there. What a layer computes is not here.

use crate::draw;
use rand::Rng;
use thiserror::Error;

/// A layer and the name of its module.
pub type NamedLayer = (String, Layer);

/// One layer. How many channels or features come in follows from the layer before.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// A square 2D convolution.
    Conv {
        /// How many channels come out.
        out: usize,
        /// The side of the kernel.
        kernel: usize,
        /// How far apart two windows are.
        stride: usize,
        /// How many zeros are put around the image.
        pad: usize,
        /// Into how many groups the channels are divided that do not see each other.
        groups: usize,
        /// Whether there is a bias.
        bias: bool,
    },
    /// A convolution of `height` x `width`, both odd, that keeps the size; without bias.
    Strip {
        /// How many channels come out.
        out: usize,
        /// The height of the kernel.
        height: usize,
        /// The width of the kernel.
        width: usize,
    },
    /// 2D batch normalisation (Ioffe and Szegedy, 2015), PyTorch's momentum 0.1 and epsilon 1e-5.
    BatchNorm,
    /// max(x, 0).
    Relu,
    /// x times [`Self::HardSigmoid`] (Howard et al., 2019).
    HardSwish,
    /// (x + 3) / 6, but at least 0 and at most 1.
    HardSigmoid,
    /// In training, some features are 0 and the others scaled up to make up for it (Srivastava et al.,
    /// 2014). Flat vectors.
    Dropout {
        /// How many of a hundred features are 0.
        percent: u8,
    },
    /// The largest of each square window.
    MaxPool {
        /// The side of the window.
        kernel: usize,
        /// How far apart two windows are.
        stride: usize,
        /// How many rows and columns are put around the image.
        pad: usize,
    },
    /// The mean of each square window; padding counts as 0.
    AvgPool {
        /// The side of the window.
        kernel: usize,
        /// How far apart two windows are.
        stride: usize,
        /// How many zeros are put around the image.
        pad: usize,
    },
    /// The mean of each channel, as a map of one pixel.
    Squeeze,
    /// The mean of each channel; flat after it.
    GlobalAvgPool,
    /// From maps to a flat vector.
    Flatten,
    /// y = x W^T + b. The last one of a network is its head.
    Linear {
        /// How many features come out.
        out: usize,
    },
    /// A residual block: `main` plus its input taken through `shortcut`.
    Residual {
        /// The layers of the block.
        main: Vec<NamedLayer>,
        /// The layers of the shortcut; none is the identity.
        shortcut: Vec<NamedLayer>,
    },
    /// A squeeze-and-excitation gate: its input, each channel times what `gate` makes of it.
    Gate {
        /// The layers that end in one pixel a channel.
        gate: Vec<NamedLayer>,
    },
    /// Parallel branches, whose outputs are concatenated along the channels.
    Branches {
        /// The layers of each branch.
        branches: Vec<Vec<NamedLayer>>,
    },
}

/// The shape of one sample between two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// So many features.
    Flat(usize),
    /// Channels, height, width.
    Map([usize; 3]),
}

/// What a tensor of a network is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Multiplies; drawn within the bound of its fan-in.
    Weight {
        /// How many inputs an output adds up.
        fan_in: usize,
    },
    /// Adds; drawn within the bound of its layer's fan-in.
    Bias {
        /// How many inputs an output adds up.
        fan_in: usize,
    },
    /// Batch normalisation's weight: starts at 1.
    Scale,
    /// Batch normalisation's bias: starts at 0.
    Shift,
    /// Batch normalisation's running mean: starts at 0 and is not trained.
    Mean,
    /// Batch normalisation's running variance: starts at 1 and is not trained.
    Variance,
}

/// A tensor of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its name in PyTorch's state dict, such as `layer1.0.bn1.weight`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// How it starts, and whether it is trained.
    pub role: Role,
}

impl Spec {
    /// Returns how many numbers it has.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no tensor of a network is empty")]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it is trained, and no running statistic.
    #[must_use]
    pub fn trained(&self) -> bool {
        !matches!(self.role, Role::Mean | Role::Variance)
    }

    /// Returns its first values: PyTorch's defaults, Kaiming-uniform with a = sqrt 5, which is the
    /// bound 1 / sqrt(fan-in), for weights and biases alike.
    pub fn start(&self, rng: &mut impl Rng) -> Vec<f32> {
        match self.role {
            Role::Weight { fan_in } | Role::Bias { fan_in } => {
                let bound = 1.0 / (fan_in as f64).sqrt();
                (0..self.len()).map(|_| draw::uniform(rng, bound)).collect()
            }
            Role::Scale | Role::Variance => vec![1.0; self.len()],
            Role::Shift | Role::Mean => vec![0.0; self.len()],
        }
    }
}

/// Why a network does not take samples of a shape.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LayerError {
    /// A sample is neither a vector nor an image.
    #[error("a sample of shape {0:?} is neither image nor vector")]
    Sample(Vec<usize>),
    /// An image comes to a layer of vectors.
    #[error("`{layer}` takes a flat vector, not images")]
    NotFlat {
        /// The name of the layer.
        layer: String,
    },
    /// A vector comes to a layer of images.
    #[error("`{layer}` takes images, not a flat vector")]
    NotAMap {
        /// The name of the layer.
        layer: String,
    },
    /// The kernel is larger than the image.
    #[error("{side} pixels are too few for the {kernel}x{kernel} of `{layer}`")]
    TooSmall {
        /// The name of the layer.
        layer: String,
        /// The side of the image.
        side: usize,
        /// The side of the kernel.
        kernel: usize,
    },
    /// A block and the path around it give different shapes.
    #[error("`{layer}` adds {main:?} to {shortcut:?}")]
    Sum {
        /// The name of the block.
        layer: String,
        /// What the block gives.
        main: Shape,
        /// What the path around it gives.
        shortcut: Shape,
    },
    /// A gate does not give one factor a channel.
    #[error("`{layer}` scales {channels} channels by {gate:?}")]
    Gate {
        /// The name of the layer.
        layer: String,
        /// How many channels there are.
        channels: usize,
        /// What the gate gives.
        gate: Shape,
    },
    /// Branches give images of different sizes.
    #[error("`{layer}` joins {height}x{width} pixels to {before:?}")]
    Join {
        /// The name of the layer.
        layer: String,
        /// The height of the branch.
        height: usize,
        /// The width of the branch.
        width: usize,
        /// Channels, height, width of the branches before.
        before: [usize; 3],
    },
    /// A layer of branches has none.
    #[error("`{layer}` has no branch")]
    NoBranch {
        /// The name of the layer.
        layer: String,
    },
}

/// Returns the shape after `layers`, and adds their tensors to `specs`.
///
/// # Errors
///
/// Says which layer does not fit what comes in.
pub fn trace(
    layers: &[NamedLayer],
    prefix: &str,
    mut shape: Shape,
    specs: &mut Vec<Spec>,
) -> Result<Shape, LayerError> {
    for (name, layer) in layers {
        let path = match (prefix, name.as_str()) {
            ("", name) => name.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, name) => format!("{prefix}.{name}"),
        };
        shape = step(layer, &path, shape, specs)?;
    }
    Ok(shape)
}

fn step(
    layer: &Layer,
    path: &str,
    shape: Shape,
    specs: &mut Vec<Spec>,
) -> Result<Shape, LayerError> {
    let name = || path.to_owned();
    let mut add = |part: &str, shape: Vec<usize>, role: Role| {
        specs.push(Spec { name: format!("{path}.{part}"), shape, role });
    };
    match *layer {
        Layer::Relu | Layer::HardSwish | Layer::HardSigmoid => Ok(shape),
        Layer::Dropout { .. } => match shape {
            Shape::Flat(_) => Ok(shape),
            Shape::Map(_) => Err(LayerError::NotFlat { layer: name() }),
        },
        Layer::Squeeze => Ok(Shape::Map([map(shape, path)?[0], 1, 1])),
        Layer::Flatten => Ok(Shape::Flat(match shape {
            Shape::Flat(d) => d,
            Shape::Map([c, h, w]) => c * h * w,
        })),
        Layer::Linear { out } => {
            let Shape::Flat(fan_in) = shape else {
                return Err(LayerError::NotFlat { layer: name() });
            };
            add("weight", vec![out, fan_in], Role::Weight { fan_in });
            add("bias", vec![out], Role::Bias { fan_in });
            Ok(Shape::Flat(out))
        }
        Layer::GlobalAvgPool => Ok(Shape::Flat(map(shape, path)?[0])),
        Layer::Conv { out, kernel, stride, pad, groups, bias } => {
            let [channels, h, w] = map(shape, path)?;
            let inner = channels / groups;
            let fan_in = inner * kernel * kernel;
            add("weight", vec![out, inner, kernel, kernel], Role::Weight { fan_in });
            if bias {
                add("bias", vec![out], Role::Bias { fan_in });
            }
            let side = |side| window(side, kernel, stride, pad, path);
            Ok(Shape::Map([out, side(h)?, side(w)?]))
        }
        Layer::Strip { out, height, width } => {
            let [channels, h, w] = map(shape, path)?;
            let fan_in = channels * height * width;
            add("weight", vec![out, channels, height, width], Role::Weight { fan_in });
            Ok(Shape::Map([out, h, w]))
        }
        Layer::BatchNorm => {
            let [channels, h, w] = map(shape, path)?;
            add("weight", vec![channels], Role::Scale);
            add("bias", vec![channels], Role::Shift);
            add("running_mean", vec![channels], Role::Mean);
            add("running_var", vec![channels], Role::Variance);
            Ok(Shape::Map([channels, h, w]))
        }
        Layer::MaxPool { kernel, stride, pad } | Layer::AvgPool { kernel, stride, pad } => {
            let [channels, h, w] = map(shape, path)?;
            let side = |side| window(side, kernel, stride, pad, path);
            Ok(Shape::Map([channels, side(h)?, side(w)?]))
        }
        Layer::Residual { ref main, ref shortcut } => {
            let out = trace(main, path, shape, specs)?;
            let around = trace(shortcut, path, shape, specs)?;
            if out == around {
                Ok(out)
            } else {
                Err(LayerError::Sum { layer: name(), main: out, shortcut: around })
            }
        }
        Layer::Gate { ref gate } => {
            let [channels, _, _] = map(shape, path)?;
            match trace(gate, path, shape, specs)? {
                Shape::Map([gates, 1, 1]) if gates == channels => Ok(shape),
                other => Err(LayerError::Gate { layer: name(), channels, gate: other }),
            }
        }
        Layer::Branches { ref branches } => {
            let mut out: Option<[usize; 3]> = None;
            for branch in branches {
                let [channels, h, w] = map(trace(branch, path, shape, specs)?, path)?;
                out = match out {
                    None => Some([channels, h, w]),
                    Some([before, height, width]) if (height, width) == (h, w) => {
                        Some([before + channels, h, w])
                    }
                    Some(before) => {
                        let (layer, height, width) = (name(), h, w);
                        return Err(LayerError::Join { layer, height, width, before });
                    }
                };
            }
            out.map(Shape::Map).ok_or_else(|| LayerError::NoBranch { layer: name() })
        }
    }
}

fn map(shape: Shape, path: &str) -> Result<[usize; 3], LayerError> {
    match shape {
        Shape::Map(map) => Ok(map),
        Shape::Flat(_) => Err(LayerError::NotAMap { layer: path.to_owned() }),
    }
}

fn window(
    side: usize,
    kernel: usize,
    stride: usize,
    pad: usize,
    path: &str,
) -> Result<usize, LayerError> {
    match (side + 2 * pad).checked_sub(kernel) {
        Some(room) => Ok(room / stride + 1),
        None => Err(LayerError::TooSmall { layer: path.to_owned(), side, kernel }),
    }
}
