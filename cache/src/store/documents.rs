//! Documents: small files of other crates in the store, such as the engine's run records and logs.

use super::{FOLDERS, Store, objects, retry, walk};
use crate::StoreError;
use std::{
    fs::{self, File, OpenOptions},
    io,
};

impl Store {
    /// Writes a document atomically, in place of one of the same name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if it cannot be written, or if `folder` or `name` is not a plain name or
    /// `folder` is one of the store's own.
    pub fn put_document(&self, folder: &str, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let relative = self.document_path("write", folder, name)?;
        self.place_over(self.temporary_with(bytes, 0o644)?, &relative)?;
        self.mark_unflushed();
        Ok(())
    }

    /// Returns the names of the documents in `folder`, sorted.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the folder cannot be read; one that does not exist is empty.
    pub fn documents(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        self.document_path("read", folder, "any")?;
        let listed = walk::names(&self.at(folder))?;
        Ok(listed.into_iter().map(|(name, _)| name).collect())
    }

    /// Returns the bytes of a document.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if it is not there or cannot be read.
    pub fn document(&self, folder: &str, name: &str) -> Result<Vec<u8>, StoreError> {
        let path = self.at(&self.document_path("read", folder, name)?);
        retry::retrying(|| fs::read(&path)).map_err(|error| StoreError::io("read", &path, error))
    }

    /// Opens a document for appending, creating it if need be. [`flush`](Self::flush) does not
    /// fsync it: it is for logs, whose end may be lost.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if it cannot be written.
    pub fn append_document(&self, folder: &str, name: &str) -> Result<File, StoreError> {
        self.writable()?;
        let path = self.at(&self.document_path("write", folder, name)?);
        let open = || OpenOptions::new().append(true).create(true).open(&path);
        let opened = match retry::retrying(open) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_folder(folder)?;
                retry::retrying(open)
            }
            other => other,
        };
        let file = opened.map_err(|error| self.io_or_gone("write", &path, error))?;
        self.chmod_for_group(&file);
        Ok(file)
    }

    /// Opens a document for reading, or returns `None` if it is not there.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if it cannot be read.
    pub fn open_document(&self, folder: &str, name: &str) -> Result<Option<File>, StoreError> {
        let path = self.at(&self.document_path("read", folder, name)?);
        match retry::retrying(|| File::open(&path)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("read", &path, error)),
        }
    }

    /// Returns the change time (ctime) of a document, in seconds since 1970 by the clock of the
    /// file system, or `None` if it is not there.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if its metadata cannot be read.
    pub fn document_time(&self, folder: &str, name: &str) -> Result<Option<i64>, StoreError> {
        let path = self.at(&self.document_path("read", folder, name)?);
        Ok(objects::lstat(&path)?.map(|stat| objects::changed(&stat)))
    }

    /// Removes a document, if it is there.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if it cannot be removed.
    pub fn remove_document(&self, folder: &str, name: &str) -> Result<(), StoreError> {
        self.writable()?;
        let path = self.at(&self.document_path("remove", folder, name)?);
        match retry::retrying(|| fs::remove_file(&path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", &path, error))
            }
            _ => Ok(()),
        }
    }

    fn document_path(
        &self,
        action: &'static str,
        folder: &str,
        name: &str,
    ) -> Result<String, StoreError> {
        let plain =
            |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
        if plain(folder) && plain(name) && !FOLDERS.contains(&folder) {
            return Ok(format!("{folder}/{name}"));
        }
        let why = "it is not the name of a document";
        let path = self.root.join(folder).join(name);
        Err(StoreError::io(action, &path, io::Error::new(io::ErrorKind::InvalidInput, why)))
    }
}
