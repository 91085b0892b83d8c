//! A reader of NumPy's `.npy`: versions 1 to 3, either order of dimensions and of bytes, numbers and texts.
//!
//! Written here because a general crate gives each type of element a Rust type of its own, and brings a
//! big-number parser for structures, which have no meaning here and are refused by name.

use super::{Array, Scalar, Values, python::strided};
use std::borrow::Cow;
use thiserror::Error;

const MAGIC: &[u8] = b"\x93NUMPY";
/// NumPy itself refuses longer headers.
const LONGEST: usize = 10_000;

/// The type of an array's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Number(Scalar),
    /// Texts of so many characters of four bytes.
    Unicode(usize),
    /// Texts of so many bytes.
    Bytes(usize),
    /// A pickle stands in place of the elements.
    Object,
}

/// How the elements of an array lie in its bytes.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) element: Element,
    /// Whether the bytes of a number are in the other order than here.
    pub(super) swapped: bool,
    /// Whether the first dimension varies fastest.
    pub(super) fortran: bool,
    pub(super) shape: Vec<usize>,
}

/// What a `.npy` file holds.
#[derive(Debug)]
pub(super) enum Npy<'a> {
    /// Numbers or texts.
    Values(Values<'a>),
    /// A pickle, at the end of it.
    Pickle(&'a [u8]),
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
    /// Its elements are records.
    #[error("is a structured array of the fields {}: save one of them, as `a[\"{}\"]`", fields.join(", "), fields[0])]
    Structure {
        /// The names of the fields, at least one.
        fields: Vec<String>,
    },
    /// Its elements are of a type that is not read.
    #[error("has elements of type `{}`, which are not read: expected numbers or texts{}", .0, converted(.0))]
    Elements(String),
    /// Its elements do not fill its shape.
    #[error("holds {found} bytes of data, which are not {shape:?} of {size} bytes each")]
    Size {
        /// How many bytes of data it has.
        found: usize,
        /// The shape in its header.
        shape: Vec<usize>,
        /// How many bytes an element of the type in its header has.
        size: usize,
    },
}

/// Returns how elements of a type that is not read become others.
fn converted(descr: &str) -> &'static str {
    match descr.trim_start_matches(['<', '>', '=', '|']).as_bytes() {
        [b'c', ..] => "; of complex numbers save `a.real`, or `numpy.abs(a)`",
        [b'M' | b'm', ..] => "; of dates save `a.astype('int64')`",
        [b'f', ..] => "; save `a.astype('float64')`",
        _ => "",
    }
}

/// Returns whether `bytes` begin like a `.npy` file.
pub(super) fn is_npy(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Reads `bytes`, the whole of a file.
///
/// # Errors
///
/// Says what was expected and found, as a clause that follows the file's name.
pub(super) fn read(bytes: &[u8]) -> Result<Npy<'_>, NpyError> {
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
    // Before version 3 names of fields are Latin-1.
    let header: Cow<'_, str> = match std::str::from_utf8(header) {
        Ok(header) => header.into(),
        Err(_) if version[0] < 3 => header.iter().copied().map(char::from).collect(),
        Err(_) => return Err(NpyError::HeaderText),
    };
    let layout = parse(&header)?;
    if layout.element == Element::Object {
        return Ok(Npy::Pickle(data));
    }
    Ok(Npy::Values(layout.values(data.into())?))
}

impl Element {
    /// Returns the type that NumPy calls `descr`, such as `<f4`, and whether its bytes are the other way
    /// round.
    pub(super) fn named(descr: &str) -> Result<(Self, bool), NpyError> {
        let (order, kind) = match descr.as_bytes().first() {
            Some(b'<' | b'>' | b'|' | b'=') => descr.split_at(1),
            _ => ("<", descr),
        };
        let odd = || NpyError::Elements(descr.to_owned());
        let number = match kind {
            "b1" | "?" => Some(Scalar::Bool),
            "f2" => Some(Scalar::F16),
            "f4" => Some(Scalar::F32),
            "f8" => Some(Scalar::F64),
            "u1" => Some(Scalar::U8),
            "i1" => Some(Scalar::I8),
            "u2" => Some(Scalar::U16),
            "i2" => Some(Scalar::I16),
            "u4" => Some(Scalar::U32),
            "i4" => Some(Scalar::I32),
            "u8" => Some(Scalar::U64),
            "i8" => Some(Scalar::I64),
            _ => None,
        };
        let width = || kind.get(1..).and_then(|width| width.parse().ok()).ok_or_else(odd);
        let element = match (number, kind.as_bytes().first()) {
            (Some(scalar), _) => Self::Number(scalar),
            (None, Some(b'U')) => Self::Unicode(width()?),
            (None, Some(b'S')) => Self::Bytes(width()?),
            (None, Some(b'O')) => Self::Object,
            _ => return Err(odd()),
        };
        Ok((element, order == ">"))
    }

