//! Pooling and ReLU on the CPU.

use super::{
    buffer::Buffer,
    maps::{Dims, MapBatch},
    wide::{self, LANES},
};
use methods::linalg::in_widest;
use rayon::prelude::*;

// How many numbers are one task of what is done number by number.
const PIECE: usize = 1 << 13;

/// Sets what is negative to 0.
pub(super) fn relu(x: &mut [f32]) {
    in_widest! {
        fn relu(x: &mut [f32]) {
            for x in x {
                // Not `f32::max`: it would drop a NaN.
                *x = if *x < 0.0 { 0.0 } else { *x };
            }
        }
    }
    x.par_chunks_mut(PIECE).for_each(relu);
}

/// Turns the gradient of a ReLU's output `y` into that of its input.
pub(super) fn relu_backward(gradient: &mut [f32], y: &[f32]) {
    in_widest! {
        fn backward(gradient: &mut [f32], y: &[f32]) {
            for (g, y) in gradient.iter_mut().zip(y) {
                *g = if *y > 0.0 { *g } else { 0.0 };
            }
        }
    }
    let pieces = gradient.par_chunks_mut(PIECE).zip(y.par_chunks(PIECE));
    pieces.for_each(|(gradient, y)| backward(gradient, y));
}

/// Adds `other` to `x`.
pub(super) fn add(x: &mut [f32], other: &[f32]) {
    in_widest! {
        fn add(x: &mut [f32], other: &[f32]) {
            for (x, other) in x.iter_mut().zip(other) {
                *x += other;
            }
        }
    }
    let pieces = x.par_chunks_mut(PIECE).zip(other.par_chunks(PIECE));
    pieces.for_each(|(x, other)| add(x, other));
}

/// The largest value of each square window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MaxPool {
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) pad: usize,
}

impl MaxPool {
    /// Returns the largest values.
    pub(super) fn forward(self, x: &MapBatch) -> MapBatch {
        in_widest! {
            fn channel(pool: MaxPool, x: &[f32], from: Dims, out: &mut [f32], to: Dims) {
                pool.windows(from, to, |at, window| {
                    let mut best = [f32::NEG_INFINITY; LANES];
                    window.each(|from| {
                        for (best, value) in best.iter_mut().zip(wide::first(&x[from..])) {
                            // What is no number wins, so that it is seen in the end.
                            *best = if *value > *best || value.is_nan() { *value } else { *best };
                        }
                    });
                    out[at..at + LANES].copy_from_slice(&best);
                });
            }
        }
        let from = x.dims;
        let side = |side: usize| (side + 2 * self.pad - self.kernel) / self.stride + 1;
        let to = Dims { n: from.n, c: from.c, h: side(from.h), w: side(from.w) };
        let mut out = Buffer::uninit(to.len());
        let planes = out.par_chunks_mut(to.plane()).zip(x.data.par_chunks(from.plane()));
        planes.for_each(|(out, x)| channel(self, x, from, out, to));
        MapBatch::new(to, out)
    }

    /// Returns the gradient of the input `x`, of which `y` are the largest values: it goes to the
    /// first of equals.
    pub(super) fn backward(self, gradient: &MapBatch, x: &MapBatch, y: &MapBatch) -> MapBatch {
        in_widest! {
            fn channel(
                pool: MaxPool,
                maps: [&[f32]; 3],
                from: Dims,
                out: &mut [f32],
                to: Dims,
            ) {
                let [gradient, x, y] = maps;
                pool.windows(from, to, |at, window| {
                    let (mut left, best) = (*wide::first(&gradient[at..]), wide::first(&y[at..]));
                    window.each(|from| {
                        let values = wide::first(&x[from..]);
                        let out = &mut out[from..from + LANES];
                        for at in 0..LANES {
                            let here = values[at] == best[at];
                            out[at] += if here { left[at] } else { 0.0 };
                            left[at] = if here { 0.0 } else { left[at] };
                        }
                    });
                });
            }
        }
        let (from, to) = (x.dims, gradient.dims);
        let mut out = Buffer::zeros(from.len());
        let outer = gradient.data.par_chunks(to.plane()).zip(y.data.par_chunks(to.plane()));
        let inner = out.par_chunks_mut(from.plane()).zip(x.data.par_chunks(from.plane()));
        inner.zip(outer).for_each(|((out, x), (gradient, y))| {
            channel(self, [gradient, x, y], from, out, to);
        });
        MapBatch::new(from, out)
    }

    /// Calls `each` for every output position of a channel: where it is, and what it sees of the input.
    #[inline(always)]
    fn windows(self, from: Dims, to: Dims, mut each: impl FnMut(usize, PoolWindow)) {
        for y in 0..to.h {
            let rows = self.span(y, from.h);
            for x in 0..to.w {
                let columns = self.span(x, from.w);
                each((y * to.w + x) * LANES, PoolWindow { rows, columns, width: from.w });
            }
        }
    }

    /// Returns the input positions, first and past the last, that output position `at` sees.
    #[inline(always)]
    fn span(self, at: usize, side: usize) -> (usize, usize) {
        let start = at * self.stride;
        (start.saturating_sub(self.pad), (start + self.kernel - self.pad).min(side))
    }
}

/// A part of a channel: rows and columns, first and past the last.
#[derive(Clone, Copy)]
struct PoolWindow {
    rows: (usize, usize),
    columns: (usize, usize),
    width: usize,
}

impl PoolWindow {
    /// Calls `each` with where each of its positions is, row by row.
    #[inline(always)]
    fn each(self, mut each: impl FnMut(usize)) {
        for y in self.rows.0..self.rows.1 {
            for x in self.columns.0..self.columns.1 {
                each((y * self.width + x) * LANES);
            }
        }
    }
}

/// Returns the mean of each channel.
pub(super) fn average(x: &MapBatch) -> MapBatch {
    let from = x.dims;
    let to = Dims { h: 1, w: 1, ..from };
    let share = 1.0 / (from.h * from.w) as f32;
    let mut out = Buffer::zeros(to.len());
    out.par_chunks_mut(to.plane()).zip(x.data.par_chunks(from.plane())).for_each(|(out, x)| {
        for values in x.chunks_exact(LANES).take(from.pixels()) {
            for (out, value) in out.iter_mut().zip(values) {
                *out += value;
            }
        }
        out.iter_mut().for_each(|out| *out *= share);
    });
    MapBatch::new(to, out)
}

/// Returns the gradient of the input of [`average`], of which `from` are the dimensions.
pub(super) fn average_backward(gradient: &MapBatch, from: Dims) -> MapBatch {
    let share = 1.0 / (from.h * from.w) as f32;
    let mut out = Buffer::uninit(from.len());
    let planes =
        out.par_chunks_mut(from.plane()).zip(gradient.data.par_chunks(gradient.dims.plane()));
    planes.for_each(|(out, gradient)| {
        for out in out.chunks_exact_mut(LANES) {
            for (out, gradient) in out.iter_mut().zip(gradient) {
                *out = gradient * share;
            }
        }
    });
    MapBatch::new(from, out)
}
