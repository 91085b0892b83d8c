//! `load.features`: embeddings that were made elsewhere, and their labels if there are any.

mod pool;
mod scale;

use super::{
    Loader,
    columns::WantedColumns,
    file,
    file_list::{self, FileList},
    labels::{self, FileLabels},
    names, put_around_features,
    split_files::SplitFiles,
};
use crate::{MethodError, OwnFileError};
use artifacts::{
    ClassId,
    columns::SampleColumns,
    dataset::DatasetMeta,
    formats::{ArrayError, DataFile, FileKind, FormatError, Values, Wanted},
    parts::{self, Parts},
    units::Count,
};
use cache::Blob;
use engine::{InputFile, Problem, StageCtx, StageError, StageProgress};
use pool::{Embeddings, Found, Joined, OpenFile, Piece, columns_of};
use scale::{Moments, Scale, largest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io::Write as _;

/// The class of samples without labels.
pub(super) const UNLABELLED: &str = "unlabelled";

/// Beyond this, values are said to be large: those of embeddings seldom are.
const LARGE: f32 = 50.0;

/// What embeddings and labels are called in files.
const EMBEDDINGS: [&str; 6] = ["embeddings", "embedding", "features", "feature", "vectors", "x"];
const LABELS: [&str; 7] = ["labels", "label", "targets", "target", "classes", "class", "y"];

/// Columns of a table of features that are none.
const NO_FEATURES: [&str; 6] = ["", "unnamed: 0", "index", "idx", "id", "split"];

/// Where the embeddings are, and what they are called.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct LoadFeatures {
    /// The file with the embeddings to train on. Required. Of several, the pattern that all match, such as
    /// `"shards/part-*.npy"`, or a list.
    #[serde(skip_serializing)]
    train: Option<FileList>,
    /// The file with their labels, if that is another one, or several.
    #[serde(skip_serializing)]
    train_labels: Option<FileList>,
    /// The file with the embeddings to test on, or several. Without it the test split is empty.
    #[serde(skip_serializing)]
    test: Option<FileList>,
    /// The file with their labels, if that is another one, or several.
    #[serde(skip_serializing)]
    test_labels: Option<FileList>,
    /// The name of the array or column of embeddings, in files that hold several.
    embeddings: String,
    /// The name of the array or column of labels, in files that hold several.
    labels: String,
    /// The name of the column of the samples' ids, in a table that has one. Without it, a column called
    /// `id`, `uid`, `sample_id` or `key`, if there is one and no id stands there twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<String>,
    /// The names of columns of whole numbers that budgets may count, such as `["tokens"]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    counts: Vec<String>,
    /// How columns are brought to scale: not at all, or each to mean 0 and standard deviation 1.
    #[serde(skip_serializing_if = "Scale::is_none")]
    scale: Scale,
    /// What the data set is called in reports.
    name: String,
    /// The names of the classes, in the order of the labels. Without it, the labels are their own
    /// names, from 0 to the highest one found.
    classes: Option<Vec<String>>,
    /// Keep only the first so many training samples, in the order of the files.
    train_limit: Option<Count>,
    /// Keep only the first so many test samples, in the order of the files.
    test_limit: Option<Count>,
}

impl Default for LoadFeatures {
    fn default() -> Self {
        Self {
            train: None,
            train_labels: None,
            test: None,
            test_labels: None,
            embeddings: "embeddings".to_owned(),
            labels: "labels".to_owned(),
            ids: None,
            counts: vec![],
            scale: Scale::None,
            name: "features".to_owned(),
            classes: None,
            train_limit: None,
            test_limit: None,
        }
    }
}

