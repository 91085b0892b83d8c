//! Arrays in the files other programs write: one tensor of a safetensors file, or a `.npy` file.

use super::npy::{self, NpyError};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
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
}

impl Scalar {
    /// Returns how many bytes an element has.
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::F16 | Self::Bf16 | Self::U16 | Self::I16 => 2,
            Self::F32 | Self::U32 | Self::I32 => 4,
            Self::F64 | Self::U64 | Self::I64 => 8,
        }
    }

    fn of(dtype: Dtype) -> Option<Self> {
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
            _ => return None,
        })
    }
}

/// An array in the bytes it was read from, with as many elements as its shape says.
pub struct Array<'a> {
    /// The type of an element.
    pub scalar: Scalar,
    /// How long each dimension is.
    pub shape: Vec<usize>,
    /// The elements, little-endian, row-major.
    pub data: &'a [u8],
}

/// What is wrong with an array in a file: a clause that follows the file's name.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArrayError {
    /// The `.npy` file does not read.
    #[error(transparent)]
    Npy(#[from] NpyError),
    /// It is in neither format.
    #[error("is neither .npy nor whole safetensors: {0}")]
    Format(SafeTensorError),
    /// There is no tensor of that name.
    #[error("has no tensor `{name}`: it holds {}", quoted(known))]
    NoTensor {
        /// The name.
        name: String,
        /// The names there are, sorted.
        known: Vec<String>,
    },
    /// The elements are of a type that is not read.
    #[error("has elements of type {dtype:?}, which are not read (tensor `{name}`)")]
    Elements {
        /// The tensor.
        name: String,
        /// The type of its elements.
        dtype: Dtype,
    },
    /// Embeddings are a single number.
    #[error("has embeddings without dimensions: expected [n, d]")]
    NoDimensions,
    /// Embeddings are no matrix, or an empty one.
    #[error("has embeddings of shape {0:?}: expected [n, d]")]
    EmbeddingShape(Vec<usize>),
    /// Embeddings are not floats.
    #[error("has embeddings of type {0:?}: expected floats")]
    EmbeddingType(Scalar),
    /// An embedding holds a NaN or an infinity.
    #[error("has the value {value} in the embedding of sample {sample}")]
    NotFinite {
        /// The value.
        value: f32,
        /// The position of the sample.
        sample: usize,
    },
    /// Labels are no vector.
    #[error("has labels of shape {0:?}: expected [n]")]
    LabelShape(Vec<usize>),
    /// Labels are not whole numbers.
    #[error("has labels of type {0:?}: expected integers")]
    LabelType(Scalar),
    /// A label is no class.
    #[error("has label {label} for sample {sample}: expected 0 to {}", classes.saturating_sub(1))]
    Label {
        /// The position of the sample.
        sample: usize,
        /// Its label.
        label: i128,
        /// How many classes there are.
        classes: usize,
    },
}

fn quoted(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|one| format!("`{one}`")).collect();
    names.join(", ")
}

/// Returns the array of a `.npy` file, or the one called `name` of a safetensors file.
pub fn array<'a>(bytes: &'a [u8], name: &str) -> Result<Array<'a>, ArrayError> {
    if npy::is_npy(bytes) {
        let npy::Npy { scalar, shape, data } = npy::read(bytes)?;
        return Ok(Array { scalar, shape, data });
    }
    let all = SafeTensors::deserialize(bytes).map_err(ArrayError::Format)?;
    let mut pairs = all.iter();
    let Some((_, view)) = pairs.find(|(one, _)| *one == name) else {
        let mut known: Vec<_> = all.names().into_iter().map(|one| one.to_string()).collect();
        known.sort();
        return Err(ArrayError::NoTensor { name: name.to_owned(), known });
    };
    let dtype = view.dtype();
    let scalar =
        Scalar::of(dtype).ok_or_else(|| ArrayError::Elements { name: name.to_owned(), dtype })?;
    Ok(Array { scalar, shape: view.shape().to_vec(), data: view.data() })
}

/// Returns what `read` makes of each element.
fn each<const N: usize, T>(data: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (elements, _) = data.as_chunks::<N>();
    elements.iter().map(|bytes| read(*bytes)).collect()
}

impl Array<'_> {
    /// Returns the elements, if they are floats.
    pub fn floats(&self) -> Option<Vec<f32>> {
        Some(match self.scalar {
            Scalar::F16 => each(self.data, |b| f16::from_le_bytes(b).to_f32()),
            Scalar::Bf16 => each(self.data, |b| bf16::from_le_bytes(b).to_f32()),
            Scalar::F32 => each(self.data, f32::from_le_bytes),
            Scalar::F64 => each(self.data, |b| f64::from_le_bytes(b) as f32),
            _ => return None,
        })
    }

    /// Returns the elements, if they are whole numbers.
    pub fn wholes(&self) -> Option<Vec<i128>> {
        Some(match self.scalar {
            Scalar::U8 => each(self.data, |b| u8::from_le_bytes(b).into()),
            Scalar::I8 => each(self.data, |b| i8::from_le_bytes(b).into()),
            Scalar::U16 => each(self.data, |b| u16::from_le_bytes(b).into()),
            Scalar::I16 => each(self.data, |b| i16::from_le_bytes(b).into()),
            Scalar::U32 => each(self.data, |b| u32::from_le_bytes(b).into()),
            Scalar::I32 => each(self.data, |b| i32::from_le_bytes(b).into()),
            Scalar::U64 => each(self.data, |b| u64::from_le_bytes(b).into()),
            Scalar::I64 => each(self.data, |b| i64::from_le_bytes(b).into()),
            _ => return None,
        })
    }

    /// Returns the values, the number of samples, and the number of values of each.
    pub fn embeddings(&self) -> Result<(Vec<f32>, usize, usize), ArrayError> {
        let [n, rest @ ..] = self.shape.as_slice() else {
            return Err(ArrayError::NoDimensions);
        };
        let (n, d) = (*n, rest.iter().product::<usize>());
        if rest.is_empty() || n == 0 || d == 0 {
            return Err(ArrayError::EmbeddingShape(self.shape.clone()));
        }
        let values = self.floats().ok_or(ArrayError::EmbeddingType(self.scalar))?;
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok((values, n, d)),
            Some(at) => Err(ArrayError::NotFinite { value: values[at], sample: at / d }),
        }
    }

    /// Returns the labels, each below `classes`.
    pub fn labels(&self, classes: usize) -> Result<Vec<u32>, ArrayError> {
        if !matches!(self.shape.as_slice(), [_] | [_, 1]) {
            return Err(ArrayError::LabelShape(self.shape.clone()));
        }
        let values = self.wholes().ok_or(ArrayError::LabelType(self.scalar))?;
        let checked = values.into_iter().enumerate().map(|(sample, label)| {
            let class = u32::try_from(label).ok().filter(|one| (*one as usize) < classes);
            class.ok_or(ArrayError::Label { sample, label, classes })
        });
        checked.collect()
    }
}
