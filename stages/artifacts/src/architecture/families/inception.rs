//! Inception-v3 (Szegedy et al., 2016), layer by layer as torchvision has it, without the auxiliary
//! head. For small images the stem keeps the size, as in DeepCore. Its normalisation is the one of
//! every network here, with an epsilon of 1e-5; torchvision's has 1e-3.

use super::{IMAGENET_SIDE, Layer, NamedLayer, Shape, linear, named, side};

pub(super) fn layers(shape: Shape, classes: usize) -> Vec<NamedLayer> {
    let mut layers = if side(shape) >= IMAGENET_SIDE {
        let pool = || Layer::MaxPool { kernel: 3, stride: 2, pad: 0 };
        let mut stem = unit("Conv2d_1a_3x3", square(32, 3, 2, 0));
        stem.extend(unit("Conv2d_2a_3x3", square(32, 3, 1, 0)));
        stem.extend(unit("Conv2d_2b_3x3", square(64, 3, 1, 1)));
        stem.push(named("maxpool1", pool()));
        stem.extend(unit("Conv2d_3b_1x1", square(80, 1, 1, 0)));
        stem.extend(unit("Conv2d_4a_3x3", square(192, 3, 1, 0)));
        stem.push(named("maxpool2", pool()));
        stem
    } else {
        let mut stem = unit("Conv2d_1a_3x3", square(32, 3, 1, 1));
        stem.extend(unit("Conv2d_2a_3x3", square(32, 3, 1, 1)));
        stem.extend(unit("Conv2d_2b_3x3", square(64, 3, 1, 1)));
        stem.extend(unit("Conv2d_3b_1x1", square(80, 1, 1, 0)));
        stem.extend(unit("Conv2d_4a_3x3", square(192, 3, 1, 0)));
        stem
    };
    let mut add = |name: &str, branches| layers.push(named(name, Layer::Branches { branches }));
    add("Mixed_5b", a(32));
    add("Mixed_5c", a(64));
    add("Mixed_5d", a(64));
    add("Mixed_6a", b());
    add("Mixed_6b", c(128));
    add("Mixed_6c", c(160));
    add("Mixed_6d", c(160));
    add("Mixed_6e", c(192));
    add("Mixed_7a", d());
    add("Mixed_7b", e());
    add("Mixed_7c", e());
    layers.extend([
        named("avgpool", Layer::GlobalAvgPool),
        named("dropout", Layer::Dropout { percent: 50 }),
        named("fc", linear(classes)),
    ]);
    layers
}

fn square(out: usize, kernel: usize, stride: usize, pad: usize) -> Layer {
    Layer::Conv { out, kernel, stride, pad, groups: 1, bias: false }
}

fn strip(out: usize, height: usize, width: usize) -> Layer {
    Layer::Strip { out, height, width }
}

/// A convolution with its normalisation and ReLU.
fn unit(name: &str, conv: Layer) -> Vec<NamedLayer> {
    vec![
        (format!("{name}.conv"), conv),
        (format!("{name}.bn"), Layer::BatchNorm),
        (format!("{name}.relu"), Layer::Relu),
    ]
}

fn chain<const N: usize>(units: [(&str, Layer); N]) -> Vec<NamedLayer> {
    units.into_iter().flat_map(|(name, conv)| unit(name, conv)).collect()
}

fn pooled(name: &str, out: usize) -> Vec<NamedLayer> {
    let mut layers =
        vec![named(format!("{name}_avg"), Layer::AvgPool { kernel: 3, stride: 1, pad: 1 })];
    layers.extend(unit(name, square(out, 1, 1, 0)));
    layers
}

fn halved(name: &str) -> Vec<NamedLayer> {
    vec![named(name, Layer::MaxPool { kernel: 3, stride: 2, pad: 0 })]
}

fn a(pool: usize) -> Vec<Vec<NamedLayer>> {
    vec![
        unit("branch1x1", square(64, 1, 1, 0)),
        chain([("branch5x5_1", square(48, 1, 1, 0)), ("branch5x5_2", square(64, 5, 1, 2))]),
        chain([
            ("branch3x3dbl_1", square(64, 1, 1, 0)),
            ("branch3x3dbl_2", square(96, 3, 1, 1)),
            ("branch3x3dbl_3", square(96, 3, 1, 1)),
        ]),
        pooled("branch_pool", pool),
    ]
}

fn b() -> Vec<Vec<NamedLayer>> {
    vec![
        unit("branch3x3", square(384, 3, 2, 0)),
        chain([
            ("branch3x3dbl_1", square(64, 1, 1, 0)),
            ("branch3x3dbl_2", square(96, 3, 1, 1)),
            ("branch3x3dbl_3", square(96, 3, 2, 0)),
        ]),
        halved("branch_pool"),
    ]
}

fn c(inner: usize) -> Vec<Vec<NamedLayer>> {
    vec![
        unit("branch1x1", square(192, 1, 1, 0)),
        chain([
            ("branch7x7_1", square(inner, 1, 1, 0)),
            ("branch7x7_2", strip(inner, 1, 7)),
            ("branch7x7_3", strip(192, 7, 1)),
        ]),
        chain([
            ("branch7x7dbl_1", square(inner, 1, 1, 0)),
            ("branch7x7dbl_2", strip(inner, 7, 1)),
            ("branch7x7dbl_3", strip(inner, 1, 7)),
            ("branch7x7dbl_4", strip(inner, 7, 1)),
            ("branch7x7dbl_5", strip(192, 1, 7)),
        ]),
        pooled("branch_pool", 192),
    ]
}

fn d() -> Vec<Vec<NamedLayer>> {
    vec![
        chain([("branch3x3_1", square(192, 1, 1, 0)), ("branch3x3_2", square(320, 3, 2, 0))]),
        chain([
            ("branch7x7x3_1", square(192, 1, 1, 0)),
            ("branch7x7x3_2", strip(192, 1, 7)),
            ("branch7x7x3_3", strip(192, 7, 1)),
            ("branch7x7x3_4", square(192, 3, 2, 0)),
        ]),
        halved("branch_pool"),
    ]
}

fn e() -> Vec<Vec<NamedLayer>> {
    // The names of the fork's sides stand beside those of what comes before it.
    let fork = |across: &str, down: &str| Layer::Branches {
        branches: vec![unit(across, strip(384, 1, 3)), unit(down, strip(384, 3, 1))],
    };
    let mut single = unit("branch3x3_1", square(384, 1, 1, 0));
    single.push(named("", fork("branch3x3_2a", "branch3x3_2b")));
    let mut double =
        chain([("branch3x3dbl_1", square(448, 1, 1, 0)), ("branch3x3dbl_2", square(384, 3, 1, 1))]);
    double.push(named("", fork("branch3x3dbl_3a", "branch3x3dbl_3b")));
    vec![unit("branch1x1", square(320, 1, 1, 0)), single, double, pooled("branch_pool", 192)]
}
