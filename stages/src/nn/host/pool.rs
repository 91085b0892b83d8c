//! Pooling and ReLU on the CPU.

use super::{
    maps::{Dims, Maps},
    wide::LANES,
};
use rayon::prelude::*;

/// Sets what is negative to 0.
pub(super) fn relu(x: &mut Maps) {
    let plane = x.dims.plane();
    x.change().par_chunks_mut(plane).for_each(|plane| {
        for x in plane {
            // Not `max`, which would hide that a number is none.
            *x = if *x < 0.0 { 0.0 } else { *x };
        }
    });
}

/// Turns the gradient of a ReLU's output `y` into that of its input.
pub(super) fn relu_backward(gradient: &mut Maps, y: &Maps) {
    let plane = y.dims.plane();
    let planes = gradient.change().par_chunks_mut(plane).zip(y.data.par_chunks(plane));
    planes.for_each(|(gradient, y)| {
        for (g, y) in gradient.iter_mut().zip(y) {
            *g = if *y > 0.0 { *g } else { 0.0 };
        }
    });
}

/// Adds `other` to `x`.
pub(super) fn add(x: &mut Maps, other: &Maps) {
    let plane = other.dims.plane();
    let planes = x.change().par_chunks_mut(plane).zip(other.data.par_chunks(plane));
    planes.for_each(|(x, other)| {
        for (x, other) in x.iter_mut().zip(other) {
            *x += other;
        }
    });
}

/// The largest value of each square window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MaxPool {
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) pad: usize,
}

impl MaxPool {
    /// Returns the largest values, and which place of its window each comes from: of equals the
    /// first.
    pub(super) fn forward(self, x: &Maps) -> (Maps, Vec<u16>) {
        let from = x.dims;
        let side = |side: usize| (side + 2 * self.pad - self.kernel) / self.stride + 1;
        let to = Dims { n: from.n, c: from.c, h: side(from.h), w: side(from.w) };
        let mut out = vec![0f32; to.len()];
        let mut places = vec![0u16; to.len()];
        let planes = out.par_chunks_mut(to.plane()).zip(places.par_chunks_mut(to.plane()));
        planes.zip(x.data.par_chunks(from.plane())).for_each(|((out, places), x)| {
            let outs = out.chunks_exact_mut(LANES).zip(places.chunks_exact_mut(LANES));
            for (at, (out, places)) in outs.enumerate() {
                out.fill(f32::NEG_INFINITY);
                for place in 0..self.kernel * self.kernel {
                    let Some(from) = self.source(at, place, to, from) else { continue };
                    let values = &x[from..from + LANES];
                    for lane in 0..LANES {
                        // What is no number wins, so that it is seen in the end.
                        if values[lane] > out[lane] || values[lane].is_nan() {
                            out[lane] = values[lane];
                            places[lane] = place as u16;
                        }
                    }
                }
            }
        });
        (Maps::new(to, out), places)
    }

    /// Returns the gradient of the input, of which `from` are the dimensions.
    pub(super) fn backward(self, gradient: &Maps, places: &[u16], from: Dims) -> Maps {
        let to = gradient.dims;
        let mut out = vec![0f32; from.len()];
        let planes = gradient.data.par_chunks(to.plane()).zip(places.par_chunks(to.plane()));
        out.par_chunks_mut(from.plane()).zip(planes).for_each(|(out, (gradient, places))| {
            let lanes = gradient.chunks_exact(LANES).zip(places.chunks_exact(LANES));
            for (at, (gradient, places)) in lanes.enumerate() {
                for place in 0..self.kernel * self.kernel {
                    let Some(from) = self.source(at, place, to, from) else { continue };
                    let out = &mut out[from..from + LANES];
                    for lane in 0..LANES {
                        let here = usize::from(places[lane]) == place;
                        out[lane] += if here { gradient[lane] } else { 0.0 };
                    }
                }
            }
        });
        Maps::new(from, out)
    }

    /// Returns where in the input's channel this place of the window of output position `at` is.
    fn source(self, at: usize, place: usize, to: Dims, from: Dims) -> Option<usize> {
        let step = |at: usize, k: usize, side: usize| {
            (at * self.stride + k).checked_sub(self.pad).filter(|at| *at < side)
        };
        let y = step(at / to.w, place / self.kernel, from.h)?;
        let x = step(at % to.w, place % self.kernel, from.w)?;
        Some((y * from.w + x) * LANES)
    }
}

/// Returns the mean of each channel.
pub(super) fn average(x: &Maps) -> Maps {
    let from = x.dims;
    let to = Dims { h: 1, w: 1, ..from };
    let share = 1.0 / (from.h * from.w) as f32;
    let mut out = vec![0f32; to.len()];
    out.par_chunks_mut(to.plane()).zip(x.data.par_chunks(from.plane())).for_each(|(out, x)| {
        for values in x.chunks_exact(LANES).take(from.pixels()) {
            for (out, value) in out.iter_mut().zip(values) {
                *out += value;
            }
        }
        out.iter_mut().for_each(|out| *out *= share);
    });
    Maps::new(to, out)
}

/// Returns the gradient of the input of [`average`], of which `from` are the dimensions.
pub(super) fn average_backward(gradient: &Maps, from: Dims) -> Maps {
    let share = 1.0 / (from.h * from.w) as f32;
    let mut out = vec![0f32; from.len()];
    let planes = out.par_chunks_mut(from.plane()).zip(gradient.data.par_chunks(gradient.dims.plane()));
    planes.for_each(|(out, gradient)| {
        for out in out.chunks_exact_mut(LANES) {
            for (out, gradient) in out.iter_mut().zip(gradient) {
                *out = gradient * share;
            }
        }
    });
    Maps::new(from, out)
}
