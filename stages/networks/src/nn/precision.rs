//! Which floating-point formats a device can train in.

use super::settings::Precision;
use crate::device::Device;
use engine::StageError;

impl Precision {
    /// Checks that `device` can compute in this format: bf16 needs an accelerator.
    ///
    /// # Errors
    ///
    /// Fails if it cannot.
    pub(super) fn check(self, device: Device) -> Result<(), StageError> {
        if self == Self::F32 || !device.is_cpu() {
            return Ok(());
        }
        Err(StageError::method("precision `bf16` needs a CUDA device, and this run has none")
            .with_hint("set `precision = \"f32\"`, or run with `--device cuda`"))
    }
}
