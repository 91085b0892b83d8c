//! What a store takes from its remote tier, and what it sends there.

use super::{PARALLEL, RemoteTier, Uploads, tier::RemoteRecord};
use crate::{Blob, Key, Record, Store, StoreError, store::lock};
use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

/// The folder of documents that name results yet to be sent.
pub(super) const UNSENT: &str = "unsent";

impl Store {
    /// Attaches a remote tier: what is not here is looked up there, and what is computed is sent
    /// there, if the tier takes writes.
    #[must_use]
    pub fn with_remote(mut self, tier: Arc<RemoteTier>) -> Self {
        if tier.takes_writes() && !self.is_read_only() {
            self.uploads = Uploads::start(self.root(), &tier);
        }
        self.remote = Some(tier);
        self
    }

    /// Returns the remote tier, if one is attached.
    #[must_use]
    pub fn remote(&self) -> Option<&RemoteTier> {
        self.remote.as_deref()
    }

    /// Asks the remote tier for the records of `keys` that are not here, many at once, so that
    /// look-ups find its answers. Without a remote tier, nothing is done.
    pub fn prefetch_records(&self, keys: &[Key]) {
        let Some(tier) = self.remote.as_deref().filter(|tier| !tier.is_off()) else { return };
        let open: Vec<Key> = keys
            .iter()
            .copied()
            .filter(|key| tier.known(*key).is_none() && !self.has_record(*key))
            .collect();
        at_once(PARALLEL, &open, |key| {
            tier.ask(self, *key);
        });
    }

    /// Returns the record that the remote tier has of `key`, with the bytes of its objects here or
    /// there.
    pub(crate) fn remote_record(&self, key: Key) -> Option<Arc<RemoteRecord>> {
        self.remote.as_deref()?.record(self, key)
    }

    /// Tells whether the output of `key` is not here and was promised by the remote tier.
    #[must_use]
    pub fn is_remote(&self, key: Key) -> bool {
        let known = self.remote.as_deref().and_then(|tier| tier.known(key));
        matches!(known, Some(super::tier::Answer::Record(_))) && !self.has_record(key)
    }

    /// Fetches an object that is not here, if a remote tier is attached, and tells whether it did.
    pub(crate) fn fetch(&self, blob: &Blob) -> Result<bool, StoreError> {
        let Some(tier) = self.remote.as_deref() else { return Ok(false) };
        tier.fetch(self, blob).map(|()| true)
    }

    /// Fetches the objects of those of `keys` that the remote tier has and this store has not, many
    /// at once. What does not come is no hit any more.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if they cannot be written.
    pub fn prefetch_objects(&self, keys: &[Key]) -> Result<(), StoreError> {
        let mut blobs = vec![];
        for key in keys.iter().filter(|key| !self.has_record(**key)) {
            let found = self.remote_record(*key);
            blobs
                .extend(found.iter().flat_map(|found| found.record.output.parts.values()).copied());
        }
        self.fetch_objects(blobs)
    }

    /// Fetches those of `blobs` that are not here from the remote tier, many at once. What does not
    /// come is no hit any more.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if they cannot be written.
    pub fn fetch_objects(&self, mut blobs: Vec<Blob>) -> Result<(), StoreError> {
        blobs.sort_unstable();
        blobs.dedup();
        let failed = Mutex::new(None);
        at_once(PARALLEL, &blobs, |blob| {
            let fetched = match self.has_object(blob) {
                Ok(true) => return,
                Ok(false) => self.fetch(blob).map(|_| ()),
                Err(error) => Err(error),
            };
            match fetched {
                Ok(()) | Err(StoreError::Damaged { .. }) => {}
                Err(error) => *lock(&failed) = Some(error),
            }
        });
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// Fetches the results of `keys` with all their objects, and returns how many of these are here
    /// at the end.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if they cannot be written.
    pub fn pull(&self, keys: &[Key]) -> Result<usize, StoreError> {
        self.prefetch_records(keys);
        self.prefetch_objects(keys)?;
        self.keep_fetched()?;
        Ok(keys.iter().filter(|key| self.has_record(**key)).count())
    }

    /// Keeps the records of the remote tier whose objects are all here by now as records of this
    /// store.
    pub(crate) fn keep_fetched(&self) -> Result<(), StoreError> {
        let Some(tier) = self.remote.as_deref().filter(|_| !self.is_read_only()) else {
            return Ok(());
        };
        for (key, found) in tier.records() {
            if self.has_record(key) {
                continue;
            }
            let mut parts = found.record.output.parts.values();
            if parts
                .try_fold(true, |all, blob| Ok::<_, StoreError>(all && self.has_object(blob)?))?
            {
                self.place_record(key, &found.file)?;
                self.remove_document(&tier.folder, &key.to_string())?;
            }
        }
        Ok(())
    }

    /// Has the result of `record` sent, if it took as long as the tier asks for.
    pub(crate) fn send_if_worth(&self, key: Key, record: &Record) {
        let Some(tier) = self.remote.as_deref() else { return };
        if record.provenance.seconds >= tier.options.min_seconds {
            self.send(&[key]);
        }
    }

    /// Has the results of `keys` sent to the remote tier, in the background. What is not sent when
    /// the process ends is sent by a later one.
    pub fn send(&self, keys: &[Key]) {
        let Some(uploads) = &self.uploads else { return };
        for key in keys {
            // Without the note it is sent all the same, by this process.
            self.put_document(UNSENT, &key.to_string(), b"").ok();
            uploads.queue(*key);
        }
    }

    /// Waits until everything is sent that can be, or `stop` is set, and returns how many results
    /// are left. `on` is called now and then with that number.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the store cannot be read.
    pub fn finish_sending(
        &self,
        stop: &AtomicBool,
        on: &mut dyn FnMut(usize),
    ) -> Result<usize, StoreError> {
        let (Some(uploads), Some(tier)) = (&self.uploads, self.remote.as_deref()) else {
            return Ok(0);
        };
        uploads.wait(stop, on);
        // Those of earlier runs, and those for which there was no room in the queue.
        let mut tried = BTreeSet::new();
        loop {
            let left = self.unsent()?;
            let open: Vec<Key> = left.iter().copied().filter(|key| tried.insert(*key)).collect();
            if open.is_empty() || !tier.takes_writes() || stop.load(Ordering::Relaxed) {
                return Ok(left.len());
            }
            for key in open {
                uploads.queue(key);
            }
            uploads.wait(stop, on);
        }
    }

    /// Returns the keys of the results that are yet to be sent.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the store cannot be read.
    pub fn unsent(&self) -> Result<Vec<Key>, StoreError> {
        Ok(self.documents(UNSENT)?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Opens the store at `root` for a thread that sends what is in it.
    pub(super) fn for_sending(root: &Path) -> Option<Self> {
        Self::open_existing(root).ok().flatten()
    }
}

/// Calls `work` for every one of `all`, for at most `threads` at once.
fn at_once<T: Sync>(threads: usize, all: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let run = || {
        while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(one);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.min(all.len()) {
            let spawned = thread::Builder::new().name("remote".to_owned()).spawn_scoped(scope, run);
            // With fewer threads it takes longer.
            if spawned.is_err() {
                break;
            }
        }
        run();
    });
}
