//! A folder as a remote store: on a network drive, or on another disk. It is a store itself.

use super::{CopyError, RemoteError, RemoteStore, copy};
use crate::{Store, StoreError};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

/// A store in another folder.
#[derive(Debug)]
pub struct RemoteFolder(Store);

impl RemoteFolder {
    /// Opens the store at `path`; with `create`, makes one if it is not there.
    ///
    /// # Errors
    ///
    /// [`StoreError`], also if there is none.
    pub fn open(path: &Path, create: bool) -> Result<Self, StoreError> {
        if create {
            return Store::open(path).map(Self);
        }
        let none = || StoreError::io("read", path, io::Error::from(io::ErrorKind::NotFound));
        Store::open_existing(path)?.map(Self).ok_or_else(none)
    }
}

/// Returns the failure of a request for `name`.
fn fail(name: &str, error: io::Error) -> RemoteError {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            RemoteError::refused(name, error)
        }
        _ => RemoteError::failed(name, error),
    }
}

fn of_store(name: &str, error: StoreError) -> RemoteError {
    match error {
        StoreError::Io { source, .. } => fail(name, source),
        other => RemoteError::failed(name, other),
    }
}

impl RemoteStore for RemoteFolder {
    fn get(&self, name: &str) -> Result<Option<Box<dyn Read + Send>>, RemoteError> {
        match File::open(self.0.root().join(name)) {
            Ok(file) => Ok(Some(Box::new(file))),
            // A folder that is not mounted any more has nothing of anything.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.0.is_gone() => Ok(None),
            Err(error) => Err(fail(name, error)),
        }
    }

    fn contains(&self, name: &str) -> Result<bool, RemoteError> {
        self.0.root().join(name).try_exists().map_err(|error| fail(name, error))
    }

    fn put(
        &self,
        name: &str,
        body: &mut (dyn Read + Send),
        size: u64,
        only_new: bool,
    ) -> Result<bool, RemoteError> {
        let mut file = self.0.remote_temporary().map_err(|error| of_store(name, error))?;
        match copy(body, file.as_file_mut(), size) {
            Ok(copied) if copied == size => {}
            Ok(copied) => {
                let why = format!("{copied} bytes of {size}");
                return Err(fail(name, io::Error::new(io::ErrorKind::UnexpectedEof, why)));
            }
            Err(CopyError::Read(error) | CopyError::Write(error)) => return Err(fail(name, error)),
        }
        let placed = self.0.place_remote(file, name, only_new);
        placed.map_err(|error| of_store(name, error))
    }

    fn list(&self, folder: &str, each: &mut dyn FnMut(u64)) -> Result<(), RemoteError> {
        let mut open = vec![self.0.root().join(folder)];
        while let Some(folder) = open.pop() {
            let name = folder.display().to_string();
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(|error| fail(&name, error))?,
            };
            for entry in entries {
                let entry = entry.map_err(|error| fail(&name, error))?;
                let about = entry.metadata().map_err(|error| fail(&name, error))?;
                if about.is_dir() { open.push(entry.path()) } else { each(about.len()) }
            }
        }
        Ok(())
    }
}
