//! The `data` artifact in memory: samples, labels, and what is known about them.
//!
//! How a data set gets here is `load`'s business, what is done to it `corrupt`'s.

mod error;
mod groups;
mod origin;
mod take;

use crate::{
    ArtifactError, ClassId, Matrix, SampleId,
    columns::{COLUMNS, SampleColumns},
    parts::{self, PartBytes, PartError, Parts, StoredTensor},
    pixels::Pixels,
    rows::StoredRows,
};
use cache::{Artifact, Blob, Bytes, Store};
use engine::{StageCtx, StageError};
pub use error::DatasetError;
pub use groups::{GroupCounts, Groups, groups, put_groups};
pub use origin::{Origin, OriginCount, Origins, origins, put_origins};
use serde::{Deserialize, Serialize};
use std::{ops::Range, sync::Arc};

/// The parts that only an evaluation may see: they are no part of what a selector is given.
pub const FOR_EVALUATION: [&str; 4] = ["clean", "groups", "group_names", "origin"];

/// What a data set is, apart from its samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetMeta {
    /// The name, such as `cifar10`.
    pub name: String,
    /// The names of the classes; a label is a position in it.
    pub classes: Vec<String>,
    /// The shape of one sample: `[c, h, w]` of an image, `[d]` of features.
    pub sample: Vec<usize>,
    /// How many training samples.
    pub train: usize,
    /// How many test samples.
    pub test: usize,
    /// What to subtract: per channel, with images scaled to 0..1. One 0 for features.
    pub mean: Vec<f32>,
    /// What to divide by: per channel, with images scaled to 0..1. One 1 for features.
    pub std: Vec<f32>,
    /// What space the features are in, if it is one of these samples' own: features of other data may be compared with
    /// them only if theirs says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<String>,
}

/// A data set.
pub struct Dataset {
    /// What it is, apart from its samples.
    pub meta: DatasetMeta,
    /// The training split.
    pub train: Split,
    /// The test split.
    pub test: Split,
    /// The truth about corrupted labels. For evaluation only: no selector may see it.
    pub clean: Option<CleanLabels>,
    /// The groups of the samples. For evaluation only.
    pub groups: Option<Groups>,
    /// What was done to training samples. For evaluation only.
    pub origins: Option<Origins>,
    /// Ids and counts of the training samples.
    pub columns: Option<SampleColumns>,
    /// What the training samples were in their file, if they are texts.
    pub rows: Option<StoredRows>,
}

/// The samples of one split, and their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// The samples.
    pub inputs: Inputs,
    /// The label of each.
    pub labels: Vec<ClassId>,
}

/// Samples, row-major: `n * product(sample)` elements.
#[derive(Clone, Debug, PartialEq)]
pub enum Inputs {
    /// `[n, c, h, w]`, as 8-bit grey levels or colours.
    Images(Pixels),
    /// `[n, d]`.
    Features(Vec<f32>),
}

/// What the training labels were before they were corrupted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanLabels {
    /// The label of every training sample before.
    pub labels: Vec<ClassId>,
    /// The samples that were picked to be corrupted, sorted. Where the draw may
    /// fall on the sample's own class, a touched sample can still have its clean label.
    pub touched: Vec<SampleId>,
}

impl Inputs {
    /// Returns how many elements all samples have together.
    pub fn len(&self) -> usize {
        match self {
            Self::Images(values) => values.len(),
            Self::Features(values) => values.len(),
        }
    }

    /// Returns whether there is no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the first `n` samples of `each` elements, or all if there are fewer.
    pub fn truncate(&mut self, n: usize, each: usize) {
        match self {
            Self::Images(pixels) => pixels.truncate(n.saturating_mul(each)),
            Self::Features(values) => values.truncate(n.saturating_mul(each)),
        }
    }
}

