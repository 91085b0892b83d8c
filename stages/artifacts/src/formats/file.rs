//! A file of arrays or columns, of whatever kind: what is in it, and one of them by name.

use super::{
    Array, FileKind, FormatError, Scalar, Values,
    archive::Zipped,
    columnar::Columnar,
    legacy, npy,
    pickle::Pickle,
    python::{self, Decoded, Storages},
    text,
};
use bytes::Bytes;
use cache::retrying;
use flate2::bufread::GzDecoder;
use safetensors::SafeTensors;
use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

/// What is looked for in a file of several arrays or columns.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The name that the user gave.
    pub given: Option<&'a str>,
    /// The names it usually has, the most usual first, in lower case.
    pub usual: &'a [&'static str],
    /// The setting that gives the name, if there is one.
    pub setting: Option<&'static str>,
}

/// A file of arrays or columns: memory-mapped if it is large, or in memory.
pub struct DataFile {
    kind: FileKind,
    bytes: Bytes,
    /// The file itself, if `bytes` are its own and not what it was unpacked to.
    file: Option<Arc<cache::Bytes>>,
    /// What it holds, with its names, where one part cannot be read without the others.
    decoded: Option<Decoded<'static>>,
}

impl DataFile {
    /// Opens the file at `path`, and unpacks it if it is gzip.
    ///
    /// # Errors
    ///
    /// Fails if the system does not read it, it does not unpack, or it holds no arrays.
    pub fn open(path: &Path) -> Result<Self, FormatError> {
        let file = Arc::new(cache::Bytes::of_file(path).map_err(FormatError::Unread)?);
        let (kind, unpacked) = told(path, &file)?;
        match unpacked {
            Some(bytes) => Self::of(kind, bytes.into(), None),
            None => Self::of(kind, Bytes::from_owner(FileBytes(Arc::clone(&file))), Some(file)),
        }
    }

