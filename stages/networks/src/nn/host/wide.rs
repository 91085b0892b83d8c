//! Sixteen samples side by side: the layout of the CPU's kernels, and the vector registers they run in.
//!
//! Lanes are only combined in sums of a fixed order, so that wider registers give the same bits.

use pulp::{Arch, Simd, WithSimd};

/// How many samples lie side by side.
pub(super) const LANES: usize = 16;

/// One value of each of sixteen samples.
pub(super) type Lane = [f32; LANES];

/// Sixteen values in `N` vector registers, or a part of them in fewer.
#[derive(Clone, Copy)]
pub(super) struct Sixteen<S: Simd, const N: usize> {
    simd: S,
    registers: [S::f32s; N],
}

impl<S: Simd, const N: usize> Sixteen<S, N> {
    /// Returns sixteen times `value`.
    #[inline(always)]
    pub(super) fn splat(simd: S, value: f32) -> Self {
        Self { simd, registers: [simd.splat_f32s(value); N] }
    }

    /// Returns the first sixteen of `values`.
    #[inline(always)]
    pub(super) fn load(simd: S, values: &[f32]) -> Self {
        let (registers, _) = S::as_simd_f32s(first(values));
        Self { simd, registers: std::array::from_fn(|at| registers[at]) }
    }

    /// Returns what the `part`-th `N` registers hold of the first sixteen of `values`.
    #[inline(always)]
    pub(super) fn load_part(simd: S, values: &[f32], part: usize) -> Self {
        let (registers, _) = S::as_simd_f32s(first(values));
        Self { simd, registers: std::array::from_fn(|at| registers[part * N + at]) }
    }

    /// Writes the values to the first sixteen of `out`.
    #[inline(always)]
    pub(super) fn store(self, out: &mut [f32]) {
        self.store_part(out, 0);
    }

    /// Writes the values to where [`Self::load_part`] reads them.
    #[inline(always)]
    pub(super) fn store_part(self, out: &mut [f32], part: usize) {
        let out: &mut Lane = out.first_chunk_mut().expect("maps are whole lanes");
        let (registers, _) = S::as_mut_simd_f32s(out);
        registers[part * N..][..N].copy_from_slice(&self.registers);
    }

    /// Returns self times `factor` plus `term`: fused where the machine has the instruction.
    #[inline(always)]
    pub(super) fn multiply_add(self, factor: Self, term: Self) -> Self {
        let Self { simd, registers } = self;
        let fused = |at: usize| {
            simd.mul_add_e_f32s(registers[at], factor.registers[at], term.registers[at])
        };
        Self { simd, registers: std::array::from_fn(fused) }
    }
}

/// Work compiled once for every width of vector registers.
pub(super) trait Kernel {
    /// Does the work. Sixteen values take `N` registers.
    fn run<S: Simd, const N: usize>(self, simd: S);
}

struct InWidest<K>(K);

impl<K: Kernel> WithSimd for InWidest<K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match S::F32_LANES {
            16 => self.0.run::<S, 1>(simd),
            8 => self.0.run::<S, 2>(simd),
            4 => self.0.run::<S, 4>(simd),
            1 => self.0.run::<S, 16>(simd),
            lanes => unreachable!("registers of {lanes} floats are not known"),
        }
    }
}

/// Runs `kernel` in the widest vector registers this machine has.
pub(super) fn run<K: Kernel>(kernel: K) {
    Arch::new().dispatch(InWidest(kernel));
}

struct FloatsInRegister;

impl WithSimd for FloatsInRegister {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

/// Returns how many of the widest vector registers sixteen values take. Where it is one (AVX-512), there are
/// 32 registers; elsewhere at least 16.
pub(super) fn registers() -> usize {
    LANES / Arch::new().dispatch(FloatsInRegister)
}

/// Returns the first lane of `values`.
#[inline(always)]
pub(super) fn first(values: &[f32]) -> &Lane {
    values.first_chunk().expect("maps are whole lanes")
}

/// Returns the sum of a lane, pair by pair.
#[inline(always)]
pub(super) fn sum(lane: &[f32]) -> f32 {
    let mut sums = *first(lane);
    let mut width = LANES / 2;
    while width > 0 {
        for at in 0..width {
            sums[at] += sums[at + width];
        }
        width /= 2;
    }
    sums[0]
}
