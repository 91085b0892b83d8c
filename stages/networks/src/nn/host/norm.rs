//! Batch normalisation on the CPU (Ioffe and Szegedy, 2015), with the ReLU that may follow it.

use super::{
    buffer::Buffer,
    maps::{Dims, MapBatch},
    wide::{self, Kernel, LANES, Lane, Sixteen},
};
use methods::linalg::in_widest;
use pulp::Simd;
use rayon::prelude::*;

/// The batch statistics of each channel: mean, variance, and one over the standard deviation.
#[derive(Clone, Debug)]
pub(super) struct Statistics {
    pub(super) mean: Vec<f32>,
    /// One over the deviation.
    pub(super) inverse: Vec<f32>,
    /// The variance, biased.
    pub(super) variance: Vec<f32>,
}

/// Returns how many values a channel has.
pub(super) fn count(dims: Dims) -> f64 {
    (dims.n * dims.h * dims.w) as f64
}

/// Returns the statistics of the batch.
pub(super) fn statistics(x: &MapBatch, epsilon: f64) -> Statistics {
    let count = count(x.dims);
    let channel = |c: usize| {
        let mean = fold(x, c, |_, values| sums(values)) / count;
        let center = mean as f32;
        let variance = fold(x, c, |_, values| squares(values, center)) / count;
        (center, (1.0 / (variance + epsilon).sqrt()) as f32, variance as f32)
    };
    let all: Vec<(f32, f32, f32)> = (0..x.dims.c).into_par_iter().map(channel).collect();
    Statistics {
        mean: all.iter().map(|one| one.0).collect(),
        inverse: all.iter().map(|one| one.1).collect(),
        variance: all.iter().map(|one| one.2).collect(),
    }
}

/// Returns the sum, over what samples have in channel `c`, of the lanes that `plane` makes of a block:
/// it gets where the block's channel starts, and its values.
fn fold(x: &MapBatch, c: usize, plane: impl Fn(usize, &[f32]) -> Lane) -> f64 {
    let dims = x.dims;
    let mut total = 0.0;
    for block in 0..dims.blocks() {
        let start = block * dims.block() + c * dims.plane();
        let sums = plane(start, &x.data[start..][..dims.pixels() * LANES]);
        total += sums[..dims.live(block)].iter().map(|sum| f64::from(*sum)).sum::<f64>();
    }
    total
}

in_widest! {
    /// Sums lane by lane.
    pub(super) fn sums(values: &[f32]) -> Lane {
        let mut sums = [0f32; LANES];
        for values in values.chunks_exact(LANES) {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value;
            }
        }
        sums
    }
}

in_widest! {
    /// Sums the squares of what values are from `center`.
    fn squares(values: &[f32], center: f32) -> Lane {
        let mut sums = [0f32; LANES];
        for values in values.chunks_exact(LANES) {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += (value - center) * (value - center);
            }
        }
        sums
    }
}

in_widest! {
    /// Sums `values` times what `x` is from `mean`.
    fn products(values: &[f32], x: &[f32], mean: f32) -> Lane {
        let mut sums = [0f32; LANES];
        for (values, x) in values.chunks_exact(LANES).zip(x.chunks_exact(LANES)) {
            for (sum, (value, x)) in sums.iter_mut().zip(values.iter().zip(x)) {
                *sum += value * (x - mean);
            }
        }
        sums
    }
}

in_widest! {
    /// Sets each element of `gradient` to `gradient * whole + x * slope + level`.
    fn slope_back(gradient: &mut [f32], x: &[f32], factors: [f32; 3]) {
        let [whole, slope, level] = factors;
        for (g, x) in gradient.iter_mut().zip(x) {
            *g = *g * whole + (*x * slope + level);
        }
    }
}

/// Returns x times `scale` plus `shift`, each of its channel; negative ones as 0 with `relu`.
pub(super) fn affine(x: &MapBatch, scale: &[f32], shift: &[f32], relu: bool) -> MapBatch {
    let dims = x.dims;
    let mut out = Buffer::uninit(dims.len());
    let planes = out.par_chunks_mut(dims.plane()).zip(x.data.par_chunks(dims.plane()));
    planes.enumerate().for_each(|(at, (out, x))| {
        let (scale, shift) = (scale[at % dims.c], shift[at % dims.c]);
        wide::run(Affine { x, scale, shift, relu, out });
    });
    MapBatch::new(dims, out)
}

struct Affine<'a> {
    x: &'a [f32],
    scale: f32,
    shift: f32,
    relu: bool,
    out: &'a mut [f32],
}

impl Kernel for Affine<'_> {
    #[inline(always)]
    fn run<S: Simd, const N: usize>(self, simd: S) {
        let floor = if self.relu { 0.0 } else { f32::NEG_INFINITY };
        let scale = Sixteen::<S, N>::splat(simd, self.scale);
        let shift = Sixteen::splat(simd, self.shift);
        for (out, x) in self.out.chunks_exact_mut(LANES).zip(self.x.chunks_exact(LANES)) {
            let mut lane = [0.0; LANES];
            Sixteen::load(simd, x).multiply_add(scale, shift).store(&mut lane);
            for (out, y) in out.iter_mut().zip(lane) {
                // Not `f32::max`: it would drop a NaN.
                *out = if y < floor { floor } else { y };
            }
        }
    }
}

/// Turns the gradient of the output into that of `x`. Returns the gradients of scale and shift.
pub(super) fn backward(
    gradient: &mut MapBatch,
    x: &MapBatch,
    statistics: &Statistics,
    scale: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let dims = x.dims;
    let from = &*gradient;
    let channel = |c: usize| {
        let (mean, inverse) = (statistics.mean[c], statistics.inverse[c]);
        let shift = fold(from, c, |_, values| sums(values));
        let scale = fold(from, c, |at, values| products(values, &x.data[at..], mean));
        let scale = scale * f64::from(inverse);
        (scale as f32, shift as f32)
    };
    let (scales, shifts): (Vec<f32>, Vec<f32>) = (0..dims.c).into_par_iter().map(channel).unzip();
    let count = count(dims) as f32;
    let planes = gradient.change().par_chunks_mut(dims.plane());
    planes.zip(x.data.par_chunks(dims.plane())).enumerate().for_each(|(at, (gradient, x))| {
        let (block, c) = (at / dims.c, at % dims.c);
        let (mean, inverse) = (statistics.mean[c], statistics.inverse[c]);
        // g s i - (s i / m)(sum of g + x̂ sum of g x̂), with x̂ = (x - mean) i.
        let whole = scale[c] * inverse;
        let slope = -whole * scales[c] * inverse / count;
        let level = -whole * shifts[c] / count - slope * mean;
        slope_back(gradient, x, [whole, slope, level]);
        // An empty lane is no sample: nothing may go back through it.
        let live = dims.live(block);
        if live < LANES {
            for lane in gradient.chunks_exact_mut(LANES) {
                lane[live..].fill(0.0);
            }
        }
    });
    (scales, shifts)
}
