//! Where tensors live: the CPU, or a CUDA device. The only file that says which.
//!
//! A device is looked for before anything runs, and what is missing is named. The tensor library
//! would panic instead, in a thread of its own.

use burn::DispatchDevice;
use burn_cuda::CudaDevice;
use cudarc::driver::CudaContext;
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};
use thiserror::Error;

/// What the user asked for: `auto`, `cpu`, `cuda`, or `cuda:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// CUDA where it works, else the CPU.
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
pub struct Device(Place);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Cpu,
    Cuda(usize),
    #[cfg(test)]
    StandIn,
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
    pub const CPU: Self = Self(Place::Cpu);

    /// The CPU in the place of an accelerator: what goes to one is done there with the same
    /// operations, so that a test can compare.
    #[cfg(test)]
    pub(crate) const STAND_IN: Self = Self(Place::StandIn);

    /// Returns the device that answers to `choice`. With [`DeviceChoice::Cpu`] no CUDA library is
    /// looked for, let alone loaded.
    ///
    /// # Errors
    ///
    /// Says what the CUDA device that was asked for lacks. `Auto` never fails.
    pub fn open(choice: DeviceChoice) -> Result<Self, DeviceError> {
        match choice {
            DeviceChoice::Cpu => Ok(Self::CPU),
            DeviceChoice::Auto => Ok(cuda_device(0).unwrap_or(Self::CPU)),
            DeviceChoice::Cuda(index) => cuda_device(index).map_err(|lack| {
                let (message, help) = lack.explain();
                let hint = format!("{help}, or run with `--device cpu`");
                DeviceError { wanted: choice.to_string(), message, hint }
            }),
        }
    }

    /// Returns the device called `name` by [`Device::name`], without looking whether it is there.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name.parse().ok()? {
            DeviceChoice::Cpu => Some(Self::CPU),
            DeviceChoice::Cuda(index) => Some(Self(Place::Cuda(index))),
            DeviceChoice::Auto => None,
        }
    }

    /// Returns the name: `cpu`, or `cuda:0`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.0 {
            Place::Cpu => DeviceChoice::Cpu.to_string(),
            Place::Cuda(index) => DeviceChoice::Cuda(index).to_string(),
            #[cfg(test)]
            Place::StandIn => "stand-in".to_owned(),
        }
    }

    /// Whether it is the CPU: reading a result back is then free.
    #[must_use]
    pub fn is_cpu(&self) -> bool {
        self.0 == Place::Cpu
    }

    /// Returns how many bytes of its memory are free, where that can be found out.
    pub(crate) fn free_memory(&self) -> Option<u64> {
        match self.0 {
            Place::Cpu => {
                // What the kernel could hand out without swapping.
                let text = std::fs::read_to_string("/proc/meminfo").ok()?;
                let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
                let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
                Some(kib << 10)
            }
            Place::Cuda(index) => {
                let (free, _) = CudaContext::new(index).ok()?.mem_get_info().ok()?;
                Some(free as u64)
            }
            #[cfg(test)]
            Place::StandIn => Self::CPU.free_memory(),
        }
    }

    /// Returns the device for plain tensors.
    pub(crate) fn inner(&self) -> DispatchDevice {
        match self.0 {
            Place::Cpu => DispatchDevice::Flex(Default::default()),
            Place::Cuda(index) => DispatchDevice::Cuda(CudaDevice::new(index)),
            #[cfg(test)]
            Place::StandIn => Self::CPU.inner(),
        }
    }
}

/// Returns what there is to know about this machine's devices, as pairs of what and how it is.
/// Nothing in it is an error.
#[must_use]
pub fn report() -> Vec<(String, String)> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut lines = vec![("cpu threads".to_owned(), threads.to_string())];
    let mut say = |what: &str, how: String| lines.push((what.to_owned(), how));
    let found = |yes: bool| if yes { "found" } else { "not found" }.to_owned();
    let driver = driver_version().map(|version| format!("found, for CUDA {version} and older"));
    say("cuda driver", driver.unwrap_or_else(|| found(driver_present())));
    say("cuda nvrtc", found(nvrtc_present()));
    let headers = headers();
    say("cuda headers", headers.map_or_else(|| found(false), |path| path.display().to_string()));
    match device_count() {
        Err(lack) => {
            let (message, help) = lack.explain();
            say("cuda devices", message);
            say("what helps", help);
        }
        Ok(count) => {
            say("cuda devices", count.to_string());
            for index in 0..count {
                let about = describe(index).unwrap_or_else(|error| error.to_string());
                say(&format!("cuda:{index}"), about);
            }
            if let Err(lack) = cuda_device(0) {
                let (message, help) = lack.explain();
                say("cuda problem", message);
                say("what helps", help);
            }
        }
    }
    lines
}

