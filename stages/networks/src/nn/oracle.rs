//! Convolution and its gradients on the CPU against the obvious loops, at awkward sizes; layers
//! without weights against values worked by hand.

use super::{
    Tensor,
    accelerated::conv_by_product,
    forward::{Batch, Forward as _},
};
use crate::device::Device;
use artifacts::architecture::{Layer, NamedLayer, Network, Shape};
use burn::tensor::{TensorData, module, ops::ConvOptions};
use engine::Streams;

struct ModelCase {
    from: usize,
    to: usize,
    side: usize,
    kernel: [usize; 2],
    stride: usize,
    pad: [usize; 2],
    groups: usize,
}

const fn square(
    from: usize,
    to: usize,
    side: usize,
    k: usize,
    stride: usize,
    pad: usize,
) -> ModelCase {
    ModelCase { from, to, side, kernel: [k; 2], stride, pad: [pad; 2], groups: 1 }
}

const CASES: [ModelCase; 12] = [
    square(1, 2, 5, 1, 1, 0),
    square(2, 8, 8, 1, 2, 0),
    square(8, 2, 3, 1, 1, 0),
    square(3, 5, 7, 3, 1, 1),
    square(2, 2, 8, 3, 2, 1),
    square(16, 16, 1, 3, 1, 1),
    square(1, 6, 12, 5, 1, 2),
    square(6, 16, 6, 5, 1, 0),
    // Inception's strips, MobileNet's depthwise kernels.
    ModelCase { from: 3, to: 4, side: 9, kernel: [1, 7], stride: 1, pad: [0, 3], groups: 1 },
    ModelCase { from: 4, to: 3, side: 9, kernel: [7, 1], stride: 1, pad: [3, 0], groups: 1 },
    ModelCase { from: 6, to: 6, side: 7, kernel: [3, 3], stride: 2, pad: [1, 1], groups: 6 },
    ModelCase { from: 4, to: 4, side: 6, kernel: [5, 5], stride: 1, pad: [2, 2], groups: 4 },
];
const BATCH: usize = 3;

#[test]
fn convolutions_and_their_gradients_are_right() {
    let device = Device::CPU.inner().autodiff();
    let ways = CASES.iter().flat_map(|case| [(case, false), (case, true)]);
    for (case, by_product) in ways.filter(|(case, product)| !product || case.groups == 1) {
        let ModelCase { from: all, to: o, side, kernel, stride, pad, groups } = *case;
        // Channels that one output channel looks at.
        let c = all / groups;
        let out = (side + 2 * pad[0] - kernel[0]) / stride + 1;
        let numbers = |count: usize, salt: usize| -> Vec<f32> {
            (0..count).map(|i| ((i * 31 + salt * 17) % 23) as f32 / 16.0 - 0.7).collect()
        };
        let x = numbers(BATCH * all * side * side, 1);
        let w = numbers(o * c * kernel[0] * kernel[1], 2);
        let g = numbers(BATCH * o * out * out, 3);
        let tensor = |values: &[f32], shape: [usize; 4]| {
            Tensor::<4>::from_data(TensorData::new(values.to_vec(), shape), &device)
        };
        let xt = tensor(&x, [BATCH, all, side, side]).require_grad();
        let wt = tensor(&w, [o, c, kernel[0], kernel[1]]).require_grad();
        let options = ConvOptions::new([stride; 2], pad, [1; 2], groups);
        let y = if by_product {
            let last = xt.clone().permute([0, 2, 3, 1]);
            conv_by_product(last, wt.clone(), None, stride, pad).permute([0, 3, 1, 2])
        } else {
            module::conv2d(xt.clone(), wt.clone(), None, options)
        };
        let grads = (y.clone() * tensor(&g, [BATCH, o, out, out])).sum().backward();
        let values = |t: Tensor<4>| t.into_data().try_to_vec::<f32>().expect("floats");
        let (dx, dw) = (xt.grad(&grads).expect("recorded"), wt.grad(&grads).expect("recorded"));

        let mut wanted = [vec![0.0; g.len()], vec![0.0; x.len()], vec![0.0; w.len()]];
        for n in 0..BATCH {
            for to in 0..o {
                for (row, column) in (0..out * out).map(|at| (at / out, at % out)) {
                    let at_y = ((n * o + to) * out + row) * out + column;
                    for from in 0..c {
                        let taps = 0..kernel[0] * kernel[1];
                        for (i, j) in taps.map(|at| (at / kernel[1], at % kernel[1])) {
                            let inside = |at: usize, pad| {
                                usize::checked_sub(at, pad).filter(|at| *at < side)
                            };
                            let (Some(r), Some(s)) = (
                                inside(row * stride + i, pad[0]),
                                inside(column * stride + j, pad[1]),
                            ) else {
                                continue;
                            };
                            let first = to / (o / groups) * c;
                            let at_x = ((n * all + first + from) * side + r) * side + s;
                            let at_w = ((to * c + from) * kernel[0] + i) * kernel[1] + j;
                            wanted[0][at_y] += f64::from(x[at_x]) * f64::from(w[at_w]);
                            wanted[1][at_x] += f64::from(g[at_y]) * f64::from(w[at_w]);
                            wanted[2][at_w] += f64::from(g[at_y]) * f64::from(x[at_x]);
                        }
                    }
                }
            }
        }
        let found = [
            values(y),
            dx.into_data().try_to_vec().expect("floats"),
            dw.into_data().try_to_vec().expect("floats"),
        ];
        for (what, (found, wanted)) in ["y", "dx", "dw"].iter().zip(found.iter().zip(&wanted)) {
            assert_eq!(found.len(), wanted.len());
            let worst = found
                .iter()
                .zip(wanted)
                .map(|(a, b)| (f64::from(*a) - b).abs() / (1.0 + b.abs()))
                .fold(0.0, f64::max);
            assert!(
                worst < 1e-4,
                "{what} of {all}->{o} at {side}, {kernel:?} by {stride}: off by {worst}"
            );
        }
    }
}

