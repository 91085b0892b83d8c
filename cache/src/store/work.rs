//! Scratch folders in `tmp/` for external programs, and paths of the objects they read.

use super::{Store, objects, retry};
use crate::{Blob, StoreError};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A scratch folder in `tmp/`, removed when dropped.
#[derive(Debug)]
pub struct WorkFolder(TempDir);

impl WorkFolder {
    /// Returns the path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Updates the folder's change time (ctime), so that no garbage collection removes it while a
    /// program works in it.
    pub fn touch(&self) {
        // Setting the same permissions again changes only the ctime, which garbage collection goes
        // by.
        let same = fs::metadata(self.path()).map(|data| data.permissions());
        let _ = same.and_then(|same| fs::set_permissions(self.path(), same));
    }

    /// Leaves the folder for a later garbage collection to remove, and returns its path.
    #[must_use]
    pub fn keep(self) -> PathBuf {
        self.0.keep()
    }
}

impl Store {
    /// Creates an empty scratch folder in `tmp/`. Its path is absolute.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if it cannot be created.
    pub fn folder(&self) -> Result<WorkFolder, StoreError> {
        self.writable()?;
        let folder = self.at("tmp");
        self.make_folder("tmp")?;
        let make = || tempfile::Builder::new().prefix("work-").tempdir_in(folder.canonicalize()?);
        let made = retry::retrying(make);
        Ok(WorkFolder(made.map_err(|error| self.io_or_gone("write", &folder, error))?))
    }

    /// Verifies an object and returns its absolute path.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] or [`StoreError::Io`], as for [`get`](Self::get).
    pub fn path(&self, blob: &Blob) -> Result<PathBuf, StoreError> {
        self.get(blob)?;
        let path = self.at(&objects::object_path(&blob.digest));
        let canonical = retry::retrying(|| path.canonicalize());
        canonical.map_err(|error| StoreError::io("read", &path, error))
    }
}
