//! What a process knows of a remote store: the records it promised, what turned out to be gone,
//! whether it answers at all.

use super::{
    CopyError, RecordSignatures, RemoteError, RemoteStore, copy, permits::Permits, signature,
};
use crate::{
    Blob, Damage, Digest, Key, Record, Store, StoreError,
    store::{format_line, lock, object_path, record_path, unseal_record},
};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    io::Read as _,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

/// The failed requests in a row from which on a remote store is left alone.
const PATIENCE: u32 = 3;
/// The most bytes of a record. A longer file is none.
const LONGEST_RECORD: u64 = 256 << 20;

/// The options of a remote tier.
#[derive(Debug, Default)]
pub struct RemoteOptions {
    /// Its address, for messages.
    pub name: String,
    /// Whether results made here are sent there.
    pub writes: bool,
    /// The seconds of computation from which on a result is sent.
    pub min_seconds: f64,
    /// Whether checkpoints of trainings are sent and looked for there, too.
    pub checkpoints: bool,
    /// The public keys whose records count. If empty, every record does.
    pub trust: Vec<String>,
    /// What signs records that are sent, and verifies those of others.
    pub signatures: Option<Box<dyn RecordSignatures>>,
}

/// What went to and fro, and what did not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteCounts {
    /// The results that were found there.
    pub hits: u64,
    /// The requests for records.
    pub asked: u64,
    /// The objects fetched.
    pub fetched: u64,
    /// The bytes fetched, of records and objects.
    pub bytes_fetched: u64,
    /// The results sent.
    pub sent: u64,
    /// The bytes sent, of records and objects.
    pub bytes_sent: u64,
    /// The records that did not count, by the public key they are signed with; unsigned ones are
    /// under the empty name.
    pub ignored: BTreeMap<String, u64>,
}

/// A remote store, as one process uses it. It never fails what the process does: after three
/// failed requests in a row it is not asked any more.
#[derive(Debug)]
pub struct RemoteTier {
    pub(super) remote: Box<dyn RemoteStore>,
    pub(super) options: RemoteOptions,
    /// The folder of documents in which its records are kept between runs.
    pub(super) folder: String,
    known: Mutex<BTreeMap<Key, Answer>>,
    lost: Mutex<BTreeMap<Digest, Damage>>,
    fetching: Mutex<BTreeSet<Digest>>,
    fetched: Condvar,
    requests: Permits,
    failures: AtomicU32,
    is_off: AtomicBool,
    is_closed_to_writes: AtomicBool,
    told_of_refused_reads: AtomicBool,
    prepared: Mutex<bool>,
    notes: Mutex<Vec<String>>,
    counts: Mutex<RemoteCounts>,
}

/// What a remote store has under a key.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Record(Arc<RemoteRecord>),
    Nothing,
    /// A record that does not read: one made here takes its place.
    Damaged,
    /// A record that is signed by nobody who is trusted; by nobody at all, if `by` is empty.
    Untrusted {
        by: String,
    },
}

/// A record of a remote store.
#[derive(Debug)]
pub(crate) struct RemoteRecord {
    pub(crate) record: Record,
    /// Its file, with its signature.
    pub(super) file: Vec<u8>,
    counted: AtomicBool,
}

impl RemoteTier {
    /// Returns the tier over `remote`.
    #[must_use]
    pub fn new(remote: Box<dyn RemoteStore>, options: RemoteOptions) -> Self {
        let folder = format!(
            "{}{}",
            super::FOLDER_PREFIX,
            &Digest::of(options.name.as_bytes()).short()[..8]
        );
        Self {
            remote,
            options,
            folder,
            known: Mutex::default(),
            lost: Mutex::default(),
            fetching: Mutex::default(),
            fetched: Condvar::new(),
            requests: Permits::new(super::PARALLEL),
            failures: AtomicU32::new(0),
            is_off: AtomicBool::new(false),
            is_closed_to_writes: AtomicBool::new(false),
            told_of_refused_reads: AtomicBool::new(false),
            prepared: Mutex::default(),
            notes: Mutex::default(),
            counts: Mutex::default(),
        }
    }

