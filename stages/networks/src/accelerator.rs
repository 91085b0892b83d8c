//! A GPU as the accelerator of the methods: vectors kept there, and the products asked of them.
//!
//! An accelerator's matrix units may see only the first eleven bits of a factor. Where that would
//! show, a number goes in as the sum of two that fit, and three products are added up (Markidis et
//! al., *NVIDIA Tensor Core Programmability, Performance & Precision*, IPDPSW 2018): what comes
//! back is as good as a sum in f32. Nothing here is a kernel of ours, so it is tested on the CPU.

use crate::{
    device::{Device, beside, explain},
    nn::{Tensor, download, least_of_rows, sums_of_rows},
};
use artifacts::Matrix;
use burn::tensor::{Bool, DType, Int, TensorData};
use engine::StageError;
use methods::linalg::{Accelerator, DeviceRows, DeviceVectors, Pairwise, PairwiseElements};
use std::{any::Any, sync::Arc};

/// Returns `device` as what the methods may compute on, or `None` for the CPU, which they use anyway.
#[must_use]
pub fn accelerator(device: Device) -> Option<Arc<dyn Accelerator>> {
    device.capabilities().own_memory.then(|| Arc::new(OnDevice { device, fewest: FEWEST }) as _)
}

/// A device, and from how many numbers on it is used.
struct OnDevice {
    device: Device,
    fewest: usize,
}

// Below this many numbers the host is done before an accelerator has begun; beyond the other, its
// kernels cannot count them.
const FEWEST: usize = 1 << 21;
const MOST: usize = i32::MAX as usize;

impl Accelerator for OnDevice {
    fn name(&self) -> String {
        self.device.name()
    }

    fn is_worth_offloading(&self, elements: usize) -> bool {
        (self.fewest..=MOST).contains(&elements)
    }

