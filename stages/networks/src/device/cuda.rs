//! NVIDIA's GPUs. The order of the questions matters: any other call of the driver panics where its
//! library is missing.

use super::DeviceFolders;
use burn::tensor::Device as TensorDevice;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig as _, cache::CacheConfig};
use cudarc::{
    driver::{CudaContext, DriverError, LaunchConfig, sys::CUresult},
    nvrtc::{CompileError, CompileOptions, Ptx, compile_ptx_with_opts},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
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
    #[error("no CUDA headers are installed, or no folder names them")]
    HeaderFolder,
    #[error("the CUDA headers are not all there: `{}` was not found", .0.display())]
    Header(PathBuf),
    #[error("the driver gives no context: {0}")]
    Context(String),
    #[error("the CUDA run-time compiler ({compiler}) makes no kernel for {architecture}: {reason}")]
    Compile { compiler: String, architecture: String, reason: String },
    #[error(
        "the driver, of CUDA {driver}, does not load what the run-time compiler of {compiler} makes: {reason}"
    )]
    Load { driver: String, compiler: String, reason: String },
    #[error("an empty kernel does not run: {0}")]
    Launch(String),
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
            Self::HeaderFolder | Self::Header(_) => {
                "install NVIDIA's packages `cuda-cudart-dev-13-0`, `cuda-crt-13-0` and \
                 `cuda-cccl-13-0` (from PyPI: nvidia-cuda-runtime, nvidia-cuda-crt, \
                 nvidia-cuda-cccl) into one folder, let CUDA_PATH name it"
            }
            Self::Context(_) => {
                "see with `nvidia-smi` what else uses the GPU, and whether it is set to one process"
            }
            Self::Compile { .. } => {
                "install the run-time compiler and the headers of a CUDA that knows this GPU"
            }
            Self::Load { .. } => {
                "update the NVIDIA driver, or install a run-time compiler (with headers) of the \
                 driver's own CUDA or older"
            }
            Self::Launch(_) => "look with `nvidia-smi` and `dmesg` for errors of the GPU",
        }
    }
}

/// Returns the tensor library's name for GPU `index`.
pub(super) fn device(index: usize) -> TensorDevice {
    TensorDevice::cuda(index)
}

/// Returns how many bytes of the GPU's memory are free.
pub(super) fn free_memory(index: usize) -> Option<u64> {
    let (free, _) = context(index).ok()?.mem_get_info().ok()?;
    Some(free as u64)
}

/// Checks that GPU `index` can be used, down to a kernel that is compiled, loaded and run, and lets the
/// tensor library keep its kernels in `folders`.
///
/// # Errors
///
/// Says what is missing.
pub(super) fn open(index: usize, folders: &DeviceFolders) -> Result<(), Lack> {
    let target = probe(index, folders)?;
    if let Some(folder) = &folders.kernels {
        keep_kernels(&folder.join(target));
    }
    Ok(())
}

/// Returns the name of what kernels are compiled for: the GPU and the compiler.
fn probe(index: usize, folders: &DeviceFolders) -> Result<String, Lack> {
    let count = device_count()?;
    if index >= count {
        return Err(Lack::Device { count, index });
    }
    if !nvrtc_present() {
        return Err(Lack::Nvrtc);
    }
    headers(folders)?;
    let refused = |error: DriverError| Lack::Context(reason(error));
    let context = context(index).map_err(refused)?;
    let (major, minor) = context.compute_capability().map_err(refused)?;
    let architecture = format!("sm_{major}{minor}");
    try_kernel(&context, &architecture)?;
    let gpu = context.name().unwrap_or_default();
    Ok(format!("{gpu} {architecture} nvrtc {}", nvrtc_version().unwrap_or_default())
        .replace(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.', "-")
        .to_lowercase())
}

/// Compiles an empty kernel, loads it, runs it and waits for its end.
fn try_kernel(context: &Arc<CudaContext>, architecture: &str) -> Result<(), Lack> {
    let ptx = compile(architecture).map_err(|error| Lack::Compile {
        compiler: compiler(),
        architecture: architecture.to_owned(),
        reason: compiler_reason(&error),
    })?;
    let module = context.load_module(ptx).map_err(|error| Lack::Load {
        driver: driver_version().unwrap_or_default(),
        compiler: compiler(),
        reason: reason(error),
    })?;
    launch(context, &module).map_err(|error| Lack::Launch(reason(error)))
}

fn compile(architecture: &str) -> Result<Ptx, CompileError> {
    let options = vec![format!("--gpu-architecture={architecture}")];
    let options = CompileOptions { options, ..CompileOptions::default() };
    compile_ptx_with_opts("extern \"C\" __global__ void empty() {}", options)
}

#[expect(unsafe_code, reason = "cudarc launches no kernel safely")]
fn launch(
    context: &Arc<CudaContext>,
    module: &Arc<cudarc::driver::CudaModule>,
) -> Result<(), DriverError> {
    let kernel = module.load_function("empty")?;
    let stream = context.default_stream();
    let shape = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (1, 1, 1), shared_mem_bytes: 0 };
    // SAFETY: the kernel takes no arguments and touches no memory.
    unsafe { stream.launch_builder(&kernel).launch(shape) }?;
    stream.synchronize()
}

