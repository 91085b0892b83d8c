//! MATLAB's files of version 5: the numeric arrays in them.
//!
//! What is not a real numeric array (text, sparse or complex arrays) is passed over; arrays of structures are
//! read in `structure.rs`.

mod structure;

use super::file::{Source, broken};
use engine::StageError;
use flate2::read::ZlibDecoder;
use std::{
    collections::BTreeMap,
    io::{self, Read as _},
    path::Path,
};
use thiserror::Error;

/// An array: its dimensions, and its elements in MATLAB's order, first dimension fastest.
#[derive(Debug)]
pub(super) struct MatArray {
    pub(super) dims: Vec<usize>,
    pub(super) values: MatValues,
}

#[derive(Debug, PartialEq)]
pub(super) enum MatValues {
    Bytes(Vec<u8>),
    Numbers(Vec<f64>),
}

// Types of data elements.
const INT8: u32 = 1;
const UINT8: u32 = 2;
const INT16: u32 = 3;
const UINT16: u32 = 4;
const INT32: u32 = 5;
const UINT32: u32 = 6;
const SINGLE: u32 = 7;
const DOUBLE: u32 = 9;
const INT64: u32 = 12;
const UINT64: u32 = 13;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;

const HEADER: usize = 128;
/// Deflate cannot pack denser than this.
const DENSEST: u64 = 1032;

/// What is wrong with a MATLAB file: a clause that follows its name.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MatError {
    /// It is too short to be one.
    #[error("has only {0} bytes, less than the header of a MATLAB file")]
    NoHeader(u64),
    /// It ends too early to be one.
    #[error("ends within its header")]
    CutHeader,
    /// It was written on a big-endian machine.
    #[error("is a big-endian MATLAB file, which is not read")]
    BigEndian,
    /// It is HDF5 in truth.
    #[error("is a MATLAB file of version 7.3, which is not read: save it with `-v7`")]
    Version73,
    /// It does not begin like one.
    #[error("is no MATLAB file of version 5")]
    Magic,
    /// What is packed in it is broken.
    #[error("does not unpack: {0}")]
    Unpack(io::Error),
    /// It is too short for what an array claims, whatever is packed in it.
    #[error("claims an array of {0} bytes, and has no room for it")]
    NoRoom(u64),
    /// An array or an element ends too early.
    #[error("ends after {found} of {wanted} bytes of {what}")]
    Short {
        /// How many bytes there are.
        found: u64,
        /// How many there should be.
        wanted: u64,
        /// What they are.
        what: &'static str,
    },
    /// An array goes on after its end.
    #[error("goes on after the {0} bytes of an array")]
    Long(u64),
    /// An element is too short to say what it is.
    #[error("ends within an element")]
    CutTag,
    /// An element of the small form claims more than its four bytes.
    #[error("has an element of more bytes than fit")]
    SmallElement,
    /// An array does not say of what type it is.
    #[error("has an array without flags")]
    NoFlags,
    /// An array does not say how large it is.
    #[error("has an array `{0}` without dimensions")]
    NoDimensions(String),
    /// An array's elements are of a type that is not known.
    #[error("has elements of an unknown type in array `{0}`")]
    ElementType(String),
    /// An array's elements do not fill its dimensions.
    #[error("has {found} elements in array `{array}` of {dims:?}")]
    ElementCount {
        /// How many it has.
        found: usize,
        /// Its name.
        array: String,
        /// Its dimensions.
        dims: Vec<usize>,
    },
}

pub(super) use structure::{MatField, records};

/// Returns the arrays in `path` by name.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, MatArray>, StageError> {
    parse(&whole(path)?).map_err(|error| broken(path, error))
}

