//! Garbage collection: removes records, checkpoints and objects that no run needs.
//!
//! Young files stay in any case: a run in another process may be about to use them. Records go
//! first, then checkpoints, then objects, so that a collection killed half-way leaves no record of
//! a missing object.

use super::{Store, objects, retry, walk};
use crate::{Artifact, Digest, Key, StoreError, remote};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

/// The set of records and checkpoints that a garbage collection keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeepSet {
    /// The keys of records to keep, unless [`GcOptions::max_bytes`] takes them, too.
    pub records: BTreeSet<Key>,
    /// The trajectories whose checkpoints to keep, unless [`GcOptions::max_bytes`] takes them, too.
    pub trajectories: BTreeSet<Key>,
    /// The keys and trajectories in use by a run that goes on: kept in any case.
    pub in_use: BTreeSet<Key>,
    /// The start of the oldest run that goes on, in seconds since 1970 by the clock of the file
    /// system: files written since are kept in any case.
    pub since: Option<i64>,
}

/// Seconds by which a file may be older than the run that uses it and is still kept: an object
/// stored again is not touched at once, and clocks differ.
const SLACK: i64 = 600;

/// Options of a garbage collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcOptions {
    /// Removes nothing, and reports what would be removed.
    pub dry_run: bool,
    /// Files younger than this are kept; an hour by default. Below a minute, files that another
    /// process is writing may be removed under it.
    pub min_age: Duration,
    /// The bytes of objects that may be left. Above it, what was to be kept is removed, too: first
    /// all but the last checkpoint of each trajectory, then the records that are cheapest to
    /// compute again, in seconds per byte; a shared object counts for its share.
    pub max_bytes: Option<u64>,
}

impl Default for GcOptions {
    fn default() -> Self {
        Self { dry_run: false, min_age: Duration::from_secs(3600), max_bytes: None }
    }
}

/// Counts and bytes of what a garbage collection removed, or would remove.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GcReport {
    /// The number of records removed.
    pub records: u64,
    /// The number of objects removed.
    pub objects: u64,
    /// The number of checkpoints removed.
    pub checkpoints: u64,
    /// The number of files removed that a killed process left in `tmp/`.
    pub tmp: u64,
    /// The number of records of remote tiers removed.
    pub remote_records: u64,
    /// The number of damaged files removed from quarantine.
    pub quarantine: u64,
    /// The bytes of all these.
    pub bytes: u64,
    /// The bytes of objects left.
    pub bytes_left: u64,
    /// The seconds it took to compute the results whose records were removed.
    pub seconds_lost: f64,
}

/// The lock of a garbage collection, held from the search for runs that go on to the last removal.
/// Runs that are about to begin wait for it.
#[derive(Debug)]
pub struct GcLock {
    _locked: Option<File>,
}

/// The name of the file that is locked.
const COLLECTING: &str = "collecting";

struct GcEntry {
    path: PathBuf,
    bytes: u64,
    /// Whether it may be removed: it is old enough, and not in use.
    collectable: bool,
    /// The objects it refers to; none, if it cannot be read.
    artifact: Artifact,
    seconds: f64,
}

/// A garbage collection under way.
struct Gc<'a> {
    store: &'a Store,
    options: GcOptions,
    /// Files with a change time (ctime) from here on, in seconds since 1970, are young.
    young_since: i64,
    report: GcReport,
    records: BTreeMap<Key, GcEntry>,
    /// The checkpoints, by trajectory and step.
    checkpoints: BTreeMap<(Key, u64), GcEntry>,
    objects: BTreeMap<Digest, GcEntry>,
    /// The number of kept records and checkpoints that refer to each object.
    uses: BTreeMap<Digest, u64>,
}

impl Store {
    /// Locks the store for a garbage collection: waits for runs that are just beginning and for
    /// other collections, and holds up new ones until the lock is dropped. To be held while the
    /// caller finds the runs that go on, and during [`gc`](Self::gc). Where a file system has no
    /// locks, nothing is held up.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the store cannot be written.
    pub fn lock_for_gc(&self) -> Result<GcLock, StoreError> {
        let file = self.gc_lock_file()?;
        Ok(GcLock { _locked: file.filter(|file| retry::retrying(|| file.lock()).is_ok()) })
    }

    /// Waits until no garbage collection is under way. To be called by a run after it has written
    /// its record and before its first stage: results it stores from then on are kept.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the store cannot be written.
    pub fn wait_for_collection(&self) -> Result<(), StoreError> {
        // Released at once: a collection that begins later sees the run's record.
        if let Some(file) = self.gc_lock_file()? {
            let _ = retry::retrying(|| file.lock_shared());
        }
        Ok(())
    }

