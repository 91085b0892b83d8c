//! Linear layers on the CPU: matrix products, a piece of the result's rows on each core.

use super::rows::VectorBatch;
use methods::linalg::{in_widest, strided};
use rayon::prelude::*;

// How many rows of a result are one task.
const PIECE: usize = 64;

/// A factor: its elements, and how far apart its rows and its columns are.
type Factor<'a> = (&'a [f32], usize, usize);

/// Returns the product of an \[n, k\] and a \[k, m\] factor, \[n, m\].
fn product([n, k, m]: [usize; 3], left: Factor<'_>, right: Factor<'_>) -> Vec<f32> {
    let mut out = vec![0f32; n * m];
    let (left, down, across) = left;
    let right = (right.0, right.1.cast_signed(), right.2.cast_signed());
    out.par_chunks_mut((PIECE * m).max(1)).enumerate().for_each(|(piece, out)| {
        let left = (&left[piece * PIECE * down..], down.cast_signed(), across.cast_signed());
        strided((out.len() / m, m, k), left, right, (out, m));
    });
    out
}

/// Returns x W' + b, \[n, out\], of `x`, \[n, in\], and `weight`, \[out, in\].
pub(super) fn forward(x: &VectorBatch, weight: &[f32], bias: &[f32]) -> VectorBatch {
    in_widest! {
        fn add(row: &mut [f32], bias: &[f32]) {
            for (value, bias) in row.iter_mut().zip(bias) {
                *value += bias;
            }
        }
    }
    let (n, k, m) = (x.len(), x.each(), bias.len());
    let mut out = product([n, k, m], (&x.data, k, 1), (weight, 1, k));
    out.chunks_exact_mut(m).for_each(|row| add(row, bias));
    VectorBatch::flat(n, out)
}

/// Returns the gradient of the input, \[n, in\], from that of the output, \[n, out\].
pub(super) fn to_input(gradient: &VectorBatch, weight: &[f32]) -> VectorBatch {
    let (n, m) = (gradient.len(), gradient.each());
    let k = weight.len() / m;
    VectorBatch::flat(n, product([n, m, k], (&gradient.data, m, 1), (weight, k, 1)))
}

/// Returns the gradient of the weight, \[out, in\].
pub(super) fn to_weight(gradient: &VectorBatch, x: &VectorBatch) -> Vec<f32> {
    let (n, m, k) = (gradient.len(), gradient.each(), x.each());
    product([m, n, k], (&gradient.data, 1, m), (&x.data, k, 1))
}

/// Returns the gradient of the bias, \[out\].
pub(super) fn to_bias(gradient: &VectorBatch) -> Vec<f32> {
    in_widest! {
        fn sums(rows: &[f32], out: &mut [f32]) {
            for row in rows.chunks_exact(out.len()) {
                for (sum, value) in out.iter_mut().zip(row) {
                    *sum += value;
                }
            }
        }
    }
    let mut out = vec![0f32; gradient.each()];
    sums(&gradient.data, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_loops_have_it() {
        for [n, k, m] in [[1, 1, 1], [3, 7, 5], [PIECE + 1, 5, PIECE + 3]] {
            let numbers = |count: usize, salt: usize| -> Vec<f32> {
                (0..count).map(|i| ((i * 31 + salt * 17) % 23) as f32 / 16.0 - 0.7).collect()
            };
            let (x, weight, bias) = (numbers(n * k, 1), numbers(m * k, 2), numbers(m, 3));
            let g = numbers(n * m, 4);
            let mut y: Vec<f32> = bias.repeat(n);
            let (mut dx, mut dw, mut db) = (vec![0.0; n * k], vec![0.0; m * k], vec![0.0; m]);
            for (at, slope) in g.iter().enumerate() {
                let (i, o) = (at / m, at % m);
                db[o] += slope;
                for t in 0..k {
                    y[at] += x[i * k + t] * weight[o * k + t];
                    dx[i * k + t] += slope * weight[o * k + t];
                    dw[o * k + t] += slope * x[i * k + t];
                }
            }
            let near = |found: &[f32], wanted: &[f32]| {
                assert_eq!(found.len(), wanted.len());
                let apart = found.iter().zip(wanted).map(|(a, b)| (a - b).abs());
                assert!(apart.fold(0.0, f32::max) < 2e-4, "{n} {k} {m}");
            };
            let (x, g) = (VectorBatch::flat(n, x), VectorBatch::flat(n, g));
            near(&forward(&x, &weight, &bias).data, &y);
            near(&to_input(&g, &weight).data, &dx);
            near(&to_weight(&g, &x), &dw);
            near(&to_bias(&g), &db);
        }
    }
}
