//! Removing what nobody needs any more.
//!
//! What is young stays, whoever needs it: a run in another process may be about to. Records go
//! first, then checkpoints, then objects, so that a collection cut off anywhere leaves nothing that
//! promises what is gone.

use super::{Store, lease, objects, retry, walk};
use crate::{Artifact, Digest, Key, StoreError};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

/// What is to be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeepSet {
    /// The computations whose results are, unless a size is asked for.
    pub records: BTreeSet<Key>,
    /// The trajectories whose checkpoints are, unless a size is asked for.
    pub trajectories: BTreeSet<Key>,
    /// The computations and trajectories that somebody is using now: kept in any case.
    pub in_use: BTreeSet<Key>,
    /// What was written since then, in seconds since 1970 by the clock of the file system, is
    /// kept in any case: the oldest run that goes on may have made it.
    pub since: Option<i64>,
}

/// What is stored again within this time of an earlier writing is not marked anew, so a run may
/// rely on what is as much older than itself; and clocks differ.
const SLACK: i64 = 600;

/// How to collect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcOptions {
    /// Removes nothing, and tells what would be removed.
    pub dry_run: bool,
    /// Leaves alone what is younger than this: an hour, unless said otherwise. Below a
    /// minute, what another process is just writing may be taken from it.
    pub min_age: Duration,
    /// Goes on with what was to be kept until no more bytes of objects are left than this: first
    /// all but the last checkpoint of each trajectory, then the records that are cheapest to
    /// compute again, in seconds per byte; a shared object counts for its share.
    pub max_bytes: Option<u64>,
}

impl Default for GcOptions {
    fn default() -> Self {
        Self { dry_run: false, min_age: Duration::from_secs(3600), max_bytes: None }
    }
}

/// What was removed, or would be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GcReport {
    /// How many records.
    pub records: u64,
    /// How many objects.
    pub objects: u64,
    /// How many checkpoints.
    pub checkpoints: u64,
    /// How many files that a killed process left in `tmp/`.
    pub tmp: u64,
    /// How many damaged files that had been set aside.
    pub quarantine: u64,
    /// How many bytes all these had.
    pub bytes: u64,
    /// How many bytes of objects are left.
    pub bytes_left: u64,
    /// How many seconds it took to compute what the records held.
    pub seconds_lost: f64,
}

/// A collection under way, from the look at who uses what to the end of the removals. Runs that are
/// about to begin wait for it.
#[derive(Debug)]
pub struct GcLock {
    _locked: Option<File>,
}

/// The file that is locked meanwhile.
const COLLECTING: &str = "collecting";

struct GcEntry {
    path: PathBuf,
    bytes: u64,
    /// Whether it may go at all: it is old enough, and nobody is at it.
    collectable: bool,
    /// What it refers to; nothing, if it cannot be read.
    artifact: Artifact,
    seconds: f64,
}

/// One collection.
struct Gc<'a> {
    store: &'a Store,
    options: GcOptions,
    /// What has changed since then, in seconds since 1970, is young.
    young_since: i64,
    report: GcReport,
    records: BTreeMap<Key, GcEntry>,
    /// By trajectory and step.
    checkpoints: BTreeMap<(Key, u64), GcEntry>,
    objects: BTreeMap<Digest, GcEntry>,
    /// How many of the records and checkpoints that stay refer to an object.
    uses: BTreeMap<Digest, u64>,
}

impl Store {
    /// Waits until no run is just beginning and no other collection under way, and lets none begin
    /// until what it returns is dropped: to be held while it is found out what runs use, and while
    /// [`gc`](Self::gc) removes the rest. Where a file system has no locks it holds up nobody.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the store cannot be written.
    pub fn lock_for_gc(&self) -> Result<GcLock, StoreError> {
        let file = self.collecting_file()?;
        Ok(GcLock { _locked: file.filter(|file| retry::retrying(|| file.lock()).is_ok()) })
    }

    /// Waits until no collection is under way. To be called by a run that has made itself known,
    /// before its first stage: what it makes from then on is safe.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the store cannot be written.
    pub fn wait_for_collection(&self) -> Result<(), StoreError> {
        // Given back at once: a collection that begins after this one sees the run.
        if let Some(file) = self.collecting_file()? {
            let _ = retry::retrying(|| file.lock_shared());
        }
        Ok(())
    }

    /// Opens the file that is locked, or returns `None` if it is another's who keeps it to himself:
    /// then nobody waits.
    fn collecting_file(&self) -> Result<Option<File>, StoreError> {
        self.writable()?;
        let path = self.at(COLLECTING);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o666);
        let open = || {
            options.open(&path).or_else(|error| match error.kind() {
                // Another user's: it can be locked all the same.
                io::ErrorKind::PermissionDenied => File::open(&path).map_err(|_| error),
                _ => Err(error),
            })
        };
        match retry::retrying(open) {
            Ok(file) => {
                self.chmod_for_group(&file);
                Ok(Some(file))
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
            Err(error) => Err(self.io_or_gone("lock", &path, error)),
        }
    }

