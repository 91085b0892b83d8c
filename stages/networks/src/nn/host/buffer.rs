//! A pool of float buffers: while a training goes on, a layer reuses what another freed, and the allocator
//! is not asked step by step.

use std::{
    collections::BTreeMap,
    mem::take,
    ops::{Deref, DerefMut},
    sync::{Mutex, PoisonError},
};

/// Free lists by length. Freed buffers are kept while a [`PoolGuard`] lives, else given to the allocator.
struct Free {
    keepers: usize,
    buffers: BTreeMap<usize, Vec<Vec<f32>>>,
}

static FREE: Mutex<Free> = Mutex::new(Free { keepers: 0, buffers: BTreeMap::new() });

/// Locks the free lists and calls `then` with them. A panic elsewhere leaves them whole, so a poisoned lock
/// is taken all the same.
fn free<T>(then: impl FnOnce(&mut Free) -> T) -> T {
    then(&mut FREE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Keeps freed buffers in the pool for as long as one of these lives.
pub(super) struct PoolGuard(());

impl PoolGuard {
    pub(super) fn new() -> Self {
        free(|free| free.keepers += 1);
        Self(())
    }
}

impl Drop for PoolGuard {
    fn drop(&mut self) {
        let unused = free(|free| {
            free.keepers -= 1;
            if free.keepers == 0 { take(&mut free.buffers) } else { BTreeMap::new() }
        });
        drop(unused);
    }
}

/// A buffer of floats that returns to the pool when it is dropped.
#[derive(Debug)]
pub(super) struct Buffer(Vec<f32>);

impl Buffer {
    /// Returns an uninitialised buffer of `len` floats, from the pool if it has one: their values are
    /// arbitrary, so each must be written before it is read.
    pub(super) fn uninit(len: usize) -> Self {
        let kept = free(|free| free.buffers.get_mut(&len).and_then(Vec::pop));
        let mut buffer = Self(kept.unwrap_or_else(|| vec![0.0; len]));
        if cfg!(test) {
            buffer.fill(f32::NAN);
        }
        buffer
    }

    /// Returns `len` zeros.
    pub(super) fn zeros(len: usize) -> Self {
        let mut buffer = Self::uninit(len);
        buffer.fill(0.0);
        buffer
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let numbers = take(&mut self.0);
        free(|free| {
            if free.keepers > 0 {
                free.buffers.entry(numbers.len()).or_default().push(numbers);
            }
        });
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        let mut copy = Self::uninit(self.len());
        copy.copy_from_slice(self);
        copy
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}
