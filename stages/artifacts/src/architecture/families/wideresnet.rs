//! Wide residual networks (Zagoruyko and Komodakis, 2016): normalisation and ReLU come before each
//! convolution, and where the shape changes the shortcut starts behind the first of them.

use super::{Layer, NamedLayer, conv, linear, named};

/// A network of `depth` layers, `width` times as wide as a residual network of 16 channels.
pub(super) fn layers(depth: usize, classes: usize, width: usize) -> Vec<NamedLayer> {
    let mut layers = vec![named("conv1", conv(16, 3, 1))];
    let mut channels = 16;
    for group in 0..3 {
        let out = (16 << group) * width;
        for block in 0..(depth - 4) / 6 {
            let stride = if group > 0 && block == 0 { 2 } else { 1 };
            let name = format!("block{}.layer.{block}", group + 1);
            let before = vec![named("bn1", Layer::BatchNorm), named("relu1", Layer::Relu)];
            let mut main = vec![
                named("conv1", conv(out, 3, stride)),
                named("bn2", Layer::BatchNorm),
                named("relu2", Layer::Relu),
                named("conv2", conv(out, 3, 1)),
            ];
            let shortcut = if channels == out {
                main.splice(0..0, before);
                vec![]
            } else {
                let inside = |(part, layer): NamedLayer| (format!("{name}.{part}"), layer);
                layers.extend(before.into_iter().map(inside));
                vec![named("convShortcut", conv(out, 1, stride))]
            };
            layers.push(named(name, Layer::Residual { main, shortcut }));
            channels = out;
        }
    }
    layers.extend([
        named("bn1", Layer::BatchNorm),
        named("relu", Layer::Relu),
        named("avgpool", Layer::GlobalAvgPool),
        named("fc", linear(classes)),
    ]);
    layers
}
