//! Files that a setting names: one, those that match a pattern (glob), or a list of both, as sharded data sets have
//! them.

use artifacts::formats::column;
use engine::{InputFile, Problem};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
};

/// Files of one split, as they are written: paths and patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileList(Vec<PathBuf>);

impl FileList {
    /// Returns the files, those of a pattern in natural order (`part-2` before `part-10`), with `role`, `role.1`,
    /// `role.2` and so on.
    ///
    /// # Errors
    ///
    /// Names what is not there, or there twice.
    pub(super) fn files(&self, role: &str) -> Result<Vec<InputFile>, Problem> {
        let problem = |message: String, hint: &str| Problem {
            setting: role.to_owned(),
            message,
            hint: Some(hint.to_owned()),
        };
        let mut paths: Vec<PathBuf> = vec![];
        for written in &self.0 {
            let text = written.to_string_lossy();
            if written.exists() || !text.contains(['*', '?', '[']) {
                if let Some(problem) = column::no_file(role, written, "the current directory") {
                    return Err(problem);
                }
                paths.push(written.clone());
                continue;
            }
            let found = glob::glob(&text).map_err(|error| {
                problem(format!("`{text}` is no pattern: {error}"), "close its `[`")
            })?;
            let mut found: Vec<PathBuf> =
                found.filter_map(Result::ok).filter(|path| path.is_file()).collect();
            if found.is_empty() {
                let hint = "a pattern is relative to the current directory";
                return Err(problem(format!("no file matches `{text}`"), hint));
            }
            found.sort_by(|a, b| natural(&a.to_string_lossy(), &b.to_string_lossy()));
            paths.append(&mut found);
        }
        let mut seen = BTreeSet::new();
        if let Some(path) = paths.iter().find(|path| !seen.insert(path.as_path())) {
            let message = format!("`{}` is named twice", path.display());
            return Err(problem(message, "its samples would be there twice: leave it out once"));
        }
        if paths.is_empty() {
            return Err(problem("the list names no file".to_owned(), "name at least one"));
        }
        let file = |(at, path)| InputFile { role: role_of(role, at), path };
        Ok(paths.into_iter().enumerate().map(file).collect())
    }
}

fn role_of(role: &str, at: usize) -> String {
    if at == 0 { role.to_owned() } else { format!("{role}.{at}") }
}

/// Returns where the files of a list with this role are, in its order.
pub(super) fn paths<'a>(files: &'a [InputFile], role: &str) -> Vec<&'a Path> {
    let is = |file: &&InputFile| {
        file.role.strip_prefix(role).is_some_and(|at| at.is_empty() || at.starts_with('.'))
    };
    files.iter().filter(is).map(|file| file.path.as_path()).collect()
}

/// Returns a line that tells the first file that is missing of a set whose names count their parts, as
/// `train-00000-of-00003.parquet` does.
pub(super) fn missing_part(paths: &[&Path]) -> Option<String> {
    let name = |path: &&Path| Some(path.file_name()?.to_str()?.to_owned());
    let names: BTreeSet<String> = paths.iter().filter_map(name).collect();
    names.iter().find_map(|name| {
        let (before, behind) = name.split_once("-of-")?;
        let digits = before.bytes().rev().take_while(u8::is_ascii_digit).count();
        let (prefix, _) = before.split_at(before.len() - digits);
        let end = behind.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(behind.len());
        let parts: usize = behind[..end].parse().ok()?;
        let part = |at: usize| format!("{prefix}{at:0digits$}-of-{behind}");
        let missing = (digits > 0).then(|| (0..parts).map(part).find(|part| !names.contains(part)));
        // Some count from 1.
        let from_one = !names.contains(&part(0)) && names.contains(&part(parts));
        let missing = missing?.filter(|_| !from_one)?;
        Some(format!("`{missing}` is not among the files, though `{name}` counts {parts}"))
    })
}

