//! The stages that train no network: loading, corruption, kNN graphs, scores, selectors, programs of the
//! user's own, and the measures of an evaluation.
//!
//! This crate has never heard of a tensor library: what may run on an accelerator goes through
//! [`linalg::Accelerator`].

mod command;
mod confident;
mod corrupt;
mod coverage;
mod detection;
mod error;
mod graph;
pub mod linalg;
#[doc(hidden)]
pub mod load;
pub mod measure;
mod ngrams;
mod normals;
mod own_file;
mod runtime;
pub mod score;
pub mod select;
#[cfg(test)]
mod timing;

pub use command::{OutError, ProgramEnd};
pub use error::MethodError;
pub use load::{FileError, FolderError, ImageError, MatError};
pub use own_file::OwnFileError;
pub use runtime::Runtime;

/// Returns the methods of this crate.
#[must_use]
pub fn methods() -> Vec<engine::Method> {
    [
        load::methods(),
        corrupt::methods(),
        score::methods(),
        select::methods(),
        graph::methods(),
        coverage::methods(),
        detection::methods(),
        command::methods(),
    ]
    .concat()
}

/// Returns the former ways to write methods of this crate and of `score.deepfool`.
#[must_use]
pub fn renamed() -> Vec<engine::Renamed> {
    [select::renamed(), score::renamed()].concat()
}
