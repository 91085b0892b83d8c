//! Zip archives: NumPy's `.npz`, and what `torch.save` writes.

use super::{FormatError, Values, npy, pickle::Pickle, python};
use std::io::{Cursor, Read};
use zip::{ZipArchive, result::ZipError};

/// Nothing that holds data unpacks to more than so many times its packed size.
const MOST_PACKED: u64 = 1100;

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

/// What a zip archive holds.
pub(super) struct Zipped<'a> {
    archive: Archive<'a>,
    /// The folder of PyTorch's files within it, if it has any.
    torch: Option<String>,
}

impl<'a> Zipped<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let archive = ZipArchive::new(Cursor::new(bytes)).map_err(unzipped)?;
        let torch = archive.file_names().find_map(|name| name.strip_suffix("data.pkl"));
        let torch = torch.map(str::to_owned);
        Ok(Self { archive, torch })
    }

    /// Returns the names of what it holds.
    pub(super) fn names(&mut self) -> Result<Vec<String>, FormatError> {
        if self.torch.is_some() {
            return Ok(self.tensors()?.into_iter().map(|(name, _)| name).collect());
        }
        let members = self.archive.file_names();
        let arrays: Vec<String> =
            members.filter_map(|name| name.strip_suffix(".npy")).map(str::to_owned).collect();
        if arrays.is_empty() { Err(FormatError::ForeignZip) } else { Ok(arrays) }
    }

    /// Returns what is called `name`.
    pub(super) fn get(&mut self, name: &str) -> Result<Values<'static>, FormatError> {
        if self.torch.is_some() {
            let mut all = self.tensors()?.into_iter();
            let found = all.find(|(one, _)| one == name);
            return found.map(|(_, values)| values).ok_or(FormatError::Gone);
        }
        let bytes = self.member(&format!("{name}.npy"))?;
        match npy::read(&bytes)? {
            npy::Npy::Values(values) => Ok(values.into_owned()),
            npy::Npy::Pickle(rest) => {
                let pickle = Pickle::read(rest)?;
                let mut all = python::columns(&pickle, &|_| None).into_iter();
                let first = all.next().ok_or(FormatError::NoArrays)?;
                Ok(first.1.into_owned())
            }
        }
    }

    fn member(&mut self, name: &str) -> Result<Vec<u8>, FormatError> {
        let mut member = self.archive.by_name(name).map_err(unzipped)?;
        if member.size() / MOST_PACKED > member.compressed_size() {
            return Err(FormatError::Bomb { member: name.to_owned() });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(member.size()).unwrap_or(0));
        let read = member.read_to_end(&mut bytes);
        read.map_err(|error| FormatError::Unzip { reason: error.to_string() })?;
        Ok(bytes)
    }

    fn tensors(&mut self) -> Result<Vec<(String, Values<'static>)>, FormatError> {
        let folder = self.torch.clone().unwrap_or_default();
        let program = self.member(&format!("{folder}data.pkl"))?;
        let pickle = Pickle::read(&program)?;
        // Each storage is read when its tensor is met.
        let archive = std::cell::RefCell::new(self);
        let storage = |key: &str| archive.borrow_mut().member(&format!("{folder}data/{key}")).ok();
        let all = python::columns(&pickle, &storage).into_iter();
        Ok(all.map(|(name, values)| (name, values.into_owned())).collect())
    }
}

fn unzipped(error: ZipError) -> FormatError {
    FormatError::Unzip { reason: error.to_string() }
}
