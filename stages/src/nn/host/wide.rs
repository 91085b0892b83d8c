//! Sixteen samples side by side: the layout of the CPU's kernels, and the registers they run in.
//!
//! A lane never meets another but in a sum of fixed order, so that wider registers give the same bits.

/// How many samples lie side by side.
pub(super) const LANES: usize = 16;

/// One value of each of sixteen samples.
pub(super) type Lane = [f32; LANES];

/// Sixteen values in registers.
pub(super) trait Wide: Copy {
    /// Returns sixteen times `value`.
    fn splat(value: f32) -> Self;
    /// Returns the first sixteen of `values`.
    fn load(values: &[f32]) -> Self;
    /// Returns the values.
    fn lane(self) -> Lane;
    /// Returns self times `factor` plus `term`.
    fn multiply_add(self, factor: Self, term: Self) -> Self;
}

/// Work compiled once for every width of registers.
pub(super) trait Kernel {
    /// Does the work. The registers hold `TILE` sums beside what they are made of, or `SIDE` times
    /// `SIDE`.
    fn run<W: Wide, const TILE: usize, const SIDE: usize>(self);
}

/// Runs `kernel` in the widest registers this machine has.
pub(super) fn run<K: Kernel>(kernel: K) {
    #[cfg(target_arch = "x86_64")]
    return x86::run(kernel);
    #[cfg(not(target_arch = "x86_64"))]
    kernel.run::<Plain, 4, 2>();
}

/// Returns the `TILE` that [`run`] gives a kernel.
pub(super) fn tile() -> usize {
    #[cfg(target_arch = "x86_64")]
    if x86::has_512() {
        return 8;
    }
    4
}

/// Returns the `SIDE` that [`run`] gives a kernel.
pub(super) fn side() -> usize {
    tile() / 2
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

/// What every machine has. Where it has no fused instruction, a product is rounded before the sum.
#[derive(Clone, Copy)]
struct Plain(Lane);

impl Wide for Plain {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    fn load(values: &[f32]) -> Self {
        Self(*first(values))
    }

    #[inline(always)]
    fn lane(self) -> Lane {
        self.0
    }

    #[inline(always)]
    fn multiply_add(self, factor: Self, term: Self) -> Self {
        Self(std::array::from_fn(|at| {
            if cfg!(target_arch = "aarch64") {
                self.0[at].mul_add(factor.0[at], term.0[at])
            } else {
                self.0[at] * factor.0[at] + term.0[at]
            }
        }))
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "only a check at run time can say that an instruction is there")]
mod x86 {
    use super::{Kernel, Lane, Plain, Wide, first};
    use std::arch::x86_64::{
        __m256, __m512, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_storeu_ps,
        _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps,
    };

    pub(super) fn has_512() -> bool {
        is_x86_feature_detected!("avx512f") && has_256()
    }

    fn has_256() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }

    pub(super) fn run<K: Kernel>(kernel: K) {
        #[target_feature(enable = "avx512f,avx2,fma")]
        fn with_512<K: Kernel>(kernel: K) {
            kernel.run::<One, 8, 4>();
        }
        #[target_feature(enable = "avx2,fma")]
        fn with_256<K: Kernel>(kernel: K) {
            kernel.run::<Two, 4, 2>();
        }
        if has_512() {
            // SAFETY: the instructions it is compiled for were just found.
            unsafe { with_512(kernel) }
        } else if has_256() {
            // SAFETY: as above.
            unsafe { with_256(kernel) }
        } else {
            kernel.run::<Plain, 4, 2>();
        }
    }

    /// One register. Only `with_512` makes one.
    #[derive(Clone, Copy)]
    struct One(__m512);

    impl Wide for One {
        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: only called where AVX-512 was found.
            Self(unsafe { _mm512_set1_ps(value) })
        }

        #[inline(always)]
        fn load(values: &[f32]) -> Self {
            // SAFETY: as above, and sixteen values are there.
            Self(unsafe { _mm512_loadu_ps(first(values).as_ptr()) })
        }

        #[inline(always)]
        fn lane(self) -> Lane {
            let mut lane = [0.0; super::LANES];
            // SAFETY: as above, and there is room for sixteen.
            unsafe { _mm512_storeu_ps(lane.as_mut_ptr(), self.0) };
            lane
        }

        #[inline(always)]
        fn multiply_add(self, factor: Self, term: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, term.0) })
        }
    }

    /// Two registers. Only `with_256` makes them.
    #[derive(Clone, Copy)]
    struct Two(__m256, __m256);

    impl Wide for Two {
        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: only called where AVX2 was found.
            let one = unsafe { _mm256_set1_ps(value) };
            Self(one, one)
        }

        #[inline(always)]
        fn load(values: &[f32]) -> Self {
            let lane = first(values);
            // SAFETY: as above, and both halves have eight values.
            unsafe { Self(_mm256_loadu_ps(lane.as_ptr()), _mm256_loadu_ps(lane[8..].as_ptr())) }
        }

        #[inline(always)]
        fn lane(self) -> Lane {
            let mut lane = [0.0; super::LANES];
            let (low, high) = lane.split_at_mut(8);
            // SAFETY: as above, and both halves have room for eight.
            unsafe {
                _mm256_storeu_ps(low.as_mut_ptr(), self.0);
                _mm256_storeu_ps(high.as_mut_ptr(), self.1);
            }
            lane
        }

        #[inline(always)]
        fn multiply_add(self, factor: Self, term: Self) -> Self {
            // SAFETY: as above.
            unsafe {
                Self(
                    _mm256_fmadd_ps(self.0, factor.0, term.0),
                    _mm256_fmadd_ps(self.1, factor.1, term.1),
                )
            }
        }
    }
}
