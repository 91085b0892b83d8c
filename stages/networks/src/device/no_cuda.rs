//! What stands in for `cuda.rs` in a build without the feature `cuda`.

use super::DeviceFolders;
use burn::tensor::Device as TensorDevice;
use thiserror::Error;

/// The one thing that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this build of coresift has no CUDA")]
pub(super) struct Lack;

impl Lack {
    /// Returns what helps.
    pub(super) fn help(self) -> &'static str {
        "build it with `cargo build --release --features cuda`"
    }
}

/// Returns the CPU: no GPU is ever opened.
pub(super) fn device(_: usize) -> TensorDevice {
    TensorDevice::flex()
}

/// Returns nothing: no GPU is ever opened.
pub(super) fn free_memory(_: usize) -> Option<u64> {
    None
}

/// Refuses every GPU.
///
/// # Errors
///
/// Always fails.
pub(super) fn open(_: usize, _: &DeviceFolders) -> Result<(), Lack> {
    Err(Lack)
}

/// Tells `say` that there is no CUDA, and how to get it.
pub(super) fn report(_: &DeviceFolders, say: &mut dyn FnMut(&str, String)) {
    say("cuda", Lack.to_string());
    say("what helps", Lack.help().to_owned());
}