/// Returns the bytes of a MATLAB file.
fn whole(path: &Path) -> Result<Vec<u8>, StageError> {
    let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mut source = Source::open(path)?;
    if size < HEADER as u64 {
        return Err(broken(path, MatError::NoHeader(size)));
    }
    let bytes = source.body(size, "a MATLAB file")?;
    source.end()?;
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Result<BTreeMap<String, MatArray>, MatError> {
    let mut arrays = BTreeMap::new();
    each(bytes, |body| {
        arrays.extend(matrix(body)?);
        Ok(())
    })?;
    Ok(arrays)
}

/// Calls `see` with the parts of each array of a file.
fn each(bytes: &[u8], mut see: impl FnMut(&[u8]) -> Result<(), MatError>) -> Result<(), MatError> {
    let (header, mut rest) = bytes.split_at_checked(HEADER).ok_or(MatError::CutHeader)?;
    match &header[124..] {
        [_, 1, b'I', b'M'] => {}
        [_, _, b'M', b'I'] => return Err(MatError::BigEndian),
        _ if header.starts_with(b"MATLAB 7.3") => return Err(MatError::Version73),
        _ => return Err(MatError::Magic),
    }
    while !rest.is_empty() {
        let element = MatElement::take(&mut rest, false)?;
        let unpacked;
        let body = match element.kind {
            MATRIX => element.body,
            COMPRESSED => {
                unpacked = unpack(element.body)?;
                let mut inside = &unpacked[..];
                let inner = MatElement::take(&mut inside, false)?;
                if inner.kind != MATRIX {
                    continue;
                }
                inner.body
            }
            _ => continue,
        };
        see(body)?;
    }
    Ok(())
}

fn unpack(packed: &[u8]) -> Result<Vec<u8>, MatError> {
    let mut decoder = ZlibDecoder::new(packed);
    let mut tag = [0; 8];
    decoder.read_exact(&mut tag).map_err(MatError::Unpack)?;
    let size = u64::from(word(&tag[4..]));
    if size > (packed.len() as u64).saturating_mul(DENSEST) {
        return Err(MatError::NoRoom(size));
    }
    let mut bytes = Vec::with_capacity(8 + size as usize);
    bytes.extend(tag);
    // To the end, where the check stands: one byte more would be too many.
    decoder.take(size + 1).read_to_end(&mut bytes).map_err(MatError::Unpack)?;
    match (bytes.len() as u64).checked_sub(8) {
        Some(found) if found == size => Ok(bytes),
        Some(found) if found < size => {
            Err(MatError::Short { found, wanted: size, what: "an array" })
        }
        _ => Err(MatError::Long(size)),
    }
}

/// One data element: what it is, and its bytes.
struct MatElement<'a> {
    kind: u32,
    body: &'a [u8],
}

impl<'a> MatElement<'a> {
    /// Takes the next element off `rest`; inside an array, elements are padded to eight bytes.
    fn take(rest: &mut &'a [u8], padded: bool) -> Result<Self, MatError> {
        let tag = rest.get(..8).ok_or(MatError::CutTag)?;
        let first = word(tag);
        // A small element has its size in the upper half of its first word, and its bytes behind.
        if first >> 16 != 0 {
            let (kind, size) = (first & 0xffff, (first >> 16) as usize);
            let body = tag.get(4..4 + size).ok_or(MatError::SmallElement)?;
            *rest = &rest[8..];
            return Ok(Self { kind, body });
        }
        let size = word(&tag[4..]) as usize;
        let body = rest.get(8..).and_then(|rest| rest.get(..size)).ok_or_else(|| {
            let (found, wanted) = (rest.len() as u64 - 8, size as u64);
            MatError::Short { found, wanted, what: "an element" }
        })?;
        let end = 8 + if padded { size.next_multiple_of(8) } else { size };
        *rest = rest.get(end..).unwrap_or(&[]);
        Ok(Self { kind: first, body })
    }
}

