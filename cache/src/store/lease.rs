//! Leases: the right to compute a key, as a locked file (flock), which the kernel unlocks when its
//! holder dies. Where locks may not reach other hosts, leases have a heartbeat beside them
//! (`heartbeat.rs`).
//!
//! Leases only avoid that two processes compute one key. Where a file system has no locks, and in a
//! read-only store, every process gets one.

use super::{
    Store,
    heartbeat::Beating,
    retry::{self, Retries},
};
use crate::{Key, StoreError};
use rustix::io::Errno;
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// The lease of a key, held by one process at a time and released when dropped.
#[derive(Debug)]
pub struct Lease {
    // `None` where nothing can be locked.
    held: Option<(PathBuf, File)>,
    beating: Option<Beating>,
}

impl Lease {
    pub(super) fn beating(path: PathBuf, file: File, beating: Option<Beating>) -> Self {
        Self { held: Some((path, file)), beating }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Unlinked while still locked: a process that opened it before sees that it is unlinked,
        // and opens a new one. A file left behind is not locked, and does no harm.
        let Some((path, locked)) = &self.held else { return };
        let is_ours = match &self.beating {
            // Inodes tell nothing here: some of these file systems number paths.
            Some(beating) => fs::read_to_string(path).is_ok_and(|text| text == beating.text),
            None => is_linked_at(path, locked),
        };
        if is_ours {
            let _ = fs::remove_file(path);
        }
    }
}

impl Store {
    /// Takes the lease of `key`, or returns `None` while another process or thread holds it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the lease cannot be written.
    pub fn lease(&self, key: Key) -> Result<Option<Lease>, StoreError> {
        if self.is_read_only() {
            return Ok(Some(Lease { held: None, beating: None }));
        }
        let path = self.lease_path(key);
        if let Some(heartbeat) = &self.heartbeat {
            return self.lease_with_heartbeat(&path, heartbeat);
        }
        let mut tries = Retries::default();
        loop {
            let file = match open_lock_file(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries.may_retry() => {
                    self.make_folder("leases")?;
                    continue;
                }
                Err(error) if retry::is_transient(&error) && tries.may_retry() => continue,
                Err(error) => return Err(self.io_or_gone("lock", &path, error)),
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) if has_no_locks(&error) => {}
                // NFS says so (ESTALE) of a file that its last holder has unlinked.
                Err(TryLockError::Error(error))
                    if retry::is_transient(&error) && tries.may_retry() =>
                {
                    continue;
                }
                Err(TryLockError::Error(error)) => {
                    return Err(self.io_or_gone("lock", &path, error));
                }
            }
            // The last holder may have unlinked it between our opening and our locking.
            if is_linked_at(&path, &file) {
                self.chmod_for_group(&file);
                // The holder's name is only for messages.
                let _ = write_holder(&file);
                return Ok(Some(Lease { held: Some((path, file)), beating: None }));
            }
            if !tries.may_retry() {
                let error = io::Error::other("its name does not stay");
                return Err(self.io_or_gone("lock", &path, error));
            }
        }
    }

    /// Returns the holder of the lease of `key`, such as `process 4711 on node3`, for messages
    /// after [`lease`](Self::lease) returned `None`.
    #[must_use]
    pub fn lease_holder(&self, key: Key) -> Option<String> {
        let text = fs::read_to_string(self.lease_path(key)).ok()?;
        let text = text.lines().next().unwrap_or_default().trim();
        Some(if text.is_empty() { "another process" } else { text }.to_owned())
    }

    fn lease_path(&self, key: Key) -> PathBuf {
        self.at(&format!("leases/{key}"))
    }

    /// Tells whether a process holds the lease of `key`. Creates no file.
    #[must_use]
    pub fn is_leased(&self, key: Key) -> bool {
        let path = self.lease_path(key);
        if self.has_heartbeat() { self.is_beating(&path) } else { is_locked(&path) }
    }
}

/// Tells whether the file is locked. A lease asked for at the same moment is refused.
fn is_locked(path: &Path) -> bool {
    let mut tries = Retries::default();
    loop {
        let Ok(file) = File::open(path) else { return false };
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => return true,
            Err(TryLockError::Error(error)) if retry::is_transient(&error) && tries.may_retry() => {
            }
            _ => return false,
        }
    }
}

fn open_lock_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let opened = options.read(true).write(true).create(true).truncate(false).mode(0o666).open(path);
    opened.or_else(|error| match error.kind() {
        // Another user's file: it can be locked read-only, too.
        io::ErrorKind::PermissionDenied => File::open(path).map_err(|_| error),
        _ => Err(error),
    })
}

/// Tells whether `path` still leads to the open file.
fn is_linked_at(path: &Path, file: &File) -> bool {
    let (Ok(there), Ok(ours)) = (fs::metadata(path), file.metadata()) else { return false };
    // Inodes suffice: one path is on one file system.
    there.ino() == ours.ino()
}

fn has_no_locks(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::NOLCK | Errno::NOTSUP | Errno::NOSYS | Errno::INVAL | Errno::BADF))
}

fn write_holder(mut file: &File) -> io::Result<()> {
    let text = holder_name();
    let before = file.metadata()?.len();
    file.write_all(text.as_bytes())?;
    // Never truncated to zero: ext4 then writes the file out on close, which takes 2 ms.
    if before > text.len() as u64 { file.set_len(text.len() as u64) } else { Ok(()) }
}

/// Returns the name of this host; empty if it has none.
#[must_use]
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

pub(super) fn holder_name() -> String {
    let host = host();
    let process = std::process::id();
    match host.trim() {
        "" => format!("process {process}"),
        host => format!("process {process} on {host}"),
    }
}
