//! Statistics of a store: counts and bytes of records, objects and checkpoints.

use super::{Store, objects, walk};
use crate::{Digest, Key, Record, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// Counts and bytes of what a store holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// The number of records.
    pub records: u64,
    /// The number of objects.
    pub objects: u64,
    /// The bytes of all objects, each counted once.
    pub bytes: u64,
    /// Records and bytes by kind of artifact. An object shared by two kinds counts for both.
    pub kinds: BTreeMap<String, KindStats>,
    /// The number of checkpoints.
    pub checkpoints: u64,
    /// The number of damaged files in quarantine.
    pub quarantine: u64,
    /// The number of files in `tmp/`: those being written, and those a killed process left there.
    pub tmp: u64,
    /// The seconds it took to compute the results on record.
    pub seconds_saved: f64,
}

/// Counts and bytes of one kind of artifact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindStats {
    /// The number of records.
    pub records: u64,
    /// The bytes of their objects, each counted once.
    pub bytes: u64,
}

impl Store {
    /// Returns the statistics of the store.
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

    /// Calls `on` with every readable record, in the order of keys.
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
