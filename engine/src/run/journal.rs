//! The log of a run: its events as lines of JSON, as the log file keeps and `--json` prints them,
//! and as they are replayed.

use super::{
    exec::{RunOptions, RunPart},
    runs::RunRecord,
    submitted::SubmittedRun,
};
use crate::{Event, NodeId, Plan, Sink, event::StageCount};
use cache::{Key, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    path::PathBuf,
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
    /// The time of the run at which this journal began.
    offset: f64,
    /// When each running stage began, and when the last progress of each of its figures was logged.
    last_sent: BTreeMap<NodeId, (Instant, BTreeMap<String, Instant>)>,
}

impl<'a> Journal<'a> {
    /// Returns the journal of a run called `run` that begins now.
    #[must_use]
    pub fn new(plan: &'a Plan, run: &str) -> Self {
        Self {
            plan,
            run: run.to_owned(),
            began: Instant::now(),
            offset: 0.0,
            last_sent: BTreeMap::new(),
        }
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
        ((self.offset + self.began.elapsed().as_secs_f64()) * 1e4).round() / 1e4
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

/// A sink that passes events on, and appends them to the run's log once that is opened, or to that
/// of a job of a submitted run. A log that cannot be written ends; the run does not.
pub(super) struct LoggingSink<'a> {
    sink: &'a mut dyn Sink,
    journal: Journal<'a>,
    part: Option<RunPart>,
    file: Option<File>,
    lines: String,
    /// Whether writing has ended. The file stays open, for its lock tells that the run goes on.
    ended: bool,
}

impl<'a> LoggingSink<'a> {
    pub(super) fn new(plan: &'a Plan, options: &RunOptions, sink: &'a mut dyn Sink) -> Self {
        let began = options.part.as_ref().map_or(options.now, |part| part.submitted);
        Self::resumed(plan, options, sink, began)
    }

    /// Returns the sink of a run that began earlier, at `began`, in seconds since 1970 (UTC).
    pub(super) fn resumed(
        plan: &'a Plan,
        options: &RunOptions,
        sink: &'a mut dyn Sink,
        began: u64,
    ) -> Self {
        let mut journal = Journal::new(plan, &options.id);
        journal.offset = options.now.saturating_sub(began) as f64;
        let part = options.part.clone();
        Self { sink, journal, part, file: None, lines: String::new(), ended: false }
    }

    /// Creates the log, and locks it (flock) for as long as the process lives: this tells a run
    /// that goes on from one that was killed.
    pub(super) fn begin(&mut self, store: &Store) {
        let run = &self.journal.run;
        self.file = match &self.part {
            None => store.append_document(super::runs::FOLDER, &RunRecord::events_name(run)).ok(),
            Some(part) => {
                SubmittedRun::find(store, run).and_then(|run| run.job_log(&part.job).ok())
            }
        };
        // Without locks on the file system the log is written all the same.
        let locked = |file: &File| !matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        self.ended = !self.file.as_ref().is_some_and(locked);
        self.write_down();
    }

    /// Tells whether the log is to have `event`. That of a job has neither the beginning nor the
    /// end of the run, nor hits of what other jobs compute.
    fn is_logged(&self, event: &Event) -> bool {
        match (&self.part, event) {
            (Some(_), Event::RunStarted { .. } | Event::RunFinished { .. }) => false,
            (Some(part), Event::Hit { node, .. }) => part.own.contains(node),
            _ => true,
        }
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
        if self.ended || !self.is_logged(event) {
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

/// A reader of a run's log, which follows the file as it grows; of a submitted run, the logs of
/// all its jobs as well.
#[derive(Debug)]
pub struct LogTail {
    file: File,
    rest: Vec<u8>,
    submitted: Option<SubmittedRun>,
    /// How much of each job's log was read, by its name, and the time of the last line.
    jobs: BTreeMap<OsString, (u64, f64)>,
}

impl LogTail {
    /// Opens the log of the run called `id`, or returns `None` if it has none.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub fn open(store: &Store, id: &str) -> Result<Option<Self>, StoreError> {
        let file = store.open_document(super::runs::FOLDER, &RunRecord::events_name(id))?;
        let submitted = SubmittedRun::find(store, id);
        Ok(file.map(|file| Self { file, rest: vec![], submitted, jobs: BTreeMap::new() }))
    }

    /// Returns the lines added since the last call, those of different logs by their time. A line
    /// that does not decode is left out; one without a line feed is returned once it is whole.
    pub fn read_new(&mut self) -> Vec<LogLine> {
        // The bytes before a failed read are kept, and the next call reads on.
        self.file.read_to_end(&mut self.rest).ok();
        let mut lines = match self.rest.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => parse(&self.rest.drain(..=end).collect::<Vec<u8>>()),
            None => vec![],
        };
        let own = lines.len();
        lines.extend(self.read_jobs());
        if lines.len() > own {
            // Ties stay in the order of their logs.
            lines.sort_by(|one, other| one.t.total_cmp(&other.t));
        }
        lines
    }

    /// Returns the whole lines added to the logs of jobs. No file stays open: there may be
    /// thousands.
    fn read_jobs(&mut self) -> Vec<LogLine> {
        let mut lines = vec![];
        for path in self.job_logs() {
            let Some(name) = path.file_name() else { continue };
            let (read, last) = self.jobs.entry(name.to_owned()).or_default();
            if fs::metadata(&path).map_or(0, |data| data.len()) <= *read {
                continue;
            }
            let mut bytes = vec![];
            let opened = File::open(&path).and_then(|mut file| {
                file.seek(SeekFrom::Start(*read))?;
                file.read_to_end(&mut bytes)
            });
            if opened.is_ok()
                && let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n')
            {
                *read += end as u64 + 1;
                for mut line in parse(&bytes[..=end]) {
                    // A job may go on where another clock is behind: its lines stay in order.
                    line.t = line.t.max(*last);
                    *last = line.t;
                    lines.push(line);
                }
            }
        }
        lines
    }

    /// Returns the logs of jobs there are by now.
    fn job_logs(&self) -> Vec<PathBuf> {
        let Some(submitted) = &self.submitted else { return vec![] };
        let entries = fs::read_dir(submitted.events()).into_iter().flatten().filter_map(Result::ok);
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort_unstable();
        paths
    }

    /// Tells whether there may be more: the process that writes the log still lives, for it holds
    /// the lock; or the run was submitted, and has not ended.
    #[must_use]
    pub fn is_growing(&self) -> bool {
        self.awaits_jobs() || is_locked(&self.file)
    }

    /// Tells whether the run was submitted and has not ended.
    #[must_use]
    pub fn awaits_jobs(&self) -> bool {
        self.submitted.as_ref().is_some_and(SubmittedRun::is_open)
    }

    /// Tells whether a process is writing the log, or a job one of the others.
    #[must_use]
    pub fn has_writer(&self) -> bool {
        let locked = |path: &PathBuf| File::open(path).is_ok_and(|file| is_locked(&file));
        is_locked(&self.file) || self.job_logs().iter().any(locked)
    }
}

fn parse(bytes: &[u8]) -> Vec<LogLine> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// Tells whether another process holds the lock of `file`.
fn is_locked(file: &File) -> bool {
    loop {
        match file.try_lock_shared() {
            Ok(()) => {
                file.unlock().ok();
                return false;
            }
            Err(TryLockError::WouldBlock) => return true,
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => {}
            Err(TryLockError::Error(_)) => return false,
        }
    }
}
