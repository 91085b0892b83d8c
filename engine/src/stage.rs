//! The `Stage` trait that methods implement, its ports, and the context a stage runs in.

use crate::{
    Streams,
    event::StageProgress,
    run::resolve::{self, CheckpointKey},
};
use cache::{
    Artifact, Blob, Bytes, Checkpoint, Digest, ObjectWriter, Store, StoreError, WorkFolder,
};
use serde_json::Value;
use std::{
    any::Any,
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    error::Error as StdError,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use thiserror::Error;

/// The kind of an artifact, such as `scores`. The engine only compares kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArtifactKind(pub &'static str);

/// How many stages a port takes its input from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arity {
    /// Exactly one stage.
    One,
    /// One stage or none.
    Optional,
    /// One stage, a list of stages, or all repeats of one.
    Many,
    /// One stage, on exactly one of the ports of this choice: alternatives.
    OneOf(Choice),
    /// One stage, a list of stages, or all repeats of one, on exactly one of the ports of this choice.
    ManyOf(Choice),
}

/// A choice among ports, such as `query`: exactly one of those that belong to it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Choice(pub &'static str);

/// An input port of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// The name used in `from`.
    pub name: &'static str,
    /// The kind of artifact it takes.
    pub kind: ArtifactKind,
    /// How many stages it takes it from.
    pub arity: Arity,
}

impl Port {
    /// Returns a port that takes one artifact.
    #[must_use]
    pub const fn one(name: &'static str, kind: ArtifactKind) -> Self {
        Self { name, kind, arity: Arity::One }
    }

    /// Returns a port that may stay open.
    #[must_use]
    pub const fn optional(name: &'static str, kind: ArtifactKind) -> Self {
        Self { name, kind, arity: Arity::Optional }
    }

    /// Returns a port that takes one artifact or several.
    #[must_use]
    pub const fn many(name: &'static str, kind: ArtifactKind) -> Self {
        Self { name, kind, arity: Arity::Many }
    }

    /// Returns a port that is an alternative to the others marked so, or by [`Self::many_of`].
    #[must_use]
    pub const fn one_of(name: &'static str, kind: ArtifactKind) -> Self {
        Self { name, kind, arity: Arity::OneOf(Choice("input")) }
    }

    /// As [`Self::one_of`], for one artifact or several.
    #[must_use]
    pub const fn many_of(name: &'static str, kind: ArtifactKind) -> Self {
        Self { name, kind, arity: Arity::ManyOf(Choice("input")) }
    }

    /// Returns a port that is an alternative to the others of `choice`.
    #[must_use]
    pub const fn of_choice(name: &'static str, kind: ArtifactKind, choice: &'static str) -> Self {
        Self { name, kind, arity: Arity::OneOf(Choice(choice)) }
    }

    /// Returns whether it takes several artifacts.
    #[must_use]
    pub const fn takes_many(&self) -> bool {
        matches!(self.arity, Arity::Many | Arity::ManyOf(_))
    }

    /// Returns the choice it belongs to, if it is one of alternatives.
    #[must_use]
    pub const fn choice(&self) -> Option<Choice> {
        match self.arity {
            Arity::OneOf(choice) | Arity::ManyOf(choice) => Some(choice),
            _ => None,
        }
    }
}

/// The resource a stage occupies while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Needs {
    /// One worker.
    #[default]
    Cpu,
    /// One worker, and the accelerator if the run has one.
    Device,
}

/// A mistake in the settings as a whole, or a missing file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Problem {
    /// The setting inside `with`, such as `keep` or `rule.bins`; empty for the stage as a whole.
    pub setting: String,
    /// What is wrong: a lowercase clause.
    pub message: String,
    /// What can be done.
    pub hint: Option<String>,
}

/// A file outside the store that a stage reads. Its bytes are part of the key, its path is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFile {
    /// The role of the file, such as `train-images`.
    pub role: String,
    /// The path.
    pub path: PathBuf,
}

/// A folder outside the store of which a stage reads many files. Their names and bytes, and the
/// folder's own name, are part of the key; its path is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFolder {
    /// The role of its files, such as `train`. Folders with the same role are one input, in their
    /// order.
    pub role: String,
    /// The name of the folder, such as `dog`.
    pub name: String,
    /// The path.
    pub path: PathBuf,
    /// The files in it: paths relative to it, in the order they are read.
    pub files: Vec<String>,
}

