//! The context a stage runs in.

use super::{InputFile, InputFolder, StageError};
use crate::{
    Streams,
    event::StageProgress,
    run::resolve::{self, CheckpointKey},
};
use cache::{Artifact, Blob, Bytes, Checkpoint, Digest, ObjectWriter, Store, WorkFolder};
use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

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

    /// Fetches all parts of what came in on `ports`, as [`Self::fetch_ahead`] does.
    pub fn fetch_inputs(&self, ports: &[&str]) {
        let artifacts = ports.iter().flat_map(|port| self.inputs(port));
        self.fetch_ahead(artifacts.flat_map(|artifact| artifact.parts.values()));
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
        self.store.fetch_checkpoint(own.key, own.last_step)?;
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
