//! Zip archives: NumPy's `.npz`, and what `torch.save` writes.

use super::{
    FormatError, Values, npy,
    pickle::Pickle,
    python::{self, Decoded, Storages},
};
use flate2::Crc;
use std::io::{Cursor, Read};
use zip::{CompressionMethod, ZipArchive, result::ZipError};

/// Nothing that holds data unpacks to more than so many times its packed size.
const MOST_PACKED: u64 = 1100;

/// So many bytes of a member are checked at a time.
const WINDOW: usize = 64 << 20;

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

/// What a zip archive holds.
pub(super) struct Zipped<'a> {
    bytes: &'a [u8],
    archive: Archive<'a>,
    /// The folder of PyTorch's files within it, if it has any.
    torch: Option<String>,
}

impl<'a> Zipped<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let archive = ZipArchive::new(Cursor::new(bytes)).map_err(unzipped)?;
        let torch = archive.file_names().find_map(|name| name.strip_suffix("data.pkl"));
        let torch = torch.map(str::to_owned);
        Ok(Self { bytes, archive, torch })
    }

    /// Returns the names of the arrays of an `.npz`.
    pub(super) fn names(&self) -> Result<Vec<String>, FormatError> {
        let has = |wanted: &str| self.archive.file_names().any(|name| name == wanted);
        if has("xl/workbook.xml") {
            return Err(FormatError::Workbook);
        }
        if has("indptr.npy") && has("indices.npy") && has("shape.npy") {
            return Err(FormatError::Sparse);
        }
        let members = self.archive.file_names();
        let arrays: Vec<String> =
            members.filter_map(|name| name.strip_suffix(".npy")).map(str::to_owned).collect();
        if arrays.is_empty() { Err(FormatError::ForeignZip) } else { Ok(arrays) }
    }

    /// Returns the array of an `.npz` called `name`: where it lies, if it is not packed. `release` gives back the
    /// memory that reading the archive takes.
    pub(super) fn get(
        &mut self,
        name: &str,
        release: &dyn Fn(),
    ) -> Result<Values<'a>, FormatError> {
        let name = format!("{name}.npy");
        match self.stored(&name, release)? {
            Some(bytes) => array(bytes),
            None => array(&self.member(&name)?).map(Values::into_owned),
        }
    }

    /// Returns the bytes of a member that is not packed, having checked them.
    fn stored(&mut self, name: &str, release: &dyn Fn()) -> Result<Option<&'a [u8]>, FormatError> {
        let member = self.archive.by_name(name).map_err(unzipped)?;
        if member.compression() != CompressionMethod::Stored {
            return Ok(None);
        }
        let cut = || FormatError::Unzip { reason: format!("`{name}` goes past its end") };
        let from = member.data_start().and_then(|from| usize::try_from(from).ok());
        let from = from.ok_or_else(cut)?;
        let size = usize::try_from(member.size()).map_err(|_| cut())?;
        let end = from.checked_add(size).ok_or_else(cut)?;
        let bytes = self.bytes.get(from..end).ok_or_else(cut)?;
        let mut sum = Crc::new();
        for window in bytes.chunks(WINDOW) {
            sum.update(window);
            release();
        }
        if sum.sum() != member.crc32() {
            let reason = format!("`{name}` has another checksum than it should");
            return Err(FormatError::Unzip { reason });
        }
        Ok(Some(bytes))
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

    /// Returns the tensors of a file of PyTorch's, each with its name; `None` if it is none.
    pub(super) fn tensors(&mut self) -> Result<Option<Decoded<'static>>, FormatError> {
        let Some(folder) = self.torch.clone() else { return Ok(None) };
        let program = self.member(&format!("{folder}data.pkl"))?;
        let pickle = Pickle::read(&program)?;
        let order = format!("{folder}byteorder");
        let is_noted = self.archive.file_names().any(|name| name == order);
        let big_endian = is_noted && self.member(&order)?.starts_with(b"big");
        // Each storage is read when its tensor is met.
        let archive = std::cell::RefCell::new(self);
        let read = |key: &str| archive.borrow_mut().member(&format!("{folder}data/{key}")).ok();
        let all = python::columns(&pickle, &Storages { read: &read, big_endian });
        if all.found.is_empty() { Err(all.nothing()) } else { Ok(Some(all.into_owned())) }
    }
}

/// Returns the array in a `.npy` member.
fn array(bytes: &[u8]) -> Result<Values<'_>, FormatError> {
    match npy::read(bytes)? {
        npy::Npy::Values(values) => Ok(values),
        npy::Npy::Pickle(rest) => {
            let pickle = Pickle::read(rest)?;
            let all = python::columns(&pickle, &Storages::NONE);
            match all.found.into_iter().next() {
                Some((_, values)) => Ok(values.into_owned()),
                None => Err(FormatError::NoArrays),
            }
        }
    }
}

