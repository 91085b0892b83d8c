//! The kept rows of a data set of texts, as they were in their file.

use crate::context::{Failure, print_bytes, write_file};
use artifacts::{
    SampleId,
    columns::SampleColumns,
    parts::{DATA, PartError, SUBSET},
    rows::{RowForm, Rows},
    subset,
};
use cache::{Artifact, Store, make_folders};
use std::{
    ffi::OsStr,
    fs,
    path::{Component, Path},
};

/// Writes the rows of the samples in `artifact` to the file or folder `to`, in the order of the pool. Returns how many,
/// in words.
pub(super) fn write(store: &Store, artifact: &Artifact, to: &Path) -> Result<String, Failure> {
    let unread = |error: PartError| {
        Failure::failed("the rows behind this output do not read".to_owned()).because(error)
    };
    let rows = Rows::open(store, artifact).map_err(unread)?;
    let rows = rows.ok_or_else(|| {
        let without = Failure::mistake("the data behind it has no rows of texts");
        without.hint("load it with `load.text`; `--to kept.csv` writes positions and ids")
    })?;
    let samples = match artifact.kind.as_str() {
        kind if kind == SUBSET.0 => subset::open(store, artifact).map_err(unread)?,
        kind if kind == DATA.0 => SampleId::all(rows.len()).collect(),
        kind => {
            let failure = Failure::mistake(format!("a {kind} artifact keeps no samples"));
            return Err(failure.hint("name a stage that selects, or the data"));
        }
    };
    if samples.iter().any(|sample| sample.index() >= rows.len()) {
        return Err(Failure::failed("the subset is of other data than the rows".to_owned()));
    }
    let count = format!("{} of {} rows", samples.len(), rows.len());
    if rows.are_files() {
        let columns = SampleColumns::open(store, artifact).map_err(unread)?;
        let names = columns.and_then(|columns| columns.ids).unwrap_or_default();
        write_folder(&rows, &samples, &names, to)?;
        return Ok(count);
    }
    check_name(rows.form(), to)?;
    let bytes = rows.kept(&samples).map_err(|error| {
        Failure::failed("the kept rows cannot be written".to_owned()).because(error)
    })?;
    match to.as_os_str() == "-" {
        true => print_bytes(&bytes),
        false => write_file(to, &bytes)?,
    }
    Ok(count)
}

/// Checks that the ending of `to`, if it has one, is that of the form the rows have.
fn check_name(form: RowForm, to: &Path) -> Result<(), Failure> {
    let endings = form.endings();
    let found = to.extension().and_then(OsStr::to_str);
    match found {
        Some(found) if !endings.iter().any(|one| one.eq_ignore_ascii_case(found)) => {
            let failure = Failure::mistake(format!(
                "the rows came from a file of another kind than `.{found}`"
            ));
            Err(failure.hint(format!(
                "they are written as they were: end the name in .{}",
                endings.join(" or .")
            )))
        }
        _ => Ok(()),
    }
}

/// Writes each row as the file it was, into a folder that is empty or not there yet.
fn write_folder(
    rows: &Rows,
    samples: &[SampleId],
    names: &[String],
    to: &Path,
) -> Result<(), Failure> {
    if to.as_os_str() == "-" || fs::read_dir(to).is_ok_and(|mut inside| inside.next().is_some()) {
        let failure = Failure::mistake("the texts came as files, and go into a new folder");
        return Err(failure.hint("name one that is not there yet"));
    }
    let unwritten = |path: &Path, error: std::io::Error| {
        Failure::failed(format!("cannot write `{}`", path.display())).because(error)
    };
    for sample in samples {
        let name = names.get(sample.index()).map(Path::new);
        let inside = |path: &&Path| path.components().all(|c| matches!(c, Component::Normal(_)));
        let Some(name) = name.filter(inside) else {
            return Err(Failure::failed(format!("text {sample} has no name of a file")));
        };
        // What was packed is written unpacked.
        let packed = name.extension().is_some_and(|end| end == "gz");
        let path = if packed { to.join(name.with_extension("")) } else { to.join(name) };
        if let Some(folder) = path.parent() {
            make_folders(folder).map_err(|error| unwritten(folder, error))?;
        }
        write_file(&path, rows.bytes_of(*sample))?;
    }
    make_folders(to).map_err(|error| unwritten(to, error))
}
