//! Records: the recipe, the output and the provenance of each finished computation, by key.

use super::{Store, objects::Health, retry, seal, sharded};
use crate::{Artifact, Damage, Digest, Key, Recipe, Record, StoreError, remote};
use rustix::fs::{Access, AtFlags};
use serde::ser::Error as _;
use std::{fmt, fs, io};

const LABEL: &str = "record";
/// The seconds of computation from which on a result is fsynced before its record is visible.
const FSYNC_AFTER_SECONDS: f64 = 1.0;

/// The outcome of looking up a key.
#[derive(Debug)]
pub enum Lookup<T = Box<Record>> {
    /// A record whose objects are all whole, or the part of it that was asked for.
    Hit(T),
    /// No record.
    Absent,
    /// A damaged record or output; what is damaged is in quarantine.
    Damaged(LookupDamage),
}

/// The damage found by a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupDamage {
    /// Damage of the record.
    Record {
        /// The key of the record.
        key: Key,
        /// The damage.
        what: Damage,
    },
    /// Damaged objects of the output, by part.
    Objects(Vec<DamagedPart>),
}

/// A damaged object of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedPart {
    /// The part of the output.
    pub part: String,
    /// The digest of the object.
    pub digest: Digest,
    /// The damage.
    pub what: Damage,
}

impl fmt::Display for LookupDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record { key, what } => write!(f, "the record of {} {what}", key.short()),
            Self::Objects(objects) => {
                for (position, DamagedPart { part, digest, what }) in objects.iter().enumerate() {
                    let and = if position == 0 { "" } else { "; " };
                    write!(f, "{and}object {} (part `{part}`) {what}", digest.short())?;
                }
                Ok(())
            }
        }
    }
}

/// The outcome of committing a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The record is the first under its key, or its output equals that of the first.
    Stored,
    /// Another process committed another output first: the computation is not deterministic.
    Differs {
        /// The digest of the artifact already recorded.
        existing: Digest,
    },
}

impl Store {
    /// Returns the record of `key`, if it and all its objects are whole; otherwise that of the remote
    /// tier, if there is one, whose objects may be there.
    ///
    /// An object with the right size and modification time counts as whole; [`get`](Self::get)
    /// always verifies the digest.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the store cannot be read. Damage is not an error.
    pub fn lookup(&self, key: Key) -> Result<Lookup, StoreError> {
        let found = self.lookup_here(key)?;
        Ok(self.or_remote(key, found, |record| Box::new(record.clone())))
    }

    /// Returns `found` if it is a hit, otherwise what the remote tier has of `key`.
    fn or_remote<T>(&self, key: Key, found: Lookup<T>, of: impl Fn(&Record) -> T) -> Lookup<T> {
        match found {
            Lookup::Hit(_) => found,
            Lookup::Absent | Lookup::Damaged(_) => match self.remote_record(key) {
                Some(remote) => Lookup::Hit(of(&remote.record)),
                None => found,
            },
        }
    }

    fn lookup_here(&self, key: Key) -> Result<Lookup, StoreError> {
        let record = match self.read_record(key)? {
            None => return Ok(Lookup::Absent),
            Some(Err(what)) => {
                return Ok(Lookup::Damaged(LookupDamage::Record { key, what }));
            }
            Some(Ok(record)) => record,
        };
        self.hit_if_whole(record, |record| &record.output)
    }

    /// Returns the output recorded for `recipe`, whose key is `key`, as [`lookup`](Self::lookup)
    /// does. Faster: of a record as this build writes it, only the output is decoded.
    ///
    /// # Errors
    ///
    /// As [`lookup`](Self::lookup).
    pub fn lookup_output(&self, key: Key, recipe: &Recipe) -> Result<Lookup<Artifact>, StoreError> {
        let found = self.lookup_output_here(key, recipe)?;
        Ok(self.or_remote(key, found, |record| record.output.clone()))
    }

