//! What a stage fails with, and the errors of the crates that methods live in.

use super::Problem;
use cache::StoreError;
use std::{
    any::Any,
    borrow::Cow,
    error::Error as StdError,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use thiserror::Error;

/// The error of a stage.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StageError {
    /// An operation of the store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An input does not decode as its kind.
    #[error("part `{part}` of input `{port}` does not decode")]
    Decode {
        /// The port read.
        port: String,
        /// The part read.
        part: String,
        /// The error of the decoder.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The method cannot be applied to these inputs: an error of the crate it lives in.
    #[error(transparent)]
    Method(Box<dyn MethodFailure>),
    /// A file the stage reads has another digest than its recipe says. The engine makes the recipe
    /// again.
    #[error("`{}` changed while it was to be read", path.display())]
    Changed {
        /// The file or folder.
        path: PathBuf,
    },
    /// A file changed each time its recipe was made again.
    #[error("`{}` changed again and again while it was to be read", path.display())]
    Unsettled {
        /// The file or folder.
        path: PathBuf,
    },
    /// The system gives no thread to work in.
    #[error("no thread can be started: {reason}")]
    NoThread {
        /// The system's answer.
        reason: Arc<io::Error>,
    },
    /// The worker of the stage ended without an answer, each time.
    #[error("its worker vanished without a word, several times over")]
    Vanished,
    /// The stage's code panicked: a defect of the program.
    #[error("the method broke off: {message}{}", location.as_ref().map(|at| format!(" (at {at})")).unwrap_or_default())]
    Panicked {
        /// The message of the panic.
        message: String,
        /// The place in the code, `FILE:LINE:COLUMN`, if it is known.
        location: Option<String>,
    },
    /// The run was cancelled.
    #[error("the run was stopped")]
    Cancelled,
}

/// An error of the crate a method lives in, as data. Its text is a lowercase clause.
pub trait MethodFailure: StdError + Send + Sync + Any {
    /// Returns what can be done.
    fn hint(&self) -> Option<Cow<'_, str>> {
        None
    }
}

impl dyn MethodFailure {
    /// Returns the error as a `T`, if it is one.
    #[must_use]
    pub fn downcast_ref<T: MethodFailure>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}

impl StdError for Box<dyn MethodFailure> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        (**self).source()
    }
}

impl MethodFailure for Problem {
    fn hint(&self) -> Option<Cow<'_, str>> {
        self.hint.as_deref().map(Cow::Borrowed)
    }
}

impl<E: MethodFailure> From<E> for StageError {
    fn from(error: E) -> Self {
        Self::Method(Box::new(error))
    }
}

impl StageError {
    /// Returns what can be done.
    #[must_use]
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Method(failure) => failure.hint(),
            Self::Unsettled { .. } => Some("run it again once the file is still".into()),
            Self::NoThread { .. } => {
                Some("raise the limit on processes (`ulimit -u`), or lower `--jobs`".into())
            }
            _ => None,
        }
    }

    /// Returns the error of a file that changed after its digest was taken.
    pub(crate) fn changed(path: &Path) -> Self {
        Self::Changed { path: path.to_owned() }
    }
}
