//! The log of a run: its events as lines of JSON, as the log file keeps and `--json` prints them,
//! and as they are replayed.

use super::runs::RunRecord;
use crate::{Event, NodeId, Plan, Sink, event::StageCount};
use cache::{Key, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{File, TryLockError},
    io::{ErrorKind, Read as _, Write as _},
    time::{Duration, Instant},
};

/// The least time between two progress lines of a stage.
const MIN_INTERVAL: Duration = Duration::from_millis(250);
/// The stage's time so far is divided by this for the least time between progress lines: the log of
/// a long training is hardly longer than that of a short one.
const MAX_SHARE: u32 = 300;
/// The bytes of buffered lines from which on they are written to the file.
const BUFFER_BYTES: usize = 1 << 16;

/// A line of a run's log: an event, its time and its stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// The name of the run.
    pub run: String,
    /// Seconds since the run began.
    pub t: f64,
    /// The stage's name in the pipeline, for an event of a stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// The stage's name and its coordinates in the matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

impl LogLine {
    /// Returns the line as JSON, without a line feed.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("an event has no map with odd keys")
    }
}

/// Turns events into log lines, and leaves out progress that comes too often.
pub struct Journal<'a> {
    plan: &'a Plan,
    run: String,
    began: Instant,
    /// When each running stage began, and when the last progress of each of its figures was logged.
    last_sent: BTreeMap<NodeId, (Instant, BTreeMap<String, Instant>)>,
}

impl<'a> Journal<'a> {
    /// Returns the journal of a run called `run` that begins now.
    #[must_use]
    pub fn new(plan: &'a Plan, run: &str) -> Self {
        Self { plan, run: run.to_owned(), began: Instant::now(), last_sent: BTreeMap::new() }
    }

    /// Returns the log line of `event`, or `None` for progress that comes too early.
    pub fn entry(&mut self, event: &Event) -> Option<LogLine> {
        if !self.is_due(event) {
            return None;
        }
        let node = event.node();
        Some(LogLine {
            run: self.run.clone(),
            t: self.seconds(),
            stage: node.map(|node| self.plan.node(node).label.to_string()),
            name: node.map(|node| self.plan.describe(node)),
            event: event.clone(),
        })
    }

    /// Returns the log line of a hit as JSON, without the copies [`entry`](Self::entry) makes: hits
    /// come in thousands.
    fn hit_line(&self, node: NodeId, key: Key) -> String {
        #[derive(Serialize)]
        struct Hit<'a> {
            run: &'a str,
            t: f64,
            stage: &'a str,
            name: &'a str,
            event: &'a str,
            node: NodeId,
            key: Key,
        }
        let t = self.seconds();
        let name = self.plan.describe(node);
        let stage = &self.plan.node(node).label;
        let hit = Hit { run: &self.run, t, stage, name: &name, event: "hit", node, key };
        serde_json::to_string(&hit).expect("it has no map with odd keys")
    }

    fn seconds(&self) -> f64 {
        (self.began.elapsed().as_secs_f64() * 1e4).round() / 1e4
    }

    fn is_due(&mut self, event: &Event) -> bool {
        let now = Instant::now();
        match event {
            Event::Started { node, .. } => {
                self.last_sent.insert(*node, (now, BTreeMap::new()));
            }
            Event::Progressed { node, progress } => {
                let (began, last_sent) =
                    self.last_sent.entry(*node).or_insert_with(|| (now, BTreeMap::new()));
                let interval = MIN_INTERVAL.max((now - *began) / MAX_SHARE);
                let figure = progress.figure.as_ref().map_or("", |(name, _)| name);
                let early = last_sent.get(figure).is_some_and(|last| now - *last < interval);
                if early && progress.done < progress.total {
                    return false;
                }
                last_sent.insert(figure.to_owned(), now);
            }
            _ => {}
        }
        true
    }
}

