//! What is done to a data set before anything is trained on it: `corrupt.*`.
//!
//! What a corruption does not touch stays one object with the clean data set's.

mod class_ref;
mod duplicates;
mod group_file;
mod groups;
mod images;
mod imbalance;
mod instance;
mod label_file;
mod labels;
mod outliers;
mod stage;
mod transition;

use artifacts::{
    ClassId, SampleId,
    dataset::{self, CleanLabels},
    parts::{DATA, Parts},
};
use cache::Artifact;
use engine::{ArtifactKind, Method, Port, Stage, StageCtx, StageError};
use rand::{Rng, RngExt as _};
use schemars::schema_for;
use serde::Deserialize;
use serde_json::{Value, json};

/// Returns every way to corrupt a data set.
pub(crate) fn methods() -> Vec<Method> {
    vec![
        Method {
            name: "corrupt.labels",
            summary: "gives a share of the training samples a wrong label",
            manual: labels::MANUAL,
            parse: |with| Ok(Box::new(with.read::<labels::Labels>()?)),
            schema: || schema_for!(labels::Labels),
        },
        Method {
            name: "corrupt.label-file",
            summary: "takes the labels of the training samples from a file",
            manual: label_file::MANUAL,
            parse: |with| Ok(Box::new(with.read::<label_file::LabelFile>()?)),
            schema: || schema_for!(label_file::LabelFile),
        },
        stage::method::<duplicates::Duplicates>(),
        Method {
            name: "corrupt.group-file",
            summary: "takes the groups of the samples from files",
            manual: group_file::MANUAL,
            parse: |with| Ok(Box::new(with.read::<group_file::GroupFile>()?)),
            schema: || schema_for!(group_file::GroupFile),
        },
        stage::method::<groups::SpuriousGroups>(),
        stage::method::<images::Images>(),
        stage::method::<imbalance::Imbalance>(),
        Method {
            name: "corrupt.outliers",
            summary: "replaces a share of the training samples with those of another data set",
            manual: outliers::MANUAL,
            parse: |with| Ok(Box::new(with.read::<outliers::Outliers>()?)),
            schema: || schema_for!(outliers::Outliers),
        },
        Method {
            name: "corrupt.none",
            summary: "passes the data on as it is",
            manual: "Passes the data on as it is, so that a matrix can compare corrupted labels \
                     with clean ones: its output is its input, and what was done with that is not \
                     done again. It takes the settings of corrupt.labels and ignores them, so that a \
                     variant can change the method alone.",
            parse: |with| Ok(Box::new(with.read::<Untouched>()?)),
            schema: || schema_for!(labels::Labels),
        },
    ]
}

/// What is set for the other method is allowed here and changes nothing.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
struct Untouched {
    _ignored: labels::Labels,
}

impl Stage for Untouched {
    fn method(&self) -> &'static str {
        "corrupt.none"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn settings(&self) -> Value {
        json!({})
    }

    fn inputs(&self) -> Vec<Port> {
        vec![Port::one("data", DATA)]
    }

    fn output(&self) -> ArtifactKind {
        DATA
    }

    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        Ok(dataset::input(ctx, "data")?.parts.clone())
    }
}

/// Draws one of the first `count` classes, or whatever else is counted, but not `own`.
pub(crate) fn another<I: Copy + From<u32> + Into<u32>>(
    rng: &mut impl Rng,
    own: I,
    count: u32,
) -> I {
    let drawn = rng.random_range(0..count - 1);
    if drawn < own.into() { drawn } else { drawn + 1 }.into()
}

/// Returns the samples whose label differs, sorted.
fn changed(before: &[ClassId], after: &[ClassId]) -> Vec<SampleId> {
    let pairs = SampleId::all(before.len()).zip(before.iter().zip(after));
    pairs.filter(|(_, (old, new))| old != new).map(|(sample, _)| sample).collect()
}

