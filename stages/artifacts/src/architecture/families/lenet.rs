//! LeNet-5 (LeCun et al., 1998) as DeepCore has it: ReLU, max pooling, dense second convolution.

use super::{Layer, NamedLayer, Shape, linear, named};

// Where MNIST's 28 pixels come in, they are padded to the 32 of the paper.
const PAPER_SIDE: usize = 32;

pub(super) fn layers(shape: Shape, classes: usize) -> Vec<NamedLayer> {
    let pad = match shape {
        Shape::Map([_, h, _]) if h < PAPER_SIDE => 2,
        _ => 0,
    };
    let conv = |out, pad| Layer::Conv { out, kernel: 5, stride: 1, pad, groups: 1, bias: true };
    let pool = Layer::MaxPool { kernel: 2, stride: 2, pad: 0 };
    vec![
        named("features.0", conv(6, pad)),
        named("features.1", Layer::Relu),
        named("features.2", pool.clone()),
        named("features.3", conv(16, 0)),
        named("features.4", Layer::Relu),
        named("features.5", pool),
        named("flatten", Layer::Flatten),
        named("fc_1", linear(120)),
        named("relu_1", Layer::Relu),
        named("fc_2", linear(84)),
        named("relu_2", Layer::Relu),
        named("fc_3", linear(classes)),
    ]
}
