//! Layers as the kernels of an accelerator are fast with them.
//!
//! Nothing is tried out there to find the fastest kernel: that takes minutes for every new size, and another
//! one on another day would round differently. So what is asked is what the kernels at hand do well: products
//! of matrices, on the matrix units, and sums along short sides.

use super::Tensor;
use crate::device::Device;
use burn::tensor::Slice;

/// Returns a convolution as one product of matrices: the pixels that each output looks at, side by side
/// (im2col; Chellapilla, Puri and Simard, *High Performance Convolutional Neural Networks for Document
/// Processing*, 2006), times the weights. Maps are \[n, h, w, c\]. It takes the memory of as many inputs as a
/// kernel has pixels.
pub(super) fn conv_by_product(
    mut x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: usize,
    pad: [usize; 2],
) -> Tensor<4> {
    let [n, height, width, c] = x.dims();
    let [out, _, down, right] = weight.dims();
    let (tall, wide) = (height + 2 * pad[0], width + 2 * pad[1]);
    let (rows, columns) = ((tall - down) / stride + 1, (wide - right) / stride + 1);
    if pad != [0, 0] {
        let padded = Tensor::zeros([n, tall, wide, c], (&x.device(), x.dtype()));
        let inside = [0..n, pad[0]..pad[0] + height, pad[1]..pad[1] + width, 0..c];
        x = padded.slice_assign(inside, x);
    }
    let along = |from: usize, count: usize| {
        Slice::new(from as isize, Some((from + (count - 1) * stride + 1) as isize), stride as isize)
    };
    let whole = Slice::full();
    let beside = |mut parts: Vec<Tensor<4>>| {
        if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(parts, 3) }
    };
    // First those of a row, then the rows: fewer and longer copies than pixel by pixel.
    let row = (0..right).map(|j| x.clone().slice([whole, whole, along(j, columns), whole]));
    let x = beside(row.collect());
    let seen = (0..down).map(|i| x.clone().slice([whole, along(i, rows), whole, whole]));
    let seen = beside(seen.collect());
    let taps = down * right;
    let weight = weight.permute([2, 3, 1, 0]).reshape([1, taps * c, out]);
    // The gradient of few weights is a product with long sums: one for each sample, and then over these.
    let apart = if taps * c * out < MANY_WEIGHTS { n } else { 1 };
    let y = seen.reshape([apart, n / apart * rows * columns, taps * c]).matmul(weight);
    let y = y.reshape([n, rows, columns, out]);
    match bias {
        Some(bias) => y + spread(bias, [n, rows, columns, out]),
        None => y,
    }
}

const MANY_WEIGHTS: usize = 1 << 17;

/// Returns one value for each of the last side, as a tensor of this shape. The other sides are added one by
/// one, and so the gradient is summed side by side: in one go, it would be one long sum for each value, and
/// few threads at work.
pub(super) fn spread<const D: usize>(values: Tensor<1>, shape: [usize; D]) -> Tensor<D> {
    let mut sides = [1; D];
    sides[D - 1] = shape[D - 1];
    let mut out = values.reshape(sides);
    for at in 0..D - 1 {
        sides[at] = shape[at];
        out = out.expand(sides);
    }
    out
}

/// Returns the sum of each row, \[b, 1\].
pub(crate) fn sums_of_rows(x: Tensor<2>) -> Tensor<2> {
    by_parts(x, |x| x.sum_dim(1))
}

/// Returns the least of each row, \[b, 1\].
pub(crate) fn least_of_rows(x: Tensor<2>) -> Tensor<2> {
    by_parts(x, |x| x.min_dim(1))
}

// How many numbers one thread goes through.
const PART: usize = 256;

