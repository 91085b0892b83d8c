//! Data sets in shards, files that each hold many images: which there are, of which split, and their settings.

use super::{
    Channels,
    content::ending,
    decode::{ImageShape, Resize},
    scan::{self, problem},
    splits, too_large,
    write::Damaged,
};
use artifacts::units::{Count, Fraction};
use engine::{InputFolder, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Settings of the data sets of images inside other files.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
#[schemars(inline)]
pub(super) struct Shards {
    /// The folder the files lie in, relative to the current directory, or one of them. Required. Not part of
    /// the key: the files' names and bytes are.
    // Skipped on the way out: what is written is what is keyed.
    #[serde(skip_serializing)]
    dir: Option<PathBuf>,
    /// What the data set is called in reports.
    pub(super) name: String,
    /// What gives the id of an image: the name of a column, or of a field of a sample's JSON. Without it, a column
    /// of a usual name (`id`, `image.path`, `file_name`), or a sample's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ids: Option<String>,
    /// The names of the classes, in the order of the labels. Without it, those that the files name, or the
    /// labels themselves.
    pub(super) classes: Option<Vec<String>>,
    /// Height and width of the images kept.
    size: Count,
    /// `crop` brings the shorter side to size and keeps the middle of the longer one; `stretch`
    /// brings both sides to size.
    resize: Resize,
    /// 3 for colour, 1 for grey.
    channels: Channels,
    /// Where no file is called as one to test on: the share of each class to test on, drawn from the stage's
    /// seed.
    pub(super) test_fraction: Option<Fraction>,
    /// What becomes of a damaged image: `refuse` is an error that names them all, `skip` leaves
    /// them out and logs them.
    pub(super) damaged: Damaged,
}

impl Default for Shards {
    fn default() -> Self {
        Self {
            dir: None,
            name: "shards".to_owned(),
            ids: None,
            classes: None,
            size: Count::try_from(64).expect("it is above 0"),
            resize: Resize::default(),
            channels: Channels::default(),
            test_fraction: None,
            damaged: Damaged::default(),
        }
    }
}

impl Shards {
    pub(super) fn shape(&self) -> ImageShape {
        ImageShape { size: self.size.get(), resize: self.resize, channels: self.channels.0 }
    }

    pub(super) fn streams(&self) -> &'static [&'static str] {
        if self.test_fraction.is_some() { &["split"] } else { &[] }
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut all = too_large(Some(self.size));
        all.extend(super::super::names::problems(self.classes.as_deref()));
        if self.dir.is_none() {
            let message = "setting `dir` is required".to_owned();
            all.push(problem(message, "give the path of the folder of the files"));
        }
        if self.test_fraction.is_some_and(|share| f64::from(share) >= 1.0) {
            let message = "nothing would be left to train on".to_owned();
            all.push(Problem { setting: "test-fraction".to_owned(), message, hint: None });
        }
        all
    }

    /// Returns the files below `dir` that end in one of `endings`, as the folders `train` and `test`.
    pub(super) fn folders(&self, endings: &[&str]) -> Result<Vec<InputFolder>, Problem> {
        let Some(dir) = &self.dir else { return Ok(vec![]) };
        let (dir, files) = listed(dir, endings)?;
        let names = [("train", 0), ("test", 1)];
        let split = divided(&files);
        let folder = |(role, at): (&str, usize)| InputFolder {
            role: role.to_owned(),
            name: role.to_owned(),
            path: dir.clone(),
            files: split[at].clone(),
        };
        let [train, test] = names.map(folder);
        match (test.files.is_empty(), self.test_fraction) {
            _ if train.files.is_empty() => {
                let message = format!("`{}` has no file to train on", dir.display());
                let hint = format!(
                    "the files end in `.{}`, and those to train on have `train` in their names",
                    endings[0]
                );
                Err(problem(message, &hint))
            }
            (true, None) => {
                let message = format!("`{}` has no file to test on", dir.display());
                Err(problem(
                    message,
                    "`test-fraction` says how many images are put aside to test on",
                ))
            }
            (false, Some(_)) => {
                let message =
                    format!("there are images to test on already, in `{}`", test.files[0]);
                let (setting, hint) = ("test-fraction".to_owned(), Some("leave it out".to_owned()));
                Err(Problem { setting, message, hint })
            }
            (true, Some(_)) => Ok(vec![train]),
            (false, None) => Ok(vec![train, test]),
        }
    }
}

