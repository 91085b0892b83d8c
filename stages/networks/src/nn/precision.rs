//! Which floating-point formats a device can train in.

use super::settings::Precision;
use crate::{NetworkError, device::Device};

impl Precision {
    /// Checks that `device` can compute in this format: bf16 needs an accelerator.
    ///
    /// # Errors
    ///
    /// Fails if it cannot.
    pub(super) fn check(self, device: Device) -> Result<(), NetworkError> {
        if self == Self::F32 || device.capabilities().bf16 {
            return Ok(());
        }
        Err(NetworkError::NoBf16)
    }
}