/// Reads the parts of an array: flags, dimensions, name, elements.
fn matrix(mut body: &[u8]) -> Result<Option<(String, MatArray)>, MatError> {
    let flags = MatElement::take(&mut body, true)?;
    if flags.kind != UINT32 || flags.body.len() != 8 {
        return Err(MatError::NoFlags);
    }
    let (class, complex) = (flags.body[0], flags.body[1] & 0x08 != 0);
    if !(6..=15).contains(&class) || complex {
        return Ok(None);
    }
    let dims = MatElement::take(&mut body, true)?;
    let name = MatElement::take(&mut body, true)?;
    let name = String::from_utf8_lossy(name.body).into_owned();
    if dims.kind != INT32 {
        return Err(MatError::NoDimensions(name));
    }
    let dims: Vec<usize> = dims.body.chunks_exact(4).map(|one| word(one) as usize).collect();
    let values = MatElement::take(&mut body, true)?;
    let values = numbers(&values).ok_or_else(|| MatError::ElementType(name.clone()))?;
    let found = match &values {
        MatValues::Bytes(values) => values.len(),
        MatValues::Numbers(values) => values.len(),
    };
    let want = dims.iter().try_fold(1, |all: usize, one| all.checked_mul(*one));
    if want != Some(found) {
        return Err(MatError::ElementCount { found, array: name, dims });
    }
    Ok(Some((name, MatArray { dims, values })))
}

/// MATLAB keeps numbers in the smallest type that holds them all, whatever the array's own is.
fn numbers(element: &MatElement<'_>) -> Option<MatValues> {
    fn each<const N: usize>(bytes: &[u8], f: fn([u8; N]) -> f64) -> MatValues {
        let (chunks, _) = bytes.as_chunks::<N>();
        MatValues::Numbers(chunks.iter().map(|chunk| f(*chunk)).collect())
    }
    let bytes = element.body;
    Some(match element.kind {
        UINT8 => MatValues::Bytes(bytes.to_vec()),
        INT8 => each::<1>(bytes, |b| f64::from(i8::from_le_bytes(b))),
        INT16 => each::<2>(bytes, |b| f64::from(i16::from_le_bytes(b))),
        UINT16 => each::<2>(bytes, |b| f64::from(u16::from_le_bytes(b))),
        INT32 => each::<4>(bytes, |b| f64::from(i32::from_le_bytes(b))),
        UINT32 => each::<4>(bytes, |b| f64::from(u32::from_le_bytes(b))),
        SINGLE => each::<4>(bytes, |b| f64::from(f32::from_le_bytes(b))),
        DOUBLE => each::<8>(bytes, f64::from_le_bytes),
        INT64 => each::<8>(bytes, |b| i64::from_le_bytes(b) as f64),
        UINT64 => each::<8>(bytes, |b| u64::from_le_bytes(b) as f64),
        _ => return None,
    })
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Returns an element, padded as inside an array.
#[cfg(test)]
pub(super) fn element(kind: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = [kind.to_le_bytes(), (body.len() as u32).to_le_bytes()].concat();
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// Returns the element of an array of bytes.
#[cfg(test)]
pub(super) fn array_of_bytes(name: &str, dims: &[u32], values: &[u8]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|one| one.to_le_bytes()).collect();
    let parts = [
        element(UINT32, &[9, 0, 0, 0, 0, 0, 0, 0]),
        element(INT32, &dims),
        element(INT8, name.as_bytes()),
        element(UINT8, values),
    ];
    element(MATRIX, &parts.concat())
}

/// Returns a file of these elements, each packed as MATLAB packs them.
#[cfg(test)]
pub(super) fn packed_file(elements: &[Vec<u8>]) -> Vec<u8> {
    use std::io::Write as _;
    let mut file = vec![b' '; 124];
    file.extend([0, 1, b'I', b'M']);
    for one in elements {
        let mut encoder = flate2::write::ZlibEncoder::new(vec![], flate2::Compression::fast());
        encoder.write_all(one).expect("a vector takes all");
        let packed = encoder.finish().expect("a vector takes all");
        file.extend([COMPRESSED.to_le_bytes(), (packed.len() as u32).to_le_bytes()].concat());
        file.extend(packed);
    }
    file
}