/// Compares texts by the numbers in them: `part-2` is before `part-10`. Those that are equal so are compared letter
/// by letter.
fn natural(a: &str, b: &str) -> Ordering {
    runs(a).cmp(runs(b)).then_with(|| a.cmp(b))
}

/// Returns the runs of digits and of other letters of a text. Numbers are before letters, and compare by their length
/// without leading zeros and then by their digits.
fn runs(mut text: &str) -> impl Iterator<Item = (bool, usize, &str)> {
    std::iter::from_fn(move || {
        let digit = text.chars().next()?.is_ascii_digit();
        let end = text.find(|letter: char| letter.is_ascii_digit() != digit);
        let (run, rest) = text.split_at(end.unwrap_or(text.len()));
        text = rest;
        let number = run.trim_start_matches('0');
        Some(if digit { (false, number.len(), number) } else { (true, 0, run) })
    })
}

// By hand: `untagged` would lose the place of a mistake.
impl<'de> Deserialize<'de> for FileList {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = FileList;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, a pattern of files, or a list of them")
            }
            fn visit_str<E: de::Error>(self, path: &str) -> Result<FileList, E> {
                Ok(FileList(vec![path.into()]))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<FileList, A::Error> {
                let mut paths = vec![];
                while let Some(path) = list.next_element()? {
                    paths.push(path);
                }
                Ok(FileList(paths))
            }
        }
        from.deserialize_any(Visitor)
    }
}

impl JsonSchema for FileList {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "FileList".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "array"], "items": { "type": "string" } })
    }
}

impl From<PathBuf> for FileList {
    fn from(path: PathBuf) -> Self {
        Self(vec![path])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::file::Scratch;

    #[test]
    fn a_pattern_gives_its_files_in_natural_order() {
        let scratch = Scratch::new("file-list");
        for name in
            ["part-10.npy", "part-2.npy", "part-01.npy", "part-1.npy", "other.txt", "a[1].npy"]
        {
            scratch.write(name, b"");
        }
        let names = |written: &[&str]| -> Result<Vec<String>, String> {
            let list = written.iter().map(|name| scratch.path().join(name)).collect();
            let found = FileList(list).files("train").map_err(|problem| problem.message)?;
            let paths = paths(&found, "train");
            assert_eq!(paths.len(), found.len());
            let name = |path: &&Path| path.file_name().map(|name| name.to_string_lossy().into());
            Ok(paths.iter().filter_map(name).collect())
        };
        let parts = ["part-01.npy", "part-1.npy", "part-2.npy", "part-10.npy"];
        assert_eq!(names(&["part-*.npy"]), Ok(names_of(&parts)));
        // A list keeps its order, and a file may be called like a pattern.
        let listed = ["other.txt", "a[1].npy", "part-2.npy", "part-10.npy"];
        assert_eq!(
            names(&["other.txt", "a[1].npy", "part-[2-9]*", "part-10.npy"]),
            Ok(names_of(&listed))
        );
        let says = |written: &[&str]| names(written).expect_err("it is refused");
        assert!(says(&["part-*.npy", "part-2.npy"]).ends_with("part-2.npy` is named twice"));
        assert!(says(&["shard-*"]).starts_with("no file matches"));
        assert!(says(&["part-3.npy"]).starts_with("there is no file"));
        assert_eq!(says(&[]), "the list names no file");
    }

    #[test]
    fn a_missing_part_is_told() {
        let told = |names: &[&str]| missing_part(&names.iter().map(Path::new).collect::<Vec<_>>());
        let whole = ["d/t-00000-of-00002.parquet", "d/t-00001-of-00002.parquet"];
        assert_eq!(told(&whole), None);
        assert_eq!(told(&["x-1-of-2.npy", "x-2-of-2.npy", "out-of-date.npy"]), None);
        let line = told(&whole[1..]).expect("the first is missing");
        assert!(line.starts_with("`t-00000-of-00002.parquet` is not among"), "{line}");
    }

    fn names_of(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }
}
