//! Objects: immutable files named by the BLAKE3 hash of their bytes.
//!
//! Every object has one modification time (mtime), a second after 1970. An object with another
//! mtime was written to, and is hashed again before it is used. An unchanged object costs one
//! `stat`.

mod bytes;
mod writer;

pub use bytes::Bytes;
pub use writer::ObjectWriter;

use super::{Store, lock, now, retry, sharded};
use crate::{Blob, Damage, Digest, StoreError, id};
use bytes::Backing;
use memmap2::Mmap;
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT},
    io::Errno,
};
use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::AsFd,
    path::Path,
    time::UNIX_EPOCH,
};
use tempfile::NamedTempFile;

/// The bytes from which on an object is fsynced at once, and memory-mapped instead of read.
const LARGE: u64 = 1 << 20;
const BUFFER: usize = 256 * 1024;
/// The bytes of a memory-mapped object that are hashed before their pages are released.
const WINDOW: usize = 256 << 20;
/// The age in seconds from which on the change time (ctime) of an object that is stored again is
/// updated, so that no garbage collection removes it.
const TOUCH_AFTER_SECONDS: i64 = 60;

/// The inode and the modification time of a memory-mapped file; another file under its name has
/// others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InodeAndDate {
    inode: u64,
    modified: (i64, i64),
}

/// The health of an object.
pub(super) enum Health {
    /// Its size and modification time are right.
    Whole {
        /// Its change time (ctime), in seconds since 1970: garbage collection goes by it.
        last_touched: i64,
    },
    Missing,
    /// It was damaged, and is in quarantine.
    Damaged(Damage),
}

impl Health {
    /// Returns the damage, if there is any.
    pub(super) fn damage(self) -> Option<Damage> {
        match self {
            Self::Whole { .. } => None,
            Self::Missing => Some(Damage::Missing),
            Self::Damaged(what) => Some(what),
        }
    }
}

impl Store {
    /// Stores `bytes` as an object. Equal bytes are one object.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if they could not be written; no part of them is left behind.
    pub fn put(&self, bytes: &[u8]) -> Result<Blob, StoreError> {
        self.writable()?;
        let blob = Blob { digest: Digest::of(bytes), size: bytes.len() as u64 };
        if !self.touch_if_whole(&blob)? {
            let file = self.temporary_with(bytes, 0o444)?;
            self.install(file, &blob)?;
        }
        Ok(blob)
    }

