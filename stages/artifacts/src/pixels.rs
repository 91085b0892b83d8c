//! The pixels of a data set's images: in memory, or where the store has them.

use cache::Bytes;
use std::{
    fmt,
    ops::{Deref, Range},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// After so many bytes were read of pixels that lie in the store, memory is given back.
const READ: usize = 128 << 20;
/// The system brings in this much for a single byte.
const AROUND: usize = 1 << 16;

/// Pixels of any number of images, one after the other.
#[derive(Clone)]
pub struct Pixels(HeldPixels);

#[derive(Clone)]
enum HeldPixels {
    Owned(Vec<u8>),
    /// A part of an object, and how much of it was read since memory was last given back.
    Stored(Arc<Bytes>, Range<usize>, Arc<AtomicUsize>),
}

impl Pixels {
    /// Returns the pixels at `range` of an object.
    pub fn stored(object: &Arc<Bytes>, range: Range<usize>) -> Self {
        Self(HeldPixels::Stored(object.clone(), range, Arc::default()))
    }

    /// Keeps the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        match &mut self.0 {
            HeldPixels::Owned(pixels) => pixels.truncate(len),
            HeldPixels::Stored(_, range, _) => {
                range.end = range.end.min(range.start.saturating_add(len))
            }
        }
    }

    /// Returns the bytes in memory of their own.
    pub fn into_vec(self) -> Vec<u8> {
        match self.0 {
            HeldPixels::Owned(pixels) => pixels,
            HeldPixels::Stored(..) => self.to_vec(),
        }
    }

    /// Takes note that `images` more of `each` bytes were read, anywhere among them. Going through
    /// images larger than the memory takes little of it.
    pub fn were_read(&self, images: usize, each: usize) {
        let HeldPixels::Stored(object, range, read) = &self.0 else { return };
        let bytes = images.saturating_mul(each.max(AROUND));
        if range.len() > READ && read.fetch_add(bytes, Ordering::Relaxed) > READ {
            read.store(0, Ordering::Relaxed);
            object.release();
        }
    }
}

impl Deref for Pixels {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            HeldPixels::Owned(pixels) => pixels,
            HeldPixels::Stored(object, range, _) => &object[range.clone()],
        }
    }
}

impl From<Vec<u8>> for Pixels {
    fn from(pixels: Vec<u8>) -> Self {
        Self(HeldPixels::Owned(pixels))
    }
}

impl PartialEq for Pixels {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of pixels", self.len())
    }
}