impl Loader for LoadFeatures {
    const NAME: &'static str = "load.features";
    // 2: ids of the samples are kept. 3: pandas' index is no feature, and its texts are
    // ids; classes have the names that Hugging Face notes.
    const REVISION: u32 = 3;
    const SUMMARY: &'static str =
        "embeddings, and labels if there are any, from the files of other programs";
    const MANUAL: &'static str = "\
Embeddings made elsewhere, and their labels if there are any, so that selectors can be run on them. Which kind
a file is, is told by its content: NumPy's `.npy` (either order, numbers of any type) and `.npz`, safetensors,
PyTorch's `.pt` and pickles of arrays (nothing in them is run), Parquet, Arrow, CSV, TSV and JSON, each also
gzip'ed. HDF5 and MATLAB files are named, with the line that converts them.

A file that holds several arrays or columns has the embeddings under `embeddings` and the labels under `labels`,
or under another usual name (`features`, `label`, `target`, `y`); the two settings give any other. In a
table, embeddings are a column of lists, or all columns of numbers but labels, `index`, `id` and pandas' index. Labels may
also stand in a file of their own. A single array in a file has no name and needs none.

Several files are one pool: `train = \"shards/part-*.npy\"`, or a list. Those of a pattern are in natural order,
`part-2` before `part-10`; a list keeps its own. Their embeddings have one length; labels and ids stand in each of them or
in none, or labels in files of their own.

Embeddings are numbers of shape [n, ...], of images too (`load.image-arrays` keeps those as images), flattened
to [n, d] and kept as f32. A value that is not finite is refused. Labels are whole numbers from 0, or texts, which become classes in alphabetical order (or in that of
`classes`). Names of classes that Hugging Face notes in Parquet are theirs. Without labels all samples are of one class, `unlabelled`: enough for selectors that look at
embeddings. Ids of the training samples (`ids`) and counts (`counts`: tokens, bytes) travel with them: exports and
imports go by the ids, `unit` of a selector by a count. Without test files the test split is empty. Paths are relative to the
current directory and not part of the key: the files' bytes are.

Values stay as they are, unless `scale = \"standard\"` takes from each column its mean over the training samples and
divides by its standard deviation, as scikit-learn's `StandardScaler`. Networks want that of a table whose columns have units of their
own: with values in the hundreds the first steps can leave every ReLU dead, and accuracy stays at chance.

Cost: `.npy` in C order, `.npz` that is not packed and safetensors are memory-mapped and go to the store in blocks; what
has to be unpacked or parsed is in memory once. `scale` reads the training samples twice.";

    fn problems(&self) -> Vec<Problem> {
        let mut all = names::problems(self.classes.as_deref());
        all.extend(self.split_files().problems("embeddings"));
        all
    }

    fn files(&self) -> Result<Vec<InputFile>, Problem> {
        self.split_files().files()
    }

    fn load(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let files = OpenFiles::open(ctx.files())?;
        let found = self.read(&files)?;
        found.notes.iter().for_each(|note| ctx.log(note));
        let features = found.put(ctx)?;
        let labels = [&found.labels[0][..], &found.labels[1]];
        put_around_features(ctx, &found.meta, features, labels, &found.columns)
    }
}

/// The files that were named, opened.
struct OpenFiles<'p> {
    train: Vec<OpenFile<'p>>,
    train_labels: Vec<OpenFile<'p>>,
    test: Vec<OpenFile<'p>>,
    test_labels: Vec<OpenFile<'p>>,
}

impl<'p> OpenFiles<'p> {
    fn open(files: &'p [InputFile]) -> Result<Self, StageError> {
        let open = |role: &str| -> Result<Vec<OpenFile<'p>>, StageError> {
            file_list::paths(files, role).into_iter().map(OpenFile::open).collect()
        };
        file::path(files, "train")?;
        Ok(Self {
            train: open("train")?,
            train_labels: open("train-labels")?,
            test: open("test")?,
            test_labels: open("test-labels")?,
        })
    }
}

/// What the files hold.
struct FoundFeatures<'f> {
    meta: DatasetMeta,
    train: Embeddings<'f>,
    test: Embeddings<'f>,
    labels: [Vec<ClassId>; 2],
    columns: SampleColumns,
    scale: Scale,
    /// What to tell of it besides.
    notes: Vec<String>,
}