/// Returns the GPU's primary context, made by the first call: the tensor library then finds it made.
fn context(index: usize) -> Result<Arc<CudaContext>, DriverError> {
    static OPEN: Mutex<BTreeMap<usize, Arc<CudaContext>>> = Mutex::new(BTreeMap::new());
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(context) = open.get(&index) {
        context.bind_to_thread()?;
        return Ok(Arc::clone(context));
    }
    let context = CudaContext::new(index)?;
    open.insert(index, Arc::clone(&context));
    Ok(context)
}

/// Lets the tensor library keep the kernels that it compiles in `folder`. What a `cubecl.toml` says goes first. Only the first call in a process counts. A kernel that another
/// build of the program compiled is taken only if its source is the same.
fn keep_kernels(folder: &Path) {
    // The library panics where it cannot write.
    let tag = folder.join("CACHEDIR.TAG");
    let text = "Signature: 8a477f597d28d172789f06886806bc55\n# Compiled GPU kernels.\n";
    if fs::create_dir_all(folder).and_then(|()| fs::write(tag, text)).is_err() {
        return;
    }
    let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
    if matches!(config.environment.path, CacheConfig::Target) {
        config.environment.path = CacheConfig::Directory(folder.to_owned());
        config.compilation.cache = true;
    }
    CubeClRuntimeConfig::try_set(config);
}

/// Tells `say` what there is of driver, compiler, headers and GPUs.
pub(super) fn report(folders: &DeviceFolders, say: &mut dyn FnMut(&str, String)) {
    let found = |yes: bool| if yes { "found" } else { "not found" }.to_owned();
    let driver = driver_version().map(|version| format!("found, for CUDA {version} and older"));
    say("cuda driver", driver.unwrap_or_else(|| found(driver_present())));
    let nvrtc = nvrtc_version().map(|version| format!("found, of CUDA {version}"));
    say("cuda nvrtc", nvrtc.unwrap_or_else(|| found(nvrtc_present())));
    let headers = headers(folders);
    let headers =
        headers.map_or_else(|lack| lack.to_string(), |folder| folder.display().to_string());
    say("cuda headers", headers);
    match device_count() {
        Err(lack) => {
            say("cuda devices", lack.to_string());
            say("what helps", lack.help().to_owned());
        }
        Ok(count) => {
            say("cuda devices", count.to_string());
            for index in 0..count {
                let about = describe(index).unwrap_or_else(reason);
                say(&format!("cuda:{index}"), about);
                if let Err(lack) = probe(index, folders) {
                    say(&format!("cuda:{index} problem"), lack.to_string());
                    say("what helps", lack.help().to_owned());
                }
            }
        }
    }
}

