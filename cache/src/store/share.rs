//! Opening a store to a group, as `git init --shared` does with a repository.
//!
//! Folders hand their group down (setgid) and may be written by it, whatever the umask of whoever
//! makes them; files may be read by it. A store is shared if its root may be written by its group.

use super::{Store, retry};
use crate::StoreError;
use rustix::fs::{AtFlags, Gid, Mode};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShareReport {
    /// How many files and folders.
    pub opened: u64,
    /// How many belong to somebody else, who alone can open them.
    pub refused: u64,
}

impl Store {
    /// Opens everything in the store to its group, and gives it to `group` first if one is named.
    /// Whatever is written from then on is open, too.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the root cannot be opened, or a folder not be listed.
    pub fn share(&self, group: Option<u32>) -> Result<ShareReport, StoreError> {
        let mut report = ShareReport::default();
        let root = self.root().to_owned();
        open(&root, group).map_err(|error| StoreError::io("open to its group", &root, error))?;
        report.opened += 1;
        let mut folders: Vec<PathBuf> = vec![root];
        while let Some(folder) = folders.pop() {
            let fail = |error| StoreError::io("read", &folder, error);
            for entry in fs::read_dir(&folder).map_err(fail)? {
                let path = entry.map_err(fail)?.path();
                match open(&path, group) {
                    Ok(is_folder) => {
                        report.opened += 1;
                        if is_folder {
                            folders.push(path);
                        }
                    }
                    // A file that goes meanwhile was on its way.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(_) => report.refused += 1,
                }
            }
        }
        Ok(report)
    }
}

/// Opens a file or folder, and tells which it is. What a link leads to stays as it is.
fn open(path: &Path, group: Option<u32>) -> io::Result<bool> {
    let stat = retry::retrying(|| rustix::fs::lstat(path))?;
    let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    if kind.is_symlink() {
        return Ok(false);
    }
    if let Some(group) = group.filter(|group| *group != stat.st_gid) {
        let group = Some(Gid::from_raw(group));
        rustix::fs::chownat(rustix::fs::CWD, path, None, group, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    let now = Mode::from_raw_mode(stat.st_mode) & Mode::from(0o7777);
    let more = match kind.is_dir() {
        true => Mode::SGID | Mode::RWXG,
        // As much for the group as for the owner: objects are nobody's to write.
        false => Mode::from_bits_truncate((now.bits() & 0o600) >> 3),
    };
    if !now.contains(more) {
        rustix::fs::chmodat(rustix::fs::CWD, path, now | more, AtFlags::empty())?;
    }
    Ok(kind.is_dir())
}
