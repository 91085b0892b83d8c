//! The store: a directory of objects, records, checkpoints and leases, and the atomic writes into
//! it.
//!
//! ```text
//! format                              `coresift store 1`
//! objects/ab/cdef…                    read-only, named by their blake3, dated one second after 1970
//! records/ab/cdef….json               what a key produced, sealed with a check
//! checkpoints/ab/cdef…/00000010.json  the state of a trajectory after a step, sealed
//! leases/abcdef…                      locked by the process that computes the key
//! runs/  submitted/  programs/        documents of the engine and the program
//! collecting                          locked by a collection; runs that begin wait for it
//! files  folders                      digests of files outside, by inode and date, sealed
//! remote-…/  unsent/                  records of a remote tier, and keys of what is to go there
//! tmp/  quarantine/                   files on their way in; files found damaged
//! ```
//!
//! Every file is written in `tmp/` and renamed: objects first, the record that lists them last.
//! Results that took a second or more, and objects of a mebibyte or more, are fsynced before their
//! record is visible; [`Store::flush`] syncs the rest. After a power failure before that, a record
//! may be torn (its checksum tells), an object may be short (its size tells), and on some file
//! systems an object may have its size and date but not its bytes: that is found when it is read,
//! for every read is verified.

mod checkpoints;
mod documents;
mod files;
mod folders;
mod gc;
mod heartbeat;
mod lease;
mod mount;
mod objects;
mod open;
mod place;
mod records;
mod retry;
mod seal;
mod share;
mod stats;
mod verify;
mod walk;
mod work;

pub use checkpoints::Checkpoint;
pub(crate) use checkpoints::{checkpoint_path, newest_checkpoint_path, unseal_checkpoint};
pub use files::Fingerprint;
pub use folders::folder_digest;
pub use gc::{GcLock, GcOptions, GcReport, KeepSet};
pub use lease::{Lease, host};
pub use mount::{FileSystem, LockReach};
pub(crate) use objects::object_path;
pub use objects::{Bytes, ObjectWriter};
pub(crate) use open::format_line;
use open::{FOLDERS, check_whole, create, is_network, is_store, shared_mode};
pub use records::{Commit, DamagedPart, Lookup, LookupDamage};
pub(crate) use records::{record_path, unseal_record};
pub use retry::{make_folders, retrying};
pub use share::ShareReport;
pub use stats::{KindStats, Stats};
pub use verify::{EntryKind, Finding, Verify, VerifyReport};
pub use work::WorkFolder;

use crate::{
    Digest, StoreError,
    remote::{RemoteTier, Uploads},
};
use rustix::{
    fs::{Access, Mode, OFlags},
    io::Errno,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

/// A directory of objects, records and checkpoints. Several processes may use it at once.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    // The open root: paths relative to it (openat) are resolved faster than absolute ones.
    dir: OwnedFd,
    // The error of writes, if the store is read-only.
    read_only: Option<Errno>,
    // The mode of folders, if the store is shared with a group.
    shared: Option<Mode>,
    // Whether it is on a network file system: other hosts may read files while they are written.
    on_network: bool,
    // The leases that are written while they are held, where locks may not reach other hosts.
    heartbeat: Option<Arc<heartbeat::Heartbeat>>,
    // Whether anything was written since the last flush, and the objects among it.
    dirty: AtomicBool,
    unsynced: Mutex<BTreeSet<Digest>>,
    verified: Mutex<BTreeMap<Digest, objects::InodeAndDate>>,
    files: Mutex<Option<files::DigestMemo<files::HashedFile>>>,
    folders: Mutex<Option<files::DigestMemo<folders::HashedFolder>>>,
    // Where to look for what is not here, and what is on its way there.
    pub(crate) remote: Option<Arc<RemoteTier>>,
    pub(crate) uploads: Option<Uploads>,
}

impl Store {
    /// Opens the store at `root`, creating it if it is not there. On a read-only file system it is
    /// read-only.
    ///
    /// # Errors
    ///
    /// [`StoreError::NewerFormat`] or [`StoreError::NotAStore`], with nothing touched; or
    /// [`StoreError::Io`].
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        if !is_store(&root)? {
            create(&root)?;
        }
        Self::attach(root)
    }

    /// Opens the store at `root`, or returns `None` if there is none: nothing is created.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_existing(root: impl Into<PathBuf>) -> Result<Option<Self>, StoreError> {
        let root = root.into();
        if is_store(&root)? { Self::attach(root).map(Some) } else { Ok(None) }
    }

    fn attach(root: PathBuf) -> Result<Self, StoreError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fail = |error: io::Error| StoreError::io("open", &root, error);
        let dir = retry::retrying(|| rustix::fs::open(&root, flags, Mode::empty()));
        let dir = dir.map_err(fail)?;
        let access = retry::retrying(|| rustix::fs::access(&root, Access::WRITE_OK));
        let read_only = access.err().as_ref().and_then(Errno::from_io_error);
        let about = retry::retrying(|| rustix::fs::fstat(&dir)).map_err(fail)?;
        check_whole(&root, &about)?;
        let shared = shared_mode(about.st_mode);
        let on_network = rustix::fs::fstatfs(&dir).is_ok_and(|system| is_network(&system));
        Ok(Self {
            root,
            dir,
            read_only,
            shared,
            on_network,
            heartbeat: on_network.then(Arc::default),
            dirty: AtomicBool::new(false),
            unsynced: Mutex::default(),
            verified: Mutex::default(),
            files: Mutex::default(),
            folders: Mutex::default(),
            remote: None,
            uploads: None,
        })
    }

    /// Returns the path of the store.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Tells whether the store is read-only: writes fail, and leases lock nothing.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only.is_some()
    }

    /// Syncs everything written so far to the disk, with one system call (syncfs). To be called at
    /// the end of a run; dropping the store does it too, but cannot report an error.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`]: what was written may be lost if power goes.
    pub fn flush(&self) -> Result<(), StoreError> {
        if self.read_only.is_some() {
            return Ok(());
        }
        self.keep_fetched()?;
        self.save_digests()?;
        if !self.dirty.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let pending = std::mem::take(&mut *lock(&self.unsynced));
        #[cfg(target_os = "linux")]
        let outcome = retry::retrying(|| rustix::fs::syncfs(&self.dir));
        #[cfg(not(target_os = "linux"))]
        let outcome: io::Result<()> = Ok(rustix::fs::sync());
        outcome.map_err(|error| {
            lock(&self.unsynced).extend(pending);
            self.dirty.store(true, Ordering::Release);
            StoreError::io("write", &self.root, error)
        })
    }

    fn at(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    fn writable(&self) -> Result<(), StoreError> {
        match self.read_only {
            None => Ok(()),
            Some(error) => Err(StoreError::io("write", &self.root, error)),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // A failure cannot be reported from here; results that are lost are computed again.
        let _ = self.flush();
    }
}

/// Returns the path of the entry named `hex` in `folder`, in a subfolder of its first two digits.
fn sharded(folder: &str, hex: &str, end: &str) -> String {
    let (shard, rest) = hex.split_at(2);
    let mut path = String::with_capacity(folder.len() + hex.len() + end.len() + 2);
    for piece in [folder, "/", shard, "/", rest, end] {
        path.push_str(piece);
    }
    path
}

/// Locks `mutex`, poisoned or not: no value behind one is left half-changed by a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "dates decide what to collect, never a result")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn is_needless(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported)
}
