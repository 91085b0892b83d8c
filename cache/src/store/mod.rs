//! The store: a directory of objects, records, checkpoints and leases, and the atomic writes into
//! it.
//!
//! ```text
//! format                              `coresift store 1`
//! objects/ab/cdef…                    read-only, named by their blake3, dated one second after 1970
//! records/ab/cdef….json               what a key produced, sealed with a check
//! checkpoints/ab/cdef…/00000010.json  the state of a trajectory after a step, sealed
//! leases/abcdef…                      locked by the process that computes the key
//! runs/                               documents of the engine
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
mod lease;
mod objects;
mod records;
mod retry;
mod seal;
mod share;
mod stats;
mod verify;
mod walk;
mod work;

pub use checkpoints::Checkpoint;
pub use files::Fingerprint;
pub use folders::folder_digest;
pub use gc::{GcLock, GcOptions, GcReport, KeepSet};
pub use lease::{Lease, host};
pub(crate) use objects::object_path;
pub use objects::{Bytes, ObjectWriter};
pub use records::{Commit, DamagedPart, Lookup, LookupDamage};
pub(crate) use records::{record_path, unseal_record};
pub use retry::{make_folders, retrying};
pub use share::ShareReport;
pub use stats::{KindStats, Stats};
pub use verify::{EntryKind, Finding, Verify, VerifyReport};
pub use work::WorkFolder;

use crate::{
    Digest, NotAStoreReason, StoreError,
    remote::{RemoteTier, Uploads},
};
use rustix::{
    fs::{Access, AtFlags, FileType, Mode, OFlags, RawMode, Stat},
    io::Errno,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Permissions},
    io::{self, Write as _},
    os::{fd::OwnedFd, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};
use tempfile::NamedTempFile;