    /// Returns the file called `path` with these bytes.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn new(path: &Path, bytes: Vec<u8>) -> Result<Self, FormatError> {
        let (kind, unpacked) = told(path, &bytes)?;
        Self::of(kind, unpacked.unwrap_or(bytes).into(), None)
    }

    fn of(
        kind: FileKind,
        bytes: Bytes,
        file: Option<Arc<cache::Bytes>>,
    ) -> Result<Self, FormatError> {
        match kind {
            FileKind::Npy
            | FileKind::Zip
            | FileKind::Pickle
            | FileKind::Safetensors
            | FileKind::Json
            | FileKind::Text
            | FileKind::Parquet
            | FileKind::Arrow => {
                let decoded = decoded(kind, &bytes)?;
                Ok(Self { kind, bytes, file, decoded })
            }
            kind => Err(FormatError::Foreign { kind }),
        }
    }

    /// Gives back the memory that reading it has taken so far; what is read again comes from the file again.
    pub fn release(&self) {
        if let Some(file) = &self.file {
            file.release();
        }
    }

    /// Returns which kind it is.
    pub fn kind(&self) -> FileKind {
        self.kind
    }

    /// Returns the names of what it holds, in its order; a single array has none, which is an empty name.
    ///
    /// # Errors
    ///
    /// Says what does not read.
    pub fn names(&self) -> Result<Vec<String>, FormatError> {
        if let Some(decoded) = &self.decoded {
            return Ok(decoded.found.iter().map(|(name, _)| name.clone()).collect());
        }
        Ok(match self.kind {
            FileKind::Npy => vec![String::new()],
            FileKind::Safetensors => {
                let mut names: Vec<String> =
                    self.tensors()?.names().into_iter().map(|one| one.to_string()).collect();
                names.sort();
                names
            }
            FileKind::Zip => Zipped::open(&self.bytes)?.names()?,
            FileKind::Parquet | FileKind::Arrow => self.columnar().names()?,
            _ => {
                let table = text::TextTable::open(&self.bytes)?;
                let numbered = || (0..table.columns).map(|at| at.to_string()).collect();
                match &table.names {
                    Some(names) => names.clone(),
                    None if table.columns <= 1 => vec![String::new()],
                    None => numbered(),
                }
            }
        })
    }

    /// Returns the array or column called `name`.
    ///
    /// # Errors
    ///
    /// Says what does not read.
    pub fn get(&self, name: &str) -> Result<Values<'_>, FormatError> {
        if let Some(decoded) = &self.decoded {
            let found = decoded.found.iter().find(|(one, _)| one == name);
            return found.map(|(_, values)| values.view()).ok_or(FormatError::Gone);
        }
        match self.kind {
            FileKind::Npy => match npy::read(&self.bytes)? {
                npy::Npy::Values(values) => Ok(values),
                npy::Npy::Pickle(_) => Err(FormatError::Gone),
            },
            FileKind::Safetensors => Ok(Values::Numbers(tensor(&self.bytes, name)?)),
            FileKind::Zip => Zipped::open(&self.bytes)?.get(name, &|| self.release()),
            FileKind::Parquet | FileKind::Arrow => self.columnar().get(name),
            _ => {
                let names = self.names()?;
                let at = names.iter().position(|one| one == name).ok_or(FormatError::Gone)?;
                text::TextTable::open(&self.bytes)?.column(at)
            }
        }
    }

    /// Returns the cells of column `name` of a text as they stand there: for ids, of which `007` is not `7`, nor is
    /// one of twenty digits rounded. `None` of another file, and where whole numbers are written as floats (`7.0`).
    ///
    /// # Errors
    ///
    /// Fails if there is no such column, or the text does not read.
    pub fn cells(&self, name: &str) -> Result<Option<Vec<String>>, FormatError> {
        if self.kind != FileKind::Text {
            return Ok(None);
        }
        let names = self.names()?;
        let at = names.iter().position(|one| one == name).ok_or(FormatError::Gone)?;
        let cells = text::TextTable::open(&self.bytes)?.cells(at)?;
        let is_float = |cell: &String| cell.contains('.') && cell.parse::<f64>().is_ok();
        Ok((!cells.iter().all(is_float)).then_some(cells))
    }

    /// Returns the lines of plain text that are not empty, whatever stands in them; `None` of another kind.
    pub fn lines(&self) -> Option<Vec<&str>> {
        let text =
            (self.kind == FileKind::Text).then(|| std::str::from_utf8(&self.bytes).ok())??;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Some(text.lines().filter(|line| !line.trim().is_empty()).collect())
    }

    /// Returns what is `wanted`, and its name: the only one there is, that of the name given, or of one of the
    /// usual names.
    ///
    /// # Errors
    ///
    /// Fails if there are several, and none is called so.
    pub fn pick(&self, wanted: Wanted<'_>) -> Result<(String, Values<'_>), FormatError> {
        let name = self.find(wanted)?;
        let values = self.get(&name)?;
        Ok((name, values))
    }

    /// Returns the name of what is `wanted`.
    ///
    /// # Errors
    ///
    /// As [`Self::pick`].
    pub fn find(&self, wanted: Wanted<'_>) -> Result<String, FormatError> {
        let known = self.names()?;
        let among = |names: &[String]| match wanted.given {
            Some(given) => names.iter().find(|name| *name == given).cloned(),
            None => wanted.usual.iter().find_map(|usual| {
                names.iter().find(|name| name.trim().eq_ignore_ascii_case(usual)).cloned()
            }),
        };
        let found = among(&known);
        let unread = self.unread();
        // What else is alone is not what was wanted if there are arrays that are not read.
        let instead = (self.kind != FileKind::Json).then(|| unread.first().cloned()).flatten();
        if found.is_none()
            && let Some(name) = among(unread).or(instead)
        {
            return Err(FormatError::UnreadArray { name });
        }
        if let Some(found) = &found
            && known.iter().filter(|name| *name == found).count() > 1
        {
            return Err(FormatError::NameTwice { name: found.clone() });
        }
        match (found, &known[..]) {
            (Some(found), _) => Ok(found),
            (None, []) => Err(FormatError::NoArrays),
            // A single array without a name is it, whatever it would be called.
            (None, [only]) if only.is_empty() || wanted.given.is_none() => Ok(only.clone()),
            // Nor has the one that stands beside its keys in JSON.
            (None, many) if self.kind == FileKind::Json && many.iter().any(String::is_empty) => {
                Ok(String::new())
            }
            (None, _) if self.is_unnamed()? => {
                Err(FormatError::NoNames(wanted.usual.first().copied().unwrap_or("index")))
            }
            (None, _) => Err(FormatError::NoColumn {
                what: if self.is_table() { "column" } else { "tensor" },
                name: wanted.given.or(wanted.usual.first().copied()).unwrap_or_default().to_owned(),
                known,
                setting: wanted.setting,
            }),
        }
    }

    /// Whether it has something of one of these names, where it can have several.
    pub fn has(&self, usual: &[&str]) -> bool {
        let named = |name: &String| usual.iter().any(|one| name.trim().eq_ignore_ascii_case(one));
        self.unread().iter().any(named) || self.names().is_ok_and(|names| names.iter().any(named))
    }

    /// Whether it holds several arrays or columns, those that are not read among them.
    ///
    /// # Errors
    ///
    /// Says what does not read.
    pub fn has_several(&self) -> Result<bool, FormatError> {
        Ok(self.names()?.len() + self.unread().len() > 1)
    }

    /// Returns the names of arrays and lists in it that are not read.
    fn unread(&self) -> &[String] {
        self.decoded.as_ref().map_or(&[], |decoded| &decoded.unread)
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.kind, FileKind::Text | FileKind::Json | FileKind::Parquet | FileKind::Arrow)
    }

    /// Whether it is a table of several columns without names.
    pub(super) fn is_unnamed(&self) -> Result<bool, FormatError> {
        if self.kind != FileKind::Text {
            return Ok(false);
        }
        let table = text::TextTable::open(&self.bytes)?;
        Ok(table.names.is_none() && table.columns > 1)
    }

    /// Returns columns of numbers side by side, \[n, columns\].
    ///
    /// # Errors
    ///
    /// Says what does not read.
    pub fn matrix(&self, names: &[String]) -> Result<Values<'_>, FormatError> {
        let mut before = BTreeSet::new();
        if let Some(name) = names.iter().find(|name| !before.insert(*name)) {
            return Err(FormatError::NameTwice { name: name.clone() });
        }
        if self.kind == FileKind::Text {
            let known = self.names()?;
            let at = |name: &String| known.iter().position(|one| one == name);
            let columns: Option<Vec<usize>> = names.iter().map(at).collect();
            return text::TextTable::open(&self.bytes)?.matrix(&columns.ok_or(FormatError::Gone)?);
        }
        let mut columns = vec![];
        for name in names {
            match self.get(name)? {
                Values::Numbers(array) if array.shape.len() == 1 => columns.push(array.doubles()),
                // A column of lists alone is the matrix.
                values @ Values::Numbers(_) if names.len() == 1 => return Ok(values),
                Values::Numbers(_) => {
                    return Err(FormatError::NoFeature { name: name.clone(), what: "lists" });
                }
                Values::Texts(_) => {
                    return Err(FormatError::NoFeature { name: name.clone(), what: "texts" });
                }
            }
        }
        let n = columns.first().map_or(0, Vec::len);
        if let Some(at) = columns.iter().position(|column| column.len() != n) {
            let (name, found) = (names[at].clone(), columns[at].len());
            return Err(FormatError::Uneven { name, found, wanted: n });
        }
        let rows = (0..n).flat_map(|row| columns.iter().map(move |column| column[row] as f32));
        let data: Vec<u8> = rows.flat_map(f32::to_le_bytes).collect();
        let shape = vec![n, names.len()];
        Ok(Values::Numbers(Array { scalar: Scalar::F32, shape, data: data.into() }))
    }

    /// Returns the bytes in each row of the column called `name` of Parquet or Arrow; where they are missing
    /// there are none.
    ///
    /// # Errors
    ///
    /// Fails if there is no such column, it holds something else, or the file is of another kind.
    pub fn blobs(&self, name: &str) -> Result<Vec<Vec<u8>>, FormatError> {
        match self.kind {
            FileKind::Parquet | FileKind::Arrow => self.columnar().blobs(name),
            kind => Err(FormatError::Foreign { kind }),
        }
    }

    /// Returns what the schema of Parquet or Arrow notes under `key`, such as `huggingface`.
    ///
    /// # Errors
    ///
    /// Fails if the file does not read.
    pub fn note(&self, key: &str) -> Result<Option<String>, FormatError> {
        match self.kind {
            FileKind::Parquet | FileKind::Arrow => self.columnar().note(key),
            _ => Ok(None),
        }
    }

    fn columnar(&self) -> Columnar {
        Columnar::new(self.kind, self.bytes.clone())
    }

    fn tensors(&self) -> Result<SafeTensors<'_>, FormatError> {
        SafeTensors::deserialize(&self.bytes).map_err(FormatError::Safetensors)
    }
}

