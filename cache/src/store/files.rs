//! Digests of files outside the store, kept for as long as inode, size and dates of a file stay.

use super::{Store, lock, now, objects, retry, seal};
use crate::{Digest, StoreError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::Mutex,
    time::UNIX_EPOCH,
};

const NAME: &str = "files";

/// The memo of folders.
pub(super) const FOLDERS: &str = "folders";
/// The nanoseconds between a file's modification and its hashing below which its digest is not
/// reused: a second change within one tick of the clock would not change its date (a racy entry, in
/// git's words).
const RACY_NANOS: i128 = 2_000_000_000;

/// Digests of files or folders outside the store, by canonical path.
#[derive(Debug)]
pub(super) struct DigestMemo<T> {
    pub(super) known: BTreeMap<String, T>,
    /// Whether `known` differs from what is on the disk.
    pub(super) dirty: bool,
}

/// A date of a file, in seconds and nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct FileTime(i64, i64);

impl FileTime {
    pub(super) fn modified(metadata: &Metadata) -> Self {
        Self(metadata.mtime(), metadata.mtime_nsec())
    }

    fn changed(metadata: &Metadata) -> Self {
        Self(metadata.ctime(), metadata.ctime_nsec())
    }

    /// Returns the time of day.
    pub(super) fn now() -> Self {
        let since = now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_secs()).unwrap_or(0), i64::from(since.subsec_nanos()))
    }

    fn nanos(self) -> i128 {
        i128::from(self.0) * 1_000_000_000 + i128::from(self.1)
    }
}

/// The fingerprint of a file or folder outside the store: it changes with the inode, size or dates
/// of a file, and is compared with another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(Digest);

/// The digest of a file, and its inode, size and dates when it was hashed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HashedFile {
    inode: u64,
    size: u64,
    modified: FileTime,
    changed: FileTime,
    /// When hashing began.
    began: FileTime,
    digest: Digest,
}

impl HashedFile {
    fn new(metadata: &Metadata, began: FileTime, digest: Digest) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.len(),
            modified: FileTime::modified(metadata),
            changed: FileTime::changed(metadata),
            began,
            digest,
        }
    }

    fn is_current(&self, metadata: &Metadata) -> bool {
        is_not_racy(self.began, self.modified)
            && *self == Self::new(metadata, self.began, self.digest)
    }
}

impl Store {
    /// Returns the digest of a file outside the store, and its length in bytes. A file is hashed
    /// once, and again when its size, dates or inode have changed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if it cannot be read or is no regular file.
    pub fn file_digest(&self, path: &Path) -> Result<(Digest, u64), StoreError> {
        let fail = |error| StoreError::io("read", path, error);
        let canonical = retry::retrying(|| path.canonicalize()).map_err(fail)?;
        let metadata = retry::retrying(|| fs::metadata(&canonical)).map_err(fail)?;
        // Opening a pipe would wait for somebody to write to it.
        if !metadata.is_file() {
            return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")));
        }
        // A path that is not UTF-8 has no place in JSON: the file is hashed each time.
        let name = canonical.to_str();
        if let Some(name) = name {
            let mut memo = lock(&self.files);
            let memo = memo.get_or_insert_with(|| self.load_memo(NAME));
            if let Some(known) = memo.known.get(name).filter(|known| known.is_current(&metadata)) {
                return Ok((known.digest, known.size));
            }
        }
        let began = FileTime::now();
        let (file, before, (digest, size)) = retry::retrying(|| {
            let file = File::open(&canonical)?;
            let before = file.metadata()?;
            let hashed = objects::hash(&file)?;
            Ok::<_, io::Error>((file, before, hashed))
        })
        .map_err(fail)?;
        let hashed = HashedFile::new(&before, began, digest);
        let after = retry::retrying(|| file.metadata()).map_err(fail)?;
        let unchanged = hashed == HashedFile::new(&after, began, digest) && size == before.len();
        if let Some(name) = name.filter(|_| unchanged) {
            let mut memo = lock(&self.files);
            let memo = memo.get_or_insert_with(|| self.load_memo(NAME));
            memo.known.insert(name.to_owned(), hashed);
            memo.dirty = true;
        }
        Ok((digest, size))
    }

