//! Neural networks: architectures, optimisers, schedules, and the one training loop.
//!
//! Which device the tensors live on is a value here, no type. Which device that may be is
//! `device`'s business.

mod accelerated;
pub(crate) mod epoch;
pub(crate) mod feed;
mod forward;
mod host;
pub(crate) mod input_gradients;
mod loss;
mod memory;
pub(crate) mod model;
mod optim;
mod precision;
pub(crate) mod replay;
pub(crate) mod sampler;
pub(crate) mod schedule;
pub(crate) mod settings;
pub(crate) mod speed;
mod state;
pub(crate) mod training;
pub(crate) mod values;
mod zoom;

pub(crate) use accelerated::{least_of_rows, sums_of_rows};
pub(crate) use values::download;

/// A tensor on any device.
pub(crate) type Tensor<const D: usize, K = burn::tensor::Float> = burn::tensor::Tensor<D, K>;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
