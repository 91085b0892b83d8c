//! What the stages do: the data, the models, the scores, the selectors.
//!
//! This crate has never heard of a terminal.

mod artifact;
mod brought;
mod command;
mod corrupt;
mod data;
mod device;
mod evaluate;
mod linalg;
mod load;
mod nn;
mod pixels;
mod proxy_train;
mod record;
mod score;
mod select;
mod train;
mod units;

pub use command::process::set_supervisor;
pub use device::{Device, DeviceChoice, DeviceError, ParseDeviceError, report as device_report};
pub use linalg::set_memory;
pub use nn::foreign::with_torchvision_names;
pub use nn::speed::{Agreement, Speed, Work, set_threads};
pub use units::{Fraction, OutOfRange};

/// Returns every method a pipeline file may name.
#[must_use]
pub fn registry() -> engine::Registry {
    engine::Registry::default()
        .with(load::methods())
        .with(corrupt::methods())
        .with(proxy_train::methods())
        .with(score::methods())
        .with(select::methods())
        .with(train::methods())
        .with(evaluate::methods())
        .with(command::methods())
        .with_results(artifact::METRICS)
}
