//! The memory a training takes, estimated before it begins; out of memory as an error.

use super::settings::TrainingConfig;
use crate::{
    NetworkError,
    device::{Device, explain},
};
use artifacts::architecture::{Layer, NamedLayer, Network, Shape, trace};
use engine::StageError;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Returns how many bytes training takes at least: the values with their gradients and what the
/// optimiser remembers, and every layer's output for the samples that go through at once; where convolutions
/// are products of matrices, what goes into these.
pub(super) fn estimate(network: &Network, plan: &TrainingConfig, products: bool) -> f64 {
    let values: f64 = network.specs().iter().map(|spec| spec.len() as f64).sum();
    let passed = outputs(network.layers(), network.input(), products).0;
    let samples = plan.micro.min(plan.batch) as f64;
    4.0 * (values * (2.0 + plan.rule.slots() as f64) + samples * passed)
}

/// Fails if training takes more memory than `device` has free beside `data` bytes of samples.
pub(super) fn check(
    network: &Network,
    plan: &TrainingConfig,
    device: Device,
    data: usize,
) -> Result<(), NetworkError> {
    let accelerator = device.capabilities().own_memory;
    let copied = if accelerator { data as f64 } else { 0.0 };
    let needed = estimate(network, plan, accelerator) + copied;
    let Some(free) = device.free_memory().filter(|free| needed > *free as f64) else {
        return Ok(());
    };
    Err(NetworkError::Memory { device: device.name(), needed, free: free as f64 })
}

/// Returns what `work` returns. A device that failed is an error, no panic: with this hint if it ran out
/// of memory. Any other panic goes on.
pub(crate) fn guarded<T>(
    device: Device,
    hint: &str,
    work: impl FnOnce() -> Result<T, StageError>,
) -> Result<T, StageError> {
    // Whatever `work` was making is dropped with the error: nothing half-made is seen.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        match explain(&*payload, &device.name(), hint) {
            Some(error) => Err(error),
            None => resume_unwind(payload),
        }
    })
}

/// Returns how many numbers `layers` pass on for one sample, and the shape they end in.
fn outputs(layers: &[NamedLayer], mut shape: Shape, products: bool) -> (f64, Shape) {
    let mut total = 0.0;
    for named in layers {
        let next = trace(std::slice::from_ref(named), "", shape, &mut vec![]);
        let next = next.expect("the shapes were checked when the network was made");
        let size = match next {
            Shape::Flat(d) => d as f64,
            Shape::Map(sides) => sides.iter().map(|side| *side as f64).product(),
        };
        // Each output pixel of a convolution has the pixels that it looks at side by side.
        let seen = |taps: usize| match (shape, next) {
            (Shape::Map([c, _, _]), Shape::Map([_, rows, columns])) if products && taps > 1 => {
                (c * taps * rows * columns) as f64
            }
            _ => 0.0,
        };
        let outputs = |layers, shape| outputs(layers, shape, products);
        total += match &named.1 {
            Layer::Conv { kernel, groups: 1, .. } => size + seen(kernel * kernel),
            Layer::Strip { height, width, .. } => size + seen(height * width),
            // In place, or a view.
            Layer::Relu | Layer::Flatten => 0.0,
            Layer::Gate { gate } => size + outputs(gate, shape).0,
            Layer::Branches { branches } => {
                size + branches.iter().map(|branch| outputs(branch, shape).0).sum::<f64>()
            }
            Layer::Residual { main, shortcut } => {
                size + outputs(main, shape).0 + outputs(shortcut, shape).0
            }
            _ => size,
        };
        shape = next;
    }
    (total, shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lack_of_memory_becomes_an_error() {
        let broke = |text: &str| {
            guarded(Device::CPU, "", || -> Result<(), _> { panic!("{}", text.to_owned()) })
        };
        let error = broke("DriverError(CUDA_ERROR_OUT_OF_MEMORY)").expect_err("it ran out");
        assert_eq!(error.to_string(), "`cpu` ran out of memory");
        assert!(catch_unwind(|| broke("index out of bounds")).is_err());
    }
}
