//! `coresift supervise`: stands between a run and a program of a `command` stage, so that nothing
//! of the program outlives the run, however the run ends.
//!
//! Its stdin is a pipe that the run holds open, the life line: a byte asks the program to end
//! (SIGTERM to its process group), and the end of the pipe, which the kernel brings about when the
//! run's process is gone, kills the program and all it started. As a subreaper (prctl(2)) it
//! inherits the children of those that end, so that one that made a session of its own does not
//! get away either. It ends as the program does, with its code or by its signal.

use crate::{context::eprint_line, failure::Exit};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, wait, waitpid,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use std::{
    ffi::OsString,
    fs,
    io::Read as _,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Command, ExitCode, Stdio},
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::Duration,
};

/// The word by which the program is asked to be this.
pub(crate) const COMMAND: &str = "supervise";
/// How many times the children left of a program are killed, and the time between.
const ROUNDS: u32 = 200;
const APART: Duration = Duration::from_millis(5);

/// Runs `words`, a program and its arguments, to its end or that of the life line.
pub(crate) fn run(words: &[OsString]) -> ExitCode {
    let Some((program, arguments)) = words.split_first() else { return Exit::Mistake.into() };
    #[cfg(target_os = "linux")]
    // If prctl refuses, a child that leaves the process group is beyond reach.
    let _ = rustix::process::set_child_subreaper(Some(getpid()));
    // What is meant for the run is not for this: it ends when the run does. A handler, unlike
    // ignoring, is not inherited by the program.
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false))).ok();
    }
    let mut command = Command::new(program);
    let spawned = command.args(arguments).stdin(Stdio::null()).process_group(0).spawn();
    let child = match spawned {
        Ok(child) => child,
        Err(error) => {
            eprint_line(&format!("cannot start `{}`: {error}", program.display()));
            return Exit::NotStarted.into();
        }
    };
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
        return Exit::NotStarted.into();
    };
    thread::spawn(move || hold_life_line(pid));
    let status = loop {
        match waitpid(Some(pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => break status,
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            // The thread at the life line has reaped it: the run is gone, and nobody sees the code.
            // What the program has left must be killed before this process ends.
            Err(_) => {
                kill_children();
                return Exit::Failed.into();
            }
        }
    };
    let _ = kill_process_group(pid, Signal::KILL);
    kill_children();
    let status = std::process::ExitStatus::from_raw(status.as_raw());
    if let Some(signal) = status.signal().and_then(Signal::from_named_raw) {
        die_of(signal);
    }
    ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1))
}

/// Reads the life line: a byte asks the program to end, the end of the pipe kills it.
fn hold_life_line(program: Pid) {
    let mut line = std::io::stdin().lock();
    let mut byte = [0];
    loop {
        match line.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => {
                let _ = kill_process_group(program, Signal::TERM);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let _ = kill_process_group(program, Signal::KILL);
    kill_children();
}

/// Kills every child, and those it inherits from them, until there is none.
fn kill_children() {
    for _ in 0..ROUNDS {
        for child in children() {
            let _ = kill_process(child, Signal::KILL);
        }
        // A list of /proc may lack a child while others end. That none is left, wait(2) knows.
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        thread::sleep(APART);
    }
}

/// Returns the children of this process, of whatever thread (proc(5)).
fn children() -> Vec<Pid> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let texts = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let pids = |text: String| {
        let pids = text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
        pids.collect::<Vec<_>>()
    };
    texts.flat_map(pids).collect()
}

/// Ends this process by `signal`, so that who waits for it sees what became of the program.
fn die_of(signal: Signal) {
    // The program has left its core where it wanted to; this one has nothing to tell.
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    let _ = signal_hook::low_level::emulate_default_handler(signal.as_raw());
    let _ = kill_process(getpid(), signal);
}