fn device_count() -> Result<usize, Lack> {
    if !driver_present() {
        return Err(Lack::Driver);
    }
    let count = CudaContext::device_count().map_err(|error| Lack::Start(reason(error)))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Returns the driver's name of `error`, and its words for it.
fn reason(error: DriverError) -> String {
    let words = error.error_string().ok().and_then(|words| words.to_str().ok());
    words.map_or_else(|| format!("{:?}", error.0), |words| format!("{:?}, {words}", error.0))
}

/// Returns the first line that the compiler wrote, else the name of its error.
fn compiler_reason(error: &CompileError) -> String {
    if let CompileError::CompileError { log, .. } = error {
        let log = log.to_string_lossy();
        if let Some(line) = log.lines().find(|line| !line.trim().is_empty()) {
            return line.trim().to_owned();
        }
    }
    error.to_string()
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
    let known = status == CUresult::CUDA_SUCCESS;
    known.then(|| format!("{}.{}", version / 1000, version % 1000 / 10))
}

#[expect(unsafe_code, reason = "cudarc has no safe question that does not panic")]
fn nvrtc_present() -> bool {
    // SAFETY: as above, for the run-time compiler's library.
    unsafe { cudarc::nvrtc::sys::is_culib_present() }
}

/// Returns the CUDA version of the run-time compiler.
#[expect(unsafe_code, reason = "cudarc has no safe call for it")]
fn nvrtc_version() -> Option<String> {
    if !nvrtc_present() {
        return None;
    }
    let mut major = 0;
    let mut minor = 0;
    // SAFETY: the library is there, and writes one number where each pointer points.
    let status = unsafe { cudarc::nvrtc::sys::nvrtcVersion(&raw mut major, &raw mut minor) };
    let known = status == cudarc::nvrtc::sys::nvrtcResult::NVRTC_SUCCESS;
    known.then(|| format!("{major}.{minor}"))
}

fn compiler() -> String {
    nvrtc_version().map_or_else(|| "NVRTC".to_owned(), |version| format!("CUDA {version}"))
}

/// Returns the folder that kernels are compiled against, if what they need is there. This looks in the
/// places the tensor library looks in, and in no others: a folder it will not use is of no help.
fn headers(folders: &DeviceFolders) -> Result<PathBuf, Lack> {
    let root = match &folders.toolkit {
        Some(path) => path.clone(),
        None if Path::new("/usr/local/cuda").exists() => "/usr/local/cuda".into(),
        None if Path::new("/opt/cuda").exists() => "/opt/cuda".into(),
        None if Path::new("/usr/bin/nvcc").exists() => "/usr".into(),
        None => return Err(Lack::HeaderFolder),
    };
    complete(root.join("include"))
}

/// Returns `include` if it has a file of every package that kernels need.
fn complete(include: PathBuf) -> Result<PathBuf, Lack> {
    // One of the two: CUDA 13 moved it.
    if !include.join("nv/target").exists() && include.join("cuda_runtime.h").exists() {
        let target = include.join("cccl/nv/target");
        if !target.exists() {
            return Err(Lack::Header(target));
        }
    }
    for file in ["cuda_runtime.h", "cuda_fp16.h", "cuda_bf16.h", "mma.h", "crt/mma.h"] {
        let path = include.join(file);
        if !path.exists() {
            return Err(Lack::Header(path));
        }
    }
    Ok(include)
}

fn describe(index: usize) -> Result<String, DriverError> {
    let context = context(index)?;
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
    fn headers_are_of_use_when_all_packages_are_there() {
        let folder = std::env::temp_dir().join(format!("coresift-headers-{}", std::process::id()));
        let files = ["cuda_runtime.h", "nv/target", "cuda_fp16.h", "cuda_bf16.h", "mma.h"];
        for file in files {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().expect("a file has a folder")).expect("writable");
            fs::write(path, "").expect("writable");
        }
        let lack = complete(folder.clone()).expect_err("one package is missing");
        assert_eq!(lack, Lack::Header(folder.join("crt/mma.h")));
        assert!(lack.help().contains("cuda-crt"));
        fs::create_dir_all(folder.join("crt")).expect("writable");
        fs::write(folder.join("crt/mma.h"), "").expect("writable");
        assert_eq!(complete(folder.clone()), Ok(folder.clone()));
        fs::remove_dir_all(folder).expect("it was made above");
    }
}
