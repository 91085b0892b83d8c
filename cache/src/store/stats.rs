//! How much there is of what.

use super::{Store, objects, walk};
use crate::{Digest, Key, Record, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// How much a store holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// How many records.
    pub records: u64,
    /// How many objects.
    pub objects: u64,
    /// How many bytes the objects have, each counted once.
    pub bytes: u64,
    /// The same by kind of artifact. An object shared by two kinds counts for both.
    pub kinds: BTreeMap<String, KindStats>,
    /// How many checkpoints.
    pub checkpoints: u64,
    /// How many damaged files have been set aside.
    pub quarantine: u64,
    /// How many files are on their way in, or were left behind by a killed process.
    pub tmp: u64,
    /// How many seconds it took to compute what the records hold.
    pub seconds_saved: f64,
}

/// How much a store holds of one kind of artifact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindStats {
    /// How many records.
    pub records: u64,
    /// How many bytes their objects have, each counted once.
    pub bytes: u64,
}

impl Store {
    /// Returns how much there is of what.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the store cannot be read.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        let mut stats = Stats::default();
        let mut counted: BTreeMap<String, BTreeSet<Digest>> = BTreeMap::new();
        self.list(&mut |_, record| {
            stats.records += 1;
            stats.seconds_saved += record.provenance.seconds;
            let kind = stats.kinds.entry(record.output.kind.clone()).or_default();
            let counted = counted.entry(record.output.kind).or_default();
            kind.records += 1;
            for blob in record.output.parts.values() {
                kind.bytes += if counted.insert(blob.digest) { blob.size } else { 0 };
            }
        })?;
        for (_, path) in self.list_ids::<Digest>("objects", "")?.named {
            if let Some(stat) = objects::lstat(&path)? {
                stats.objects += 1;
                stats.bytes += objects::size(&stat);
            }
        }
        for (key, _) in self.list_ids::<Key>("checkpoints", "")?.named {
            stats.checkpoints += self.steps(key)?.len() as u64;
        }
        stats.quarantine = walk::names(&self.at("quarantine"))?.len() as u64;
        stats.tmp = walk::names(&self.at("tmp"))?.len() as u64;
        Ok(stats)
    }

    /// Shows every record that can be read to `on`, by key.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the store cannot be read. Damaged records are left out.
    pub fn list(&self, on: &mut dyn FnMut(Key, Record)) -> Result<(), StoreError> {
        for (key, _) in self.list_ids::<Key>("records", ".json")?.named {
            if let Some(record) = self.record(key)? {
                on(key, record);
            }
        }
        Ok(())
    }
}