impl FoundFeatures<'_> {
    /// Returns how the object of the features begins.
    fn header(&self) -> Result<Vec<u8>, StageError> {
        let (meta, d) = (&self.meta, self.train.d);
        let tensors = [("test", vec![meta.test, d]), ("train", vec![meta.train, d])];
        Ok(parts::header_of_f32(&tensors)?)
    }

    /// Calls `see` with the rest of that object, whole rows at a time; with none where it may stop.
    fn each_block(
        &self,
        see: &mut dyn FnMut(&[u8]) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let DatasetMeta { train: n, test: m, .. } = self.meta;
        if self.scale.is_none() {
            self.test.each_block(m, see)?;
            return self.train.each_block(n, see);
        }
        let mut moments = Moments::new(self.train.d);
        self.train.each_block(n, &mut |block| {
            moments.add(block);
            see(&[])
        })?;
        let columns = moments.standardiser();
        self.test.each_block(m, &mut |block| see(&columns.scaled(block)))?;
        self.train.each_block(n, &mut |block| see(&columns.scaled(block)))
    }

    /// Stores the features.
    fn put(&self, ctx: &StageCtx<'_>) -> Result<Blob, StageError> {
        let mut writer = ctx.writer()?;
        let each = 4 * self.train.d as u64;
        let all = (self.meta.train + self.meta.test) as u64;
        let mut done = 0;
        let mut reach = 0f32;
        writer.write_all(&self.header()?).map_err(MethodError::SamplesUnwritten)?;
        self.each_block(&mut |block| {
            ctx.check_cancelled()?;
            reach = reach.max(largest(block));
            writer.write_all(block).map_err(MethodError::SamplesUnwritten)?;
            done += block.len() as u64;
            ctx.progress(StageProgress::new(done / each, all, "sample"));
            Ok(())
        })?;
        if reach > LARGE && self.scale.is_none() {
            ctx.log(format!(
                "values as large as {reach}: networks train badly on such; `scale = \"standard\"` brings each column \
                 to mean 0 and deviation 1"
            ));
        }
        Ok(writer.finish()?)
    }
}

