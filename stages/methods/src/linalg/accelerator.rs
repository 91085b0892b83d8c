//! What an accelerator (a GPU) is asked to compute for the methods, and the CPU in its place.
//!
//! The traits are implemented where the tensor library is known; this crate works without one.

use super::Pairwise;
use artifacts::Matrix;
use engine::StageError;
use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
};

/// A device with memory of its own that multiplies matrices faster than the host.
pub trait Accelerator: Send + Sync {
    /// Returns its name, such as `cuda:0`.
    fn name(&self) -> String;

    /// Returns whether work that reads `elements` numbers each time is faster there, transfers
    /// included.
    fn is_worth_offloading(&self, elements: usize) -> bool;

    /// Uploads vectors of one or several spaces, each space a matrix with one vector a row. With
    /// `pairs`, products of all pairs will be asked for.
    fn upload(&self, spaces: &[Matrix<'_>], pairs: bool) -> Box<dyn DeviceVectors>;

    /// Returns a matrix of `n` columns on the device, to which rows are added one by one.
    fn growing_rows(&self, n: usize) -> Box<dyn DeviceRows>;

    /// Returns the error of work that panicked with `payload`, if the device is the cause: with `hint` as
    /// the way out if it ran out of memory.
    fn explain_panic(&self, payload: &(dyn Any + Send), hint: &str) -> Option<StageError>;
}

/// Vectors in one or several spaces, in a device's memory. The inner product of two of them is the
/// product, over the spaces, of the inner products there.
pub trait DeviceVectors: Send + Sync {
    /// Returns the squared Euclidean distance of every vector of the first space from `point`: \[n\].
    fn squared_distances(&self, point: &[f32]) -> Vec<f32>;

    /// Returns the inner products of every vector with one whose part in each named space is the
    /// vector beside the space's number: \[n\].
    fn times(&self, factors: &[(usize, &[f32])]) -> Vec<f32>;

    /// Returns `t' x`, \[columns of t, d\] row-major, for \[n, ...\] `t` and the vectors x of space `at`.
    fn cross(&self, at: usize, t: &Matrix<'_>) -> Vec<f32>;

    /// Returns `l_i' W r_i` for every vector i, `W` being \[d of space left, d of space right\]: \[n\].
    fn weighted(&self, left: usize, right: usize, w: &Matrix<'_>) -> Vec<f32>;

    /// Returns row `j` of the matrix of all pairs: \[n\].
    fn row(&self, formula: &Pairwise, j: u32) -> Vec<f32>;

    /// Returns, for each of `rows`, the sum over the row of what exceeds `floor`, \[n\].
    fn excess(&self, formula: &Pairwise, rows: &[u32], floor: &[f32]) -> Vec<f64>;

    /// Returns the smallest element of the matrix of all pairs.
    fn least(&self, formula: &Pairwise) -> f32;

    /// Returns the positions of the `count` smallest elements of each of `rows`, smallest first; of
    /// equal ones the first.
    fn smallest(&self, formula: &Pairwise, rows: &[u32], count: usize) -> Vec<Vec<u32>>;
}

/// Rows of n numbers in a device's memory, added one by one.
pub trait DeviceRows: Send + Sync {
    /// Adds a row.
    fn push(&mut self, row: &[f32]);

    /// Returns the sum of all rows, each times its factor: \[n\].
    fn combined(&self, factors: &[f32]) -> Vec<f32>;
}

/// Where the methods compute, and how much memory they may take.
#[derive(Clone)]
pub struct Compute {
    accelerator: Option<Arc<dyn Accelerator>>,
    /// How many bytes a matrix of all pairs may take on the host. Results do not depend on it.
    pub memory: usize,
}

impl fmt::Debug for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let accelerator = self.accelerator.as_ref().map(|one| one.name());
        f.debug_struct("Compute")
            .field("accelerator", &accelerator)
            .field("memory", &self.memory)
            .finish()
    }
}

/// How many bytes a matrix of all pairs may take where nothing is said.
pub const DEFAULT_MEMORY: usize = 4 << 30;

/// The host, with the default memory.
impl Default for Compute {
    fn default() -> Self {
        Self { accelerator: None, memory: DEFAULT_MEMORY }
    }
}

impl Compute {
    /// Returns the host, and `accelerator` beside it if there is one.
    #[must_use]
    pub fn new(accelerator: Option<Arc<dyn Accelerator>>, memory: usize) -> Self {
        Self { accelerator, memory }
    }

    /// Returns the accelerator if work that reads `elements` numbers each time is faster there.
    pub(crate) fn worth_offloading(&self, elements: usize) -> Option<&Arc<dyn Accelerator>> {
        self.accelerator.as_ref().filter(|one| one.is_worth_offloading(elements))
    }

    /// Uploads `spaces` if there is an accelerator and that is worth it. With `pairs`, products of all
    /// pairs will be asked for, which take three times the memory.
    pub(crate) fn upload(
        &self,
        spaces: &[Matrix<'_>],
        pairs: bool,
    ) -> Option<Box<dyn DeviceVectors>> {
        let elements = |space: &Matrix<'_>| space.data().len() * if pairs { 3 } else { 1 };
        let largest = spaces.iter().map(elements).max().unwrap_or(0);
        Some(self.worth_offloading(largest)?.upload(spaces, pairs))
    }

    /// Returns what `work` returns. A panic that the accelerator caused is an error: with this hint if it
    /// ran out of memory. Any other goes on.
    ///
    /// # Errors
    ///
    /// Fails as `work` does, or if the accelerator failed.
    pub(crate) fn guarded<T>(
        &self,
        hint: &str,
        work: impl FnOnce() -> Result<T, StageError>,
    ) -> Result<T, StageError> {
        let Some(accelerator) = &self.accelerator else { return work() };
        // Whatever `work` was making is dropped with the error: nothing half-made is seen.
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
            match accelerator.explain_panic(&*payload, hint) {
                Some(error) => Err(error),
                None => resume_unwind(payload),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::stand_in::stand_in;

    #[test]
    fn only_what_the_accelerator_explains_becomes_an_error() {
        let broke = |text: &'static str| {
            stand_in().guarded("take less", || -> Result<(), _> { panic!("{}", text.to_owned()) })
        };
        let error = broke("out of memory").expect_err("it ran out");
        assert_eq!(error.to_string(), "`stand-in` ran out of memory");
        assert!(catch_unwind(|| broke("index out of bounds")).is_err());
    }
}