/// Returns the stages of `plan` in topological order: inputs first.
pub(super) fn stages(plan: &Plan) -> Vec<StageCount> {
    let mut met: Vec<StageCount> = vec![];
    let add = |list: &mut Vec<String>, text: &str| {
        if !list.iter().any(|one| one == text) {
            list.push(text.to_owned());
        }
    };
    for (_, node) in plan.nodes() {
        let at = met.iter().position(|one| one.stage == *node.label).unwrap_or_else(|| {
            let stage = node.label.to_string();
            met.push(StageCount { stage, methods: vec![], from: vec![], nodes: 0 });
            met.len() - 1
        });
        add(&mut met[at].methods, node.stage.method());
        let inputs = node.inputs.iter().map(|(_, input)| &plan.node(*input).label);
        inputs.for_each(|from| add(&mut met[at].from, from));
        met[at].nodes += 1;
    }
    let mut out = vec![];
    while !met.is_empty() {
        let open = |from: &String| met.iter().any(|one| one.stage == *from);
        let ready = met.iter().position(|one| !one.from.iter().any(open));
        // Stages may form a cycle by name, if two cells wire them in opposite ways: then the first
        // goes first.
        out.push(met.remove(ready.unwrap_or(0)));
    }
    out
}

/// A sink that passes events on, and appends them to the run's log once that is opened. A log that
/// cannot be written ends; the run does not.
pub(super) struct LoggingSink<'a> {
    sink: &'a mut dyn Sink,
    journal: Journal<'a>,
    file: Option<File>,
    lines: String,
    /// Whether writing has ended. The file stays open, for its lock tells that the run goes on.
    ended: bool,
}

impl<'a> LoggingSink<'a> {
    pub(super) fn new(plan: &'a Plan, run: &str, sink: &'a mut dyn Sink) -> Self {
        let journal = Journal::new(plan, run);
        Self { sink, journal, file: None, lines: String::new(), ended: false }
    }

    /// Creates the log, and locks it (flock) for as long as the process lives: this tells a run
    /// that goes on from one that was killed.
    pub(super) fn begin(&mut self, store: &Store) {
        let file =
            store.append_document(super::runs::FOLDER, &RunRecord::events_name(&self.journal.run));
        self.file = file.ok();
        // Without locks on the file system the log is written all the same.
        let locked = |file: &File| !matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        self.ended = !self.file.as_ref().is_some_and(locked);
        self.write_down();
    }

    /// Writes the buffered lines to the log, if it is opened.
    pub(super) fn write_down(&mut self) {
        let Some(file) = self.file.as_mut().filter(|_| !self.lines.is_empty()) else { return };
        if !self.ended {
            self.ended = file.write_all(self.lines.as_bytes()).is_err();
        }
        self.lines.clear();
    }
}

impl Sink for LoggingSink<'_> {
    fn emit(&mut self, event: &Event) {
        self.sink.emit(event);
        if self.ended {
            return;
        }
        // Hits come in thousands, and are not flushed one by one.
        let hit = match event {
            Event::Hit { node, key } => {
                self.lines.push_str(&self.journal.hit_line(*node, *key));
                true
            }
            _ => {
                let Some(entry) = self.journal.entry(event) else { return };
                self.lines.push_str(&entry.to_json());
                false
            }
        };
        self.lines.push('\n');
        if self.file.is_some() && (!hit || self.lines.len() >= BUFFER_BYTES) {
            self.write_down();
        }
    }
}

/// A reader of a run's log, which follows the file as it grows.
#[derive(Debug)]
pub struct LogTail {
    file: File,
    rest: Vec<u8>,
}

impl LogTail {
    /// Opens the log of the run called `id`, or returns `None` if it has none.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub fn open(store: &Store, id: &str) -> Result<Option<Self>, StoreError> {
        let file = store.open_document(super::runs::FOLDER, &RunRecord::events_name(id))?;
        Ok(file.map(|file| Self { file, rest: vec![] }))
    }

    /// Returns the lines added since the last call. A line that does not decode is left out; one
    /// without a line feed is returned once it is whole.
    pub fn read_new(&mut self) -> Vec<LogLine> {
        // The bytes before a failed read are kept, and the next call reads on.
        self.file.read_to_end(&mut self.rest).ok();
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return vec![] };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        let lines = whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    /// Tells whether the process that writes the log still lives: it holds the lock.
    #[must_use]
    pub fn is_growing(&self) -> bool {
        loop {
            match self.file.try_lock_shared() {
                Ok(()) => {
                    self.file.unlock().ok();
                    return false;
                }
                Err(TryLockError::WouldBlock) => return true,
                Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => {}
                Err(TryLockError::Error(_)) => return false,
            }
        }
    }
}
