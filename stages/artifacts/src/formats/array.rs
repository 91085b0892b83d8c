//! Arrays of numbers in the files other programs write: their elements as numbers, embeddings and labels.

use super::FormatError;
use crate::ClassId;
use half::{bf16, f16};
use safetensors::Dtype;
use std::borrow::Cow;
use thiserror::Error;

/// The type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A 16-bit float (IEEE half).
    F16,
    /// A bfloat16.
    Bf16,
    /// A 32-bit float.
    F32,
    /// A 64-bit float.
    F64,
    /// An 8-bit unsigned integer.
    U8,
    /// An 8-bit signed integer.
    I8,
    /// A 16-bit unsigned integer.
    U16,
    /// A 16-bit signed integer.
    I16,
    /// A 32-bit unsigned integer.
    U32,
    /// A 32-bit signed integer.
    I32,
    /// A 64-bit unsigned integer.
    U64,
    /// A 64-bit signed integer.
    I64,
    /// 0 or 1, in a byte.
    Bool,
}

impl Scalar {
    /// Returns how many bytes an element has.
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::F16 | Self::Bf16 | Self::U16 | Self::I16 => 2,
            Self::F32 | Self::U32 | Self::I32 => 4,
            Self::F64 | Self::U64 | Self::I64 => 8,
        }
    }

    pub(super) fn of(dtype: Dtype) -> Option<Self> {
        Some(match dtype {
            Dtype::F16 => Self::F16,
            Dtype::BF16 => Self::Bf16,
            Dtype::F32 => Self::F32,
            Dtype::F64 => Self::F64,
            Dtype::U8 => Self::U8,
            Dtype::I8 => Self::I8,
            Dtype::U16 => Self::U16,
            Dtype::I16 => Self::I16,
            Dtype::U32 => Self::U32,
            Dtype::I32 => Self::I32,
            Dtype::U64 => Self::U64,
            Dtype::I64 => Self::I64,
            Dtype::BOOL => Self::Bool,
            _ => return None,
        })
    }
}

/// An array, with as many elements as its shape says.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<'a> {
    /// The type of an element.
    pub scalar: Scalar,
    /// How long each dimension is.
    pub shape: Vec<usize>,
    /// The elements, little-endian, row-major.
    pub data: Cow<'a, [u8]>,
}

/// What an array or a column holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Values<'a> {
    /// Numbers.
    Numbers(Array<'a>),
    /// Texts.
    Texts(Vec<String>),
}

impl Values<'_> {
    /// Returns the same, borrowed.
    pub(super) fn view(&self) -> Values<'_> {
        match self {
            Self::Numbers(Array { scalar, shape, data }) => {
                let data = Cow::Borrowed(&data[..]);
                Values::Numbers(Array { scalar: *scalar, shape: shape.clone(), data })
            }
            Self::Texts(texts) => Values::Texts(texts.clone()),
        }
    }

    /// Returns the same, independent of what it was read from.
    pub fn into_owned(self) -> Values<'static> {
        match self {
            Self::Numbers(Array { scalar, shape, data }) => {
                Values::Numbers(Array { scalar, shape, data: data.into_owned().into() })
            }
            Self::Texts(texts) => Values::Texts(texts),
        }
    }
}

/// What is wrong with an array in a file: a clause that follows the file's name.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArrayError {
    /// The file does not read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Embeddings are a single number.
    #[error("has embeddings without dimensions: expected [n, d]")]
    NoDimensions,
    /// Embeddings are no matrix, or an empty one.
    #[error("has embeddings of shape {:?}: expected [n, d]{}", .0, shaped(.0))]
    EmbeddingShape(Vec<usize>),
    /// Embeddings are texts.
    #[error(
        "has texts where embeddings are expected: numbers of shape [n, d], as `a.astype('float32')` makes of digits"
    )]
    EmbeddingTexts,
    /// An embedding holds a NaN or an infinity.
    #[error(
        "has the value {} in the embedding of sample {sample}, at {at}{}",
        plain(*value),
        finite(*value)
    )]
    NotFinite {
        /// The value.
        value: f64,
        /// The position of the sample.
        sample: usize,
        /// The position in its embedding.
        at: usize,
    },
    /// Labels are no vector.
    #[error("has labels of shape {0:?}: expected [n]; one-hot rows become labels by `.argmax(1)`")]
    LabelShape(Vec<usize>),
    /// A label is not whole.
    #[error("has label {label} for sample {sample}: expected whole numbers{}", missing(*label))]
    LabelNotWhole {
        /// The position of the sample.
        sample: usize,
        /// Its label.
        label: f64,
    },
    /// A label is no class.
    #[error("has label {label} for sample {sample}: expected 0 to {}{}", classes.saturating_sub(1), unlabelled(*label))]
    Label {
        /// The position of the sample.
        sample: usize,
        /// Its label.
        label: i128,
        /// How many classes there are.
        classes: usize,
    },
    /// An id stands there twice.
    #[error("has the id `{id}` for samples {first} and {second}")]
    IdTwice {
        /// The id.
        id: String,
        /// The position of the first.
        first: usize,
        /// The position of the second.
        second: usize,
    },
    /// The id of a sample is not there.
    #[error("has no row with the id `{id}` of sample {sample}")]
    IdMissing {
        /// The id.
        id: String,
        /// The position of the sample.
        sample: usize,
    },
    /// A count is not a whole number from 0 up.
    #[error("has {value} as `{name}` of sample {sample}: expected whole numbers from 0 up")]
    NoCount {
        /// The column.
        name: String,
        /// The position of the sample.
        sample: usize,
        /// The value.
        value: String,
    },
    /// A label is an empty text.
    #[error("has no label for sample {0}: leave the sample out, or give it the name of a class")]
    NoLabel(usize),
    /// A label is the name of no class.
    #[error("has label `{label}` for sample {sample}, which is not one of the classes")]
    NoSuchLabel {
        /// The position of the sample.
        sample: usize,
        /// Its label.
        label: String,
    },
}

