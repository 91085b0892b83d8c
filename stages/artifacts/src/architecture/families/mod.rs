//! The architectures, one family a file. Each is a function to a list of named layers.

mod alexnet;
mod inception;
mod lenet;
mod mlp;
mod mobilenet;
mod resnet;
mod vgg;
mod wideresnet;

use super::layer::{Layer, NamedLayer, Shape};
use crate::units::Count;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An architecture. Images of 112 pixels or more get its form for ImageNet, smaller ones the form
/// for CIFAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Softmax regression: a single linear layer.
    Linear,
    /// Two hidden layers of `width` (128) units with ReLU. Takes images and features.
    Mlp,
    /// LeNet-5 with ReLU and max pooling. Images of 12 pixels or more.
    Lenet,
    /// AlexNet (Krizhevsky, 2014).
    Alexnet,
    /// ResNet-18 (He et al., 2016): for small images a 3x3 stem without pooling. `width` 64.
    Resnet18,
    /// ResNet-34. `width` 64.
    Resnet34,
    /// ResNet-50, with bottlenecks. `width` 64.
    Resnet50,
    /// ResNet-101. `width` 64.
    Resnet101,
    /// ResNet-152. `width` 64.
    Resnet152,
    /// WideResNet-16-8 (Zagoruyko and Komodakis, 2016). `width` is the widening factor, 8.
    Wideresnet16,
    /// WideResNet-28-10. `width` is the widening factor, 10.
    Wideresnet28,
    /// Inception-v3 without its auxiliary head (Szegedy et al., 2016).
    InceptionV3,
    /// MobileNetV3-Small (Howard et al., 2019).
    MobilenetV3Small,
    /// MobileNetV3-Large.
    MobilenetV3Large,
    /// VGG-11 with batch normalisation for images of 32 pixels or more. `width` 64.
    Vgg11,
    /// VGG-13 with batch normalisation. `width` 64.
    Vgg13,
    /// VGG-16 with batch normalisation (Simonyan and Zisserman, 2015). `width` 64.
    Vgg16,
    /// VGG-19 with batch normalisation. `width` 64.
    Vgg19,
}

impl Family {
    /// Returns the width used where none is set; `None` if the family has no width.
    pub fn width(self) -> Option<Count> {
        let width = match self {
            Self::Linear | Self::Lenet | Self::Alexnet | Self::InceptionV3 => return None,
            Self::MobilenetV3Small | Self::MobilenetV3Large => return None,
            Self::Mlp => 128,
            Self::Resnet18 | Self::Resnet34 | Self::Resnet50 => 64,
            Self::Resnet101 | Self::Resnet152 => 64,
            Self::Wideresnet16 => 8,
            Self::Wideresnet28 => 10,
            Self::Vgg11 | Self::Vgg13 | Self::Vgg16 | Self::Vgg19 => 64,
        };
        Count::try_from(width).ok()
    }

    /// Returns what torchvision calls the tensor `name` of its model of this family.
    pub(super) fn torchvision(self, name: &str) -> String {
        match self {
            Self::Resnet18
            | Self::Resnet34
            | Self::Resnet50
            | Self::Resnet101
            | Self::Resnet152 => resnet::torchvision(name),
            _ => name.to_owned(),
        }
    }

    /// Returns the layers for samples of `shape`. The last is the linear head.
    pub(super) fn layers(self, shape: Shape, classes: usize, width: usize) -> Vec<NamedLayer> {
        match self {
            Self::Linear => {
                vec![named("flatten", Layer::Flatten), named("linear", linear(classes))]
            }
            Self::Mlp => mlp::layers(classes, width),
            Self::Lenet => lenet::layers(shape, classes),
            Self::Alexnet => alexnet::layers(shape, classes),
            Self::Resnet18 => resnet::basic(shape, [2, 2, 2, 2], classes, width),
            Self::Resnet34 => resnet::basic(shape, [3, 4, 6, 3], classes, width),
            Self::Resnet50 => resnet::bottleneck(shape, [3, 4, 6, 3], classes, width),
            Self::Resnet101 => resnet::bottleneck(shape, [3, 4, 23, 3], classes, width),
            Self::Resnet152 => resnet::bottleneck(shape, [3, 8, 36, 3], classes, width),
            Self::Wideresnet16 => wideresnet::layers(16, classes, width),
            Self::Wideresnet28 => wideresnet::layers(28, classes, width),
            Self::InceptionV3 => inception::layers(shape, classes),
            Self::MobilenetV3Small => mobilenet::small(shape, classes),
            Self::MobilenetV3Large => mobilenet::large(shape, classes),
            Self::Vgg11 => vgg::layers(shape, [1, 1, 2, 2, 2], classes, width),
            Self::Vgg13 => vgg::layers(shape, [2, 2, 2, 2, 2], classes, width),
            Self::Vgg16 => vgg::layers(shape, [2, 2, 3, 3, 3], classes, width),
            Self::Vgg19 => vgg::layers(shape, [2, 2, 4, 4, 4], classes, width),
        }
    }
}

/// From how many pixels a side on an image gets the networks made for ImageNet.
const IMAGENET_SIDE: usize = 112;

/// Returns how many pixels the shorter side has; a flat vector has none.
fn side(shape: Shape) -> usize {
    match shape {
        Shape::Map([_, h, w]) => h.min(w),
        Shape::Flat(_) => 0,
    }
}

fn named(name: impl Into<String>, layer: Layer) -> NamedLayer {
    (name.into(), layer)
}

fn linear(out: usize) -> Layer {
    Layer::Linear { out }
}

/// A convolution that keeps the size at stride 1, without bias: batch normalisation has its own.
fn conv(out: usize, kernel: usize, stride: usize) -> Layer {
    Layer::Conv { out, kernel, stride, pad: kernel / 2, groups: 1, bias: false }
}
