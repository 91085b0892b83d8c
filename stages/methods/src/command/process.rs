//! The process of a `command` stage's program: run to its end with its output logged, or stopped at its
//! time-out or with the run.

use super::ProgramEnd;
use crate::{MethodError, Runtime};
use cache::WorkFolder;
use engine::{StageCtx, StageError, StageProgress};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::{
    collections::VecDeque,
    ffi::OsString,
    io::{BufRead as _, BufReader, Read, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    thread,
    time::{Duration, Instant},
};

/// How often it is looked at.
const TICK: Duration = Duration::from_millis(25);
/// How often, once it prints nothing more: most end then.
const SOON: Duration = Duration::from_millis(5);
/// How long a program that is asked to stop may take before it is killed.
const GRACE: Duration = Duration::from_secs(1);
/// How often its directory is marked as in use.
const MARK: Duration = Duration::from_secs(60);
/// A longer line is cut in pieces.
const LONGEST: u64 = 4096;
/// How many lines are logged, and how many of the last tell of a failure.
const LOGGED: usize = 2000;
const LAST: usize = 24;
/// How many lines may wait to be heard.
const AHEAD: usize = 1000;

/// Returns the command that starts `program`, under `supervisor` if there is one.
pub(super) fn command(program: &Path, supervisor: Option<&[OsString; 2]>) -> Command {
    match supervisor {
        Some([supervisor, word]) => {
            let mut command = Command::new(supervisor);
            command.arg(word).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// A line the program printed, and whether on stderr.
type ProgramLine = (bool, String);

/// Runs `command`, made by [`command`], in a process group of its own and logs what it prints.
///
/// # Errors
///
/// Fails if it cannot start, ends with another code than 0 (with its last lines as the message),
/// takes longer than `time_out`, or the run is stopped. No process of its group is left then.
pub(super) fn run(
    ctx: &StageCtx<'_>,
    command: &mut Command,
    time_out: Option<Duration>,
    folder: &WorkFolder,
) -> Result<(), StageError> {
    let clock = Instant::now();
    let program = command.get_program().to_owned();
    let supervised = Runtime::of(ctx).supervisor.is_some();
    let stdin = if supervised { Stdio::piped() } else { Stdio::null() };
    let piped = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped
        .process_group(0)
        .spawn()
        .map_err(|error| MethodError::Start { program: program.into(), reason: error })?;
    let mut life_line = child.stdin.take();
    let (tx, lines) = mpsc::sync_channel(AHEAD);
    for (is_error, stream) in [(false, stdout(&mut child)), (true, stderr(&mut child))] {
        let tx = tx.clone();
        thread::spawn(move || forward(stream, is_error, &tx));
    }
    drop(tx);
    let mut heard = Heard { ctx, last: VecDeque::new(), logged: 0, traceback: false };
    let mut touched = clock;
    let stop = loop {
        heard.listen(&lines, TICK);
        if ctx.check_cancelled().is_err() {
            break Some(StageError::Cancelled);
        }
        if has_ended(&child) {
            break None;
        }
        if touched.elapsed() >= MARK {
            folder.touch();
            touched = Instant::now();
        }
        if let Some(limit) = time_out.filter(|limit| clock.elapsed() >= *limit) {
            break Some(MethodError::TimeOut { limit }.into());
        }
    };
    if stop.is_some() {
        ask_to_end(&child, life_line.as_mut());
        let asked = Instant::now();
        while !has_ended(&child) && asked.elapsed() < GRACE {
            heard.listen(&lines, TICK);
        }
    }
    // Also after an end in good order: what it started and left behind is no part of the stage.
    drop(life_line);
    let cut = Instant::now();
    while supervised && !has_ended(&child) && cut.elapsed() < GRACE {
        heard.listen(&lines, TICK);
    }
    // Until it is waited for, its number cannot be given to another.
    signal(&child, Signal::KILL);
    let status = child.wait();
    let over = Instant::now();
    while heard.listen(&lines, TICK) && over.elapsed() < GRACE {}
    let status = status.map_err(MethodError::Wait)?;
    match stop {
        Some(error) => Err(error),
        None if status.success() => {
            heard.end();
            Ok(())
        }
        None => Err(MethodError::from(heard.failure(status)).into()),
    }
}

fn stdout(child: &mut Child) -> Box<dyn Read + Send> {
    Box::new(child.stdout.take().expect("it is piped"))
}

fn stderr(child: &mut Child) -> Box<dyn Read + Send> {
    Box::new(child.stderr.take().expect("it is piped"))
}

/// Sends the lines of `stream` until it ends or nobody listens.
fn forward(stream: Box<dyn Read + Send>, is_error: bool, tx: &SyncSender<ProgramLine>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut bytes = vec![];
        match reader.by_ref().take(LONGEST).read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&bytes);
        // Of a line that was drawn over and over, the last state counts.
        let text = text.trim_end().rsplit('\r').next().unwrap_or_default();
        if tx.send((is_error, plain(text))).is_err() {
            return;
        }
    }
}

/// Returns `text` without what would make a terminal do something: colours, titles, bells.
fn plain(text: &str) -> String {
    let (mut out, mut letters) = (String::with_capacity(text.len()), text.chars());
    while let Some(letter) = letters.next() {
        match letter {
            // ECMA-48, 5.4 and 5.6: a sequence ends in a letter, a string in a bell or in ESC \.
            '\x1b' => match letters.next() {
                Some('[') => {
                    letters.find(|one| matches!(one, '@'..='~'));
                }
                Some(']' | 'P' | 'X' | '^' | '_') => {
                    let end = letters.find(|one| matches!(one, '\x07' | '\x1b'));
                    if end == Some('\x1b') {
                        letters.next();
                    }
                }
                Some(' '..='/') => {
                    letters.next();
                }
                _ => {}
            },
            '\t' => out.push(letter),
            _ if letter.is_control() => {}
            _ => out.push(letter),
        }
    }
    out
}

fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()).ok()?)
}

