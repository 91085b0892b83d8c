//! The error of this crate: why a network cannot be trained or run, as data.

use crate::device;
use artifacts::architecture::LayerError;
use engine::MethodFailure;
use std::borrow::Cow;
use thiserror::Error;

/// Why a network cannot be trained or run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The run was given a device that means nothing here.
    #[error("no device is called `{name}`")]
    NoSuchDevice {
        /// The name it was given.
        name: String,
    },
    /// A model, an augmentation or a precision has no such name.
    #[error("no {what} is called `{name}`: {reason}")]
    NoSuchName {
        /// What it should name.
        what: &'static str,
        /// The name.
        name: String,
        /// The names there are.
        reason: serde_json::Error,
    },
    /// The data set's samples do not go through the network.
    #[error("this model cannot take samples of shape {sample:?}: {error}")]
    Samples {
        /// The shape of a sample.
        sample: Vec<usize>,
        /// The layer at which they end.
        error: LayerError,
    },
    /// The images of a benchmark do not go through the network.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The samples cannot be augmented so.
    #[error("cannot augment: {0}")]
    Augment(#[from] AugmentError),
    /// Training in bf16 is asked of the CPU.
    #[error("precision `bf16` needs a CUDA device, and this run has none")]
    NoBf16,
    /// A training set is empty.
    #[error("there is no sample to train on")]
    NoSamples,
    /// There are more folds than samples.
    #[error("{n} samples cannot be dealt to {folds} folds")]
    Folds {
        /// How many folds.
        folds: usize,
        /// How many samples.
        n: usize,
    },
    /// A data set has no test split.
    #[error("the data set has no test split to measure on")]
    NoTestSplit,
    /// A model has other classes than the data set it is measured on.
    #[error("the model knows {model} classes, the data set has {data}")]
    Classes {
        /// How many the model knows.
        model: usize,
        /// How many the data set has.
        data: usize,
    },
    /// A network was trained on samples of another shape.
    #[error("the network was trained on samples of shape {trained:?}, not {found:?}")]
    SampleShape {
        /// The shape of those it was trained on.
        trained: Vec<usize>,
        /// The shape of those it is given.
        found: Vec<usize>,
    },
    /// A proxy was trained on another data set.
    #[error("the proxy was trained on {proxy} samples, the data set has {n}")]
    ProxySamples {
        /// How many samples it was trained on.
        proxy: usize,
        /// How many the data set has.
        n: usize,
    },
    /// A logit is a NaN or an infinity.
    #[error("the training diverged: a logit of epoch {epoch} is not finite")]
    Diverged {
        /// The epoch, counted from 1.
        epoch: u64,
    },
    /// A training would take more memory than there is.
    #[error(
        "this training needs at least {:.1} GiB, and `{device}` has {:.1} GiB free",
        gib(*needed), gib(*free)
    )]
    Memory {
        /// The device.
        device: String,
        /// How many bytes it takes at least.
        needed: f64,
        /// How many bytes are free.
        free: f64,
    },
    /// A device had no more memory to give.
    #[error("`{device}` ran out of memory")]
    OutOfMemory {
        /// The device.
        device: String,
        /// What takes less, for the work that failed.
        remedy: String,
    },
    /// A device failed.
    #[error("`{device}` failed: {what}")]
    Device {
        /// The device.
        device: String,
        /// The driver's name for the error, and its words.
        what: String,
    },
    /// A thread of a benchmark panicked.
    #[error("a thread broke off")]
    Thread,
}

/// Why samples cannot be augmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AugmentError {
    /// Images are no larger than the padding.
    #[error("images of {height}x{width} pixels are too small to crop")]
    TooSmall {
        /// Their height.
        height: usize,
        /// Their width.
        width: usize,
    },
    /// Samples are vectors.
    #[error("only images can be cropped or flipped")]
    NotImages,
}

/// What takes less memory in a training.
pub(crate) const LESS_MEMORY: &str = "a smaller `micro-batch` or `batch` takes less, so does a smaller `width`; \
     `--jobs 1` runs one stage at a time";

impl MethodFailure for NetworkError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::Samples { .. } => "`mlp` and `linear` take samples of any shape",
            Self::Augment(_) => "set `augment = \"none\"`",
            Self::NoBf16 => "set `precision = \"f32\"`, or run with `--device cuda`",
            Self::ProxySamples { .. } => "connect the data set that the proxy was trained on",
            Self::Diverged { .. } => "a smaller `lr` or a `schedule.warmup` usually helps",
            Self::Memory { .. } => LESS_MEMORY,
            Self::OutOfMemory { remedy, .. } => remedy,
            Self::Device { what, .. } if device::is_lasting(what) => {
                "the GPU computes nothing more in this process: run it again, what was finished is \
                 kept; if it comes back, try `--device cpu`, and look with `nvidia-smi` and `dmesg` \
                 for errors of the GPU"
            }
            Self::Device { .. } => {
                "run it again, what was finished is kept; `coresift doctor` looks at the device; if a kernel \
                 cannot be loaded, remove the folder of kept kernels (docs/devices.md)"
            }
            _ => return None,
        };
        Some(hint.into())
    }
}

fn gib(bytes: f64) -> f64 {
    bytes / f64::from(1 << 30)
}
