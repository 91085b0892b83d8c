//! The remote tier: a second store, in a bucket, behind a web server or in a folder of a lab, that is
//! asked where this one has nothing.
//!
//! What is there has the names of a store's own files (`records/ab/cdef….json`, `objects/ab/cdef…`,
//! `runs/….json`, `format`), so that a folder is both. How bytes get there and back is the business
//! of a [`RemoteStore`]; this crate knows no network.

mod checkpoints;
mod folder;
mod permits;
mod signature;
mod tier;
mod transfer;
mod uploads;

pub use folder::RemoteFolder;
pub use signature::RecordSignatures;
pub(crate) use signature::record_line;
pub use tier::{RemoteCounts, RemoteOptions, RemoteTier};
pub(crate) use uploads::Uploads;

use std::{
    error::Error,
    fmt,
    io::{self, Read},
};
use thiserror::Error;

/// What the names of the folders begin with in which records of remote tiers are kept.
pub(crate) const FOLDER_PREFIX: &str = "remote-";

/// The most requests for records that are under way at once.
pub(crate) const PARALLEL: usize = 32;

/// A store elsewhere, as files by name: a bucket (S3), a web server, a folder.
pub trait RemoteStore: Send + Sync + fmt::Debug {
    /// Opens the file `name`, or returns `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`RemoteError`] if it cannot be asked for.
    fn get(&self, name: &str) -> Result<Option<Box<dyn Read + Send>>, RemoteError>;

    /// Tells whether there is a file called `name`.
    ///
    /// # Errors
    ///
    /// [`RemoteError`] if it cannot be asked for.
    fn contains(&self, name: &str) -> Result<bool, RemoteError>;

    /// Writes the `size` bytes of `body` as the file `name`, whole or not at all, and tells whether
    /// it did. With `only_new`, a file that is there stays, where the server keeps that condition.
    ///
    /// # Errors
    ///
    /// [`RemoteError`] if it cannot be written.
    fn put(
        &self,
        name: &str,
        body: &mut (dyn Read + Send),
        size: u64,
        only_new: bool,
    ) -> Result<bool, RemoteError>;

    /// Calls `each` with the size of every file below `folder`. Slow: nothing but statistics asks.
    ///
    /// # Errors
    ///
    /// [`RemoteError`] if it cannot be listed.
    fn list(&self, folder: &str, each: &mut dyn FnMut(u64)) -> Result<(), RemoteError>;
}

/// A request to a remote store failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// The server refuses it: credentials are missing, or do not allow it (401, 403).
    #[error("access to `{name}` is refused")]
    Refused {
        /// The name asked for.
        name: String,
        /// The answer.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The store cannot be reached, or fails.
    #[error("no answer for `{name}`")]
    Failed {
        /// The name asked for.
        name: String,
        /// What the connection or the server says.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl RemoteError {
    /// Returns the failure of a request for `name`.
    pub fn failed(name: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed { name: name.to_owned(), source: source.into() }
    }

    /// Returns the refusal of a request for `name`.
    pub fn refused(name: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Refused { name: name.to_owned(), source: source.into() }
    }

    /// Returns the error and its causes in one line.
    pub(crate) fn line(&self) -> String {
        let mut text = self.to_string();
        let mut cause = Error::source(self);
        while let Some(error) = cause {
            let more = error.to_string();
            // Some errors repeat their causes.
            if !text.contains(&more) {
                text = format!("{text}: {more}");
            }
            cause = error.source();
        }
        text
    }
}

/// A copy broke off.
pub(crate) enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

/// Copies at most `limit` bytes of `from` into `to`, and returns how many.
pub(crate) fn copy(
    from: &mut dyn Read,
    to: &mut dyn io::Write,
    limit: u64,
) -> Result<u64, CopyError> {
    let mut buffer = vec![0; 256 * 1024];
    let mut copied = 0;
    while copied < limit {
        let room = usize::try_from(limit - copied).unwrap_or(usize::MAX).min(buffer.len());
        let count = match from.read(&mut buffer[..room]) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CopyError::Read(error)),
        };
        to.write_all(&buffer[..count]).map_err(CopyError::Write)?;
        copied += count as u64;
    }
    Ok(copied)
}