impl Dataset {
    /// Reads the data set on `port`.
    ///
    /// # Errors
    ///
    /// Fails if a part is missing or damaged, or the parts do not agree with each other.
    pub fn read(ctx: &StageCtx<'_>, port: &str) -> Result<Self, StageError> {
        let artifact = input(ctx, port)?;
        ctx.fetch_inputs(&[port]);
        let (meta, train_labels, test_labels) = labels(ctx, port, artifact)?;
        let (train, test) = inputs(ctx, port, artifact)?;
        let clean = clean(ctx, port, artifact)?;
        let groups = groups(ctx, port, artifact, &meta)?;
        let origins = origins(ctx, port, artifact, &meta)?;
        let columns = SampleColumns::read(ctx, port, artifact)?;
        let rows = StoredRows::read(ctx, port, artifact)?;
        let data = Self {
            meta,
            train: Split { inputs: train, labels: train_labels },
            test: Split { inputs: test, labels: test_labels },
            clean,
            groups,
            origins,
            columns,
            rows,
        };
        data.agree().map_err(|error| {
            let (port, part) = (port.to_owned(), "meta".to_owned());
            StageError::Decode { port, part, source: error.into() }
        })?;
        Ok(data)
    }

    /// Stores it with all it knows about its samples. What another data set has too stays one object.
    ///
    /// # Errors
    ///
    /// Fails if its parts do not agree with each other, or the store fails.
    pub fn put(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        self.agree().map_err(ArtifactError::from)?;
        let mut parts = put(ctx, &self.meta, &self.train, &self.test)?;
        if let Some(clean) = &self.clean {
            parts.insert("clean".to_owned(), put_clean(ctx, clean)?);
        }
        if let Some(groups) = &self.groups {
            parts.extend(put_groups(ctx, groups)?);
        }
        if let Some(origins) = &self.origins {
            parts.insert("origin".to_owned(), put_origins(ctx, origins)?);
        }
        if let Some(columns) = &self.columns {
            parts.insert(COLUMNS.to_owned(), columns.put(ctx)?);
        }
        if let Some(rows) = &self.rows {
            parts.extend(rows.put(ctx)?);
        }
        Ok(parts)
    }

    fn agree(&self) -> Result<(), DatasetError> {
        self.meta.agree(&self.train, self.meta.train, "train")?;
        self.meta.agree(&self.test, self.meta.test, "test")?;
        if let Some(groups) = &self.groups {
            groups.agree(self.meta.train, self.meta.test)?;
        }
        if let Some(origins) = &self.origins {
            origins.agree(self.meta.train)?;
        }
        let n = self.meta.train;
        if let Some((column, found)) = self.columns.as_ref().and_then(|all| all.unlike(n)) {
            return Err(DatasetError::ColumnLength { column: column.to_owned(), found, n });
        }
        if let Some(found) = self.rows.as_ref().map(StoredRows::len).filter(|found| *found != n) {
            return Err(DatasetError::ColumnLength { column: "rows".to_owned(), found, n });
        }
        let Some(clean) = &self.clean else { return Ok(()) };
        clean.agree(self.meta.train, self.meta.classes.len())
    }
}

impl DatasetMeta {
    /// Returns how many elements one sample has.
    pub fn each(&self) -> usize {
        self.sample.iter().fold(1, |all, one| all.saturating_mul(*one))
    }

    fn agree(&self, split: &Split, n: usize, name: &'static str) -> Result<(), DatasetError> {
        let found = split.inputs.len();
        let wanted = n.saturating_mul(self.each());
        if found != wanted {
            let sample = self.sample.clone();
            return Err(DatasetError::Elements { split: name, found, n, sample, wanted });
        }
        if split.labels.len() != n {
            let found = split.labels.len();
            return Err(DatasetError::LabelCount { split: name, found, n });
        }
        in_range(&split.labels, self.classes.len(), name)
    }
}

impl CleanLabels {
    fn agree(&self, n: usize, classes: usize) -> Result<(), DatasetError> {
        if self.labels.len() != n {
            return Err(DatasetError::CleanCount { found: self.labels.len(), n });
        }
        in_range(&self.labels, classes, "clean")?;
        let sorted = self.touched.windows(2).all(|pair| pair[0] < pair[1]);
        let inside = self.touched.last().is_none_or(|last| last.index() < n);
        if sorted && inside { Ok(()) } else { Err(DatasetError::Touched { n }) }
    }
}

/// Returns what a `data` artifact in `store` is, apart from its samples.
///
/// # Errors
///
/// Fails if its summary does not read.
pub fn open_meta(store: &Store, artifact: &Artifact) -> Result<DatasetMeta, PartError> {
    PartBytes::open(store, artifact, "meta")?.json()
}

/// Returns the training labels before they were corrupted, or `None` if they were not.
///
/// # Errors
///
/// Fails if they do not read.
pub fn open_clean_labels(
    store: &Store,
    artifact: &Artifact,
) -> Result<Option<Vec<ClassId>>, PartError> {
    if !artifact.parts.contains_key("clean") {
        return Ok(None);
    }
    PartBytes::open(store, artifact, "clean")?.indices("labels").map(Some)
}

