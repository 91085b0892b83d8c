//! `load.tiny-imagenet`: 200 classes of ImageNet at 64x64.

use super::{
    super::{
        FileError, Loader,
        file::{self, broken},
    },
    ImageFolderSettings, known, labelled, limit, meta, names,
    scan::{self, FolderSearch, Home},
    write::{self, Picture, Pictures},
};
use artifacts::{ClassId, parts::Parts, units::Count};
use engine::{InputFile, InputFolder, Problem, StageCtx, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path};

static HOME: Home = Home {
    title: "Tiny ImageNet",
    places: &[
        "data/tiny-imagenet-200",
        "data/tiny-imagenet",
        "data/tiny-imagenet/tiny-imagenet-200",
    ],
    nested: &["", "tiny-imagenet-200"],
    needs: &["train", "val", "wnids.txt", "words.txt"],
    hint: "download `tiny-imagenet-200.zip` from cs231n.stanford.edu and unpack it in `data`, or \
           say with `dir` where the folder with `wnids.txt` is",
};

const SIZE: usize = 64;
const MEAN: [f32; 3] = [0.4802, 0.4481, 0.3975];
const STD: [f32; 3] = [0.2770, 0.2691, 0.2821];

/// The folders of images of Tiny ImageNet.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transparent)]
pub(in super::super) struct TinyImageNet(ImageFolderSettings);

impl Loader for TinyImageNet {
    const NAME: &'static str = "load.tiny-imagenet";
    // 2: the files' names are kept as ids.
    const REVISION: u32 = 2;
    const SUMMARY: &'static str =
        "Tiny ImageNet: 100,000 + 10,000 colour images of 64x64 in 200 classes";
    const MANUAL: &'static str = "\
Tiny ImageNet (Stanford, cs231n): 200 classes of ImageNet at 64x64, 500 images of each to train on and \
50 to test on, in the folder `tiny-imagenet-200` as it unpacks. Searched in `data/tiny-imagenet-200`, \
`data/tiny-imagenet` and `data/tiny-imagenet/tiny-imagenet-200` below the current directory, or only \
in `dir` (and `tiny-imagenet-200` below it) if that is given.

The test split is the archive's `val`, labelled by `val_annotations.txt`, or by its folders where a script \
has sorted the images into one for each class. Its own `test` has no labels \
and is not read; DeepCore's loader takes it for the test split, so its accuracies mean nothing. \
Classes are sorted by number, images by name. Normalised with mean .4802 .4481 .3975, standard \
deviation .2770 .2691 .2821 (grey images with what is measured).";

    fn keyed(&self) -> Value {
        json!(self.0.resolved(SIZE as u64))
    }

    fn problems(&self) -> Vec<Problem> {
        super::too_large(self.0.size)
    }

    fn files(&self) -> Result<Vec<InputFile>, Problem> {
        let root = HOME.find(self.0.dir.as_deref())?;
        let file = |role: &str, name| InputFile { role: role.to_owned(), path: root.join(name) };
        let mut files = vec![file("classes", "wnids.txt"), file("words", "words.txt")];
        if !is_sorted(&root) {
            let labels = file("test-labels", "val/val_annotations.txt");
            if !labels.path.is_file() {
                let message = format!("there is no file `{}`", labels.path.display());
                return Err(scan::problem(message, HOME.hint));
            }
            files.push(labels);
        }
        Ok(files)
    }

    fn folders(&self) -> Result<Vec<InputFolder>, Problem> {
        let root = HOME.find(self.0.dir.as_deref())?;
        let damaged = self.0.damaged;
        let most = self.0.train_per_class.map(Count::get);
        let search = FolderSearch { damaged, ..FolderSearch::default() };
        let mut folders = FolderSearch { most, ..search }.classes(&root.join("train"), "train")?;
        if is_sorted(&root) {
            let most = self.0.test_per_class.map(Count::get);
            let test = FolderSearch { most, ..search }.classes(&root.join("val"), "test")?;
            known(&folders, &test, HOME.hint)?;
            folders.extend(test);
        } else {
            folders.push(search.images(&root.join("val/images"), "test", "val")?);
        }
        Ok(folders)
    }

