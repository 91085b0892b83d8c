//! Opening the files of a data set: gzip or plain, never trusting what a header claims.

use super::FileError;
use crate::MethodError;
use artifacts::ClassId;
use engine::{InputFile, StageError};
use flate2::bufread::GzDecoder;
use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read, Seek as _},
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

fn unreadable(path: &Path, reason: io::Error) -> StageError {
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

/// Returns the bytes of the file at `path`, unpacked on the way if it is gzip (told by its content).
pub(super) fn reader(path: &Path) -> Result<Box<dyn Read>, StageError> {
    opened(path).map(|(reader, _)| reader)
}

/// Returns what reads the file at `path`, unpacking it if it is gzip, and the most that can come out of it.
fn opened(path: &Path) -> Result<(Box<dyn Read>, u64), StageError> {
    let refused = |error: io::Error| unreadable(path, error);
    let mut file = fs::File::open(path).map_err(refused)?;
    let size = file.metadata().map_err(refused)?.len();
    let mut magic = Vec::new();
    file.by_ref().take(2).read_to_end(&mut magic).map_err(refused)?;
    file.rewind().map_err(refused)?;
    let file = BufReader::with_capacity(1 << 18, file);
    Ok(if magic == [0x1f, 0x8b] {
        (Box::new(Unpacked::new(file)), size.saturating_mul(DENSEST))
    } else {
        (Box::new(file), size)
    })
}

/// What is in a gzip file: all members of it, one behind the other. Zeros behind the last one, with which tapes
/// and blocks are filled up, are passed over.
pub(super) struct Unpacked<R: Read> {
    /// The member that is read; `None` behind the last one.
    member: Option<GzDecoder<BufReader<R>>>,
}

impl<R: Read> Unpacked<R> {
    pub(super) fn new(packed: BufReader<R>) -> Self {
        Self { member: Some(GzDecoder::new(packed)) }
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let read = member.read(into)?;
            if read > 0 || into.is_empty() {
                return Ok(read);
            }
            let rest = self.member.take().map(GzDecoder::into_inner);
            self.member = rest.map(behind_zeros).transpose()?.flatten().map(GzDecoder::new);
        }
        Ok(0)
    }
}

/// Returns what is left of `rest` behind its first zeros, if there is anything.
fn behind_zeros<R: Read>(mut rest: BufReader<R>) -> io::Result<Option<BufReader<R>>> {
    loop {
        let bytes = rest.fill_buf()?;
        let (zeros, len) = (bytes.iter().take_while(|byte| **byte == 0).count(), bytes.len());
        rest.consume(zeros);
        match () {
            () if len == 0 => return Ok(None),
            () if zeros < len => return Ok(Some(rest)),
            () => {}
        }
    }
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
        let (reader, at_most) = opened(path)?;
        Ok(Self { path, reader, at_most })
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

    /// Returns all bytes that are left, at most `most`.
    pub(super) fn rest(mut self, most: u64) -> Result<Vec<u8>, StageError> {
        let mut bytes = vec![];
        let read = self.reader.by_ref().take(most).read_to_end(&mut bytes);
        read.map_err(|error| self.failed(error))?;
        Ok(bytes)
    }

    fn failed(&self, error: io::Error) -> StageError {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
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
) -> Result<Vec<ClassId>, StageError> {
    let checked = bytes.into_iter().enumerate().map(|(at, label)| {
        if usize::from(label) < classes {
            return Ok(ClassId::at(usize::from(label)));
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
