//! `load.images-table`: images in one folder, and a table that says of which class each is.

use super::{
    super::{
        Loader, aside, file,
        labels::{self, FileLabels, refused},
        names,
    },
    Channels,
    decode::{ImageShape, Resize},
    meta,
    rows::{ImageColumns, ImageRow, Places},
    scan::{self, FolderSearch},
    splits, too_large,
    write::{self, Damaged, Picture, Pictures},
};
use crate::OwnFileError;
use artifacts::{
    ClassId,
    formats::column,
    parts::Parts,
    units::{Count, Fraction},
};
use engine::{InputFile, InputFolder, Problem, StageCtx, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Any images in one folder, with a table of their labels.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(in super::super) struct ImagesTable {
    /// The folder of the images, relative to the current directory; they may lie in folders below it. Required.
    /// Not part of the key: the images' names and bytes are.
    // Skipped on the way out: what is written is what is keyed.
    #[serde(skip_serializing)]
    dir: Option<PathBuf>,
    /// The table: CSV, TSV, JSON or Parquet, a row for each image. Required.
    #[serde(skip_serializing)]
    table: Option<PathBuf>,
    /// The table of the images to test on, if that is another one.
    #[serde(skip_serializing)]
    test_table: Option<PathBuf>,
    /// The folder of the images to test on, if that is another one.
    #[serde(skip_serializing)]
    test_dir: Option<PathBuf>,
    /// The column of the images' names. Without it one of a usual name, such as `filename` or `image_id`, or
    /// the first of two.
    file: Option<String>,
    /// The column of the classes, numbers from 0 or texts. Without it one of a usual name, such as `label`
    /// or `class`, or the second of two, or the columns of 0 and 1 of which each row has one 1: their names are
    /// the classes.
    label: Option<String>,
    /// The column that says of which split a row is, `train` or `test` (or `val`). Without it a column called
    /// `split`, if there is one.
    split: Option<String>,
    /// What the data set is called in reports.
    name: String,
    /// The names of the classes, in the order of the labels. Without it, texts in alphabetical order, or the
    /// numbers themselves.
    classes: Option<Vec<String>>,
    /// Height and width of the images kept.
    size: Count,
    /// `crop` brings the shorter side to size and keeps the middle of the longer one; `stretch`
    /// brings both sides to size.
    resize: Resize,
    /// 3 for colour, 1 for grey.
    channels: Channels,
    /// Where neither a table nor a column says which images are to test on: the share of each class to test
    /// on, drawn from the stage's seed.
    test_fraction: Option<Fraction>,
    /// What becomes of an image that is damaged, or named and not there: `refuse` is an error that names
    /// them all, `skip` leaves them out and logs them.
    damaged: Damaged,
}

impl Default for ImagesTable {
    fn default() -> Self {
        Self {
            dir: None,
            table: None,
            test_table: None,
            test_dir: None,
            file: None,
            label: None,
            split: None,
            name: "images-table".to_owned(),
            classes: None,
            size: Count::try_from(64).expect("it is above 0"),
            resize: Resize::default(),
            channels: Channels::default(),
            test_fraction: None,
            damaged: Damaged::default(),
        }
    }
}

impl Loader for ImagesTable {
    const NAME: &'static str = "load.images-table";
    // 2: the files' names are kept as ids.
    const REVISION: u32 = 2;
    const SUMMARY: &'static str = "any images in one folder, and a table of their labels";
    const MANUAL: &'static str = "\
Images of all classes in one folder, `dir`, and a table with the name of each and its class, `table`: HAM10000, \
ISIC, APTOS and most of what Kaggle has. The table is CSV, TSV, JSON or Parquet, told by its content. A name is the \
path of an image below `dir`, or its last part, with or without its ending (`ISIC_0024306` is `ISIC_0024306.jpg`, \
and 7 is `007.png` where no other image is 7). Rows stay in their order; images without a row are left out.

What is to test on is said by a second table, `test-table` (with images in `dir`, or in `test-dir`), by the column \
`split`, or drawn from the stage's seed by `test-fraction`, a share of each class. Of a column with `val` and `test`, \
`test` is taken, and other rows are left out. Images are read and resized as by `load.folder`.

The key holds the bytes of the tables, and the names and bytes of all images in the folders.

Cost: that of `load.folder`.";

    fn streams(&self) -> &'static [&'static str] {
        if self.test_fraction.is_some() { &["split"] } else { &[] }
    }

    fn problems(&self) -> Vec<Problem> {
        let mut all = too_large(Some(self.size));
        all.extend(names::problems(self.classes.as_deref()));
        let mut problem = |setting: &str, message: &str, hint: Option<&str>| {
            let (message, hint) = (message.to_owned(), hint.map(str::to_owned));
            all.push(Problem { setting: setting.to_owned(), message, hint });
        };
        if self.dir.is_none() {
            let hint = "give the path of the folder of the images";
            problem("dir", "setting `dir` is required", Some(hint));
        }
        if self.table.is_none() {
            let hint = "give the path of a table with a row for each image";
            problem("table", "setting `table` is required", Some(hint));
        }
        if self.test_fraction.is_some_and(|share| f64::from(share) >= 1.0) {
            problem("test-fraction", "nothing would be left to train on", None);
        }
        if self.test_fraction.is_some() && self.test_table.is_some() {
            let message = "there are images to test on already, those of `test-table`";
            problem("test-fraction", message, Some("leave it out"));
        }
        if self.test_dir.is_some() && self.test_table.is_none() {
            let message = "there are images to test on, but no table of their labels";
            problem("test-dir", message, Some("set `test-table` too"));
        }
        all
    }

    fn files(&self) -> Result<Vec<InputFile>, Problem> {
        let mut files = vec![];
        for (role, path) in [("table", &self.table), ("test-table", &self.test_table)] {
            let Some(path) = path else { continue };
            if let Some(problem) = column::no_file(role, path, "the current directory") {
                return Err(problem);
            }
            files.push(InputFile { role: role.to_owned(), path: path.clone() });
        }
        Ok(files)
    }

    fn folders(&self) -> Result<Vec<InputFolder>, Problem> {
        let search = FolderSearch { damaged: self.damaged, ..FolderSearch::default() };
        let mut found = vec![];
        for (role, dir) in [("images", &self.dir), ("test-images", &self.test_dir)] {
            let Some(dir) = dir else { continue };
            if !dir.is_dir() {
                let message = format!("there is no folder `{}`", dir.display());
                return Err(scan::problem(message, "a path is relative to the current directory"));
            }
            found.push(search.images(dir, role, role)?);
        }
        Ok(found)
    }

    fn load(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let rows = self.rows(ctx)?;
        let shape =
            ImageShape { size: self.size.get(), resize: self.resize, channels: self.channels.0 };
        let table = file::path(ctx.files(), "table")?;
        let path = |role: &str| match role {
            "test" => file::path(ctx.files(), "test-table").or(Ok(table)),
            _ => Ok(table),
        };
        let texts = |rows: &[(Picture<'_>, String)]| -> Vec<String> {
            rows.iter().map(|(_, label)| label.clone()).collect()
        };
        let given = FileLabels::both(texts(&rows.train), texts(&rows.test));
        let (classes, labels) =
            labels::classes(self.classes.as_deref(), [&given[0], &given[1]], &path)?;
        let [train, test] = [(rows.train, &labels[0]), (rows.test, &labels[1])].map(
            |(rows, labels)| -> Vec<Picture<'_>> {
                let each = rows.into_iter().zip(labels);
                each.map(|((picture, _), label)| Picture { label: *label, ..picture }).collect()
            },
        );
        let mut pictures = Pictures { train, test, named_by_class: false };
        if let Some(share) = self.test_fraction {
            let all = &mut pictures.train;
            pictures.test = aside::split(all, |one| one.label, share, ctx.streams());
        }
        write::put(ctx, meta(&self.name, classes, shape, None), pictures, shape, self.damaged)
    }
}

