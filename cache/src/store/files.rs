//! Digests of files outside the store, remembered as long as the files look the same.

use super::{Store, lock, now, objects, seal, steady};
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
/// A file that was changed this shortly before it was hashed could be changed once more without
/// its date showing it (git calls such an entry racy).
const RACY_NANOS: i128 = 2_000_000_000;

/// What is remembered, by canonical path.
#[derive(Debug)]
pub(super) struct Memo<T> {
    pub(super) seen: BTreeMap<String, T>,
    pub(super) changed: bool,
}

/// How a file looks from outside: what tells it from itself after a change. Two are compared, and
/// nothing else is done with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStamp(Digest);

/// How a file looked when it was hashed; times in seconds and nanoseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seen {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    /// When hashing began, in seconds and nanoseconds since 1970.
    began: (i64, i64),
    digest: Digest,
}

impl Seen {
    fn new(metadata: &Metadata, began: (i64, i64), digest: Digest) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            began,
            digest,
        }
    }

    fn still_holds(&self, metadata: &Metadata) -> bool {
        settled(self.began, self.modified) && *self == Self::new(metadata, self.began, self.digest)
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
        let canonical = steady::steadily(|| path.canonicalize()).map_err(fail)?;
        let metadata = steady::steadily(|| fs::metadata(&canonical)).map_err(fail)?;
        // Opening a pipe would wait for somebody to write to it.
        if !metadata.is_file() {
            return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")));
        }
        // A path that is not text is hashed each time.
        let name = canonical.to_str();
        if let Some(name) = name {
            let mut memo = lock(&self.files);
            let memo = memo.get_or_insert_with(|| self.load_memo(NAME));
            if let Some(seen) = memo.seen.get(name).filter(|seen| seen.still_holds(&metadata)) {
                return Ok((seen.digest, seen.size));
            }
        }
        let began = moment();
        let (file, before, (digest, size)) = steady::steadily(|| {
            let file = File::open(&canonical)?;
            let before = file.metadata()?;
            let hashed = objects::hash(&file)?;
            Ok::<_, io::Error>((file, before, hashed))
        })
        .map_err(fail)?;
        let seen = Seen::new(&before, began, digest);
        let after = steady::steadily(|| file.metadata()).map_err(fail)?;
        let quiet = seen == Seen::new(&after, began, digest) && size == before.len();
        if let Some(name) = name.filter(|_| quiet) {
            let mut memo = lock(&self.files);
            let memo = memo.get_or_insert_with(|| self.load_memo(NAME));
            memo.seen.insert(name.to_owned(), seen);
            memo.changed = true;
        }
        Ok((digest, size))
    }

    /// Returns how a file looks: it changes with its size, dates or inode.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if it is not there.
    pub fn file_stamp(&self, path: &Path) -> Result<FileStamp, StoreError> {
        let metadata = steady::steadily(|| fs::metadata(path));
        let metadata = metadata.map_err(|error| StoreError::io("read", path, error))?;
        Ok(FileStamp::new(&Digest::of(&look(&metadata))))
    }

    /// Copies a file outside the store, with its permissions, and returns the digest of what was
    /// copied. Folders above `to` are made.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn copy_file(&self, from: &Path, to: &Path) -> Result<Digest, StoreError> {
        let read = |error| StoreError::io("read", from, error);
        let write = |error| StoreError::io("write", to, error);
        if let Some(folder) = to.parent() {
            steady::make_folders(folder).map_err(write)?;
        }
        let mut begun = false;
        let copy = || {
            // What was copied halfway may have been made read-only already.
            if std::mem::replace(&mut begun, true) {
                fs::remove_file(to).or_else(|error| match error.kind() {
                    io::ErrorKind::NotFound => Ok(()),
                    _ => Err(error),
                })?;
            }
            fs::copy(from, to)
        };
        steady::steadily(copy).map_err(read)?;
        let copied = steady::steadily(|| File::open(to).and_then(|file| objects::hash(&file)));
        copied.map(|(digest, _)| digest).map_err(write)
    }

    /// Writes down what was learnt of files and folders, beside what other processes have; what
    /// is gone is forgotten.
    pub(super) fn save_files(&self) -> Result<(), StoreError> {
        self.save_memo(&self.files, NAME)?;
        self.save_memo(&self.folders, super::folders::NAME)
    }

    fn save_memo<T>(&self, memo: &Mutex<Option<Memo<T>>>, name: &str) -> Result<(), StoreError>
    where
        T: Clone + Serialize + DeserializeOwned,
    {
        let seen = {
            let mut memo = lock(memo);
            let Some(memo) = memo.as_mut().filter(|memo| memo.changed) else { return Ok(()) };
            memo.changed = false;
            memo.seen.clone()
        };
        let mut all = self.load_memo(name).seen;
        all.extend(seen);
        all.retain(|path, _| Path::new(path).exists());
        let Ok(body) = serde_json::to_vec(&all) else { return Ok(()) };
        self.place_over(self.temporary_with(&seal::seal(name, &body), 0o644)?, name)?;
        self.mark_dirty();
        Ok(())
    }

    // Whatever is wrong with it, the files can be hashed again.
    pub(super) fn load_memo<T: DeserializeOwned>(&self, name: &str) -> Memo<T> {
        let sealed = self.read_small(name).ok().flatten().unwrap_or_default();
        Memo { seen: seal::unseal(name, &sealed).unwrap_or_default(), changed: false }
    }
}

impl FileStamp {
    pub(super) fn new(digest: &Digest) -> Self {
        Self(*digest)
    }
}

/// Returns what tells a file from itself after a change, as bytes. Which device it is on is left
/// out: two hosts that see one file do not agree on that.
pub(super) fn look(metadata: &Metadata) -> [u8; 48] {
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

/// Tells whether a file last changed at `modified` had been left alone for long enough when
/// hashing `began` for its date to tell of any later change.
pub(super) fn settled(began: (i64, i64), modified: (i64, i64)) -> bool {
    nanos(began) - nanos(modified) >= RACY_NANOS
}

/// Returns the time of day, in seconds and nanoseconds since 1970.
pub(super) fn moment() -> (i64, i64) {
    let since = now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(since.as_secs()).unwrap_or(0), i64::from(since.subsec_nanos()))
}

fn nanos((seconds, nanos): (i64, i64)) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanos)
}
