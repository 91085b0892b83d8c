//! Digests of whole folders outside the store, such as those of an image data set.
//!
//! There is one digest for a folder, not one for a file: those would be as many as a data set has
//! files, and every run would read them. If a file changes, its whole folder is hashed again.

use super::{
    Store,
    files::{self, DigestMemo, FOLDERS, FileTime, Fingerprint, is_not_racy},
    lock, objects, retry,
};
use crate::{Digest, StoreError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io,
    path::Path,
};

/// The digest of a folder's files, and their fingerprint when they were hashed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HashedFolder {
    #[serde(rename = "look")]
    fingerprint: FolderFingerprint,
    /// When hashing began.
    began: FileTime,
    digest: Digest,
}

/// The names, inodes, sizes and dates of a folder's files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FolderFingerprint {
    /// The digest of the names, inodes, sizes and dates.
    digest: Digest,
    /// The latest modification date.
    newest: FileTime,
}

impl Store {
    /// Returns the digest of the files `names` in `folder`: of their names and bytes, in this
    /// order. They are hashed once, and again when the size, dates or inode of one has changed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if one cannot be read or is no regular file.
    pub fn folder_digest(&self, folder: &Path, names: &[String]) -> Result<Digest, StoreError> {
        let canonical = retry::retrying(|| folder.canonicalize());
        let canonical = canonical.map_err(|error| StoreError::io("read", folder, error))?;
        let before = fingerprint(&canonical, names)?;
        // A path that is not UTF-8 has no place in JSON: the folder is hashed each time.
        let name = canonical.to_str();
        if let Some(name) = name {
            let mut memo = lock(&self.folders);
            let memo: &mut DigestMemo<HashedFolder> =
                memo.get_or_insert_with(|| self.load_memo(FOLDERS));
            let is_current = |known: &&HashedFolder| {
                known.fingerprint == before && is_not_racy(known.began, before.newest)
            };
            if let Some(known) = memo.known.get(name).filter(is_current) {
                return Ok(known.digest);
            }
        }
        let began = FileTime::now();
        let digests = names.par_iter().map(|name| {
            let path = canonical.join(name);
            let hash = || File::open(&path).and_then(|file| objects::hash(&file));
            let hashed = retry::retrying(hash);
            let (digest, _) = hashed.map_err(|error| StoreError::io("read", &path, error))?;
            Ok((name.as_str(), digest))
        });
        let digests: Vec<(&str, Digest)> = digests.collect::<Result<_, StoreError>>()?;
        let digest = folder_digest(digests);
        let unchanged = before == fingerprint(&canonical, names)?;
        if let Some(name) = name.filter(|_| unchanged) {
            let mut memo = lock(&self.folders);
            let memo = memo.get_or_insert_with(|| self.load_memo(FOLDERS));
            let hashed = HashedFolder { fingerprint: before, began, digest };
            memo.known.insert(name.to_owned(), hashed);
            memo.dirty = true;
        }
        Ok(digest)
    }

    /// Returns the fingerprint of the files `names` in `folder`: it changes with the name, size,
    /// dates or inode of one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if one is not there.
    pub fn folder_fingerprint(
        &self,
        folder: &Path,
        names: &[String],
    ) -> Result<Fingerprint, StoreError> {
        Ok(Fingerprint::new(&fingerprint(folder, names)?.digest))
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

fn fingerprint(folder: &Path, names: &[String]) -> Result<FolderFingerprint, StoreError> {
    let files = names.par_iter().map(|name| {
        let path = folder.join(name);
        let fail = |error| StoreError::io("read", &path, error);
        let metadata = retry::retrying(|| fs::metadata(&path)).map_err(fail)?;
        // Opening a pipe would wait for somebody to write to it.
        if !metadata.is_file() {
            return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")));
        }
        let modified = FileTime::modified(&metadata);
        let mut bytes = files::fingerprint_bytes(&metadata).to_vec();
        bytes.extend((name.len() as u64).to_le_bytes());
        bytes.extend(name.as_bytes());
        Ok((bytes, modified))
    });
    let files: Vec<(Vec<u8>, FileTime)> = files.collect::<Result<_, StoreError>>()?;
    let mut all = vec![];
    files.iter().for_each(|(bytes, _)| all.extend_from_slice(bytes));
    let newest = files.iter().map(|(_, modified)| *modified).max().unwrap_or_default();
    Ok(FolderFingerprint { digest: Digest::of(&all), newest })
}
