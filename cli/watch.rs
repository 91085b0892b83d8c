//! `coresift watch`, and the live view of `coresift run --watch`: the DAG, what runs, its curves.

mod draw;
mod look;
mod model;
mod screen;

use crate::{
    context::{Context, Failure, eprint_line},
    follow::{self, Follow},
    progress::ProgressDisplay,
    runs,
};
use cache::Store;
use engine::{Event, Journal, LogLine, PipelineFile, Plan, RunOptions, RunRecord, Sink};
use model::RunModel;
use screen::{Key, Screen};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::{
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender, TryRecvError},
    },
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

/// The interval at which the screen is drawn.
const FRAME: Duration = Duration::from_millis(100);
/// The longest wait for a key.
const KEYS: Duration = Duration::from_millis(20);

#[derive(clap::Args)]
pub(crate) struct WatchArgs {
    /// A run, by its name or the beginning of it, or a pipeline file, for its newest run.
    #[arg(default_value = "last", value_name = "RUN|PIPELINE")]
    run: String,
    /// Replay it this many times as fast as it happened [default: show where it is now]
    #[arg(long, value_name = "TIMES", value_parser = follow::speed)]
    speed: Option<f64>,
}

pub(crate) fn run(args: &WatchArgs, context: &Context) -> Result<ExitCode, Failure> {
    let store = context.local_store()?;
    let run = find(&store, &args.run)?;
    if !Screen::is_possible() || context.global.json {
        return follow::print_all(&store, &run, args.speed, context);
    }
    let mut log = Follow::open(&store, &run, args.speed)?;
    let leave = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&leave))
            .map_err(|error| Failure::failed("cannot watch for signals").because(error))?;
    }
    let take = move || log.take();
    // In a thread of its own, so that the terminal is whole again before a panic is told.
    let shown = thread::scope(|scope| scope.spawn(|| view(take, &leave, true)).join());
    match shown {
        Ok(Ok(_)) => Ok(ExitCode::SUCCESS),
        Ok(Err(error)) => Err(Failure::failed("cannot draw on the terminal").because(error)),
        Err(_) => Err(Failure::failed("the live view broke off")
            .hint("RUST_BACKTRACE=1 says where; `coresift show RUN --follow` has plain lines")),
    }
}

/// Tells whether there is a terminal for the live view.
pub(crate) fn is_possible() -> bool {
    Screen::is_possible()
}

fn find(store: &Store, name: &str) -> Result<RunRecord, Failure> {
    let path = Path::new(name);
    let file = path.extension().is_some_and(|end| end == "toml");
    if !file {
        return runs::find(store, name);
    }
    let run = RunRecord::newest(store, Some(&PipelineFile::at_path(path)), 0)?;
    run.ok_or_else(|| {
        Failure::mistake(format!("the store remembers no run of `{name}`"))
            .hint("`coresift runs` lists those it has")
    })
}

/// Why the view was left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Somebody pressed q.
    Asked,
    /// Somebody pressed Ctrl-C, or a signal came.
    Interrupted,
    /// There is no more to see.
    Ended,
}

/// Draws what `take` brings until it is left, and gives the terminal back as it was.
fn view(
    mut take: impl FnMut() -> (Vec<LogLine>, bool),
    leave: &AtomicBool,
    stay: bool,
) -> std::io::Result<Left> {
    let mut screen = Screen::open()?;
    let mut model = RunModel::default();
    let mut look = look::Viewer::new();
    let mut drawn: Option<Instant> = None;
    loop {
        let (entries, more) = take();
        entries.iter().for_each(|entry| model.hear(entry));
        look.live = more;
        if !more && !stay {
            return Ok(Left::Ended);
        }
        while let Some(key) = screen.key() {
            match key {
                Key::Char('q') | Key::Esc => return Ok(Left::Asked),
                Key::Ctrl('c') => return Ok(Left::Interrupted),
                key => look.press(key, &model),
            }
        }
        if leave.load(Ordering::Relaxed) {
            return Ok(Left::Interrupted);
        }
        if drawn.is_none_or(|drawn| drawn.elapsed() >= FRAME) {
            drawn = Some(Instant::now());
            screen.draw(|frame| draw::draw(frame, &model, &mut look))?;
        }
        thread::sleep(KEYS);
    }
}

/// The live view beside a run of this process. Once it is left, plain lines go on.
pub(crate) struct Watched<'a> {
    progress: ProgressDisplay<'a>,
    journal: Journal<'a>,
    entries: Option<Sender<LogLine>>,
}

impl<'a> Watched<'a> {
    /// Starts the view in a thread of `scope`.
    pub(crate) fn start<'scope>(
        scope: &'scope thread::Scope<'scope, '_>,
        plan: &'a Plan,
        context: &Context,
        options: &RunOptions,
    ) -> (Self, ScopedJoinHandle<'scope, ()>) {
        let (entries, inbox) = mpsc::channel();
        let cancel = Arc::clone(&options.cancel);
        let view = scope.spawn(move || show_channel(&inbox, &cancel));
        let progress = ProgressDisplay::muted(plan, context, options);
        let journal = Journal::new(plan, &options.id);
        (Self { progress, journal, entries: Some(entries) }, view)
    }

    /// Ends the view and says what became of the run.
    pub(crate) fn end(mut self, view: ScopedJoinHandle<'_, ()>) {
        self.entries = None;
        // The last words come after the terminal is given back.
        let broke = view.join().is_err();
        self.progress.unmute();
        if broke {
            eprint_line("note: the live view broke off; the run did not");
        }
        self.progress.end();
    }
}

impl Sink for Watched<'_> {
    fn emit(&mut self, event: &Event) {
        if let Some(entries) = &self.entries {
            let sent = self.journal.entry(event).is_none_or(|entry| entries.send(entry).is_ok());
            if !sent {
                self.entries = None;
                self.progress.unmute();
            }
        }
        self.progress.emit(event);
    }
}

fn show_channel(inbox: &Receiver<LogLine>, cancel: &AtomicBool) {
    let take = || {
        let mut entries = vec![];
        loop {
            match inbox.try_recv() {
                Ok(entry) => entries.push(entry),
                Err(TryRecvError::Empty) => return (entries, true),
                Err(TryRecvError::Disconnected) => return (entries, false),
            }
        }
    };
    match view(take, cancel, false) {
        Ok(Left::Interrupted) => {
            cancel.store(true, Ordering::Relaxed);
            eprint_line("stopping at the next step; once more to stop at once");
        }
        Ok(Left::Asked) => eprint_line("the run goes on; `coresift watch` shows it again"),
        Ok(Left::Ended) => {}
        Err(error) => eprint_line(&format!("note: cannot draw on the terminal: {error}")),
    }
}
