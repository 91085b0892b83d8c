//! Finding the images: folders of classes, sorted.

use engine::{InputFolder, Problem};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What is read.
const READ: [&str; 3] = ["jpg", "jpeg", "png"];
/// What would be missed if it was passed over in silence.
const UNREAD: [&str; 8] = ["bmp", "gif", "webp", "tif", "tiff", "ppm", "pgm", "avif"];

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

/// Returns the classes in `dir`, one folder each, with the first `most` images of each; both in
/// the order of their names.
///
/// # Errors
///
/// Says which folder cannot be read, has no class or no image, or holds images of a kind that is
/// not read.
pub(super) fn classes(
    dir: &Path,
    role: &str,
    most: Option<usize>,
) -> Result<Vec<InputFolder>, Problem> {
    let mut folders = vec![];
    for (name, is_dir) in entries(dir)? {
        if is_dir {
            folders.push(images(&dir.join(&name), role, &name, most)?);
        }
    }
    if folders.is_empty() {
        let message = format!("`{}` has no folder of a class in it", dir.display());
        return Err(problem(message, "each class has a folder of its own, with its images in it"));
    }
    Ok(folders)
}

/// Returns the first `most` images in `dir` and the folders below it.
///
/// # Errors
///
/// As [`classes`].
pub(super) fn images(
    dir: &Path,
    role: &str,
    name: &str,
    most: Option<usize>,
) -> Result<InputFolder, Problem> {
    let mut files = vec![];
    collect(dir, "", &mut files)?;
    if files.is_empty() {
        let message = format!("`{}` has no image in it", dir.display());
        return Err(problem(message, "images end in `.jpg`, `.jpeg` or `.png`"));
    }
    // Paths in one folder are distinct.
    files.sort_unstable();
    files.truncate(most.unwrap_or(usize::MAX));
    Ok(InputFolder { role: role.to_owned(), name: name.to_owned(), path: dir.to_owned(), files })
}

fn collect(dir: &Path, below: &str, files: &mut Vec<String>) -> Result<(), Problem> {
    for (name, is_dir) in entries(dir)? {
        let path = format!("{below}{name}");
        if is_dir {
            collect(&dir.join(&name), &format!("{path}/"), files)?;
            continue;
        }
        let extension = Path::new(&name).extension().and_then(|end| end.to_str());
        let extension = extension.unwrap_or_default().to_ascii_lowercase();
        if READ.contains(&extension.as_str()) {
            files.push(path);
        } else if UNREAD.contains(&extension.as_str()) {
            let message =
                format!("`{}` is an image that cannot be read", dir.join(&name).display());
            return Err(problem(message, "only JPEG and PNG are read: convert it or move it away"));
        }
    }
    Ok(())
}

/// Returns what is in `dir`, sorted, and whether it is a folder. Hidden names are left out.
fn entries(dir: &Path) -> Result<Vec<(String, bool)>, Problem> {
    let fail = |error: io::Error| {
        problem(format!("cannot read `{}`: {error}", dir.display()), "say with `dir` where it is")
    };
    let mut found = vec![];
    for entry in fs::read_dir(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name().into_string().map_err(|name| {
            let message = format!("`{}` has a name that is not text: {name:?}", dir.display());
            problem(message, "rename it")
        })?;
        if name.starts_with('.') {
            continue;
        }
        let kind = entry.file_type().map_err(fail)?;
        // Only links need a look of their own.
        let is_dir = if kind.is_symlink() { entry.path().is_dir() } else { kind.is_dir() };
        found.push((name, is_dir));
    }
    // Names in one folder are distinct.
    found.sort_unstable();
    Ok(found)
}