/// The version of the format: the newest this program reads, and the one it writes.
const FORMAT: u32 = 1;
const FORMAT_NAME: &str = "coresift store ";
/// The folders that only the store itself writes to.
const FOLDERS: [&str; 6] = ["objects", "records", "checkpoints", "leases", "tmp", "quarantine"];
const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # Results of coresift. They can be computed again: backups may leave this folder out.\n";

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

    /// Creates a file in `tmp/`, which is removed unless it is renamed into place.
    fn temporary(&self, mode: u32) -> Result<NamedTempFile, StoreError> {
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
    fn chmod_for_group(&self, file: &fs::File) {
        if self.shared.is_some() {
            let _ = file.set_permissions(Permissions::from_mode(0o664));
        }
    }

    /// Returns the error of a failed call below the root: [`StoreError::Gone`] if the whole store
    /// is gone.
    fn io_or_gone(
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

    fn gone(&self) -> StoreError {
        StoreError::Gone { root: self.root.clone() }
    }

    /// Creates the folder `relative` and those above it, with the mode of the root if the store is
    /// shared. Nothing is created in the place of a store that is gone.
    fn make_folder(&self, relative: &str) -> Result<(), StoreError> {
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

    fn make_parent(&self, relative: &str) -> Result<(), StoreError> {
        relative.rfind('/').map_or(Ok(()), |end| self.make_folder(&relative[..end]))
    }

    /// Fsyncs a file on a network file system, where another host may read it as soon as it is
    /// renamed.
    fn sync_for_others(&self, file: &NamedTempFile) -> Result<(), StoreError> {
        if !self.on_network {
            return Ok(());
        }
        let synced = retry::retrying(|| file.as_file().sync_data());
        synced.map_err(|error| self.io_or_gone("write", file.path(), error))
    }

    /// Writes `bytes` to a file in `tmp/`.
    fn temporary_with(&self, bytes: &[u8], mode: u32) -> Result<NamedTempFile, StoreError> {
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
    fn place_over(&self, file: NamedTempFile, relative: &str) -> Result<(), StoreError> {
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
    fn place_new(&self, file: NamedTempFile, relative: &str) -> Result<bool, StoreError> {
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
    fn set_aside(&self, relative: &str, name: &str, inode: Option<u64>) {
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

    fn sync_folder(&self, relative: &str) -> Result<(), StoreError> {
        let path = self.at(relative);
        let synced = retry::retrying(|| fs::File::open(&path).and_then(|folder| folder.sync_all()));
        match synced {
            // Some file systems have no fsync of folders and need none; a folder of another user
            // may not be readable.
            Err(error) if is_needless(&error) => Ok(()),
            other => other.map_err(|error| self.io_or_gone("write", &path, error)),
        }
    }

    fn mark_unflushed(&self) {
        self.dirty.store(true, Ordering::Release);
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

/// Returns the mode of the folders of a store whose root has `mode`, if its group may write to it.
fn shared_mode(mode: RawMode) -> Option<Mode> {
    let mode = Mode::from_raw_mode(mode) & Mode::from(0o7777);
    mode.contains(Mode::WGRP).then_some(mode)
}

/// Refuses a store of which a folder is on another file system, into which no file can be renamed.
fn check_whole(root: &Path, about: &Stat) -> Result<(), StoreError> {
    for folder in FOLDERS {
        let path = root.join(folder);
        let linked = rustix::fs::lstat(&path)
            .is_ok_and(|entry| FileType::from_raw_mode(entry.st_mode) == FileType::Symlink);
        if linked && rustix::fs::stat(&path).is_ok_and(|there| there.st_dev != about.st_dev) {
            let why = NotAStoreReason::OnTwoFileSystems { folder };
            return Err(StoreError::NotAStore { root: root.to_owned(), why });
        }
    }
    Ok(())
}

/// Tells whether a file system is a network file system, such as NFS (statfs).
#[cfg(target_os = "linux")]
fn is_network(system: &rustix::fs::StatFs) -> bool {
    // NFS, SMB and CIFS, FUSE, Ceph, Lustre, GPFS, BeeGFS, AFS, 9P, OCFS2, GFS2.
    const KINDS: [u32; 12] = [
        0x6969,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x6573_5546,
        0x00c3_6400,
        0x0bd0_0bd0,
        0x4750_4653,
        0x1983_0326,
        0x5346_414f,
        0x0102_1997,
        0x7461_636f,
    ];
    KINDS.contains(&(system.f_type as u32))
}

#[cfg(not(target_os = "linux"))]
fn is_network(_: &rustix::fs::StatFs) -> bool {
    false
}

/// Tells whether there is a store at `root` that this program can use. No folder and an empty
/// folder are no store; any other folder is an error.
fn is_store(root: &Path) -> Result<bool, StoreError> {
    let not = |why| StoreError::NotAStore { root: root.to_owned(), why };
    let path = root.join("format");
    let read = |error| StoreError::io("read", root, error);
    let text = match retry::retrying(|| fs::read(&path)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(not(NotAStoreReason::NotAFolder));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let list = || fs::read_dir(root)?.collect::<io::Result<Vec<_>>>();
            let entries = match retry::retrying(list) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(read(error)),
            };
            for entry in entries {
                let name = entry.file_name();
                // Another process may be creating the store: the format is written first.
                if path.exists() {
                    return is_store(root);
                }
                // A fresh ext4 file system has this folder at its root.
                let nobodys = name == "lost+found";
                if !nobodys && !name.as_encoded_bytes().starts_with(b".format") {
                    let name = name.display().to_string();
                    return Err(not(NotAStoreReason::OtherFiles { name }));
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
            Err(not(NotAStoreReason::OtherFormat { start: start.trim_end().to_owned() }))
        }
    }
}

/// Returns what the file `format` of a store says.
pub(crate) fn format_line() -> String {
    format!("{FORMAT_NAME}{FORMAT}\n")
}

fn create(root: &Path) -> Result<(), StoreError> {
    let fail = |path: &Path, error: io::Error| StoreError::io("create", path, error);
    if !root.is_dir() {
        let above = root.parent().filter(|above| !above.as_os_str().is_empty());
        let mode = above.and_then(|above| rustix::fs::stat(above).ok()).map(|above| above.st_mode);
        let made = retry::make_folders(root);
        made.map_err(|error| fail(root, error))?;
        // Below a setgid, group-writable folder the store is shared, too.
        let handed = mode.and_then(shared_mode).filter(|mode| mode.contains(Mode::SGID));
        if let Some(mode) = handed {
            let permissions = Permissions::from_mode(mode.bits());
            let opened = retry::retrying(|| fs::set_permissions(root, permissions.clone()));
            opened.map_err(|error| fail(root, error))?;
        }
    }
    let shared = rustix::fs::stat(root).ok().and_then(|about| shared_mode(about.st_mode));
    let write = |name: &str, text: &str| {
        let place = || -> io::Result<()> {
            let permissions = Permissions::from_mode(0o644);
            let mut builder = tempfile::Builder::new();
            let mut file =
                builder.prefix(".format").permissions(permissions.clone()).tempfile_in(root)?;
            if shared.is_some() {
                file.as_file().set_permissions(permissions)?;
            }
            file.write_all(text.as_bytes())?;
            retry::retrying(|| file.as_file().sync_all())?;
            file.persist(root.join(name)).map_err(|failed| failed.error).map(|_| ())
        };
        retry::retrying(place).map_err(|error| fail(&root.join(name), error))
    };
    // First, so that a creation killed half-way leaves either nothing or a store.
    write("format", &format_line())?;
    write(".gitignore", "*\n")?;
    write("CACHEDIR.TAG", CACHEDIR_TAG)?;
    let store = Store::attach(root.to_owned())?;
    FOLDERS.iter().chain(&["runs"]).try_for_each(|folder| store.make_folder(folder))
}
