//! Neural networks: architectures, optimisers, schedules, and the one training loop.
//!
//! Which device the tensors live on is a value here, no type. Which device that may be is
//! `device`'s business.

pub(crate) mod draw;
pub(crate) mod epoch;
pub(crate) mod feed;
pub(crate) mod foreign;
mod host;
mod layer;
mod loss;
mod memory;
pub(crate) mod model;
mod models;
mod network;
mod optim;
pub(crate) mod schedule;
pub(crate) mod settings;
pub(crate) mod slopes;
pub(crate) mod speed;
mod state;
pub(crate) mod training;
mod values;
mod zoom;

pub(crate) use loss::argmax;
pub(crate) use memory::guarded;
pub(crate) use models::Family;
pub(crate) use network::Architecture;
pub(crate) use values::download;

/// A tensor on any device.
pub(crate) type Tensor<const D: usize, K = burn::tensor::Float> =
    burn::tensor::Tensor<burn::Dispatch, D, K>;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
