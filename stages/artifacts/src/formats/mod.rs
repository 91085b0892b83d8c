//! Files that other programs write, read strictly: `.npy`, safetensors, CSV, text, JSON.

mod array;
pub mod column;
pub mod npy;

pub use array::{Array, ArrayError, Scalar, array};
