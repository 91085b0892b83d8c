//! Finding the images: folders of classes, sorted.

use super::{
    content::{begins_like_image, ending, is_named_as_image},
    passed::PassedOver,
    write::Damaged,
};
use engine::{InputFolder, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

/// What systems and programs leave behind, in lower case: never a class and never an image.
const JUNK: [&str; 8] = [
    "__macosx",
    "thumbs.db",
    "desktop.ini",
    "@eadir",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "icon\r",
];

/// Where a data set of images is looked for.
pub(super) struct Home {
    /// Its name as people write it.
    pub(super) title: &'static str,
    /// The folders searched, in this order.
    pub(super) places: &'static [&'static str],
    /// The folders below `dir` searched: where archives unpack to.
    pub(super) nested: &'static [&'static str],
    /// What must be there.
    pub(super) needs: &'static [&'static str],
    /// What to get, and where to put it.
    pub(super) hint: &'static str,
}

impl Home {
    /// Returns the folder that has everything.
    ///
    /// # Errors
    ///
    /// Names each folder that was searched, and what the best of them lacks.
    pub(super) fn find(&self, dir: Option<&Path>) -> Result<PathBuf, Problem> {
        let places: Vec<PathBuf> = match dir {
            // Collected from its components: `join("")` would leave a slash behind.
            Some(dir) => {
                let joined = self.nested.iter().map(|below| dir.join(below));
                joined.map(|path| path.components().collect()).collect()
            }
            None => self.places.iter().map(PathBuf::from).collect(),
        };
        let mut best = (0, String::new());
        for place in &places {
            let missing = self.needs.iter().find(|name| !place.join(name).exists());
            let Some(missing) = missing else { return Ok(place.clone()) };
            let count = self.needs.iter().filter(|name| place.join(name).exists()).count();
            if count > best.0 {
                let other = format!("; `{}` has a part of it, but no `{missing}`", place.display());
                best = (count, other);
            }
        }
        let names: Vec<_> = places.iter().map(|one| format!("`{}`", one.display())).collect();
        let message = format!("{} is not in {}{}", self.title, names.join(", "), best.1);
        Err(problem(message, self.hint))
    }
}

/// Returns what is wrong with the folder given.
pub(super) fn problem(message: String, hint: &str) -> Problem {
    Problem { setting: "dir".to_owned(), message, hint: Some(hint.to_owned()) }
}

/// What becomes of the folder of a class without an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum EmptyClasses {
    /// It is an error.
    #[default]
    Refuse,
    /// It is a class without samples, and the log says so.
    Keep,
}

impl EmptyClasses {
    pub(super) fn is_refused(&self) -> bool {
        *self == Self::Refuse
    }
}

/// How folders are searched for images.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FolderSearch {
    /// Only the first so many of each folder.
    pub(super) most: Option<usize>,
    /// What becomes of links to nothing and names that are not text.
    pub(super) damaged: Damaged,
    pub(super) empty: EmptyClasses,
}

impl FolderSearch {
    /// Returns the classes in `dir`, one folder each, with the images of each; both in the order of their
    /// names.
    ///
    /// # Errors
    ///
    /// Says which folder cannot be read, has no class or no image, or holds what cannot be read by its name.
    pub(super) fn classes(&self, dir: &Path, role: &str) -> Result<Vec<InputFolder>, Problem> {
        let mut classes = vec![];
        for name in folders(dir)? {
            classes.push(self.images(&dir.join(&name), role, &name)?);
        }
        if classes.is_empty() {
            let message = format!("`{}` has no folder of a class in it", dir.display());
            let usual = "each class has a folder of its own, with its images in it";
            return Err(problem(message, &other_loader(dir).unwrap_or_else(|| usual.to_owned())));
        }
        if classes.iter().all(|one| one.files.is_empty()) {
            return Err(no_image(dir));
        }
        Ok(classes)
    }

    /// Returns the images in `dir` and the folders below it.
    ///
    /// # Errors
    ///
    /// As [`Self::classes`].
    pub(super) fn images(
        &self,
        dir: &Path,
        role: &str,
        name: &str,
    ) -> Result<InputFolder, Problem> {
        let FoundImages { mut files, passed, .. } = FoundImages::below(dir)?;
        if self.damaged == Damaged::Refuse
            && let Some(problem) = passed.problem()
        {
            return Err(problem);
        }
        if files.is_empty() && self.empty == EmptyClasses::Refuse {
            return Err(no_image(dir));
        }
        // Paths in one folder are distinct.
        files.sort_unstable();
        files.truncate(self.most.unwrap_or(usize::MAX));
        let (role, name) = (role.to_owned(), name.to_owned());
        Ok(InputFolder { role, name, path: dir.to_owned(), files })
    }
}

fn no_image(dir: &Path) -> Problem {
    let message = format!("`{}` has no image in it", dir.display());
    let usual = "put images there, or move the folder away; `load.folder` takes it for a class without samples with \
                 `empty-classes = \"keep\"`";
    problem(message, &other_loader(dir).unwrap_or_else(|| usual.to_owned()))
}

