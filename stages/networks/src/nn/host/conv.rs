//! Convolution on the CPU and its gradients in weight, bias and input: direct, without a matrix of
//! patches (im2col).

use super::{
    buffer::Buffer,
    maps::{Dims, MapBatch},
    norm,
    tiles::Tiles,
    wide::{self, Kernel, LANES, Sixteen},
};
use pulp::Simd;
use rayon::prelude::*;

// Output channels in a tile of the weight gradient.
const OUTS: usize = 4;

/// Returns the tiles of output channels that a kernel sums a pixel for at once. Of 16 registers, six
/// channels take twelve, and the rest hold the values and a weight.
fn target_tiles(channels: usize) -> Tiles {
    Tiles::new(channels, if wide::registers() == 1 { [8, 8] } else { [6, 4] })
}

/// Returns the tiles of sources of the weight gradient, each beside [`OUTS`] output channels. Of 16
/// registers, three sources take twelve, and the rest hold the values and a gradient.
fn source_tiles(sources: usize) -> Tiles {
    Tiles::new(sources, if wide::registers() == 1 { [4, 4] } else { [3, 2] })
}

/// A convolution of square kernels, in one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conv {
    pub(super) out: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) pad: usize,
}

impl Conv {
    pub(super) fn output(self, input: Dims) -> Dims {
        let side = |side: usize| (side + 2 * self.pad - self.kernel) / self.stride + 1;
        Dims { n: input.n, c: self.out, h: side(input.h), w: side(input.w) }
    }

    /// Returns the convolution of `input` with `weight`, \[out, in, kernel, kernel\].
    pub(super) fn forward(
        self,
        input: &MapBatch,
        weight: &[f32],
        bias: Option<&[f32]>,
    ) -> MapBatch {
        let to = self.output(input.dims);
        let taps = self.kernel * self.kernel;
        let at = |out: usize, from: usize, tap: usize| (out * input.dims.c + from) * taps + tap;
        let packed = pack(weight, to.c, input.dims.c, taps, at);
        let rows = Steps::new(to.h, |y, k| forward_at(y, k, self, input.dims.h), self.kernel);
        let columns = Steps::new(to.w, |x, k| forward_at(x, k, self, input.dims.w), self.kernel);
        gather(input, to, &packed, bias, &rows, &columns, self.kernel)
    }

    /// Returns the gradient of the input, of which `input` are the dimensions.
    pub(super) fn to_input(self, gradient: &MapBatch, weight: &[f32], input: Dims) -> MapBatch {
        let from = gradient.dims;
        let taps = self.kernel * self.kernel;
        let at = |out: usize, from: usize, tap: usize| (from * input.c + out) * taps + tap;
        let packed = pack(weight, input.c, from.c, taps, at);
        let rows = Steps::new(input.h, |y, k| backward_at(y, k, self, from.h), self.kernel);
        let columns = Steps::new(input.w, |x, k| backward_at(x, k, self, from.w), self.kernel);
        gather(gradient, input, &packed, None, &rows, &columns, self.kernel)
    }