/// The trajectory of a training: its settings without its length. Trainings of one trajectory share
/// checkpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct Trajectory {
    /// The settings without the length.
    pub settings: Value,
    /// The step at which this stage ends; a checkpoint at or before it can be continued.
    pub last_step: u64,
}

/// One stage: a function of its settings, its inputs, and its seed streams.
pub trait Stage: Send + Sync {
    /// The method, such as `select.herding`.
    fn method(&self) -> &'static str;

    /// The revision of the method's results.
    fn revision(&self) -> u32;

    /// The settings with defaults filled in: everything in it is part of the key. Paths, which
    /// are not, are left out.
    fn settings(&self) -> Value;

    /// The artifacts read.
    fn inputs(&self) -> Vec<Port>;

    /// The artifact written.
    fn output(&self) -> ArtifactKind;

    /// The random streams drawn from. A stage that names none is not keyed by the seed.
    fn streams(&self) -> &'static [&'static str] {
        &[]
    }

    /// The resource it occupies while it runs.
    fn needs(&self) -> Needs {
        Needs::Cpu
    }

    /// Returns the mistakes in the settings as a whole.
    fn problems(&self) -> Vec<Problem> {
        vec![]
    }

    /// Returns the mistakes in its wiring, if these of its ports are connected and no others.
    fn wiring(&self, connected: &[&str]) -> Vec<Problem> {
        let _ = connected;
        vec![]
    }

    /// Returns the files it reads from outside the store.
    ///
    /// # Errors
    ///
    /// Says which file is missing, where it was looked for, and where to get it.
    fn files(&self) -> Result<Vec<InputFile>, Problem> {
        Ok(vec![])
    }

    /// Returns the folders it reads whole collections of files from.
    ///
    /// # Errors
    ///
    /// As [`files`](Self::files).
    fn folders(&self) -> Result<Vec<InputFolder>, Problem> {
        Ok(vec![])
    }

    /// Returns the trajectory its checkpoints belong to, if it keeps any.
    fn trajectory(&self) -> Option<Trajectory> {
        None
    }

    /// Returns the names of secret settings, such as a table of environment variables. Their text
    /// is cut out of the pipeline file's in run records. What [`settings`](Self::settings) returns
    /// of them is kept as it is.
    fn secrets(&self) -> &'static [&'static str] {
        &[]
    }

    /// Computes the output and returns its parts.
    ///
    /// # Errors
    ///
    /// Fails if an input does not decode, the method cannot be applied to it, or the run was
    /// cancelled.
    fn run(&self, ctx: &StageCtx<'_>) -> Result<BTreeMap<String, Blob>, StageError>;
}

/// The error of a stage.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StageError {
    /// An operation of the store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An input does not decode as its kind.
    #[error("part `{part}` of input `{port}` does not decode")]
    Decode {
        /// The port read.
        port: String,
        /// The part read.
        part: String,
        /// The error of the decoder.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The method cannot be applied to these inputs: an error of the crate it lives in.
    #[error(transparent)]
    Method(Box<dyn MethodFailure>),
    /// A file the stage reads has another digest than its recipe says. The engine makes the recipe
    /// again.
    #[error("`{}` changed while it was to be read", path.display())]
    Changed {
        /// The file or folder.
        path: PathBuf,
    },
    /// A file changed each time its recipe was made again.
    #[error("`{}` changed again and again while it was to be read", path.display())]
    Unsettled {
        /// The file or folder.
        path: PathBuf,
    },
    /// The system gives no thread to work in.
    #[error("no thread can be started: {reason}")]
    NoThread {
        /// The system's answer.
        reason: Arc<io::Error>,
    },
    /// The worker of the stage ended without an answer, each time.
    #[error("its worker vanished without a word, several times over")]
    Vanished,
    /// The stage's code panicked: a defect of the program.
    #[error("the method broke off: {message}{}", location.as_ref().map(|at| format!(" (at {at})")).unwrap_or_default())]
    Panicked {
        /// The message of the panic.
        message: String,
        /// The place in the code, `FILE:LINE:COLUMN`, if it is known.
        location: Option<String>,
    },
    /// The run was cancelled.
    #[error("the run was stopped")]
    Cancelled,
}

/// An error of the crate a method lives in, as data. Its text is a lowercase clause.
pub trait MethodFailure: StdError + Send + Sync + Any {
    /// Returns what can be done.
    fn hint(&self) -> Option<Cow<'_, str>> {
        None
    }
}

impl dyn MethodFailure {
    /// Returns the error as a `T`, if it is one.
    #[must_use]
    pub fn downcast_ref<T: MethodFailure>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}