/// Returns what `reduce` makes of each row of `x`, \[b, 1\], by parts; it reduces the second side of three. With
/// one thread for a whole row of many numbers, an accelerator would have little to do at a time.
fn by_parts(mut x: Tensor<2>, reduce: fn(Tensor<3>) -> Tensor<3>) -> Tensor<2> {
    loop {
        let [rows, columns] = x.dims();
        let reduced = |x: Tensor<2>, side: usize, parts: usize| {
            reduce(x.reshape([rows, side, parts])).reshape([rows, parts])
        };
        let parts = columns / PART;
        if parts < 2 {
            return reduced(x, columns, 1);
        }
        let whole = reduced(x.clone().slice([0..rows, 0..parts * PART]), PART, parts);
        let rest = parts * PART..columns;
        x = match rest.len() {
            0 => whole,
            few => Tensor::cat(vec![whole, reduced(x.slice([0..rows, rest]), few, 1)], 1),
        };
    }
}

/// Returns two factors of `n`, as near to each other as there are.
pub(super) fn factors(n: usize) -> [usize; 2] {
    let small = (1..=n.isqrt()).rev().find(|at| n.is_multiple_of(*at)).unwrap_or(1);
    [small, n / small.max(1)]
}

/// The order of a map's sides, and what is done to each channel in it without moving a value.
#[derive(Clone, Copy)]
pub(super) struct ChannelOrder {
    n: usize,
    c: usize,
    height: usize,
    width: usize,
    /// \[n, h, w, c\], as the products of an accelerator leave them; else \[n, c, h, w\].
    last: bool,
}

impl ChannelOrder {
    /// Returns the order of `x`, whose channels are its last side or its second.
    pub(super) fn of(x: &Tensor<4>, last: bool) -> Self {
        let [n, a, b, d] = x.dims();
        let (c, height, width) = if last { (d, a, b) } else { (a, b, d) };
        Self { n, c, height, width, last }
    }

    /// Returns how many values a channel has.
    pub(super) fn count(self) -> f64 {
        (self.n * self.height * self.width) as f64
    }

    /// Returns `x` times a factor for each channel, plus a term for each, \[c\] both.
    pub(super) fn scaled(self, x: Tensor<4>, scale: Tensor<1>, shift: Tensor<1>) -> Tensor<4> {
        if self.last {
            let rows = self.parts(x) * self.spread(scale) + self.spread(shift);
            self.back(rows)
        } else {
            let rows = self.rows(x) * self.each(scale) + self.each(shift);
            self.back(rows)
        }
    }

    /// Returns `x` brought to mean 0 and variance 1 in each channel, then scaled, and the mean and the
    /// variance.
    pub(super) fn normalised(
        self,
        x: Tensor<4>,
        epsilon: f64,
        (scale, shift): (Tensor<1>, Tensor<1>),
    ) -> (Tensor<4>, [Tensor<1>; 2]) {
        if self.last {
            let sums =
                |x: Tensor<5>| x.sum_dim(0).sum_dim(1).sum_dim(2).sum_dim(3).reshape([self.c]);
            let each = |values| self.spread(values);
            let numbers = (self.count(), epsilon);
            let (y, found) = normalised(self.parts(x), numbers, (scale, shift), sums, each);
            (self.back(y), found)
        } else {
            let sums =
                |x: Tensor<2>| x.sum_dim(1).reshape([self.n, self.c]).sum_dim(0).reshape([self.c]);
            let each = |values| self.each(values);
            let numbers = (self.count(), epsilon);
            let (y, found) = normalised(self.rows(x), numbers, (scale, shift), sums, each);
            (self.back(y), found)
        }
    }

    /// Returns each map of `x` times its own factor, a map of one pixel.
    pub(super) fn gated(self, x: Tensor<4>, gates: Tensor<4>) -> Tensor<4> {
        // Channels last, one pixel goes with all as it lies.
        if self.last { x * gates } else { self.back(self.rows(x) * self.rows(gates)) }
    }

    /// Returns the mean of each map, \[n, c\].
    pub(super) fn means(self, x: Tensor<4>) -> Tensor<2> {
        let Self { n, c, height, width, last } = self;
        let sums = match last {
            true => x.sum_dim(1).sum_dim(2).reshape([n, c]),
            false => self.rows(x).sum_dim(1).reshape([n, c]),
        };
        sums.div_scalar((height * width) as f64)
    }

