//! What flows between stages: the kinds of artifact, and how each lies in the store.
//!
//! Tensors are safetensors, the rest is JSON. A part that two artifacts share (the images of a
//! clean and a corrupted data set, the labels behind scores) is one object in the store.

mod stored;

pub use stored::{
    StoredTensor, bytes_of_f32, encode_tensors, header_of_bytes, header_of_f32, put_tensors,
};

use crate::{ArtifactError, Id, floats::Floats};
use cache::{Artifact, Blob, Bytes, Store, StoreError};
use engine::{ArtifactKind, StageCtx, StageError};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, error::Error as StdError, ops::Range, sync::Arc};
use thiserror::Error;

/// `data`: parts `images` or `features`, `labels`, `meta`, `columns` if its samples have ids or counts, `rows` and what
/// belongs to it if they are texts, and what only an evaluation may see: `clean` if labels were corrupted, `groups` and
/// `group_names` if its samples are in groups, `origin` if samples were put in or changed.
pub const DATA: ArtifactKind = ArtifactKind("data");
/// `proxy`: parts `weights`, `outputs`, `labels`, `history`, `meta`, and the training record.
pub const PROXY: ArtifactKind = ArtifactKind("proxy");
/// `graph`: parts `graph` (the neighbours of every sample and their distances), `labels`, `meta`.
pub const GRAPH: ArtifactKind = ArtifactKind("graph");
/// `scores`: parts `scores`, `labels`, `meta`.
pub const SCORES: ArtifactKind = ArtifactKind("scores");
/// `subset`: parts `subset`, `meta`.
pub const SUBSET: ArtifactKind = ArtifactKind("subset");
/// `model`: parts `weights`, `history`, `meta`.
pub const MODEL: ArtifactKind = ArtifactKind("model");
/// `metrics`: part `metrics`.
pub const METRICS: ArtifactKind = ArtifactKind("metrics");

/// The parts of an artifact on their way into the store.
pub type Parts = BTreeMap<String, Blob>;

/// Stores `value` as JSON.
pub fn put_json(ctx: &StageCtx<'_>, value: &impl Serialize) -> Result<Blob, StageError> {
    let bytes = serde_json::to_vec_pretty(value).map_err(ArtifactError::Summary)?;
    ctx.put(&bytes)
}

