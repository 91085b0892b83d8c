//! What was done to training samples: which are foreign, which are copies, which were changed.

use super::{DatasetError, DatasetMeta};
use crate::{
    SampleId,
    parts::{self, StoredTensor},
    subset::Subset,
};
use cache::{Artifact, Blob};
use engine::{StageCtx, StageError};
use safetensors::Dtype;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What was done to one training sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Nothing.
    Own,
    /// It was put in from another data set.
    Foreign,
    /// It is a copy of another sample, or nearly one.
    Duplicate,
    /// Its image was changed.
    Changed,
}

/// What was done to the training samples. For evaluation only: no selector may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    /// What was done to each.
    pub kinds: Vec<Origin>,
    /// Each duplicate whose original is still there, with that; sorted.
    pub copies: Vec<(SampleId, SampleId)>,
}

/// How many training samples something was done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginCount {
    /// In the whole training set.
    pub available: usize,
    /// In the subset.
    pub kept: usize,
}

impl Origin {
    const ALL: [Self; 4] = [Self::Own, Self::Foreign, Self::Duplicate, Self::Changed];

    /// Returns its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Foreign => "foreign",
            Self::Duplicate => "duplicate",
            Self::Changed => "changed",
        }
    }

    /// Returns what `byte` stands for in the store.
    fn of(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }
}

impl Origins {
    /// Returns those of `n` samples to which nothing was done.
    #[must_use]
    pub fn none(n: usize) -> Self {
        Self { kinds: vec![Origin::Own; n], copies: vec![] }
    }

    /// Takes note that `samples`, which are sorted, were put in from another data set or changed. What is
    /// foreign or a copy stays so when it is changed.
    pub fn set(&mut self, samples: &[SampleId], origin: Origin) {
        for sample in samples {
            let kind = &mut self.kinds[sample.index()];
            if origin != Origin::Changed || *kind == Origin::Own {
                *kind = origin;
            }
        }
        // Neither are these copies any more, nor are others copies of what they are now.
        if origin == Origin::Foreign {
            let replaced = |sample: &SampleId| samples.binary_search(sample).is_ok();
            self.copies.retain(|(copy, of)| !replaced(copy) && !replaced(of));
        }
    }

    /// Takes note that `copies`, of which some may be new, are copies of the samples `of`.
    pub fn copy(&mut self, copies: &[SampleId], of: &[SampleId]) {
        let n = copies.iter().map(|copy| copy.index() + 1).max().unwrap_or(0);
        self.kinds.resize(n.max(self.kinds.len()), Origin::Own);
        copies.iter().for_each(|copy| self.kinds[copy.index()] = Origin::Duplicate);
        let replaced: BTreeSet<SampleId> = copies.iter().copied().collect();
        self.copies.retain(|(copy, of)| !replaced.contains(copy) && !replaced.contains(of));
        self.copies.extend(copies.iter().copied().zip(of.iter().copied()));
        self.copies.sort_unstable();
    }

    /// Returns how many samples of each kind `subset` keeps, of those kinds there are.
    pub fn count(&self, subset: &Subset) -> BTreeMap<Origin, OriginCount> {
        let mut counts = BTreeMap::new();
        for kind in self.kinds.iter().filter(|kind| **kind != Origin::Own) {
            counts.entry(*kind).or_insert(OriginCount { available: 0, kept: 0 }).available += 1;
        }
        for sample in subset.samples() {
            if let Some(count) = counts.get_mut(&self.kinds[sample.index()]) {
                count.kept += 1;
            }
        }
        counts
    }

    /// Returns those of the samples that were at `from`, in that order.
    pub(super) fn take(&self, from: &[SampleId]) -> Self {
        // Of a sample that is there several times, the first is the original.
        let mut place = BTreeMap::new();
        for (new, old) in SampleId::all(from.len()).zip(from) {
            place.entry(*old).or_insert(new);
        }
        let source = |old: SampleId| {
            let at = self.copies.binary_search_by_key(&old, |(copy, _)| *copy).ok()?;
            place.get(&self.copies[at].1).copied()
        };
        let pairs = SampleId::all(from.len()).zip(from);
        Self {
            copies: pairs.filter_map(|(new, old)| Some((new, source(*old)?))).collect(),
            kinds: from.iter().map(|old| self.kinds[old.index()]).collect(),
        }
    }

    /// Returns whether these are the origins of `n` samples.
    pub(super) fn agree(&self, n: usize) -> Result<(), DatasetError> {
        if self.kinds.len() != n {
            return Err(DatasetError::OriginCount { found: self.kinds.len(), n });
        }
        let is_copy = |(copy, of): &(SampleId, SampleId)| {
            copy != of && of.index() < n && self.kinds.get(copy.index()) == Some(&Origin::Duplicate)
        };
        let sorted = self.copies.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if sorted && self.copies.iter().all(is_copy) { Ok(()) } else { Err(DatasetError::Copies) }
    }
}