    fn load(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let wnids = wnids(ctx)?;
        let train = labelled(ctx.folders(), "train", &wnids)?;
        let test = match file::path(ctx.files(), "test-labels") {
            Err(_) => labelled(ctx.folders(), "test", &wnids)?,
            Ok(labels) => {
                let mut test = annotated(ctx.folders(), labels, &wnids)?;
                limit(&mut test, self.0.test_per_class, wnids.len());
                test
            }
        };
        let words = words(file::path(ctx.files(), "words")?)?;
        let classes = wnids.iter().map(|wnid| called(wnid, words.get(wnid))).collect();
        let shape = self.0.shape(SIZE);
        let meta = meta("tiny-imagenet", classes, shape, Some((MEAN, STD)));
        write::put(
            ctx,
            meta,
            Pictures { train, test, named_by_class: false },
            shape,
            self.0.damaged,
        )
    }
}

/// Whether the images to test on lie in a folder for each class, as a script often sorts them, and not in
/// `val/images`, as the archive unpacks.
fn is_sorted(root: &Path) -> bool {
    !root.join("val/images").is_dir()
}

/// Returns the classes, sorted: the folders to train on, which the list of them must agree with.
fn wnids(ctx: &StageCtx<'_>) -> Result<Vec<String>, StageError> {
    let path = file::path(ctx.files(), "classes")?;
    let text = text(path)?;
    let mut listed: Vec<&str> = text.split_whitespace().collect();
    // They are distinct, or do not agree with the folders.
    listed.sort_unstable();
    let found = names(ctx.folders(), "train");
    if listed == found {
        return Ok(found);
    }
    let strange = listed.iter().find(|one| !found.iter().any(|name| name == *one));
    Err(match strange {
        Some(wnid) => broken(path, FileError::ListedClass((*wnid).to_owned())),
        None => {
            let (listed, folders) = (listed.len(), found.len());
            broken(path, FileError::ClassCount { listed, folders })
        }
    })
}

fn text(path: &Path) -> Result<String, StageError> {
    String::from_utf8(file::read(path)?).map_err(|_| broken(path, FileError::NotText))
}

/// Returns the words of each class.
pub(super) fn words(path: &Path) -> Result<BTreeMap<String, String>, StageError> {
    let text = text(path)?;
    let pairs = text.lines().filter_map(|line| line.split_once(char::is_whitespace));
    Ok(pairs.map(|(wnid, words)| (wnid.to_owned(), words.to_owned())).collect())
}

/// Returns what a class is called: its first word may be another class's too, its number not.
pub(super) fn called(wnid: &str, words: Option<&String>) -> String {
    let first = words.and_then(|words| words.split(',').next()).map(str::trim);
    first.map_or_else(|| wnid.to_owned(), |first| format!("{wnid} {first}"))
}

