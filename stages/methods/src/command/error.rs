//! How a program failed, and what is wrong with what it left, as data.

use artifacts::{
    architecture::AdoptError,
    formats::{ArrayError, FormatError, column::ColumnError},
};
use safetensors::SafeTensorError;
use std::{io, os::unix::process::ExitStatusExt as _, process::ExitStatus};
use thiserror::Error;

/// A program that failed: how it ended, and its own last words.
#[derive(Clone, Debug, Error)]
#[error("{}{}", how(*status), indented(last_lines))]
pub struct ProgramEnd {
    /// How it ended.
    pub status: ExitStatus,
    /// The last lines it printed: on stderr, or on stdout if there are none.
    pub last_lines: Vec<String>,
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("the program ended with code {code}"),
        (None, Some(9)) => "the program was killed: there may have been too little memory".into(),
        (None, signal) => format!("the program was ended by signal {}", signal.unwrap_or(0)),
    }
}

fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n    {line}")).collect()
}

/// What is wrong with a file in `out/`: a clause that follows its name.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OutError {
    /// The system does not read it.
    #[error("cannot be read: {0}")]
    Unread(io::Error),
    /// It is there in two formats.
    #[error("and `out/{0}` are both there")]
    Twice(String),
    /// Its list of numbers does not read.
    #[error(transparent)]
    Column(#[from] ColumnError),
    /// Its array does not read.
    #[error(transparent)]
    Array(#[from] ArrayError),
    /// Its tensor does not read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// It is no state dict of the network.
    #[error(transparent)]
    Weights(#[from] AdoptError),
    /// It does not read as safetensors.
    #[error("is not whole safetensors: {0}")]
    Safetensors(SafeTensorError),
    /// Its JSON has other fields.
    #[error("is not as it should be: {0}")]
    About(serde_json::Error),
    /// Its JSON is no object.
    #[error("is no JSON object: {0}")]
    NoObject(serde_json::Error),
    /// It has not as many samples as were asked for.
    #[error("has {found} indices, but {budget} samples were asked for")]
    IndexCount {
        /// How many it has.
        found: usize,
        /// How many were asked for.
        budget: usize,
    },
    /// Its images are not \[n, c, h, w\].
    #[error("has images `{split}` of shape {shape:?}: expected [n, c, h, w]")]
    ImageShape {
        /// The split.
        split: String,
        /// Their shape.
        shape: Vec<usize>,
    },
    /// It has not one label for each sample.
    #[error("has {labels} labels for {n} samples in `{split}`")]
    LabelCount {
        /// The split.
        split: String,
        /// How many labels it has.
        labels: usize,
        /// How many samples.
        n: usize,
    },
    /// Its splits are of different shapes.
    #[error("has samples of {train:?} to train on, but of {test:?} to test")]
    SplitShape {
        /// The shape of a training sample.
        train: Vec<usize>,
        /// The shape of a test sample.
        test: Vec<usize>,
    },
    /// Its means and deviations are not one a channel, or a deviation is not above 0.
    #[error("needs {channels} means, and as many deviations above 0")]
    Moments {
        /// How many channels there are.
        channels: usize,
    },
    /// A proxy has no outputs at all.
    #[error("has neither `logits` nor `embeddings`")]
    NoOutputs,
    /// A proxy's logits or embeddings are of another shape.
    #[error(
        "has {output} of [{rows}, {columns}]: expected [{n}, {}]",
        classes.map_or("d".to_owned(), |classes| classes.to_string())
    )]
    OutputShape {
        /// `logits` or `embeddings`.
        output: &'static str,
        /// How many rows they have.
        rows: usize,
        /// How many columns.
        columns: usize,
        /// How many training samples there are.
        n: usize,
        /// How many classes there are; `None` for embeddings, which may have any width.
        classes: Option<usize>,
    },
    /// A recorded epoch is of another shape, or not of floats.
    #[error("has shape {shape:?}: expected floats of [{n}, {classes}]")]
    EpochShape {
        /// Its shape.
        shape: Vec<usize>,
        /// How many training samples there are.
        n: usize,
        /// How many classes.
        classes: usize,
    },
}
