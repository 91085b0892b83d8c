//! The `subset` artifact: the samples that were kept, sorted, and their weights if there are any.

use crate::{
    ArtifactError, RowIndex, SampleId,
    columns::COLUMNS,
    parts::{self, PartBytes, PartError, Parts, StoredTensor},
    record::LabelledSamples,
    rows::ROW_PARTS,
};
use cache::{Artifact, Store};
use engine::{StageCtx, StageError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;

/// A sample that was picked, and its weight if the picks are weighted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PickedSample {
    /// The sample.
    pub sample: SampleId,
    /// How much it counts in training, from 0 up.
    pub weight: Option<f32>,
}

/// Samples of a training set, each once, in its order; with a weight each, or none.
#[derive(Clone, Debug, PartialEq)]
pub struct Subset {
    samples: Vec<SampleId>,
    weights: Option<Vec<f32>>,
}

/// Why samples are no subset of a training set.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum SubsetError {
    /// A sample is kept twice.
    #[error("sample {0} is kept twice")]
    Twice(SampleId),
    /// A sample is beyond the training set.
    #[error("sample {sample} is kept, but there are {n}")]
    Outside {
        /// The sample.
        sample: SampleId,
        /// How many samples the training set has.
        n: usize,
    },
    /// A weight is negative, NaN or infinite.
    #[error("the weight of sample {sample} is {weight}: expected a number from 0 up")]
    Weight {
        /// The sample.
        sample: SampleId,
        /// Its weight.
        weight: f32,
    },
}

impl Subset {
    /// Returns all of `n` samples.
    #[must_use]
    pub fn all(n: usize) -> Self {
        Self { samples: SampleId::all(n).collect(), weights: None }
    }

    /// Returns what was `picked`, in any order, of a training set of `n` samples. Where some have a
    /// weight, those that have none count as 1.
    ///
    /// # Errors
    ///
    /// Fails if a sample is picked twice or is not of the training set, or a weight is no number from 0
    /// up.
    pub fn new(n: usize, mut picked: Vec<PickedSample>) -> Result<Self, SubsetError> {
        picked.sort_by_key(|pick| pick.sample);
        if let Some(pair) = picked.windows(2).find(|pair| pair[0].sample == pair[1].sample) {
            return Err(SubsetError::Twice(pair[0].sample));
        }
        if let Some(last) = picked.last().filter(|last| last.sample.index() >= n) {
            return Err(SubsetError::Outside { sample: last.sample, n });
        }
        let unfit = |weight: f32| !(weight.is_finite() && weight >= 0.0);
        for PickedSample { sample, weight } in &picked {
            if let Some(weight) = weight.filter(|weight| unfit(*weight)) {
                return Err(SubsetError::Weight { sample: *sample, weight });
            }
        }
        let weighted = picked.iter().any(|pick| pick.weight.is_some());
        let weights = picked.iter().map(|pick| pick.weight.unwrap_or(1.0));
        Ok(Self {
            weights: weighted.then(|| weights.collect()),
            samples: picked.iter().map(|pick| pick.sample).collect(),
        })
    }

    /// Returns the samples, in the order of the training set.
    #[must_use]
    pub fn samples(&self) -> &[SampleId] {
        &self.samples
    }

    /// Returns the weight of each of the samples, if they are weighted.
    #[must_use]
    pub fn weights(&self) -> Option<&[f32]> {
        self.weights.as_deref()
    }

    /// Returns how many samples it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Returns whether it has no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Returns whether each of `n` samples is left out of it.
    ///
    /// # Panics
    ///
    /// Panics if it is of more than `n` samples.
    #[must_use]
    pub fn leaves_out(&self, n: usize) -> Vec<bool> {
        let mut left_out = vec![true; n];
        self.samples.iter().for_each(|sample| left_out[sample.index()] = false);
        left_out
    }

    /// Returns how many samples of each of `classes` it has, by the labels of the whole training set; or of each
    /// group, by its groups.
    ///
    /// # Panics
    ///
    /// Panics if a label is no class.
    #[must_use]
    pub fn per_class<I: RowIndex>(&self, labels: &[I], classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        self.samples.iter().for_each(|sample| counts[labels[sample.index()].index()] += 1);
        counts
    }

    /// Returns how much of a column of counts its samples have together, and how much there is.
    ///
    /// # Panics
    ///
    /// Panics if a sample is beyond the column.
    #[must_use]
    pub fn count(&self, of: &[u64]) -> Kept {
        let kept = self.samples.iter().map(|sample| of[sample.index()]).sum();
        Kept { kept, available: of.iter().sum() }
    }

    /// Returns how many of its samples are among `others`, which are sorted.
    #[must_use]
    pub fn count_of(&self, others: &[SampleId]) -> usize {
        self.samples.iter().filter(|sample| others.binary_search(sample).is_ok()).count()
    }

