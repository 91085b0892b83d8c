//! Where data comes from: `load.*`. What is done to it afterwards is the business of others.

mod archived;
mod aside;
mod cifar;
pub(crate) mod columns;
mod digits;
mod emnist;
mod error;
mod features;
mod file;
mod file_list;
mod folder_of_texts;
mod idx;
mod idx_file;
mod image_arrays;
mod images;
mod labels;
mod mat;
mod names;
mod published;
mod qmnist;
pub mod readers;
mod split_files;
mod svhn;
mod synthetic;
mod text;
mod told;

use artifacts::{
    ClassId,
    columns::{COLUMNS, SampleColumns},
    dataset::{self, DatasetMeta, Inputs, Split},
    parts::{self, DATA, Parts},
    units::Count,
};
use cache::Blob;
use engine::{
    ArtifactKind, InputFile, InputFolder, Method, Port, Problem, Stage, StageCtx, StageError,
};
pub use error::{FileError, FolderError};
pub use images::ImageError;
pub use mat::MatError;
pub(crate) use names::numbers;
use published::OnDisk;
use schemars::{JsonSchema, schema_for};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// A way to get a data set: its settings, and what reads or makes it.
pub(crate) trait Loader:
    Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static
{
    /// The name in a pipeline file.
    const NAME: &'static str;
    /// What it is, in a line.
    const SUMMARY: &'static str;
    /// The manual.
    const MANUAL: &'static str;
    /// The revision of its results.
    const REVISION: u32 = 1;

    /// Returns the settings as they are in the key.
    fn keyed(&self) -> Value {
        json!(self)
    }

    /// The random streams it draws from.
    fn streams(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns what is wrong with the settings as a whole.
    fn problems(&self) -> Vec<Problem> {
        vec![]
    }

    /// Returns the files it reads: their bytes are in the key, their place is not.
    ///
    /// # Errors
    ///
    /// Names what is not there, and what to get.
    fn files(&self) -> Result<Vec<InputFile>, Problem> {
        Ok(vec![])
    }

    /// Returns the folders it reads: the names and bytes of their files are in the key.
    ///
    /// # Errors
    ///
    /// As [`Self::files`].
    fn folders(&self) -> Result<Vec<InputFolder>, Problem> {
        Ok(vec![])
    }

    /// Puts the data set into the store, out of the files that `ctx` has the digests of.
    ///
    /// # Errors
    ///
    /// Names the file that is not what it should be.
    fn load(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError>;
}

/// The stage around every loader.
struct LoadStage<L>(L);

impl<L: Loader> Stage for LoadStage<L> {
    fn method(&self) -> &'static str {
        L::NAME
    }

    fn revision(&self) -> u32 {
        L::REVISION
    }

    fn settings(&self) -> Value {
        self.0.keyed()
    }

    fn inputs(&self) -> Vec<Port> {
        vec![]
    }

    fn output(&self) -> ArtifactKind {
        DATA
    }

    fn streams(&self) -> &'static [&'static str] {
        self.0.streams()
    }

    fn problems(&self) -> Vec<Problem> {
        self.0.problems()
    }

    fn files(&self) -> Result<Vec<InputFile>, Problem> {
        self.0.files()
    }

    fn folders(&self) -> Result<Vec<InputFolder>, Problem> {
        self.0.folders()
    }

    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        self.0.load(ctx)
    }
}

fn loader<L: Loader>() -> Method {
    Method {
        name: L::NAME,
        summary: L::SUMMARY,
        manual: L::MANUAL,
        parse: |with| Ok(Box::new(LoadStage(with.read::<L>()?))),
        schema: || schema_for!(L),
    }
}

/// Returns every way to get a data set. A new one is a file, its `mod` above and a line here.
pub(crate) fn methods() -> Vec<Method> {
    vec![
        loader::<OnDisk<cifar::Cifar10>>(),
        loader::<OnDisk<cifar::Cifar100>>(),
        loader::<digits::Digits>(),
        loader::<OnDisk<idx::FashionMnist>>(),
        loader::<features::LoadFeatures>(),
        loader::<images::folder::ImageFolder>(),
        loader::<idx::Idx>(),
        loader::<image_arrays::ImageArrays>(),
        loader::<images::imagenet::ImageNet>(),
        loader::<images::table::ImagesTable>(),
        loader::<OnDisk<idx::Mnist>>(),
        loader::<images::parquet::ParquetImages>(),
        loader::<OnDisk<qmnist::Qmnist>>(),
        loader::<svhn::Svhn>(),
        loader::<synthetic::Synthetic>(),
        loader::<text::LoadText>(),
        loader::<images::tiny::TinyImageNet>(),
        loader::<images::webdataset::WebDataset>(),
    ]
}

/// A data set that was read, on its way into the store.
#[derive(Debug)]
pub(crate) struct Loaded {
    meta: DatasetMeta,
    train: Split,
    test: Split,
    /// Ids and counts of the training samples.
    columns: SampleColumns,
}