impl StdError for Box<dyn MethodFailure> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        (**self).source()
    }
}

impl MethodFailure for Problem {
    fn hint(&self) -> Option<Cow<'_, str>> {
        self.hint.as_deref().map(Cow::Borrowed)
    }
}

impl<E: MethodFailure> From<E> for StageError {
    fn from(error: E) -> Self {
        Self::Method(Box::new(error))
    }
}

impl StageError {
    /// Returns what can be done.
    #[must_use]
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Method(failure) => failure.hint(),
            Self::Unsettled { .. } => Some("run it again once the file is still".into()),
            Self::NoThread { .. } => {
                Some("raise the limit on processes (`ulimit -u`), or lower `--jobs`".into())
            }
            _ => None,
        }
    }

    /// Returns the error of a file that changed after its digest was taken.
    pub(crate) fn changed(path: &Path) -> Self {
        Self::Changed { path: path.to_owned() }
    }
}

/// The context of a running stage: its inputs, its random streams, the store, progress and
/// cancellation.
pub struct StageCtx<'a> {
    pub(crate) store: &'a Store,
    /// The artifacts of each connected port; a port given a list has several.
    pub(crate) inputs: BTreeMap<String, Vec<Artifact>>,
    pub(crate) files: &'a [InputFile],
    pub(crate) folders: &'a [InputFolder],
    /// The digests of all inputs, as the recipe names them.
    pub(crate) recipe_inputs: &'a BTreeMap<String, Digest>,
    /// The inputs the stage has copied, with copies of the digest that the recipe names.
    pub(crate) captured: &'a Mutex<BTreeSet<String>>,
    pub(crate) streams: Streams,
    /// Whether the stage is forced: it does not resume from checkpoints of earlier runs.
    pub(crate) anew: bool,
    /// The key of its checkpoints and its last step, if it keeps any.
    pub(crate) checkpoints: Option<CheckpointKey>,
    pub(crate) cancel: &'a AtomicBool,
    pub(crate) progress: &'a (dyn Fn(StageProgress) + Sync),
    pub(crate) say: &'a (dyn Fn(&str) + Sync),
    pub(crate) log: &'a Mutex<Vec<String>>,
    /// The device the run was given, in the terms of the program, such as `cpu` or `cuda:0`.
    pub device: &'a str,
    pub(crate) resources: Option<&'a (dyn Any + Send + Sync)>,
}

