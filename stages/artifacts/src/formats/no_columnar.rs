//! What stands in for `columnar.rs` in a build without the feature `parquet`: every question to a file of columns
//! is refused.

use super::{FileKind, FormatError, Values};
use bytes::Bytes;

/// A file of columns that is not read.
pub(crate) struct Columnar {
    kind: FileKind,
}

impl Columnar {
    pub(crate) fn new(kind: FileKind, _: Bytes) -> Self {
        Self { kind }
    }

    fn refused<T>(&self) -> Result<T, FormatError> {
        Err(FormatError::NotBuilt { kind: self.kind })
    }

    pub(crate) fn rows(&self) -> Result<usize, FormatError> {
        self.refused()
    }

    pub(crate) fn texts(&self, _: &str) -> Result<Vec<Option<String>>, FormatError> {
        self.refused()
    }

    pub(crate) fn kept(&self, _: &[usize]) -> Result<Vec<u8>, FormatError> {
        self.refused()
    }

    pub(super) fn names(&self) -> Result<Vec<String>, FormatError> {
        self.refused()
    }

    pub(super) fn blobs(&self, _: &str) -> Result<Vec<Vec<u8>>, FormatError> {
        self.refused()
    }

    pub(super) fn note(&self, _: &str) -> Result<Option<String>, FormatError> {
        self.refused()
    }

    pub(super) fn get(&self, _: &str) -> Result<Values<'static>, FormatError> {
        self.refused()
    }
}
