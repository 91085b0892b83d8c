//! A directory of objects, records, checkpoints and leases, and how files get into it.
//!
//! ```text
//! format                              `coresift store 1`
//! objects/ab/cdef…                    read-only, named by their blake3, dated one second after 1970
//! records/ab/cdef….json               what a key produced, sealed with a check
//! checkpoints/ab/cdef…/00000010.json  the state of a trajectory after a step, sealed
//! leases/abcdef…                      locked by the process that computes the key
//! runs/                               documents of the engine
//! files  folders                      digests of files outside, by inode and date, sealed
//! tmp/  quarantine/                   files on their way in; files found damaged
//! ```
//!
//! Every file is written in `tmp/` and renamed: objects first, the record that lists them last.
//! What cost a second or more, and every object of a mebibyte or more, is on the disk before its
//! record is; the rest is brought there by one [`Store::flush`]. If power goes before that, a
//! record may be torn (its check says so), an object may be short (its size says so), and on some
//! file systems an object may have its size and date but not its bytes: that is found when it is
//! read, for every read is verified.

mod checkpoints;
mod documents;
mod files;
mod folders;
mod gc;
mod lease;
mod objects;
mod records;
mod seal;
mod stats;
mod verify;
mod walk;
mod work;

pub use checkpoints::Checkpoint;
pub use gc::{GcOptions, GcReport, Reach};
pub use lease::Lease;
pub use objects::{Bytes, ObjectWriter};
pub use records::{Commit, Lookup};
pub use stats::{KindStats, Stats};
pub use verify::{Finding, Thing, Verify, VerifyReport};
pub use work::WorkFolder;

use crate::{Digest, StoreError};
use rustix::{
    fs::{Access, Mode, OFlags},
    io::Errno,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Permissions},
    io::{self, Write as _},
    os::{fd::OwnedFd, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};
use tempfile::NamedTempFile;

/// The newest format this program reads and the one it writes.
const FORMAT: u32 = 1;
const FORMAT_NAME: &str = "coresift store ";
/// The folders that only the store itself writes to.
const FOLDERS: [&str; 6] = ["objects", "records", "checkpoints", "leases", "tmp", "quarantine"];
const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # Results of coresift. They can be computed again: backups may leave this folder out.\n";

/// A directory of objects and records.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    // Paths below the root are resolved from here, which is shorter than from the top.
    dir: OwnedFd,
    // Why nothing can be written, if so.
    read_only: Option<Errno>,
    // Whether anything was written since the last flush, and which of it are objects.
    dirty: AtomicBool,
    unsynced: Mutex<BTreeSet<Digest>>,
    verified: Mutex<BTreeMap<Digest, objects::Stamp>>,
    files: Mutex<Option<files::Memo<files::Seen>>>,
    folders: Mutex<Option<files::Memo<folders::Seen>>>,
}

