//! Sharing a store with a Unix group, as `git init --shared` does with a repository.
//!
//! Folders are setgid and group-writable, files group-readable, whatever the umask of the user that
//! creates them. A store is shared if its root is group-writable.

use super::{Store, retry};
use crate::StoreError;
use rustix::fs::{AtFlags, Gid, Mode};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Counts of what was opened to the group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShareReport {
    /// The number of files and folders opened.
    pub opened: u64,
    /// The number of files and folders of other users, who alone can open them.
    pub refused: u64,
}

impl Store {
    /// Opens every file and folder of the store to its group, after changing the group to `group`
    /// if one is given. Files written later are open, too.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the root cannot be opened, or a folder not be listed.
    pub fn share(&self, group: Option<u32>) -> Result<ShareReport, StoreError> {
        let mut report = ShareReport::default();
        let root = self.root().to_owned();
        open_to_group(&root, group)
            .map_err(|error| StoreError::io("open to its group", &root, error))?;
        report.opened += 1;
        let mut folders: Vec<PathBuf> = vec![root];
        while let Some(folder) = folders.pop() {
            let fail = |error| StoreError::io("read", &folder, error);
            for entry in fs::read_dir(&folder).map_err(fail)? {
                let path = entry.map_err(fail)?.path();
                match open_to_group(&path, group) {
                    Ok(is_folder) => {
                        report.opened += 1;
                        if is_folder {
                            folders.push(path);
                        }
                    }
                    // A temporary file, renamed or removed since the listing.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(_) => report.refused += 1,
                }
            }
        }
        Ok(report)
    }
}

/// Opens a file or folder to its group, and tells whether it is a folder. Symbolic links are not
/// followed.
fn open_to_group(path: &Path, group: Option<u32>) -> io::Result<bool> {
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
        // The group gets the owner's bits: objects stay read-only.
        false => Mode::from_bits_truncate((now.bits() & 0o600) >> 3),
    };
    if !now.contains(more) {
        rustix::fs::chmodat(rustix::fs::CWD, path, now | more, AtFlags::empty())?;
    }
    Ok(kind.is_dir())
}