/// Returns the test images with the labels `path` has for them: lines of file, class and more.
fn annotated<'a>(
    folders: &'a [InputFolder],
    path: &Path,
    classes: &[String],
) -> Result<Vec<Picture<'a>>, StageError> {
    let text = text(path)?;
    let mut labels = BTreeMap::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let (Some(file), Some(class)) = (words.next(), words.next()) else {
            return Err(broken(path, FileError::NoClass(at + 1)));
        };
        let label = classes.binary_search_by(|one| one.as_str().cmp(class)).map_err(|_| {
            broken(path, FileError::UnknownClass { class: class.to_owned(), line: at + 1 })
        })?;
        labels.insert(file, ClassId::at(label));
    }
    let mut pictures = vec![];
    for folder in folders.iter().filter(|one| one.role == "test") {
        for file in &folder.files {
            let label = labels.remove(file.as_str());
            let label = label.ok_or_else(|| broken(path, FileError::NoLine(file.clone())))?;
            pictures.push(Picture { folder: &folder.path, file, label });
        }
    }
    match labels.keys().next() {
        None => Ok(pictures),
        Some(file) => Err(broken(path, FileError::StrayLine((*file).to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::file::Scratch;

    #[test]
    fn test_images_are_labelled_by_the_annotations() {
        let scratch = Scratch::new("tiny");
        let names = ["val_0.JPEG", "val_1.JPEG", "val_2.JPEG"].map(str::to_owned);
        let folder = InputFolder {
            role: "test".to_owned(),
            name: "val".to_owned(),
            path: scratch.path().to_owned(),
            files: names.to_vec(),
        };
        let (folders, classes) = ([folder], ["n01", "n02", "n03"].map(str::to_owned));
        let read = |text: &str| {
            let path = scratch.write("val_annotations.txt", text.as_bytes());
            annotated(&folders, &path, &classes)
                .map(|all| all.iter().map(|one| (one.file.to_owned(), one.label)).collect())
                .map_err(|error| error.to_string())
        };
        // Lines in any order; images in the order of their names.
        let text = "val_2.JPEG\tn01\t0\t1\t2\t3\nval_0.JPEG\tn03\t0\t1\t2\t3\nval_1.JPEG\tn01\t0\n";
        let want: Vec<_> = names.into_iter().zip(ClassId::list([2, 0, 0])).collect();
        assert_eq!(read(text), Ok(want));
        for (text, want) in [
            (text.replace("n03", "n04"), "has the unknown class `n04` in line 2"),
            (text.replace("val_1.JPEG\tn01\t0\n", ""), "has no line for `val_1.JPEG`"),
            (text.replace("\tn01\t0\n", "\n"), "has no class in line 3"),
            (format!("{text}val_9.JPEG\tn01\n"), "a line for `val_9.JPEG`, which is not there"),
        ] {
            let found = read(&text).expect_err("it is wrong");
            assert!(found.contains(want) && found.contains("val_annotations.txt"), "{found}");
        }
    }

    #[test]
    fn a_missing_part_is_named_with_its_source() {
        let scratch = Scratch::new("tiny-missing");
        for name in ["train/n01/images/a.JPEG", "val/images/b.JPEG", "wnids.txt", "words.txt"] {
            scratch.write(&format!("tiny-imagenet-200/{name}"), b"");
        }
        let stage = TinyImageNet(ImageFolderSettings {
            dir: Some(scratch.path().to_owned()),
            ..ImageFolderSettings::default()
        });
        let problem = stage.files().expect_err("a file is missing");
        assert!(problem.message.ends_with("val/val_annotations.txt`"), "{problem:?}");
        assert!(problem.hint.expect("there is a way out").contains("cs231n.stanford.edu"));
        scratch.write("tiny-imagenet-200/val/val_annotations.txt", b"");
        assert_eq!(stage.files().expect("all is there").len(), 3);
        let folders = stage.folders().expect("all is there");
        let found: Vec<_> = folders.iter().map(|one| (&one.name[..], &one.files[..])).collect();
        let want = [("n01", &["images/a.JPEG".to_owned()][..]), ("val", &["b.JPEG".to_owned()])];
        assert_eq!(found, want);
        // As the usual script leaves it: a folder for each class, and no `val/images`.
        let val = scratch.path().join("tiny-imagenet-200/val");
        std::fs::rename(val.join("images"), val.join("n01")).expect("it is there");
        assert_eq!(stage.files().expect("no labels are needed").len(), 2);
        let folders = stage.folders().expect("all is there");
        let test = InputFolder {
            role: "test".to_owned(),
            name: "n01".to_owned(),
            path: val.join("n01"),
            files: vec!["b.JPEG".to_owned()],
        };
        assert_eq!(folders[1..], [test]);
    }
}
