//! The multilayer perceptron of DeepCore (Guo et al., 2022): two hidden layers with ReLU.

use super::{Layer, NamedLayer, linear, named};

pub(super) fn layers(classes: usize, width: usize) -> Vec<NamedLayer> {
    vec![
        named("flatten", Layer::Flatten),
        named("fc_1", linear(width)),
        named("relu_1", Layer::Relu),
        named("fc_2", linear(width)),
        named("relu_2", Layer::Relu),
        named("fc_3", linear(classes)),
    ]
}
