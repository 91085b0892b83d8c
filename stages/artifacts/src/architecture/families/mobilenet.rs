//! MobileNetV3 (Howard et al., 2019), layer by layer as torchvision has it. For small images the first
//! convolution keeps the size. Its normalisation is the one of every network here, with an epsilon
//! of 1e-5 and a momentum of 0.1; torchvision's has 1e-3 and 0.01.

use super::{IMAGENET_SIDE, Layer, NamedLayer, Shape, conv, linear, named, side};

/// One block: kernel, expanded channels, channels out, squeeze and excitation, hard swish, stride.
type Block = (usize, usize, usize, bool, bool, usize);

const SMALL: [Block; 11] = [
    (3, 16, 16, true, false, 2),
    (3, 72, 24, false, false, 2),
    (3, 88, 24, false, false, 1),
    (5, 96, 40, true, true, 2),
    (5, 240, 40, true, true, 1),
    (5, 240, 40, true, true, 1),
    (5, 120, 48, true, true, 1),
    (5, 144, 48, true, true, 1),
    (5, 288, 96, true, true, 2),
    (5, 576, 96, true, true, 1),
    (5, 576, 96, true, true, 1),
];

const LARGE: [Block; 15] = [
    (3, 16, 16, false, false, 1),
    (3, 64, 24, false, false, 2),
    (3, 72, 24, false, false, 1),
    (5, 72, 40, true, false, 2),
    (5, 120, 40, true, false, 1),
    (5, 120, 40, true, false, 1),
    (3, 240, 80, false, true, 2),
    (3, 200, 80, false, true, 1),
    (3, 184, 80, false, true, 1),
    (3, 184, 80, false, true, 1),
    (3, 480, 112, true, true, 1),
    (3, 672, 112, true, true, 1),
    (5, 672, 160, true, true, 2),
    (5, 960, 160, true, true, 1),
    (5, 960, 160, true, true, 1),
];

pub(super) fn small(shape: Shape, classes: usize) -> Vec<NamedLayer> {
    stack(shape, classes, &SMALL, 1024)
}

pub(super) fn large(shape: Shape, classes: usize) -> Vec<NamedLayer> {
    stack(shape, classes, &LARGE, 1280)
}

fn stack(shape: Shape, classes: usize, blocks: &[Block], last: usize) -> Vec<NamedLayer> {
    let stem = if side(shape) >= IMAGENET_SIDE { 2 } else { 1 };
    let mut layers = unit("features.0", conv(16, 3, stem), Some(Layer::HardSwish));
    let mut channels = 16;
    for (at, block) in blocks.iter().enumerate() {
        let name = format!("features.{}", at + 1);
        let (out, stride) = (block.2, block.5);
        let main = bottleneck(channels, block);
        if stride == 1 && channels == out {
            layers.push(named(name, Layer::Residual { main, shortcut: vec![] }));
        } else {
            layers.extend(main.into_iter().map(|(part, layer)| (format!("{name}.{part}"), layer)));
        }
        channels = out;
    }
    let name = format!("features.{}", blocks.len() + 1);
    layers.extend(unit(&name, conv(6 * channels, 1, 1), Some(Layer::HardSwish)));
    layers.extend([
        named("avgpool", Layer::GlobalAvgPool),
        named("classifier.0", linear(last)),
        named("classifier.1", Layer::HardSwish),
        named("classifier.2", Layer::Dropout { percent: 20 }),
        named("classifier.3", linear(classes)),
    ]);
    layers
}

/// A convolution, its normalisation, and what comes after.
fn unit(name: &str, conv: Layer, activation: Option<Layer>) -> Vec<NamedLayer> {
    let mut layers = vec![(format!("{name}.0"), conv), (format!("{name}.1"), Layer::BatchNorm)];
    layers.extend(activation.map(|layer| (format!("{name}.2"), layer)));
    layers
}

fn bottleneck(
    channels: usize,
    &(kernel, expanded, out, excite, hard, stride): &Block,
) -> Vec<NamedLayer> {
    let activation = if hard { Layer::HardSwish } else { Layer::Relu };
    let mut layers = vec![];
    let mut at = 0;
    let mut next = || {
        at += 1;
        format!("block.{}", at - 1)
    };
    if expanded != channels {
        layers.extend(unit(&next(), conv(expanded, 1, 1), Some(activation.clone())));
    }
    let pad = kernel / 2;
    let depthwise =
        Layer::Conv { out: expanded, kernel, stride, pad, groups: expanded, bias: false };
    layers.extend(unit(&next(), depthwise, Some(activation)));
    if excite {
        let one = |out| Layer::Conv { out, kernel: 1, stride: 1, pad: 0, groups: 1, bias: true };
        let gate = vec![
            named("avgpool", Layer::Squeeze),
            named("fc1", one(divisible(expanded / 4))),
            named("activation", Layer::Relu),
            named("fc2", one(expanded)),
            named("scale_activation", Layer::HardSigmoid),
        ];
        layers.push((next(), Layer::Gate { gate }));
    }
    layers.extend(unit(&next(), conv(out, 1, 1), None));
    layers
}

/// The multiple of 8 nearest to `channels`, at least 8 and not below nine tenths of it.
fn divisible(channels: usize) -> usize {
    let rounded = ((channels + 4) / 8 * 8).max(8);
    if rounded * 10 < channels * 9 { rounded + 8 } else { rounded }
}