impl<'a> StageCtx<'a> {
    /// Returns what the program gave its stages to compute with, if it is a `T`.
    #[must_use]
    pub fn resources<T: Any>(&self) -> Option<&'a T> {
        self.resources?.downcast_ref()
    }

    /// Returns the artifact on `port`, or `None` if it is not connected.
    #[must_use]
    pub fn input(&self, port: &str) -> Option<&Artifact> {
        self.inputs.get(port)?.first()
    }

    /// Returns every artifact on `port`, in the order they were listed.
    #[must_use]
    pub fn inputs(&self, port: &str) -> &[Artifact] {
        self.inputs.get(port).map_or(&[], Vec::as_slice)
    }

    /// Returns the files the stage asked for.
    #[must_use]
    pub fn files(&self) -> &'a [InputFile] {
        self.files
    }

    /// Copies `file`, one of those the stage asked for, to `to`, and checks that the copy has the
    /// digest in the recipe. The original may change from then on; a file that is not copied must
    /// stay as it is until the stage ends.
    ///
    /// # Errors
    ///
    /// [`StageError::Changed`] if the file has other bytes by now; [`StageError::Store`] if it
    /// cannot be copied.
    pub fn capture_file(&self, file: &InputFile, to: &Path) -> Result<(), StageError> {
        let name = resolve::file_input(&file.role);
        let digest = self.store.copy_file(&file.path, to)?;
        if self.recipe_inputs.get(&name) != Some(&digest) {
            return Err(StageError::changed(&file.path));
        }
        self.captured.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        Ok(())
    }

    /// Copies the files of every folder of `role`, one of those the stage asked for, into
    /// `to(folder)`, and checks that the copies have the digest in the recipe.
    ///
    /// # Errors
    ///
    /// As [`capture_file`](Self::capture_file).
    pub fn capture_folders(
        &self,
        role: &str,
        to: impl Fn(&InputFolder) -> PathBuf,
    ) -> Result<(), StageError> {
        let mut made = vec![];
        for folder in self.folders.iter().filter(|folder| folder.role == role) {
            let target = to(folder);
            let mut copied = vec![];
            for file in &folder.files {
                let digest = self.store.copy_file(&folder.path.join(file), &target.join(file))?;
                copied.push((file.as_str(), digest));
            }
            made.push((folder, cache::folder_digest(copied)));
        }
        let name = resolve::folder_input(role);
        let first = made.first().map(|(folder, _)| folder.path.clone()).unwrap_or_default();
        if resolve::inputs_of_roles(made).get(&name) != self.recipe_inputs.get(&name) {
            return Err(StageError::changed(&first));
        }
        self.captured.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        Ok(())
    }

    /// Returns the folders the stage asked for.
    #[must_use]
    pub fn folders(&self) -> &'a [InputFolder] {
        self.folders
    }

    /// Returns the bytes of `blob`, verified.
    ///
    /// # Errors
    ///
    /// Fails if the object is missing or damaged; the engine then computes it again.
    pub fn get(&self, blob: &Blob) -> Result<Bytes, StageError> {
        Ok(self.store.get(blob)?)
    }

    /// Fetches objects that the stage is about to read from the store's remote tier, many at once.
    /// What is here is left alone; what does not come is told when it is read.
    pub fn fetch_ahead<'b>(&self, blobs: impl IntoIterator<Item = &'b Blob>) {
        if self.store.remote().is_some() {
            let blobs = blobs.into_iter().copied().collect();
            // An error of the disk is met again by the read.
            self.store.fetch_objects(blobs).ok();
        }
    }

    /// Verifies an object and returns its path, for an external program. The file is not to be
    /// written to.
    ///
    /// # Errors
    ///
    /// Fails if the object is missing or damaged; the engine then computes it again.
    pub fn path(&self, blob: &Blob) -> Result<PathBuf, StageError> {
        Ok(self.store.path(blob)?)
    }

    /// Creates an empty scratch folder, removed when dropped. One that is kept is removed by a
    /// later garbage collection.
    ///
    /// # Errors
    ///
    /// Fails if the store does.
    pub fn folder(&self) -> Result<WorkFolder, StageError> {
        Ok(self.store.folder()?)
    }

    /// Stores `bytes` as an object.
    ///
    /// # Errors
    ///
    /// Fails if the store does.
    pub fn put(&self, bytes: &[u8]) -> Result<Blob, StageError> {
        Ok(self.store.put(bytes)?)
    }

    /// Returns a writer for an object whose bytes come piece by piece.
    ///
    /// # Errors
    ///
    /// Fails if the store does.
    pub fn writer(&self) -> Result<ObjectWriter<'_>, StageError> {
        Ok(self.store.writer()?)
    }

    /// Returns the random streams the stage declared.
    #[must_use]
    pub fn streams(&self) -> Streams {
        self.streams
    }

    /// Reports the progress of the stage.
    pub fn progress(&self, progress: StageProgress) {
        (self.progress)(progress);
    }

    /// Adds a line to the stage's log, which is kept in its record.
    pub fn log(&self, line: impl Into<String>) {
        let line = line.into();
        (self.say)(&line);
        self.log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// Returns an error once the run is cancelled. To be called between steps.
    ///
    /// # Errors
    ///
    /// [`StageError::Cancelled`].
    pub fn check_cancelled(&self) -> Result<(), StageError> {
        if self.cancel.load(Ordering::Relaxed) { Err(StageError::Cancelled) } else { Ok(()) }
    }

    /// Returns the newest whole checkpoint to resume from: of this stage's trajectory, and not past
    /// the stage's last step.
    ///
    /// # Errors
    ///
    /// Fails if the store does.
    pub fn newest_checkpoint(&self) -> Result<Option<Checkpoint>, StageError> {
        let Some(own) = self.checkpoints.filter(|_| !self.anew) else { return Ok(None) };
        let mut whole = self.store.checkpoints(own.key)?;
        whole.retain(|checkpoint| checkpoint.step <= own.last_step);
        Ok(whole.pop())
    }

    /// Writes a checkpoint: `parts` are the state after `step`.
    ///
    /// # Errors
    ///
    /// Fails if the store does.
    pub fn checkpoint(&self, step: u64, parts: BTreeMap<String, Blob>) -> Result<(), StageError> {
        let Some(CheckpointKey { key, .. }) = self.checkpoints else { return Ok(()) };
        let state = Artifact { kind: "checkpoint".to_owned(), parts };
        Ok(self.store.commit_checkpoint(key, &Checkpoint { step, state })?)
    }
}