/// Why a part of an artifact does not read, or is not what it should be.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PartError {
    /// The artifact has no such part.
    #[error("part `{0}` is missing")]
    Missing(String),
    /// As [`Missing`](Self::Missing), where the error around it names the part.
    #[error("it is missing")]
    Absent,
    /// The store cannot give its bytes.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not JSON of what was expected.
    #[error("it is not the expected JSON")]
    Json(#[from] serde_json::Error),
    /// It is not safetensors, or lacks a tensor.
    #[error("its tensors do not read")]
    Tensors(#[from] SafeTensorError),
    /// A tensor has elements of another type.
    #[error("tensor `{tensor}` is {found:?}, not {wanted}")]
    Type {
        /// The tensor.
        tensor: String,
        /// The type of its elements.
        found: Dtype,
        /// The type they should have.
        wanted: &'static str,
    },
    /// A position or label is below 0 or beyond 32 bits.
    #[error("tensor `{0}` holds a number that is no position")]
    Position(String),
    /// A tensor goes past the end of the part.
    #[error("tensor `{0}` goes past the end")]
    Cut(String),
    /// A tensor has another number of dimensions than rows and columns.
    #[error("tensor `{0}` is not a matrix")]
    NotAMatrix(String),
    /// A tensor has another type or length than those beside it.
    #[error("tensor `{0}` does not fit the others")]
    Unfit(&'static str),
    /// A training record is of other samples.
    #[error("it holds {found} samples, not {n}")]
    Samples {
        /// How many it holds.
        found: usize,
        /// How many there are.
        n: usize,
    },
    /// Scores are of other samples.
    #[error("it holds {found} scores for {n} samples")]
    Scores {
        /// How many it holds.
        found: usize,
        /// How many samples there are.
        n: usize,
    },
    /// A subset's weights are too few or too many, or one is below 0 or not finite.
    #[error("the weights are not one number from 0 up for each sample")]
    Weights,
    /// A summary lacks its classes.
    #[error("it does not say how many classes there are")]
    NoClasses,
}

/// The bytes of one part of an artifact, verified, and the one place that decodes them.
pub struct PartBytes(Bytes);

impl PartBytes {
    /// Reads part `name` of `artifact` from `store`.
    ///
    /// # Errors
    ///
    /// Fails if the artifact has no such part or the store cannot give it.
    pub fn open(store: &Store, artifact: &Artifact, name: &str) -> Result<Self, PartError> {
        let blob = artifact.parts.get(name);
        let blob = blob.ok_or_else(|| PartError::Missing(name.to_owned()))?;
        Ok(Self(store.get(blob)?))
    }

    /// Returns the bytes.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Returns the bytes, which it keeps.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the part read as JSON.
    ///
    /// # Errors
    ///
    /// Fails if it is not JSON of a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, PartError> {
        Ok(serde_json::from_slice(&self.0)?)
    }

    /// Returns every tensor of the part.
    ///
    /// # Errors
    ///
    /// Fails if it is not whole safetensors.
    pub fn tensors(&self) -> Result<SafeTensors<'_>, PartError> {
        Ok(SafeTensors::deserialize(&self.0)?)
    }

    /// Returns the shape and values of a float tensor: f32, or f16.
    ///
    /// # Errors
    ///
    /// Fails if there is no such tensor of floats.
    pub fn f32(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>), PartError> {
        let all = self.tensors()?;
        let view = all.tensor(name)?;
        let values = match view.dtype() {
            Dtype::F32 => {
                let (words, _) = view.data().as_chunks::<4>();
                words.iter().map(|word| f32::from_le_bytes(*word)).collect()
            }
            Dtype::F16 => {
                let (words, _) = view.data().as_chunks::<2>();
                words.iter().map(|word| half::f16::from_le_bytes(*word).to_f32()).collect()
            }
            found => {
                return Err(PartError::Type { tensor: name.to_owned(), found, wanted: "a float" });
            }
        };
        Ok((view.shape().to_vec(), values))
    }

    /// Returns the values of a float tensor, f64 or shorter.
    ///
    /// # Errors
    ///
    /// As [`Self::f32`].
    pub fn f64(&self, name: &str) -> Result<Vec<f64>, PartError> {
        let view = self.tensors()?.tensor(name)?;
        if view.dtype() != Dtype::F64 {
            return Ok(self.f32(name)?.1.into_iter().map(f64::from).collect());
        }
        let (words, _) = view.data().as_chunks::<8>();
        Ok(words.iter().map(|word| f64::from_le_bytes(*word)).collect())
    }

    /// Returns the shape and the numbers of a tensor of floats, where the store has them if they are f32.
    ///
    /// # Errors
    ///
    /// As [`Self::f32`].
    pub fn into_floats(self, name: &str) -> Result<(Vec<usize>, Floats), PartError> {
        let view = self.tensors()?.tensor(name)?;
        if view.dtype() != Dtype::F32 {
            let (shape, values) = self.f32(name)?;
            return Ok((shape, values.into()));
        }
        let shape = view.shape().to_vec();
        let range = self.range(name, Dtype::F32)?;
        Ok((shape, Floats::stored(&Arc::new(self.0), range)))
    }

    /// Returns where in the part's bytes a tensor of bytes lies.
    ///
    /// # Errors
    ///
    /// Fails if there is no such tensor of bytes, or it is cut short.
    pub fn u8(&self, name: &str) -> Result<Range<usize>, PartError> {
        self.range(name, Dtype::U8)
    }

    fn range(&self, name: &str, wanted: Dtype) -> Result<Range<usize>, PartError> {
        let (length, all) = SafeTensors::read_metadata(&self.0)?;
        let missing = || SafeTensorError::TensorNotFound(name.to_owned());
        let info = all.info(name).ok_or_else(missing)?;
        if info.dtype != wanted {
            let (found, wanted) = (info.dtype, if wanted == Dtype::U8 { "U8" } else { "F32" });
            return Err(PartError::Type { tensor: name.to_owned(), found, wanted });
        }
        // Eight bytes of length, then the header, then the tensors.
        let (from, to) = info.data_offsets;
        let data = 8 + length;
        if self.0.len() < data + to {
            return Err(PartError::Cut(name.to_owned()));
        }
        Ok(data + from..data + to)
    }

    /// Returns a tensor of samples, labels or groups, i64 on disk.
    ///
    /// # Errors
    ///
    /// Fails if there is no such tensor, or one of its numbers is no position.
    pub fn indices<I: Id>(&self, name: &str) -> Result<Vec<I>, PartError> {
        let position = |word| u32::try_from(word).ok().map(I::from);
        self.words(name)?.map(position).collect::<Option<_>>().ok_or_else(|| no_position(name))
    }

    /// Returns a tensor of whole numbers, i64 on disk.
    ///
    /// # Errors
    ///
    /// Fails if there is no such tensor, or one of its numbers is negative.
    pub fn wholes(&self, name: &str) -> Result<Vec<u64>, PartError> {
        let whole = |word| u64::try_from(word).ok();
        self.words(name)?.map(whole).collect::<Option<_>>().ok_or_else(|| no_position(name))
    }

    /// Returns the elements of a tensor of i64.
    pub(crate) fn words(&self, name: &str) -> Result<impl Iterator<Item = i64>, PartError> {
        let view = self.tensors()?.tensor(name)?;
        if view.dtype() != Dtype::I64 {
            let found = view.dtype();
            return Err(PartError::Type { tensor: name.to_owned(), found, wanted: "I64" });
        }
        let (words, _) = view.data().as_chunks::<8>();
        Ok(words.iter().map(|word| i64::from_le_bytes(*word)))
    }
}

