//! Takes the place of cubecl's LLVM compiler of GPU kernels, so that nothing downloads LLVM.
//!
//! cubecl-cuda has two ways to make a kernel: CUDA C++ through NVIDIA's run-time compiler, NVRTC, which its
//! feature `cpp` picks and this program uses, and LLVM. It always links both, and the crate of the latter fetches
//! a whole LLVM from the network while it is built. Here are the names that cubecl-cuda takes from that crate,
//! and no compiler: its artifact is a type without values, so whoever took that way would not get a kernel.

use cubecl_core::{ir::nvidia::SmArch, prelude::KernelDefinition};
use cubecl_runtime::{compiler::CompilationError, kernel::BufferIOAttr};
use std::{convert::Infallible, ffi::c_char};

/// PTX, NVIDIA's assembly, as LLVM would write it.
pub mod nvptx {
    /// The version of the PTX language.
    pub mod ptx_version {
        use std::{convert::Infallible, fmt};

        /// A version that LLVM would write: there is none.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct PtxVersion(Infallible);

        impl PtxVersion {
            /// Returns none for every driver.
            #[must_use]
            pub fn for_driver(_: i32) -> Option<Self> {
                None
            }
        }

        impl fmt::Display for PtxVersion {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {}
            }
        }
    }
}

/// What the compilers for the targets share.
pub mod shared {
    /// What a device may be asked for.
    pub mod lowered_features {
        use cubecl_core::ir::DeviceProperties;

        /// A kind of GPU.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum GpuTarget {
            /// NVIDIA's.
            Nvptx,
        }

        /// Leaves `properties` as they are: nothing is compiled here.
        pub fn restrict_features(_: &mut DeviceProperties, _: GpuTarget) {}
    }
}

/// What kernels are made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LlvmTarget {
    /// NVIDIA's GPUs.
    #[default]
    Nvptx,
}

/// A compiler that compiles nothing.
#[derive(Clone, Debug, Default)]
pub struct PlironCompiler {
    /// What it would compile for.
    pub target: LlvmTarget,
}

/// The settings of a compilation.
#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    /// AMD's architecture.
    pub arch: Option<Infallible>,
    /// NVIDIA's architecture.
    pub sm_arch: Option<SmArch>,
    /// The version of PTX.
    pub ptx_version: Option<nvptx::ptx_version::PtxVersion>,
    /// Whether scalars are kernel parameters.
    pub grid_constants: bool,
}

/// A compiled kernel: there is none.
#[derive(Clone, Debug)]
pub struct NvptxModule {
    /// The assembly.
    pub ptx: Vec<c_char>,
    /// The kernel's name in it.
    pub entrypoint: String,
    /// What it was made from.
    pub ir: String,
    /// Bytes of shared memory.
    pub shared_memory_size: usize,
    /// Which buffers are read and written.
    pub io: Vec<BufferIOAttr>,
    /// What keeps one from being made.
    pub never: Infallible,
}

/// What a compilation would return.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PlironArtifact {
    /// A kernel for NVIDIA's GPUs.
    NvptxCode(NvptxModule),
}

impl PlironCompiler {
    /// Refuses.
    ///
    /// # Errors
    ///
    /// Always fails: kernels are compiled by NVRTC.
    pub fn compile(
        &mut self,
        _: KernelDefinition,
        _: &PlironOptions,
    ) -> Result<PlironArtifact, CompilationError> {
        let reason = "this build compiles kernels with NVRTC, and has no LLVM".to_owned();
        Err(CompilationError::Generic { reason, backtrace: Default::default() })
    }

    /// Returns the name of the language that it would compile.
    #[must_use]
    pub fn lang_tag(&self) -> &'static str {
        "none"
    }
}