    /// Returns `x` with the samples as two factors: one thread of an accelerator adds up one side, and short
    /// sides keep many at work.
    fn parts(self, x: Tensor<4>) -> Tensor<5> {
        let [some, others] = factors(self.n);
        x.reshape([some, others, self.height, self.width, self.c])
    }

    /// Returns one value a channel, \[c\], as what goes with [`Self::parts`].
    fn spread(self, values: Tensor<1>) -> Tensor<5> {
        let [some, others] = factors(self.n);
        spread(values, [some, others, self.height, self.width, self.c])
    }

    /// Returns `x` with one row for each sample and channel: the CPU's kernels are fast for two sides, and for
    /// one scalar a row, and walk what has more element by element.
    fn rows(self, x: Tensor<4>) -> Tensor<2> {
        let [n, c, height, width] = x.dims();
        x.reshape([n * c, height * width])
    }

    /// Returns one value a channel, \[c\], as what goes with [`Self::rows`].
    fn each(self, values: Tensor<1>) -> Tensor<2> {
        let Self { n, c, .. } = self;
        values.reshape([1, c]).repeat_dim(0, n).reshape([n * c, 1])
    }

    fn back<const D: usize>(self, x: Tensor<D>) -> Tensor<4> {
        let Self { n, c, height, width, last } = self;
        x.reshape(if last { [n, height, width, c] } else { [n, c, height, width] })
    }
}

/// Does what [`ChannelOrder::normalised`] does, where `sums` adds up each channel and `each` makes of one value a
/// channel what goes with `x`. `count` is how many values a channel has.
fn normalised<const D: usize>(
    x: Tensor<D>,
    (count, epsilon): (f64, f64),
    (scale, shift): (Tensor<1>, Tensor<1>),
    sums: impl Fn(Tensor<D>) -> Tensor<1>,
    each: impl Fn(Tensor<1>) -> Tensor<D>,
) -> (Tensor<D>, [Tensor<1>; 2]) {
    let mean = sums(x.clone()).div_scalar(count);
    let centred = x - each(mean.clone());
    let variance = sums(centred.clone() * centred.clone()).div_scalar(count);
    let scale = scale / (variance.clone() + epsilon).sqrt();
    (centred * each(scale) + each(shift), [mean, variance])
}