    /// Returns a writer for an object whose bytes come piece by piece.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the store cannot be written to.
    pub fn writer(&self) -> Result<ObjectWriter<'_>, StoreError> {
        Ok(ObjectWriter::new(self, self.temporary(0o444)?))
    }

    /// Returns the bytes of `blob`, verified against its digest. An object that is not here whole is
    /// fetched from the remote tier, if there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if the object is missing or holds other bytes, in which case it is
    /// in quarantine; [`StoreError::Io`] if it cannot be read.
    pub fn get(&self, blob: &Blob) -> Result<Bytes, StoreError> {
        match self.get_here(blob) {
            Err(here @ StoreError::Damaged { .. }) if self.remote.is_some() => {
                match self.fetch(blob) {
                    // What is wrong here says more than that it is not there either.
                    Err(StoreError::Damaged { .. }) if !is_missing(&here) => Err(here),
                    fetched => fetched.and_then(|_| self.get_here(blob)),
                }
            }
            other => other,
        }
    }

    fn get_here(&self, blob: &Blob) -> Result<Bytes, StoreError> {
        let mut tries = retry::Retries::default();
        loop {
            match self.get_once(blob) {
                Err(StoreError::Io { source, .. })
                    if retry::is_transient(&source) && tries.may_retry() => {}
                other => return other,
            }
        }
    }

    fn get_once(&self, blob: &Blob) -> Result<Bytes, StoreError> {
        let relative = object_path(&blob.digest);
        let damaged = |what: Damage| Err(StoreError::Damaged { digest: blob.digest, what });
        let fail = |error: io::Error| StoreError::io("read", &self.at(&relative), error);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened =
            retry::retrying(|| rustix::fs::openat(&self.dir, &relative, flags, Mode::empty()));
        let file = match opened {
            Ok(file) => File::from(file),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOENT | Errno::NOTDIR) if self.is_gone() => return Err(self.gone()),
                Some(Errno::NOENT | Errno::NOTDIR) => return damaged(Damage::Missing),
                Some(Errno::LOOP) => return damaged(Damage::NotAFile),
                _ => return Err(fail(error)),
            },
        };
        let stat = rustix::fs::fstat(&file).map_err(|error| fail(error.into()))?;
        if !is_file(&stat) || size(&stat) != blob.size {
            let what = self.examine(blob, &relative, &stat)?.damage();
            return damaged(what.unwrap_or(Damage::Unsteady));
        }
        let held = if blob.size < LARGE {
            let mut bytes = Vec::with_capacity(usize::try_from(blob.size).unwrap_or(0));
            match (&file).read_to_end(&mut bytes) {
                Err(error) if !is_damage(&error) => return Err(fail(error)),
                // The bytes before a bad sector do not have the digest, which shows below.
                Err(_) | Ok(_) => Backing::Read(bytes),
            }
        } else {
            #[expect(unsafe_code, reason = "a map is the only way to read gigabytes at no cost")]
            // SAFETY: no program changes or cuts an object under its name: it is written in
            // `tmp/`, renamed, read-only, and only ever unlinked. Somebody who writes to it
            // past its permissions can end this process, as with any mapped file.
            let map = unsafe { Mmap::map(&file) };
            Backing::Mapped(map.map_err(fail)?)
        };
        let bytes = Bytes(held);
        let stamp = InodeAndDate { inode: stat.st_ino, modified: modified(&stat) };
        let known = blob.size >= LARGE && lock(&self.verified).get(&blob.digest) == Some(&stamp);
        if known {
            return Ok(bytes);
        }
        if bytes.digest() != blob.digest {
            self.set_aside(&relative, &quarantine_name(&blob.digest), Some(stat.st_ino));
            return damaged(Damage::Altered);
        }
        if !is_dated(&stat) {
            self.set_object_date(&relative);
        } else if blob.size >= LARGE {
            lock(&self.verified).insert(blob.digest, stamp);
        }
        Ok(bytes)
    }

    /// Tells whether the object is here and whole, by its size and modification time.
    pub(crate) fn has_object(&self, blob: &Blob) -> Result<bool, StoreError> {
        Ok(matches!(self.health(blob)?, Health::Whole { .. }))
    }

    /// Returns the health of the object of `blob`, by its size and modification time; where these
    /// are not right, by its hash. A damaged object moves to quarantine.
    pub(super) fn health(&self, blob: &Blob) -> Result<Health, StoreError> {
        let relative = object_path(&blob.digest);
        let seen =
            retry::retrying(|| rustix::fs::statat(&self.dir, &relative, AtFlags::SYMLINK_NOFOLLOW));
        match seen {
            Ok(stat) if is_file(&stat) && size(&stat) == blob.size && is_dated(&stat) => {
                Ok(Health::Whole { last_touched: changed(&stat) })
            }
            Ok(stat) => self.examine(blob, &relative, &stat),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOENT | Errno::NOTDIR) if self.is_gone() => Err(self.gone()),
                Some(Errno::NOENT | Errno::NOTDIR) => Ok(Health::Missing),
                _ => Err(StoreError::io("read", &self.at(&relative), error)),
            },
        }
    }

    /// Returns the health of an object by its hash. A damaged object moves to quarantine.
    pub(super) fn examine(
        &self,
        blob: &Blob,
        relative: &str,
        stat: &Stat,
    ) -> Result<Health, StoreError> {
        let set_aside = |what: Damage| {
            self.set_aside(relative, &quarantine_name(&blob.digest), Some(stat.st_ino));
            Ok(Health::Damaged(what))
        };
        if !is_file(stat) {
            return set_aside(Damage::NotAFile);
        }
        let path = self.at(relative);
        let hashed = retry::retrying(|| File::open(&path).and_then(|file| hash(&file)));
        let (digest, size) = match hashed {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Health::Missing),
            Err(error) if is_damage(&error) => {
                return set_aside(Damage::Unreadable { why: error.to_string() });
            }
            Err(error) => return Err(StoreError::io("read", &path, error)),
        };
        let lengths = || Damage::Length { found: size, wanted: blob.size };
        if digest != blob.digest {
            let other = size == blob.size;
            return set_aside(if other { Damage::Altered } else { lengths() });
        }
        if !is_dated(stat) {
            self.set_object_date(relative);
        }
        // An object with the right digest is whole: the size asked for is wrong, and it stays.
        if size != blob.size {
            return Ok(Health::Damaged(lengths()));
        }
        Ok(Health::Whole { last_touched: changed(stat) })
    }

    /// Tells whether the object is whole, and if so protects it from garbage collection.
    fn touch_if_whole(&self, blob: &Blob) -> Result<bool, StoreError> {
        let Health::Whole { last_touched } = self.health(blob)? else { return Ok(false) };
        self.touch_for_gc(blob, last_touched);
        Ok(true)
    }

    /// Updates the change time (ctime) of an object, so that no garbage collection removes it
    /// before the record that refers to it is written.
    pub(super) fn touch_for_gc(&self, blob: &Blob, last_touched: i64) {
        let now = now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(last_touched) > TOUCH_AFTER_SECONDS
        {
            self.set_object_date(&object_path(&blob.digest));
        }
    }

    fn install(&self, file: NamedTempFile, blob: &Blob) -> Result<(), StoreError> {
        let fail = |error: io::Error| self.io_or_gone("write", file.path(), error);
        set_date_of_object(&file);
        let relative = object_path(&blob.digest);
        if blob.size < LARGE {
            self.place_over(file, &relative)?;
            lock(&self.unsynced).insert(blob.digest);
            self.mark_unflushed();
            return Ok(());
        }
        retry::retrying(|| file.as_file().sync_data()).map_err(fail)?;
        self.place_over(file, &relative)?;
        self.sync_folder(&relative[.."objects/ab".len()])?;
        self.sync_folder("objects")
    }

    /// Fsyncs those of `blobs` that were written since the last flush.
    pub(super) fn sync_objects<'a>(
        &self,
        blobs: impl Iterator<Item = &'a Blob>,
    ) -> Result<(), StoreError> {
        let waiting: Vec<Digest> = {
            let unsynced = lock(&self.unsynced);
            blobs.map(|blob| blob.digest).filter(|digest| unsynced.contains(digest)).collect()
        };
        // Above a handful of objects one syncfs is faster than an fsync for each.
        if waiting.len() > 8 {
            return self.flush();
        }
        for digest in &waiting {
            let relative = object_path(digest);
            let synced = retry::retrying(|| {
                File::open(self.at(&relative)).and_then(|file| file.sync_data())
            });
            synced.map_err(|error| self.io_or_gone("write", &self.at(&relative), error))?;
            self.sync_folder(&relative[.."objects/ab".len()])?;
        }
        if !waiting.is_empty() {
            self.sync_folder("objects")?;
        }
        let mut unsynced = lock(&self.unsynced);
        waiting.iter().for_each(|digest| {
            unsynced.remove(digest);
        });
        Ok(())
    }

    /// Sets the modification time (mtime) every object has; the change time (ctime) becomes now.
    fn set_object_date(&self, relative: &str) {
        // The date of another user's object cannot be set; it is hashed on every use.
        let _ = rustix::fs::utimensat(&self.dir, relative, &OBJECT_DATE, AtFlags::SYMLINK_NOFOLLOW);
    }
}

