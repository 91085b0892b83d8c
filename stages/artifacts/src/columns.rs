//! What is known about each training sample beside its label: the id its owner calls it by, and whole numbers
//! such as its count of tokens.

use crate::{
    SampleId,
    parts::{self, PartBytes, PartError, Parts, StoredTensor},
};
use cache::{Artifact, Blob, Store};
use engine::{StageCtx, StageError};
use std::collections::BTreeMap;

/// The name of the part. Proxies, scores and subsets have it too, of the data they stand on.
pub const COLUMNS: &str = "columns";

/// How the tensor of a count is called: this, and its name.
const COUNT: &str = "count.";

/// Columns of the training samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampleColumns {
    /// The id of each, such as a file's name or a database's key.
    pub ids: Option<Vec<String>>,
    /// Whole numbers of each, by the name of the column: `tokens`, `bytes`.
    pub counts: BTreeMap<String, Vec<u64>>,
}

impl SampleColumns {
    /// Returns whether there is no column.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_none() && self.counts.is_empty()
    }

    /// Returns the first column that has not a value for each of `n` samples, and how many it has.
    pub(crate) fn unlike(&self, n: usize) -> Option<(&str, usize)> {
        let ids = self.ids.iter().map(|ids| ("id", ids.len()));
        let counts = self.counts.iter().map(|(name, values)| (name.as_str(), values.len()));
        ids.chain(counts).find(|(_, found)| *found != n)
    }

    /// Keeps the first `n` samples.
    pub fn truncate(&mut self, n: usize) {
        if let Some(ids) = &mut self.ids {
            ids.truncate(n);
        }
        self.counts.values_mut().for_each(|values| values.truncate(n));
    }

    /// Returns the columns of the samples at `from`, in that order.
    pub(crate) fn take(&self, from: &[SampleId]) -> Self {
        let id = |ids: &Vec<String>| from.iter().map(|at| ids[at.index()].clone()).collect();
        let counts = self.counts.iter();
        let count = |all: &Vec<u64>| from.iter().map(|at| all[at.index()]).collect();
        let counts = counts.map(|(name, all)| (name.clone(), count(all)));
        Self { ids: self.ids.as_ref().map(id), counts: counts.collect() }
    }

    /// Returns the columns of an artifact in `store`, or `None` if its data has none.
    ///
    /// # Errors
    ///
    /// Fails if they do not read.
    pub fn open(store: &Store, artifact: &Artifact) -> Result<Option<Self>, PartError> {
        if !artifact.parts.contains_key(COLUMNS) {
            return Ok(None);
        }
        Self::decode(&PartBytes::open(store, artifact, COLUMNS)?).map(Some)
    }

    /// Returns the columns of `artifact`, which came in on `port`, or `None` if its data has none.
    ///
    /// # Errors
    ///
    /// Fails if they do not read.
    pub fn read(
        ctx: &StageCtx<'_>,
        port: &str,
        artifact: &Artifact,
    ) -> Result<Option<Self>, StageError> {
        Self::from_parts(ctx, port, &artifact.parts)
    }

    /// Returns the columns among the `parts` of an artifact, which came in on `port`.
    pub(crate) fn from_parts(
        ctx: &StageCtx<'_>,
        port: &str,
        parts: &Parts,
    ) -> Result<Option<Self>, StageError> {
        let Some(blob) = parts.get(COLUMNS) else { return Ok(None) };
        let part = parts::part_of(ctx, port, COLUMNS, blob)?;
        Self::decode(part.without_port()).map(Some).map_err(|error| part.wrong(error))
    }

    fn decode(part: &PartBytes) -> Result<Self, PartError> {
        let names: Vec<String> =
            part.tensors()?.names().into_iter().map(|name| name.to_owned()).collect();
        let mut found = Self::default();
        for name in &names {
            if let Some(count) = name.strip_prefix(COUNT) {
                found.counts.insert(count.to_owned(), part.wholes(name)?);
            }
        }
        if names.iter().any(|name| name == "ids") {
            let bytes = part.u8("ids")?;
            let bytes = &part.bytes()[bytes];
            let wrong = || PartError::Position("id_ends".to_owned());
            let mut begin = 0;
            let mut ids = vec![];
            for end in part.wholes("id_ends")? {
                let end = usize::try_from(end).map_err(|_| wrong())?;
                let id = bytes.get(begin..end).and_then(|id| std::str::from_utf8(id).ok());
                ids.push(id.ok_or_else(wrong)?.to_owned());
                begin = end;
            }
            found.ids = Some(ids);
        }
        Ok(found)
    }

    /// Stores them as one part.
    ///
    /// # Errors
    ///
    /// Fails if the store does.
    pub fn put(&self, ctx: &StageCtx<'_>) -> Result<Blob, StageError> {
        let mut tensors = vec![];
        let names: Vec<String> = self.counts.keys().map(|name| format!("{COUNT}{name}")).collect();
        for (name, values) in names.iter().zip(self.counts.values()) {
            tensors.push(StoredTensor::wholes(name, values));
        }
        let (mut bytes, mut ends) = (vec![], vec![]);
        for id in self.ids.iter().flatten() {
            bytes.extend_from_slice(id.as_bytes());
            ends.push(bytes.len() as u64);
        }
        if self.ids.is_some() {
            tensors.push(StoredTensor::u8("ids", &[bytes.len()], &bytes));
            tensors.push(StoredTensor::wholes("id_ends", &ends));
        }
        parts::put_tensors(ctx, &tensors)
    }
}