    /// Returns the fingerprint of a file: it changes with the file's size, dates or inode.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if it is not there.
    pub fn file_fingerprint(&self, path: &Path) -> Result<Fingerprint, StoreError> {
        let metadata = retry::retrying(|| fs::metadata(path));
        let metadata = metadata.map_err(|error| StoreError::io("read", path, error))?;
        Ok(Fingerprint::new(&Digest::of(&fingerprint_bytes(&metadata))))
    }

    /// Copies a file outside the store, with its permissions, and returns the digest of the copy.
    /// Folders above `to` are made.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if it cannot be read or written.
    pub fn copy_file(&self, from: &Path, to: &Path) -> Result<Digest, StoreError> {
        let read = |error| StoreError::io("read", from, error);
        let write = |error| StoreError::io("write", to, error);
        if let Some(folder) = to.parent() {
            retry::make_folders(folder).map_err(write)?;
        }
        let mut begun = false;
        let copy = || {
            // A retry may find a partial, read-only copy.
            if std::mem::replace(&mut begun, true) {
                fs::remove_file(to).or_else(|error| match error.kind() {
                    io::ErrorKind::NotFound => Ok(()),
                    _ => Err(error),
                })?;
            }
            fs::copy(from, to)
        };
        retry::retrying(copy).map_err(read)?;
        let copied = retry::retrying(|| File::open(to).and_then(|file| objects::hash(&file)));
        copied.map(|(digest, _)| digest).map_err(write)
    }

    /// Writes the digests of files and folders that were hashed since the last call to the disk,
    /// merged with those of other processes. Paths that no longer exist are left out.
    pub(super) fn save_digests(&self) -> Result<(), StoreError> {
        self.save_memo(&self.files, NAME)?;
        self.save_memo(&self.folders, FOLDERS)
    }

    fn save_memo<T>(
        &self,
        memo: &Mutex<Option<DigestMemo<T>>>,
        name: &str,
    ) -> Result<(), StoreError>
    where
        T: Clone + Serialize + DeserializeOwned,
    {
        let known = {
            let mut memo = lock(memo);
            let Some(memo) = memo.as_mut().filter(|memo| memo.dirty) else { return Ok(()) };
            memo.dirty = false;
            memo.known.clone()
        };
        let mut all = self.load_memo(name).known;
        all.extend(known);
        all.retain(|path, _| Path::new(path).exists());
        let Ok(body) = serde_json::to_vec(&all) else { return Ok(()) };
        self.place_over(self.temporary_with(&seal::seal(name, &body), 0o644)?, name)?;
        self.mark_unflushed();
        Ok(())
    }

    // A damaged document counts as empty: the files are hashed again.
    pub(super) fn load_memo<T: DeserializeOwned>(&self, name: &str) -> DigestMemo<T> {
        let sealed = self.read_small(name).ok().flatten().unwrap_or_default();
        DigestMemo { known: seal::unseal(name, &sealed).unwrap_or_default(), dirty: false }
    }
}

impl Fingerprint {
    pub(super) fn new(digest: &Digest) -> Self {
        Self(*digest)
    }
}

/// Returns the inode, size and dates of a file as bytes. The device number is left out: two hosts
/// that mount one file system do not agree on it.
pub(super) fn fingerprint_bytes(metadata: &Metadata) -> [u8; 48] {
    let parts = [
        metadata.ino(),
        metadata.len(),
        metadata.mtime().cast_unsigned(),
        metadata.mtime_nsec().cast_unsigned(),
        metadata.ctime().cast_unsigned(),
        metadata.ctime_nsec().cast_unsigned(),
    ];
    let mut bytes = [0; 48];
    bytes
        .chunks_exact_mut(8)
        .zip(parts)
        .for_each(|(to, part)| to.copy_from_slice(&part.to_le_bytes()));
    bytes
}

/// Tells whether a file was last modified long enough before hashing `began` for its modification
/// date to show any later change.
pub(super) fn is_not_racy(began: FileTime, modified: FileTime) -> bool {
    began.nanos() - modified.nanos() >= RACY_NANOS
}
