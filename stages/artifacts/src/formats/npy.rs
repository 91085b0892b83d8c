//! A strict reader of NumPy's `.npy`: versions 1 to 3, C order, little-endian numbers.
//!
//! Written here because a general crate also reads what has no meaning here (structures, objects,
//! Fortran order) and brings a big-number parser for it. Those are refused by name.

use super::Scalar;
use thiserror::Error;

const MAGIC: &[u8] = b"\x93NUMPY";
/// NumPy itself refuses longer headers.
const LONGEST: usize = 10_000;

/// An array in the bytes it was read from.
#[derive(Debug)]
pub struct Npy<'a> {
    /// The type of an element.
    pub scalar: Scalar,
    /// How long each dimension is.
    pub shape: Vec<usize>,
    /// The elements, row-major: as many as the shape says.
    pub data: &'a [u8],
}

/// What is wrong with a `.npy` file: a clause that follows its name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NpyError {
    /// It does not begin like one.
    #[error("is not a .npy file")]
    Magic,
    /// It ends too early.
    #[error("ends within its header")]
    Cut,
    /// It is of a version that is not read.
    #[error("has .npy version {0}: expected 1, 2 or 3")]
    Version(u8),
    /// Its header is longer than NumPy reads.
    #[error("claims a header of {0} bytes")]
    HeaderLength(usize),
    /// Its header is not UTF-8.
    #[error("has a header that is not text")]
    HeaderText,
    /// Its header has a key twice, or one that has no meaning.
    #[error("has a header with an odd key `{0}`")]
    Key(String),
    /// Something follows its header's dictionary.
    #[error("has a header that goes on after its end")]
    HeaderEnd,
    /// Its header lacks a key.
    #[error("has a header without `{0}`")]
    NoKey(&'static str),
    /// Its header lacks a character.
    #[error("has an odd header: expected `{wanted}`, found `{}`", found.escape_debug())]
    Character {
        /// The character.
        wanted: char,
        /// What begins where it should be.
        found: String,
    },
    /// Its header lacks a word or number.
    #[error("has an odd header: expected {wanted}, found `{}`", found.escape_debug())]
    Token {
        /// What should be there.
        wanted: &'static str,
        /// What begins there.
        found: String,
    },
    /// Its elements are laid out by columns.
    #[error("is in Fortran order: save `numpy.ascontiguousarray(a)`")]
    FortranOrder,
    /// Its elements are of a type that is not read.
    #[error("has elements of type `{0}`: expected little-endian floats or integers")]
    Elements(String),
    /// Its elements do not fill its shape.
    #[error("holds {found} bytes of data, which are not {shape:?} of {scalar:?}")]
    Size {
        /// How many bytes of data it has.
        found: usize,
        /// The shape in its header.
        shape: Vec<usize>,
        /// The type in its header.
        scalar: Scalar,
    },
}

/// Returns whether `bytes` begin like a `.npy` file.
pub fn is_npy(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Reads `bytes`, the whole of a file.
///
/// # Errors
///
/// Says what was expected and found, as a clause that follows the file's name.
pub fn read(bytes: &[u8]) -> Result<Npy<'_>, NpyError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(NpyError::Magic)?;
    let (version, rest) = rest.split_first_chunk::<2>().ok_or(NpyError::Cut)?;
    let (length, rest) = match version[0] {
        1 => {
            let (length, rest) = rest.split_first_chunk().ok_or(NpyError::Cut)?;
            (usize::from(u16::from_le_bytes(*length)), rest)
        }
        2 | 3 => {
            let (length, rest) = rest.split_first_chunk().ok_or(NpyError::Cut)?;
            (u32::from_le_bytes(*length) as usize, rest)
        }
        other => return Err(NpyError::Version(other)),
    };
    if length > LONGEST {
        return Err(NpyError::HeaderLength(length));
    }
    let (header, data) = rest.split_at_checked(length).ok_or(NpyError::Cut)?;
    let header = std::str::from_utf8(header).map_err(|_| NpyError::HeaderText)?;
    let (scalar, shape) = parse(header)?;
    let elements = shape.iter().try_fold(1_usize, |all, one| all.checked_mul(*one));
    let size = elements.and_then(|n| n.checked_mul(scalar.size()));
    if size != Some(data.len()) {
        let found = data.len();
        return Err(NpyError::Size { found, shape, scalar });
    }
    Ok(Npy { scalar, shape, data })
}

/// Reads the dictionary `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }`.
fn parse(header: &str) -> Result<(Scalar, Vec<usize>), NpyError> {
    let mut text = Text(header);
    let (mut scalar, mut order, mut shape) = (None, None, None);
    text.expect('{')?;
    while !text.take('}') {
        let key = text.string()?;
        text.expect(':')?;
        match key {
            "descr" if scalar.is_none() => scalar = Some(number(text.string()?)?),
            "fortran_order" if order.is_none() => order = Some(text.flag()?),
            "shape" if shape.is_none() => shape = Some(text.tuple()?),
            other => return Err(NpyError::Key(other.to_owned())),
        }
        if !text.take(',') {
            text.expect('}')?;
            break;
        }
    }
    if !text.0.trim().is_empty() {
        return Err(NpyError::HeaderEnd);
    }
    if order.ok_or(NpyError::NoKey("fortran_order"))? {
        return Err(NpyError::FortranOrder);
    }
    Ok((scalar.ok_or(NpyError::NoKey("descr"))?, shape.ok_or(NpyError::NoKey("shape"))?))
}

