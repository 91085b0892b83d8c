//! What flows between stages: data sets, proxies, scores, subsets, networks, metrics. Each kind is a type
//! that is checked when it is made, with one way into the store and one out of it.
//!
//! This crate has never heard of a method or of a tensor library.

pub mod architecture;
pub mod columns;
pub mod dataset;
pub mod draw;
mod error;
pub mod floats;
pub mod formats;
pub mod graph;
mod ids;
pub mod logits;
mod matrix;
pub mod network;
pub mod parts;
pub mod pixels;
pub mod record;
pub mod rows;
pub mod scores;
pub mod subset;
pub mod units;

pub use error::ArtifactError;
pub use ids::{ClassId, GroupId, Id, InGroup, RowIndex, SampleId};
pub use matrix::Matrix;
