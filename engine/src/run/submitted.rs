//! A submitted run: one whose computations are made by jobs of a batch system, each a process of
//! its own with a log of its own. Which batch system that is, nobody here knows.
//!
//! ```text
//! submitted/RUN/open           there until the run has ended
//! submitted/RUN/events/JOB.jsonl  the log of a job
//! ```

use super::{
    exec::RunOptions,
    forecast::{Forecast, Outlook},
    journal::{self, LoggingSink},
    runs::{RunRecord, RunState},
};
use crate::{Event, NodeId, Plan, RunSummary, Sink as _};
use cache::{Store, StoreError};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// The folder of the store with a folder for each submitted run.
const FOLDER: &str = "submitted";

/// The folder of a submitted run in its store.
#[derive(Clone, Debug)]
pub struct SubmittedRun {
    id: String,
    folder: PathBuf,
}

impl SubmittedRun {
    /// Returns where the folder of run `id` is, if it was submitted.
    fn at(store: &Store, id: &str) -> Self {
        Self { id: id.to_owned(), folder: store.root().join(FOLDER).join(id) }
    }

    /// Returns the submitted run `id`, or `None` if it was not submitted or is gone.
    #[must_use]
    pub fn find(store: &Store, id: &str) -> Option<Self> {
        Some(Self::at(store, id)).filter(|run| run.folder.is_dir())
    }

    /// Creates the folder of a run that is to be submitted.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be written.
    pub fn create(store: &Store, id: &str) -> Result<Self, StoreError> {
        let run = Self::at(store, id);
        let folder = run.events();
        cache::make_folders(&folder).map_err(|error| failed("create", &folder, error))?;
        Ok(run)
    }

    /// Returns the folder, in which the program keeps what it needs for the jobs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Tells whether it has not ended: jobs of it may be waiting, or running.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.marker().exists()
    }

    /// Returns the folder of the jobs' logs.
    pub(super) fn events(&self) -> PathBuf {
        self.folder.join("events")
    }

    /// Opens the log of the job called `name` for appending.
    pub(super) fn job_log(&self, name: &str) -> io::Result<File> {
        let path = self.events().join(format!("{name}.jsonl"));
        File::options().append(true).create(true).open(path)
    }

    fn marker(&self) -> PathBuf {
        self.folder.join("open")
    }

    /// Writes the run's record and the beginning of its log: what `forecast` found is a hit, the
    /// rest is open.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be written.
    pub fn begin(
        &self,
        plan: &Plan,
        options: &RunOptions,
        forecast: &Forecast,
        store: &Store,
    ) -> Result<(), StoreError> {
        let mut record = RunRecord::new(plan, options);
        record.process = "jobs".to_owned();
        mark_hits(&mut record, forecast);
        record.write(store)?;
        let mut nobody = |_: &Event| {};
        let mut log = LoggingSink::new(plan, options, &mut nobody);
        log.begin(store);
        log.emit(&Event::RunStarted {
            nodes: plan.nodes().len(),
            cells: plan.cells.len(),
            pipeline: plan.path.display().to_string(),
            stages: journal::stages(plan),
            device: options.device.clone(),
            process: std::process::id(),
        });
        for (node, _) in plan.nodes() {
            if let (Outlook::Hit(_), Some(key)) =
                (&forecast.outlooks[node.index()], forecast.keys[node.index()])
            {
                log.emit(&Event::Hit { node, key });
            }
        }
        log.write_down();
        self.mark_open()
    }

    /// Says that the run goes on, after it had ended.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be written.
    pub fn reopen(&self, store: &Store) -> Result<(), StoreError> {
        if let Some(mut record) = RunRecord::read(store, &self.id)? {
            record.summary = None;
            record.interrupted = false;
            record.write(store)?;
        }
        self.mark_open()
    }

    fn mark_open(&self) -> Result<(), StoreError> {
        let path = self.marker();
        fs::write(&path, "").map_err(|error| failed("write", &path, error))
    }

    /// Ends the run at `now`, in seconds since 1970 (UTC): writes into its record what the jobs' logs
    /// tell and what `forecast` found, and returns its summary. `options` are those it began with.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read or written.
    pub fn end(
        &self,
        plan: &Plan,
        options: &RunOptions,
        forecast: &Forecast,
        store: &Store,
        interrupted: bool,
    ) -> Result<RunSummary, StoreError> {
        let mut record = match RunRecord::read(store, &self.id)? {
            Some(record) if record.nodes.len() == plan.nodes().len() => record,
            _ => RunRecord::new(plan, options),
        };
        mark_hits(&mut record, forecast);
        let mut summary = RunSummary::default();
        let mut lost = vec![false; record.nodes.len()];
        for (id, node) in plan.nodes() {
            let behind = node.inputs.iter().any(|(_, input)| lost[input.index()]);
            let this = record.node_mut(id);
            let missing = !matches!(forecast.outlooks[id.index()], Outlook::Hit(_));
            if missing {
                this.state = match this.state {
                    RunState::Failed => RunState::Failed,
                    _ if behind => RunState::Skipped,
                    _ => RunState::Stopped,
                };
                lost[id.index()] = behind || this.state == RunState::Failed;
            }
            *match this.state {
                RunState::Computed => &mut summary.computed,
                RunState::Failed => &mut summary.failed,
                RunState::Skipped => &mut summary.skipped,
                RunState::Stopped => &mut summary.stopped,
                _ => &mut summary.hits,
            } += 1;
        }
        record.summary = Some(summary);
        record.interrupted = interrupted;
        record.seconds = options.now.saturating_sub(record.started) as f64;
        record.write(store)?;
        store.flush()?;
        let mut nobody = |_: &Event| {};
        let mut log = LoggingSink::resumed(plan, options, &mut nobody, record.started);
        log.begin(store);
        log.emit(&Event::RunFinished { summary });
        drop(log);
        // Last: who follows the log reads on until it is gone.
        let path = self.marker();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &path, error));
            }
            _ => {}
        }
        Ok(summary)
    }

    /// Returns what failed in the job called `name`, as its log tells.
    #[must_use]
    pub fn failed_in(&self, name: &str) -> Vec<NodeId> {
        let text = fs::read_to_string(self.events().join(format!("{name}.jsonl")));
        let mut failed: Vec<NodeId> = vec![];
        for line in text.unwrap_or_default().lines() {
            let Ok(line) = serde_json::from_str::<super::LogLine>(line) else { continue };
            match line.event {
                Event::Failed { node, .. } => failed.push(node),
                Event::Started { node, .. } => failed.retain(|one| *one != node),
                _ => {}
            }
        }
        failed
    }

    /// Removes the folder of the run `id`, if it has one.
    pub(super) fn remove(store: &Store, id: &str) -> Result<(), StoreError> {
        let Some(run) = Self::find(store, id) else { return Ok(()) };
        fs::remove_dir_all(&run.folder).map_err(|error| failed("remove", &run.folder, error))
    }
}

/// Notes what `forecast` found in the store, unless the run computed it.
fn mark_hits(record: &mut RunRecord, forecast: &Forecast) {
    for (at, node) in record.nodes.iter_mut().enumerate() {
        node.key = forecast.keys[at].or(node.key);
        let found = matches!(forecast.outlooks[at], Outlook::Hit(_));
        if found && node.state != RunState::Computed {
            node.state = RunState::Hit;
        }
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { action, path: path.to_owned(), source }
}
