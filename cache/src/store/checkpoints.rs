//! Checkpoints: the states of unfinished trainings, by trajectory and step. A training without them
//! starts from its beginning.

use super::{Store, retry, seal, sharded};
use crate::{Artifact, Damage, Key, StoreError};
use serde::{Deserialize, Serialize};
use std::{fs, io, path::PathBuf};

const LABEL: &str = "checkpoint";

/// A checkpoint: the state of a training after a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The step.
    pub step: u64,
    /// The state, as an artifact.
    pub state: Artifact,
}

// Trajectory and step are inside, so that a file under a wrong name is noticed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckpointJson {
    trajectory: Key,
    step: u64,
    state: Artifact,
}

impl Store {
    /// Writes a checkpoint of trajectory `key`, in place of one at the same step.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if one of its objects is missing, [`StoreError::Io`] if it cannot be
    /// written.
    pub fn commit_checkpoint(&self, key: Key, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        self.writable()?;
        for blob in checkpoint.state.parts.values() {
            if let Some(what) = self.health(blob)?.damage() {
                return Err(StoreError::Damaged { digest: blob.digest, what });
            }
        }
        let Checkpoint { step, state } = checkpoint.clone();
        let body = serde_json::to_vec(&CheckpointJson { trajectory: key, step, state })
            .map_err(|source| StoreError::BadRecord { key, source })?;
        let file = self.temporary_with(&seal::seal(LABEL, &body), 0o444)?;
        self.place_over(file, &checkpoint_path(key, step))?;
        self.mark_unflushed();
        self.send_checkpoint(key, step);
        Ok(())
    }

    /// Places the file of a checkpoint that another store has written, whose objects are here.
    pub(crate) fn place_checkpoint(
        &self,
        key: Key,
        step: u64,
        sealed: &[u8],
    ) -> Result<(), StoreError> {
        self.place_over(self.temporary_with(sealed, 0o444)?, &checkpoint_path(key, step))?;
        self.mark_unflushed();
        Ok(())
    }

    /// Returns the whole checkpoints of trajectory `key`, by step. Damaged ones move to quarantine.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the store cannot be read.
    pub fn checkpoints(&self, key: Key) -> Result<Vec<Checkpoint>, StoreError> {
        let mut whole = vec![];
        for (step, _) in self.steps(key)? {
            if let Some(Ok(checkpoint)) = self.read_checkpoint(key, step)?
                && self.missing_object(&checkpoint)?.is_none()
            {
                whole.push(checkpoint);
            }
        }
        Ok(whole)
    }

    /// Removes the checkpoints of trajectory `key` whose step `keep` refuses, and returns their
    /// number. Their objects stay until the next garbage collection.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if one cannot be removed.
    pub fn drop_checkpoints(
        &self,
        key: Key,
        keep: impl Fn(u64) -> bool,
    ) -> Result<usize, StoreError> {
        self.writable()?;
        let mut dropped = 0;
        for (_, path) in self.steps(key)?.into_iter().filter(|(step, _)| !keep(*step)) {
            match retry::retrying(|| fs::remove_file(&path)) {
                Ok(()) => dropped += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io("remove", &path, error)),
            }
        }
        // Fails unless the folder is empty.
        let _ = fs::remove_dir(self.at(&trajectory_path(key)));
        Ok(dropped)
    }

    /// Returns the steps and paths of the checkpoints of trajectory `key`, by step.
    pub(crate) fn steps(&self, key: Key) -> Result<Vec<(u64, PathBuf)>, StoreError> {
        let listed = super::walk::names(&self.at(&trajectory_path(key)))?;
        let mut steps: Vec<_> = listed
            .into_iter()
            .filter_map(|(name, path)| {
                let step = name.strip_suffix(".json")?.parse().ok()?;
                (name == format!("{step:08}.json")).then_some((step, path))
            })
            .collect();
        steps.sort_unstable_by_key(|(step, _)| *step);
        Ok(steps)
    }

    /// Returns the checkpoint, or its damage, after moving it to quarantine.
    pub(super) fn read_checkpoint(
        &self,
        key: Key,
        step: u64,
    ) -> Result<Option<Result<Checkpoint, Damage>>, StoreError> {
        let read = self.peek_checkpoint(key, step)?;
        if let Some(Err(_)) = &read {
            let name = format!("checkpoint-{key}-{step:08}.json");
            self.set_aside(&checkpoint_path(key, step), &name, None);
        }
        Ok(read)
    }

    /// Returns the checkpoint, or its damage. A damaged checkpoint stays where it is.
    pub(super) fn peek_checkpoint(
        &self,
        key: Key,
        step: u64,
    ) -> Result<Option<Result<Checkpoint, Damage>>, StoreError> {
        let Some(sealed) = self.read_small(&checkpoint_path(key, step))? else { return Ok(None) };
        Ok(Some(unseal_checkpoint(key, step, &sealed)))
    }

    /// Returns the damage of an object of `checkpoint`, if there is any.
    fn missing_object(&self, checkpoint: &Checkpoint) -> Result<Option<Damage>, StoreError> {
        for blob in checkpoint.state.parts.values() {
            if let Some(what) = self.health(blob)?.damage() {
                return Ok(Some(what));
            }
        }
        Ok(None)
    }
}

/// Returns the checkpoint of trajectory `key` at `step` that `sealed` is, or what is wrong with it.
pub(crate) fn unseal_checkpoint(key: Key, step: u64, sealed: &[u8]) -> Result<Checkpoint, Damage> {
    let CheckpointJson { trajectory, step: written, state } = seal::unseal(LABEL, sealed)?;
    if (trajectory, written) == (key, step) {
        Ok(Checkpoint { step, state })
    } else {
        Err(Damage::OfAnotherStep { trajectory, step: written })
    }
}

pub(crate) fn checkpoint_path(key: Key, step: u64) -> String {
    format!("{}/{step:08}.json", trajectory_path(key))
}

/// Returns the name of the file that tells the newest checkpoint in a remote store.
pub(crate) fn newest_checkpoint_path(key: Key) -> String {
    format!("{}/newest", trajectory_path(key))
}

fn trajectory_path(key: Key) -> String {
    sharded("checkpoints", &key.to_string(), "")
}
