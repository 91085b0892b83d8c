//! Tensors on their way into the store, as safetensors.

use crate::{ArtifactError, Id};
use cache::Blob;
use engine::{StageCtx, StageError};
use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo, TensorView},
};
use std::{borrow::Cow, io::Write as _};

/// A tensor to be written: its elements little-endian, row-major.
pub struct StoredTensor<'a> {
    /// Its name in the object.
    pub name: &'a str,
    /// The type of an element.
    pub dtype: Dtype,
    /// How long each dimension is.
    pub shape: Vec<usize>,
    /// The elements.
    pub bytes: Cow<'a, [u8]>,
}

impl<'a> StoredTensor<'a> {
    /// Returns a tensor of f32. Borrowed numbers are not copied.
    #[must_use]
    pub fn f32(name: &'a str, shape: &[usize], values: impl Into<Cow<'a, [f32]>>) -> Self {
        let bytes = match values.into() {
            Cow::Borrowed(values) => bytes_of_f32(values),
            Cow::Owned(values) => bytes_of_f32(&values).into_owned().into(),
        };
        Self { name, dtype: Dtype::F32, shape: shape.to_vec(), bytes }
    }

    /// Returns a tensor of f64 of one dimension.
    #[must_use]
    pub fn f64(name: &'a str, values: &[f64]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        Self { name, dtype: Dtype::F64, shape: vec![values.len()], bytes: bytes.into() }
    }

    /// Returns a tensor of bytes.
    #[must_use]
    pub fn u8(name: &'a str, shape: &[usize], values: &'a [u8]) -> Self {
        Self { name, dtype: Dtype::U8, shape: shape.to_vec(), bytes: values.into() }
    }

    /// Samples, labels and groups are i64 on disk: what PyTorch and NumPy index with.
    pub fn indices<I: Id>(name: &'a str, values: &[I]) -> Self {
        let word = |value: &I| i64::from((*value).into()).to_le_bytes();
        let bytes = values.iter().flat_map(word).collect::<Vec<u8>>();
        Self { name, dtype: Dtype::I64, shape: vec![values.len()], bytes: bytes.into() }
    }

    /// Returns a tensor of whole numbers, i64 on disk. What is larger than an i64 holds is its largest.
    #[must_use]
    pub fn wholes(name: &'a str, values: &[u64]) -> Self {
        let word = |value: &u64| i64::try_from(*value).unwrap_or(i64::MAX).to_le_bytes();
        let bytes = values.iter().flat_map(word).collect::<Vec<u8>>();
        Self { name, dtype: Dtype::I64, shape: vec![values.len()], bytes: bytes.into() }
    }
}

/// Returns numbers as a tensor of f32 has them, little-endian: where they are, if the machine's own are so.
#[must_use]
pub fn bytes_of_f32(values: &[f32]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        return bytemuck::cast_slice(values).into();
    }
    values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()
}

/// Stores `tensors` as one safetensors object. The same tensors give the same bytes.
pub fn put_tensors(ctx: &StageCtx<'_>, tensors: &[StoredTensor<'_>]) -> Result<Blob, StageError> {
    if tensors.iter().map(|one| one.bytes.len()).sum::<usize>() <= IN_MEMORY {
        return ctx.put(&encode_tensors(tensors)?);
    }
    let mut writer = ctx.writer()?;
    for piece in pieces(tensors)? {
        writer.write_all(&piece).map_err(ArtifactError::Unwritten)?;
    }
    Ok(writer.finish()?)
}

/// Larger tensors are written one after the other, not laid out in memory first.
const IN_MEMORY: usize = 4 << 20;

