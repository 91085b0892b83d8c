//! Vectors kept on an accelerator, and the products that are asked of them there.
//!
//! An accelerator's matrix units may see only the first eleven bits of a factor. Where that would
//! show, a number goes in as the sum of two that fit, and three products are added up (Markidis et
//! al., *NVIDIA Tensor Core Programmability, Performance & Precision*, IPDPSW 2018): what comes
//! back is as good as a sum in f32. Nothing here is a kernel of ours, so it is tested on the CPU.

use super::Matrix;
use crate::{
    device::Device,
    nn::{Tensor, download},
};
use burn::tensor::{Bool, DType, Int, TensorData};

/// Vectors of one or several spaces on an accelerator. An inner product of two of them is the
/// product, over the spaces, of the inner products there.
pub(crate) struct Resident {
    device: Device,
    n: usize,
    spaces: Vec<Space>,
}

struct Space {
    /// \[n, d\].
    whole: Tensor<2>,
    /// \[n, 3 d\]: the first bits, the last, the first again; present once products of pairs are
    /// asked for.
    split: Option<Tensor<2>>,
}

/// What is made of an inner product of two vectors, here and on an accelerator.
pub(crate) trait Entry: Send + Sync {
    /// The element of a vector and itself.
    const DIAGONAL: f32;

    /// Returns the element in row `j`, column `i`, of which `product` is the inner product.
    fn of(&self, j: usize, i: usize, product: f32) -> f32;

    /// Returns the same for whole rows: `products` is \[rows, n\]. The diagonal is not looked at.
    fn of_rows(&self, rows: &[u32], products: Tensor<2>) -> Tensor<2>;
}

// Below this many numbers the host is done before an accelerator has begun; beyond that one, its
// kernels cannot count them.
const FEW: usize = 1 << 21;
const MANY: usize = i32::MAX as usize;

/// Returns whether work that looks at `numbers` of them each time is better done on `device`.
fn pays(device: Device, numbers: usize) -> bool {
    // Tests have small cases, and no accelerator but one that stands in for it.
    let few = if cfg!(test) { 1 } else { FEW };
    !device.is_cpu() && (few..=MANY).contains(&numbers)
}

/// How many rows of pairs are computed together: with n = 50,000 columns they take 200 MB.
pub(crate) const BLOCK: usize = 1024;

