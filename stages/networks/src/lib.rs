//! The stages that train and run neural networks: `proxy-train`, `train`, `evaluate`, `score.deepfool` and
//! `score.deepcore.deepfool`, and the devices they run on.
//!
//! The only crate that knows the tensor library. It has never heard of a terminal.

mod accelerator;
mod deepfool;
mod device;
mod error;
mod evaluate;
mod folds;
mod nn;
mod proxy_train;
mod train;

pub use accelerator::accelerator;
pub use device::{
    Device, DeviceChoice, DeviceError, DeviceFolders, ParseDeviceError, explain_device_panic,
    keep_device_panics, report as device_report,
};
pub use error::{AugmentError, NetworkError};
pub use nn::speed::{Agreement, BenchmarkWork, Speed};

/// Returns every method a pipeline file may name.
#[must_use]
pub fn registry() -> engine::Registry {
    engine::Registry::default()
        .with(methods::methods())
        .with(deepfool::methods())
        .with(vec![evaluate::method(), proxy_train::method(), train::method()])
        .with_renamed(methods::renamed())
        .with_protocols(include_str!("protocols.toml"))
        .with_results(artifacts::parts::METRICS)
}