/// Returns the numbers of a `.npy` file, or the tensor called `name` of a safetensors file.
///
/// # Errors
///
/// As [`tensor`], and if a `.npy` file holds no numbers.
pub fn array<'a>(bytes: &'a [u8], name: &str) -> Result<Array<'a>, FormatError> {
    if !npy::is_npy(bytes) {
        return tensor(bytes, name);
    }
    match npy::read(bytes)? {
        npy::Npy::Values(Values::Numbers(array)) => Ok(array),
        npy::Npy::Values(Values::Texts(_)) | npy::Npy::Pickle(_) => Err(FormatError::NoArrays),
    }
}

/// Returns the tensor called `name` of a safetensors file.
///
/// # Errors
///
/// Fails if the bytes are not whole, there is no such tensor, or its elements are of a type that is not read.
pub fn tensor<'a>(bytes: &'a [u8], name: &str) -> Result<Array<'a>, FormatError> {
    let all = SafeTensors::deserialize(bytes).map_err(FormatError::Safetensors)?;
    let Some((_, view)) = all.iter().find(|(one, _)| *one == name) else {
        let mut known: Vec<String> = all.names().into_iter().map(|one| one.to_string()).collect();
        known.sort();
        let (what, name, setting) = ("tensor", name.to_owned(), None);
        return Err(FormatError::NoColumn { what, name, known, setting });
    };
    let dtype = view.dtype();
    let scalar =
        Scalar::of(dtype).ok_or_else(|| FormatError::Elements { name: name.to_owned(), dtype })?;
    Ok(Array { scalar, shape: view.shape().to_vec(), data: view.data().into() })
}