impl Resident {
    /// Puts `spaces` on `device`, if it is an accelerator and that pays. With `pairs`, products of
    /// all pairs will be asked for.
    pub(crate) fn new(device: Device, spaces: &[Matrix<'_>], pairs: bool) -> Option<Self> {
        let numbers = |space: &Matrix<'_>| space.data().len() * if pairs { 3 } else { 1 };
        let largest = spaces.iter().map(numbers).max().unwrap_or(0);
        pays(device, largest).then(|| Self::on(device, spaces, pairs))
    }

    /// Puts `spaces` on `device`, whatever it is.
    pub(crate) fn on(device: Device, spaces: &[Matrix<'_>], pairs: bool) -> Self {
        let spaces = spaces.iter();
        let spaces: Vec<Space> = spaces
            .map(|space| Space {
                whole: upload(device, space.data().to_vec(), space.cols()),
                split: pairs.then(|| upload(device, split(space, Order::Right), 3 * space.cols())),
            })
            .collect();
        let n = spaces.first().map_or(0, |space| space.whole.dims()[0]);
        Self { device, n, spaces }
    }

    /// Returns the squared distance of every vector of the first space from `to`.
    pub(crate) fn squared_distances(&self, to: &[f32]) -> Vec<f32> {
        let apart = self.spaces[0].whole.clone() - upload(self.device, to.to_vec(), to.len());
        download(&(apart.clone() * apart).sum_dim(1))
    }

    pub(crate) fn device(&self) -> Device {
        self.device
    }

    /// Returns the inner products of every vector with the one whose part in each space named is
    /// the vector beside its number.
    pub(crate) fn times(&self, factors: &[(usize, &[f32])]) -> Vec<f32> {
        let parts = factors.iter().map(|(space, factor)| {
            let factor = upload(self.device, factor.to_vec(), factor.len());
            (self.spaces[*space].whole.clone() * factor).sum_dim(1)
        });
        download(&parts.reduce(|a, b| a * b).expect("there is a space"))
    }

    /// Returns `t' x`, \[columns of t, d\] row-major, for \[n, ...\] `t` and the vectors x of space `at`.
    pub(crate) fn cross(&self, at: usize, t: &Matrix<'_>) -> Vec<f32> {
        let (m, d) = (t.cols(), self.spaces[at].whole.dims()[1]);
        let x = self.pairs(at).clone().slice([0..self.n, 0..2 * d]);
        let t = upload(self.device, split(t, Order::Right), 3 * m).slice([0..self.n, 0..2 * m]);
        // First with first, first with last, last with first; last with last is below an f32.
        let all = t.transpose().matmul(x);
        let part = |row: usize, col: usize| {
            all.clone().slice([row * m..(row + 1) * m, col * d..(col + 1) * d])
        };
        download(&(part(0, 0) + (part(0, 1) + part(1, 0))))
    }

    /// Returns, for every vector, the sum over `m` of `left[m]` times its inner product in space
    /// `right` with row m of `w`: `l_i' W r_i`, with `W` \[d of left, d of right\].
    pub(crate) fn weighted(&self, left: usize, right: usize, w: &Matrix<'_>) -> Vec<f32> {
        let w = upload(self.device, split(w, Order::Left), 3 * w.cols());
        let along = self.pairs(right).clone().matmul(w.transpose());
        download(&(self.spaces[left].whole.clone() * along).sum_dim(1))
    }

    /// Returns row `j` of what `entry` makes of all inner products.
    pub(crate) fn row<E: Entry>(&self, entry: &E, j: u32) -> Vec<f32> {
        download(&self.rows(entry, &[j]))
    }

    /// Returns, for each of `rows`, the sum over the row of what exceeds `floor`, \[n\].
    pub(crate) fn excess<E: Entry>(&self, entry: &E, rows: &[u32], floor: &[f32]) -> Vec<f64> {
        let floor = upload(self.device, floor.to_vec(), floor.len());
        let sum = |rows: &[u32]| {
            let above = (self.rows(entry, rows) - floor.clone()).clamp_min(0.0);
            download(&above.sum_dim(1))
        };
        rows.chunks(BLOCK).flat_map(sum).map(f64::from).collect()
    }

    /// Returns the smallest of all elements.
    pub(crate) fn least<E: Entry>(&self, entry: &E) -> f32 {
        let all: Vec<u32> = (0..self.n as u32).collect();
        let least = |rows: &[u32]| download(&self.rows(entry, rows).min_dim(1));
        all.chunks(BLOCK).flat_map(least).fold(f32::INFINITY, f32::min)
    }

    /// Returns the places of the `count` smallest elements of each of `rows`, smallest first; of equal
    /// ones the first.
    pub(crate) fn smallest<E: Entry>(
        &self,
        entry: &E,
        rows: &[u32],
        count: usize,
    ) -> Vec<Vec<u32>> {
        if count == 0 {
            return vec![vec![]; rows.len()];
        }
        let mut out = Vec::with_capacity(rows.len());
        for rows in rows.chunks(BLOCK) {
            let columns = self.columns();
            let mut left = self.rows(entry, rows);
            let mut found: Vec<Tensor<2, Int>> = Vec::with_capacity(count);
            for _ in 0..count {
                let place = left.clone().argmin(1);
                let here = columns.clone().equal(place.clone().cast(DType::I32));
                left = left.mask_fill(here, f32::INFINITY);
                found.push(place);
            }
            let places = Tensor::cat(found, 1).to_data().convert::<i32>();
            let places: Vec<i32> = places.to_vec().expect("it was converted to i32");
            let row = |row: &[i32]| row.iter().map(|place| *place as u32).collect();
            out.extend(places.chunks_exact(count).map(row).collect::<Vec<Vec<u32>>>());
        }
        out
    }

    fn pairs(&self, at: usize) -> &Tensor<2> {
        self.spaces[at].split.as_ref().expect("it was made for products of pairs")
    }

    /// Returns what `entry` makes of the inner products of vectors `rows` with all: \[rows, n\].
    fn rows<E: Entry>(&self, entry: &E, rows: &[u32]) -> Tensor<2> {
        let b = rows.len();
        let products = (0..self.spaces.len()).map(|at| {
            let right = self.pairs(at);
            let d = right.dims()[1] / 3;
            let own = right.clone().select(0, ints(self.device, rows));
            let part = |third: usize| own.clone().slice([0..b, third * d..(third + 1) * d]);
            let left = Tensor::cat(vec![part(0), part(0), part(1)], 1);
            left.matmul(right.clone().transpose())
        });
        let products = products.reduce(|a, b| a * b).expect("there is a space");
        entry.of_rows(rows, products).mask_fill(self.diagonal(rows), E::DIAGONAL)
    }

    fn columns(&self) -> Tensor<2, Int> {
        let columns: Vec<u32> = (0..self.n as u32).collect();
        ints(self.device, &columns).reshape([1, self.n])
    }

    /// Returns where in `rows`, \[rows, n\], a vector meets itself.
    fn diagonal(&self, rows: &[u32]) -> Tensor<2, Bool> {
        self.columns().equal(ints(self.device, rows).reshape([rows.len(), 1]))
    }
}

/// Returns the squared distances of vectors `rows` from all, \[rows, n\], of which `products` are the
/// inner products and `squares` the squared lengths.
pub(crate) fn apart(rows: &[u32], squares: &[f64], products: Tensor<2>) -> Tensor<2> {
    let device = products.device();
    let tensor = |values: Vec<f32>, shape: [usize; 2]| {
        Tensor::<2>::from_data(TensorData::new(values, shape), &device)
    };
    let own: Vec<f32> = rows.iter().map(|row| squares[*row as usize] as f32).collect();
    let all: Vec<f32> = squares.iter().map(|square| *square as f32).collect();
    let (b, n) = (own.len(), all.len());
    products * -2.0 + tensor(own, [b, 1]) + tensor(all, [1, n])
}

/// Rows of n numbers that are added one by one, on an accelerator.
pub(crate) struct Grown {
    device: Device,
    n: usize,
    rows: usize,
    /// \[[`GROWTH`], n\] each; rows still to come are 0.
    blocks: Vec<Tensor<2>>,
}

const GROWTH: usize = 256;

impl Grown {
    /// Returns no rows, on `device`, if at the `most` that may come it is worth it.
    pub(crate) fn new(device: Device, n: usize, most: usize) -> Option<Self> {
        pays(device, n * most.min(GROWTH)).then(|| Self::on(device, n))
    }

    fn on(device: Device, n: usize) -> Self {
        Self { device, n, rows: 0, blocks: vec![] }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: &[f32]) {
        let at = self.rows % GROWTH;
        if at == 0 {
            self.blocks.push(Tensor::zeros([GROWTH, self.n], &self.device.inner()));
        }
        let block = self.blocks.pop().expect("there is one for this row");
        let row = upload(self.device, row.to_vec(), self.n);
        self.blocks.push(block.slice_assign([at..at + 1, 0..self.n], row));
        self.rows += 1;
    }

    /// Returns the sum of all rows, each times its factor.
    pub(crate) fn combined(&self, factors: &[f32]) -> Vec<f32> {
        let parts = self.blocks.iter().zip(factors.chunks(GROWTH)).map(|(block, factors)| {
            let mut factors = factors.to_vec();
            factors.resize(GROWTH, 0.0);
            (block.clone() * upload(self.device, factors, 1)).sum_dim(0)
        });
        parts.reduce(|a, b| a + b).map_or_else(|| vec![0.0; self.n], |sum| download(&sum))
    }
}

/// Which thirds hold what, so that the inner product of a left row with a right one leaves out only
/// the last bits of both.
#[derive(Clone, Copy)]
enum Order {
    /// First, first, last.
    Left,
    /// First, last, first.
    Right,
}

/// Returns every row three times as long: the first bits of its numbers and the last ones.
fn split(matrix: &Matrix<'_>, order: Order) -> Vec<f32> {
    // What a matrix unit keeps of an f32: its sign, its exponent, ten bits after the first.
    let first = |value: f32| f32::from_bits(value.to_bits() & !0x1fff);
    let mut out = Vec::with_capacity(3 * matrix.data().len());
    for i in 0..matrix.rows() {
        let row = matrix.row(i);
        let firsts = || row.iter().map(|value| first(*value));
        let lasts = || row.iter().map(|value| value - first(*value));
        match order {
            Order::Left => out.extend(firsts().chain(firsts()).chain(lasts())),
            Order::Right => out.extend(firsts().chain(lasts()).chain(firsts())),
        }
    }
    out
}

fn upload(device: Device, values: Vec<f32>, cols: usize) -> Tensor<2> {
    let rows = values.len() / cols.max(1);
    Tensor::from_data(TensorData::new(values, [rows, cols]), &device.inner())
}

pub(crate) fn ints(device: Device, values: &[u32]) -> Tensor<1, Int> {
    let values: Vec<i32> = values.iter().map(|value| value.cast_signed()).collect();
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), (&device.inner(), DType::I32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::{Above, Gram, Rows, noise, rows::tests::Twice};

    /// The products, of which a vector with itself is none.
    struct Others;

    impl Entry for Others {
        const DIAGONAL: f32 = f32::INFINITY;

        fn of(&self, _: usize, _: usize, product: f32) -> f32 {
            product
        }

        fn of_rows(&self, _: &[u32], products: Tensor<2>) -> Tensor<2> {
            products
        }
    }

    fn close(a: &[f32], b: &[f32]) {
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{a} and {b}");
        }
    }

    #[test]
    fn what_an_accelerator_computes_is_what_the_host_does() {
        let (n, d, c) = (1100, 33, 3);
        let (x, r) = (noise(n * d, 1), noise(n * c, 2));
        let (x, r) = (Matrix::new(&x, n, d), Matrix::new(&r, n, c));
        let there = Resident::on(Device::CPU, &[r.view(), x.view()], true);
        let rows = || Rows::new(Gram::new(vec![r.view(), x.view()]), Twice);

        close(&there.row(&Twice, 1030), &rows().row(1030));
        close(
            &there.times(&[(0, r.row(7)), (1, x.row(7))]),
            &Gram::new(vec![r.view(), x.view()]).rows(&[7]),
        );
        let asked: Vec<u32> = (0..n as u32).rev().collect();
        let mut above = Above::new(rows(), 0.5, &mut 0);
        let narrow = |all: Vec<f64>| all.into_iter().map(|v| v as f32).collect::<Vec<f32>>();
        let floor = vec![0.5; n];
        close(&narrow(there.excess(&Twice, &asked, &floor)), &narrow(above.excess(&asked)));
        assert!((there.least(&Twice) - rows().least()).abs() < 1e-4);

        let alone = Resident::on(Device::CPU, &[x.view()], true);
        let to = x.row(3);
        let slow: Vec<f32> =
            (0..n).map(|i| crate::linalg::squared_distance(x.row(i), to)).collect();
        close(&alone.squared_distances(to), &slow);
        let sums = |all: Vec<f64>| all.into_iter().map(|v| v as f32).collect::<Vec<f32>>();
        close(&there.cross(1, &r), &sums(crate::linalg::cross(&r, &x)));
        let w = noise(c * d, 4);
        let wide: Vec<f64> = w.iter().map(|v| f64::from(*v)).collect();
        close(
            &there.weighted(0, 1, &Matrix::new(&w, c, d)),
            &sums(crate::linalg::weighted(&x, Some(&r), &wide)),
        );
    }

    #[test]
    fn the_smallest_come_in_order_and_equals_by_place() {
        let x = Matrix::new(vec![1.0f32, 3.0, 2.0, 3.0, 0.5], 5, 1);
        let there = Resident::on(Device::CPU, &[x], true);
        let found = there.smallest(&Others, &[0, 4], 3);
        assert_eq!(found, [[4, 2, 1], [0, 2, 1]]);
    }

    #[test]
    fn rows_are_combined_as_they_come() {
        let (n, k) = (40, GROWTH + 3);
        let (rows, factors) = (noise(n * k, 6), noise(k, 7));
        let mut grown = Grown::on(Device::CPU, n);
        assert_eq!(grown.combined(&[]), vec![0.0; n]);
        let mut sum = vec![0f32; n];
        for (row, factor) in rows.chunks(n).zip(&factors) {
            grown.push(row);
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value * factor);
        }
        close(&grown.combined(&factors), &sum);
    }

    #[test]
    fn a_number_is_the_sum_of_its_first_bits_and_its_last() {
        let x = noise(100, 5);
        let halves = split(&Matrix::new(&x, 1, 100), Order::Right);
        for (at, x) in x.iter().enumerate() {
            let (first, last) = (halves[at], halves[100 + at]);
            assert_eq!(first + last, *x);
            assert_eq!(first.to_bits() & 0x1fff, 0);
            assert!(last.abs() <= x.abs() / 1024.0);
        }
    }
}
