//! A file that a setting names: what plans say of it, for every stage that reads one.

use crate::MethodError;
use artifacts::formats::column;
use engine::{InputFile, Problem, SpecPath};

/// Returns the input file that setting `file` names, if it does.
///
/// # Errors
///
/// Says that nothing is there.
pub(crate) fn files(file: Option<&SpecPath>) -> Result<Vec<InputFile>, Problem> {
    let Some(written) = file else { return Ok(vec![]) };
    match column::missing("file", written) {
        Some(problem) => Err(problem),
        None => Ok(vec![InputFile { role: "file".to_owned(), path: written.path() }]),
    }
}

/// Returns what `read` finds wrong with it. A file that is not there is told with the others that are not.
pub(crate) fn problems<T>(
    file: Option<&SpecPath>,
    read: impl FnOnce() -> Result<T, MethodError>,
) -> Vec<Problem> {
    if files(file).is_err() {
        return vec![];
    }
    let problem = |error: MethodError| Problem {
        setting: "file".to_owned(),
        message: error.to_string(),
        hint: None,
    };
    read().err().map(problem).into_iter().collect()
}