    fn upload(&self, spaces: &[Matrix<'_>], pairs: bool) -> Box<dyn DeviceVectors> {
        beside(|| Box::new(BurnVectors::new(self.device, spaces, pairs)))
    }

    fn growing_rows(&self, n: usize) -> Box<dyn DeviceRows> {
        Box::new(GrowingRows { device: self.device, n, rows: 0, blocks: vec![] })
    }

    fn explain_panic(&self, payload: &(dyn Any + Send), hint: &str) -> Option<StageError> {
        explain(payload, &self.device.name(), hint)
    }
}

/// Vectors of one or several spaces in a device's memory.
struct BurnVectors {
    device: Device,
    n: usize,
    spaces: Vec<Space>,
}

struct Space {
    /// \[n, d\].
    whole: Tensor<2>,
    /// \[n, 3 d\]: the first bits, the last, the first again; present if products of pairs are
    /// asked for.
    split: Option<Tensor<2>>,
}

/// How many rows of pairs are computed together: with n = 50,000 columns they take 200 MB.
const BLOCK: usize = 1024;

impl BurnVectors {
    fn new(device: Device, spaces: &[Matrix<'_>], pairs: bool) -> Self {
        let spaces = spaces.iter();
        let spaces: Vec<Space> = spaces
            .map(|space| Space {
                whole: upload(device, space.data().to_vec(), space.cols()),
                split: pairs
                    .then(|| upload(device, split(space, SplitSide::Right), 3 * space.cols())),
            })
            .collect();
        let n = spaces.first().map_or(0, |space| space.whole.dims()[0]);
        Self { device, n, spaces }
    }

    fn pairs(&self, at: usize) -> &Tensor<2> {
        self.spaces[at].split.as_ref().expect("it was made for products of pairs")
    }

    /// Returns what `formula` makes of the inner products of vectors `rows` with all: \[rows, n\].
    fn rows(&self, formula: &Pairwise, rows: &[u32]) -> Tensor<2> {
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
        let elements = formula.of(DeviceElements { rows, products }).products;
        elements.mask_fill(self.diagonal(rows), formula.diagonal())
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

impl DeviceVectors for BurnVectors {
    fn squared_distances(&self, to: &[f32]) -> Vec<f32> {
        beside(|| {
            let apart = self.spaces[0].whole.clone() - upload(self.device, to.to_vec(), to.len());
            download(&(apart.clone() * apart).sum_dim(1))
        })
    }

    fn times(&self, factors: &[(usize, &[f32])]) -> Vec<f32> {
        beside(|| {
            let parts = factors.iter().map(|(space, factor)| {
                let factor = upload(self.device, factor.to_vec(), factor.len());
                (self.spaces[*space].whole.clone() * factor).sum_dim(1)
            });
            download(&parts.reduce(|a, b| a * b).expect("there is a space"))
        })
    }

    fn cross(&self, at: usize, t: &Matrix<'_>) -> Vec<f32> {
        beside(|| {
            let (m, d) = (t.cols(), self.spaces[at].whole.dims()[1]);
            let x = self.pairs(at).clone().slice([0..self.n, 0..2 * d]);
            let t =
                upload(self.device, split(t, SplitSide::Right), 3 * m).slice([0..self.n, 0..2 * m]);
            // First with first, first with last, last with first; last with last is below an f32.
            let all = t.transpose().matmul(x);
            let part = |row: usize, col: usize| {
                all.clone().slice([row * m..(row + 1) * m, col * d..(col + 1) * d])
            };
            download(&(part(0, 0) + (part(0, 1) + part(1, 0))))
        })
    }

    fn weighted(&self, left: usize, right: usize, w: &Matrix<'_>) -> Vec<f32> {
        beside(|| {
            let w = upload(self.device, split(w, SplitSide::Left), 3 * w.cols());
            let along = self.pairs(right).clone().matmul(w.transpose());
            download(&(self.spaces[left].whole.clone() * along).sum_dim(1))
        })
    }

    fn row(&self, formula: &Pairwise, j: u32) -> Vec<f32> {
        beside(|| download(&self.rows(formula, &[j])))
    }

    fn excess(&self, formula: &Pairwise, rows: &[u32], floor: &[f32]) -> Vec<f64> {
        beside(|| {
            let floor = upload(self.device, floor.to_vec(), floor.len());
            let sum = |rows: &[u32]| {
                let above = (self.rows(formula, rows) - floor.clone()).clamp_min(0.0);
                download(&sums_of_rows(above))
            };
            rows.chunks(BLOCK).flat_map(sum).map(f64::from).collect()
        })
    }

    fn least(&self, formula: &Pairwise) -> f32 {
        beside(|| {
            let all: Vec<u32> = (0..self.n as u32).collect();
            let least = |rows: &[u32]| download(&least_of_rows(self.rows(formula, rows)));
            all.chunks(BLOCK).flat_map(least).fold(f32::INFINITY, f32::min)
        })
    }

    fn smallest(&self, formula: &Pairwise, rows: &[u32], count: usize) -> Vec<Vec<u32>> {
        beside(|| {
            if count == 0 {
                return vec![vec![]; rows.len()];
            }
            let mut out = Vec::with_capacity(rows.len());
            for rows in rows.chunks(BLOCK) {
                // As floats, which hold them exactly: a block has fewer than 2^24 columns.
                let columns = self.columns().float();
                let mut left = self.rows(formula, rows);
                let mut found: Vec<Tensor<2>> = Vec::with_capacity(count);
                for _ in 0..count {
                    // The first place of the least.
                    let least = least_of_rows(left.clone());
                    let places = columns.clone().expand([rows.len(), self.n]);
                    let place = least_of_rows(
                        places.mask_fill(left.clone().not_equal(least), f32::INFINITY),
                    );
                    left = left.mask_fill(columns.clone().equal(place.clone()), f32::INFINITY);
                    found.push(place);
                }
                let places: Vec<i32> = download(&Tensor::cat(found, 1))
                    .into_iter()
                    .map(|place| place as i32)
                    .collect();
                // A kernel that went wrong gives any number.
                let wrong = places.iter().find(|place| !(0..self.n as i32).contains(*place));
                assert!(
                    wrong.is_none(),
                    "`{}` gave position {wrong:?} of {}",
                    self.device.name(),
                    self.n
                );
                let row = |row: &[i32]| row.iter().map(|place| *place as u32).collect();
                out.extend(places.chunks_exact(count).map(row).collect::<Vec<Vec<u32>>>());
            }
            out
        })
    }
}

/// Rows of inner products with the vectors at `rows`, \[rows, n\], while a formula is computed.
struct DeviceElements<'a> {
    rows: &'a [u32],
    products: Tensor<2>,
}

impl PairwiseElements for DeviceElements<'_> {
    fn affine(self, scale: f32, shift: f32) -> Self {
        Self { products: self.products * scale + shift, ..self }
    }

    fn squared_distances(self, squares: &[f64]) -> Self {
        let device = self.products.device();
        let tensor = |values: Vec<f32>, shape: [usize; 2]| {
            Tensor::<2>::from_data(TensorData::new(values, shape), &device)
        };
        let own: Vec<f32> = self.rows.iter().map(|row| squares[*row as usize] as f32).collect();
        let all: Vec<f32> = squares.iter().map(|square| *square as f32).collect();
        let (b, n) = (own.len(), all.len());
        let products = self.products * -2.0 + tensor(own, [b, 1]) + tensor(all, [1, n]);
        Self { products, ..self }
    }

    fn at_least(self, floor: f64) -> Self {
        Self { products: self.products.clamp_min(floor), ..self }
    }

    fn negative_root(self) -> Self {
        Self { products: -self.products.sqrt(), ..self }
    }
}

/// Rows of n numbers in a device's memory, added one by one.
struct GrowingRows {
    device: Device,
    n: usize,
    rows: usize,
    /// \[[`GROWTH`], n\] each; rows still to come are 0.
    blocks: Vec<Tensor<2>>,
}

const GROWTH: usize = 256;

impl DeviceRows for GrowingRows {
    fn push(&mut self, row: &[f32]) {
        beside(|| {
            let at = self.rows % GROWTH;
            if at == 0 {
                self.blocks.push(Tensor::zeros([GROWTH, self.n], &self.device.inner()));
            }
            let block = self.blocks.pop().expect("there is one for this row");
            let row = upload(self.device, row.to_vec(), self.n);
            self.blocks.push(block.slice_assign([at..at + 1, 0..self.n], row));
            self.rows += 1;
        })
    }