/// Reads the file at `path`, and unpacks it if it is gzip. Returns its kind and bytes.
///
/// # Errors
///
/// Fails if the system does not read it, or it does not unpack.
pub(crate) fn unpacked(path: &Path) -> Result<(FileKind, Vec<u8>), FormatError> {
    let bytes = retrying(|| fs::read(path)).map_err(FormatError::Unread)?;
    let (kind, unpacked) = told(path, &bytes)?;
    Ok((kind, unpacked.unwrap_or(bytes)))
}

/// Returns of what kind the file called `path` with these bytes is; if it is gzip, of what kind that in it is, and
/// that.
fn told(path: &Path, bytes: &[u8]) -> Result<(FileKind, Option<Vec<u8>>), FormatError> {
    let kind = FileKind::of(path, bytes);
    if kind != FileKind::Gzip {
        return Ok((kind, None));
    }
    let mut unpacked = vec![];
    unpack(bytes, &mut unpacked).map_err(FormatError::Unpack)?;
    Ok((FileKind::of(&path.with_extension(""), &unpacked), Some(unpacked)))
}

/// A file's bytes, which are shared.
struct FileBytes(Arc<cache::Bytes>);

impl AsRef<[u8]> for FileBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Unpacks gzip, all members of it; zeros behind the last one, with which tapes and blocks are filled up, are
/// passed over.
fn unpack(mut packed: &[u8], into: &mut Vec<u8>) -> io::Result<()> {
    while packed.iter().any(|byte| *byte != 0) {
        let mut member = GzDecoder::new(packed);
        member.read_to_end(into)?;
        packed = member.into_inner();
    }
    Ok(())
}

/// Returns what a file of `kind` holds, if its parts are read together or not at all.
fn decoded(kind: FileKind, bytes: &[u8]) -> Result<Option<Decoded<'static>>, FormatError> {
    Ok(match kind {
        FileKind::Json => Some(text::json(bytes)?),
        FileKind::Pickle => Some(match legacy::tensors(bytes)? {
            Some(tensors) => tensors,
            None => pickled(bytes)?.into_owned(),
        }),
        FileKind::Npy => match npy::read(bytes)? {
            npy::Npy::Values(_) => None,
            npy::Npy::Pickle(rest) => Some(pickled(rest)?.into_owned()),
        },
        FileKind::Zip => Zipped::open(bytes)?.tensors()?,
        _ => None,
    })
}

fn pickled(bytes: &[u8]) -> Result<Decoded<'_>, FormatError> {
    let pickle = Pickle::read(bytes)?;
    let decoded = python::columns(&pickle, &Storages::NONE);
    match decoded.found.is_empty() {
        _ if python::is_pandas(&pickle) => Err(FormatError::Pandas),
        true => Err(decoded.nothing()),
        false => Ok(decoded),
    }
}
