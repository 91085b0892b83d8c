//! Opening a store: whether a folder is one, and making one.

use super::{Store, retry};
use crate::{NotAStoreReason, StoreError};
use rustix::fs::{FileType, Mode, RawMode, Stat};
use std::{
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

/// The version of the format: the newest this program reads, and the one it writes.
const FORMAT: u32 = 1;
const FORMAT_NAME: &str = "coresift store ";
/// The folders that only the store itself writes to.
pub(super) const FOLDERS: [&str; 6] =
    ["objects", "records", "checkpoints", "leases", "tmp", "quarantine"];
const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # Results of coresift. They can be computed again: backups may leave this folder out.\n";

/// Returns the mode of the folders of a store whose root has `mode`, if its group may write to it.
pub(super) fn shared_mode(mode: RawMode) -> Option<Mode> {
    let mode = Mode::from_raw_mode(mode) & Mode::from(0o7777);
    mode.contains(Mode::WGRP).then_some(mode)
}

/// Refuses a store of which a folder is on another file system, into which no file can be renamed.
pub(super) fn check_whole(root: &Path, about: &Stat) -> Result<(), StoreError> {
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
pub(super) fn is_network(system: &rustix::fs::StatFs) -> bool {
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
pub(super) fn is_network(_: &rustix::fs::StatFs) -> bool {
    false
}

/// Tells whether there is a store at `root` that this program can use. No folder and an empty
/// folder are no store; any other folder is an error.
pub(super) fn is_store(root: &Path) -> Result<bool, StoreError> {
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

pub(super) fn create(root: &Path) -> Result<(), StoreError> {
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