/// Whether `x` lies in an accelerator's memory.
pub(super) fn on_accelerator<const D: usize>(x: &Tensor<D>) -> bool {
    x.device().inner() != Device::CPU.inner()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{
        download,
        forward::{Batch, Mode, pass},
        values::NetworkValues,
    };
    use artifacts::{
        architecture::{Architecture, Family, Network},
        units::Count,
    };
    use burn::tensor::TensorData;
    use engine::Streams;

    #[test]
    fn factors_are_near_each_other() {
        let cases = [(128, [8, 16]), (127, [1, 127]), (1, [1, 1]), (0, [1, 0]), (36, [6, 6])];
        for (n, wanted) in cases {
            assert_eq!(factors(n), wanted);
        }
    }

    #[test]
    fn rows_by_parts_are_whole_rows() {
        for columns in [1, 255, 511, 512, 513, 70_000] {
            let values: Vec<f32> =
                (0..2 * columns).map(|i| ((i * 37) % 101) as f32 - 50.0).collect();
            let data = TensorData::new(values.clone(), [2, columns]);
            let x = Tensor::<2>::from_data(data, &Device::CPU.inner());
            let rows = || values.chunks_exact(columns);
            // Whole numbers: no order of adding them rounds.
            let sums: Vec<f32> = rows().map(|row| row.iter().sum()).collect();
            let least: Vec<f32> =
                rows().map(|row| row.iter().copied().fold(0.0, f32::min)).collect();
            assert_eq!(download(&sums_of_rows(x.clone())), sums, "{columns}");
            assert_eq!(download(&least_of_rows(x)), least, "{columns}");
        }
    }

    #[test]
    fn both_orders_of_channels_give_the_same_sums() {
        let values: Vec<f32> = (0..6 * 3 * 4 * 5).map(|i| ((i * 31) % 23) as f32 - 9.0).collect();
        let data = TensorData::new(values, [6, 3, 4, 5]);
        let x = Tensor::<4>::from_data(data, &Device::CPU.inner());
        let near = |one: Vec<f32>, other: Vec<f32>| {
            let off = one.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(one.len() == other.len() && off < 1e-4, "{one:?} and {other:?}");
        };
        let by = |last: bool| {
            let x = if last { x.clone().permute([0, 2, 3, 1]) } else { x.clone() };
            let order = ChannelOrder::of(&x, last);
            assert_eq!(order.count(), 120.0);
            let ones = || Tensor::ones([3], &Device::CPU.inner());
            let maps = order.means(x.clone());
            let (normal, [mean, variance]) = order.normalised(x, 1e-5, (ones(), ones()));
            let scaled = order.scaled(normal, mean.clone(), variance.clone());
            let scaled = if last { scaled.permute([0, 3, 1, 2]) } else { scaled };
            [download(&mean), download(&variance), download(&maps), download(&scaled)]
        };
        for (one, other) in by(true).into_iter().zip(by(false)) {
            near(one, other);
        }
    }

    #[test]
    fn channels_last_give_the_same_logits_and_gradients() {
        let device = Device::CPU.inner();
        // A network of many normalisations over six samples makes much of the last bits.
        for (family, width, sample, near) in [
            (Family::Mlp, Some(8_u64), [1, 6, 6], 1e-4),
            (Family::Lenet, None, [1, 28, 28], 1e-4),
            (Family::Resnet18, Some(2), [3, 16, 16], 1e-3),
            (Family::MobilenetV3Small, None, [3, 32, 32], 1e-2),
            (Family::InceptionV3, None, [3, 32, 32], 0.1),
        ] {
            let width = width.map(|width| Count::try_from(width).expect("it is above 0"));
            let network = Network::new(Architecture { name: family, width }, &sample, 3);
            let network = network.expect("it fits");
            let mut rng = Streams::new(1, &["init"]).get("init");
            let values = NetworkValues::start(&network, Device::CPU, &mut rng);
            let n = 6 * sample.iter().product::<usize>();
            let pixels: Vec<f32> = (0..n).map(|at| ((at * 37) % 29) as f32 / 29.0 - 0.5).collect();
            let by = |last: bool| {
                let data = TensorData::new(pixels.clone(), [6, sample[0], sample[1], sample[2]]);
                let x = Batch::Map(Tensor::from_data(data, &device)).recorded();
                let leaves = values.params.iter();
                let leaves: Vec<Tensor<1>> =
                    leaves.map(|param| Tensor::from_inner(param.clone()).require_grad()).collect();
                let out = pass(&network, (&leaves, &values.stats), x, Mode::Train, last, None);
                let logits = out.logits.clone().inner();
                let weights = Tensor::from_inner(logits.clone()).cos();
                let gradients = (out.logits * weights).sum().backward();
                let mut all = vec![download(&logits)];
                all.extend(out.stats.iter().map(download));
                all.extend(
                    leaves.iter().map(|leaf| download(&leaf.grad(&gradients).expect("it is used"))),
                );
                all
            };
            let [ours, theirs] = [true, false].map(by);
            let norm = |all: &mut dyn Iterator<Item = f64>| all.map(|x| x * x).sum::<f64>().sqrt();
            for part in [0..1, 1..ours.len()] {
                let both =
                    ours[part.clone()].iter().flatten().zip(theirs[part.clone()].iter().flatten());
                let mut apart = both.map(|(a, b)| f64::from(*a) - f64::from(*b));
                let mut all = theirs[part].iter().flatten().map(|value| f64::from(*value));
                let off = norm(&mut apart) / norm(&mut all);
                assert!(off < near, "{family:?}: off by {off}");
            }
        }
    }
}
