//! VGG (Simonyan and Zisserman, 2015) with batch normalisation after each convolution and five
//! poolings. For ImageNet's sizes three linear layers as published, for small images a single one.

use super::{IMAGENET_SIDE, Layer, NamedLayer, Shape, linear, named, side};

pub(super) fn layers(
    shape: Shape,
    blocks: [usize; 5],
    classes: usize,
    width: usize,
) -> Vec<NamedLayer> {
    let mut layers: Vec<NamedLayer> = vec![];
    // The names count modules of one sequence, as PyTorch does.
    let mut add = |layer| layers.push((format!("features.{}", layers.len()), layer));
    for (stage, count) in blocks.into_iter().enumerate() {
        let out = width << stage.min(3);
        for _ in 0..count {
            // The bias has no effect under the normalisation; published VGGs have it all the same.
            add(Layer::Conv { out, kernel: 3, stride: 1, pad: 1, groups: 1, bias: true });
            add(Layer::BatchNorm);
            add(Layer::Relu);
        }
        add(Layer::MaxPool { kernel: 2, stride: 2, pad: 0 });
    }
    if side(shape) >= IMAGENET_SIDE {
        layers.extend([
            named("flatten", Layer::Flatten),
            named("classifier.0", linear(64 * width)),
            named("classifier.1", Layer::Relu),
            named("classifier.2", Layer::Dropout { percent: 50 }),
            named("classifier.3", linear(64 * width)),
            named("classifier.4", Layer::Relu),
            named("classifier.5", Layer::Dropout { percent: 50 }),
            named("classifier.6", linear(classes)),
        ]);
        return layers;
    }
    layers.push(named("avgpool", Layer::GlobalAvgPool));
    layers.push(named("classifier", linear(classes)));
    layers
}