/// The images of both splits with their labels as they are written.
struct Labelled<'a> {
    train: Vec<(Picture<'a>, String)>,
    test: Vec<(Picture<'a>, String)>,
}

impl ImagesTable {
    /// Returns the images that the tables name, in the order of their rows.
    fn rows<'a>(&self, ctx: &'a StageCtx<'_>) -> Result<Labelled<'a>, StageError> {
        let columns = ImageColumns {
            file: self.file.as_deref(),
            label: self.label.as_deref(),
            split: self.split.as_deref(),
        };
        let path = file::path(ctx.files(), "table")?;
        let rows = columns.read(path)?;
        let folders = ctx.folders();
        let folder = |role: &str| folders.iter().find(|one| one.role == role);
        let images = folder("images").ok_or(crate::MethodError::NoInput)?;
        if let Ok(test_path) = file::path(ctx.files(), "test-table") {
            let test_rows = columns.read(test_path)?;
            let test_images = folder("test-images").unwrap_or(images);
            let train = self.placed(ctx, images, path, rows)?;
            let test = self.placed(ctx, test_images, test_path, test_rows)?;
            return Ok(Labelled { train, test });
        }
        let [train, test] = match rows.iter().any(|row| row.split.is_some()) {
            true if self.test_fraction.is_none() => divided(ctx, &columns, path, rows)?,
            _ => [rows, vec![]],
        };
        let train = self.placed(ctx, images, path, train)?;
        let test = self.placed(ctx, images, path, test)?;
        Ok(Labelled { train, test })
    }

    /// Returns the image of each row; those that are not there are refused together, or left out.
    fn placed<'a>(
        &self,
        ctx: &StageCtx<'_>,
        folder: &'a InputFolder,
        table: &Path,
        rows: Vec<ImageRow>,
    ) -> Result<Vec<(Picture<'a>, String)>, StageError> {
        let places = Places::new(&folder.files);
        let (mut found, mut missing) = (vec![], vec![]);
        for row in rows {
            match places.get(&row.file) {
                Some(file) => {
                    let picture = Picture { folder: &folder.path, file, label: ClassId::at(0) };
                    found.push((picture, row.label));
                }
                None => missing.push(row.file),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let error = OwnFileError::NoImages { missing, dir: folder.path.clone() };
        if self.damaged == Damaged::Refuse || found.is_empty() {
            return Err(refused(table, error));
        }
        ctx.log(format!("left out: `{}` {error}", table.display()));
        Ok(found)
    }
}

/// Divides rows by what their column of splits says.
fn divided(
    ctx: &StageCtx<'_>,
    columns: &ImageColumns<'_>,
    path: &Path,
    rows: Vec<ImageRow>,
) -> Result<[Vec<ImageRow>; 2], StageError> {
    let names: BTreeSet<String> = rows.iter().filter_map(|row| row.split.clone()).collect();
    let (train, test) = splits::named(names.iter().map(String::as_str));
    let Some(train) = train.map(str::to_owned) else {
        let column = columns.split.unwrap_or("split").to_owned();
        let found = names.into_iter().collect();
        return Err(refused(path, OwnFileError::NoTrainRows { column, found }));
    };
    let test = test.map(str::to_owned);
    let (mut divided, mut other) = ([vec![], vec![]], 0);
    for row in rows {
        match row.split.as_deref() {
            Some(split) if split == train => divided[0].push(row),
            split if split.is_some() && split == test.as_deref() => divided[1].push(row),
            _ => other += 1,
        }
    }
    if other > 0 {
        ctx.log(format!(
            "left out: {other} rows of other splits than `{train}` and the one tested on"
        ));
    }
    Ok(divided)
}
