//! Verification of the store: finds damaged records, checkpoints and objects before a run meets
//! them.

use super::{
    Store,
    objects::{self, object_path},
};
use crate::{Artifact, Blob, Damage, Digest, Key, StoreError};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, Instant, UNIX_EPOCH},
};

/// How much of the store a verification reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verify {
    /// Every record, every checkpoint, every object.
    All,
    /// Every record and checkpoint, and this fraction of the objects, others each time.
    Sample(f64),
    /// As much as can be read in this time, objects in another order each time.
    Within(Duration),
}

/// A damaged file, as a verification reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it is a record, a checkpoint, an object or a stray file.
    pub kind: EntryKind,
    /// The path, before it was moved to quarantine.
    pub path: PathBuf,
    /// The damage.
    pub what: Damage,
    /// The keys of the records that cannot be used because of it.
    pub records: Vec<Key>,
}

/// A kind of file in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// The record of a computation.
    Record,
    /// An object: bytes named by their digest.
    Object,
    /// A checkpoint of a training.
    Checkpoint,
    /// A file that is none of these by its name; it stays where it is.
    Stray,
}

/// Counts of what a verification read and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// The number of records read.
    pub records: u64,
    /// The number of checkpoints read.
    pub checkpoints: u64,
    /// The number of objects read.
    pub objects: u64,
    /// The number of objects in the store.
    pub of_objects: u64,
    /// The bytes of the objects read.
    pub bytes: u64,
    /// The number of damaged files, without stray files.
    pub damaged: u64,
    /// The number of stray files.
    pub strays: u64,
}

/// The records that refer to an object, and the length they give it.
#[derive(Default)]
struct ObjectRefs {
    size: u64,
    records: Vec<Key>,
}

/// A verification under way.
struct VerifyPass<'a> {
    store: &'a Store,
    mode: Verify,
    begun: Instant,
    wanted: BTreeMap<Digest, ObjectRefs>,
    report: VerifyReport,
    on: &'a mut dyn FnMut(&Finding),
}

impl Store {
    /// Verifies as much of the store as `mode` asks for, and calls `on` with every damaged file.
    /// These move to quarantine, so that the next run computes them again.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the store cannot be read.
    pub fn verify(
        &self,
        mode: Verify,
        on: &mut dyn FnMut(&Finding),
    ) -> Result<VerifyReport, StoreError> {
        let mut pass = VerifyPass {
            store: self,
            mode,
            begun: Instant::now(),
            wanted: BTreeMap::new(),
            report: VerifyReport::default(),
            on,
        };
        pass.verify_records()?;
        pass.verify_checkpoints()?;
        pass.verify_objects()?;
        Ok(pass.report)
    }
}

impl VerifyPass<'_> {
    fn has_time_left(&self) -> bool {
        !matches!(self.mode, Verify::Within(limit) if self.begun.elapsed() >= limit)
    }

    fn report_damage(&mut self, kind: EntryKind, path: PathBuf, what: Damage, records: Vec<Key>) {
        let count = if kind == EntryKind::Stray {
            &mut self.report.strays
        } else {
            &mut self.report.damaged
        };
        *count += 1;
        (self.on)(&Finding { kind, path, what, records });
    }

    fn report_strays(&mut self, strays: Vec<PathBuf>) {
        for path in strays {
            self.report_damage(EntryKind::Stray, path, Damage::Stray, vec![]);
        }
    }

    fn add_refs(&mut self, artifact: &Artifact, key: Option<Key>) {
        for blob in artifact.parts.values() {
            let wanted = self.wanted.entry(blob.digest).or_default();
            wanted.size = blob.size;
            wanted.records.extend(key);
        }
    }

    fn verify_records(&mut self) -> Result<(), StoreError> {
        let listing = self.store.list_ids::<Key>("records", ".json")?;
        self.report_strays(listing.strays);
        for (key, path) in listing.named {
            if !self.has_time_left() {
                break;
            }
            self.report.records += 1;
            match self.store.read_record(key)? {
                Some(Ok(record)) => self.add_refs(&record.output, Some(key)),
                Some(Err(what)) => self.report_damage(EntryKind::Record, path, what, vec![key]),
                None => {}
            }
        }
        Ok(())
    }

    fn verify_checkpoints(&mut self) -> Result<(), StoreError> {
        let listing = self.store.list_ids::<Key>("checkpoints", "")?;
        self.report_strays(listing.strays);
        for (key, _) in listing.named {
            for (step, path) in self.store.steps(key)? {
                if !self.has_time_left() {
                    return Ok(());
                }
                self.report.checkpoints += 1;
                match self.store.read_checkpoint(key, step)? {
                    Some(Ok(checkpoint)) => self.add_refs(&checkpoint.state, None),
                    Some(Err(what)) => {
                        self.report_damage(EntryKind::Checkpoint, path, what, vec![])
                    }
                    None => {}
                }
            }
        }
        Ok(())
    }

    fn verify_objects(&mut self) -> Result<(), StoreError> {
        let listing = self.store.list_ids::<Digest>("objects", "")?;
        self.report_strays(listing.strays);
        self.report.of_objects = listing.named.len() as u64;
        let there: BTreeSet<Digest> = listing.named.iter().map(|(digest, _)| *digest).collect();
        let missing: Vec<Digest> =
            self.wanted.keys().filter(|digest| !there.contains(digest)).copied().collect();
        for digest in missing {
            self.verify_object(digest)?;
        }
        let salt = super::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let mut drawn: Vec<(u64, Digest)> =
            there.into_iter().map(|digest| (shuffle_key(&digest, salt), digest)).collect();
        if let Verify::Sample(part) = self.mode {
            drawn.retain(|(ticket, _)| (*ticket as f64) < part * 2_f64.powi(64));
        }
        // Digests are distinct.
        drawn.sort_unstable();
        for (_, digest) in drawn {
            if !self.has_time_left() {
                break;
            }
            self.verify_object(digest)?;
        }
        Ok(())
    }

    fn verify_object(&mut self, digest: Digest) -> Result<(), StoreError> {
        let relative = object_path(&digest);
        let path = self.store.at(&relative);
        let wanted = self.wanted.get(&digest);
        let damage = match objects::lstat(&path)? {
            // Collected since the listing, and no record refers to it.
            None if wanted.is_none() => return Ok(()),
            None => Some(Damage::Missing),
            Some(stat) => {
                let found = objects::size(&stat);
                let blob = Blob { digest, size: wanted.map_or(found, |wanted| wanted.size) };
                self.report.objects += 1;
                self.report.bytes += found;
                self.store.examine(&blob, &relative, &stat)?.damage()
            }
        };
        if let Some(what) = damage {
            let records = wanted.map_or_else(Vec::new, |wanted| wanted.records.clone());
            self.report_damage(EntryKind::Object, path, what, records);
        }
        Ok(())
    }
}

/// Returns a number to sort digests by, in an order that is another for every `salt`.
fn shuffle_key(digest: &Digest, salt: u128) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(digest.as_bytes()).update(&salt.to_le_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}
