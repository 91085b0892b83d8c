//! The error of this crate: why an artifact cannot be read, or written, as data.
//!
//! What files of other programs get wrong is in `formats`, what does not fit a network in
//! `architecture`.

use crate::{dataset::DatasetError, record::LabelOutOfRange};
use engine::MethodFailure;
use safetensors::SafeTensorError;
use std::borrow::Cow;
use thiserror::Error;

/// Why an artifact cannot be had, or cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// A port that is read is open.
    #[error("nothing is connected to port `{port}`")]
    NotConnected {
        /// The port.
        port: String,
    },
    /// None of the ports that tell of the samples is connected.
    #[error("no input says what the samples are")]
    NoSamples,
    /// The parts of a data set do not agree.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A label is no class.
    #[error(transparent)]
    Label(#[from] LabelOutOfRange),
    /// A data set's splits are of different kinds.
    #[error("one split has images and the other has features")]
    MixedSplits,
    /// Safetensors does not take a tensor.
    #[error("cannot encode a tensor: {0}")]
    Tensor(SafeTensorError),
    /// The header of an object of tensors cannot be written.
    #[error("cannot encode a tensor: {0}")]
    TensorHeader(serde_json::Error),
    /// A summary cannot be written as JSON.
    #[error("cannot encode a summary: {0}")]
    Summary(serde_json::Error),
    /// The store does not take what is written piece by piece.
    #[error("cannot write to the store: {0}")]
    Unwritten(std::io::Error),
    /// An epoch's logits are not one row a sample.
    #[error("{logits} logits are not {classes} for each of {n} samples")]
    LogitCount {
        /// How many logits there are.
        logits: usize,
        /// How many classes there are.
        classes: usize,
        /// How many samples there are.
        n: usize,
    },
    /// An epoch is asked for that the proxy did not record.
    #[error("epoch {epoch} is not on record: the proxy recorded {recorded}")]
    NotRecorded {
        /// The epoch, counted from 1.
        epoch: usize,
        /// How many epochs it recorded.
        recorded: usize,
    },
    /// There is not one for each sample.
    #[error("there are {found} {what} for {n} samples")]
    NotOneEach {
        /// What there should be one of, such as `scores`.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many samples there are.
        n: usize,
    },
    /// A proxy lacks its embeddings or logits: one trained in folds has no embeddings.
    #[error("the proxy keeps no {output}")]
    NoOutput {
        /// `logits` or `embeddings`.
        output: String,
    },
    /// Features are asked for of a data set of images.
    #[error("the data on port `{port}` are images, not features")]
    NoFeatures {
        /// The port.
        port: String,
    },
    /// A sample's score is NaN.
    #[error("sample {sample} has no score")]
    NoScore {
        /// The position of the sample.
        sample: usize,
    },
    /// A subset has positions that the data set does not.
    #[error("the subset is of another data set: this one has {n} samples")]
    OtherDataset {
        /// How many training samples the data set has.
        n: usize,
    },
}

impl MethodFailure for ArtifactError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::NotRecorded { .. } => {
                "a proxy keeps a record unless it was told `record = \"none\"`"
            }
            Self::NotOneEach { .. } => {
                "give one for each sample of the full training set, in its order"
            }
            Self::NoOutput { .. } => {
                "the networks of a proxy with `folds` share no space: connect one trained without"
            }
            Self::NoFeatures { .. } => {
                "train a proxy and connect that to `proxy`, or load features with `load.features`"
            }
            Self::NoScore { .. } => {
                "record more epochs, so that each sample is seen in one of them"
            }
            Self::OtherDataset { .. } => {
                "connect `subset` and `data` to stages with the same origin"
            }
            _ => return None,
        };
        Some(hint.into())
    }
}