    /// Returns the gradient of the weight.
    pub(super) fn to_weight(self, gradient: &MapBatch, input: &MapBatch) -> Vec<f32> {
        let (c, to) = (input.dims.c, gradient.dims);
        // A tile of output channels by sources is one task: its sums go over all samples, in order.
        // Where the input channels do not fill tiles, the kernel's columns are sources of their own.
        let apart = self.kernel > 1 && c < FEW && source_tiles(c).places() > c;
        let padded = if apart && self.pad > 0 { Some(input.widened(self.pad)) } else { None };
        let columns = if apart { self.kernel } else { 1 };
        let work = WeightGradientWork {
            conv: self,
            gradient,
            input: padded.as_ref().unwrap_or(input),
            pad: if apart { 0 } else { self.pad },
            columns: self.kernel / columns,
        };
        let sources = c * columns;
        let across = source_tiles(sources);
        let tasks = 0..to.c.div_ceil(OUTS) * across.count();
        let taps = self.kernel * work.columns;
        let tiles: Vec<Vec<f32>> = tasks
            .into_par_iter()
            .map(|task| {
                let (source, width) = across.tile(task % across.count());
                let first = [task / across.count() * OUTS, source];
                let mut sums = vec![0f32; OUTS * width * taps * LANES];
                let out = &mut sums;
                wide::run(WeightGradient { work, first, sources, width, sums: out });
                sums.chunks_exact(LANES).map(wide::sum).collect()
            })
            .collect();
        let mut out = vec![0f32; to.c * c * self.kernel * self.kernel];
        let each = self.kernel * self.kernel;
        out.par_chunks_mut(c * each).enumerate().for_each(|(target, row)| {
            for (at, value) in row.iter_mut().enumerate() {
                let (channel, tap) = (at / each, at % each);
                // What is a source of its own is no tap of its tile.
                let (source, tap) = if apart {
                    (channel * self.kernel + tap % self.kernel, tap / self.kernel)
                } else {
                    (channel, tap)
                };
                let (index, place) = across.find(source);
                let (_, width) = across.tile(index);
                let tile = &tiles[target / OUTS * across.count() + index];
                *value = tile[(tap * OUTS + target % OUTS) * width + place];
            }
        });
        out
    }
}

impl Conv {
    /// Returns the output columns, first and past the last, whose tap `right` lies within the map.
    #[inline(always)]
    fn columns(self, right: usize, pad: usize, from: usize, to: usize) -> Option<(usize, usize)> {
        let left = pad.saturating_sub(right).div_ceil(self.stride);
        let reach = (from + pad).checked_sub(right + 1)?;
        let end = (reach / self.stride + 1).min(to);
        (left < end).then_some((left, end))
    }
}

/// Returns the gradient of the bias.
pub(super) fn to_bias(gradient: &MapBatch) -> Vec<f32> {
    let dims = gradient.dims;
    let channel = |c: usize| {
        let planes = gradient.data.chunks_exact(dims.block());
        let sum = |block: &[f32]| {
            wide::sum(&norm::sums(&block[c * dims.plane()..][..dims.pixels() * LANES]))
        };
        planes.map(sum).sum::<f32>()
    };
    (0..dims.c).into_par_iter().map(channel).collect()
}

/// Returns where in the input kernel position `k` of output position `at` lies.
fn forward_at(at: usize, k: usize, conv: Conv, side: usize) -> Option<usize> {
    (at * conv.stride + k).checked_sub(conv.pad).filter(|at| *at < side)
}

/// Returns which output position reads input position `at` through kernel position `k`.
fn backward_at(at: usize, k: usize, conv: Conv, side: usize) -> Option<usize> {
    let reach = (at + conv.pad).checked_sub(k)?;
    (reach % conv.stride == 0).then_some(reach / conv.stride).filter(|at| *at < side)
}

/// For each position along one side of the target: the kernel positions that fall inside the source, and the
/// source position of each.
struct Steps(Vec<Vec<(usize, usize)>>);

impl Steps {
    fn new(side: usize, place: impl Fn(usize, usize) -> Option<usize>, kernel: usize) -> Self {
        let steps = |at| (0..kernel).filter_map(|k| Some((k, place(at, k)?))).collect();
        Self((0..side).map(steps).collect())
    }
}

/// Returns the weights by tile of target channels, tap, source channel, and channel of the tile.
fn pack(
    weight: &[f32],
    targets: usize,
    sources: usize,
    taps: usize,
    at: impl Fn(usize, usize, usize) -> usize + Sync,
) -> Vec<f32> {
    let tiles = target_tiles(targets);
    let each = taps * sources;
    let mut packed = vec![0f32; tiles.places() * each];
    let (wides, narrows) = packed.split_at_mut(tiles.wide_places() * each);
    let [wide, narrow] = tiles.widths();
    let pieces = wides.par_chunks_mut(wide * each).chain(narrows.par_chunks_mut(narrow * each));
    pieces.enumerate().for_each(|(index, packed)| {
        let (first, width) = tiles.tile(index);
        for (spot, row) in packed.chunks_exact_mut(width).enumerate() {
            let (tap, source) = (spot / sources, spot % sources);
            for (target, value) in (first..targets).zip(row) {
                *value = weight[at(target, source, tap)];
            }
        }
    });
    packed
}