    fn lookup_output_here(
        &self,
        key: Key,
        recipe: &Recipe,
    ) -> Result<Lookup<Artifact>, StoreError> {
        let Some(sealed) = self.read_small(&record_path(key))? else { return Ok(Lookup::Absent) };
        let expected = || {
            let recipe = serde_json::to_vec(recipe).ok()?;
            let body =
                seal::body(LABEL, remote::record_line(&sealed))?.strip_prefix(b"{\"recipe\":")?;
            let output = body.strip_prefix(&recipe[..])?.strip_prefix(b",\"output\":")?;
            serde_json::Deserializer::from_slice(output).into_iter::<Artifact>().next()?.ok()
        };
        if let Some(output) = expected() {
            return self.hit_if_whole(output, |output| output);
        }
        // Damaged, or encoded in another way by another build.
        Ok(match self.lookup_here(key)? {
            Lookup::Hit(record) => Lookup::Hit(record.output),
            Lookup::Absent => Lookup::Absent,
            Lookup::Damaged(what) => Lookup::Damaged(what),
        })
    }

    /// Returns `found` as a hit, if every object of its output is whole.
    fn hit_if_whole<T>(
        &self,
        found: T,
        output: impl Fn(&T) -> &Artifact,
    ) -> Result<Lookup<T>, StoreError> {
        let mut damage = vec![];
        for (part, blob) in &output(&found).parts {
            if let Some(what) = self.health(blob)?.damage() {
                damage.push(DamagedPart { part: part.clone(), digest: blob.digest, what });
            }
        }
        let hit_if_whole = damage.is_empty();
        Ok(if hit_if_whole {
            Lookup::Hit(found)
        } else {
            Lookup::Damaged(LookupDamage::Objects(damage))
        })
    }

    /// Returns the record of `key`, whether or not its objects are in the store; where there is none,
    /// that of the remote tier. A damaged record counts as none, and stays where it is.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the store cannot be read.
    pub fn record(&self, key: Key) -> Result<Option<Record>, StoreError> {
        let here = self.peek_record(key)?.and_then(Result::ok).map(|record| *record);
        Ok(here.or_else(|| Some(self.remote_record(key)?.record.clone())))
    }

    /// Tells whether there is a record of `key` here, whole or not.
    pub(crate) fn has_record(&self, key: Key) -> bool {
        let path = record_path(key);
        rustix::fs::accessat(&self.dir, path, Access::EXISTS, AtFlags::empty()).is_ok()
    }

    /// Places the file of a record, whose objects are here, unless there is one.
    pub(crate) fn place_record(&self, key: Key, file: &[u8]) -> Result<(), StoreError> {
        self.place_new(self.temporary_with(file, 0o444)?, &record_path(key))?;
        self.mark_unflushed();
        Ok(())
    }

    /// Commits a record: makes it visible under its key, after its objects. The first record under
    /// a key stays, as long as it is whole.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if one of its objects is missing, [`StoreError::BadRecord`] if it
    /// does not encode as JSON, [`StoreError::Io`] if it cannot be written.
    pub fn commit(&self, record: &Record) -> Result<Commit, StoreError> {
        let committed = self.commit_here(record)?;
        if committed == Commit::Stored {
            self.send_if_worth(record.recipe.key(), record);
        }
        Ok(committed)
    }