fn unzipped(error: ZipError) -> FormatError {
    FormatError::Unzip { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{DataFile, FileKind, Wanted};
    use std::{borrow::Cow, io::Write, path::Path};
    use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

    fn zipped(members: &[(&str, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(vec![]));
        for (name, bytes) in members {
            let options = SimpleFileOptions::default().compression_method(method);
            writer.start_file(*name, options).expect("it can be begun");
            writer.write_all(bytes).expect("it can be written");
        }
        writer.finish().expect("it can be ended").into_inner()
    }

    fn wholes(values: &Values<'_>) -> Option<Vec<i128>> {
        let Values::Numbers(array) = values else { return None };
        array.whole_numbers()
    }

    #[test]
    fn the_arrays_of_an_npz_have_names() {
        let array = |values: &[u8]| {
            let shape = values.len();
            let header =
                format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape},), }}");
            npy::encode(1, &header, values)
        };
        let members = [("x.npy", array(&[1, 2, 3])), ("scores.npy", array(&[7; 200]))];
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let bytes = zipped(&members, method);
            let file = DataFile::new(Path::new("a.bin"), bytes.clone()).expect("it is an archive");
            assert_eq!(
                (file.kind(), file.names().expect("it has names").len()),
                (FileKind::Zip, 2)
            );
            assert_eq!(wholes(&file.get("x").expect("it is there")), Some(vec![1, 2, 3]));
            let is_packed = method == CompressionMethod::Deflated;
            let Ok(Values::Numbers(x)) = file.get("x") else { panic!("it is an array") };
            assert_eq!(matches!(x.data, Cow::Owned(_)), is_packed);
            if let Some(at) = bytes.windows(3).position(|three| three == [1, 2, 3]) {
                let mut bad = bytes.clone();
                bad[at] = 9;
                let file = DataFile::new(Path::new("a.npz"), bad).expect("it is an archive");
                let error = file.get("x").expect_err("a byte is another").to_string();
                assert!(error.contains("checksum"), "{error}");
            }
            let wanted = Wanted { given: None, usual: &["scores"], setting: None };
            assert_eq!(file.pick(wanted).expect("it is there").0, "scores");
            for cut in [4, bytes.len() / 2, bytes.len() - 1] {
                let file = DataFile::new(Path::new("a.npz"), bytes[..cut].to_vec());
                assert!(file.is_err() || file.is_ok_and(|file| file.names().is_err()), "{cut}");
            }
        }
        let other = zipped(&[("readme.txt", vec![1])], CompressionMethod::Stored);
        let file = DataFile::new(Path::new("a.zip"), other).expect("it is an archive");
        assert!(matches!(file.names(), Err(FormatError::ForeignZip)));
    }

    #[test]
    fn the_tensors_of_pytorch_have_the_names_of_their_dictionary() {
        // torch.save({'x': torch.arange(6.).reshape(2, 3).T, 'y': [1, 2]}, ...), as version 2 writes it.
        let program = b"\x80\x02}q\x00(X\x01\x00\x00\x00xq\x01ctorch._utils\n_rebuild_tensor_v2\nq\x02((X\x07\
            \x00\x00\x00storageq\x03ctorch\nFloatStorage\nq\x04X\x01\x00\x00\x000q\x05X\x03\x00\x00\x00cpuq\
            \x06K\x06tq\x07QK\x00K\x03K\x02\x86q\x08K\x01K\x03\x86q\x09\x89ccollections\nOrderedDict\nq\x0a)R\
            q\x0btq\x0cRq\x0dX\x01\x00\x00\x00yq\x0e]q\x0f(K\x01K\x02eu.";
        let storage: Vec<u8> = (0..6).flat_map(|one| (one as f32).to_le_bytes()).collect();
        let swapped: Vec<u8> = (0..6).flat_map(|one| (one as f32).to_be_bytes()).collect();
        let members = [
            ("a/data.pkl", program.to_vec()),
            ("a/byteorder", b"big".to_vec()),
            ("a/data/0", swapped),
        ];
        let bytes = zipped(&members, CompressionMethod::Stored);
        let file = DataFile::new(Path::new("a.pt"), bytes).expect("it is an archive");
        let Ok(Values::Numbers(x)) = file.get("x") else { panic!("it is a tensor") };
        assert_eq!(x.floats(), Some(vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0]));
        let members = [("a/data.pkl", program.to_vec()), ("a/data/0", storage)];
        let bytes = zipped(&members, CompressionMethod::Stored);
        let file = DataFile::new(Path::new("a.pt"), bytes).expect("it is an archive");
        assert_eq!(file.names().expect("it has names"), ["x", "y"]);
        let Ok(Values::Numbers(x)) = file.get("x") else { panic!("it is a tensor") };
        assert_eq!(
            (x.shape.clone(), x.floats()),
            (vec![3, 2], Some(vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0]))
        );
        assert_eq!(wholes(&file.get("y").expect("it is there")), Some(vec![1, 2]));
    }
}
