//! Reading the store to find what is damaged before it is needed.

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

/// How much to read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verify {
    /// Every record, every checkpoint, every object.
    All,
    /// Every record and checkpoint, and this fraction of the objects, others each time.
    Sample(f64),
    /// As much as can be read in this time, objects in another order each time.
    Within(Duration),
}

/// What was found to be damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing it is.
    pub kind: EntryKind,
    /// Where it is, or was before it was set aside.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: Damage,
    /// The records that cannot be used because of it.
    pub records: Vec<Key>,
}

/// A kind of thing in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// What a key produced.
    Record,
    /// Bytes.
    Object,
    /// The state of a trajectory.
    Checkpoint,
    /// A file the store has not made; it is left where it is.
    Stray,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// How many records.
    pub records: u64,
    /// How many checkpoints.
    pub checkpoints: u64,
    /// How many objects.
    pub objects: u64,
    /// How many objects there are.
    pub of_objects: u64,
    /// How many bytes the objects read have.
    pub bytes: u64,
    /// How many findings there were, strays left out.
    pub damaged: u64,
    /// How many strays there are.
    pub strays: u64,
}

/// Who needs an object, and how long it should be.
#[derive(Default)]
struct ObjectRefs {
    size: u64,
    records: Vec<Key>,
}

/// One pass over a store.
struct VerifyPass<'a> {
    store: &'a Store,
    mode: Verify,
    begun: Instant,
    wanted: BTreeMap<Digest, ObjectRefs>,
    report: VerifyReport,
    on: &'a mut dyn FnMut(&Finding),
}

impl Store {
    /// Reads what `mode` asks for and tells `on` what is damaged. Damaged files are set aside, so
    /// that the next run makes them again.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the store cannot be read.
    pub fn verify(
        &self,
        mode: Verify,
        on: &mut dyn FnMut(&Finding),
    ) -> Result<VerifyReport, StoreError> {
        let (begun, wanted, report) = (Instant::now(), BTreeMap::new(), VerifyReport::default());
        let mut pass = VerifyPass { store: self, mode, begun, wanted, report, on };
        pass.records()?;
        pass.checkpoints()?;
        pass.objects()?;
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

    fn strays(&mut self, strays: Vec<PathBuf>) {
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

    fn records(&mut self) -> Result<(), StoreError> {
        let listing = self.store.list_ids::<Key>("records", ".json")?;
        self.strays(listing.strays);
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

    fn checkpoints(&mut self) -> Result<(), StoreError> {
        let listing = self.store.list_ids::<Key>("checkpoints", "")?;
        self.strays(listing.strays);
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

    fn objects(&mut self) -> Result<(), StoreError> {
        let listing = self.store.list_ids::<Digest>("objects", "")?;
        self.strays(listing.strays);
        self.report.of_objects = listing.named.len() as u64;
        let there: BTreeSet<Digest> = listing.named.iter().map(|(digest, _)| *digest).collect();
        let missing: Vec<Digest> =
            self.wanted.keys().filter(|digest| !there.contains(digest)).copied().collect();
        for digest in missing {
            self.object(digest)?;
        }
        let salt = super::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let mut drawn: Vec<(u64, Digest)> =
            there.into_iter().map(|digest| (draw(&digest, salt), digest)).collect();
        if let Verify::Sample(part) = self.mode {
            drawn.retain(|(ticket, _)| (*ticket as f64) < part * 2_f64.powi(64));
        }
        // Digests are distinct.
        drawn.sort_unstable();
        for (_, digest) in drawn {
            if !self.has_time_left() {
                break;
            }
            self.object(digest)?;
        }
        Ok(())
    }

    fn object(&mut self, digest: Digest) -> Result<(), StoreError> {
        let relative = object_path(&digest);
        let path = self.store.at(&relative);
        let wanted = self.wanted.get(&digest);
        let wrong = match objects::lstat(&path)? {
            // Nobody misses an object that no record names and that was just collected.
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
        if let Some(what) = wrong {
            let records = wanted.map_or_else(Vec::new, |wanted| wanted.records.clone());
            self.report_damage(EntryKind::Object, path, what, records);
        }
        Ok(())
    }
}

/// Returns the place of `digest` in an order that differs from one `salt` to the next.
fn draw(digest: &Digest, salt: u128) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(digest.as_bytes()).update(&salt.to_le_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}
