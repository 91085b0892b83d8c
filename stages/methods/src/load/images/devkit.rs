//! What the images of ImageNet's validation set show, as its development kit tells: a list in the order of their
//! numbers.

use super::{
    super::{
        FileError,
        file::{self, broken},
        mat::{self, MatField},
    },
    scan,
    write::Picture,
};
use artifacts::ClassId;
use engine::{InputFolder, Problem, StageError};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The list, a number of a class a line, and the table that says which class has which number.
const TRUTH: &str = "ILSVRC2012_validation_ground_truth.txt";
const SYNSETS: &str = "meta.mat";
/// A list with the WNID of a class a line.
const WNIDS: &str = "imagenet_2012_validation_synset_labels.txt";
/// Where the kit unpacks to.
const FOLDERS: [&str; 3] = ["ILSVRC2012_devkit_t12/data", "data", "."];

/// The files that tell.
pub(super) struct Devkit {
    pub(super) truth: PathBuf,
    /// None if the list has names.
    pub(super) synsets: Option<PathBuf>,
}

impl Devkit {
    /// Looks for a list by `above`, which returns the file of a name, if there is one.
    ///
    /// # Errors
    ///
    /// Fails if there is a list of numbers, but nothing says what they stand for.
    pub(super) fn find(above: impl Fn(&str) -> Option<PathBuf>) -> Result<Option<Self>, Problem> {
        if let Some(truth) = above(WNIDS) {
            return Ok(Some(Self { truth, synsets: None }));
        }
        let truth = FOLDERS.iter().find_map(|folder| above(&format!("{folder}/{TRUTH}")));
        let Some(truth) = truth else { return Ok(None) };
        let synsets = truth.with_file_name(SYNSETS);
        if !synsets.is_file() {
            let message = format!("there is no `{SYNSETS}` beside `{}`", truth.display());
            let hint =
                "its numbers mean nothing without it: put it there, from the same development kit";
            return Err(scan::problem(message, hint));
        }
        Ok(Some(Self { truth, synsets: Some(synsets) }))
    }
}

/// Returns the test images with the labels that `truth` has for them, image 1 in the first line: the names of classes,
/// or their numbers in `synsets`.
///
/// # Errors
///
/// Fails if a file does not read, an image has no line, or a line no class.
pub(super) fn answered<'a>(
    folders: &'a [InputFolder],
    truth: &Path,
    synsets: Option<&Path>,
    classes: &[String],
) -> Result<Vec<Picture<'a>>, StageError> {
    let names = synsets.map(names).transpose()?;
    let text = String::from_utf8(file::read(truth)?);
    let text = text.map_err(|_| broken(truth, FileError::NotText))?;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut pictures = vec![];
    for folder in folders.iter().filter(|one| one.role == "test") {
        for file in &folder.files {
            let no_line = || broken(truth, FileError::NoLine(file.clone()));
            let at = number(file).and_then(|number| number.checked_sub(1)).ok_or_else(no_line)?;
            let line = *lines.get(at).ok_or_else(no_line)?;
            let wnid = match &names {
                Some(names) => line.parse().ok().and_then(|id: u64| names.get(&id)),
                None => None,
            };
            let wnid = wnid.map_or(line, String::as_str);
            let label = classes.binary_search_by(|one| one.as_str().cmp(wnid)).map_err(|_| {
                broken(truth, FileError::UnknownClass { class: wnid.to_owned(), line: at + 1 })
            })?;
            pictures.push(Picture { folder: &folder.path, file, label: ClassId::at(label) });
        }
    }
    Ok(pictures)
}

/// Returns the number at the end of a file's name, `ILSVRC2012_val_00000007.JPEG`.
fn number(file: &str) -> Option<usize> {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let digits = stem.trim_end_matches(|letter: char| letter.is_ascii_digit()).len();
    stem[digits..].parse().ok()
}

/// Returns the name of each class by its number.
fn names(synsets: &Path) -> Result<BTreeMap<u64, String>, StageError> {
    let named = |record: BTreeMap<String, MatField>| match (
        record.get("ILSVRC2012_ID"),
        record.get("WNID"),
    ) {
        (Some(MatField::Numbers(id)), Some(MatField::Text(wnid))) => {
            Some((*id.first()? as u64, wnid.trim().to_owned()))
        }
        _ => None,
    };
    Ok(mat::records(synsets, "synsets")?.into_iter().filter_map(named).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::file::Scratch;

    #[test]
    fn images_get_the_line_of_their_number() {
        let scratch = Scratch::new("devkit");
        let folder = |files: &[&str]| InputFolder {
            role: "test".to_owned(),
            name: "val".to_owned(),
            path: scratch.path().to_owned(),
            files: files.iter().map(|file| (*file).to_owned()).collect(),
        };
        let folders = [folder(&["ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000003.JPEG"])];
        let classes = ["n01".to_owned(), "n02".to_owned()];
        let kit = "ILSVRC2012_devkit_t12/data";
        let path = scratch.write(&format!("{kit}/{TRUTH}"), b"2\n1\n1\n");
        let above = |name: &str| Some(scratch.path().join(name)).filter(|path| path.is_file());
        let problem = Devkit::find(above).err().expect("the table is missing");
        assert!(problem.message.starts_with("there is no `meta.mat`"), "{problem:?}");
        scratch.write(&format!("{kit}/{SYNSETS}"), include_bytes!("../mat/structures.mat"));
        let Devkit { truth, synsets } = Devkit::find(above).expect("both are there").expect("so");
        assert_eq!(truth, path);
        let labels = |truth: &Path, synsets: Option<&Path>| {
            let found = answered(&folders, truth, synsets, &classes);
            let found = found.map_err(|error| error.to_string())?;
            Ok::<_, String>(found.iter().map(|one| one.label).collect::<Vec<_>>())
        };
        assert_eq!(labels(&truth, synsets.as_deref()), Ok(ClassId::list([1, 0])));
        let names = scratch.write(WNIDS, b"n02\nn02\nn01\n");
        let found = Devkit::find(above).expect("it is there").expect("so");
        assert_eq!((&found.truth, found.synsets.is_none()), (&names, true));
        assert_eq!(labels(&names, None), Ok(ClassId::list([1, 0])));
        for (text, want) in [
            ("2\n1\n7\n", "has the unknown class `7` in line 3"),
            ("2\n1\n", "has no line for `ILSVRC2012_val_00000003.JPEG`"),
        ] {
            let path = scratch.write("truth.txt", text.as_bytes());
            let found = labels(&path, synsets.as_deref()).expect_err("it is wrong");
            assert!(found.contains(want), "{found}");
        }
    }
}