impl Store {
    /// Opens the store at `root`, creating it if it is not there. On a file system that cannot
    /// be written to, what is there can still be read.
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
        let dir = rustix::fs::open(&root, flags, Mode::empty())
            .map_err(|error| StoreError::io("open", &root, error))?;
        let read_only = rustix::fs::access(&root, Access::WRITE_OK).err();
        let (dirty, unsynced) = (AtomicBool::new(false), Mutex::default());
        let (verified, files, folders) = (Mutex::default(), Mutex::default(), Mutex::default());
        Ok(Self { root, dir, read_only, dirty, unsynced, verified, files, folders })
    }

    /// Returns where the store is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Tells whether the store can only be read. Writes then fail, and leases lock nothing.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only.is_some()
    }

    /// Brings everything written so far to the disk, with one system call, if anything was. To
    /// be called at the end of a run; dropping the store does it too, but cannot report.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`]: what was written may be lost if power goes.
    pub fn flush(&self) -> Result<(), StoreError> {
        if self.read_only.is_some() {
            return Ok(());
        }
        self.save_files()?;
        if !self.dirty.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let pending = std::mem::take(&mut *lock(&self.unsynced));
        #[cfg(target_os = "linux")]
        let outcome = rustix::fs::syncfs(&self.dir);
        #[cfg(not(target_os = "linux"))]
        let outcome: Result<(), Errno> = Ok(rustix::fs::sync());
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

    /// Begins a file in `tmp/`, which goes away unless it is placed.
    fn temporary(&self, mode: u32) -> Result<NamedTempFile, StoreError> {
        self.writable()?;
        let folder = self.at("tmp");
        let begin = || {
            let permissions = Permissions::from_mode(mode);
            tempfile::Builder::new().prefix("new-").permissions(permissions).tempfile_in(&folder)
        };
        let file = begin().or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => fs::create_dir_all(&folder).and_then(|()| begin()),
            _ => Err(error),
        });
        file.map_err(|error| StoreError::io("write", &folder, error))
    }

    /// Writes `bytes` to a file in `tmp/`.
    fn temporary_with(&self, bytes: &[u8], mode: u32) -> Result<NamedTempFile, StoreError> {
        let mut file = self.temporary(mode)?;
        let written = file.as_file_mut().write_all(bytes);
        written.map_err(|error| StoreError::io("write", file.path(), error))?;
        Ok(file)
    }

    /// Renames `file` to `relative`, over whatever is there.
    fn place_over(&self, file: NamedTempFile, relative: &str) -> Result<(), StoreError> {
        let to = self.at(relative);
        let again = match file.persist(&to) {
            Ok(_) => return Ok(()),
            Err(failed) if failed.error.kind() == io::ErrorKind::NotFound => failed.file,
            Err(failed) => return Err(StoreError::io("write", &to, failed.error)),
        };
        create_parent(&to)?;
        again.persist(&to).map_err(|failed| StoreError::io("write", &to, failed.error))?;
        Ok(())
    }

    /// Renames `file` to `relative` unless something is there; tells whether it did.
    fn place_new(&self, file: NamedTempFile, relative: &str) -> Result<bool, StoreError> {
        let to = self.at(relative);
        let mut file = file;
        for created in [false, true] {
            let failed = match file.persist_noclobber(&to) {
                Ok(_) => return Ok(true),
                Err(failed) => failed,
            };
            match failed.error.kind() {
                io::ErrorKind::AlreadyExists => return Ok(false),
                io::ErrorKind::NotFound if !created => create_parent(&to)?,
                // A file system that has neither exclusive renames nor hard links. Two writers
                // may then both believe to be first; each still leaves a whole file.
                io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported
                    if !to.try_exists().unwrap_or(false) =>
                {
                    return self.place_over(failed.file, relative).map(|()| true);
                }
                _ => return Err(StoreError::io("write", &to, failed.error)),
            }
            file = failed.file;
        }
        Ok(false)
    }

    /// Moves a damaged file out of the way, under its own name or `name`. What cannot be moved
    /// stays: it is judged again by whoever comes next. With `inode`, what another process has
    /// put in its place meanwhile is left there.
    fn set_aside(&self, relative: &str, name: &str, inode: Option<u64>) {
        use rustix::fs::{AtFlags, renameat, statat};
        if self.read_only.is_some() {
            return;
        }
        let to = format!("quarantine/{name}");
        let mut moved = renameat(&self.dir, relative, &self.dir, to.as_str());
        if moved == Err(Errno::NOENT) && create_parent(&self.at(&to)).is_ok() {
            moved = renameat(&self.dir, relative, &self.dir, to.as_str());
        }
        let (Ok(()), Some(inode)) = (moved, inode) else { return };
        let now_there = statat(&self.dir, to.as_str(), AtFlags::SYMLINK_NOFOLLOW);
        if now_there.is_ok_and(|stat| stat.st_ino != inode) {
            // If this fails the object is missing, and is made again.
            let _ = renameat(&self.dir, to.as_str(), &self.dir, relative);
        }
    }

    /// Reads a small file whole, or returns `None` if there is none.
    fn read_small(&self, relative: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let fail = |error: Errno| StoreError::io("read", &self.at(relative), error);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, relative, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(fail(error)),
        };
        let mut bytes = Vec::with_capacity(4096);
        loop {
            if bytes.len() == bytes.capacity() {
                bytes.reserve(bytes.len());
            }
            match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes)) {
                Ok(0) => return Ok(Some(bytes)),
                Ok(_) | Err(Errno::INTR) => {}
                // A sector that does not read is damage, and damage is told by the check.
                Err(Errno::IO | Errno::ISDIR) => return Ok(Some(vec![])),
                Err(error) => return Err(fail(error)),
            }
        }
    }

    fn sync_folder(&self, relative: &str) -> Result<(), StoreError> {
        let path = self.at(relative);
        let synced = fs::File::open(&path).and_then(|folder| folder.sync_all());
        match synced {
            // Some file systems cannot do it for folders, and have no need to.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            other => other.map_err(|error| StoreError::io("write", &path, error)),
        }
    }

    fn mark_dirty(&self) {
        self.dirty.store(true, Ordering::Release);
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Nobody is left to hear of a failure, and what is lost is computed again.
        let _ = self.flush();
    }
}

