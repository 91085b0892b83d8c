//! Digests of many files of one folder outside the store, remembered as one.
//!
//! A memory of every single file would grow as large as the data set is in files, and be read by
//! every run. So a file that changes has its whole folder hashed again.

use super::{
    Store,
    files::{self, FileStamp, Memo, moment, settled},
    lock, objects, steady,
};
use crate::{Digest, StoreError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

pub(super) const NAME: &str = "folders";

/// How the files of a folder looked when they were hashed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seen {
    look: Look,
    /// When hashing began, in seconds and nanoseconds since 1970.
    began: (i64, i64),
    digest: Digest,
}

/// What tells files from the same files after a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    /// Of the names, inodes, sizes and dates.
    digest: Digest,
    /// The latest date of change, in seconds and nanoseconds since 1970.
    newest: (i64, i64),
}

impl Store {
    /// Returns the digest of the files `names` in `folder`: of their names and bytes, in this
    /// order. They are hashed once, and again when the size, dates or inode of one has changed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if one cannot be read or is no regular file.
    pub fn folder_digest(&self, folder: &Path, names: &[String]) -> Result<Digest, StoreError> {
        let canonical = steady::steadily(|| folder.canonicalize());
        let canonical = canonical.map_err(|error| StoreError::io("read", folder, error))?;
        let before = look(&canonical, names)?;
        // A path that is not text is hashed each time.
        let name = canonical.to_str();
        if let Some(name) = name {
            let mut memo = lock(&self.folders);
            let memo: &mut Memo<Seen> = memo.get_or_insert_with(|| self.load_memo(NAME));
            let same = |seen: &&Seen| seen.look == before && settled(seen.began, before.newest);
            if let Some(seen) = memo.seen.get(name).filter(same) {
                return Ok(seen.digest);
            }
        }
        let began = moment();
        let digests = names.par_iter().map(|name| {
            let path = canonical.join(name);
            let hash = || File::open(&path).and_then(|file| objects::hash(&file));
            let hashed = steady::steadily(hash);
            let (digest, _) = hashed.map_err(|error| StoreError::io("read", &path, error))?;
            Ok((name.as_str(), digest))
        });
        let digests: Vec<(&str, Digest)> = digests.collect::<Result<_, StoreError>>()?;
        let digest = folder_digest(digests);
        let quiet = before == look(&canonical, names)?;
        if let Some(name) = name.filter(|_| quiet) {
            let mut memo = lock(&self.folders);
            let memo = memo.get_or_insert_with(|| self.load_memo(NAME));
            memo.seen.insert(name.to_owned(), Seen { look: before, began, digest });
            memo.changed = true;
        }
        Ok(digest)
    }

    /// Returns how the files `names` in `folder` look: it changes with the name, size, dates or
    /// inode of one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if one is not there.
    pub fn folder_stamp(&self, folder: &Path, names: &[String]) -> Result<FileStamp, StoreError> {
        Ok(FileStamp::new(&look(folder, names)?.digest))
    }
}

/// Returns the digest of files in a folder: of their names and bytes, in this order.
#[must_use]
pub fn folder_digest<'a>(files: impl IntoIterator<Item = (&'a str, Digest)>) -> Digest {
    let mut all = vec![];
    for (name, digest) in files {
        all.extend_from_slice(Digest::of(name.as_bytes()).as_bytes());
        all.extend_from_slice(digest.as_bytes());
    }
    Digest::of(&all)
}

fn look(folder: &Path, names: &[String]) -> Result<Look, StoreError> {
    let looks = names.par_iter().map(|name| {
        let path = folder.join(name);
        let fail = |error| StoreError::io("read", &path, error);
        let metadata = steady::steadily(|| fs::metadata(&path)).map_err(fail)?;
        // Opening a pipe would wait for somebody to write to it.
        if !metadata.is_file() {
            return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")));
        }
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        let mut look = files::look(&metadata).to_vec();
        look.extend((name.len() as u64).to_le_bytes());
        look.extend(name.as_bytes());
        Ok((look, modified))
    });
    let looks: Vec<(Vec<u8>, (i64, i64))> = looks.collect::<Result<_, StoreError>>()?;
    let mut all = vec![];
    looks.iter().for_each(|(look, _)| all.extend_from_slice(look));
    let newest = looks.iter().map(|(_, modified)| *modified).max().unwrap_or_default();
    Ok(Look { digest: Digest::of(&all), newest })
}
