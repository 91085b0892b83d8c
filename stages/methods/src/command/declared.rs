//! The files a program needs: found before any work, named without their paths.
//!
//! An entry of `files` is a file, a folder (all in it, but what is hidden and what Python caches),
//! or a pattern of files (`*`, `?`, `[…]`, `**`).

use super::{is_file, problem};
use cache::retrying;
use engine::{InputFile, InputFolder, Problem, SpecPath};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Component, Path, PathBuf},
};

/// How deep a folder may go; one that links to itself has no end.
const DEEPEST: usize = 64;

/// What an entry of `files` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Declared {
    /// A file, and its name in the program's directory.
    File { name: String, path: PathBuf },
    /// A folder, its name there, and the files in it.
    Folder { name: String, path: PathBuf, files: Vec<String> },
}

impl Declared {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::File { name, .. } | Self::Folder { name, .. } => name,
        }
    }
}

/// Returns the name under which a file lies in the program's directory: as it is written, or the
/// last part of a path that leads out of there.
pub(super) fn name(text: &str) -> String {
    let path = Path::new(text);
    let inside = path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    let name: PathBuf = match path.file_name() {
        Some(last) if !inside => last.into(),
        _ => path.components().filter(|c| matches!(c, Component::Normal(_))).collect(),
    };
    name.to_string_lossy().into_owned()
}

/// Returns what the entries stand for, in their order, a pattern's files sorted.
pub(super) fn all(entries: &[SpecPath]) -> Result<Vec<Declared>, Problem> {
    let mut declared = vec![];
    for entry in entries {
        let path = entry.path();
        if is_file(&path) {
            declared.push(Declared::File { name: name(entry.as_str()), path });
        } else if retrying(|| fs::metadata(&path)).is_ok_and(|data| data.is_dir()) {
            let mut files = vec![];
            list(&path, "", 0, &mut files).map_err(|error| {
                let message = format!("cannot list `{}`: {error}", path.display());
                problem("files", message, "name the files it needs one by one, or by a pattern")
            })?;
            files.sort();
            if files.is_empty() {
                let message = format!("the folder `{}` holds no files", path.display());
                return Err(problem("files", message, "leave it out"));
            }
            declared.push(Declared::Folder { name: name(entry.as_str()), path, files });
        } else if entry.as_str().contains(['*', '?', '[']) {
            declared.extend(matching(entry)?);
        } else {
            let message = format!("there is no file `{}`", path.display());
            return Err(problem("files", message, "a path is relative to the pipeline file"));
        }
    }
    Ok(declared)
}

fn matching(entry: &SpecPath) -> Result<Vec<Declared>, Problem> {
    let folder = glob::Pattern::escape(&entry.folder().to_string_lossy());
    let pattern = Path::new(&folder).join(entry.as_str());
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..Default::default() };
    let found = glob::glob_with(&pattern.to_string_lossy(), options).map_err(|error| {
        problem("files", format!("`{}` is no pattern: {error}", entry.as_str()), "close its `[`")
    })?;
    let files: BTreeSet<PathBuf> =
        found.filter_map(Result::ok).filter(|one| is_file(one)).collect();
    if files.is_empty() {
        let message = format!("no file matches `{}`", pattern.display());
        return Err(problem("files", message, "a pattern is relative to the pipeline file"));
    }
    let declared = files.into_iter().map(|path| {
        let inside = path.strip_prefix(entry.folder()).unwrap_or(&path);
        Declared::File { name: name(&inside.to_string_lossy()), path }
    });
    Ok(declared.collect())
}

/// Lists the files below `folder`, by their paths from there.
fn list(folder: &Path, above: &str, depth: usize, files: &mut Vec<String>) -> io::Result<()> {
    if depth > DEEPEST {
        return Err(io::Error::other("it is too deep, or links to itself"));
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(text) = name.to_str() else {
            return Err(io::Error::other(format!("the name `{}` is no text", name.display())));
        };
        if text.starts_with('.') || text == "__pycache__" || text.ends_with(".pyc") {
            continue;
        }
        let inside = format!("{above}{text}");
        // Followed where it is a link.
        let kind = retrying(|| fs::metadata(entry.path()))?;
        if kind.is_dir() {
            list(&entry.path(), &format!("{inside}/"), depth + 1, files)?;
        } else if kind.is_file() {
            files.push(inside);
        }
    }
    Ok(())
}

/// Returns the name in the program's directory of what a word of the command names, if that is
/// one of the declared files.
pub(super) fn named(word: &SpecPath, declared: &[Declared]) -> Option<String> {
    let text = name(word.as_str());
    let names = |one: &Declared| match one {
        Declared::File { name, path } => *name == text || *path == word.path(),
        Declared::Folder { name, files, .. } => {
            let inside = text.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix('/'));
            inside.is_some_and(|inside| files.iter().any(|file| file == inside))
        }
    };
    declared.iter().any(names).then_some(text)
}

/// Returns the path of the declared file called `wanted` in the program's directory.
pub(super) fn path(wanted: &str, declared: &[Declared]) -> Option<PathBuf> {
    declared.iter().find_map(|one| match one {
        Declared::File { name, path } => (name == wanted).then(|| path.clone()),
        Declared::Folder { name, path, files } => {
            let inside = wanted.strip_prefix(name.as_str())?.strip_prefix('/')?;
            files.iter().any(|file| file == inside).then(|| path.join(inside))
        }
    })
}

/// Returns the single files, as the engine is told of them.
pub(super) fn files(declared: &[Declared]) -> Vec<InputFile> {
    let file = |one: &Declared| match one {
        Declared::File { name, path } => Some(InputFile { role: name.clone(), path: path.clone() }),
        Declared::Folder { .. } => None,
    };
    declared.iter().filter_map(file).collect()
}

/// Returns the folders, as the engine is told of them.
pub(super) fn folders(declared: &[Declared]) -> Vec<InputFolder> {
    let folder = |one: &Declared| match one {
        Declared::Folder { name, path, files } => Some(InputFolder {
            role: name.clone(),
            name: name.clone(),
            path: path.clone(),
            files: files.clone(),
        }),
        Declared::File { .. } => None,
    };
    declared.iter().filter_map(folder).collect()
}
