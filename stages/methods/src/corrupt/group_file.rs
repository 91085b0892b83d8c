//! `corrupt.group-file`: the groups of the samples, as somebody else knows them.

use super::groups;
use crate::{MethodError, OwnFileError};
use artifacts::{
    ClassId, GroupId,
    dataset::{self, Groups},
    formats::column::{self, Column},
    parts::{DATA, Parts},
};
use engine::{ArtifactKind, InputFile, Port, Problem, SpecPath, Stage, StageCtx, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Numbers beyond this are no groups.
const MOST: usize = 10_000;

pub(super) const MANUAL: &str = "\
Says which group each sample is in, such as the background it was taken before, for data that have such groups \
(Waterbirds, CelebA) rather than colours made for them (`corrupt.groups`). Labels and samples stay as they are; \
`evaluate` tells the accuracy of the worst group (Sagawa et al., *Distributionally Robust Neural Networks for \
Group Shifts*, ICLR 2020).

`train` and `test` each hold one number for each sample of their split, in its order, counted from 0. A `.npy` \
file holds one array of integers; safetensors a tensor `groups`; JSON a list; `.csv` and `.txt` one number a \
line, or a column called `group` (with a column `index` beside it, the rows must stand in its order). With \
`with-class`, the numbers are those of an attribute, and a group is a class and an attribute. What can be seen \
without the data is checked before anything runs. Paths are relative to the pipeline file and not part of the \
key: the files' bytes are.

Only `evaluate` and the models' summaries read the groups. Groups the data had before are replaced.";

/// Where the groups are.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct GroupFile {
    /// The file with one group for each training sample, in their order, of any kind that
    /// `score.import` reads. Required.
    #[serde(skip_serializing)]
    train: Option<SpecPath>,
    /// The file with one group for each test sample. Required.
    #[serde(skip_serializing)]
    test: Option<SpecPath>,
    /// The names of the groups, or of the attribute's values, in the order of their numbers. Without it
    /// they are called by their numbers.
    names: Option<Vec<String>>,
    /// The numbers are those of an attribute, and a group is a class and an attribute.
    with_class: bool,
}

impl GroupFile {
    fn paths(&self) -> [(&'static str, Option<&SpecPath>); 2] {
        [("train", self.train.as_ref()), ("test", self.test.as_ref())]
    }

    /// Returns what the file of a split holds, each at least 0 and below how many there can be.
    fn read(&self, split: &'static str, path: Option<&SpecPath>) -> Result<Vec<u32>, MethodError> {
        let path = path.ok_or(MethodError::NoSetting(split))?.path();
        let refused = |error: OwnFileError| MethodError::OwnFile {
            path: path.clone(),
            error: Box::new(error),
        };
        let found =
            column::wholes(&path, Column::Groups, None).map_err(|error| refused(error.into()))?;
        let groups = self.names.as_ref().map_or(MOST, Vec::len);
        let group = |(sample, group): (usize, &i128)| {
            let group = *group;
            let inside = u32::try_from(group).ok().filter(|one| (*one as usize) < groups);
            inside.ok_or_else(|| refused(OwnFileError::Group { sample, group, groups }))
        };
        found.iter().enumerate().map(group).collect()
    }

    /// Returns the groups of samples with these numbers and labels.
    fn groups(
        &self,
        [train, test]: [Vec<u32>; 2],
        [train_labels, test_labels]: [&[ClassId]; 2],
        classes: &[String],
    ) -> Result<Groups, MethodError> {
        let splits = [(&self.train, &train, train_labels), (&self.test, &test, test_labels)];
        for (path, groups, labels) in splits {
            if groups.len() != labels.len() {
                let path = path.as_ref().map(SpecPath::path).unwrap_or_default();
                let error = OwnFileError::GroupCount { groups: groups.len(), n: labels.len() };
                return Err(MethodError::OwnFile { path, error: Box::new(error) });
            }
        }
        let count = train.iter().chain(&test).max().map_or(0, |most| most + 1);
        let names = self.names.clone();
        let names = names.unwrap_or_else(|| (0..count).map(|group| group.to_string()).collect());
        if !self.with_class {
            let [train, test] = [train, test].map(GroupId::list);
            return Ok(Groups { names, train, test });
        }
        let values = names.len();
        let with = |given: &[u32], labels: &[ClassId]| {
            let pairs = labels.iter().zip(given);
            pairs.map(|(label, value)| groups::with_class(*label, *value, values)).collect()
        };
        Ok(Groups {
            train: with(&train, train_labels),
            test: with(&test, test_labels),
            names: groups::names(classes, &names),
        })
    }
}

impl Stage for GroupFile {
    fn method(&self) -> &'static str {
        "corrupt.group-file"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn settings(&self) -> Value {
        json!(self)
    }

