//! Where tensors live: the CPU, or a GPU. Only this folder knows which kinds of GPU there are.
//!
//! A device is looked for before anything runs, and what is missing is named. The tensor library
//! would panic instead, in a thread of its own.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(not(feature = "cuda"))]
#[path = "no_cuda.rs"]
mod cuda;
mod fault;
mod turns;

pub(crate) use fault::explain;
pub(crate) use fault::is_lasting;
pub use fault::{explain_device_panic, keep_device_panics};
pub(crate) use turns::{alone, beside};

use burn::tensor::Device as TensorDevice;
use std::{fmt, fs, path::PathBuf, str::FromStr};
use thiserror::Error;

/// The folders that a GPU's kernels need. The program reads them from its environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceFolders {
    /// Where the toolkit is, headers in its `include` (CUDA_PATH). `None` looks in the usual places.
    pub toolkit: Option<PathBuf>,
    /// Where compiled kernels are kept from run to run. `None` leaves that to the tensor library.
    pub kernels: Option<PathBuf>,
}

/// The file that the tensor library keeps kernels in.
const KEPT: &str = "default.db";

impl DeviceFolders {
    /// Returns whether kernels were kept by an earlier run: if not, the first trainings on a GPU wait for them.
    #[must_use]
    pub fn has_kernels(&self) -> bool {
        let gpus = self.kernels.as_ref().and_then(|folder| fs::read_dir(folder).ok());
        gpus.is_some_and(|mut gpus| {
            gpus.any(|gpu| gpu.is_ok_and(|gpu| gpu.path().join(KEPT).exists()))
        })
    }
}

/// What the user asked for: `auto`, `cpu`, `cuda`, or `cuda:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// CUDA where it works and this build has it, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// This CUDA device.
    Cuda(usize),
}

/// A text that names no device.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no device is called `{0}`: there are `auto`, `cpu`, `cuda` and `cuda:N`")]
pub struct ParseDeviceError(String);

/// A device that works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device(Backend);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backend {
    Cpu,
    Cuda(usize),
}

/// What a device can do, and what it costs: what code asks for instead of the device's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// The CPU's own kernels (`nn/host`) run there.
    pub(crate) host_kernels: bool,
    /// It computes in bf16, with an 8-bit significand.
    pub(crate) bf16: bool,
    /// It has memory of its own: samples are copied there, and results back.
    pub(crate) own_memory: bool,
    /// It computes while the host goes on: reading a result waits for all that was asked before.
    pub(crate) asynchronous: bool,
    /// A sequence of kernels is recorded once and launched as one (CUDA graphs).
    pub(crate) graphs: bool,
}

/// A device that was asked for and cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("cannot use `{wanted}`: {message}")]
pub struct DeviceError {
    /// What was asked for.
    pub wanted: String,
    /// What is missing: a lowercase clause.
    pub message: String,
    /// The way out.
    pub hint: String,
}

impl FromStr for DeviceChoice {
    type Err = ParseDeviceError;

