//! Opening the files of a data set: gzip or plain, never trusting what a header claims.

use super::FileError;
use crate::MethodError;
use engine::{InputFile, StageError};
use flate2::read::MultiGzDecoder;
use std::{
    fs,
    io::{BufReader, Read, Seek as _},
    path::Path,
};

/// Deflate cannot pack denser than this; a header that claims more is lying.
const DENSEST: u64 = 1032;
/// What is set aside for a file's content before any of it was seen.
const TRUST: u64 = 1 << 24;

/// Returns the error of a file that is not what it should be.
pub(super) fn broken(path: &Path, error: impl Into<FileError>) -> StageError {
    MethodError::File { path: path.to_owned(), error: Box::new(error.into()) }.into()
}

fn unreadable(path: &Path, reason: std::io::Error) -> StageError {
    MethodError::Unread { path: path.to_owned(), reason }.into()
}

/// Returns where the file with this role is.
pub(super) fn path<'a>(files: &'a [InputFile], role: &str) -> Result<&'a Path, MethodError> {
    let found = files.iter().find(|file| file.role == role).map(|file| file.path.as_path());
    found.ok_or_else(|| MethodError::NoFile { role: role.to_owned() })
}

/// Returns all bytes of a plain file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, StageError> {
    fs::read(path).map_err(|error| unreadable(path, error))
}

/// A file read from its beginning to its end.
pub(super) struct Source<'a> {
    path: &'a Path,
    reader: Box<dyn Read>,
    /// More bytes than this cannot come out of it.
    at_most: u64,
}

impl<'a> Source<'a> {
    /// Opens `path`, unpacking it on the way if it is a gzip file (told by its content).
    pub(super) fn open(path: &'a Path) -> Result<Self, StageError> {
        let refused = |error: std::io::Error| unreadable(path, error);
        let mut file = fs::File::open(path).map_err(refused)?;
        let size = file.metadata().map_err(refused)?.len();
        let mut magic = Vec::new();
        file.by_ref().take(2).read_to_end(&mut magic).map_err(refused)?;
        file.rewind().map_err(refused)?;
        let file = BufReader::with_capacity(1 << 18, file);
        Ok(if magic == [0x1f, 0x8b] {
            let reader = Box::new(MultiGzDecoder::new(file));
            Self { path, reader, at_most: size.saturating_mul(DENSEST) }
        } else {
            Self { path, reader: Box::new(file), at_most: size }
        })
    }

    /// Returns the next `N` bytes.
    pub(super) fn header<const N: usize>(&mut self) -> Result<[u8; N], StageError> {
        let bytes = self.body(N as u64, "a header")?;
        Ok(bytes.try_into().expect("body returns as many bytes as asked"))
    }

    /// Returns the next `n` bytes, which are `what`.
    pub(super) fn body(&mut self, n: u64, what: &str) -> Result<Vec<u8>, StageError> {
        if n > self.at_most {
            let (what, most) = (what.to_owned(), self.at_most);
            return Err(broken(self.path, FileError::NoRoom { wanted: n, what, most }));
        }
        let mut bytes = Vec::with_capacity(n.min(TRUST) as usize);
        let read = self.reader.by_ref().take(n).read_to_end(&mut bytes);
        read.map_err(|error| self.failed(error))?;
        let found = bytes.len() as u64;
        if found < n {
            let what = what.to_owned();
            return Err(broken(self.path, FileError::Short { found, wanted: n, what }));
        }
        Ok(bytes)
    }

    /// Checks that nothing is left.
    pub(super) fn end(mut self) -> Result<(), StageError> {
        match self.reader.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(broken(self.path, FileError::Long)),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, error: std::io::Error) -> StageError {
        use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        match error.kind() {
            InvalidData | InvalidInput | UnexpectedEof => {
                broken(self.path, FileError::Unpack(error))
            }
            _ => unreadable(self.path, error),
        }
    }
}

/// Returns the labels in `bytes`, one a byte, each below `classes`.
pub(super) fn labels(
    path: &Path,
    bytes: impl IntoIterator<Item = u8>,
    classes: usize,
) -> Result<Vec<u32>, StageError> {
    let checked = bytes.into_iter().enumerate().map(|(at, label)| {
        if usize::from(label) < classes {
            return Ok(u32::from(label));
        }
        let (label, last) = (label.into(), classes - 1);
        Err(broken(path, FileError::Label { sample: at, label, first: 0, last }))
    });
    checked.collect()
}

/// A folder of its own for the files of one test.
#[cfg(test)]
pub(super) struct Scratch(std::path::PathBuf);

#[cfg(test)]
impl Scratch {
    pub(super) fn new(name: &str) -> Self {
        let folder = format!("coresift-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(folder);
        fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("it is in the folder")).expect("it can be made");
        fs::write(&path, bytes).expect("the temporary folder can be written");
        path
    }
}

#[cfg(test)]
impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
