//! `load.imagenet`: the 1,000 classes of ILSVRC 2012.

use super::{
    super::{
        FileError, Loader,
        file::{self, broken},
    },
    ImageFolderSettings,
    devkit::{self, Devkit},
    known, labelled, limit, meta, names,
    scan::{self, FolderSearch, Home},
    tiny::{called, words},
    write::{self, Picture, Pictures},
};
use artifacts::{ClassId, parts::Parts, units::Count};
use engine::{InputFile, InputFolder, Problem, StageCtx, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

static HOME: Home = Home {
    title: "ImageNet (ILSVRC 2012)",
    places: &["data/imagenet", "data/ILSVRC2012", "data/ILSVRC/Data/CLS-LOC"],
    nested: &["", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC"],
    needs: &["train", "val"],
    hint: "download `ILSVRC2012_img_train.tar` and `ILSVRC2012_img_val.tar` from image-net.org \
           (after registering), or the data of the Kaggle competition \
           `imagenet-object-localization-challenge`; unpack them so that `data/imagenet` holds \
           `train/WNID/*.JPEG` and `val`, or say with `dir` where these are",
};

const SIZE: usize = 224;
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];
/// Beside the images or up to three folders above, as the archive unpacks.
const ANSWERS: &str = "LOC_val_solution.csv";
const WORDS: &str = "LOC_synset_mapping.txt";
const UNLABELLED: &str = "unpack `ILSVRC2012_devkit_t12.tar.gz` beside `train` and `val`, or put the \
                          Kaggle set's `LOC_val_solution.csv` there, or sort the images of `val` into a \
                          folder for each class (`val/WNID`)";

/// The folders of images of ImageNet.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transparent)]
pub(in super::super) struct ImageNet(ImageFolderSettings);

/// What says of which class the images of `val` are.
enum Answers {
    /// A folder for each class.
    Folders,
    /// Kaggle's table.
    Kaggle(PathBuf),
    /// The list of the development kit.
    Devkit(Devkit),
}

impl ImageNet {
    fn find(&self) -> Result<(PathBuf, Answers), Problem> {
        let root = HOME.find(self.0.dir.as_deref())?;
        let val = root.join("val");
        let inside = fs::read_dir(&val).map_err(|error| {
            scan::problem(format!("cannot read `{}`: {error}", val.display()), HOME.hint)
        })?;
        if inside.flatten().any(|entry| entry.path().is_dir()) {
            return Ok((root, Answers::Folders));
        }
        if let Some(answers) = above(&root, ANSWERS) {
            return Ok((root, Answers::Kaggle(answers)));
        }
        match Devkit::find(|name| above(&root, name))? {
            Some(devkit) => Ok((root, Answers::Devkit(devkit))),
            None => {
                let message = format!("the images in `{}` have no labels", val.display());
                Err(scan::problem(message, UNLABELLED))
            }
        }
    }
}

fn above(root: &Path, name: &str) -> Option<PathBuf> {
    let folders = [".", "..", "../..", "../../.."];
    folders.map(|up| root.join(up).join(name)).into_iter().find(|path| path.is_file())
}

impl Loader for ImageNet {
    const NAME: &'static str = "load.imagenet";
    // 2: the files' names are kept as ids.
    const REVISION: u32 = 2;
    const SUMMARY: &'static str =
        "ImageNet (ILSVRC 2012): 1,281,167 + 50,000 colour images in 1,000 classes";
    const MANUAL: &'static str = "\
ImageNet (Russakovsky et al., arXiv:1409.0575), ILSVRC 2012: `train/WNID/*.JPEG`, and in `val` either a \
folder for each class or all images together. Then what they show is told, beside `train` or up to three folders \
above, by Kaggle's `LOC_val_solution.csv`, by `ILSVRC2012_devkit_t12/data` as the development kit unpacks \
(`ILSVRC2012_validation_ground_truth.txt` and `meta.mat`), or by a text file \
`imagenet_2012_validation_synset_labels.txt` with the WNID of each image a line, in the order of their numbers. Searched in `data/imagenet`, `data/ILSVRC2012` and \
`data/ILSVRC/Data/CLS-LOC` below the current directory, or only in `dir` (and `ILSVRC/Data/CLS-LOC`, \
`Data/CLS-LOC` below it) if that is given.

The images are decoded once, in parallel, into one object of the store: 200 GB at 224x224, 65 GB at \
128x128. They are never all in memory, neither here nor in training. Test images are the 50,000 of \
`val`. Classes are sorted by number, images by name. Where \
`LOC_synset_mapping.txt` is found, class names have words. Normalised with mean .485 .456 .406, standard deviation .229 \
.224 .225 (grey images with what is measured).";

    fn keyed(&self) -> Value {
        json!(self.0.resolved(SIZE as u64))
    }

    fn problems(&self) -> Vec<Problem> {
        super::too_large(self.0.size)
    }

    fn files(&self) -> Result<Vec<InputFile>, Problem> {
        let (root, answers) = self.find()?;
        let file = |role: &str, path| InputFile { role: role.to_owned(), path };
        let mut files = match answers {
            Answers::Folders => vec![],
            Answers::Kaggle(path) => vec![file("test-labels", path)],
            Answers::Devkit(Devkit { truth, synsets }) => {
                let synsets = synsets.map(|path| file("synsets", path));
                [file("test-truth", truth)].into_iter().chain(synsets).collect()
            }
        };
        files.extend(above(&root, WORDS).map(|path| file("words", path)));
        Ok(files)
    }

    fn folders(&self) -> Result<Vec<InputFolder>, Problem> {
        let (root, answers) = self.find()?;
        let damaged = self.0.damaged;
        let search = |most: Option<Count>| FolderSearch {
            most: most.map(Count::get),
            damaged,
            ..FolderSearch::default()
        };
        let mut folders = search(self.0.train_per_class).classes(&root.join("train"), "train")?;
        let val = root.join("val");
        if !matches!(answers, Answers::Folders) {
            folders.push(search(None).images(&val, "test", "val")?);
        } else {
            let test = search(self.0.test_per_class).classes(&val, "test")?;
            known(&folders, &test, HOME.hint)?;
            folders.extend(test);
        }
        Ok(folders)
    }

    fn load(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let wnids = names(ctx.folders(), "train");
        let train = labelled(ctx.folders(), "train", &wnids)?;
        let given = |role: &str| file::path(ctx.files(), role).ok();
        let mut test = match (given("test-labels"), given("test-truth")) {
            (Some(path), _) => answered(ctx.folders(), path, &wnids)?,
            (None, Some(path)) => devkit::answered(ctx.folders(), path, given("synsets"), &wnids)?,
            (None, None) => labelled(ctx.folders(), "test", &wnids)?,
        };
        if given("test-labels").or(given("test-truth")).is_some() {
            limit(&mut test, self.0.test_per_class, wnids.len());
        }
        let words = match file::path(ctx.files(), "words") {
            Err(_) => BTreeMap::new(),
            Ok(path) => words(path)?,
        };
        let classes = wnids.iter().map(|wnid| called(wnid, words.get(wnid))).collect();
        let shape = self.0.shape(SIZE);
        let meta = meta("imagenet", classes, shape, Some((MEAN, STD)));
        write::put(
            ctx,
            meta,
            Pictures { train, test, named_by_class: false },
            shape,
            self.0.damaged,
        )
    }
}

/// Returns the test images with the labels `path` has for them: after a heading, lines of the
/// file's name without its end, a comma, the class, and the boxes.
fn answered<'a>(
    folders: &'a [InputFolder],
    path: &Path,
    classes: &[String],
) -> Result<Vec<Picture<'a>>, StageError> {
    let text =
        String::from_utf8(file::read(path)?).map_err(|_| broken(path, FileError::NotText))?;
    let mut labels = BTreeMap::new();
    for (at, line) in text.lines().enumerate().skip(1).filter(|(_, line)| !line.is_empty()) {
        let class = line
            .split_once(',')
            .and_then(|(file, rest)| Some((file, rest.split_whitespace().next()?)));
        let (file, class) = class.ok_or_else(|| broken(path, FileError::NoClass(at + 1)))?;
        let label = classes.binary_search_by(|one| one.as_str().cmp(class)).map_err(|_| {
            broken(path, FileError::UnknownClass { class: class.to_owned(), line: at + 1 })
        })?;
        labels.insert(file, ClassId::at(label));
    }
    let mut pictures = vec![];
    for folder in folders.iter().filter(|one| one.role == "test") {
        for file in &folder.files {
            let stem = file.rsplit_once('.').map_or(file.as_str(), |(stem, _)| stem);
            let label = labels.get(stem);
            let label = *label.ok_or_else(|| broken(path, FileError::NoLine(file.clone())))?;
            pictures.push(Picture { folder: &folder.path, file, label });
        }
    }
    Ok(pictures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::file::Scratch;

    fn stage(scratch: &Scratch) -> ImageNet {
        ImageNet(ImageFolderSettings {
            dir: Some(scratch.path().to_owned()),
            ..ImageFolderSettings::default()
        })
    }

    #[test]
    fn flat_test_images_need_kaggles_answers() {
        let scratch = Scratch::new("imagenet");
        let root = "ILSVRC/Data/CLS-LOC";
        for wnid in ["n02", "n01"] {
            scratch.write(&format!("{root}/train/{wnid}/{wnid}_7.JPEG"), b"");
        }
        for at in [2, 1] {
            scratch.write(&format!("{root}/val/ILSVRC2012_val_{at}.JPEG"), b"");
        }
        let problem = stage(&scratch).folders().expect_err("there are no labels");
        assert!(problem.message.ends_with("have no labels"), "{problem:?}");
        assert_eq!(problem.hint.as_deref(), Some(UNLABELLED));
        let text =
            "ImageId,PredictionString\nILSVRC2012_val_1,n02 1 2 3 4 \nILSVRC2012_val_2,n01 5";
        let answers = scratch.write(ANSWERS, text.as_bytes());
        let files = stage(&scratch).files().expect("they are there now");
        assert_eq!((files.len(), files[0].role.as_str()), (1, "test-labels"));
        let folders = stage(&scratch).folders().expect("they are there");
        let classes = names(&folders, "train");
        assert_eq!(classes, ["n01", "n02"]);
        let train = labelled(&folders, "train", &classes).expect("both are known");
        assert_eq!(train.iter().map(|one| one.label.index()).collect::<Vec<_>>(), [0, 1]);
        let test = answered(&folders, &answers, &classes).expect("both are known");
        let found: Vec<_> = test.iter().map(|one| (one.file, one.label.index())).collect();
        assert_eq!(found, [("ILSVRC2012_val_1.JPEG", 1), ("ILSVRC2012_val_2.JPEG", 0)]);
        for (text, want) in [
            (text.replace("n02", "n03"), "has the unknown class `n03` in line 2"),
            (text.replace("val_2", "val_3"), "has no line for `ILSVRC2012_val_2.JPEG`"),
        ] {
            let path = scratch.write(ANSWERS, text.as_bytes());
            let found = answered(&folders, &path, &classes).expect_err("it is wrong");
            assert!(found.to_string().contains(want), "{found}");
        }
    }

    #[test]
    fn a_class_that_is_only_tested_is_refused() {
        let scratch = Scratch::new("imagenet-strange");
        for path in ["train/n01/a.JPEG", "val/n01/b.JPEG", "val/n02/c.JPEG"] {
            scratch.write(path, b"");
        }
        let problem = stage(&scratch).folders().expect_err("n02 is not trained on");
        assert!(
            problem.message.ends_with("is a class without a folder to train on"),
            "{problem:?}"
        );
    }
}