    fn combined(&self, factors: &[f32]) -> Vec<f32> {
        beside(|| {
            let parts = self.blocks.iter().zip(factors.chunks(GROWTH)).map(|(block, factors)| {
                let mut factors = factors.to_vec();
                factors.resize(GROWTH, 0.0);
                (block.clone() * upload(self.device, factors, 1)).sum_dim(0)
            });
            parts.reduce(|a, b| a + b).map_or_else(|| vec![0.0; self.n], |sum| download(&sum))
        })
    }
}

/// Which thirds hold what, so that the inner product of a left row with a right one leaves out only
/// the last bits of both.
#[derive(Clone, Copy)]
enum SplitSide {
    /// First, first, last.
    Left,
    /// First, last, first.
    Right,
}

/// Returns every row three times as long: the first bits of its numbers and the last ones.
fn split(matrix: &Matrix<'_>, order: SplitSide) -> Vec<f32> {
    // What a matrix unit keeps of an f32: its sign, its exponent, ten bits after the first.
    let first = |value: f32| f32::from_bits(value.to_bits() & !0x1fff);
    let mut out = Vec::with_capacity(3 * matrix.data().len());
    for i in 0..matrix.rows() {
        let row = matrix.row(i);
        let firsts = || row.iter().map(|value| first(*value));
        let lasts = || row.iter().map(|value| value - first(*value));
        match order {
            SplitSide::Left => out.extend(firsts().chain(firsts()).chain(lasts())),
            SplitSide::Right => out.extend(firsts().chain(lasts()).chain(firsts())),
        }
    }
    out
}

fn upload(device: Device, values: Vec<f32>, cols: usize) -> Tensor<2> {
    let rows = values.len() / cols.max(1);
    Tensor::from_data(TensorData::new(values, [rows, cols]), &device.inner())
}

fn ints(device: Device, values: &[u32]) -> Tensor<1, Int> {
    let values: Vec<i32> = values.iter().map(|value| value.cast_signed()).collect();
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), (&device.inner(), DType::I32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use artifacts::draw;
    use engine::Streams;
    use methods::{
        linalg::{Compute, DEFAULT_MEMORY},
        select::laws::{Place, check_all},
    };

    fn noise(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = Streams::new(seed, &["noise"]).get("noise");
        (0..n).map(|_| draw::uniform(&mut rng, 1.0)).collect()
    }

    fn close(a: &[f32], b: &[f32]) {
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{a} and {b}");
        }
    }