    /// Stores it, kept out of `samples` for a `budget` of them.
    ///
    /// # Errors
    ///
    /// Fails if the store does.
    pub fn put(
        &self,
        ctx: &StageCtx<'_>,
        samples: &LabelledSamples,
        budget: usize,
    ) -> Result<Parts, StageError> {
        let LabelledSamples { labels, classes, .. } = samples;
        let classes = *classes;
        let available = Self::all(labels.len()).per_class(labels, classes);
        let mut tensors = vec![StoredTensor::indices("indices", &self.samples)];
        if let Some(weights) = &self.weights {
            tensors.push(StoredTensor::f32("weights", &[weights.len()], weights));
        }
        let mut meta = serde_json::json!({
            "n": labels.len(),
            "budget": budget,
            "keep": budget as f64 / (labels.len().max(1)) as f64,
            "per_class": { "kept": self.per_class(labels, classes), "available": available },
        });
        let mut parts = Parts::from([("subset".to_owned(), parts::put_tensors(ctx, &tensors)?)]);
        if let Some(columns) = samples.columns(ctx)? {
            let counts = columns.counts.iter().map(|(name, of)| (name.clone(), self.count(of)));
            meta["counts"] = serde_json::json!(counts.collect::<BTreeMap<_, _>>());
            parts.insert(COLUMNS.to_owned(), samples.shared[COLUMNS]);
        }
        let rows = samples.shared.iter().filter(|(name, _)| ROW_PARTS.contains(&name.as_str()));
        parts.extend(rows.map(|(name, blob)| (name.clone(), *blob)));
        parts.insert("meta".to_owned(), parts::put_json(ctx, &meta)?);
        Ok(parts)
    }

    /// Reads the subset on port `subset`, or returns all of the `n` samples if none is connected.
    ///
    /// # Errors
    ///
    /// Fails if it is of another data set, or does not read.
    pub fn read(ctx: &StageCtx<'_>, n: usize) -> Result<Self, StageError> {
        match ctx.input("subset") {
            Some(artifact) => Self::of(ctx, "subset", artifact, n),
            None => Ok(Self::all(n)),
        }
    }

    /// Reads the subset, of `n` training samples, that is part of the `artifact` on `port`: a subset, or a
    /// proxy that was trained on one.
    ///
    /// # Errors
    ///
    /// Fails if it is of another data set, or does not read.
    pub fn of(
        ctx: &StageCtx<'_>,
        port: &str,
        artifact: &Artifact,
        n: usize,
    ) -> Result<Self, StageError> {
        let part = parts::part(ctx, port, artifact, "subset")?;
        let samples: Vec<SampleId> = part.indices("indices")?;
        if samples.iter().any(|sample| sample.index() >= n) {
            return Err(ArtifactError::OtherDataset { n }.into());
        }
        let weights = match part.tensors()?.names().contains(&"weights") {
            true => Some(part.f32("weights")?.1),
            false => None,
        };
        if weights.as_ref().is_some_and(|weights| weights.len() != samples.len()) {
            return Err(part.wrong(PartError::Weights));
        }
        let weight = |at: usize| weights.as_ref().map(|weights| weights[at]);
        let picked = samples
            .iter()
            .enumerate()
            .map(|(at, sample)| PickedSample { sample: *sample, weight: weight(at) });
        Self::new(n, picked.collect()).map_err(|error| part.wrong(error))
    }
}

/// Returns the samples of a `subset` artifact in `store`, sorted.
///
/// # Errors
///
/// Fails if they do not read.
pub fn open(store: &Store, artifact: &Artifact) -> Result<Vec<SampleId>, PartError> {
    PartBytes::open(store, artifact, "subset")?.indices("indices")
}

/// How much of a count, such as tokens, a subset keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// In the subset.
    pub kept: u64,
    /// In the training set.
    pub available: u64,
}

/// What a subset is, apart from its samples.
#[derive(Clone, Debug, Deserialize)]
pub struct SubsetSummary {
    /// Of how many training samples it is.
    pub n: usize,
    /// How many samples of each class there are.
    pub per_class: PerClass,
    /// How much of each count of the data, such as tokens.
    #[serde(default)]
    pub counts: BTreeMap<String, Kept>,
}

/// How many samples of each class there are.
#[derive(Clone, Debug, Deserialize)]
pub struct PerClass {
    /// In the subset.
    pub kept: Vec<usize>,
    /// In the training set.
    pub available: Vec<usize>,
}

/// Returns the summary of a `subset` artifact in `store`.
///
/// # Errors
///
/// Fails if it does not read.
pub fn open_summary(store: &Store, artifact: &Artifact) -> Result<SubsetSummary, PartError> {
    PartBytes::open(store, artifact, "meta")?.json()
}

/// Returns of how many training samples a `subset` artifact in `store` is.
///
/// # Errors
///
/// Fails if its summary does not read.
pub fn samples(store: &Store, artifact: &Artifact) -> Result<usize, PartError> {
    Ok(open_summary(store, artifact)?.n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClassId;

    fn pick(sample: u32, weight: Option<f32>) -> PickedSample {
        PickedSample { sample: sample.into(), weight }
    }

    #[test]
    fn a_subset_is_sorted_whole_and_inside() {
        let fine = Subset::new(5, vec![pick(4, Some(0.5)), pick(0, None)]).expect("it is a subset");
        assert_eq!(fine.samples(), [SampleId::from(0), SampleId::from(4)]);
        assert_eq!(fine.weights(), Some(&[1.0, 0.5][..]));
        assert_eq!(fine.per_class(&ClassId::list([1, 0, 0, 0, 1]), 2), [0, 2]);
        assert_eq!(fine.count_of(&[SampleId::from(3), SampleId::from(4)]), 1);
        let refused = |picked| Subset::new(5, picked).expect_err("it is refused");
        let (three, five) = (SampleId::from(3), SampleId::from(5));
        assert_eq!(refused(vec![pick(3, None), pick(3, None)]), SubsetError::Twice(three));
        assert_eq!(refused(vec![pick(5, None)]), SubsetError::Outside { sample: five, n: 5 });
        let wrong = SubsetError::Weight { sample: three, weight: -1.0 };
        assert_eq!(refused(vec![pick(3, Some(-1.0))]), wrong);
        assert!(Subset::new(5, vec![pick(3, Some(f32::NAN))]).is_err());
    }
}