/// Returns which method reads what lies in `dir` in place of images, or beside it.
fn other_loader(dir: &Path) -> Option<String> {
    let names = |dir: &Path| -> Vec<String> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    let inside = names(dir);
    let has = |names: &[String], wanted: &[&str]| {
        names.iter().any(|name| wanted.contains(&ending(name).as_str()))
    };
    let table = ["csv", "tsv", "parquet"];
    let beside = dir.parent().is_some_and(|parent| has(&names(parent), &table));
    if inside.iter().any(|name| is_named_as_image(name)) {
        let table = if beside || has(&inside, &table) { ", such as the one here" } else { "" };
        return Some(format!(
            "each class has a folder of its own; images of all classes in one folder are read by \
             `load.images-table`, with a table of their labels{table}"
        ));
    }
    if has(&inside, &["parquet"]) {
        return Some(
            "it holds Parquet files: `load.parquet-images` reads images in them".to_owned(),
        );
    }
    if has(&inside, &["tar"]) {
        return Some("it holds tar archives: `load.webdataset` reads those of WebDataset; others have to be unpacked".to_owned());
    }
    None
}

/// Returns what was passed over in `folders`, and beside them.
pub(super) fn passed_over(folders: &[InputFolder]) -> Result<PassedOver, Problem> {
    let mut all = PassedOver::default();
    let mut parents = BTreeSet::new();
    for folder in folders {
        all.add(FoundImages::below(&folder.path)?.passed);
        parents.extend(folder.path.parent());
    }
    for parent in parents {
        let (entries, _) = entries(parent)?;
        let beside = |one: &&Entry| one.kind == PathKind::File && is_named_as_image(&one.name);
        all.beside += entries.iter().filter(beside).count();
    }
    Ok(all)
}

/// The images below a folder: paths relative to it.
#[derive(Default)]
struct FoundImages {
    files: Vec<String>,
    passed: PassedOver,
    /// The folder that is searched, by its canonical path.
    root: Option<PathBuf>,
    /// The folders that were read, by their canonical paths.
    read: BTreeSet<PathBuf>,
}

impl FoundImages {
    fn below(dir: &Path) -> Result<Self, Problem> {
        let mut found = Self::default();
        found.collect(dir, "")?;
        Ok(found)
    }