fn number(descr: &str) -> Result<Scalar, NpyError> {
    Ok(match descr {
        "<f2" => Scalar::F16,
        "<f4" => Scalar::F32,
        "<f8" => Scalar::F64,
        "|u1" | "<u1" => Scalar::U8,
        "|i1" | "<i1" => Scalar::I8,
        "<u2" => Scalar::U16,
        "<i2" => Scalar::I16,
        "<u4" => Scalar::U32,
        "<i4" => Scalar::I32,
        "<u8" => Scalar::U64,
        "<i8" => Scalar::I64,
        other => return Err(NpyError::Elements(other.to_owned())),
    })
}

/// What is left of a header.
struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    fn take(&mut self, wanted: char) -> bool {
        let rest = self.0.trim_start().strip_prefix(wanted);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn expect(&mut self, wanted: char) -> Result<(), NpyError> {
        if self.take(wanted) {
            Ok(())
        } else {
            Err(NpyError::Character { wanted, found: self.beginning() })
        }
    }

    /// Returns the first few characters of what is left.
    fn beginning(&self) -> String {
        self.0.trim_start().chars().take(12).collect()
    }

    fn odd(&self, wanted: &'static str) -> NpyError {
        NpyError::Token { wanted, found: self.beginning() }
    }

    fn string(&mut self) -> Result<&'a str, NpyError> {
        for quote in ['\'', '"'] {
            if self.take(quote) {
                let (text, rest) =
                    self.0.split_once(quote).ok_or_else(|| self.odd("a closing quote"))?;
                self.0 = rest;
                return Ok(text);
            }
        }
        Err(self.odd("a quoted word"))
    }

    fn flag(&mut self) -> Result<bool, NpyError> {
        let text = self.0.trim_start();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = text.strip_prefix(word) {
                self.0 = rest;
                return Ok(value);
            }
        }
        Err(self.odd("`True` or `False`"))
    }

    fn tuple(&mut self) -> Result<Vec<usize>, NpyError> {
        self.expect('(')?;
        let mut all = vec![];
        while !self.take(')') {
            let text = self.0.trim_start();
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            all.push(text[..end].parse().map_err(|_| self.odd("a whole number"))?);
            self.0 = &text[end..];
            if !self.take(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(all)
    }
}

/// Returns a `.npy` file of this format version, header and data, as NumPy writes it.
#[must_use]
pub fn encode(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
    let mut out = [MAGIC, &[version, 0]].concat();
    match version {
        1 => out.extend((header.len() as u16).to_le_bytes()),
        _ => out.extend((header.len() as u32).to_le_bytes()),
    }
    out.extend(header.as_bytes());
    out.extend(data);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_numpy_writes_them() {
        let cases = [
            (1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n", 24),
            (2, "{'shape':(2,3,),'fortran_order':False,'descr':'<f4'}", 24),
            (3, "{\"descr\": \"<f4\", \"fortran_order\": False, \"shape\": (2, 3)}", 24),
        ];
        for (version, header, size) in cases {
            let bytes = encode(version, header, &vec![7; size]);
            let array = read(&bytes).expect("it is what NumPy writes");
            assert_eq!((array.scalar, array.shape), (Scalar::F32, vec![2, 3]));
            assert_eq!(array.data, vec![7; size]);
        }
        let one = encode(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (5,), }", &[1; 5]);
        assert_eq!(read(&one).expect("one dimension").shape, [5]);
    }

    #[test]
    fn anything_else_is_refused() {
        let with = |descr: &str, order: &str, shape: &str| {
            format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}")
        };
        for (header, want) in [
            (with("'<f4'", "True", "(1, 1)"), "Fortran order"),
            (with("'>f4'", "False", "(1, 1)"), "elements of type `>f4`"),
            (with("[('a', '<f4')]", "False", "(1,)"), "expected a quoted word"),
            (with("'<f4'", "False", "(1, 2)"), "holds 4 bytes of data, which are not [1, 2]"),
            (with("'<f8'", "False", "(9223372036854775807, 16)"), "holds 4 bytes of data"),
            (with("'<f4'", "False", "(-1,)"), "expected a whole number"),
            (with("'<f4'", "False", "(99999999999999999999,)"), "expected a whole number"),
            (with("'<f4'", "0", "(1,)"), "expected `True` or `False`"),
            ("{'descr': '<f4', 'shape': (1,)}".to_owned(), "without `fortran_order`"),
            ("{'descr': '<f4".to_owned(), "expected a closing quote"),
            (with("'<f4'", "False", "(1,)") + "}", "goes on after its end"),
        ] {
            let found = read(&encode(1, &header, &[0; 4])).expect_err("it is not readable");
            let found = found.to_string();
            assert!(found.contains(want), "{found}");
        }
        let whole = encode(1, &with("'<f4'", "False", "(1,)"), &[0; 4]);
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "{cut} bytes of {}", whole.len());
        }
        let liar = [MAGIC, &[2, 0, 0xff, 0xff, 0xff, 0xff]].concat();
        let refused = |bytes: &[u8]| read(bytes).expect_err("it is not readable");
        assert_eq!(refused(&liar), NpyError::HeaderLength(0xffff_ffff));
        assert_eq!(refused(&[MAGIC, &[9, 0, 0, 0]].concat()), NpyError::Version(9));
    }
}
