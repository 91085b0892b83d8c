//! Checkpoints of trainings in a remote store: a training that was stopped on one machine goes on on
//! another that shares no disk with it.
//!
//! Beside the checkpoints of a trajectory lies a file `newest` with the step of the last one sent, so that
//! nothing is listed.

use super::{RemoteError, RemoteTier, uploads::send_objects};
use crate::{
    Blob, Key, Store, StoreError,
    store::{checkpoint_path, newest_checkpoint_path, unseal_checkpoint},
};

impl RemoteTier {
    /// Whether checkpoints are looked for there. They carry no signature: where only trusted keys count, they do
    /// not.
    fn has_checkpoints(&self) -> bool {
        self.options.checkpoints && self.options.trust.is_empty() && !self.is_off()
    }
}

impl Store {
    /// Fetches the newest checkpoint of trajectory `key` that the remote tier has, if its step is at most `last`
    /// and later than any that is here.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if it cannot be written.
    pub fn fetch_checkpoint(&self, key: Key, last: u64) -> Result<(), StoreError> {
        let Some(tier) = self.remote().filter(|tier| tier.has_checkpoints()) else { return Ok(()) };
        if self.is_read_only() {
            return Ok(());
        }
        let newest = tier.read(&newest_checkpoint_path(key));
        let newest = newest.and_then(|text| str::from_utf8(&text).ok()?.trim().parse::<u64>().ok());
        let Some(step) = newest.filter(|step| *step <= last) else { return Ok(()) };
        if self.steps(key)?.last().is_some_and(|(here, _)| *here >= step) {
            return Ok(());
        }
        let name = checkpoint_path(key, step);
        let Some(file) = tier.read(&name) else { return Ok(()) };
        let Ok(checkpoint) = unseal_checkpoint(key, step, &file) else {
            return Ok(());
        };
        let blobs: Vec<Blob> = checkpoint.state.parts.into_values().collect();
        self.fetch_objects(blobs.clone())?;
        for blob in &blobs {
            if !self.has_object(blob)? {
                return Ok(());
            }
        }
        self.place_checkpoint(key, step, &file)
    }

    /// Has a checkpoint sent to the remote tier, in the background, if it takes checkpoints. What is not sent
    /// when the process ends is not sent any more.
    pub(crate) fn send_checkpoint(&self, key: Key, step: u64) {
        if self.remote().is_some_and(|tier| tier.options.checkpoints)
            && let Some(uploads) = &self.uploads
        {
            uploads.queue_checkpoint(key, step);
        }
    }
}

/// Sends the checkpoint of trajectory `key` at `step`; one that is not in the store any more is not missed.
pub(super) fn send(
    store: &Store,
    tier: &RemoteTier,
    key: Key,
    step: u64,
) -> Result<(), RemoteError> {
    if !tier.prepare()? {
        return Ok(());
    }
    let name = checkpoint_path(key, step);
    let Ok(Some(file)) = store.read_small(&name) else { return Ok(()) };
    let Ok(checkpoint) = unseal_checkpoint(key, step, &file) else { return Ok(()) };
    if !send_objects(store, tier, checkpoint.state.parts.values())? {
        return Ok(());
    }
    // What `newest` names is there.
    let step = step.to_string();
    for (name, bytes) in [(name, &file[..]), (newest_checkpoint_path(key), step.as_bytes())] {
        tier.remote.put(&name, &mut &bytes[..], bytes.len() as u64, false)?;
    }
    Ok(())
}