    fn inner(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    #[test]
    fn vectors_on_a_device_give_what_slow_loops_give() {
        let (n, d, c) = (1100, 33, 3);
        let (x, r) = (noise(n * d, 1), noise(n * c, 2));
        let (x, r) = (Matrix::new(&x, n, d), Matrix::new(&r, n, c));
        let both = BurnVectors::new(Device::CPU, &[r.view(), x.view()], true);
        let square = |i: usize| inner(r.row(i), r.row(i)) * inner(x.row(i), x.row(i));
        let squares: Vec<f64> = (0..n).map(square).collect();
        let product = |i: usize, j: usize| inner(r.row(i), r.row(j)) * inner(x.row(i), x.row(j));
        let formula = Pairwise::NegativeDistance { squares: squares.clone() };
        let element = |j: usize, i: usize| {
            let square = (squares[i] + squares[j] - 2.0 * product(i, j)).max(1e-12);
            if i == j { -1e-6 } else { -(square.sqrt() as f32) }
        };
        let row = |j: usize| (0..n).map(|i| element(j, i)).collect::<Vec<f32>>();
        close(&both.row(&formula, 1030), &row(1030));
        let products: Vec<f32> = (0..n).map(|i| product(i, 7) as f32).collect();
        close(&both.times(&[(0, r.row(7)), (1, x.row(7))]), &products);

        let asked = [1099, 0, 512];
        let floor = vec![-1.5; n];
        let over =
            |j: &u32| -> f32 { row(*j as usize).iter().map(|value| (value + 1.5).max(0.0)).sum() };
        let sums: Vec<f32> = asked.iter().map(over).collect();
        let found = both.excess(&formula, &asked, &floor);
        close(&found.into_iter().map(|sum| sum as f32).collect::<Vec<f32>>(), &sums);
        let least = (0..n).flat_map(row).fold(f32::INFINITY, f32::min);
        assert!((both.least(&formula) - least).abs() < 1e-4);

        let alone = BurnVectors::new(Device::CPU, &[x.view()], true);
        let apart = |i: usize| -> f32 {
            x.row(i).iter().zip(x.row(3)).map(|(a, b)| (a - b) * (a - b)).sum()
        };
        close(&alone.squared_distances(x.row(3)), &(0..n).map(apart).collect::<Vec<f32>>());

        let column =
            |of: &Matrix<'_>, at: usize| -> Vec<f32> { (0..n).map(|i| of.row(i)[at]).collect() };
        let cross: Vec<f32> = (0..c)
            .flat_map(|a| (0..d).map(move |b| (a, b)))
            .map(|(a, b)| inner(&column(&r, a), &column(&x, b)) as f32)
            .collect();
        close(&both.cross(1, &r), &cross);
        let w = noise(c * d, 4);
        let weighted = |i: usize| -> f32 {
            let along = |(at, w): (usize, &[f32])| f64::from(r.row(i)[at]) * inner(x.row(i), w);
            w.chunks(d).enumerate().map(along).sum::<f64>() as f32
        };
        let wanted: Vec<f32> = (0..n).map(weighted).collect();
        close(&both.weighted(0, 1, &Matrix::new(&w, c, d)), &wanted);
    }

    #[test]
    fn the_smallest_come_in_order_and_equals_by_place() {
        let x = Matrix::new(vec![1.0f32, 3.0, 2.0, 3.0, 0.5], 5, 1);
        let vectors = BurnVectors::new(Device::CPU, &[x], true);
        let others = Pairwise::Affine { scale: 1.0, shift: 0.0, diagonal: f32::INFINITY };
        assert_eq!(vectors.smallest(&others, &[0, 4], 3), [[4, 2, 1], [0, 2, 1]]);
    }

    #[test]
    fn rows_are_combined_as_they_come() {
        let (n, k) = (40, GROWTH + 3);
        let (rows, factors) = (noise(n * k, 6), noise(k, 7));
        let mut grown = OnDevice { device: Device::CPU, fewest: 1 }.growing_rows(n);
        assert_eq!(grown.combined(&[]), vec![0.0; n]);
        let mut sum = vec![0f32; n];
        for (row, factor) in rows.chunks(n).zip(&factors) {
            grown.push(row);
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value * factor);
        }
        close(&grown.combined(&factors), &sum);
    }

    #[test]
    fn every_selector_keeps_the_laws_on_a_device() {
        let device = Arc::new(OnDevice { device: Device::CPU, fewest: 1 });
        let compute = Compute::new(Some(device), DEFAULT_MEMORY);
        check_all(&[Place { compute, is_exact: false }]);
    }

    #[test]
    fn a_number_is_the_sum_of_its_first_bits_and_its_last() {
        let x = noise(100, 5);
        let halves = split(&Matrix::new(&x, 1, 100), SplitSide::Right);
        for (at, x) in x.iter().enumerate() {
            let (first, last) = (halves[at], halves[100 + at]);
            assert_eq!(first + last, *x);
            assert_eq!(first.to_bits() & 0x1fff, 0);
            assert!(last.abs() <= x.abs() / 1024.0);
        }
    }
}
