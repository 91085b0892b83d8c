//! What goes wrong on a device while it computes.
//!
//! The tensor library panics in a thread of the device's, and again in the thread that waits for a result,
//! where the cause is lost. The first panic is kept here, until a stage has to say why it failed.

use crate::NetworkError;
use engine::StageError;
use std::{
    any::Any,
    panic,
    sync::{Mutex, PoisonError},
    thread,
};

/// The first panic of a device's thread that tells a cause, else the first.
static SEEN: Mutex<Option<Fault>> = Mutex::new(None);

// How the tensor library introduces an error within an error.
const CAUSED: &str = "Caused by:";

/// What a device's thread said when it panicked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    /// What the driver calls the error, or `None` if no name was told.
    error: Option<String>,
    /// The line of the panic that names a lack of memory, else its last cause, else its first line.
    text: String,
}

impl Fault {
    fn of(panic: &str) -> Self {
        let memory = panic.lines().find(|line| names_memory(line));
        let inner = panic.rsplit_once(CAUSED).map_or(panic, |(_, inner)| inner.trim_start());
        let text = memory.or(inner.lines().next()).unwrap_or_default().trim().to_owned();
        Self { error: driver_error(panic), text }
    }

    fn unnamed() -> Self {
        let text = "its memory or a copy was refused, and no reason given".to_owned();
        Self { error: None, text }
    }

    fn is_out_of_memory(&self) -> bool {
        self.error.as_deref().is_some_and(names_memory) || names_memory(&self.text)
    }
}

/// Sets the panic hook of the process: panics of a device's threads are kept for the stage that they let
/// fail, and only the first is printed, if `show` is set. Any other goes to the previous hook.
pub fn keep_device_panics(show: bool) {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !is_device_thread(thread::current().name()) {
            before(info);
            return;
        }
        let is_first = keep(&payload_text(info.payload()));
        if is_first && show {
            before(info);
        }
    }));
}

/// Keeps `panic` if it tells more than what was kept, and returns whether it is the first.
fn keep(panic: &str) -> bool {
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let is_first = seen.is_none();
    let fault = Fault::of(panic);
    let knows_more = seen.as_ref().is_none_or(|kept| kept.error.is_none() && fault.error.is_some());
    if knows_more {
        *seen = Some(fault);
    }
    is_first
}

// `DSD-0-0` and `DSU-0-0`: the tensor library's device services, by kind of device and index.
fn is_device_thread(name: Option<&str>) -> bool {
    name.is_some_and(|name| name.starts_with("DSD-") || name.starts_with("DSU-"))
}

/// Returns the error of a stage that panicked with `payload`, if a device is the cause.
pub(crate) fn explain(payload: &(dyn Any + Send), device: &str, hint: &str) -> Option<StageError> {
    explain_text(&payload_text(payload), device, hint)
}

fn explain_text(panic: &str, device: &str, hint: &str) -> Option<StageError> {
    let fault = cause(panic)?;
    if fault.is_out_of_memory() {
        let (device, remedy) = (device.to_owned(), hint.to_owned());
        return Some(NetworkError::OutOfMemory { device, remedy }.into());
    }
    let (device, what) = (device.to_owned(), fault.error.unwrap_or(fault.text));
    Some(NetworkError::Device { device, what }.into())
}

/// Returns the error of a stage that panicked with the text `panic`, if a device is the cause. For stages
/// that do not ask `explain` themselves.
#[must_use]
pub fn explain_device_panic(panic: &str, device: &str) -> Option<StageError> {
    explain_text(
        panic,
        device,
        "take smaller batches, or `--jobs 1`, which runs one stage at a time",
    )
}

/// Returns what the device said, if a panic with the text `panic` came of it. A lack of memory is told
/// once: the next failure may be another.
fn cause(panic: &str) -> Option<Fault> {
    let own = Fault::of(panic);
    let waited = waits_for_device(panic);
    if !waited && own.error.is_none() && !own.is_out_of_memory() {
        return None;
    }
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = seen.take_if(|kept| kept.is_out_of_memory()).or_else(|| seen.clone());
    if own.error.is_some() || own.is_out_of_memory() {
        return Some(own);
    }
    // What goes wrong with pinned memory has no name, and lets the server fail that holds it.
    let unnamed = || panic.contains("server is in an invalid state").then(Fault::unnamed);
    kept.or_else(unnamed).or_else(|| panic.contains(CAUSED).then_some(own))
}

/// Returns whether a panic with this text is that of a thread that waited for a device in vain.
fn waits_for_device(panic: &str) -> bool {
    ["CallError", "RecvError", "Error while reading data", "ServerUnhealthy"]
        .iter()
        .any(|sign| panic.contains(sign))
}

/// Returns the driver's name of the error that `panic` tells, with the driver's words for it.
fn driver_error(panic: &str) -> Option<String> {
    let Some(start) = panic.find("CUDA_ERROR_") else { return numbered_error(panic) };
    let rest = &panic[start..];
    let is_name =
        |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
    let end = rest.find(|letter| !is_name(letter)).unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    // As the bindings print it: `DriverError(CUDA_ERROR_…, "words")`, at times quoted once more.
    let words = rest.strip_prefix(", ").map(|rest| rest.trim_start_matches(['\\', '"']));
    let words = words.and_then(|words| words.split(['\\', '"']).next());
    Some(
        words
            .filter(|words| !words.is_empty())
            .map_or_else(|| name.to_owned(), |words| format!("{name}, {words}")),
    )
}

