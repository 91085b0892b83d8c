//! AlexNet. For ImageNet's sizes the one-column network (Krizhevsky, 2014) as torchvision has it; for
//! small images DeepCore's: five convolutions with three poolings, and a single linear layer.

use super::{IMAGENET_SIDE, Layer, NamedLayer, Shape, linear, named, side};

pub(super) fn layers(shape: Shape, classes: usize) -> Vec<NamedLayer> {
    if side(shape) >= IMAGENET_SIDE { imagenet(classes) } else { small(shape, classes) }
}

fn conv(out: usize, kernel: usize, stride: usize, pad: usize) -> Layer {
    Layer::Conv { out, kernel, stride, pad, groups: 1, bias: true }
}

fn numbered(layers: Vec<Layer>) -> Vec<NamedLayer> {
    let name = |(at, layer)| (format!("features.{at}"), layer);
    layers.into_iter().enumerate().map(name).collect()
}

fn imagenet(classes: usize) -> Vec<NamedLayer> {
    let pool = Layer::MaxPool { kernel: 3, stride: 2, pad: 0 };
    let mut layers = numbered(vec![
        conv(64, 11, 4, 2),
        Layer::Relu,
        pool.clone(),
        conv(192, 5, 1, 2),
        Layer::Relu,
        pool.clone(),
        conv(384, 3, 1, 1),
        Layer::Relu,
        conv(256, 3, 1, 1),
        Layer::Relu,
        conv(256, 3, 1, 1),
        Layer::Relu,
        pool,
    ]);
    layers.extend([
        named("flatten", Layer::Flatten),
        named("classifier.0", Layer::Dropout { percent: 50 }),
        named("classifier.1", linear(4096)),
        named("classifier.2", Layer::Relu),
        named("classifier.3", Layer::Dropout { percent: 50 }),
        named("classifier.4", linear(4096)),
        named("classifier.5", Layer::Relu),
        named("classifier.6", linear(classes)),
    ]);
    layers
}

fn small(shape: Shape, classes: usize) -> Vec<NamedLayer> {
    // MNIST's 28 pixels are padded so that what is left after three poolings is 4x4, as for 32.
    let pad = if side(shape) < 32 { 4 } else { 2 };
    let pool = Layer::MaxPool { kernel: 2, stride: 2, pad: 0 };
    let mut layers = numbered(vec![
        conv(128, 5, 1, pad),
        Layer::Relu,
        pool.clone(),
        conv(192, 5, 1, 2),
        Layer::Relu,
        pool.clone(),
        conv(256, 3, 1, 1),
        Layer::Relu,
        conv(192, 3, 1, 1),
        Layer::Relu,
        conv(192, 3, 1, 1),
        Layer::Relu,
        pool,
    ]);
    layers.extend([named("flatten", Layer::Flatten), named("fc", linear(classes))]);
    layers
}