fn gather(
    source: &MapBatch,
    to: Dims,
    packed: &[f32],
    bias: Option<&[f32]>,
    rows: &Steps,
    columns: &Steps,
    kernel: usize,
) -> MapBatch {
    let tiles = target_tiles(to.c);
    let [wide, narrow] = tiles.widths();
    let from = source.dims;
    let each = kernel * kernel * from.c;
    let mut out = Buffer::uninit(to.len());
    out.par_chunks_mut(to.block()).enumerate().for_each(|(block, out)| {
        let source = &source.data[block * from.block()..][..from.block()];
        let (wides, narrows) = out.split_at_mut((tiles.wide_places() * to.plane()).min(to.block()));
        let wides = wides.par_chunks_mut(wide * to.plane());
        let pieces = wides.chain(narrows.par_chunks_mut(narrow * to.plane()));
        pieces.enumerate().for_each(|(index, out)| {
            let (first, width) = tiles.tile(index);
            let weight = &packed[first * each..][..width * each];
            let bias = bias.map(|bias| &bias[first..]);
            wide::run(Gather {
                source,
                from,
                weight,
                width,
                bias,
                rows,
                columns,
                kernel,
                plane: to.plane(),
                out,
            });
        });
    });
    MapBatch::new(to, out)
}

/// A tile of target channels of one block.
struct Gather<'a> {
    source: &'a [f32],
    from: Dims,
    weight: &'a [f32],
    /// How many target channels the tile takes.
    width: usize,
    bias: Option<&'a [f32]>,
    rows: &'a Steps,
    columns: &'a Steps,
    kernel: usize,
    /// How many numbers a target channel takes.
    plane: usize,
    out: &'a mut [f32],
}

impl Kernel for Gather<'_> {
    #[inline(always)]
    fn run<S: Simd, const N: usize>(self, simd: S) {
        if N == 1 {
            self.tile::<S, N, 8>(simd);
        } else if self.width == 6 {
            self.tile::<S, N, 6>(simd);
        } else {
            self.tile::<S, N, 4>(simd);
        }
    }
}

impl Gather<'_> {
    #[inline(always)]
    fn tile<S: Simd, const N: usize, const TILE: usize>(self, simd: S) {
        debug_assert_eq!(self.width, TILE);
        let splat = |value: f32| Sixteen::<S, N>::splat(simd, value);
        let each = self.from.c * TILE;
        let (width, plane) = (self.columns.0.len(), self.from.plane());
        let mut start = [splat(0.0); TILE];
        for (start, bias) in start.iter_mut().zip(self.bias.unwrap_or_default()) {
            *start = splat(*bias);
        }
        for (y, rows) in self.rows.0.iter().enumerate() {
            for (x, columns) in self.columns.0.iter().enumerate() {
                let mut sums = start;
                for (down, from_y) in rows {
                    for (right, from_x) in columns {
                        let tap = down * self.kernel + right;
                        let mut at = (from_y * self.from.w + from_x) * LANES;
                        let (weights, _) = self.weight[tap * each..][..each].as_chunks::<TILE>();
                        for weight in weights {
                            let values = Sixteen::load(simd, &self.source[at..]);
                            at += plane;
                            for (sum, weight) in sums.iter_mut().zip(weight) {
                                *sum = values.multiply_add(splat(*weight), *sum);
                            }
                        }
                    }
                }
                let at = (y * width + x) * LANES;
                let planes = self.out.chunks_exact_mut(self.plane);
                for (plane, sum) in planes.zip(&sums) {
                    sum.store(&mut plane[at..]);
                }
            }
        }
    }
}

// How many positions are gone through before the next tap: their maps stay in the first cache.
const RUN: usize = 64;

