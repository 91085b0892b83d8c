//! What an accelerator (a GPU) is asked to compute for the methods, and the CPU in its place.
//!
//! The traits are implemented where the tensor library is known; this crate works without one.

use super::Pairwise;
use artifacts::Matrix;
use engine::StageError;
use std::{
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

    /// Returns whether a panic with this message means that the device ran out of memory.
    fn is_out_of_memory(&self, panic: &str) -> bool;
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

    /// Returns what `work` returns; an accelerator that ran out of memory is an error with this hint.
    ///
    /// # Errors
    ///
    /// Fails as `work` does, or if the accelerator ran out of memory.
    pub(crate) fn guarded<T>(
        &self,
        hint: &str,
        work: impl FnOnce() -> Result<T, StageError>,
    ) -> Result<T, StageError> {
        match &self.accelerator {
            None => work(),
            Some(one) => {
                catch_out_of_memory(&one.name(), |panic| one.is_out_of_memory(panic), hint, work)
            }
        }
    }
}

/// Returns what `work` returns. If it panics with a message that `is_out_of_memory` recognises, that is
/// an error of the device `name`, with this hint; any other panic goes on.
///
/// # Errors
///
/// Fails as `work` does, or if the device ran out of memory.
pub fn catch_out_of_memory<T>(
    name: &str,
    is_out_of_memory: impl FnOnce(&str) -> bool,
    hint: &str,
    work: impl FnOnce() -> Result<T, StageError>,
) -> Result<T, StageError> {
    // Whatever `work` was making is dropped with the error: nothing half-made is seen.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or_default();
        if !is_out_of_memory(text) {
            resume_unwind(payload);
        }
        Err(StageError::method(format!("`{name}` ran out of memory")).with_hint(hint))
    })
}
