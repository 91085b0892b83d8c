//! VGG (Simonyan and Zisserman, 2015) for small images: batch normalisation after each
//! convolution, five poolings, and a single linear layer instead of three.

use super::{Layer, Named, linear, named};

pub(super) fn layers(blocks: [usize; 5], classes: usize, width: usize) -> Vec<Named> {
    let mut layers: Vec<Named> = vec![];
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
    layers.push(named("avgpool", Layer::GlobalAvgPool));
    layers.push(named("classifier", linear(classes)));
    layers
}