    fn size(self) -> usize {
        match self {
            Self::Number(scalar) => scalar.size(),
            Self::Unicode(width) => width.saturating_mul(4),
            Self::Bytes(width) => width,
            Self::Object => 0,
        }
    }
}

impl Layout {
    /// Returns the elements in `data`, row by row and little-endian.
    pub(super) fn values(self, data: Cow<'_, [u8]>) -> Result<Values<'_>, NpyError> {
        let size = self.element.size();
        let elements = self.shape.iter().try_fold(1_usize, |all, one| all.checked_mul(*one));
        if elements.and_then(|n| n.checked_mul(size)) != Some(data.len()) {
            return Err(NpyError::Size { found: data.len(), shape: self.shape, size });
        }
        // An order of dimensions makes no difference where at most one is longer than 1.
        let mixed = self.fortran && self.shape.iter().filter(|n| **n > 1).count() > 1;
        let mut data = if mixed { by_rows(&data, size, &self.shape).into() } else { data };
        let unit = if matches!(self.element, Element::Unicode(_)) { 4 } else { size };
        if self.swapped && unit > 1 {
            data.to_mut().chunks_exact_mut(unit).for_each(<[u8]>::reverse);
        }
        let each = data.chunks_exact(size.max(1));
        Ok(match self.element {
            Element::Number(scalar) => {
                return Ok(Values::Numbers(Array { scalar, shape: self.shape, data }));
            }
            Element::Unicode(_) => Values::Texts(each.map(unicode).collect()),
            Element::Bytes(_) | Element::Object => {
                let text =
                    |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
                Values::Texts(each.map(text).collect())
            }
        })
    }
}

/// Returns the elements of an array whose first dimension varies fastest, row by row.
fn by_rows(data: &[u8], size: usize, shape: &[usize]) -> Vec<u8> {
    let mut step = 1;
    let strides: Vec<usize> = shape
        .iter()
        .map(|n| {
            let stride = step;
            step *= n;
            stride
        })
        .collect();
    strided(data, size, 0, shape, &strides).expect("the elements fill the shape")
}

/// Returns a text of characters of four bytes, without the zeros it is filled up with.
fn unicode(bytes: &[u8]) -> String {
    let (characters, _) = bytes.as_chunks::<4>();
    let text: String = characters
        .iter()
        .map(|one| char::from_u32(u32::from_le_bytes(*one)).unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    text.trim_end_matches('\0').to_owned()
}

/// Reads the dictionary `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }`.
fn parse(header: &str) -> Result<Layout, NpyError> {
    let mut text = Text(header);
    let (mut element, mut order, mut shape) = (None, None, None);
    text.expect('{')?;
    while !text.take('}') {
        let key = text.string()?;
        text.expect(':')?;
        match key {
            "descr" if element.is_none() => {
                text.structure()?;
                element = Some(Element::named(text.string()?)?);
            }
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
    let fortran = order.ok_or(NpyError::NoKey("fortran_order"))?;
    let (element, swapped) = element.ok_or(NpyError::NoKey("descr"))?;
    Ok(Layout { element, swapped, fortran, shape: shape.ok_or(NpyError::NoKey("shape"))? })
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

    /// Fails if a list of fields stands here: `[('a', '<f4'), ('b', '<i8')]`.
    fn structure(&mut self) -> Result<(), NpyError> {
        if !self.0.trim_start().starts_with('[') {
            return Ok(());
        }
        let fields = self.0.split('(').skip(1).filter_map(|field| {
            let name = field.trim_start().strip_prefix(['\'', '"'])?;
            Some(name.split(['\'', '"']).next()?.to_owned())
        });
        // A field of a shape has a second bracket, which begins no name.
        let fields: Vec<String> = fields.collect();
        if fields.is_empty() {
            Err(self.odd("a quoted word"))
        } else {
            Err(NpyError::Structure { fields })
        }
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
            // Python 2 wrote long numbers with an L.
            self.0 = text[end..].strip_prefix('L').unwrap_or(&text[end..]);
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

    fn numbers(bytes: &[u8]) -> Array<'_> {
        match read(bytes).expect("it is what NumPy writes") {
            Npy::Values(Values::Numbers(array)) => array,
            other => panic!("it is numbers, not {other:?}"),
        }
    }

    fn with(descr: &str, order: &str, shape: &str) -> String {
        format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}")
    }

    #[test]
    fn headers_are_read_as_numpy_writes_them() {
        let cases = [
            (1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n", 24),
            (2, "{'shape':(2,3,),'fortran_order':False,'descr':'<f4'}", 24),
            (3, "{\"descr\": \"<f4\", \"fortran_order\": False, \"shape\": (2, 3)}", 24),
            (1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }   \n", 24),
        ];
        for (version, header, size) in cases {
            let bytes = encode(version, header, &vec![7; size]);
            let array = numbers(&bytes);
            assert_eq!((array.scalar, array.shape), (Scalar::F32, vec![2, 3]));
            assert_eq!(array.data[..], vec![7; size]);
        }
        let one = encode(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (5,), }", &[1; 5]);
        assert_eq!(numbers(&one).shape, [5]);
    }

    #[test]
    fn either_order_of_dimensions_and_of_bytes_is_read() {
        // numpy.asfortranarray([[1, 2, 3], [4, 5, 6]], dtype='>i2')
        let data: Vec<u8> =
            [1, 4, 2, 5, 3, 6].iter().flat_map(|one: &i16| one.to_be_bytes()).collect();
        let bytes = encode(1, &with("'>i2'", "True", "(2, 3)"), &data);
        let array = numbers(&bytes);
        assert_eq!((array.wholes(), array.shape), (Some(vec![1, 2, 3, 4, 5, 6]), vec![2, 3]));
        // Three dimensions: element [i, j, k] of [2, 2, 2] is 4 i + 2 j + k.
        let data = [0, 4, 2, 6, 1, 5, 3, 7];
        let bytes = encode(1, &with("'|u1'", "True", "(2, 2, 2)"), &data);
        assert_eq!(numbers(&bytes).data[..], [0, 1, 2, 3, 4, 5, 6, 7]);
        let bytes = encode(1, &with("'|b1'", "False", "(3,)"), &[0, 1, 1]);
        assert_eq!(numbers(&bytes).scalar, Scalar::Bool);
    }

    #[test]
    fn texts_are_read_without_their_filling() {
        let data: Vec<u8> =
            "abc\u{e9}\0\0".chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        let bytes = encode(1, &with("'<U3'", "False", "(2,)"), &data);
        let Ok(Npy::Values(Values::Texts(texts))) = read(&bytes) else { panic!("it is texts") };
        assert_eq!(texts, ["abc", "\u{e9}"]);
        let bytes = encode(1, &with("'|S2'", "False", "(2,)"), b"abc\0");
        let Ok(Npy::Values(Values::Texts(texts))) = read(&bytes) else { panic!("it is texts") };
        assert_eq!(texts, ["ab", "c"]);
    }

    #[test]
    fn anything_else_is_refused() {
        for (header, want) in [
            (with("'>c8'", "True", "(1, 1)"), "texts; of complex numbers save `a.real`"),
            (
                with("[('gr\u{f6}\u{df}e', '<f4')]", "False", "(1,)"),
                "of the fields gr\u{f6}\u{df}e",
            ),
            (with("[('a', '<f4'), ('b', '<i8', (2,))]", "False", "(1,)"), "of the fields a, b"),
            (with("'<f4'", "False", "(1, 2)"), "holds 4 bytes of data, which are not [1, 2]"),
            (with("'<f8'", "False", "(9223372036854775807, 16)"), "holds 4 bytes of data"),
            (with("'<U9223372036854775807'", "False", "(1,)"), "holds 4 bytes of data"),
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