/// Returns the folder and the paths in it of the files that end in one of `endings`, sorted.
fn listed(dir: &Path, endings: &[&str]) -> Result<(PathBuf, Vec<String>), Problem> {
    if dir.is_file() {
        let name = dir.file_name().and_then(|name| name.to_str());
        if let (Some(name), Some(parent)) = (name, dir.parent()) {
            // That of a bare name is empty: the current directory.
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            return Ok((parent.to_owned(), vec![name.to_owned()]));
        }
    }
    if !dir.is_dir() {
        let message = format!("there is no folder `{}`", dir.display());
        return Err(problem(message, "a path is relative to the current directory"));
    }
    let mut files = scan::files(dir)?;
    files.retain(|file| {
        let unpacked = file.strip_suffix(".gz").unwrap_or(file);
        endings.iter().any(|wanted| *wanted == ending(file) || *wanted == ending(unpacked))
    });
    Ok((dir.to_owned(), files))
}

/// Divides files into those to train on and those to test on, by the words in their paths. Where no path says
/// what it is, all are to train on.
fn divided(files: &[String]) -> [Vec<String>; 2] {
    let words = |file: &str| -> Vec<String> {
        let words = file.split(|letter: char| !letter.is_alphanumeric());
        words.map(str::to_owned).collect()
    };
    let all: Vec<String> = files.iter().flat_map(|file| words(file)).collect();
    let (train, test) = splits::named(all.iter().map(String::as_str));
    let with = |word: Option<&str>| -> Vec<String> {
        let has =
            |file: &&String| word.is_some_and(|word| words(file).iter().any(|one| one == word));
        files.iter().filter(has).cloned().collect()
    };
    match (train, test) {
        (None, None) => [files.to_vec(), vec![]],
        _ => [with(train), with(test)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::file::Scratch;

    #[test]
    fn files_are_divided_by_the_words_in_their_names() {
        let split = |files: &[&str]| {
            let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
            divided(&files).map(|files| files.join(" "))
        };
        let found =
            split(&["data/test-00000-of-00001.parquet", "data/train-00000-of-00001.parquet"]);
        assert_eq!(
            found,
            ["data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"]
        );
        let found = split(&["train/0.tar", "train/1.tar", "validation/0.tar", "test/0.tar"]);
        assert_eq!(found, ["train/0.tar train/1.tar", "test/0.tar"]);
        assert_eq!(split(&["00000.tar", "00001.tar"]), ["00000.tar 00001.tar", ""]);
    }

    #[test]
    fn what_is_to_test_on_must_be_said_once() {
        let scratch = Scratch::new("shards");
        scratch.write("a/b/imagenet-train-0.tar", b"");
        scratch.write("a/notes.txt", b"");
        let stage = Shards { dir: Some(scratch.path().to_owned()), ..Shards::default() };
        let problem = stage.folders(&["tar"]).expect_err("nothing to test on");
        assert!(problem.message.ends_with("has no file to test on"), "{problem:?}");
        let drawn = Shards { test_fraction: Fraction::try_from(0.5).ok(), ..stage.clone() };
        let found = drawn.folders(&["tar"]).expect("there is one file");
        assert_eq!(
            (found.len(), &found[0].files[..]),
            (1, &["a/b/imagenet-train-0.tar".to_owned()][..])
        );
        let file = scratch.path().join("a/b/imagenet-train-0.tar");
        let found = Shards { dir: Some(file), ..drawn.clone() }.folders(&["tar"]);
        assert_eq!(found.expect("it is a file")[0].files, ["imagenet-train-0.tar"]);
        scratch.write("a/b/imagenet-val-0.tar.gz", b"");
        assert_eq!(stage.folders(&["tar"]).expect("both are there").len(), 2);
        assert!(drawn.folders(&["tar"]).is_err());
    }
}
