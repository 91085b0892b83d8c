//! Listings of the store's folders.

use super::{Store, retry};
use crate::StoreError;
use std::{
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

/// The files of a sharded folder: those named by an id, by id, and strays.
pub(super) struct Listing<T> {
    pub(super) named: Vec<(T, PathBuf)>,
    pub(super) strays: Vec<PathBuf>,
}

impl Store {
    /// Lists `objects`, `records` or `checkpoints`.
    pub(super) fn list_ids<T: FromStr>(
        &self,
        folder: &str,
        end: &str,
    ) -> Result<Listing<T>, StoreError> {
        let mut named = vec![];
        let mut strays = vec![];
        for (shard, path) in names(&self.at(folder))? {
            if shard.len() != 2 || !path.is_dir() {
                strays.push(path);
                continue;
            }
            for (rest, path) in names(&path)? {
                match rest.strip_suffix(end).map(|rest| format!("{shard}{rest}").parse()) {
                    Some(Ok(id)) => named.push((id, path)),
                    _ => strays.push(path),
                }
            }
        }
        Ok(Listing { named, strays })
    }
}

/// Returns the entries of `folder`, sorted by name; none if it does not exist. Names that begin
/// with a dot or are not UTF-8 are left out.
pub(super) fn names(folder: &Path) -> Result<Vec<(String, PathBuf)>, StoreError> {
    match retry::retrying(|| read_names(folder)) {
        Err(error) => {
            let none = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
            let none = none.contains(&error.kind());
            if none { Ok(vec![]) } else { Err(StoreError::io("read", folder, error)) }
        }
        Ok(names) => Ok(names),
    }
}

fn read_names(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut names = vec![];
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
        {
            names.push((name, entry.path()));
        }
    }
    // Names in one folder are distinct.
    names.sort_unstable();
    Ok(names)
}
