//! How files get into the store: written in `tmp/`, renamed into their places, read back, set aside.

use super::{Store, is_needless, objects, retry};
use crate::StoreError;
use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};
use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::atomic::Ordering,
};
use tempfile::NamedTempFile;

impl Store {
    /// Creates a file in `tmp/`, which is removed unless it is renamed into place.
    pub(super) fn temporary(&self, mode: u32) -> Result<NamedTempFile, StoreError> {
        self.writable()?;
        let folder = self.at("tmp");
        let begin = || {
            let permissions = Permissions::from_mode(mode);
            tempfile::Builder::new().prefix("new-").permissions(permissions).tempfile_in(&folder)
        };
        let file = match retry::retrying(begin) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_folder("tmp")?;
                retry::retrying(begin)
            }
            other => other,
        };
        let file = file.map_err(|error| self.io_or_gone("write", &folder, error))?;
        if self.shared.is_some() {
            // Set explicitly, for the umask may have taken the group's bits away.
            let open = Permissions::from_mode(mode | if mode & 0o200 == 0 { 0o040 } else { 0o060 });
            let opened = retry::retrying(|| file.as_file().set_permissions(open.clone()));
            opened.map_err(|error| self.io_or_gone("write", file.path(), error))?;
        }
        Ok(file)
    }

    /// Makes a new file readable and writable by the group (0664) if the store is shared, whatever
    /// the umask. A file of another user's is so already.
    pub(super) fn chmod_for_group(&self, file: &fs::File) {
        if self.shared.is_some() {
            let _ = file.set_permissions(Permissions::from_mode(0o664));
        }
    }

    /// Returns the error of a failed call below the root: [`StoreError::Gone`] if the whole store
    /// is gone.
    pub(super) fn io_or_gone(
        &self,
        action: &'static str,
        path: &Path,
        error: impl Into<io::Error>,
    ) -> StoreError {
        let error = error.into();
        let missing = error.kind() == io::ErrorKind::NotFound || retry::is_transient(&error);
        if missing && self.is_gone() { self.gone() } else { StoreError::io(action, path, error) }
    }

    /// Tells whether the store was moved or removed: its path leads to another folder or to none.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let at_path = retry::retrying(|| rustix::fs::stat(&self.root));
        let ours = retry::retrying(|| rustix::fs::fstat(&self.dir));
        match (at_path, ours) {
            (Ok(at_path), Ok(ours)) => at_path.st_ino != ours.st_ino,
            (Err(error), _) => error.kind() == io::ErrorKind::NotFound,
            (Ok(_), Err(_)) => false,
        }
    }

    pub(super) fn gone(&self) -> StoreError {
        StoreError::Gone { root: self.root.clone() }
    }

    /// Creates the folder `relative` and those above it, with the mode of the root if the store is
    /// shared. Nothing is created in the place of a store that is gone.
    pub(super) fn make_folder(&self, relative: &str) -> Result<(), StoreError> {
        let ends = relative.match_indices('/').map(|(at, _)| at).chain([relative.len()]);
        for folder in ends.map(|end| &relative[..end]) {
            let made =
                retry::retrying(|| rustix::fs::mkdirat(&self.dir, folder, Mode::from(0o777)));
            match made {
                Ok(()) => {
                    if let Some(mode) = self.shared {
                        // If refused, the group lacks access, and this user's run can go on.
                        let _ = rustix::fs::chmodat(&self.dir, folder, mode, AtFlags::empty());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(self.io_or_gone("create", &self.at(folder), error)),
            }
        }
        Ok(())
    }

    pub(super) fn make_parent(&self, relative: &str) -> Result<(), StoreError> {
        relative.rfind('/').map_or(Ok(()), |end| self.make_folder(&relative[..end]))
    }

    /// Fsyncs a file on a network file system, where another host may read it as soon as it is
    /// renamed.
    pub(super) fn sync_for_others(&self, file: &NamedTempFile) -> Result<(), StoreError> {
        if !self.on_network {
            return Ok(());
        }
        let synced = retry::retrying(|| file.as_file().sync_data());
        synced.map_err(|error| self.io_or_gone("write", file.path(), error))
    }

    /// Writes `bytes` to a file in `tmp/`.
    pub(super) fn temporary_with(
        &self,
        bytes: &[u8],
        mode: u32,
    ) -> Result<NamedTempFile, StoreError> {
        let mut file = self.temporary(mode)?;
        let written = retry::write_all(file.as_file_mut(), bytes);
        written.map_err(|error| self.io_or_gone("write", file.path(), error))?;
        Ok(file)
    }

    /// Creates a file in `tmp/` for what another store sends.
    pub(crate) fn remote_temporary(&self) -> Result<NamedTempFile, StoreError> {
        self.temporary(0o444)
    }

    /// Places a file that another store sent under `name`, and tells whether it did; with
    /// `only_new`, a file of that name stays.
    pub(crate) fn place_remote(
        &self,
        file: NamedTempFile,
        name: &str,
        only_new: bool,
    ) -> Result<bool, StoreError> {
        objects::set_date_of_object(&file);
        self.mark_unflushed();
        if only_new {
            self.place_new(file, name)
        } else {
            self.place_over(file, name).map(|()| true)
        }
    }

    /// Renames `file` to `relative`, replacing a file of that name.
    pub(super) fn place_over(&self, file: NamedTempFile, relative: &str) -> Result<(), StoreError> {
        self.sync_for_others(&file)?;
        let to = self.at(relative);
        let mut file = file;
        let mut made_parent = false;
        let mut tries = retry::Retries::default();
        loop {
            let failed = match file.persist(&to) {
                Ok(_) => return Ok(()),
                Err(failed) => failed,
            };
            match failed.error.kind() {
                io::ErrorKind::NotFound if !made_parent => {
                    made_parent = true;
                    self.make_parent(relative)?;
                }
                _ if retry::is_transient(&failed.error) && tries.may_retry() => {}
                _ => return Err(self.io_or_gone("write", &to, failed.error)),
            }
            file = failed.file;
        }
    }

    /// Renames `file` to `relative` unless there is a file of that name, and tells whether it did.
    pub(super) fn place_new(
        &self,
        file: NamedTempFile,
        relative: &str,
    ) -> Result<bool, StoreError> {
        self.sync_for_others(&file)?;
        let to = self.at(relative);
        let mut file = file;
        let mut made_parent = false;
        let mut tries = retry::Retries::default();
        loop {
            let failed = match file.persist_noclobber(&to) {
                Ok(_) => return Ok(true),
                Err(failed) => failed,
            };
            match failed.error.kind() {
                io::ErrorKind::AlreadyExists => return Ok(false),
                io::ErrorKind::NotFound if !made_parent => {
                    made_parent = true;
                    self.make_parent(relative)?;
                }
                // SFTP servers refuse so if the name is taken; file systems with neither exclusive
                // renames nor hard links, always. On these, two writers may both believe to be
                // first; each leaves a whole file.
                io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported => {
                    if to.try_exists().unwrap_or(false) {
                        return Ok(false);
                    }
                    return self.place_over(failed.file, relative).map(|()| true);
                }
                _ if retry::is_transient(&failed.error) && tries.may_retry() => {}
                _ => return Err(self.io_or_gone("write", &to, failed.error)),
            }
            file = failed.file;
        }
    }

    /// Moves a damaged file to quarantine, under `name`. A file that cannot be moved stays, and is
    /// examined again when it is next used. With `inode`, a file that another process has put in
    /// its place meanwhile is left there.
    pub(super) fn set_aside(&self, relative: &str, name: &str, inode: Option<u64>) {
        use rustix::fs::{renameat, statat};
        if self.read_only.is_some() {
            return;
        }
        let to = format!("quarantine/{name}");
        let mut moved = renameat(&self.dir, relative, &self.dir, to.as_str());
        if moved == Err(Errno::NOENT) && self.make_parent(&to).is_ok() {
            moved = renameat(&self.dir, relative, &self.dir, to.as_str());
        }
        let (Ok(()), Some(inode)) = (moved, inode) else { return };
        let now_there = statat(&self.dir, to.as_str(), AtFlags::SYMLINK_NOFOLLOW);
        if now_there.is_ok_and(|stat| stat.st_ino != inode) {
            // If this fails the object is missing, and is computed again.
            let _ = renameat(&self.dir, to.as_str(), &self.dir, relative);
        }
    }

    /// Returns the bytes of a small file, or `None` if there is none.
    pub(crate) fn read_small(&self, relative: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let read = || {
            let file = rustix::fs::openat(&self.dir, relative, flags, Mode::empty())?;
            let mut bytes = Vec::with_capacity(4096);
            loop {
                if bytes.len() == bytes.capacity() {
                    bytes.reserve(bytes.len());
                }
                match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes)) {
                    Ok(0) => return Ok(bytes),
                    Ok(_) | Err(Errno::INTR) => {}
                    // A bad sector is damage of one document: empty bytes fail its checksum.
                    Err(Errno::IO | Errno::ISDIR) => return Ok(vec![]),
                    Err(error) => return Err(error),
                }
            }
        };
        // A retry reads from the beginning: another host may have replaced the file.
        match retry::retrying(read) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOENT | Errno::NOTDIR) => Ok(None),
                _ => Err(StoreError::io("read", &self.at(relative), error)),
            },
        }
    }

    pub(super) fn sync_folder(&self, relative: &str) -> Result<(), StoreError> {
        let path = self.at(relative);
        let synced = retry::retrying(|| fs::File::open(&path).and_then(|folder| folder.sync_all()));
        match synced {
            // Some file systems have no fsync of folders and need none; a folder of another user
            // may not be readable.
            Err(error) if is_needless(&error) => Ok(()),
            other => other.map_err(|error| self.io_or_gone("write", &path, error)),
        }
    }

    pub(super) fn mark_unflushed(&self) {
        self.dirty.store(true, Ordering::Release);
    }
}