impl Loaded {
    pub(crate) fn new(meta: DatasetMeta, train: Split, test: Split) -> Self {
        Self { meta, train, test, columns: SampleColumns::default() }
    }

    /// Keeps the first `train` and the first `test` samples.
    fn limit(&mut self, train: Option<Count>, test: Option<Count>) {
        let each = self.meta.each();
        for (split, limit) in [(&mut self.train, train), (&mut self.test, test)] {
            let Some(n) = limit else { continue };
            split.labels.truncate(n.get());
            split.inputs.truncate(n.get(), each);
        }
        (self.meta.train, self.meta.test) = (self.train.labels.len(), self.test.labels.len());
        self.columns.truncate(self.meta.train);
    }

    /// Takes mean and standard deviation of each channel from the training images.
    pub(crate) fn with_moments(mut self) -> Self {
        let Inputs::Images(images) = &self.train.inputs else { return self };
        (self.meta.mean, self.meta.std) = moments(images, &self.meta.sample);
        self
    }

    pub(crate) fn put(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let told = told::lines(&self.meta, &self.train.labels, &self.test.labels);
        let columns = told::columns(&self.columns);
        for line in told.into_iter().chain(columns) {
            ctx.log(line);
        }
        let mut parts = dataset::put(ctx, &self.meta, &self.train, &self.test)?;
        if !self.columns.is_empty() {
            parts.insert(COLUMNS.to_owned(), self.columns.put(ctx)?);
        }
        Ok(parts)
    }
}

/// Tells of a data set whose features are stored already, and stores what belongs to them.
fn put_around_features(
    ctx: &StageCtx<'_>,
    meta: &DatasetMeta,
    features: Blob,
    labels: [&[ClassId]; 2],
    columns: &SampleColumns,
) -> Result<Parts, StageError> {
    let told = told::lines(meta, labels[0], labels[1]);
    told.into_iter().chain(told::columns(columns)).for_each(|line| ctx.log(line));
    let labels = dataset::put_labels(ctx, labels[0], labels[1])?;
    let meta = parts::put_json(ctx, meta)?;
    let parts = [("features", features), ("labels", labels), ("meta", meta)];
    let mut parts: Parts = parts.map(|(name, blob)| (name.to_owned(), blob)).into();
    if !columns.is_empty() {
        parts.insert(COLUMNS.to_owned(), columns.put(ctx)?);
    }
    Ok(parts)
}

/// Returns mean and standard deviation of each channel of images of shape `sample`, `[c, h, w]`, with
/// levels scaled to 0..1.
pub(crate) fn moments(images: &[u8], sample: &[usize]) -> (Vec<f32>, Vec<f32>) {
    let mut levels = Levels::new(sample[0]);
    images.chunks_exact(sample.iter().product()).for_each(|image| levels.add(image));
    levels.moments()
}

/// How often each grey level occurs in each channel. Counted, not summed: exact, and the same in
/// any order.
struct Levels(Vec<[u64; 256]>);

impl Levels {
    fn new(channels: usize) -> Self {
        Self(vec![[0; 256]; channels])
    }

    /// Counts an image, `[c, h, w]`.
    fn add(&mut self, image: &[u8]) {
        let plane = image.len() / self.0.len();
        for (count, plane) in self.0.iter_mut().zip(image.chunks_exact(plane)) {
            plane.iter().for_each(|level| count[usize::from(*level)] += 1);
        }
    }

    /// Returns mean and standard deviation of each channel, with levels scaled to 0..1.
    fn moments(&self) -> (Vec<f32>, Vec<f32>) {
        let moment = |count: &[u64; 256], f: &dyn Fn(f64) -> f64| {
            let n = count.iter().sum::<u64>().max(1) as f64;
            let levels = count.iter().enumerate();
            levels.map(|(level, times)| f(level as f64 / 255.0) * *times as f64).sum::<f64>() / n
        };
        let both = self.0.iter().map(|count| {
            let mean = moment(count, &|x| x);
            let std = moment(count, &|x| (x - mean) * (x - mean)).sqrt();
            // A channel that never changes must not be divided by zero.
            (mean as f32, if std > 0.0 { std as f32 } else { 1.0 })
        });
        both.unzip()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_per_channel() {
        let images = vec![0, 255, 51, 51, 255, 0, 51, 51];
        let split = Split { inputs: Inputs::Images(images.into()), labels: ClassId::list([0, 0]) };
        let meta = DatasetMeta {
            name: "two".to_owned(),
            classes: names::owned(&["a"]),
            sample: vec![2, 1, 2],
            train: 2,
            test: 2,
            mean: vec![],
            std: vec![],
            space: None,
        };
        let meta = Loaded::new(meta, split.clone(), split).with_moments().meta;
        assert_eq!((meta.mean, meta.std), (vec![0.5, 0.2], vec![0.5, 1.0]));
    }
}