/// Runs `layers` over one 2x2 map with two channels, in training.
fn two_channels(layers: Vec<NamedLayer>, drops: &mut dyn rand::Rng) -> Vec<f32> {
    let network = Network::of_layers(layers, Shape::Map([2, 2, 2]));
    let input = vec![-4.0, -1.0, 1.0, 4.0, 0.0, 3.0, 6.0, 9.0];
    let input = TensorData::new(input, [1, 2, 2, 2]);
    let input = Batch::Map(Tensor::from_data(input, &Device::CPU.inner()));
    let pass = network.forward_training(&[], &[], input, Some(drops));
    pass.embeddings.into_data().try_to_vec().expect("floats")
}

#[test]
fn layers_without_weights_worked_by_hand() {
    let mut drops = Streams::new(1, &["dropout"]).get("dropout");
    let mut near = |layers: Vec<Layer>, wanted: &[f32]| {
        let name = format!("{layers:?}");
        let mut layers: Vec<NamedLayer> =
            layers.into_iter().map(|layer| (String::new(), layer)).collect();
        layers.push(("flat".to_owned(), Layer::Flatten));
        let found = two_channels(layers, &mut drops);
        let off = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(found.len() == wanted.len() && off < 1e-6, "{name}: {found:?}");
    };
    let (third, sixth) = (1.0 / 3.0, 1.0 / 6.0);
    near(vec![Layer::HardSigmoid], &[0.0, third, 4.0 * sixth, 1.0, 0.5, 1.0, 1.0, 1.0]);
    near(vec![Layer::HardSwish], &[0.0, -third, 4.0 * sixth, 4.0, 0.0, 3.0, 6.0, 9.0]);
    // Nine places in each window, most of them padding.
    let pool = Layer::AvgPool { kernel: 3, stride: 1, pad: 1 };
    near(vec![pool], &[0.0, 0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 2.0]);
    near(vec![Layer::Squeeze], &[0.0, 4.5]);
    let gate =
        vec![("pool".to_owned(), Layer::Squeeze), ("sigmoid".to_owned(), Layer::HardSigmoid)];
    near(vec![Layer::Gate { gate }], &[-2.0, -0.5, 0.5, 2.0, 0.0, 3.0, 6.0, 9.0]);
    let one = |layer| vec![(String::new(), layer)];
    let branches = vec![one(Layer::Squeeze), one(Layer::Squeeze)];
    near(vec![Layer::Branches { branches }], &[0.0, 4.5, 0.0, 4.5]);
}

#[test]
fn dropout_keeps_its_share_and_scales_it_up() {
    let mut drops = Streams::new(1, &["dropout"]).get("dropout");
    let layers = vec![
        ("flat".to_owned(), Layer::Flatten),
        ("drop".to_owned(), Layer::Dropout { percent: 20 }),
    ];
    let (mut dropped, mut draws) = (0, 0);
    for _ in 0..400 {
        let found = two_channels(layers.clone(), &mut drops);
        // All but the fifth, which is 0 in any case.
        for (value, whole) in found.iter().zip([-4.0, -1.0, 1.0, 4.0, 0.0, 3.0, 6.0, 9.0]) {
            assert!(*value == 0.0 || (value - whole / 0.8).abs() < 1e-5, "{found:?}");
            dropped += u32::from(whole != 0.0 && *value == 0.0);
            draws += u32::from(whole != 0.0);
        }
    }
    assert!(
        (0.17..0.23).contains(&(f64::from(dropped) / f64::from(draws))),
        "{dropped} of {draws}"
    );
}
