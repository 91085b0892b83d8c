//! `load.parquet-images`: images in Parquet files, as Hugging Face keeps them.

use super::{
    super::{
        Loader, columns,
        labels::{self, FileLabels, refused},
    },
    gather::{self, Embedded},
    shards::Shards,
};
use crate::OwnFileError;
use artifacts::{
    formats::{ArrayError, DataFile, FormatError, Values, Wanted},
    parts::Parts,
};
use engine::{InputFolder, Problem, StageCtx, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What columns are called that hold the bytes of images, and labels.
const IMAGES: [&str; 6] = ["image.bytes", "img.bytes", "image", "img", "image_bytes", "jpg"];
const LABELS: [&str; 9] =
    ["label", "labels", "fine_label", "class", "target", "category", "cls", "class_name", "y"];

/// What columns are called that tell images apart, beside those of ids.
const NAMES: [&str; 8] =
    ["image.path", "img.path", "path", "image_path", "file_name", "filename", "image_id", "url"];

/// Images in Parquet files.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transparent)]
pub(in super::super) struct ParquetImages(Shards);

impl Loader for ParquetImages {
    const NAME: &'static str = "load.parquet-images";
    // 2: images have ids.
    const REVISION: u32 = 2;
    const SUMMARY: &'static str = "images in Parquet files, as Hugging Face keeps data sets";
    const MANUAL: &'static str = "\
Images in Parquet (or Arrow) files, as Hugging Face keeps data sets: a row an image, its file in the column \
`image` (with a field `bytes`), `img` or `image_bytes`, its class in `label` or another usual column (of \
CIFAR-100 the fine one). All files below `dir` that end in `.parquet` or `.arrow` are read, in the order of their \
paths; `train` in a path says what is to train on, and `test`, `val` or `validation` what is to test on, the first of \
them that there is. Where no path says it, all are to train on, and `test-fraction` of each class is drawn from \
the stage's seed to test on. The classes have the names that Hugging Face notes in the files.

The id of an image is what stands in a column `id` (`uid`, `key`) or else `image.path` or `file_name`, or in the one that \
`ids` names; where two images have the same, or one has none, images have no ids, which is an error if `ids` is given.

Images are read and resized as by `load.folder`. A row without bytes, with a path alone, counts as a damaged image.

Cost: the pixels are held in memory until they are stored, and one file at a time.";

    fn streams(&self) -> &'static [&'static str] {
        self.0.streams()
    }

    fn problems(&self) -> Vec<Problem> {
        self.0.problems()
    }

    fn folders(&self) -> Result<Vec<InputFolder>, Problem> {
        self.0.folders(&["parquet", "arrow"])
    }

    fn load(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let first = ctx.folders().iter().find_map(|one| Some(one.path.join(one.files.first()?)));
        let names = first.map(|path| class_names(&path)).transpose()?.flatten();
        gather::put(ctx, &self.0, names, |path| shard(path, self.0.ids.as_deref()))
    }
}

fn open(path: &Path) -> Result<DataFile, StageError> {
    DataFile::open(path).map_err(|error| wrong(path, error))
}

fn wrong(path: &Path, error: FormatError) -> StageError {
    refused(path, ArrayError::from(error))
}

/// Reads the images, labels and ids of a file; the ids are in the column `given`, or in one of a usual name.
fn shard(path: &Path, given: Option<&str>) -> Result<Vec<Embedded>, StageError> {
    let file = open(path)?;
    let find = |usual| file.find(Wanted { given: None, usual, setting: None });
    let images = find(&IMAGES).map_err(|error| wrong(path, error))?;
    let labels = find(&LABELS).map_err(|error| wrong(path, error))?;
    let images = file.blobs(&images).map_err(|error| wrong(path, error))?;
    let labels = file.get(&labels).map_err(|error| wrong(path, error))?;
    let labels = FileLabels::of(labels, None).map_err(|error| refused(path, error))?.texts();
    if labels.len() != images.len() {
        let (labels, n) = (labels.len(), images.len());
        let images = path.to_owned();
        return Err(refused(path, OwnFileError::ImageLabels { labels, images, n }));
    }
    let ids = ids(&file, given).map_err(|error| wrong(path, error))?;
    let rows = images.into_iter().zip(labels).enumerate();
    let embedded = rows.map(|(row, (bytes, label))| {
        let place = path.join(format!("row {row}"));
        let id = ids.as_ref().and_then(|ids| ids.get(row)).filter(|id| !id.is_empty());
        Embedded { place, bytes, label, id: id.cloned() }
    });
    Ok(embedded.collect())
}

/// Returns what stands in the column of ids.
fn ids(file: &DataFile, given: Option<&str>) -> Result<Option<Vec<String>>, FormatError> {
    let texts = |values: Values<'_>| Some(columns::texts(values));
    if given.is_some() {
        let wanted = Wanted { given, usual: &[], setting: Some("ids") };
        return Ok(texts(file.pick(wanted)?.1));
    }
    // What was not asked for may be anything.
    let usual = [&columns::IDS[..], &NAMES].into_iter().find(|usual| file.has(usual));
    let wanted = usual.map(|usual| Wanted { given: None, usual, setting: None });
    Ok(wanted.and_then(|wanted| file.pick(wanted).ok()).and_then(|(_, values)| texts(values)))
}

/// Returns the names of the classes that Hugging Face notes in a file for its column of labels.
fn class_names(path: &Path) -> Result<Option<Vec<String>>, StageError> {
    let file = open(path)?;
    let note = file.note("huggingface").map_err(|error| wrong(path, error))?;
    let Ok(column) = file.find(Wanted { given: None, usual: &LABELS, setting: None }) else {
        return Ok(None);
    };
    Ok(note.and_then(|note| labels::noted(&note, &column)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{
        file::Scratch,
        images::decode::{ImageShape, Resize, decode_bytes},
    };

    /// What pyarrow writes of two grey images of 2x2, `dog` of 10 and `cat` of 20, and a `dog` that is a path
    /// alone, in two groups of rows.
    const FILE: &[u8] = include_bytes!("test.parquet");

    #[test]
    fn images_and_labels_are_read_from_their_columns() {
        let scratch = Scratch::new("parquet");
        let path = scratch.write("train-0.parquet", FILE);
        let found = shard(&path, None).expect("it is whole");
        let labels: Vec<&str> = found.iter().map(|one| one.label.as_str()).collect();
        assert_eq!(labels, ["1", "0", "1"]);
        let shape = ImageShape { size: 2, resize: Resize::Crop, channels: 1 };
        for (one, level) in found.iter().zip([10, 20]) {
            assert_eq!(decode_bytes(&one.bytes, shape).expect("it is whole"), [level; 4]);
        }
        assert!(found[2].bytes.is_empty() && found[2].place.ends_with("train-0.parquet/row 2"));
        let names = Some(["cat", "dog"].map(str::to_owned).into());
        assert_eq!(class_names(&path).expect("it is whole"), names);
        let path = scratch.write("cut.parquet", &FILE[..FILE.len() - 9]);
        assert!(shard(&path, None).is_err());
    }

    #[test]
    fn classes_have_the_names_that_are_noted() {
        let note = r#"{"info": {"features": {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}"#;
        assert_eq!(labels::noted(note, "label"), Some(vec!["cat".to_owned(), "dog".to_owned()]));
        assert_eq!(labels::noted(note, "image"), None);
        assert_eq!(labels::noted("{", "label"), None);
    }
}