    fn from_str(text: &str) -> Result<Self, ParseDeviceError> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|index| index.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| ParseDeviceError(text.to_owned())),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl Device {
    /// The CPU, which is always there.
    pub const CPU: Self = Self(Backend::Cpu);

    /// Returns the device that answers to `choice`. With [`DeviceChoice::Cpu`] no CUDA library is
    /// looked for, let alone loaded. A GPU has then run a kernel.
    ///
    /// # Errors
    ///
    /// Says what the CUDA device that was asked for lacks. `Auto` never fails.
    pub fn open(choice: DeviceChoice, folders: &DeviceFolders) -> Result<Self, DeviceError> {
        match choice {
            DeviceChoice::Cpu => Ok(Self::CPU),
            DeviceChoice::Auto => Ok(Self::best(folders).0),
            DeviceChoice::Cuda(index) => Self::cuda(index, folders),
        }
    }

    /// Returns the first GPU, or the CPU and what a GPU lacks. In a build without CUDA nothing was looked
    /// for, and nothing is lacking.
    #[must_use]
    pub fn best(folders: &DeviceFolders) -> (Self, Option<DeviceError>) {
        match Self::cuda(0, folders) {
            Ok(device) => (device, None),
            Err(error) => (Self::CPU, Some(error).filter(|_| cfg!(feature = "cuda"))),
        }
    }

    fn cuda(index: usize, folders: &DeviceFolders) -> Result<Self, DeviceError> {
        cuda::open(index, folders).map(|()| Self(Backend::Cuda(index))).map_err(|lack| {
            DeviceError {
                wanted: DeviceChoice::Cuda(index).to_string(),
                message: lack.to_string(),
                hint: format!("{}, or run with `--device cpu`", lack.help()),
            }
        })
    }

    /// Returns the device called `name` by [`Device::name`], without looking whether it is there.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name.parse().ok()? {
            DeviceChoice::Cpu => Some(Self::CPU),
            DeviceChoice::Cuda(index) => Some(Self(Backend::Cuda(index))),
            DeviceChoice::Auto => None,
        }
    }

    /// Returns the name: `cpu`, or `cuda:0`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.0 {
            Backend::Cpu => DeviceChoice::Cpu.to_string(),
            Backend::Cuda(index) => DeviceChoice::Cuda(index).to_string(),
        }
    }

    /// Whether it is the CPU.
    #[must_use]
    pub fn is_cpu(&self) -> bool {
        self.0 == Backend::Cpu
    }

    /// Returns what it can do.
    pub(crate) fn capabilities(&self) -> Capabilities {
        match self.0 {
            Backend::Cpu => Capabilities {
                host_kernels: true,
                bf16: false,
                own_memory: false,
                asynchronous: false,
                graphs: false,
            },
            Backend::Cuda(_) => Capabilities {
                host_kernels: false,
                bf16: true,
                own_memory: true,
                asynchronous: true,
                graphs: true,
            },
        }
    }

    /// Returns how many bytes of its memory are free, where that can be found out.
    pub(crate) fn free_memory(&self) -> Option<u64> {
        match self.0 {
            Backend::Cpu => {
                // What the kernel could hand out without swapping.
                let text = std::fs::read_to_string("/proc/meminfo").ok()?;
                let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
                let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
                Some(kib << 10)
            }
            Backend::Cuda(index) => cuda::free_memory(index),
        }
    }

    /// Returns the device for plain tensors.
    pub(crate) fn inner(&self) -> TensorDevice {
        match self.0 {
            Backend::Cpu => TensorDevice::flex(),
            Backend::Cuda(index) => cuda::device(index),
        }
    }
}

/// Returns what there is to know about this machine's devices, as pairs of what and how it is.
/// Nothing in it is an error.
#[must_use]
pub fn report(folders: &DeviceFolders) -> Vec<(String, String)> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut lines = vec![("cpu threads".to_owned(), threads.to_string())];
    cuda::report(folders, &mut |what, how| lines.push((what.to_owned(), how)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for name in ["cpu", "cuda:0", "cuda:3"] {
            assert_eq!(name.parse::<DeviceChoice>().map(|one| one.to_string()), Ok(name.into()));
            assert_eq!(Device::from_name(name).map(|one| one.name()), Some(name.to_owned()));
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        assert!("gpu".parse::<DeviceChoice>().is_err());
        assert!("cuda:-1".parse::<DeviceChoice>().is_err());
        assert_eq!(Device::from_name("auto"), None);
    }

    #[test]
    fn kernels_of_an_earlier_run_are_seen() {
        let root = tempfile::tempdir().expect("a folder");
        let folders = DeviceFolders { kernels: Some(root.path().into()), ..Default::default() };
        let gpu = root.path().join("nvidia-h100-sm-90-nvrtc-13.0");
        fs::create_dir_all(&gpu).expect("it can be made");
        assert!(!folders.has_kernels());
        fs::write(gpu.join(KEPT), "").expect("it can be made");
        assert!(folders.has_kernels());
    }

    #[test]
    fn a_device_that_is_not_there_is_an_error_with_a_way_out() {
        let folders = DeviceFolders::default();
        let error =
            Device::open(DeviceChoice::Cuda(4096), &folders).expect_err("no machine has so many");
        assert!(error.to_string().starts_with("cannot use `cuda:4096`: "));
        assert!(error.hint.ends_with("`--device cpu`"));
        assert!(Device::open(DeviceChoice::Auto, &folders).is_ok());
        assert!(report(&folders).iter().any(|(what, _)| what == "what helps"));
    }
}
