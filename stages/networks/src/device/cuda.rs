//! NVIDIA's GPUs. The order of the questions matters: any other call of the driver panics where its
//! library is missing.

use burn::DispatchDevice;
use burn_cuda::CudaDevice;
use cudarc::driver::CudaContext;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What stands between a machine and its CUDA device.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Lack {
    #[error("no CUDA driver is installed (libcuda was not found)")]
    Driver,
    #[error("the CUDA driver does not start: {0}")]
    Start(String),
    #[error("there is no CUDA device {index}: the driver sees {count}")]
    Device { count: usize, index: usize },
    #[error("the CUDA run-time compiler is missing (libnvrtc was not found)")]
    Nvrtc,
    #[error("the CUDA headers are missing (include/cuda_runtime.h was not found)")]
    Headers,
}

impl Lack {
    /// Returns what helps.
    pub(super) fn help(&self) -> &'static str {
        match self {
            Self::Driver => "install the NVIDIA driver (580 or newer, for CUDA 13)",
            Self::Start(_) => "check with `nvidia-smi` that the driver sees a GPU",
            Self::Device { .. } => "name one that is there, such as `--device cuda:0`",
            Self::Nvrtc => {
                "install NVIDIA's package `cuda-nvrtc-13-0`, where the loader finds its library"
            }
            Self::Headers => {
                "install NVIDIA's packages `cuda-cudart-dev-13-0` and `cuda-cccl-13-0` and let \
                 CUDA_PATH name their folder"
            }
        }
    }
}

/// Returns the tensor library's name for GPU `index`.
pub(super) fn device(index: usize) -> DispatchDevice {
    DispatchDevice::Cuda(CudaDevice::new(index))
}

/// Returns how many bytes of the GPU's memory are free.
pub(super) fn free_memory(index: usize) -> Option<u64> {
    let (free, _) = CudaContext::new(index).ok()?.mem_get_info().ok()?;
    Some(free as u64)
}

/// Checks that GPU `index` can be used.
///
/// # Errors
///
/// Says what is missing.
pub(super) fn probe(index: usize) -> Result<(), Lack> {
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
    Ok(())
}

/// Tells `say` what there is of driver, compiler, headers and GPUs.
pub(super) fn report(say: &mut dyn FnMut(&str, String)) {
    let found = |yes: bool| if yes { "found" } else { "not found" }.to_owned();
    let driver = driver_version().map(|version| format!("found, for CUDA {version} and older"));
    say("cuda driver", driver.unwrap_or_else(|| found(driver_present())));
    say("cuda nvrtc", found(nvrtc_present()));
    let headers = headers();
    say("cuda headers", headers.map_or_else(|| found(false), |path| path.display().to_string()));
    match device_count() {
        Err(lack) => {
            say("cuda devices", lack.to_string());
            say("what helps", lack.help().to_owned());
        }
        Ok(count) => {
            say("cuda devices", count.to_string());
            for index in 0..count {
                let about = describe(index).unwrap_or_else(|error| error.to_string());
                say(&format!("cuda:{index}"), about);
            }
            if let Err(lack) = probe(0) {
                say("cuda problem", lack.to_string());
                say("what helps", lack.help().to_owned());
            }
        }
    }
}

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