    /// Returns the address, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// Returns the store there.
    #[must_use]
    pub fn remote(&self) -> &dyn RemoteStore {
        &*self.remote
    }

    /// Tells whether it is not asked any more, after failures.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.is_off.load(Ordering::Relaxed)
    }

    /// Tells whether results can be sent: that was asked for, and not refused.
    #[must_use]
    pub fn takes_writes(&self) -> bool {
        self.options.writes && !self.is_off() && !self.is_closed_to_writes.load(Ordering::Relaxed)
    }

    /// Returns what went to and fro so far.
    #[must_use]
    pub fn counts(&self) -> RemoteCounts {
        lock(&self.counts).clone()
    }

    /// Returns what there is to tell since the last call: lines for people.
    #[must_use]
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.notes))
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut RemoteCounts)) {
        change(&mut lock(&self.counts));
    }

    /// Takes note of a request that was answered.
    pub(super) fn answered(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// Takes note of a request that failed; after some in a row, the remote store is left alone.
    pub(super) fn failed(&self, error: &RemoteError) {
        let in_a_row = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if in_a_row >= PATIENCE && !self.is_off.swap(true, Ordering::Relaxed) {
            self.note(format!("{}; it is left alone from here on", error.line()));
        }
    }

    /// Takes note of a refused write: nothing more is sent.
    pub(super) fn write_refused(&self, error: &RemoteError) {
        if !self.is_closed_to_writes.swap(true, Ordering::Relaxed) {
            self.note(format!("{}; nothing is sent, it is still read", error.line()));
        }
    }

    fn note(&self, what: String) {
        lock(&self.notes).push(format!("remote {}: {what}", self.options.name));
    }

    /// Takes note of a refused read. Some servers refuse what is not there, so it counts as that.
    fn read_refused(&self, error: &RemoteError) {
        if !self.told_of_refused_reads.swap(true, Ordering::Relaxed) {
            self.note(format!("{}; what it refuses counts as not there", error.line()));
        }
    }

    /// Returns the whole file `name`, or `None` if it is not there or cannot be had.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        self.try_read(name).flatten()
    }

    /// Returns the whole file `name`, `None` in it if there is none, and `None` if that is not known.
    fn try_read(&self, name: &str) -> Option<Option<Vec<u8>>> {
        let _permit = self.requests.take();
        if self.is_off() {
            return None;
        }
        self.count(|counts| counts.asked += 1);
        let read = || -> Result<Option<Vec<u8>>, RemoteError> {
            let Some(body) = self.remote.get(name)? else { return Ok(None) };
            let mut bytes = vec![];
            let read = body.take(LONGEST_RECORD).read_to_end(&mut bytes);
            read.map_err(|error| RemoteError::failed(name, error))?;
            Ok(Some(bytes))
        };
        match read() {
            Ok(found) => {
                self.answered();
                let bytes = found.as_ref().map_or(0, Vec::len) as u64;
                self.count(|counts| counts.bytes_fetched += bytes);
                Some(found)
            }
            Err(error @ RemoteError::Refused { .. }) => {
                self.answered();
                self.read_refused(&error);
                Some(None)
            }
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    /// Writes a whole file, and tells whether it is there now.
    pub fn write(&self, name: &str, bytes: &[u8]) -> bool {
        if !self.takes_writes() {
            return false;
        }
        match self.remote.put(name, &mut &bytes[..], bytes.len() as u64, false) {
            Ok(_) => {
                self.answered();
                self.count(|counts| counts.bytes_sent += bytes.len() as u64);
                true
            }
            Err(error @ RemoteError::Refused { .. }) => {
                self.write_refused(&error);
                false
            }
            Err(error) => {
                self.failed(&error);
                false
            }
        }
    }

    /// Makes sure that what is written to is a store of this format, or nothing yet. It is asked
    /// once.
    pub(super) fn prepare(&self) -> Result<bool, RemoteError> {
        let mut prepared = lock(&self.prepared);
        if !*prepared {
            let mut text = String::new();
            if let Some(body) = self.remote.get("format")? {
                let read = body.take(100).read_to_string(&mut text);
                read.map_err(|error| RemoteError::failed("format", error))?;
            } else {
                text = format_line();
                self.remote.put("format", &mut text.as_bytes(), text.len() as u64, true)?;
            }
            if text != format_line() {
                if !self.is_closed_to_writes.swap(true, Ordering::Relaxed) {
                    let start: String = text.trim_end().chars().take(40).collect();
                    self.note(format!("its file `format` says `{start}`; nothing is sent"));
                }
                return Ok(false);
            }
            *prepared = true;
        }
        Ok(true)
    }

    /// Returns what the remote store has under `key`, as far as that is known.
    pub(super) fn known(&self, key: Key) -> Option<Answer> {
        lock(&self.known).get(&key).cloned()
    }

    /// Returns what the remote store has under `key`. It is asked once; what it has is kept in
    /// `store` for later runs.
    pub(super) fn ask(&self, store: &Store, key: Key) -> Answer {
        if let Some(known) = self.known(key) {
            return known;
        }
        let name = key.to_string();
        let kept = store.document(&self.folder, &name).ok().map(|file| self.examine(key, file));
        let answer = match kept.filter(|kept| matches!(kept, Answer::Record(_))) {
            Some(kept) => kept,
            None => match self.try_read(&record_path(key)) {
                // It may be asked again, as long as it is not off.
                None => return Answer::Nothing,
                Some(None) => Answer::Nothing,
                Some(Some(file)) => self.examine(key, file),
            },
        };
        match lock(&self.known).entry(key) {
            Entry::Occupied(known) => return known.get().clone(),
            Entry::Vacant(unknown) => unknown.insert(answer.clone()),
        };
        match &answer {
            Answer::Record(found) => {
                // Only kept to save a request.
                store.put_document(&self.folder, &name, &found.file).ok();
            }
            Answer::Untrusted { by } => {
                self.count(|counts| *counts.ignored.entry(by.clone()).or_default() += 1);
            }
            Answer::Nothing | Answer::Damaged => {}
        }
        answer
    }

    /// Returns what the file of a record is worth, under the trust that was asked for.
    fn examine(&self, key: Key, file: Vec<u8>) -> Answer {
        let Some(record) = unseal_record(key, &file) else { return Answer::Damaged };
        if !self.options.trust.is_empty() {
            let signed = signature::of_file(&file);
            let is_trusted = signed.as_ref().is_some_and(|line| {
                let message = signature::message(key, signature::record_line(&file));
                let verifier = self.options.signatures.as_deref();
                self.options.trust.contains(&line.by)
                    && verifier.is_some_and(|one| one.verify(&line.by, &message, &line.sig))
            });
            if !is_trusted {
                return Answer::Untrusted { by: signed.map(|line| line.by).unwrap_or_default() };
            }
        }
        Answer::Record(Arc::new(RemoteRecord { record, file, counted: AtomicBool::new(false) }))
    }

    /// Returns the record of `key` there, if nothing it promises is known to be gone.
    pub(super) fn record(&self, store: &Store, key: Key) -> Option<Arc<RemoteRecord>> {
        let Answer::Record(found) = self.ask(store, key) else { return None };
        if self.is_broken(&found.record) {
            return None;
        }
        if !found.counted.swap(true, Ordering::Relaxed) {
            self.count(|counts| counts.hits += 1);
        }
        Some(found)
    }

    /// Tells whether an object that `record` promises is known to be gone.
    pub(super) fn is_broken(&self, record: &Record) -> bool {
        let lost = lock(&self.lost);
        record.output.parts.values().any(|blob| lost.contains_key(&blob.digest))
    }

    /// Tells whether the object is known to be gone or damaged there.
    pub(super) fn has_lost(&self, digest: &Digest) -> bool {
        lock(&self.lost).contains_key(digest)
    }

    /// Returns the records known so far.
    pub(super) fn records(&self) -> Vec<(Key, Arc<RemoteRecord>)> {
        let known = lock(&self.known);
        let records = known.iter().filter_map(|(key, answer)| match answer {
            Answer::Record(found) => Some((*key, Arc::clone(found))),
            _ => None,
        });
        records.collect()
    }

    fn lose(&self, store: &Store, digest: Digest, damage: Damage) -> Damage {
        lock(&self.lost).insert(digest, damage.clone());
        for (key, found) in self.records() {
            if found.record.output.parts.values().any(|blob| blob.digest == digest) {
                store.remove_document(&self.folder, &key.to_string()).ok();
            }
        }
        damage
    }

    /// Fetches an object into `store`. Several threads that want one object fetch it once.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if the remote store does not have it whole or is off, and
    /// [`StoreError::Io`] if it cannot be written here.
    pub(super) fn fetch(&self, store: &Store, blob: &Blob) -> Result<(), StoreError> {
        let damaged = |what| Err(StoreError::Damaged { digest: blob.digest, what });
        let mut fetching = lock(&self.fetching);
        while !fetching.insert(blob.digest) {
            fetching = self.fetched.wait(fetching).unwrap_or_else(PoisonError::into_inner);
        }
        drop(fetching);
        let _end = EndOfFetch { tier: self, digest: blob.digest };
        // Another thread may have fetched it meanwhile.
        if store.has_object(blob)? {
            return Ok(());
        }
        if let Some(damage) = lock(&self.lost).get(&blob.digest).cloned() {
            return damaged(damage);
        }
        let mut why = "the remote store is off".to_owned();
        while !self.is_off() {
            match self.download(store, blob)? {
                Ok(None) => return Ok(()),
                Ok(Some(damage)) => return damaged(self.lose(store, blob.digest, damage)),
                Err(error) => {
                    self.failed(&error);
                    why = error.line();
                }
            }
        }
        damaged(self.lose(store, blob.digest, Damage::NotFetched { why }))
    }

    /// Downloads an object and installs it, if its digest is right; otherwise returns what is wrong
    /// with it.
    fn download(
        &self,
        store: &Store,
        blob: &Blob,
    ) -> Result<Result<Option<Damage>, RemoteError>, StoreError> {
        let name = object_path(&blob.digest);
        let mut body = match self.remote.get(&name) {
            Ok(Some(body)) => body,
            Ok(None) => {
                self.answered();
                return Ok(Ok(Some(Damage::NotFetched { why: "it is not there".to_owned() })));
            }
            Err(error @ RemoteError::Refused { .. }) => {
                self.answered();
                self.read_refused(&error);
                return Ok(Ok(Some(Damage::NotFetched { why: error.line() })));
            }
            Err(error) => return Ok(Err(error)),
        };
        let mut writer = store.writer()?;
        // A byte more than it has tells that it is too long.
        let copied = match copy(&mut *body, &mut writer, blob.size.saturating_add(1)) {
            Ok(copied) => copied,
            Err(CopyError::Read(error)) => return Ok(Err(RemoteError::failed(&name, error))),
            Err(CopyError::Write(error)) => {
                return Err(StoreError::io("write", store.root(), error));
            }
        };
        self.count(|counts| counts.bytes_fetched += copied);
        let cut_short = copied < blob.size;
        if writer.finish_as(blob)? {
            self.answered();
            self.count(|counts| counts.fetched += 1);
            return Ok(Ok(None));
        }
        if cut_short {
            let why = format!("{copied} of {} bytes came", blob.size);
            return Ok(Err(RemoteError::failed(&name, why)));
        }
        self.answered();
        Ok(Ok(Some(Damage::NotFetched { why: "it holds other bytes there".to_owned() })))
    }
}

/// Lets the other threads that want the same object go on, when dropped.
struct EndOfFetch<'a> {
    tier: &'a RemoteTier,
    digest: Digest,
}

impl Drop for EndOfFetch<'_> {
    fn drop(&mut self) {
        lock(&self.tier.fetching).remove(&self.digest);
        self.tier.fetched.notify_all();
    }
}
