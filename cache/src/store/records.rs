//! Records: the recipe, the output and the provenance of each finished computation, by key.

use super::{Store, objects::Health, retry, seal, sharded};
use crate::{Artifact, Damage, Digest, Key, Recipe, Record, StoreError};
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
    /// Returns the record of `key`, if it and all its objects are whole.
    ///
    /// An object with the right size and modification time counts as whole; [`get`](Self::get)
    /// always verifies the digest.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the store cannot be read. Damage is not an error.
    pub fn lookup(&self, key: Key) -> Result<Lookup, StoreError> {
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
        let Some(sealed) = self.read_small(&record_path(key))? else { return Ok(Lookup::Absent) };
        let expected = || {
            let recipe = serde_json::to_vec(recipe).ok()?;
            let body = seal::body(LABEL, &sealed)?.strip_prefix(b"{\"recipe\":")?;
            let output = body.strip_prefix(&recipe[..])?.strip_prefix(b",\"output\":")?;
            serde_json::Deserializer::from_slice(output).into_iter::<Artifact>().next()?.ok()
        };
        if let Some(output) = expected() {
            return self.hit_if_whole(output, |output| output);
        }
        // Damaged, or encoded in another way by another build.
        Ok(match self.lookup(key)? {
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

    /// Returns the record of `key`, whether or not its objects are in the store. A damaged record
    /// counts as none, and stays where it is.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the store cannot be read.
    pub fn record(&self, key: Key) -> Result<Option<Record>, StoreError> {
        Ok(self.peek_record(key)?.and_then(Result::ok).map(|record| *record))
    }

    /// Commits a record: makes it visible under its key, after its objects. The first record under
    /// a key stays, as long as it is whole.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if one of its objects is missing, [`StoreError::BadRecord`] if it
    /// does not encode as JSON, [`StoreError::Io`] if it cannot be written.
    pub fn commit(&self, record: &Record) -> Result<Commit, StoreError> {
        self.writable()?;
        let key = record.recipe.key();
        let bad = |source| StoreError::BadRecord { key, source };
        if !record.provenance.seconds.is_finite() {
            return Err(bad(serde_json::Error::custom("its seconds are not a number")));
        }
        let sealed = seal::seal(LABEL, &serde_json::to_vec(record).map_err(bad)?);
        for blob in record.output.parts.values() {
            match self.health(blob)? {
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
        Ok(Some(seal::unseal::<Box<Record>>(LABEL, &sealed).and_then(|record| {
            let own = record.recipe.key();
            if own == key { Ok(record) } else { Err(Damage::OfAnotherKey { key: own }) }
        })))
    }
}

/// A record, or its damage.
type ReadRecord = Result<Box<Record>, Damage>;

fn record_path(key: Key) -> String {
    sharded("records", blake3::Hash::from_bytes(*key.as_bytes()).to_hex().as_str(), ".json")
}
