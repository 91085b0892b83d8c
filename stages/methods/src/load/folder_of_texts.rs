//! A folder with a text in each file.

use engine::{InputFolder, Problem};
use std::{fs, io, path::Path};

/// How files of texts end, gzip'ed or not.
const ENDINGS: [&str; 3] = ["txt", "text", "md"];

/// Returns the files of texts in the folder at `path`, and in the folders in it, in the order of their names.
///
/// # Errors
///
/// Says that there are none, or which folder does not read.
pub(super) fn listed(role: &str, path: &Path) -> Result<InputFolder, Problem> {
    let problem = |message: String, hint: &str| Problem {
        setting: role.to_owned(),
        message,
        hint: Some(hint.to_owned()),
    };
    let mut files = vec![];
    find(path, "", &mut files).map_err(|error| {
        let message = format!("cannot look into folder `{}`: {error}", path.display());
        problem(message, "it has to be readable, and names in it UTF-8")
    })?;
    if files.is_empty() {
        let message = format!("folder `{}` has no file of text", path.display());
        return Err(problem(message, "files of texts end in .txt, .text or .md"));
    }
    files.sort();
    let name =
        path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    Ok(InputFolder { role: role.to_owned(), name, path: path.to_owned(), files })
}

/// Adds the files in `folder`, which is at `inside` of the whole, to those `found`.
fn find(folder: &Path, inside: &str, found: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            let odd = entry.file_name().to_string_lossy().into_owned();
            return Err(io::Error::other(format!("the name `{odd}` is not UTF-8")));
        };
        if name.starts_with('.') {
            continue;
        }
        let relative = if inside.is_empty() { name } else { format!("{inside}/{name}") };
        // Links to folders are not followed: they may lead back.
        if entry.file_type()?.is_dir() {
            find(&entry.path(), &relative, found)?;
        } else if is_text(&relative) {
            found.push(relative);
        }
    }
    Ok(())
}

fn is_text(name: &str) -> bool {
    let name = name.to_lowercase();
    let bare = name.strip_suffix(".gz").unwrap_or(&name);
    bare.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.contains(&ending))
}
