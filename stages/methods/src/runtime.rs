//! What the program gives the stages to compute with.

use crate::linalg::{Accelerator, Compute, DEFAULT_MEMORY};
use engine::StageCtx;
use std::{ffi::OsString, sync::Arc};

/// What the program gives the stages of a run: see [`StageCtx::resources`].
#[derive(Clone)]
pub struct Runtime {
    /// The accelerator, if the run has one.
    pub accelerator: Option<Arc<dyn Accelerator>>,
    /// How many bytes a matrix of all pairs may take.
    pub memory: usize,
    /// The command that runs programs of `command` stages: it is given the program and its arguments,
    /// holds its stdin for a life line, and lets nothing of the program live on once that ends. Without
    /// one, a program that is killed with its run's process may leave children behind.
    pub supervisor: Option<[OsString; 2]>,
}

/// The host alone, without a supervisor.
impl Default for Runtime {
    fn default() -> Self {
        Self { accelerator: None, memory: DEFAULT_MEMORY, supervisor: None }
    }
}

impl Runtime {
    /// Returns what `ctx` was given, or the default.
    pub(crate) fn of(ctx: &StageCtx<'_>) -> Self {
        ctx.resources::<Self>().cloned().unwrap_or_default()
    }

    /// Returns where a method computes: on the accelerator if it can and there is one.
    pub(crate) fn compute(&self, on_accelerator: bool) -> Compute {
        let accelerator = self.accelerator.clone().filter(|_| on_accelerator);
        Compute::new(accelerator, self.memory)
    }
}
