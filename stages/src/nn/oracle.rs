//! Convolution and its gradients on the CPU against the obvious loops, at awkward sizes.

use super::Tensor;
use crate::device::Device;
use burn::{
    DispatchDevice,
    tensor::{TensorData, module, ops::ConvOptions},
};

/// (channels in, channels out, side, kernel, stride, padding)
const CASES: [(usize, usize, usize, usize, usize, usize); 8] = [
    (1, 2, 5, 1, 1, 0),
    (2, 8, 8, 1, 2, 0),
    (8, 2, 3, 1, 1, 0),
    (3, 5, 7, 3, 1, 1),
    (2, 2, 8, 3, 2, 1),
    (16, 16, 1, 3, 1, 1),
    (1, 6, 12, 5, 1, 2),
    (6, 16, 6, 5, 1, 0),
];
const BATCH: usize = 3;

#[test]
fn convolutions_and_their_gradients_are_right() {
    let device = DispatchDevice::autodiff(Device::CPU.inner());
    for (c, o, side, k, stride, pad) in CASES {
        let out = (side + 2 * pad - k) / stride + 1;
        let numbers = |count: usize, salt: usize| -> Vec<f32> {
            (0..count).map(|i| ((i * 31 + salt * 17) % 23) as f32 / 16.0 - 0.7).collect()
        };
        let x = numbers(BATCH * c * side * side, 1);
        let w = numbers(o * c * k * k, 2);
        let g = numbers(BATCH * o * out * out, 3);
        let tensor = |values: &[f32], shape: [usize; 4]| {
            Tensor::<4>::from_data(TensorData::new(values.to_vec(), shape), &device)
        };
        let xt = tensor(&x, [BATCH, c, side, side]).require_grad();
        let wt = tensor(&w, [o, c, k, k]).require_grad();
        let options = ConvOptions::new([stride; 2], [pad; 2], [1; 2], 1);
        let y = module::conv2d(xt.clone(), wt.clone(), None, options);
        let grads = (y.clone() * tensor(&g, [BATCH, o, out, out])).sum().backward();
        let values = |t: Tensor<4>| t.into_data().to_vec::<f32>().expect("floats");
        let (dx, dw) = (xt.grad(&grads).expect("recorded"), wt.grad(&grads).expect("recorded"));

        let mut wanted = [vec![0.0; g.len()], vec![0.0; x.len()], vec![0.0; w.len()]];
        for n in 0..BATCH {
            for to in 0..o {
                for (row, column) in (0..out * out).map(|at| (at / out, at % out)) {
                    let at_y = ((n * o + to) * out + row) * out + column;
                    for from in 0..c {
                        for (i, j) in (0..k * k).map(|at| (at / k, at % k)) {
                            let (r, s) = (row * stride + i, column * stride + j);
                            if r < pad || s < pad || r - pad >= side || s - pad >= side {
                                continue;
                            }
                            let at_x = ((n * c + from) * side + r - pad) * side + s - pad;
                            let at_w = ((to * c + from) * k + i) * k + j;
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
            dx.into_data().to_vec().expect("floats"),
            dw.into_data().to_vec().expect("floats"),
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
                "{what} of {c}->{o} at {side}, {k}x{k} by {stride}: off by {worst}"
            );
        }
    }
}
