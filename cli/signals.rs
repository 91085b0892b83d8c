//! Signals: the first one asks a run to stop at its next step and keep a checkpoint, the second
//! ends the program at once.

use crate::{
    context::eprint_line,
    failure::{Exit, Failure},
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU, SIGXFSZ},
    iterator::Signals,
    low_level,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// The signals of schedulers and terminals that ask a program to stop: Ctrl-C, a closed terminal,
/// `kill`, the warnings of batch systems before a limit.
const STOPPING: [i32; 6] = [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU];

/// Watches for signals from now on, and returns the flag that the first one sets.
pub(crate) fn watch() -> Result<Arc<AtomicBool>, Failure> {
    let cancel = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&cancel);
    listen(move |_| {
        if flag.swap(true, Ordering::Relaxed) {
            // The supervisor of a stage's program sees this process go, and ends the program.
            low_level::exit(Exit::Interrupted.code().into());
        }
        eprint_line("stopping at the next step; once more to stop at once");
    })?;
    Ok(cancel)
}

/// Watches for signals as a job of a batch system, and returns two flags: the first is set by any,
/// the second by SIGUSR1, the warning that the job's time is up. After a warning the others change
/// nothing: the batch system sends several, and kills in the end.
pub(crate) fn watch_job() -> Result<(Arc<AtomicBool>, Arc<AtomicBool>), Failure> {
    let (cancel, warned) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let flags = (Arc::clone(&cancel), Arc::clone(&warned));
    listen(move |signal| {
        let first = !flags.0.load(Ordering::Relaxed);
        if first && signal == SIGUSR1 {
            flags.1.store(true, Ordering::Relaxed);
        }
        flags.0.store(true, Ordering::Relaxed);
        if !first && !flags.1.load(Ordering::Relaxed) {
            low_level::exit(Exit::Interrupted.code().into());
        }
        if first {
            eprint_line("stopping at the next step");
        }
    })?;
    Ok((cancel, warned))
}

/// Calls `heard` with every signal that asks to stop, in a thread of its own.
fn listen(mut heard: impl FnMut(i32) + Send + 'static) -> Result<(), Failure> {
    let refused =
        |error: std::io::Error| Failure::failed("cannot watch for signals").because(error);
    // A write past the limit on file sizes is then an error like any other, told with its path.
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map_err(refused)?;
    // Under `nohup` a closed terminal is to be no matter.
    let ignored = ignored_signals();
    let wanted = STOPPING.iter().filter(|signal| ignored >> (**signal - 1) & 1 == 0);
    let mut signals = Signals::new(wanted).map_err(refused)?;
    let watching = std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || signals.forever().for_each(&mut heard));
    watching.map_err(refused)?;
    Ok(())
}

/// Returns the signals that were ignored when the program began, as the bits of proc(5).
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