/// Tells whether it has ended, and leaves its status to be waited for.
fn has_ended(child: &Child) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    pid(child).is_some_and(|pid| !matches!(waitid(WaitId::Pid(pid), options), Ok(None)))
}

/// Asks the program to end by itself.
fn ask_to_end(child: &Child, life_line: Option<&mut ChildStdin>) {
    match life_line {
        // A supervisor that is gone has taken the program with it.
        Some(line) => line.write_all(b"t").unwrap_or_default(),
        None => signal(child, Signal::TERM),
    }
}

/// Sends `signal` to the group of `child`; one without processes is no matter.
fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = pid(child) {
        let _ = kill_process_group(pid, signal);
    }
}

/// What was heard of a program.
struct Heard<'a, 'b> {
    ctx: &'a StageCtx<'b>,
    last: VecDeque<ProgramLine>,
    logged: usize,
    /// Since a traceback began, stderr is held back: it will be the message.
    traceback: bool,
}

impl Heard<'_, '_> {
    /// Takes what comes within `patience`; tells whether more may come.
    fn listen(&mut self, lines: &Receiver<ProgramLine>, patience: Duration) -> bool {
        match lines.recv_timeout(patience) {
            Ok(line) => self.hear(line),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => {
                // Nothing more is printed, but it may go on for long.
                thread::sleep(patience.min(SOON));
                return false;
            }
        }
        // No more than were waiting: one that never stops printing must be looked at, too.
        lines.try_iter().take(AHEAD).for_each(|line| self.hear(line));
        true
    }

    fn hear(&mut self, (is_error, text): ProgramLine) {
        if let Some(progress) = progress(&text) {
            return self.ctx.progress(progress);
        }
        self.traceback |= is_error && text.starts_with("Traceback (most recent call last)");
        if !(is_error && self.traceback) {
            self.log(&text);
        }
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back((is_error, text));
    }

    fn log(&mut self, text: &str) {
        match self.logged {
            LOGGED => self.ctx.log(format!("what it printed after {LOGGED} lines is not kept")),
            0..LOGGED => self.ctx.log(text),
            _ => {}
        }
        self.logged += 1;
    }

    /// Logs what was held back.
    fn end(&mut self) {
        if self.traceback {
            let held = std::mem::take(&mut self.last).into_iter().filter(|(error, _)| *error);
            held.for_each(|(_, text)| self.log(&text));
        }
    }

    /// Returns the end of a program that failed: how it came, and the last lines of stderr, or of
    /// stdout if there are none.
    fn failure(self, status: ExitStatus) -> ProgramEnd {
        let errors = self.last.iter().any(|(error, text)| *error && !text.is_empty());
        let told = self.last.into_iter().filter(|(error, _)| *error == errors);
        ProgramEnd { status, last_lines: told.map(|(_, text)| text).collect() }
    }
}

/// Reads a line such as `progress 3/10` or `progress 3/10 loss=0.25`.
fn progress(line: &str) -> Option<StageProgress> {
    let mut words = line.strip_prefix("progress ")?.split_whitespace();
    let (done, total) = words.next()?.split_once('/')?;
    let (done, total) = (done.parse().ok()?, total.parse().ok()?);
    let figure = match words.next() {
        Some(word) => Some(("loss", word.strip_prefix("loss=")?.parse().ok()?)),
        None => None,
    };
    words.next().is_none().then_some(StageProgress {
        figure: figure.map(|(name, value)| (name.into(), value)),
        ..StageProgress::new(done, total, "step")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_does_nothing_to_a_terminal() {
        assert_eq!(plain("\x1b[1;31mred\x1b[0m, größe ✓\t\x1b[2Jthere"), "red, größe ✓\tthere");
        assert_eq!(plain("\x1b]0;a title\x07one\x1b]8;;x\x1b\\two\x1b(B\x07\u{9b}\x7f"), "onetwo");
        assert_eq!(plain("cut short \x1b[3"), "cut short ");
        assert_eq!(plain("\x1b"), "");
    }

    #[test]
    fn only_a_whole_progress_line_is_one() {
        let step = |done, total, figure: Option<(&'static str, f64)>| {
            Some(StageProgress {
                figure: figure.map(|(name, value)| (name.into(), value)),
                ..StageProgress::new(done, total, "step")
            })
        };
        assert_eq!(progress("progress 3/10"), step(3, 10, None));
        assert_eq!(progress("progress 3/10 loss=0.25"), step(3, 10, Some(("loss", 0.25))));
        for other in [
            "progress",
            "progress 3",
            "progress 3/x",
            "progress 3/10 acc=1",
            "progress 1/2 loss=1 x",
        ] {
            assert_eq!(progress(other), None, "{other}");
        }
    }
}