/// Returns the digest of a file and its length in bytes.
pub(super) fn hash(mut file: &File) -> io::Result<(Digest, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut size = 0;
    let expected = file.metadata()?.len();
    let mut buffer = vec![0; usize::try_from(expected.clamp(4096, 4 << 20)).unwrap_or(4096)];
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if filled == 0 {
            return Ok((Digest::from_hash(hasher.finalize()), size));
        }
        id::update(&mut hasher, &buffer[..filled]);
        size += filled as u64;
    }
}

/// Sets the modification time (mtime) every object has. On a file system without dates an object is
/// hashed on every use.
pub(super) fn set_date_of_object(file: &NamedTempFile) {
    let _ = rustix::fs::futimens(file.as_fd(), &OBJECT_DATE);
}

pub(crate) fn object_path(digest: &Digest) -> String {
    sharded("objects", blake3::Hash::from_bytes(*digest.as_bytes()).to_hex().as_str(), "")
}

/// Returns the name of a damaged object in quarantine.
fn quarantine_name(digest: &Digest) -> String {
    format!("object-{digest}")
}

fn is_missing(error: &StoreError) -> bool {
    matches!(error, StoreError::Damaged { what: Damage::Missing, .. })
}

/// Tells whether a failed read is damage to one object (EIO), not trouble of the whole store.
fn is_damage(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::IO | Errno::ISDIR | Errno::LOOP))
}

const OBJECT_DATE: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    last_modification: Timespec { tv_sec: 1, tv_nsec: 0 },
};

fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

fn is_dated(stat: &Stat) -> bool {
    modified(stat) == (1, 0)
}

pub(super) fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

#[expect(clippy::unnecessary_cast, reason = "the fields' types differ between platforms")]
fn modified(stat: &Stat) -> (i64, i64) {
    (stat.st_mtime as i64, stat.st_mtime_nsec as i64)
}

#[expect(clippy::unnecessary_cast, reason = "the field's type differs between platforms")]
pub(super) fn changed(stat: &Stat) -> i64 {
    stat.st_ctime as i64
}

/// Returns the metadata of a file or symbolic link (lstat), or `None` if it is not there.
pub(super) fn lstat(path: &Path) -> Result<Option<Stat>, StoreError> {
    match retry::retrying(|| rustix::fs::lstat(path)) {
        Ok(stat) => Ok(Some(stat)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", path, error)),
    }
}
