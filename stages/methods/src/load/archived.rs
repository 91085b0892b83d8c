//! Tar archives, plain or gzip'ed, read without being unpacked to disk.

use super::{
    FileError,
    file::{self, broken},
};
use engine::StageError;
use std::{
    io::{self, Read as _},
    path::Path,
};
use tar::{Archive, Entry};

/// The most that one file of an archive may hold.
const MOST: u64 = 1 << 31;

/// Calls `see` with the path and the bytes of each file in the archive at `path` that is `wanted`, in their
/// order.
pub(super) fn each(
    path: &Path,
    wanted: impl Fn(&str) -> bool,
    mut see: impl FnMut(String, Vec<u8>) -> Result<(), StageError>,
) -> Result<(), StageError> {
    let wrong = |error: io::Error| broken(path, FileError::Archive(error));
    let mut archive = Archive::new(file::reader(path)?);
    for entry in archive.entries().map_err(wrong)? {
        let mut entry = entry.map_err(wrong)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = entry.path().map_err(wrong)?.to_string_lossy().into_owned();
        if wanted(&name) {
            see(name, whole(&mut entry).map_err(wrong)?)?;
        }
    }
    Ok(())
}

fn whole<R: io::Read>(entry: &mut Entry<'_, R>) -> io::Result<Vec<u8>> {
    let size = entry.size();
    if size > MOST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a file of it is too large"));
    }
    let mut bytes = vec![];
    entry.read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// Returns the last part of a path in an archive.
pub(super) fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Returns an archive of these files.
#[cfg(test)]
pub(super) fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(vec![]);
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append_data(&mut header, name, *bytes).expect("a vector takes all");
    }
    archive.into_inner().expect("a vector takes all")
}