/// Returns a number as it is written, a large one with its power of ten.
pub(super) fn plain(value: f64) -> String {
    if value.is_finite() && value.abs() >= 1e16 { format!("{value:e}") } else { value.to_string() }
}

fn finite(value: f64) -> &'static str {
    if value.is_finite() {
        ", which is beyond a 32-bit float: divide them all by a constant"
    } else {
        ": leave the sample out, or fill it with `numpy.nan_to_num`"
    }
}

fn shaped(shape: &[usize]) -> &'static str {
    match shape {
        [0, ..] => ", and n from 1",
        [_] => "; a column becomes that by `.reshape(-1, 1)`",
        _ => "",
    }
}

fn missing(label: f64) -> &'static str {
    if label.is_finite() { "" } else { "; leave out samples that have none" }
}

fn unlabelled(label: i128) -> &'static str {
    if label < 0 { "; leave out samples without a label, which -1 often stands for" } else { "" }
}

/// Returns what `read` makes of each element.
fn each<const N: usize, T>(data: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (elements, _) = data.as_chunks::<N>();
    elements.iter().map(|bytes| read(*bytes)).collect()
}

impl Array<'_> {
    /// Returns how many elements it has.
    pub fn len(&self) -> usize {
        self.data.len() / self.scalar.size()
    }

    /// Returns whether it has none.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Returns the elements, if they are floats.
    pub fn floats(&self) -> Option<Vec<f32>> {
        let data = &self.data;
        Some(match self.scalar {
            Scalar::F16 => each(data, |b| f16::from_le_bytes(b).to_f32()),
            Scalar::Bf16 => each(data, |b| bf16::from_le_bytes(b).to_f32()),
            Scalar::F32 => each(data, f32::from_le_bytes),
            Scalar::F64 => each(data, |b| f64::from_le_bytes(b) as f32),
            _ => return None,
        })
    }

    /// Returns the elements, if they are whole numbers by their type.
    pub fn wholes(&self) -> Option<Vec<i128>> {
        let data = &self.data;
        Some(match self.scalar {
            Scalar::U8 | Scalar::Bool => each(data, |b| u8::from_le_bytes(b).into()),
            Scalar::I8 => each(data, |b| i8::from_le_bytes(b).into()),
            Scalar::U16 => each(data, |b| u16::from_le_bytes(b).into()),
            Scalar::I16 => each(data, |b| i16::from_le_bytes(b).into()),
            Scalar::U32 => each(data, |b| u32::from_le_bytes(b).into()),
            Scalar::I32 => each(data, |b| i32::from_le_bytes(b).into()),
            Scalar::U64 => each(data, |b| u64::from_le_bytes(b).into()),
            Scalar::I64 => each(data, |b| i64::from_le_bytes(b).into()),
            Scalar::F16 | Scalar::Bf16 | Scalar::F32 | Scalar::F64 => return None,
        })
    }

    /// Returns the elements as f64; whole numbers beyond 2^53 are rounded.
    pub fn doubles(&self) -> Vec<f64> {
        match (self.scalar, self.wholes()) {
            (_, Some(wholes)) => wholes.into_iter().map(|whole| whole as f64).collect(),
            (Scalar::F64, None) => each(&self.data, f64::from_le_bytes),
            (_, None) => self.floats().unwrap_or_default().into_iter().map(f64::from).collect(),
        }
    }

    /// Returns the position of a whole number that is equal to another as an f64, and is not; `doubles` are the
    /// elements as such.
    pub(super) fn first_merged(&self, doubles: &[f64]) -> Option<usize> {
        const EXACT: f64 = (1_u64 << 53) as f64;
        doubles.iter().find(|value| value.abs() >= EXACT)?;
        let wholes = self.wholes()?;
        let mut order: Vec<usize> = (0..wholes.len()).collect();
        order.sort_by_key(|at| wholes[*at]);
        let merged = order.windows(2).find(|pair| {
            let (a, b) = (pair[0], pair[1]);
            wholes[a] != wholes[b] && doubles[a] == doubles[b]
        });
        merged.map(|pair| pair[1])
    }

    /// Returns the elements, if they are whole numbers by their type or by their values.
    pub fn whole_numbers(&self) -> Option<Vec<i128>> {
        self.first_fraction().is_none().then(|| match self.wholes() {
            Some(wholes) => wholes,
            None => self.doubles().into_iter().map(|value| value as i128).collect(),
        })
    }

    /// Returns the first element that is not whole, and its position.
    pub fn first_fraction(&self) -> Option<(usize, f64)> {
        if self.wholes().is_some() {
            return None;
        }
        let odd = |value: &f64| value.fract() != 0.0 || !value.is_finite();
        self.doubles().into_iter().enumerate().find(|(_, value)| odd(value))
    }

    /// Returns the elements as f32, of whatever type they are.
    pub fn singles(&self) -> Vec<f32> {
        let rounded = || self.doubles().into_iter().map(|value| value as f32).collect();
        self.floats().unwrap_or_else(rounded)
    }

    /// Returns the number of samples, and the number of values in the embedding of each.
    pub fn rows(&self) -> Result<(usize, usize), ArrayError> {
        let [n, rest @ ..] = self.shape.as_slice() else {
            return Err(ArrayError::NoDimensions);
        };
        let (n, d) = (*n, rest.iter().product::<usize>());
        if rest.is_empty() || n == 0 || d == 0 {
            return Err(ArrayError::EmbeddingShape(self.shape.clone()));
        }
        Ok((n, d))
    }

    /// Returns the embeddings of the samples at `rows`, in that order, as f32.
    ///
    /// # Errors
    ///
    /// Names the first value of them that is not finite.
    ///
    /// # Panics
    ///
    /// Panics if there is no such row.
    pub fn embeddings_of(
        &self,
        rows: impl ExactSizeIterator<Item = usize> + Clone,
    ) -> Result<Vec<f32>, ArrayError> {
        let (_, d) = self.rows()?;
        let each = d * self.scalar.size();
        let count = rows.len();
        let first = rows.clone().next().unwrap_or(0);
        let run = rows.clone().enumerate().all(|(at, row)| row == first + at);
        let data: Cow<'_, [u8]> = if run {
            self.data[first * each..][..count * each].into()
        } else {
            let mut data = Vec::with_capacity(count * each);
            rows.clone().for_each(|row| data.extend_from_slice(&self.data[row * each..][..each]));
            data.into()
        };
        let values = Array { scalar: self.scalar, shape: vec![count, d], data }.singles();
        let Some(at) = values.iter().position(|value| !value.is_finite()) else {
            return Ok(values);
        };
        let sample = rows.clone().nth(at / d).unwrap_or(0);
        let row = &self.data[sample * each..][..each];
        let row = Array { scalar: self.scalar, shape: vec![d], data: row.into() }.doubles();
        Err(ArrayError::NotFinite { value: row[at % d], sample, at: at % d })
    }

    /// Returns the values, the number of samples, and the number of values of each.
    pub fn embeddings(&self) -> Result<(Vec<f32>, usize, usize), ArrayError> {
        let (n, d) = self.rows()?;
        Ok((self.embeddings_of(0..n)?, n, d))
    }

    /// Returns the labels, each below `classes`.
    pub fn labels(&self, classes: usize) -> Result<Vec<ClassId>, ArrayError> {
        if !matches!(self.shape.as_slice(), [_] | [_, 1]) {
            return Err(ArrayError::LabelShape(self.shape.clone()));
        }
        let values = self.whole_numbers();
        let values = values.ok_or_else(|| match self.first_fraction() {
            Some((sample, label)) => ArrayError::LabelNotWhole { sample, label },
            None => ArrayError::LabelShape(self.shape.clone()),
        })?;
        let checked = values.into_iter().enumerate().map(|(sample, label)| {
            let class = u32::try_from(label).ok().map(ClassId::from);
            class.filter(|class| class.index() < classes).ok_or(ArrayError::Label {
                sample,
                label,
                classes,
            })
        });
        checked.collect()
    }
}
