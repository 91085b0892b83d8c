//! Files that other programs write: arrays in `.npy`, `.npz`, safetensors, PyTorch's `.pt` and pickles;
//! tables in Parquet, Arrow, CSV, TSV and JSON; numbers in plain text. Which it is, is told by the content.

mod archive;
mod array;
pub mod column;
mod column_error;
#[cfg(feature = "parquet")]
pub(crate) mod columnar;
#[cfg(not(feature = "parquet"))]
#[path = "no_columnar.rs"]
pub(crate) mod columnar;
mod error;
mod file;
mod kind;
mod legacy;
mod mask;
#[cfg(feature = "parquet")]
mod nested;
pub mod npy;
mod order;
mod pickle;
mod python;
mod text;

pub use array::{Array, ArrayError, Scalar, Values};
pub use error::FormatError;
pub(crate) use file::unpacked;
pub use file::{DataFile, Wanted, array, tensor};
pub use kind::FileKind;
pub(crate) use kind::named_as;
pub use pickle::{Object, ObjectId, Pickle, PickleError};
pub(crate) use text::delimiter_of;