/// Returns what was done to the training samples of `meta`, or `None` if nothing was.
///
/// # Errors
///
/// Fails if the part is damaged, or is of other samples.
pub fn origins(
    ctx: &StageCtx<'_>,
    port: &str,
    artifact: &Artifact,
    meta: &DatasetMeta,
) -> Result<Option<Origins>, StageError> {
    if !artifact.parts.contains_key("origin") {
        return Ok(None);
    }
    let part = parts::part(ctx, port, artifact, "origin")?;
    let (copies, of): (Vec<SampleId>, Vec<SampleId>) =
        (part.indices("copies")?, part.indices("of")?);
    if copies.len() != of.len() {
        return Err(part.wrong(DatasetError::Copies));
    }
    let range = part.u8("kinds")?;
    let known = |byte: &u8| Origin::of(*byte).ok_or(DatasetError::Origin { byte: *byte });
    let kinds: Result<_, _> = part.bytes()[range].iter().map(known).collect();
    let kinds = kinds.map_err(|error| part.wrong(error))?;
    let origins = Origins { kinds, copies: copies.into_iter().zip(of).collect() };
    origins.agree(meta.train).map_err(|error| part.wrong(error))?;
    Ok(Some(origins))
}

/// Stores part `origin`.
///
/// # Errors
///
/// Fails if the store does.
pub fn put_origins(ctx: &StageCtx<'_>, origins: &Origins) -> Result<Blob, StageError> {
    let (copies, of): (Vec<SampleId>, Vec<SampleId>) = origins.copies.iter().copied().unzip();
    let kinds: Vec<u8> = origins.kinds.iter().map(|kind| *kind as u8).collect();
    let kinds = StoredTensor {
        name: "kinds",
        dtype: Dtype::U8,
        shape: vec![kinds.len()],
        bytes: kinds.into(),
    };
    let tensors =
        [kinds, StoredTensor::indices("copies", &copies), StoredTensor::indices("of", &of)];
    parts::put_tensors(ctx, &tensors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subset::PickedSample;

    fn pairs(pairs: &[(u32, u32)]) -> Vec<(SampleId, SampleId)> {
        pairs.iter().map(|(copy, of)| (SampleId::from(*copy), SampleId::from(*of))).collect()
    }

    fn five() -> Origins {
        use Origin::{Changed, Duplicate, Own};
        let kinds = vec![Own, Duplicate, Changed, Duplicate, Own];
        Origins { kinds, copies: pairs(&[(1, 0), (3, 4)]) }
    }

    #[test]
    fn copies_are_known_while_their_original_is_there() {
        let found = five().take(&SampleId::list([4, 3, 1]));
        assert_eq!(found.kinds, [Origin::Own, Origin::Duplicate, Origin::Duplicate]);
        assert_eq!(found.copies, pairs(&[(1, 0)]));
        let mut found = five();
        found.set(&SampleId::list([0]), Origin::Foreign);
        found.set(&SampleId::list([3, 4]), Origin::Changed);
        use Origin::{Changed, Duplicate, Foreign};
        assert_eq!(found.kinds, [Foreign, Duplicate, Changed, Duplicate, Changed]);
        assert_eq!(found.copies, pairs(&[(3, 4)]));
        assert_eq!(found.agree(5), Ok(()));
        // What is copied over is no original any more.
        let mut found = five();
        found.copy(&SampleId::list([4, 5]), &SampleId::list([0, 2]));
        assert_eq!(found.copies, pairs(&[(1, 0), (4, 0), (5, 2)]));
        assert_eq!(found.kinds[3..], [Duplicate, Duplicate, Duplicate]);
    }

    #[test]
    fn subsets_are_counted_by_what_was_done() {
        let pick = |at: u32| PickedSample { sample: SampleId::from(at), weight: None };
        let kept = Subset::new(5, [0, 1, 3].map(pick).into()).expect("each once");
        let count = |available, kept| OriginCount { available, kept };
        let wanted = [(Origin::Duplicate, count(2, 2)), (Origin::Changed, count(1, 0))];
        assert_eq!(five().count(&kept), wanted.into());
    }

    #[test]
    fn only_duplicates_are_copies_of_other_samples() {
        assert_eq!(five().agree(5), Ok(()));
        assert_eq!(five().agree(6), Err(DatasetError::OriginCount { found: 5, n: 6 }));
        for copies in [[(1, 5), (3, 4)], [(3, 4), (1, 0)], [(0, 1), (1, 0)], [(1, 1), (3, 4)]] {
            let one = Origins { copies: pairs(&copies), ..five() };
            assert_eq!(one.agree(5), Err(DatasetError::Copies), "{copies:?}");
        }
        assert_eq!((Origin::of(3), Origin::of(4)), (Some(Origin::Changed), None));
    }
}