    fn inputs(&self) -> Vec<Port> {
        vec![Port::one("data", DATA)]
    }

    fn output(&self) -> ArtifactKind {
        DATA
    }

    fn problems(&self) -> Vec<Problem> {
        let there = |path: &Option<&SpecPath>| path.is_none_or(|path| path.path().is_file());
        let splits = self.paths().into_iter().filter(|(_, path)| there(path));
        let problems = splits.filter_map(|(split, path)| {
            let message = self.read(split, path).err()?.to_string();
            Some(Problem { setting: split.to_owned(), message, hint: None })
        });
        problems.collect()
    }

    fn files(&self) -> Result<Vec<InputFile>, Problem> {
        let named = self.paths().into_iter().filter_map(|(split, path)| Some((split, path?)));
        let file = |(split, path): (&str, &SpecPath)| match column::missing(split, path) {
            Some(problem) => Err(problem),
            None => Ok(InputFile { role: split.to_owned(), path: path.path() }),
        };
        named.map(file).collect()
    }

    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let artifact = dataset::input(ctx, "data")?;
        let (meta, train, test) = dataset::labels(ctx, "data", artifact)?;
        let [first, second] = self.paths().map(|(split, path)| self.read(split, path));
        let groups = self.groups([first?, second?], [&train, &test], &meta.classes)?;
        let mut parts = artifact.parts.clone();
        parts.extend(dataset::put_groups(ctx, &groups)?);
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    fn from(folder: &Path, train: &str, test: &str, other: Value) -> GroupFile {
        let mut with = json!({});
        for (split, text) in [("train", train), ("test", test)] {
            let path = folder.join(format!("{split}.csv"));
            fs::write(&path, format!("name,group\n{text}")).expect("a place to write to");
            with[split] = json!(path);
        }
        for (name, value) in other.as_object().expect("settings") {
            with[name] = value.clone();
        }
        serde_json::from_value(with).expect("the settings are read")
    }

    fn read(stage: &GroupFile) -> Result<Groups, MethodError> {
        let [train, test] = stage.paths().map(|(split, path)| stage.read(split, path));
        let classes = ["cat".to_owned(), "dog".to_owned()];
        let labels = [ClassId::list([0, 1, 1]), ClassId::list([1])];
        stage.groups([train?, test?], [&labels[0], &labels[1]], &classes)
    }

    #[test]
    fn groups_are_numbers_of_their_own_or_of_an_attribute() {
        let place = tempfile::tempdir().expect("a place");
        let stage = from(place.path(), "a,1\nb,0\nc,2\n", "d,1\n", json!({}));
        assert_eq!(stage.problems(), vec![]);
        let found = read(&stage).expect("it fits");
        assert_eq!(found.train, GroupId::list([1, 0, 2]));
        assert_eq!(found.test, GroupId::list([1]));
        assert_eq!(found.names, ["0", "1", "2"]);
        assert_eq!(stage.settings(), json!({ "names": null, "with-class": false }));
        let named = json!({ "names": ["land", "sea"], "with-class": true });
        let stage = from(place.path(), "a,1\nb,0\nc,1\n", "d,1\n", named);
        let found = read(&stage).expect("it fits");
        assert_eq!(found.train, GroupId::list([1, 2, 3]));
        assert_eq!(found.test, GroupId::list([3]));
        assert_eq!(found.names, ["cat/land", "cat/sea", "dog/land", "dog/sea"]);
    }

    #[test]
    fn files_that_do_not_fit_are_refused() {
        let place = tempfile::tempdir().expect("a place");
        let stage = from(place.path(), "a,1\nb,0\n", "d,1\n", json!({}));
        let error = read(&stage).expect_err("one is missing").to_string();
        assert!(error.ends_with("train.csv` has 2 groups, but there are 3 samples"), "{error}");
        let names = json!({ "names": ["land", "sea"] });
        for text in ["a,0\nb,2\nc,0\n", "a,0\nb,-1\nc,0\n"] {
            let problems = from(place.path(), text, "d,1\n", names.clone()).problems();
            assert_eq!((problems.len(), &*problems[0].setting), (1, "train"));
            assert!(problems[0].message.ends_with("for sample 1: expected 0 to 1"));
        }
        let none = GroupFile::default().problems();
        let settings: Vec<_> = none.iter().map(|one| &*one.setting).collect();
        assert_eq!(settings, ["train", "test"]);
    }
}
