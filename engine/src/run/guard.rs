//! Panics of stages: caught, reported with their location, and kept off the terminal.

use crate::StageError;
use std::{
    any::Any,
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    sync::{Mutex, OnceLock, PoisonError},
};

/// A panic that was caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Panicked {
    /// The panic's message, all lines of it.
    message: String,
    /// `FILE:LINE:COLUMN`, if the panic hook is installed.
    location: Option<String>,
}

impl From<Panicked> for StageError {
    fn from(Panicked { message, location }: Panicked) -> Self {
        let explained = EXPLAIN.get().and_then(|explain| explain(&message));
        explained.unwrap_or_else(|| {
            let message = message.lines().next().unwrap_or("no reason given").to_owned();
            Self::Panicked { message, location }
        })
    }
}

type Explain = dyn Fn(&str) -> Option<StageError> + Send + Sync;

/// What knows the panics that are no defect of the program.
static EXPLAIN: OnceLock<Box<Explain>> = OnceLock::new();

/// Sets what is asked, with the message of a stage's panic, whether that is no defect of the program but
/// an error that can be told: an accelerator that failed. Only the first call in a process counts.
pub fn explain_panics_of_stages(
    explain: impl Fn(&str) -> Option<StageError> + Send + Sync + 'static,
) {
    EXPLAIN.set(Box::new(explain)).ok();
}

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    static SEEN: RefCell<Option<Panicked>> = const { RefCell::new(None) };
}

/// The last panic in a rayon thread, whose payload rayon passes to the thread that waits for it.
static IN_POOL: Mutex<Option<Panicked>> = Mutex::new(None);

/// Sets the panic hook of the process: a panic inside a stage is kept for the stage's failure, and
/// printed only if `show` is set; any other goes to the previous hook.
pub fn keep_panics_of_stages(show: bool) {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let inside = INSIDE.get();
        if inside {
            SEEN.set(Some(describe(info)));
        } else if rayon::current_thread_index().is_some() {
            *IN_POOL.lock().unwrap_or_else(PoisonError::into_inner) = Some(describe(info));
        }
        if show || !(inside || rayon::current_thread_index().is_some()) {
            before(info);
        }
    }));
}

fn describe(info: &PanicHookInfo<'_>) -> Panicked {
    let location = info.location().map(ToString::to_string);
    Panicked { message: payload_text(info.payload()), location }
}

fn payload_text(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_default()
}

/// Runs `work`, and returns its panic as an error (catch_unwind).
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    let outer = INSIDE.replace(true);
    SEEN.set(None);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    INSIDE.set(outer);
    result.map_err(|payload| {
        let message = payload_text(&*payload);
        let in_pool = || {
            let mut last = IN_POOL.lock().unwrap_or_else(PoisonError::into_inner);
            last.take_if(|one| one.message == message)
        };
        let seen = SEEN.take().filter(|one| one.message == message).or_else(in_pool);
        seen.unwrap_or(Panicked { message, location: None })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MethodFailure;
    use thiserror::Error;

    #[derive(Debug, Error)]
    #[error("a device failed")]
    struct DeviceFailed;

    impl MethodFailure for DeviceFailed {}

    #[test]
    fn a_panic_that_is_explained_is_told_as_an_error() {
        let failed = |text: &str| text.contains("lost").then(|| DeviceFailed.into());
        explain_panics_of_stages(failed);
        let told = |text: &str| {
            let panicked = guarded(|| panic!("{}", text.to_owned())).expect_err("it panicked");
            StageError::from(panicked).to_string()
        };
        assert_eq!(told("no answer\nit is lost"), "a device failed");
        assert!(
            told("index out of bounds\nby one")
                .starts_with("the method broke off: index out of bounds")
        );
    }
}