    /// Opens the file to lock, or returns `None` if another user does not let this one open it:
    /// then no process waits.
    fn gc_lock_file(&self) -> Result<Option<File>, StoreError> {
        self.writable()?;
        let path = self.at(COLLECTING);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o666);
        let open = || {
            options.open(&path).or_else(|error| match error.kind() {
                // Another user's file: it can be locked read-only, too.
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

    /// Collects garbage: removes records and checkpoints that are neither in `keep` nor young,
    /// then, down to the size asked for, those cheapest to compute again, then objects without a
    /// reference.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the store cannot be read, or something cannot be removed.
    pub fn gc(&self, keep: &KeepSet, options: GcOptions) -> Result<GcReport, StoreError> {
        if !options.dry_run {
            self.writable()?;
        }
        let now = super::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Rounded up: with an age of zero no file is young, not even one of this second.
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
        gc.sweep(keep)?;
        Ok(gc.report)
    }
}

impl Gc<'_> {
    fn scan(&mut self, in_use: &BTreeSet<Key>) -> Result<(), StoreError> {
        for (key, path) in self.store.list_ids::<Key>("records", ".json")?.named {
            let Some(mut entry) = self.read_entry(path)? else { continue };
            entry.collectable &= !in_use.contains(&key) && !self.store.is_leased(key);
            if let Some(record) = self.store.record(key)? {
                entry.artifact = record.output;
                entry.seconds = record.provenance.seconds;
            }
            self.records.insert(key, entry);
        }
        for (key, _) in self.store.list_ids::<Key>("checkpoints", "")?.named {
            let mut all = vec![];
            let used = in_use.contains(&key) || self.store.is_leased(key);
            for (step, path) in self.store.steps(key)? {
                let Some(mut entry) = self.read_entry(path)? else { continue };
                if let Some(Ok(checkpoint)) = self.store.peek_checkpoint(key, step)? {
                    entry.artifact = checkpoint.state;
                }
                all.push((step, entry));
            }
            // A training that goes on may resume from any of its checkpoints.
            let collectable = !used && all.iter().all(|(_, entry)| entry.collectable);
            self.checkpoints.extend(
                all.into_iter()
                    .map(|(step, entry)| ((key, step), GcEntry { collectable, ..entry })),
            );
        }
        for (digest, path) in self.store.list_ids::<Digest>("objects", "")?.named {
            if let Some(entry) = self.read_entry(path)? {
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

    fn read_entry(&self, path: PathBuf) -> Result<Option<GcEntry>, StoreError> {
        let Some(stat) = objects::lstat(&path)? else { return Ok(None) };
        Ok(Some(GcEntry {
            path,
            bytes: objects::size(&stat),
            collectable: objects::changed(&stat) < self.young_since,
            artifact: Artifact { kind: String::new(), parts: BTreeMap::new() },
            seconds: 0.0,
        }))
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
        // Returns the bytes of those objects that have no reference left.
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
        self.drop_references(&entry.artifact);
        self.report.seconds_lost += entry.seconds;
        self.report.records += u64::from(self.remove(&entry.path, entry.bytes)?);
        Ok(())
    }

    fn drop_checkpoint(&mut self, id: (Key, u64)) -> Result<(), StoreError> {
        let Some(entry) = self.checkpoints.remove(&id) else { return Ok(()) };
        self.drop_references(&entry.artifact);
        self.report.checkpoints += u64::from(self.remove(&entry.path, entry.bytes)?);
        if let (false, Some(folder)) = (self.options.dry_run, entry.path.parent()) {
            // Fails unless the folder is empty.
            let _ = fs::remove_dir(folder);
        }
        Ok(())
    }

    fn drop_references(&mut self, artifact: &Artifact) {
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
            // Read again: a process may have stored the same bytes since, and updated its ctime.
            let still = self.read_entry(entry.path)?.filter(|entry| entry.collectable);
            let Some(entry) = still else { continue };
            self.report.objects += u64::from(self.remove(&entry.path, entry.bytes)?);
            self.report.bytes_left -= entry.bytes;
        }
        Ok(())
    }

    /// Removes temporary files, quarantined files and leases that dead processes left behind.
    fn sweep(&mut self, keep: &KeepSet) -> Result<(), StoreError> {
        for (_, path) in walk::names(&self.store.at("tmp"))? {
            let Some(entry) = self.read_entry(path)?.filter(|entry| entry.collectable) else {
                continue;
            };
            self.report.tmp += u64::from(self.remove(&entry.path, entry.bytes)?);
        }
        self.sweep_remote_records(keep)?;
        for (_, path) in walk::names(&self.store.at("quarantine"))? {
            let Some(entry) = self.read_entry(path)?.filter(|entry| entry.collectable) else {
                continue;
            };
            self.report.quarantine += u64::from(self.remove(&entry.path, entry.bytes)?);
        }
        if self.options.dry_run {
            return Ok(());
        }
        for (name, path) in walk::names(&self.store.at("leases"))? {
            if let (Ok(key), Some(entry)) = (name.parse(), self.read_entry(path)?)
                && entry.collectable
                && !self.store.is_leased(key)
            {
                // Taken and dropped, which unlinks the file while it is locked.
                drop(self.store.lease(key)?);
            }
        }
        Ok(())
    }

    /// Removes records of remote tiers that nothing kept rests on: what needs one asks for it again.
    fn sweep_remote_records(&mut self, keep: &KeepSet) -> Result<(), StoreError> {
        for (folder, path) in walk::names(self.store.root())? {
            if !folder.starts_with(remote::FOLDER_PREFIX) {
                continue;
            }
            for (name, path) in walk::names(&path)? {
                let needed = |key: Key| keep.records.contains(&key) || keep.in_use.contains(&key);
                let entry = self.read_entry(path)?.filter(|entry| entry.collectable);
                let Some(entry) = entry.filter(|_| !name.parse().is_ok_and(needed)) else {
                    continue;
                };
                self.report.remote_records += u64::from(self.remove(&entry.path, entry.bytes)?);
            }
            if !self.options.dry_run {
                // Fails unless the folder is empty.
                let _ = fs::remove_dir(&path);
            }
        }
        Ok(())
    }

    /// Removes a file or folder, and tells whether it was there.
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

/// Returns the digests of the objects of an artifact, each once.
fn digests(artifact: &Artifact) -> BTreeSet<Digest> {
    artifact.parts.values().map(|blob| blob.digest).collect()
}