    fn collect(&mut self, dir: &Path, below: &str) -> Result<(), Problem> {
        let canonical = fs::canonicalize(dir).map_err(|error| unreadable(dir, &error))?;
        let root = self.root.get_or_insert_with(|| canonical.clone());
        // What the class itself lies in holds other classes.
        let above = !below.is_empty() && root.starts_with(&canonical);
        if above || !self.read.insert(canonical) {
            self.passed.loops.push(dir.to_owned());
            return Ok(());
        }
        let (entries, unnamed) = entries(dir)?;
        self.passed.unnamed.extend(unnamed);
        for Entry { name, kind } in entries {
            let (inside, path) = (format!("{below}{name}"), dir.join(&name));
            match kind {
                PathKind::Folder => self.collect(&path, &format!("{inside}/"))?,
                PathKind::File if is_named_as_image(&name) => self.files.push(inside),
                // A file that is not to be read is none of ours.
                PathKind::File if begins_like_image(&path).unwrap_or(false) => {
                    self.files.push(inside)
                }
                PathKind::Dangling if is_named_as_image(&name) => self.passed.dangling.push(path),
                PathKind::File | PathKind::Dangling | PathKind::Special => self.passed.other(&name),
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PathKind {
    Folder,
    File,
    /// A link to nothing.
    Dangling,
    /// A pipe, a socket or a device.
    Special,
}

struct Entry {
    name: String,
    kind: PathKind,
}

/// Returns the names of the folders in `dir`, sorted.
pub(super) fn folders(dir: &Path) -> Result<Vec<String>, Problem> {
    let (entries, _) = entries(dir)?;
    let folders = entries.into_iter().filter(|one| one.kind == PathKind::Folder);
    Ok(folders.map(|one| one.name).collect())
}

/// Returns the files in `dir` and the folders below it, sorted: paths relative to it.
pub(super) fn files(dir: &Path) -> Result<Vec<String>, Problem> {
    let mut found = vec![];
    let mut left = vec![String::new()];
    let mut read = BTreeSet::new();
    while let Some(below) = left.pop() {
        let path = dir.join(&below);
        if !read.insert(fs::canonicalize(&path).map_err(|error| unreadable(&path, &error))?) {
            continue;
        }
        for Entry { name, kind } in entries(&path)?.0 {
            match kind {
                PathKind::Folder => left.push(format!("{below}{name}/")),
                PathKind::File => found.push(format!("{below}{name}")),
                PathKind::Dangling | PathKind::Special => {}
            }
        }
    }
    // Paths in one folder are distinct.
    found.sort_unstable();
    Ok(found)
}

fn unreadable(dir: &Path, error: &io::Error) -> Problem {
    problem(format!("cannot read `{}`: {error}", dir.display()), "say with `dir` where it is")
}

/// Returns what is in `dir`, sorted, and the paths whose names are not text. Hidden names and what systems leave
/// behind are left out.
fn entries(dir: &Path) -> Result<(Vec<Entry>, Vec<PathBuf>), Problem> {
    let fail = |error: io::Error| unreadable(dir, &error);
    let (mut found, mut unnamed) = (vec![], vec![]);
    for entry in fs::read_dir(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let Ok(name) = entry.file_name().into_string() else {
            unnamed.push(entry.path());
            continue;
        };
        if name.starts_with('.') || JUNK.contains(&name.to_lowercase().as_str()) {
            continue;
        }
        let mut kind = entry.file_type().map_err(fail)?;
        if kind.is_symlink() {
            match fs::metadata(entry.path()) {
                Ok(metadata) => kind = metadata.file_type(),
                Err(_) => {
                    found.push(Entry { name, kind: PathKind::Dangling });
                    continue;
                }
            }
        }
        let kind = match () {
            () if kind.is_dir() => PathKind::Folder,
            () if kind.is_file() => PathKind::File,
            () => PathKind::Special,
        };
        found.push(Entry { name, kind });
    }
    // Names in one folder are distinct.
    found.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    unnamed.sort_unstable();
    Ok((found, unnamed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::file::Scratch;
    use std::os::unix::fs::symlink;

    const JPEG: &[u8] = &[0xff, 0xd8, 0xff, 0xe0, 0, 16];

    #[test]
    fn images_are_found_by_their_content_and_the_rest_is_counted() {
        let scratch = Scratch::new("scan");
        for name in ["a.jpg", "b.jfif", "c", "d.jpg_large", "e.heic", "f.jpg ", "G.PNG"] {
            scratch.write(&format!("cat/{name}"), JPEG);
        }
        for name in ["notes.txt", "more.TXT", "Makefile", "Thumbs.db", ".DS_Store"] {
            scratch.write(&format!("cat/{name}"), b"BM is how text may begin");
        }
        scratch.write("__MACOSX/cat/._a.jpg", JPEG);
        scratch.write("b.jpg", JPEG);
        let found =
            FolderSearch::default().classes(scratch.path(), "train").expect("there is a class");
        assert_eq!(found.len(), 1);
        let want = ["G.PNG", "a.jpg", "b.jfif", "c", "d.jpg_large", "e.heic", "f.jpg "];
        assert_eq!(found[0].files, want);
        let passed = passed_over(&found).expect("it can be read").lines();
        let want = [
            "passed over 3 files that are no images: 1 without an ending, 2 `.txt`",
            "passed over 1 images that lie beside the folders of classes",
        ];
        assert_eq!(passed, want);
    }

    #[test]
    fn links_are_followed_once_and_links_to_nothing_are_named() {
        let scratch = Scratch::new("scan-links");
        scratch.write("cat/1.jpg", JPEG);
        scratch.write("cat/old/2.jpg", JPEG);
        let link = |to: &str, name: &str| symlink(to, scratch.path().join(name)).expect("a link");
        link("..", "cat/latest");
        link("old", "cat/young");
        link("../cat/1.jpg", "cat/3.jpg");
        let search = FolderSearch::default();
        let images = || search.images(&scratch.path().join("cat"), "train", "cat");
        let found = images().expect("all links lead somewhere");
        assert_eq!(found.files, ["1.jpg", "3.jpg", "old/2.jpg"]);
        let lines = passed_over(&[found]).expect("it can be read").lines();
        let want = "passed over: links to folders that are read already: ";
        assert!(lines[0].starts_with(want) && lines[0].contains("young"), "{lines:?}");
        link("gone.jpg", "cat/9.jpg");
        let problem = images().expect_err("a link leads nowhere");
        assert!(problem.message.starts_with("there are links to nothing: "), "{problem:?}");
        let skip = FolderSearch { damaged: Damaged::Skip, ..search };
        let found = skip.images(&scratch.path().join("cat"), "train", "cat").expect("left out");
        assert_eq!(found.files.len(), 3);
    }

    #[test]
    fn a_folder_without_images_is_a_class_if_that_is_wanted() {
        let scratch = Scratch::new("scan-empty");
        scratch.write("cat/1.jpg", JPEG);
        scratch.write("dog/1.txt", b"");
        let search = FolderSearch::default();
        let problem = search.classes(scratch.path(), "train").expect_err("dog is empty");
        assert!(problem.message.ends_with("dog` has no image in it"), "{problem:?}");
        let keep = FolderSearch { empty: EmptyClasses::Keep, ..search };
        let found = keep.classes(scratch.path(), "train").expect("it is allowed");
        assert_eq!((found.len(), found[1].files.len()), (2, 0));
        fs::remove_file(scratch.path().join("cat/1.jpg")).expect("it is there");
        scratch.write("cat/train-00000-of-00001.parquet", b"PAR1");
        let problem = search.classes(scratch.path(), "train").expect_err("no images");
        assert!(problem.hint.expect("there is one").contains("`load.parquet-images`"));
    }
}