/// Returns the driver's name of the error whose number `panic` tells, as in `cuStreamSynchronize failed with
/// status 700` and `status: 700`.
fn numbered_error(panic: &str) -> Option<String> {
    let at = panic.find("status").filter(|at| panic[..*at].contains("cu"))?;
    let number = panic[at..].trim_start_matches(|letter: char| !letter.is_ascii_digit());
    let end = number.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(number.len());
    let name = match number[..end].parse::<u32>().ok()? {
        2 => "OUT_OF_MEMORY, out of memory",
        214 => "ECC_UNCORRECTABLE, uncorrectable ECC error encountered",
        700 => "ILLEGAL_ADDRESS, an illegal memory access was encountered",
        701 => "LAUNCH_OUT_OF_RESOURCES, too many resources requested for launch",
        702 => "LAUNCH_TIMEOUT, the launch timed out and was terminated",
        710 => "ASSERT, device-side assert triggered",
        714 => "HARDWARE_STACK_ERROR, hardware stack error",
        715 => "ILLEGAL_INSTRUCTION, an illegal instruction was encountered",
        716 => "MISALIGNED_ADDRESS, misaligned address",
        717 => "INVALID_ADDRESS_SPACE, operation not supported on this address space",
        718 => "INVALID_PC, invalid program counter",
        719 => "LAUNCH_FAILED, unspecified launch failure",
        number => return Some(format!("CUDA error {number}")),
    };
    Some(format!("CUDA_ERROR_{name}"))
}

/// Returns whether the driver refuses every call after this error (a sticky error).
pub(crate) fn is_lasting(error: &str) -> bool {
    [
        "CUDA_ERROR_ILLEGAL_ADDRESS",
        "CUDA_ERROR_LAUNCH_TIMEOUT",
        "CUDA_ERROR_LAUNCH_FAILED",
        "CUDA_ERROR_ILLEGAL_INSTRUCTION",
        "CUDA_ERROR_MISALIGNED_ADDRESS",
        "CUDA_ERROR_INVALID_ADDRESS_SPACE",
        "CUDA_ERROR_INVALID_PC",
        "CUDA_ERROR_HARDWARE_STACK_ERROR",
        "CUDA_ERROR_ECC_UNCORRECTABLE",
        "CUDA_ERROR_ASSERT",
        "CUDA_ERROR_UNKNOWN",
    ]
    .iter()
    .any(|name| error.starts_with(name))
}

fn names_memory(text: &str) -> bool {
    let text = text.to_lowercase();
    [
        "out of memory",
        "out of device memory",
        "out_of_memory",
        "outofmemory",
        "buffertoobig",
        "can't allocate buffer",
    ]
    .iter()
    .any(|sign| text.contains(sign))
}

fn payload_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ILLEGAL: &str = r#"called `Result::unwrap()` on an `Err` value: DriverError(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered")"#;

    // One test, since what was seen is one for the process.
    #[test]
    fn the_cause_is_told_by_who_waited_in_vain() {
        let told = |panic: &str| {
            explain_text(panic, "cuda:0", "smaller batches").map(|error| error.to_string())
        };
        let waited = "called `Result::unwrap()` on an `Err` value: CallError";
        assert_eq!(told("index out of bounds"), None);
        let refused =
            "Error while reading data: …\nCaused by:\n  The server is in an invalid state";
        let unnamed = "`cuda:0` failed: its memory or a copy was refused, and no reason given";
        assert_eq!(told(refused).as_deref(), Some(unnamed));
        let pinned = "Error while reading data: An error happened\nCaused by:\n  An IO error\nCaused by:\n  \
                      Unable to reserve pinned memory\nNo backtrace available";
        let told_of = Some("`cuda:0` failed: Unable to reserve pinned memory");
        assert_eq!(told(pinned).as_deref(), told_of);
        assert!(keep("can't allocate buffer of size: 20756480"));
        assert!(!keep("no reason given"));
        assert_eq!(told(waited), Some("`cuda:0` ran out of memory".to_owned()));
        assert!(keep("the service is gone"), "a lack of memory is told once");
        assert!(!keep(ILLEGAL));
        let illegal =
            "`cuda:0` failed: CUDA_ERROR_ILLEGAL_ADDRESS, an illegal memory access was encountered";
        for panic in [waited, ILLEGAL, "Error while reading data: use `try_into_data`"] {
            assert_eq!(told(panic).as_deref(), Some(illegal));
        }
        assert_eq!(told("index out of bounds"), None);
        let by_number = "Read(\"The device is poisoned\nCaused by:\n  cuStreamSynchronize failed with status 700\"";
        assert_eq!(told(by_number).as_deref(), Some(illegal));
        let nested = "Error while reading data: An error happened\nCaused by:\n  out of device memory allocating 8 bytes";
        assert_eq!(told(nested).as_deref(), Some("`cuda:0` ran out of memory"));
        let refused = "DriverError { op: \"cuStreamCreate\", status: 2, poisoned: false }";
        assert_eq!(told(refused).as_deref(), Some("`cuda:0` ran out of memory"));
        let memory = told("DriverError(CUDA_ERROR_OUT_OF_MEMORY)");
        assert_eq!(memory.as_deref(), Some("`cuda:0` ran out of memory"));
    }

    #[test]
    fn device_threads_are_known_by_their_names() {
        assert!(is_device_thread(Some("DSD-0-0")));
        assert!(!is_device_thread(Some("main")));
        assert!(!is_device_thread(None));
    }
}
