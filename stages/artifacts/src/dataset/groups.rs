//! The groups of a data set's samples, such as a class seen with one background: for worst-group accuracy.

use super::{DatasetError, DatasetMeta};
use crate::{
    GroupId,
    parts::{self, Parts, StoredTensor},
    subset::Subset,
};
use cache::Artifact;
use engine::{StageCtx, StageError};
use serde::{Deserialize, Serialize};

/// Which group each sample belongs to. For evaluation, and for budgets by group: no rule that picks sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// The names of the groups, such as `dress/red`; a group is a position in it.
    pub names: Vec<String>,
    /// The group of every training sample.
    pub train: Vec<GroupId>,
    /// The group of every test sample.
    pub test: Vec<GroupId>,
}

/// How many training samples each group has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupCounts {
    /// In the whole training set.
    pub available: Vec<usize>,
    /// In the subset.
    pub kept: Vec<usize>,
}

impl Groups {
    /// Returns whether these are groups of `train` and `test` samples.
    pub(super) fn agree(&self, train: usize, test: usize) -> Result<(), DatasetError> {
        for (groups, n, split) in [(&self.train, train, "train"), (&self.test, test, "test")] {
            if groups.len() != n {
                return Err(DatasetError::GroupCount { split, found: groups.len(), n });
            }
            if let Some(sample) = groups.iter().position(|one| one.index() >= self.names.len()) {
                let (group, groups) = (groups[sample], self.names.len());
                return Err(DatasetError::Group { split, sample, group, groups });
            }
        }
        Ok(())
    }

    /// Returns how many samples of each group `subset` keeps.
    pub fn count(&self, subset: &Subset) -> GroupCounts {
        let of = |subset: &Subset| subset.per_class(&self.train, self.names.len());
        GroupCounts { available: of(&Subset::all(self.train.len())), kept: of(subset) }
    }
}

impl GroupCounts {
    /// Returns the shares of minority groups in the training set and in the subset: of those with fewer
    /// training samples than a group has on average, none of them empty.
    pub fn minority_shares(&self) -> (f64, f64) {
        let all: usize = self.available.iter().sum();
        let groups = self.available.iter().filter(|count| **count > 0).count();
        let share = |counts: &[usize]| {
            let pairs = self.available.iter().zip(counts);
            let few: usize =
                pairs.filter(|(n, _)| **n * groups < all).map(|(_, count)| count).sum();
            few as f64 / counts.iter().sum::<usize>().max(1) as f64
        };
        (share(&self.available), share(&self.kept))
    }
}

/// Returns the groups of the samples of `meta`, or `None` if it has none.
///
/// # Errors
///
/// Fails if a part is damaged, or is of other samples.
pub fn groups(
    ctx: &StageCtx<'_>,
    port: &str,
    artifact: &Artifact,
    meta: &DatasetMeta,
) -> Result<Option<Groups>, StageError> {
    if !artifact.parts.contains_key("groups") {
        return Ok(None);
    }
    let part = parts::part(ctx, port, artifact, "groups")?;
    let names = parts::part(ctx, port, artifact, "group_names")?.json()?;
    let groups = Groups { names, train: part.indices("train")?, test: part.indices("test")? };
    groups.agree(meta.train, meta.test).map_err(|error| part.wrong(error))?;
    Ok(Some(groups))
}

/// Stores parts `groups` and `group_names`.
///
/// # Errors
///
/// Fails if the store does.
pub fn put_groups(ctx: &StageCtx<'_>, groups: &Groups) -> Result<Parts, StageError> {
    let train = StoredTensor::indices("train", &groups.train);
    let tensors = [train, StoredTensor::indices("test", &groups.test)];
    Ok(Parts::from([
        ("groups".to_owned(), parts::put_tensors(ctx, &tensors)?),
        ("group_names".to_owned(), parts::put_json(ctx, &groups.names)?),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SampleId, subset::PickedSample};

    fn groups(train: &[u32], test: &[u32]) -> Groups {
        let names = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
        Groups { names, train: GroupId::list(train.to_vec()), test: GroupId::list(test.to_vec()) }
    }

    #[test]
    fn groups_are_one_of_those_named_for_each_sample() {
        assert_eq!(groups(&[0, 2], &[1]).agree(2, 1), Ok(()));
        let error = groups(&[0, 2], &[1]).agree(2, 2).expect_err("one is missing");
        assert_eq!(error.to_string(), "split `test` has 1 groups for 2 samples");
        let error = groups(&[0, 3], &[1]).agree(2, 1).expect_err("there is no fourth");
        assert_eq!(error.to_string(), "group 3 of sample 1 in `train` is not one of 3 groups");
    }

    #[test]
    fn minorities_are_smaller_than_the_mean_of_the_groups_there_are() {
        // 4, 2 and none: the mean of two is 3.
        let all = groups(&[0, 0, 0, 1, 0, 1], &[]);
        let pick = |at: u32| PickedSample { sample: SampleId::from(at), weight: None };
        let kept = Subset::new(6, [0, 3, 4, 5].map(pick).into()).expect("each once");
        let counts = all.count(&kept);
        assert_eq!(counts, GroupCounts { available: vec![4, 2, 0], kept: vec![2, 2, 0] });
        assert_eq!(counts.minority_shares(), (2.0 / 6.0, 0.5));
        // Equal groups have no minority.
        assert_eq!(groups(&[0, 1], &[]).count(&Subset::all(2)).minority_shares(), (0.0, 0.0));
    }
}