impl LoadFeatures {
    fn split_files(&self) -> SplitFiles<'_, FileList> {
        SplitFiles {
            train: self.train.as_ref(),
            train_labels: self.train_labels.as_ref(),
            test: self.test.as_ref(),
            test_labels: self.test_labels.as_ref(),
        }
    }

    fn read<'f>(&self, files: &'f OpenFiles<'f>) -> Result<FoundFeatures<'f>, StageError> {
        let (train, mut joined) = self.split(&files.train, &files.train_labels)?;
        let train_labels = joined.labels(self.classes.as_deref())?;
        let (mut columns, note) = joined.columns(self.wanted_columns())?;
        let (test, mut joined) = self.split(&files.test, &files.test_labels)?;
        let test_labels = joined.labels(self.classes.as_deref())?;
        if let Some(first) = files.test.first()
            && test.d != train.d
        {
            return Err(first.wrong(OwnFileError::Width { found: test.d, train: train.d }));
        }
        let path = |role: &str| {
            let [own, data] = match role {
                "train" => [&files.train_labels, &files.train],
                _ => [&files.test_labels, &files.test],
            };
            let first = own.first().or_else(|| data.first()).map(|file| file.path);
            first.ok_or_else(|| MethodError::NoFile { role: role.to_owned() })
        };
        let noted = self.noted_classes(&files.train, &train_labels)?;
        let given = self.classes.as_deref().or(noted.as_deref());
        let (classes, mut labels) = labels::classes(given, [&train_labels, &test_labels], &path)?;
        let limits = [self.train_limit, self.test_limit];
        for (labels, limit) in labels.iter_mut().zip(limits) {
            labels.truncate(limit.map_or(usize::MAX, Count::get));
        }
        columns.truncate(labels[0].len());
        let meta = DatasetMeta {
            name: self.name.clone(),
            classes,
            sample: vec![train.d],
            train: labels[0].len(),
            test: labels[1].len(),
            mean: vec![0.0],
            std: vec![1.0],
            space: None,
        };
        let missing = [&files.train, &files.test].into_iter().filter_map(|files| {
            let paths: Vec<_> = files.iter().map(|file| file.path).collect();
            file_list::missing_part(&paths)
        });
        let notes = train.notes().into_iter().chain(note).chain(missing).collect();
        Ok(FoundFeatures { meta, train, test, labels, columns, scale: self.scale, notes })
    }

    /// Returns the names of the classes that Hugging Face notes in the first file beside labels that are numbers.
    fn noted_classes(
        &self,
        files: &[OpenFile<'_>],
        labels: &FileLabels,
    ) -> Result<Option<Vec<String>>, StageError> {
        let (Some(first), FileLabels::Numbers(_)) = (files.first(), labels) else {
            return Ok(None);
        };
        let wrong = |error: FormatError| first.wrong(ArrayError::from(error));
        let Some(note) = first.file.note("huggingface").map_err(wrong)? else { return Ok(None) };
        let column = first.file.find(self.wanted_labels());
        Ok(column.ok().and_then(|column| labels::noted(&note, &column)))
    }

    /// Returns the embeddings of a split in `files`, and what belongs to them; labels are in `others`, if there are
    /// such.
    fn split<'f>(
        &self,
        files: &'f [OpenFile<'f>],
        others: &'f [OpenFile<'f>],
    ) -> Result<(Embeddings<'f>, Joined<'f>), StageError> {
        let (mut embeddings, mut joined) = (Embeddings::default(), Joined::new());
        for from in files {
            let wrong = |error: ArrayError| from.wrong(error);
            let found = self.embeddings(&from.file).map_err(wrong)?;
            let piece = Piece::new(from, found, embeddings.n, files.len() == 1).map_err(wrong)?;
            joined.push_columns(from, columns_of(&piece, self.wanted_columns())?);
            if others.is_empty() {
                let labels = self.own_labels(&from.file, piece.n).map_err(wrong)?;
                let labels = labels.ordered(piece.order.as_deref());
                counted(from, labels.len(), from, piece.n)?;
                joined.push_labels(from, labels);
            }
            embeddings.push(piece)?;
        }
        let mut before = 0;
        for other in others {
            let wrong = |error: ArrayError| other.wrong(error);
            let picked = other.file.pick(self.wanted_labels());
            let (_, found) = picked.map_err(|error| wrong(error.into()))?;
            let labels = self.labels_of(found).map_err(wrong)?;
            let order = other.file.order_after(before, labels.len());
            let labels = labels.ordered(order.map_err(|error| wrong(error.into()))?.as_deref());
            before += labels.len();
            joined.push_labels(other, labels);
        }
        if let (Some(first), Some(other)) = (files.first(), others.last()) {
            counted(other, before, first, embeddings.n)?;
        }
        Ok((embeddings, joined))
    }

    /// Returns what in a file is embeddings.
    fn embeddings(&self, file: &DataFile) -> Result<Found, ArrayError> {
        let wanted = self.wanted_embeddings();
        let names = file.names()?;
        let is = |name: &String, names: &[&str]| {
            names.iter().any(|one| name.trim().eq_ignore_ascii_case(one))
        };
        let found = file.find(wanted);
        if found.is_err() && wanted.given.is_none() && is_table(file.kind()) {
            // A table with a column for each feature.
            let labels = self.wanted_labels();
            let row_names = file.row_names()?;
            let features = names.iter().filter(|name| {
                let label = labels.given.map_or(is(name, labels.usual), |given| **name == given);
                let is_other = row_names.contains(name) || self.wanted_columns().has(name);
                !label && !is(name, &NO_FEATURES) && !is_other
            });
            let features: Vec<String> = features.cloned().collect();
            if !features.is_empty() {
                return Ok(Found::Columns(features));
            }
        }
        Ok(Found::Array(found?))
    }

    /// Returns the labels in the file of the embeddings, if it has any.
    fn own_labels(&self, file: &DataFile, n: usize) -> Result<FileLabels, ArrayError> {
        let wanted = self.wanted_labels();
        let several = file.has_several()?;
        if several && (wanted.given.is_some() || file.has(wanted.usual)) {
            return self.labels_of(file.pick(wanted)?.1);
        }
        Ok(FileLabels::None(n))
    }

    fn labels_of(&self, values: Values<'_>) -> Result<FileLabels, ArrayError> {
        FileLabels::of(values, self.classes.as_deref())
    }

    fn wanted_columns(&self) -> WantedColumns<'_> {
        WantedColumns { ids: self.ids.as_deref(), counts: &self.counts }
    }

    fn wanted_embeddings(&self) -> Wanted<'_> {
        let given = (self.embeddings != EMBEDDINGS[0]).then_some(self.embeddings.as_str());
        Wanted { given, usual: &EMBEDDINGS, setting: Some("embeddings") }
    }

    fn wanted_labels(&self) -> Wanted<'_> {
        let given = (self.labels != LABELS[0]).then_some(self.labels.as_str());
        Wanted { given, usual: &LABELS, setting: Some("labels") }
    }
}

fn is_table(kind: FileKind) -> bool {
    matches!(kind, FileKind::Text | FileKind::Json | FileKind::Parquet | FileKind::Arrow)
}

/// Checks that there are as many labels as embeddings.
fn counted(
    from: &OpenFile<'_>,
    labels: usize,
    first: &OpenFile<'_>,
    n: usize,
) -> Result<(), StageError> {
    if labels == n {
        return Ok(());
    }
    let embeddings = first.path.to_owned();
    Err(from.wrong(OwnFileError::LabelCount { labels, embeddings, n }))
}

#[cfg(test)]
mod tests;