/// Returns the training images of a `data` artifact in `store`, and where in its bytes they lie; `None`
/// if its samples are features.
///
/// # Errors
///
/// Fails if they do not read.
pub fn open_train_images(
    store: &Store,
    artifact: &Artifact,
) -> Result<Option<(Bytes, Range<usize>)>, PartError> {
    if !artifact.parts.contains_key("images") {
        return Ok(None);
    }
    let part = PartBytes::open(store, artifact, "images")?;
    let range = part.u8("train")?;
    Ok(Some((part.into_bytes(), range)))
}

fn in_range(labels: &[ClassId], classes: usize, split: &'static str) -> Result<(), DatasetError> {
    match labels.iter().position(|label| label.index() >= classes) {
        None => Ok(()),
        Some(sample) => Err(DatasetError::Label { split, sample, label: labels[sample], classes }),
    }
}

/// Returns the artifact on `port`.
pub fn input<'a>(ctx: &'a StageCtx<'_>, port: &str) -> Result<&'a Artifact, ArtifactError> {
    ctx.input(port).ok_or_else(|| ArtifactError::NotConnected { port: port.to_owned() })
}

/// Returns what a data set is.
///
/// # Errors
///
/// Fails if that does not read.
pub fn meta(
    ctx: &StageCtx<'_>,
    port: &str,
    artifact: &Artifact,
) -> Result<DatasetMeta, StageError> {
    parts::part(ctx, port, artifact, "meta")?.json()
}

/// Returns what is known about a data set, its training labels and its test labels; its samples
/// are not read.
///
/// # Errors
///
/// Fails if they do not read, or do not agree.
pub fn labels(
    ctx: &StageCtx<'_>,
    port: &str,
    artifact: &Artifact,
) -> Result<(DatasetMeta, Vec<ClassId>, Vec<ClassId>), StageError> {
    let meta = meta(ctx, port, artifact)?;
    let part = parts::part(ctx, port, artifact, "labels")?;
    let (train, test) = (part.indices("train")?, part.indices("test")?);
    for (labels, n, split) in [(&train, meta.train, "train"), (&test, meta.test, "test")] {
        if labels.len() != n {
            let found = labels.len();
            return Err(part.wrong(DatasetError::LabelCount { split, found, n }));
        }
        in_range(labels, meta.classes.len(), split).map_err(|error| part.wrong(error))?;
    }
    Ok((meta, train, test))
}

/// Returns the truth about corrupted labels, or `None` if none were corrupted.
pub fn clean(
    ctx: &StageCtx<'_>,
    port: &str,
    artifact: &Artifact,
) -> Result<Option<CleanLabels>, StageError> {
    if !artifact.parts.contains_key("clean") {
        return Ok(None);
    }
    let part = parts::part(ctx, port, artifact, "clean")?;
    Ok(Some(CleanLabels { labels: part.indices("labels")?, touched: part.indices("touched")? }))
}

fn inputs(
    ctx: &StageCtx<'_>,
    port: &str,
    artifact: &Artifact,
) -> Result<(Inputs, Inputs), StageError> {
    if artifact.parts.contains_key("features") {
        let part = parts::part(ctx, port, artifact, "features")?;
        let read = |name| Ok::<_, StageError>(Inputs::Features(part.f32(name)?.1));
        return Ok((read("train")?, read("test")?));
    }
    let part = parts::part(ctx, port, artifact, "images")?;
    let (train, test) = (part.u8("train")?, part.u8("test")?);
    let bytes = Arc::new(part.into_bytes());
    let images = |range| Inputs::Images(Pixels::stored(&bytes, range));
    Ok((images(train), images(test)))
}

/// Returns the training samples of the data set that came in on `port`, one row of features each.
///
/// # Errors
///
/// Fails if the data are images, or do not read.
pub fn train_features(
    ctx: &StageCtx<'_>,
    port: &str,
    artifact: &Artifact,
) -> Result<Matrix<'static>, StageError> {
    if !artifact.parts.contains_key("features") {
        return Err(ArtifactError::NoFeatures { port: port.to_owned() }.into());
    }
    let part = parts::part(ctx, port, artifact, "features")?;
    let (shape, values) = part.into_floats("train")?;
    match shape[..] {
        [rows, cols] => Ok(Matrix::new(values, rows, cols)),
        _ => Err(parts::wrong(port, "features", PartError::NotAMatrix("train".to_owned()))),
    }
}

