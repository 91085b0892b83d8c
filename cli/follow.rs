//! The log of a run, read as it grows or replayed, and what each of its events is in words.

use crate::{
    context::{Context, Failure, duration_of, print, print_line},
    output,
};
use cache::Store;
use engine::{Event, LogLine, LogTail, NodeId, RunFailure, RunRecord};
use std::{
    collections::{BTreeMap, VecDeque},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

/// The interval at which a log is read for new entries.
const PAUSE: Duration = Duration::from_millis(100);
/// Plain lines say how far a long stage is this often, in seconds of the run.
const EVERY: f64 = 15.0;

/// The indent of an event's further lines, below its time.
const INDENT: &str = "\n            ";

/// The entries of a run's log, in time.
pub(crate) struct Follow {
    tail: LogTail,
    ahead: VecDeque<LogLine>,
    /// The speed of the replay, 1 being that of the run; all at once if `None`.
    speed: Option<f64>,
    began: Instant,
    finished: bool,
}

impl Follow {
    /// Opens the log of `run`.
    pub(crate) fn open(
        store: &Store,
        run: &RunRecord,
        speed: Option<f64>,
    ) -> Result<Self, Failure> {
        let Some(tail) = LogTail::open(store, &run.id)? else {
            let what = format!("the store has no log of run {}", run.id);
            return Err(Failure::mistake(what).hint(format!(
                "`coresift cache gc` takes the logs of old runs away; `coresift show {}` still has \
                 its stages",
                run.id
            )));
        };
        let ahead = VecDeque::new();
        let began = Instant::now();
        Ok(Self { tail, ahead, speed, began, finished: false })
    }

    /// Returns what is due now, and whether there will be more.
    pub(crate) fn take(&mut self) -> (Vec<LogLine>, bool) {
        // Asked first: what is written between the two is read.
        let growing = self.tail.is_growing();
        // One that was submitted again has an end before the end.
        let awaited = self.tail.awaits_jobs();
        self.ahead.extend(self.tail.read_new());
        let clock = self.began.elapsed().as_secs_f64();
        let due = |entry: &LogLine| self.speed.is_none_or(|speed| entry.t <= clock * speed);
        let count = self.ahead.iter().take_while(|entry| due(entry)).count();
        let now: Vec<LogLine> = self.ahead.drain(..count).collect();
        self.finished |= now.iter().any(|one| matches!(one.event, Event::RunFinished { .. }));
        let more = (!self.finished || awaited) && (growing || !self.ahead.is_empty());
        (now, more)
    }
}

/// Prints the log of `run` until it ends.
pub(crate) fn print_all(
    store: &Store,
    run: &RunRecord,
    speed: Option<f64>,
    context: &Context,
) -> Result<ExitCode, Failure> {
    let mut follow = Follow::open(store, run, speed)?;
    let mut plain = LineWriter::default();
    loop {
        let (entries, more) = follow.take();
        for entry in &entries {
            if context.global.json {
                print_line(&entry.to_json());
            } else if let Some(line) = plain.line(entry) {
                let lines = line.replace('\n', INDENT);
                print(&format!("{:>10}  {lines}\n", duration_of(entry.t)));
            }
        }
        if output::is_lost() {
            // Nobody reads on.
            return Ok(ExitCode::SUCCESS);
        }
        if !more {
            break;
        }
        thread::sleep(PAUSE);
    }
    if !follow.finished {
        context.note("the log ends here: the run was killed");
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads how many times as fast as it happened a run is replayed.
pub(crate) fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed.is_finite() && speed > 0.0 => Ok(speed),
        _ => Err("a number above 0, such as 1 for as fast as it happened".to_owned()),
    }
}

/// Says every event in words, and progress now and then.
#[derive(Default)]
struct LineWriter {
    told: BTreeMap<NodeId, f64>,
}

impl LineWriter {
    fn line(&mut self, entry: &LogLine) -> Option<String> {
        match &entry.event {
            Event::Started { node, .. } => {
                self.told.insert(*node, entry.t);
            }
            Event::Progressed { node, progress } => {
                let told = self.told.entry(*node).or_insert(entry.t);
                if entry.t - *told < EVERY {
                    return None;
                }
                *told = entry.t;
                let name = entry.name.as_deref().unwrap_or_default();
                let done = progress.done;
                let total = progress.total;
                let unit = &progress.unit;
                let figure =
                    progress.figure.as_ref().map(|(what, value)| format!(" {what} {value:.4}"));
                let figure = figure.unwrap_or_default();
                return Some(format!("...    {name}: {unit} {done}/{total}{figure}"));
            }
            _ => {}
        }
        line(entry)
    }
}

/// Says that `name` failed and why; what can be done stands on a line of its own.
pub(crate) fn failed(name: &str, why: &RunFailure) -> String {
    let mut text = format!("failed {name}: {}", why.message());
    if let Some(hint) = &why.hint {
        text.push_str(&format!("\n  help: {hint}"));
    }
    text
}

/// Returns an event in words, or `None` for progress, which comes too often.
pub(crate) fn line(entry: &LogLine) -> Option<String> {
    let name = entry.name.as_deref().unwrap_or_default();
    Some(match &entry.event {
        Event::RunStarted { nodes, cells, pipeline, device, .. } => {
            format!("run    {pipeline}: {} on {device}", work(*nodes, *cells))
        }
        Event::Hit { .. } => format!("hit    {name}"),
        Event::Damaged { what, .. } => format!("repair {name}: {what}; it is made again"),
        Event::Waiting { holder, .. } => format!("waits  {name}: {holder} is computing it"),
        Event::Changed { what, .. } => format!("anew   {name}: {what}; its recipe is made anew"),
        Event::Vanished { .. } => format!("again  {name}: its worker vanished; it is tried again"),
        Event::NotBegun { nodes, because } => not_begun(*nodes, because),
        Event::Started { .. } => format!("start  {name}"),
        Event::Said { line, .. } => format!("       {name}: {line}"),
        Event::Finished { seconds, .. } => format!("done   {name} in {}", duration_of(*seconds)),
        Event::Differs { recorded, made, .. } => format!(
            "note   {name}: gave {}, but {} is recorded for the same recipe; the recorded one is \
             used",
            made.short(),
            recorded.short()
        ),
        Event::Failed { causes, hint, .. } => {
            failed(name, &RunFailure { causes: causes.clone(), hint: hint.clone() })
        }
        Event::Stopped { .. } => format!("stop   {name}"),
        Event::Skipped { .. } => format!("skip   {name}: one it needs failed"),
        Event::Remote { what } => what.clone(),
        Event::StorageFull { met } => full(*met),
        Event::RunFinished { summary } => {
            format!(
                "end    {} hits, {} computed, {} failed, {} skipped, {} not done",
                summary.hits, summary.computed, summary.failed, summary.skipped, summary.stopped
            )
        }
        _ => return None,
    })
}

/// Says how much a plan is to do.
pub(crate) fn work(nodes: usize, cells: usize) -> String {
    let stages = if nodes == 1 { "1 stage".to_owned() } else { format!("{nodes} stages") };
    match cells {
        0 | 1 => stages,
        _ => format!("{stages} shared by {cells} cells"),
    }
}

/// Says how many stages were never begun, and why.
pub(crate) fn not_begun(nodes: usize, because: &str) -> String {
    let stages = if nodes == 1 { "1 stage".to_owned() } else { format!("{nodes} stages") };
    format!("left   {stages} not begun: {because}")
}

/// Says how many stages met a full disk.
pub(crate) fn full(met: usize) -> String {
    match met {
        1 => "full   1 stage met the full disk; no other was started after it".to_owned(),
        _ => format!("full   {met} stages met the full disk; no other was started after the first"),
    }
}
