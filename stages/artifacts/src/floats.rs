//! Elements of a large tensor of f32: in memory, or memory-mapped where the store has them.

use cache::Bytes;
use std::{
    fmt,
    ops::{Deref, Range},
    sync::Arc,
};

/// 32-bit floats. Those of an object that is memory-mapped are read where they lie.
#[derive(Clone)]
pub struct Floats(HeldFloats);

#[derive(Clone)]
enum HeldFloats {
    Owned(Vec<f32>),
    /// A part of an object that lies as the machine's own numbers do.
    Stored(Arc<Bytes>, Range<usize>),
}

impl Floats {
    /// Returns the numbers at `range` of an object's bytes, which are little-endian.
    pub fn stored(object: &Arc<Bytes>, range: Range<usize>) -> Self {
        let bytes = &object[range.clone()];
        // A file mapped into memory begins at a page, and tensors in it at multiples of eight.
        if cfg!(target_endian = "little") && bytemuck::try_cast_slice::<u8, f32>(bytes).is_ok() {
            return Self(HeldFloats::Stored(Arc::clone(object), range));
        }
        let (words, _) = bytes.as_chunks::<4>();
        Self(HeldFloats::Owned(words.iter().map(|word| f32::from_le_bytes(*word)).collect()))
    }
}

impl Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.0 {
            HeldFloats::Owned(values) => values,
            HeldFloats::Stored(object, range) => bytemuck::cast_slice(&object[range.clone()]),
        }
    }
}

impl From<Vec<f32>> for Floats {
    fn from(values: Vec<f32>) -> Self {
        Self(HeldFloats::Owned(values))
    }
}

impl fmt::Debug for Floats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