/// Stores a data set that has not been corrupted: parts `images` or `features`, `labels`, `meta`.
///
/// # Errors
///
/// Fails if the splits do not agree with `meta` or with each other, or the store fails.
pub fn put(
    ctx: &StageCtx<'_>,
    meta: &DatasetMeta,
    train: &Split,
    test: &Split,
) -> Result<Parts, StageError> {
    meta.agree(train, meta.train, "train").map_err(ArtifactError::from)?;
    meta.agree(test, meta.test, "test").map_err(ArtifactError::from)?;
    let shape = |n: usize| [&[n], meta.sample.as_slice()].concat();
    let (name, tensors) = match (&train.inputs, &test.inputs) {
        (Inputs::Images(train), Inputs::Images(test)) => {
            let train = StoredTensor::u8("train", &shape(meta.train), train);
            ("images", [train, StoredTensor::u8("test", &shape(meta.test), test)])
        }
        (Inputs::Features(train), Inputs::Features(test)) => {
            let train = StoredTensor::f32("train", &shape(meta.train), train);
            ("features", [train, StoredTensor::f32("test", &shape(meta.test), test)])
        }
        _ => return Err(ArtifactError::MixedSplits.into()),
    };
    let samples = parts::put_tensors(ctx, &tensors)?;
    let labels = put_labels(ctx, &train.labels, &test.labels)?;
    let meta = parts::put_json(ctx, meta)?;
    let parts = [(name, samples), ("labels", labels), ("meta", meta)];
    Ok(parts.map(|(name, blob)| (name.to_owned(), blob)).into())
}

/// Stores part `labels`.
pub fn put_labels(
    ctx: &StageCtx<'_>,
    train: &[ClassId],
    test: &[ClassId],
) -> Result<Blob, StageError> {
    let tensors = [StoredTensor::indices("train", train), StoredTensor::indices("test", test)];
    parts::put_tensors(ctx, &tensors)
}

/// Stores part `clean`.
pub fn put_clean(ctx: &StageCtx<'_>, clean: &CleanLabels) -> Result<Blob, StageError> {
    let labels = StoredTensor::indices("labels", &clean.labels);
    parts::put_tensors(ctx, &[labels, StoredTensor::indices("touched", &clean.touched)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Dataset {
        let classes = vec!["a".to_owned(), "b".to_owned()];
        let meta = DatasetMeta {
            name: "two".into(),
            classes,
            sample: vec![3],
            train: 2,
            test: 1,
            mean: vec![0.0],
            std: vec![1.0],
            space: None,
        };
        let split = |n: usize| Split {
            inputs: Inputs::Features(vec![0.5; n * 3]),
            labels: vec![ClassId::at(1); n],
        };
        let (train, test) = (split(2), split(1));
        Dataset {
            meta,
            train,
            test,
            clean: None,
            groups: None,
            origins: None,
            columns: None,
            rows: None,
        }
    }

    #[test]
    fn disagreeing_parts_are_refused() {
        assert_eq!(data().agree(), Ok(()));
        let mut one = data();
        one.train.labels[1] = ClassId::at(2);
        let error = one.agree().expect_err("the label is too large");
        let label =
            DatasetError::Label { split: "train", sample: 1, label: ClassId::at(2), classes: 2 };
        assert_eq!(error, label);
        let says = "label 2 of sample 1 in `train` is not one of 2 classes";
        assert_eq!(error.to_string(), says);
        let mut one = data();
        one.meta.sample = vec![4];
        assert!(one.agree().is_err());
        let mut one = data();
        one.meta.sample = vec![usize::MAX, usize::MAX];
        assert!(one.agree().is_err());
        for (labels, touched, fine) in [
            (vec![0, 0], vec![0, 1], true),
            (vec![0, 0], vec![1, 0], false),
            (vec![0, 0], vec![1, 1], false),
            (vec![0, 0], vec![2], false),
            (vec![0], vec![], false),
            (vec![0, 2], vec![], false),
        ] {
            let (labels, touched) = (ClassId::list(labels), SampleId::list(touched));
            let one = Dataset { clean: Some(CleanLabels { labels, touched }), ..data() };
            assert_eq!(one.agree().is_ok(), fine);
        }
    }
}