    /// Removes what is neither in `keep`, nor referred to from there, nor young; then, up to the
    /// size asked for, what is cheapest to make again.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the store cannot be read, or something cannot be removed.
    pub fn gc(&self, keep: &KeepSet, options: GcOptions) -> Result<GcReport, StoreError> {
        if !options.dry_run {
            self.writable()?;
        }
        let now = super::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Rounded up: an age of zero leaves nothing young, not even what was written this second.
        let by_age = now.saturating_sub(options.min_age).as_secs().saturating_add(1);
        let by_age = i64::try_from(by_age).unwrap_or(i64::MAX);
        let young_since =
            keep.since.map_or(by_age, |since| by_age.min(since.saturating_sub(SLACK)));
        let mut gc = Gc {
            store: self,
            options,
            young_since,
            report: GcReport::default(),
            records: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            objects: BTreeMap::new(),
            uses: BTreeMap::new(),
        };
        gc.scan(&keep.in_use)?;
        gc.drop_unreached(keep)?;
        gc.drop_to_size()?;
        gc.drop_unused()?;
        gc.sweep()?;
        Ok(gc.report)
    }
}

impl Gc<'_> {
    fn scan(&mut self, in_use: &BTreeSet<Key>) -> Result<(), StoreError> {
        for (key, path) in self.store.list_ids::<Key>("records", ".json")?.named {
            let Some(mut entry) = self.entry(path)? else { continue };
            entry.collectable &= !in_use.contains(&key) && !self.store.is_leased(key);
            if let Some(record) = self.store.record(key)? {
                (entry.artifact, entry.seconds) = (record.output, record.provenance.seconds);
            }
            self.records.insert(key, entry);
        }
        for (key, _) in self.store.list_ids::<Key>("checkpoints", "")?.named {
            let mut all = vec![];
            let used = in_use.contains(&key) || self.store.is_leased(key);
            for (step, path) in self.store.steps(key)? {
                let Some(mut entry) = self.entry(path)? else { continue };
                if let Some(Ok(checkpoint)) = self.store.peek_checkpoint(key, step)? {
                    entry.artifact = checkpoint.state;
                }
                all.push((step, entry));
            }
            // A training that goes on may want any of its checkpoints.
            let collectable = !used && all.iter().all(|(_, entry)| entry.collectable);
            self.checkpoints.extend(
                all.into_iter()
                    .map(|(step, entry)| ((key, step), GcEntry { collectable, ..entry })),
            );
        }
        for (digest, path) in self.store.list_ids::<Digest>("objects", "")?.named {
            if let Some(entry) = self.entry(path)? {
                self.report.bytes_left += entry.bytes;
                self.objects.insert(digest, entry);
            }
        }
        for entry in self.records.values().chain(self.checkpoints.values()) {
            for digest in digests(&entry.artifact) {
                *self.uses.entry(digest).or_default() += 1;
            }
        }
        Ok(())
    }

    fn entry(&self, path: PathBuf) -> Result<Option<GcEntry>, StoreError> {
        let Some(stat) = objects::lstat(&path)? else { return Ok(None) };
        let (bytes, collectable) =
            (objects::size(&stat), objects::changed(&stat) < self.young_since);
        let artifact = Artifact { kind: String::new(), parts: BTreeMap::new() };
        Ok(Some(GcEntry { path, bytes, collectable, artifact, seconds: 0.0 }))
    }

    fn drop_unreached(&mut self, keep: &KeepSet) -> Result<(), StoreError> {
        let unreached = |(key, entry): (&Key, &GcEntry)| {
            (entry.collectable && !keep.records.contains(key)).then_some(*key)
        };
        let records: Vec<Key> = self.records.iter().filter_map(unreached).collect();
        records.into_iter().try_for_each(|key| self.drop_record(key))?;
        let unreached = |(id, entry): (&(Key, u64), &GcEntry)| {
            (entry.collectable && !keep.trajectories.contains(&id.0)).then_some(*id)
        };
        let checkpoints: Vec<_> = self.checkpoints.iter().filter_map(unreached).collect();
        checkpoints.into_iter().try_for_each(|id| self.drop_checkpoint(id))
    }

    fn drop_to_size(&mut self) -> Result<(), StoreError> {
        let Some(most) = self.options.max_bytes else { return Ok(()) };
        let used = |gc: &Self, digest: &Digest| gc.uses.get(digest).is_some_and(|uses| *uses > 0);
        let mut bytes: u64 = self
            .objects
            .iter()
            .filter(|(digest, entry)| used(self, digest) || !entry.collectable)
            .map(|(_, entry)| entry.bytes)
            .sum();
        // Removes one, and returns how many bytes that makes collectable.
        let freed = |gc: &Self, parts: BTreeSet<Digest>| -> u64 {
            let free = parts.iter().filter(|digest| !used(gc, digest));
            let free =
                free.filter_map(|digest| gc.objects.get(digest)).filter(|one| one.collectable);
            free.map(|one| one.bytes).sum()
        };

        let ids: Vec<(Key, u64)> = self.checkpoints.keys().copied().collect();
        for pair in ids.windows(2) {
            let (id, next) = (pair[0], pair[1]);
            if bytes <= most {
                return Ok(());
            }
            let Some(entry) = self.checkpoints.get(&id).filter(|entry| entry.collectable) else {
                continue;
            };
            if id.0 == next.0 {
                let parts = digests(&entry.artifact);
                self.drop_checkpoint(id)?;
                bytes -= freed(self, parts);
            }
        }

        let mut cheapest: Vec<(f64, Key)> = vec![];
        for (key, entry) in self.records.iter().filter(|(_, entry)| entry.collectable) {
            let share = digests(&entry.artifact).into_iter().map(|digest| {
                let bytes = self.objects.get(&digest).map_or(0, |object| object.bytes);
                bytes as f64 / self.uses.get(&digest).copied().unwrap_or(1).max(1) as f64
            });
            let bytes: f64 = share.sum();
            // A record without bytes frees nothing.
            if bytes > 0.0 {
                cheapest.push((entry.seconds / bytes, *key));
            }
        }
        // Ties go by key.
        cheapest.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
        for (_, key) in cheapest {
            if bytes <= most {
                return Ok(());
            }
            let Some(entry) = self.records.get(&key) else { continue };
            let parts = digests(&entry.artifact);
            self.drop_record(key)?;
            bytes -= freed(self, parts);
        }
        Ok(())
    }

    fn drop_record(&mut self, key: Key) -> Result<(), StoreError> {
        let Some(entry) = self.records.remove(&key) else { return Ok(()) };
        self.forget(&entry.artifact);
        self.report.seconds_lost += entry.seconds;
        self.report.records += u64::from(self.remove(&entry.path, entry.bytes)?);
        Ok(())
    }

    fn drop_checkpoint(&mut self, id: (Key, u64)) -> Result<(), StoreError> {
        let Some(entry) = self.checkpoints.remove(&id) else { return Ok(()) };
        self.forget(&entry.artifact);
        self.report.checkpoints += u64::from(self.remove(&entry.path, entry.bytes)?);
        if let (false, Some(folder)) = (self.options.dry_run, entry.path.parent()) {
            // Refused unless it is empty.
            let _ = fs::remove_dir(folder);
        }
        Ok(())
    }

    fn forget(&mut self, artifact: &Artifact) {
        for digest in digests(artifact) {
            if let Some(uses) = self.uses.get_mut(&digest) {
                *uses -= 1;
            }
        }
    }

    fn drop_unused(&mut self) -> Result<(), StoreError> {
        for (digest, entry) in std::mem::take(&mut self.objects) {
            if !entry.collectable || self.uses.get(&digest).is_some_and(|uses| *uses > 0) {
                continue;
            }
            // Looked at again: storing the same bytes meanwhile has made it young.
            let still = self.entry(entry.path)?.filter(|entry| entry.collectable);
            let Some(entry) = still else { continue };
            self.report.objects += u64::from(self.remove(&entry.path, entry.bytes)?);
            self.report.bytes_left -= entry.bytes;
        }
        Ok(())
    }

    /// Removes what dead processes left behind.
    fn sweep(&mut self) -> Result<(), StoreError> {
        for (_, path) in walk::names(&self.store.at("tmp"))? {
            let Some(entry) = self.entry(path)?.filter(|entry| entry.collectable) else { continue };
            self.report.tmp += u64::from(self.remove(&entry.path, entry.bytes)?);
        }
        for (_, path) in walk::names(&self.store.at("quarantine"))? {
            let Some(entry) = self.entry(path)?.filter(|entry| entry.collectable) else { continue };
            self.report.quarantine += u64::from(self.remove(&entry.path, entry.bytes)?);
        }
        if self.options.dry_run {
            return Ok(());
        }
        for (name, path) in walk::names(&self.store.at("leases"))? {
            if let (Ok(key), Some(entry)) = (name.parse(), self.entry(path)?)
                && entry.collectable
                && !lease::is_locked(&entry.path)
            {
                // Taken and given back, which unlinks it only while it is ours.
                drop(self.store.lease(key)?);
            }
        }
        Ok(())
    }

    /// Removes a file and tells whether it was there.
    fn remove(&mut self, path: &Path, bytes: u64) -> Result<bool, StoreError> {
        if !self.options.dry_run {
            let removed = match retry::retrying(|| fs::remove_file(path)) {
                Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                    retry::retrying(|| fs::remove_dir_all(path))
                }
                other => other,
            };
            match removed {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                other => other.map_err(|error| StoreError::io("remove", path, error))?,
            }
        }
        self.report.bytes += bytes;
        Ok(true)
    }
}

/// Returns the objects of an artifact, each once.
fn digests(artifact: &Artifact) -> BTreeSet<Digest> {
    artifact.parts.values().map(|blob| blob.digest).collect()
}