/// Returns where the thing called `hex` lives.
fn sharded(folder: &str, hex: &str, end: &str) -> String {
    let (shard, rest) = hex.split_at(2);
    let mut path = String::with_capacity(folder.len() + hex.len() + end.len() + 2);
    for piece in [folder, "/", shard, "/", rest, end] {
        path.push_str(piece);
    }
    path
}

/// Locks `mutex`. Nothing here is ever half-changed, so a panic elsewhere is no reason to stop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "dates decide what to collect, never a result")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn create_parent(path: &Path) -> Result<(), StoreError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::create_dir_all(parent).map_err(|error| StoreError::io("create", parent, error))
}

/// Tells whether a store this program can use is at `root`; nothing or an empty folder is no
/// store, anything else is an error.
fn is_store(root: &Path) -> Result<bool, StoreError> {
    let not = |why: String| StoreError::NotAStore { root: root.to_owned(), why };
    let path = root.join("format");
    let read = |error| StoreError::io("read", root, error);
    let text = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(not("it is not a folder".to_owned()));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let entries = match fs::read_dir(root) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(read(error)),
            };
            for entry in entries {
                let name = entry.map_err(read)?.file_name();
                // Another process may be creating the store: the format is written first.
                if path.exists() {
                    return is_store(root);
                }
                if !name.as_encoded_bytes().starts_with(b".format") {
                    let name = name.display();
                    return Err(not(format!("it holds `{name}` and no file called `format`")));
                }
            }
            return Ok(false);
        }
        Err(error) => return Err(StoreError::io("read", &path, error)),
    };
    let text = String::from_utf8_lossy(&text);
    let found = text.trim_end().strip_prefix(FORMAT_NAME).and_then(|n| n.parse::<u32>().ok());
    match found {
        Some(FORMAT) => Ok(true),
        Some(found) if found > FORMAT => {
            Err(StoreError::NewerFormat { root: root.to_owned(), found, known: FORMAT })
        }
        _ => {
            let start: String = text.chars().take(40).collect();
            Err(not(format!("its file `format` says `{}`", start.trim_end())))
        }
    }
}

fn create(root: &Path) -> Result<(), StoreError> {
    let make = |path: &Path| {
        fs::create_dir_all(path).map_err(|error| StoreError::io("create", path, error))
    };
    make(root)?;
    let write = |name: &str, text: &str| {
        let placed = (|| {
            let permissions = Permissions::from_mode(0o644);
            let mut builder = tempfile::Builder::new();
            let mut file = builder.prefix(".format").permissions(permissions).tempfile_in(root)?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(root.join(name)).map_err(|failed| failed.error).map(|_| ())
        })();
        placed.map_err(|error| StoreError::io("create", &root.join(name), error))
    };
    // First, so that a creation cut off anywhere leaves either nothing or a store.
    write("format", &format!("{FORMAT_NAME}{FORMAT}\n"))?;
    write(".gitignore", "*\n")?;
    write("CACHEDIR.TAG", CACHEDIR_TAG)?;
    FOLDERS.iter().chain(&["runs"]).try_for_each(|folder| make(&root.join(folder)))
}
