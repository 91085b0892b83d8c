//! Residual networks (He et al., 2016): 1x1 convolutions with batch normalisation as shortcuts where
//! the shape changes. For small images a 3x3 stem at stride 1 and no pooling after it, with
//! DeepCore's names; for ImageNet's sizes a 7x7 stem at stride 2 and a pooling, with torchvision's.

use super::{IMAGENET_SIDE, Layer, NamedLayer, Shape, conv, linear, named, side};

/// Two 3x3 convolutions a block: ResNet-18 and -34.
pub(super) fn basic(
    shape: Shape,
    blocks: [usize; 4],
    classes: usize,
    width: usize,
) -> Vec<NamedLayer> {
    stack(shape, blocks, classes, width, 1, |width, stride| {
        vec![
            named("conv1", conv(width, 3, stride)),
            named("bn1", Layer::BatchNorm),
            named("relu1", Layer::Relu),
            named("conv2", conv(width, 3, 1)),
            named("bn2", Layer::BatchNorm),
        ]
    })
}

/// A 3x3 convolution between two 1x1, the second four times as wide: ResNet-50 and deeper.
pub(super) fn bottleneck(
    shape: Shape,
    blocks: [usize; 4],
    classes: usize,
    width: usize,
) -> Vec<NamedLayer> {
    stack(shape, blocks, classes, width, 4, |width, stride| {
        vec![
            named("conv1", conv(width, 1, 1)),
            named("bn1", Layer::BatchNorm),
            named("relu1", Layer::Relu),
            named("conv2", conv(width, 3, stride)),
            named("bn2", Layer::BatchNorm),
            named("relu2", Layer::Relu),
            named("conv3", conv(4 * width, 1, 1)),
            named("bn3", Layer::BatchNorm),
        ]
    })
}

/// Returns torchvision's name of a tensor.
pub(super) fn torchvision(name: &str) -> String {
    match name.strip_prefix("linear.") {
        Some(part) => format!("fc.{part}"),
        None => name.replace(".shortcut.", ".downsample."),
    }
}

fn stack(
    shape: Shape,
    blocks: [usize; 4],
    classes: usize,
    width: usize,
    expansion: usize,
    main: impl Fn(usize, usize) -> Vec<NamedLayer>,
) -> Vec<NamedLayer> {
    let imagenet = side(shape) >= IMAGENET_SIDE;
    let (shortcut, head) = if imagenet { ("downsample", "fc") } else { ("shortcut", "linear") };
    let mut layers = vec![
        named("conv1", if imagenet { conv(width, 7, 2) } else { conv(width, 3, 1) }),
        named("bn1", Layer::BatchNorm),
        named("relu", Layer::Relu),
    ];
    if imagenet {
        layers.push(named("maxpool", Layer::MaxPool { kernel: 3, stride: 2, pad: 1 }));
    }
    let mut channels = width;
    for (stage, count) in blocks.into_iter().enumerate() {
        let inner = width << stage;
        for block in 0..count {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let out = inner * expansion;
            let around = if stride != 1 || channels != out {
                vec![
                    named(format!("{shortcut}.0"), conv(out, 1, stride)),
                    named(format!("{shortcut}.1"), Layer::BatchNorm),
                ]
            } else {
                vec![]
            };
            let name = format!("layer{}.{block}", stage + 1);
            let main = main(inner, stride);
            layers.push(named(name.clone(), Layer::Residual { main, shortcut: around }));
            layers.push(named(format!("{name}.relu"), Layer::Relu));
            channels = out;
        }
    }
    layers.push(named("avgpool", Layer::GlobalAvgPool));
    layers.push(named(head, linear(classes)));
    layers
}
