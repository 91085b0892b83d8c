//! Writing an object piece by piece.

use super::{BUFFER, Store, retry};
use crate::{Blob, Digest, StoreError, id};
use std::io::{self, Write};
use tempfile::NamedTempFile;

/// A writer of an object, which is in the store after [`finish`](Self::finish).
#[derive(Debug)]
pub struct ObjectWriter<'a> {
    store: &'a Store,
    file: NamedTempFile,
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
    size: u64,
    failed: Option<io::ErrorKind>,
}

impl<'a> ObjectWriter<'a> {
    pub(super) fn new(store: &'a Store, file: NamedTempFile) -> Self {
        Self { store, file, hasher: blake3::Hasher::new(), buffer: vec![], size: 0, failed: None }
    }

    // After a failed write the file and the hash differ, and the object cannot be finished.
    fn write_hashed(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(kind) = self.failed {
            return Err(kind.into());
        }
        let written = retry::write_all(self.file.as_file_mut(), bytes);
        written.inspect_err(|error| self.failed = Some(error.kind()))?;
        id::update(&mut self.hasher, bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Places the object in the store if it is `wanted`, and tells whether it is.
    pub(crate) fn finish_as(mut self, wanted: &Blob) -> Result<bool, StoreError> {
        self.flush().map_err(|error| self.store.io_or_gone("write", self.file.path(), error))?;
        let digest = Digest::from_hash(self.hasher.finalize());
        if (Blob { digest, size: self.size }) != *wanted {
            return Ok(false);
        }
        self.store.install(self.file, wanted).map(|()| true)
    }

    /// Places the object in the store and returns its digest and length.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if it could not be written; no part of it is left behind.
    pub fn finish(mut self) -> Result<Blob, StoreError> {
        self.flush().map_err(|error| self.store.io_or_gone("write", self.file.path(), error))?;
        let digest = Digest::from_hash(self.hasher.finalize());
        let blob = Blob { digest, size: self.size };
        if !self.store.touch_if_whole(&blob)? {
            self.store.install(self.file, &blob)?;
        }
        Ok(blob)
    }
}

impl Write for ObjectWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        if bytes.len() < BUFFER {
            self.buffer.extend_from_slice(bytes);
        } else {
            self.write_hashed(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let sent = self.write_hashed(&buffer);
        buffer.clear();
        self.buffer = buffer;
        sent
    }
}