/// Returns the data of `artifact`, which has the labels `(train, test)`, with other training labels; what
/// they were is kept beside them. Where nothing was touched, these are the parts of `artifact`.
fn relabelled(
    ctx: &StageCtx<'_>,
    artifact: &Artifact,
    (train, test): (Vec<ClassId>, Vec<ClassId>),
    after: &[ClassId],
    touched: Vec<SampleId>,
) -> Result<Parts, StageError> {
    ctx.log(format!("{} of {} labels touched", touched.len(), train.len()));
    let mut parts = artifact.parts.clone();
    if touched.is_empty() {
        return Ok(parts);
    }
    let clean = merge(dataset::clean(ctx, "data", artifact)?, train, touched);
    let wrong = changed(&clean.labels, after).len();
    let share = 100.0 * wrong as f64 / after.len() as f64;
    ctx.log(format!("{wrong} of {} labels are wrong: {share:.2} %", after.len()));
    parts.insert("labels".to_owned(), dataset::put_labels(ctx, after, &test)?);
    parts.insert("clean".to_owned(), dataset::put_clean(ctx, &clean)?);
    Ok(parts)
}

/// Returns the truth after `touched` were corrupted, of labels that were `before` and may have
/// been corrupted by then.
fn merge(known: Option<CleanLabels>, before: Vec<ClassId>, touched: Vec<SampleId>) -> CleanLabels {
    let Some(mut clean) = known else { return CleanLabels { labels: before, touched } };
    clean.touched.extend(touched);
    clean.touched.sort_unstable();
    clean.touched.dedup();
    clean
}

#[cfg(test)]
mod tests {
    use super::{stage::Corruption, *};
    use artifacts::{
        ClassId,
        dataset::{Dataset, DatasetMeta, Inputs, Split},
    };
    use engine::Streams;

    /// Returns grey images of two by two pixels, none of them black, of as many classes as there are
    /// labels.
    pub(super) fn grey(train: &[u32], test: &[u32]) -> Dataset {
        let classes = train.iter().chain(test).max().map_or(0, |most| most + 1);
        let classes = ["a", "b", "c", "d"].map(str::to_owned)[..classes as usize].to_vec();
        let images = |n: usize| (0..n * 4).map(|at| (at * 7 % 251 + 1) as u8).collect::<Vec<_>>();
        let split = |labels: &[u32]| Split {
            inputs: Inputs::Images(images(labels.len()).into()),
            labels: ClassId::list(labels.to_vec()),
        };
        let meta = DatasetMeta {
            name: "grey".to_owned(),
            classes,
            sample: vec![1, 2, 2],
            train: train.len(),
            test: test.len(),
            mean: vec![0.5],
            std: vec![0.25],
            space: None,
        };
        Dataset {
            meta,
            train: split(train),
            test: split(test),
            clean: None,
            groups: None,
            origins: None,
            columns: None,
            rows: None,
        }
    }

    /// Returns what `corruption` makes of `data`.
    pub(super) fn run<C: Corruption>(corruption: &C, data: Dataset) -> Result<Dataset, StageError> {
        let streams = Streams::new(5, C::STREAMS);
        Ok(corruption.corrupt(data, streams)?.expect("something is done").data)
    }

    #[test]
    fn the_first_labels_stay_the_clean_ones() {
        let first = merge(None, ClassId::list([0, 1, 2]), SampleId::list([0, 2]));
        assert_eq!(
            first,
            CleanLabels { labels: ClassId::list([0, 1, 2]), touched: SampleId::list([0, 2]) }
        );
        let second = merge(Some(first), ClassId::list([1, 1, 0]), SampleId::list([1, 2]));
        assert_eq!(
            second,
            CleanLabels { labels: ClassId::list([0, 1, 2]), touched: SampleId::list([0, 1, 2]) }
        );
    }

    #[test]
    fn changed_samples_are_told_in_order() {
        let (before, after) = (ClassId::list([0, 1, 2, 3]), ClassId::list([1, 1, 2, 0]));
        assert_eq!(changed(&before, &after), SampleId::list([0, 3]));
    }
}