fn no_position(tensor: &str) -> PartError {
    PartError::Position(tensor.to_owned())
}

/// One part of an artifact on an input port: its errors name the port.
pub struct Part<'a> {
    port: &'a str,
    name: &'a str,
    bytes: PartBytes,
}

/// Returns part `name` of `artifact`, which came in on `port`.
///
/// # Errors
///
/// Fails if the artifact has no such part or the store cannot give it.
pub fn part<'a>(
    ctx: &StageCtx<'_>,
    port: &'a str,
    artifact: &Artifact,
    name: &'a str,
) -> Result<Part<'a>, StageError> {
    let blob = artifact.parts.get(name).ok_or_else(|| absent(port, name))?;
    part_of(ctx, port, name, blob)
}

/// Returns the part `name` that `blob` is, of an artifact that came in on `port`.
pub(crate) fn part_of<'a>(
    ctx: &StageCtx<'_>,
    port: &'a str,
    name: &'a str,
    blob: &Blob,
) -> Result<Part<'a>, StageError> {
    Ok(Part { port, name, bytes: PartBytes(ctx.get(blob)?) })
}

/// Returns the error of a part of the artifact on `port` that is not what it should be.
pub(crate) fn wrong(
    port: &str,
    part: &str,
    source: impl StdError + Send + Sync + 'static,
) -> StageError {
    StageError::Decode { port: port.to_owned(), part: part.to_owned(), source: source.into() }
}

/// Returns the error of an artifact on `port` without part `name`.
pub(crate) fn absent(port: &str, name: &str) -> StageError {
    let source = PartError::Absent.into();
    StageError::Decode { port: port.to_owned(), part: name.to_owned(), source }
}

impl Part<'_> {
    /// Returns the error of a part that is not what it should be, for this reason.
    pub fn wrong(&self, source: impl StdError + Send + Sync + 'static) -> StageError {
        wrong(self.port, self.name, source)
    }

    /// Returns the part read as JSON.
    ///
    /// # Errors
    ///
    /// As [`PartBytes::json`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, StageError> {
        self.bytes.json().map_err(|error| self.wrong(error))
    }

    /// Returns every tensor of the part.
    ///
    /// # Errors
    ///
    /// As [`PartBytes::tensors`].
    pub fn tensors(&self) -> Result<SafeTensors<'_>, StageError> {
        self.bytes.tensors().map_err(|error| self.wrong(error))
    }

    /// Returns the elements of a tensor of i64.
    pub(crate) fn i64s(&self, name: &str) -> Result<Vec<i64>, StageError> {
        let words = self.bytes.words(name).map(Iterator::collect);
        words.map_err(|error| self.wrong(error))
    }

    /// Returns the shape and values of a float tensor.
    ///
    /// # Errors
    ///
    /// As [`PartBytes::f32`].
    pub fn f32(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>), StageError> {
        self.bytes.f32(name).map_err(|error| self.wrong(error))
    }

    /// Returns the shape and the numbers of a float tensor, where the store has them.
    ///
    /// # Errors
    ///
    /// As [`PartBytes::f32`].
    pub fn into_floats(self, name: &str) -> Result<(Vec<usize>, Floats), StageError> {
        let Self { port, name: part, bytes } = self;
        bytes.into_floats(name).map_err(|source| wrong(port, part, source))
    }

    /// Returns where in the part's bytes a tensor of bytes lies.
    ///
    /// # Errors
    ///
    /// As [`PartBytes::u8`].
    pub fn u8(&self, name: &str) -> Result<Range<usize>, StageError> {
        self.bytes.u8(name).map_err(|error| self.wrong(error))
    }

    /// Returns the bytes of the part.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes.into_bytes()
    }

    /// Returns the bytes of the part, which it keeps.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes.0
    }

    /// Returns the part without its port.
    #[must_use]
    pub fn without_port(&self) -> &PartBytes {
        &self.bytes
    }

    /// Returns a tensor of samples, labels or groups.
    ///
    /// # Errors
    ///
    /// As [`PartBytes::indices`].
    pub fn indices<I: Id>(&self, name: &str) -> Result<Vec<I>, StageError> {
        self.bytes.indices(name).map_err(|error| self.wrong(error))
    }
}
