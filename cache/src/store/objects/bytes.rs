//! The bytes of an object, in memory or mapped from its file.

use super::{LARGE, WINDOW, retry};
use crate::{Digest, id};
use memmap2::{Mmap, UncheckedAdvice};
use std::{
    fs::{self, File},
    io,
    ops::Deref,
    path::Path,
};

/// The verified bytes of an object, or those of a file outside the store. Large ones are memory-mapped, not read.
#[derive(Debug)]
pub struct Bytes(pub(super) Backing);

#[derive(Debug)]
pub(super) enum Backing {
    Read(Vec<u8>),
    Mapped(Mmap),
}

impl Bytes {
    /// Returns the bytes of a file outside the store, as they are: nothing is verified. A large file must not be cut
    /// short while they are in use (SIGBUS).
    ///
    /// # Errors
    ///
    /// Fails if the system does not read it.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        retry::retrying(|| -> io::Result<Self> {
            let file = File::open(path)?;
            let about = file.metadata()?;
            if !about.is_file() || about.len() < LARGE {
                return Ok(Self(Backing::Read(fs::read(path)?)));
            }
            #[expect(unsafe_code, reason = "a map is the only way to read gigabytes at no cost")]
            // SAFETY: the map is only read. A program that cuts the file short meanwhile ends this one, as with any
            // mapped file; one that changes it is noticed by its date when the stage has ended.
            let map = unsafe { Mmap::map(&file) };
            Ok(Self(Backing::Mapped(map?)))
        })
    }

    /// Releases the pages of a memory-mapped object (MADV_DONTNEED). They are read from the file
    /// again when next used, so a large object can be scanned in little memory.
    pub fn release(&self) {
        let Backing::Mapped(map) = &self.0 else { return };
        #[expect(unsafe_code, reason = "the safe forms of advice do not give memory back")]
        // SAFETY: the map is of a file and only read, so its pages hold what the file holds: one
        // that is dropped is read back with the same bytes.
        let advised = unsafe { map.unchecked_advise(UncheckedAdvice::DontNeed) };
        // Without this advice the system releases the pages when memory is short.
        advised.ok();
    }

    pub(super) fn digest(&self) -> Digest {
        if self.len() <= WINDOW {
            return Digest::of(self);
        }
        let mut hasher = blake3::Hasher::new();
        for window in self.chunks(WINDOW) {
            id::update(&mut hasher, window);
            self.release();
        }
        Digest::from_hash(hasher.finalize())
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Backing::Read(bytes) => bytes,
            Backing::Mapped(map) => map,
        }
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
