//! Arrays in the files other programs write: one tensor of a safetensors file, or a `.npy` file.

use super::npy;
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

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

    fn of(dtype: Dtype) -> Result<Self, String> {
        Ok(match dtype {
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
            other => return Err(format!("has elements of type {other:?}, which are not read")),
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

/// Returns the array of a `.npy` file, or the one called `name` of a safetensors file.
pub fn array<'a>(bytes: &'a [u8], name: &str) -> Result<Array<'a>, String> {
    if npy::is_npy(bytes) {
        let npy::Npy { scalar, shape, data } = npy::read(bytes)?;
        return Ok(Array { scalar, shape, data });
    }
    let all = SafeTensors::deserialize(bytes)
        .map_err(|error| format!("is neither .npy nor whole safetensors: {error}"))?;
    let mut pairs = all.iter();
    let Some((_, view)) = pairs.find(|(one, _)| *one == name) else {
        let mut known: Vec<_> = all.names().into_iter().map(|one| format!("`{one}`")).collect();
        known.sort();
        return Err(format!("has no tensor `{name}`: it holds {}", known.join(", ")));
    };
    let scalar = Scalar::of(view.dtype()).map_err(|what| format!("{what} (tensor `{name}`)"))?;
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
    pub fn embeddings(&self) -> Result<(Vec<f32>, usize, usize), String> {
        let [n, rest @ ..] = self.shape.as_slice() else {
            return Err("has embeddings without dimensions: expected [n, d]".to_owned());
        };
        let (n, d) = (*n, rest.iter().product::<usize>());
        if rest.is_empty() || n == 0 || d == 0 {
            return Err(format!("has embeddings of shape {:?}: expected [n, d]", self.shape));
        }
        let values = self
            .floats()
            .ok_or_else(|| format!("has embeddings of type {:?}: expected floats", self.scalar))?;
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok((values, n, d)),
            Some(at) => {
                let (sample, value) = (at / d, values[at]);
                Err(format!("has the value {value} in the embedding of sample {sample}"))
            }
        }
    }

    /// Returns the labels, each below `classes`.
    pub fn labels(&self, classes: usize) -> Result<Vec<u32>, String> {
        if !matches!(self.shape.as_slice(), [_] | [_, 1]) {
            return Err(format!("has labels of shape {:?}: expected [n]", self.shape));
        }
        let values = self
            .wholes()
            .ok_or_else(|| format!("has labels of type {:?}: expected integers", self.scalar))?;
        let checked = values.into_iter().enumerate().map(|(at, value)| {
            let label = u32::try_from(value).ok().filter(|one| (*one as usize) < classes);
            let last = classes - 1;
            label.ok_or_else(|| format!("has label {value} for sample {at}: expected 0 to {last}"))
        });
        checked.collect()
    }
}