/// Returns the bytes of [`encode_tensors`] in pieces: what stands before the tensors, and each of them.
fn pieces<'a>(tensors: &'a [StoredTensor<'_>]) -> Result<Vec<Cow<'a, [u8]>>, ArtifactError> {
    // As safetensors lays them out: the widest elements first, then by name.
    let mut sorted: Vec<&StoredTensor<'_>> = tensors.iter().collect();
    sorted.sort_by(|a, b| b.dtype.cmp(&a.dtype).then(a.name.cmp(b.name)));
    let shapes: Vec<(&str, Dtype, Vec<usize>)> =
        sorted.iter().map(|one| (one.name, one.dtype, one.shape.clone())).collect();
    let header = header(&shapes)?;
    let bodies = sorted.into_iter().map(|one| Cow::Borrowed(&*one.bytes));
    Ok(std::iter::once(Cow::Owned(header)).chain(bodies).collect())
}

/// Returns `tensors` as safetensors. The same tensors give the same bytes.
pub fn encode_tensors(tensors: &[StoredTensor<'_>]) -> Result<Vec<u8>, ArtifactError> {
    let views = tensors.iter().map(|one| {
        let view = TensorView::new(one.dtype, one.shape.clone(), &one.bytes);
        (one.name, view.expect("the bytes fill the shape"))
    });
    // No metadata: its order in the header is not fixed, and equal tensors must be equal bytes.
    safetensors::serialize(views, None).map_err(ArtifactError::Tensor)
}

/// Returns what stands before the tensors in an object of tensors of bytes, whose names are given
/// in order. Written so, they are the object [`put_tensors`] makes of them.
pub fn header_of_bytes(tensors: &[(&str, Vec<usize>)]) -> Result<Vec<u8>, ArtifactError> {
    header_of(Dtype::U8, tensors)
}

/// As [`header_of_bytes`], for tensors of f32.
pub fn header_of_f32(tensors: &[(&str, Vec<usize>)]) -> Result<Vec<u8>, ArtifactError> {
    header_of(Dtype::F32, tensors)
}

fn header_of(dtype: Dtype, tensors: &[(&str, Vec<usize>)]) -> Result<Vec<u8>, ArtifactError> {
    let all = tensors.iter().map(|(name, shape)| (*name, dtype, shape.clone()));
    header(&all.collect::<Vec<_>>())
}

/// Returns what stands before these tensors, which follow in this order.
fn header(tensors: &[(&str, Dtype, Vec<usize>)]) -> Result<Vec<u8>, ArtifactError> {
    let mut end = 0_usize;
    let infos = tensors.iter().map(|(name, dtype, shape)| {
        let from = end;
        let elements = shape.iter().fold(1, |all: usize, one| all.saturating_mul(*one));
        end = elements.saturating_mul(dtype.bitsize() / 8).saturating_add(end);
        let (dtype, shape) = (*dtype, shape.clone());
        ((*name).to_owned(), TensorInfo { dtype, shape, data_offsets: (from, end) })
    });
    let metadata = Metadata::new(None, infos.collect()).map_err(ArtifactError::Tensor)?;
    let mut header = serde_json::to_vec(&metadata).map_err(ArtifactError::TensorHeader)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut header);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_written_ahead_is_the_one_written_with_the_tensors() {
        let (test, train) = (vec![7_u8; 3 * 4], vec![9_u8; 5 * 4]);
        let shapes = [("test", vec![3, 1, 2, 2]), ("train", vec![5, 1, 2, 2])];
        let ahead = header_of_bytes(&shapes).expect("it encodes");
        let tensors = [
            StoredTensor::u8("train", &shapes[1].1, &train),
            StoredTensor::u8("test", &shapes[0].1, &test),
        ];
        let whole = encode_tensors(&tensors).expect("it encodes");
        assert_eq!(whole, [ahead, test.clone(), train.clone()].concat());
        // Of any types, in pieces as whole.
        let (floats, wholes) = ([0.5, -1.0, 2.0], [7_u64, 9]);
        let tensors = [
            StoredTensor::u8("b", &[20], &train),
            StoredTensor::f32("z", &[3, 1], &floats),
            StoredTensor::wholes("y", &wholes),
            StoredTensor::f32("a", &[3], &floats),
        ];
        let whole = encode_tensors(&tensors).expect("it encodes");
        assert_eq!(whole, pieces(&tensors).expect("it encodes").concat());
    }
}