// Fewer channels than this are worth taking apart.
const FEW: usize = 16;

/// The inputs of the weight gradient: the output's gradient and the layer's input.
#[derive(Clone, Copy)]
struct WeightGradientWork<'a> {
    conv: Conv,
    gradient: &'a MapBatch,
    input: &'a MapBatch,
    /// How many columns the input lacks on each side.
    pad: usize,
    /// How many of the kernel's columns are taps of one source: all, or one where each is a source.
    columns: usize,
}

/// The gradients of a tile's weights, by tap, output channel, source and lane.
struct WeightGradient<'a> {
    work: WeightGradientWork<'a>,
    /// The tile's first output channel, and its first source.
    first: [usize; 2],
    /// How many sources there are.
    sources: usize,
    /// How many of them the tile takes.
    width: usize,
    sums: &'a mut [f32],
}

impl Kernel for WeightGradient<'_> {
    #[inline(always)]
    fn run<S: Simd, const N: usize>(self, simd: S) {
        if N == 1 {
            self.tile::<S, N, 4>(simd);
        } else if self.width == 3 {
            self.tile::<S, N, 3>(simd);
        } else {
            self.tile::<S, N, 2>(simd);
        }
    }
}

impl WeightGradient<'_> {
    /// Sums one register's lanes after another: sums of all lanes at once would not fit into 16 registers.
    #[inline(always)]
    fn tile<S: Simd, const N: usize, const WIDTH: usize>(self, simd: S) {
        debug_assert_eq!(self.width, WIDTH);
        let zero = Sixteen::<S, 1>::splat(simd, 0.0);
        let WeightGradientWork { conv, gradient, input, pad, columns } = self.work;
        let (from, to) = (input.dims, gradient.dims);
        // A channel past the last repeats it; its sums are not read.
        let targets: [usize; OUTS] =
            std::array::from_fn(|at| (self.first[0] + at).min(to.c - 1) * to.plane());
        let each = conv.kernel / columns;
        let sources: [usize; WIDTH] = std::array::from_fn(|at| {
            let source = (self.first[1] + at).min(self.sources - 1);
            source / each * from.plane() + source % each * LANES
        });
        // The widest reach of a source beyond its channel's column.
        let beyond = each - 1;
        let rows = (RUN / to.w).max(1);
        let together = (RUN / to.pixels()).max(1);
        for start in (0..to.blocks()).step_by(together) {
            let blocks = start..(start + together).min(to.blocks());
            for top in (0..to.h).step_by(rows) {
                let taps = self.sums.chunks_exact_mut(OUTS * WIDTH * LANES).enumerate();
                for (tap, kept) in taps {
                    let (down, right) = (tap / columns, tap % columns);
                    let width = from.w - beyond;
                    let Some((left, end)) = conv.columns(right, pad, width, to.w) else {
                        continue;
                    };
                    for part in 0..N {
                        let load = |values: &[f32]| Sixteen::<S, 1>::load_part(simd, values, part);
                        let mut sums = [[zero; WIDTH]; OUTS];
                        for (sum, kept) in
                            sums.as_flattened_mut().iter_mut().zip(kept.chunks_exact(LANES))
                        {
                            *sum = load(kept);
                        }
                        for block in blocks.clone() {
                            let gradient = &gradient.data[block * to.block()..][..to.block()];
                            let input = &input.data[block * from.block()..][..from.block()];
                            for y in top..(top + rows).min(to.h) {
                                let Some(row) = forward_at(y, down, conv, from.h) else { continue };
                                let row = row * from.w + left * conv.stride + right - pad;
                                let gradients: [&[f32]; OUTS] = std::array::from_fn(|at| {
                                    let start = targets[at] + (y * to.w + left) * LANES;
                                    &gradient[start..][..(end - left) * LANES]
                                });
                                let span = (end - 1 - left) * conv.stride + 1;
                                let inputs: [&[f32]; WIDTH] = std::array::from_fn(|at| {
                                    &input[sources[at] + row * LANES..][..span * LANES]
                                });
                                for x in 0..end - left {
                                    let mut values = [zero; WIDTH];
                                    for (value, input) in values.iter_mut().zip(&inputs) {
                                        *value = load(&input[x * conv.stride * LANES..]);
                                    }
                                    for (sums, gradient) in sums.iter_mut().zip(&gradients) {
                                        let gradient = load(&gradient[x * LANES..]);
                                        for (sum, value) in sums.iter_mut().zip(values) {
                                            *sum = gradient.multiply_add(value, *sum);
                                        }
                                    }
                                }
                            }
                        }
                        let kept = kept.chunks_exact_mut(LANES);
                        for (sum, kept) in sums.as_flattened().iter().zip(kept) {
                            sum.store_part(kept, part);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // (channels in, channels out, height, width, kernel, stride, padding)
    const CASES: [[usize; 7]; 9] = [
        [1, 2, 5, 5, 1, 1, 0],
        [2, 9, 8, 8, 1, 2, 0],
        [12, 3, 1, 1, 1, 2, 0],
        [3, 5, 7, 6, 3, 1, 1],
        [2, 2, 8, 9, 3, 2, 1],
        [17, 16, 1, 1, 3, 1, 1],
        [5, 4, 2, 2, 3, 2, 1],
        [1, 6, 12, 12, 5, 1, 2],
        [6, 16, 6, 7, 5, 1, 0],
    ];

    fn numbers(count: usize, salt: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 31 + salt * 17) % 23) as f32 / 16.0 - 0.7).collect()
    }

    fn near(found: &[f32], wanted: &[f64], what: &str) {
        assert_eq!(found.len(), wanted.len(), "{what}");
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((f64::from(*found) - wanted).abs() < 2e-4, "{what}: {found}, {wanted}");
        }
    }

    // 19 samples: a full register and three lanes of the next.
    #[test]
    fn as_the_loops_have_it() {
        for case in CASES {
            let [c, o, h, w, kernel, stride, pad] = case;
            let conv = Conv { out: o, kernel, stride, pad };
            let from = Dims { n: 19, c, h, w };
            let to = conv.output(from);
            let x = numbers(19 * c * h * w, 1);
            let weight = numbers(o * c * kernel * kernel, 2);
            let g = numbers(19 * o * to.h * to.w, 3);
            let bias = numbers(o, 4);
            let mut y: Vec<f64> = vec![];
            let mut dx = vec![0.0; x.len()];
            let mut dw = vec![0.0; weight.len()];
            let mut db = vec![0.0; o];
            for (place, slope) in g.iter().enumerate() {
                let (left, rest) = (place % to.w, place / to.w);
                let (top, rest) = (rest % to.h, rest / to.h);
                let (out, sample) = (rest % o, rest / o);
                let slope = f64::from(*slope);
                let mut sum = f64::from(bias[out]);
                db[out] += slope;
                for tap in 0..c * kernel * kernel {
                    let (right, rest) = (tap % kernel, tap / kernel);
                    let (down, channel) = (rest % kernel, rest / kernel);
                    let row = (top * stride + down).checked_sub(pad).filter(|row| *row < h);
                    let column = (left * stride + right).checked_sub(pad).filter(|at| *at < w);
                    let (Some(row), Some(column)) = (row, column) else { continue };
                    let at = ((sample * c + channel) * h + row) * w + column;
                    let tap = out * c * kernel * kernel + tap;
                    sum += f64::from(x[at]) * f64::from(weight[tap]);
                    dx[at] += slope * f64::from(weight[tap]);
                    dw[tap] += slope * f64::from(x[at]);
                }
                y.push(sum);
            }
            let (x, g) = (MapBatch::pack(&x, from), MapBatch::pack(&g, to));
            near(&conv.forward(&x, &weight, Some(&bias)).unpack(), &y, "forward");
            near(&conv.to_input(&g, &weight, from).unpack(), &dx, "input");
            near(&conv.to_weight(&g, &x), &dw, "weight");
            near(&to_bias(&g), &db, "bias");
        }
    }
}