    fn commit_here(&self, record: &Record) -> Result<Commit, StoreError> {
        self.writable()?;
        let key = record.recipe.key();
        let bad = |source| StoreError::BadRecord { key, source };
        if !record.provenance.seconds.is_finite() {
            return Err(bad(serde_json::Error::custom("its seconds are not a number")));
        }
        let sealed = seal::seal(LABEL, &serde_json::to_vec(record).map_err(bad)?);
        for blob in record.output.parts.values() {
            let mut health = self.health(blob)?;
            // A part that it shares with an input may be in the remote tier still.
            if !matches!(health, Health::Whole { .. }) && self.fetch(blob)? {
                health = self.health(blob)?;
            }
            match health {
                Health::Whole { last_touched } => self.touch_for_gc(blob, last_touched),
                other => {
                    let what = other.damage().unwrap_or(Damage::Missing);
                    return Err(StoreError::Damaged { digest: blob.digest, what });
                }
            }
        }
        let durable = record.provenance.seconds >= FSYNC_AFTER_SECONDS;
        if durable {
            self.sync_objects(record.output.parts.values())?;
        }
        let relative = record_path(key);
        let digest = record.output.digest();
        let mut placed = false;
        for _ in 0..3 {
            let file = self.temporary_with(&sealed, 0o444)?;
            if durable {
                let synced = retry::retrying(|| file.as_file().sync_data());
                synced.map_err(|error| self.io_or_gone("write", file.path(), error))?;
            }
            placed = self.place_new(file, &relative)?;
            if placed {
                break;
            }
            // A damaged record moves to quarantine as it is read, and the next attempt succeeds.
            let Some(Ok(first)) = self.read_record(key)? else { continue };
            let existing = first.output.digest();
            if existing == digest {
                return Ok(Commit::Stored);
            }
            if self.has_its_objects(&first)? {
                return Ok(Commit::Differs { existing });
            }
            // Objects of the first record are missing: it is replaced.
            break;
        }
        if !placed {
            self.place_over(self.temporary_with(&sealed, 0o444)?, &relative)?;
        }
        if durable {
            self.sync_folder(&relative[.."records/ab".len()])?;
            return self.sync_folder("records").map(|()| Commit::Stored);
        }
        self.mark_unflushed();
        Ok(Commit::Stored)
    }

    /// Writes a record in place of the one under its key.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    pub fn replace(&self, record: &Record) -> Result<(), StoreError> {
        self.writable()?;
        let key = record.recipe.key();
        let bad = |source| StoreError::BadRecord { key, source };
        let sealed = seal::seal(LABEL, &serde_json::to_vec(record).map_err(bad)?);
        self.sync_objects(record.output.parts.values())?;
        self.place_over(self.temporary_with(&sealed, 0o444)?, &record_path(key))?;
        self.mark_unflushed();
        Ok(())
    }

    /// Removes the record of `key` and tells whether there was one. Its objects go with the next
    /// collection, if nothing else needs them.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if it cannot be removed.
    pub fn forget(&self, key: Key) -> Result<bool, StoreError> {
        self.writable()?;
        let path = self.at(&record_path(key));
        match retry::retrying(|| fs::remove_file(&path)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.io_or_gone("remove", &path, error)),
        }
    }

    fn has_its_objects(&self, record: &Record) -> Result<bool, StoreError> {
        for blob in record.output.parts.values() {
            if self.health(blob)?.damage().is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the record of `key`, or its damage, after moving it to quarantine.
    pub(super) fn read_record(&self, key: Key) -> Result<Option<ReadRecord>, StoreError> {
        let read = self.peek_record(key)?;
        if let Some(Err(_)) = &read {
            self.set_aside(&record_path(key), &format!("record-{key}.json"), None);
        }
        Ok(read)
    }

    /// Returns the record of `key`, or its damage. A damaged record stays where it is.
    fn peek_record(&self, key: Key) -> Result<Option<ReadRecord>, StoreError> {
        let Some(sealed) = self.read_small(&record_path(key))? else { return Ok(None) };
        Ok(Some(unseal(key, &sealed)))
    }
}

/// Returns the record in a file, whose key is to be `key`, or its damage.
fn unseal(key: Key, file: &[u8]) -> ReadRecord {
    let record: Box<Record> = seal::unseal(LABEL, remote::record_line(file))?;
    let own = record.recipe.key();
    if own == key { Ok(record) } else { Err(Damage::OfAnotherKey { key: own }) }
}

/// Returns the record in a file, if it is whole and its key is `key`.
pub(crate) fn unseal_record(key: Key, file: &[u8]) -> Option<Record> {
    unseal(key, file).ok().map(|record| *record)
}

/// A record, or its damage.
type ReadRecord = Result<Box<Record>, Damage>;

pub(crate) fn record_path(key: Key) -> String {
    sharded("records", blake3::Hash::from_bytes(*key.as_bytes()).to_hex().as_str(), ".json")
}