/// What stands between a machine and its CUDA device.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Lack {
    Driver,
    Start(String),
    Device { count: usize, index: usize },
    Nvrtc,
    Headers,
}

impl Lack {
    /// Returns what is wrong, and what helps.
    fn explain(&self) -> (String, String) {
        let (message, help) = match self {
            Self::Driver => (
                "no CUDA driver is installed (libcuda was not found)".to_owned(),
                "install the NVIDIA driver (580 or newer, for CUDA 13)".to_owned(),
            ),
            Self::Start(reason) => (
                format!("the CUDA driver does not start: {reason}"),
                "check with `nvidia-smi` that the driver sees a GPU".to_owned(),
            ),
            Self::Device { count, index } => (
                format!("there is no CUDA device {index}: the driver sees {count}"),
                "name one that is there, such as `--device cuda:0`".to_owned(),
            ),
            Self::Nvrtc => (
                "the CUDA run-time compiler is missing (libnvrtc was not found)".to_owned(),
                "install NVIDIA's package `cuda-nvrtc-13-0`, where the loader finds its library"
                    .to_owned(),
            ),
            Self::Headers => (
                "the CUDA headers are missing (include/cuda_runtime.h was not found)".to_owned(),
                "install NVIDIA's packages `cuda-cudart-dev-13-0` and `cuda-cccl-13-0` and let \
                 CUDA_PATH name their folder"
                    .to_owned(),
            ),
        };
        (message, help)
    }
}

fn cuda_device(index: usize) -> Result<Device, Lack> {
    let count = device_count()?;
    if index >= count {
        return Err(Lack::Device { count, index });
    }
    if !nvrtc_present() {
        return Err(Lack::Nvrtc);
    }
    if headers().is_none() {
        return Err(Lack::Headers);
    }
    Ok(Device(Place::Cuda(index)))
}

// The order matters: any other call of the driver panics where its library is missing.
fn device_count() -> Result<usize, Lack> {
    if !driver_present() {
        return Err(Lack::Driver);
    }
    let count = CudaContext::device_count().map_err(|error| Lack::Start(error.to_string()))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

#[expect(unsafe_code, reason = "cudarc has no safe question that does not panic")]
fn driver_present() -> bool {
    // SAFETY: it opens the driver's library by its system name and closes it again; NVIDIA's
    // libraries may be loaded at any time and from any thread.
    unsafe { cudarc::driver::sys::is_culib_present() }
}

/// Returns the newest CUDA version that the driver knows.
#[expect(unsafe_code, reason = "cudarc has no safe call for it")]
fn driver_version() -> Option<String> {
    if !driver_present() {
        return None;
    }
    let mut version = 0;
    // SAFETY: the driver is there, and writes one number where the pointer points.
    let status = unsafe { cudarc::driver::sys::cuDriverGetVersion(&raw mut version) };
    let known = status == cudarc::driver::sys::CUresult::CUDA_SUCCESS;
    known.then(|| format!("{}.{}", version / 1000, version % 1000 / 10))
}

#[expect(unsafe_code, reason = "cudarc has no safe question that does not panic")]
fn nvrtc_present() -> bool {
    // SAFETY: as above, for the run-time compiler's library.
    unsafe { cudarc::nvrtc::sys::is_culib_present() }
}

/// Returns the folder that kernels are compiled against, if it is there. This looks in the places
/// the tensor library looks in, and in no others: a folder it will not use is of no help.
fn headers() -> Option<PathBuf> {
    let root = match std::env::var_os("CUDA_PATH") {
        Some(path) => PathBuf::from(path),
        None if Path::new("/usr/local/cuda").exists() => "/usr/local/cuda".into(),
        None if Path::new("/opt/cuda").exists() => "/opt/cuda".into(),
        None => "/usr".into(),
    };
    let include = root.join("include");
    include.join("cuda_runtime.h").exists().then_some(include)
}

fn describe(index: usize) -> Result<String, cudarc::driver::DriverError> {
    let context = CudaContext::new(index)?;
    let (major, minor) = context.compute_capability()?;
    let (free, total) = context.mem_get_info()?;
    let gib = |bytes: usize| bytes as f64 / f64::from(1 << 30);
    Ok(format!(
        "{}, compute capability {major}.{minor}, {:.0} GiB, {:.1} GiB of it free",
        context.name()?,
        gib(total),
        gib(free)
    ))
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
    fn a_device_that_is_not_there_is_an_error_with_a_way_out() {
        let error = Device::open(DeviceChoice::Cuda(4096)).expect_err("no machine has so many");
        assert!(error.to_string().starts_with("cannot use `cuda:4096`: "));
        assert!(error.hint.ends_with("`--device cpu`"));
        assert!(Device::open(DeviceChoice::Auto).is_ok());
        assert!(report().len() >= 5);
    }
}
