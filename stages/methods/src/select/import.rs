//! `select.import`: a subset that was selected elsewhere.

use crate::{MethodError, OwnFileError, load::columns};
use artifacts::{
    formats::{
        ArrayError, DataFile, FileKind, Values,
        column::{self, Column, ColumnError},
    },
    parts::{self, Parts},
    record::LabelledSamples,
    subset::Subset,
};
use engine::{
    ArtifactKind, InputFile, Method, Port, Problem, SpecPath, Stage, StageCtx, StageError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Where the subset is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct ImportSubset {
    /// The file with the samples to keep: their positions, counted from 0 in the full training set, their ids, or
    /// a mask of it. Required.
    #[serde(skip_serializing)]
    file: Option<SpecPath>,
    /// The file with their weights, in the same order, if that is another one.
    #[serde(skip_serializing)]
    weights: Option<SpecPath>,
}

const MANUAL: &str = "\
Takes a subset that another program selected. `data`, `proxy` or `scores` says of which training set it
is: each position must be one of its samples, and none may stand twice. The order of the file does not
matter: a subset is kept sorted.

Which kind the file is, is told by its content: NumPy's `.npy` and `.npz`, safetensors, PyTorch's `.pt`, pickles
of arrays, Parquet, Arrow, JSON, CSV, TSV, or one number a line. Of several arrays or columns it is the one
called `index` or `indices`, and if the samples are weighted `weight` or `weights`; weights of their own file are
read in the same ways. An array of bools, one a sample, is a mask: the samples where it is true are kept. A subset
keeps a sample at least.

Where the data has ids, a column of them (`id`, `uid`, `sample_id`, `key`), an array of texts or a text a line names the
samples, and a column of positions beside it is not looked at; a text file whose every line is an id is a list of ids,
whatever commas and quotes these hold; so what `coresift export` writes of a subset comes back
in, `kept.txt`, `kept.csv`, `kept.parquet` and `kept.npy` alike. Numbers without a name that could all be
positions, and all ids of the data, are refused unless both mean the same samples.

What can be seen without the data (that the file is
there, reads, and has no position twice) is checked before anything runs. Paths are relative to the
pipeline file and not part of the key: the files' bytes are.";

/// Returns the registry entry.
pub(super) fn method() -> Method {
    Method {
        name: "select.import",
        summary: "a subset that was selected elsewhere, from a file",
        manual: MANUAL,
        parse: |with| Ok(Box::new(with.read::<ImportSubset>()?)),
        schema: || schemars::schema_for!(ImportSubset),
    }
}

/// The samples that a file lists.
enum Listed {
    Positions {
        positions: Vec<i128>,
        /// Whether the file says by a name or its kind that they are positions.
        is_said: bool,
    },
    Ids {
        ids: Vec<String>,
        /// Their positions, where they stand beside.
        positions: Option<Vec<i128>>,
    },
}

impl Listed {
    /// Reads what `file` lists, of a training set of `n` samples if that is known.
    fn read(file: &DataFile, n: Option<usize>) -> Result<Self, ColumnError> {
        let wrong = |error| ColumnError::from(ArrayError::from(error));
        let names = file.names().map_err(wrong)?;
        let has_positions = column::has_in(file, Column::Indices);
        let name = names.iter().find(|name| columns::is_of_ids(name));
        if has_positions || name.is_some() {
            column::no_flags(file)?;
        }
        if name.is_none()
            && !has_positions
            && let Some(ids) = columns::ids(file)?
        {
            return Ok(Self::Ids { ids, positions: None });
        }
        // An array or a line for each sample, without a name.
        let only = names.first().filter(|_| names.len() == 1 && !has_positions);
        let positions = || has_positions.then(|| column::indices_in(file, n)).transpose();
        if let Some(name) = name {
            let ids = columns::ids_in(file, name).map_err(wrong)?;
            return Ok(Self::Ids { ids, positions: positions()? });
        }
        if let Some(name) = only {
            let values = file.get(name).map_err(wrong)?;
            let is_line = file.kind() == FileKind::Text && !name.is_empty();
            if column::is_mask(&values) {
                return Ok(Self::Positions {
                    positions: column::indices_in(file, n)?,
                    is_said: true,
                });
            }
            let is_alone = matches!(&values, Values::Numbers(array) if array.shape == [0]);
            if matches!(values, Values::Texts(_)) || (is_line && is_alone) {
                // What was taken for the name of a column is an id, then.
                let first = is_line.then(|| name.clone());
                let ids = first.into_iter().chain(columns::texts(values)).collect();
                return Ok(Self::Ids { ids, positions: positions()? });
            }
        }
        let is_said = has_positions || !matches!(file.kind(), FileKind::Text | FileKind::Json);
        Ok(Self::Positions { positions: column::indices_in(file, n)?, is_said })
    }

    /// Returns the positions of the samples, whose ids are `known` if they have any.
    fn positions(self, known: Option<&[String]>) -> Result<Vec<i128>, ColumnError> {
        match (self, known) {
            (Self::Ids { ids, .. }, Some(known)) => places(&ids, known),
            (Self::Ids { positions, .. }, None) => positions.ok_or(ColumnError::NoIds),
            (Self::Positions { positions, is_said: false }, Some(known)) => {
                let ids: Vec<String> = positions.iter().map(i128::to_string).collect();
                let places: BTreeMap<&str, i128> =
                    known.iter().map(String::as_str).zip(0..).collect();
                let by_id: Option<Vec<i128>> =
                    ids.iter().map(|id| places.get(id.as_str()).copied()).collect();
                let is_inside = |at: &i128| (0..known.len() as i128).contains(at);
                match by_id {
                    Some(found) if found == positions || !positions.iter().all(is_inside) => {
                        Ok(found)
                    }
                    Some(_) => Err(ColumnError::PositionsOrIds),
                    None => Ok(positions),
                }
            }
            (Self::Positions { positions, .. }, _) => Ok(positions),
        }
    }
}

/// Returns the lines of a text file if they look like more than numbers and, where the ids of the data are `known`, each
/// is one of them; a first line may name them. Lines of several cells may be ids with commas.
fn ids_in_lines(file: &DataFile, known: Option<&[String]>) -> Option<Vec<String>> {
    let mut lines = file.lines()?;
    let known: Option<BTreeSet<&str>> =
        known.map(|known| known.iter().map(String::as_str).collect());
    let is_id = |line: &&str| known.as_ref().is_none_or(|known| known.contains(line));
    if lines.first().is_some_and(|first| !is_id(first) && columns::is_of_ids(first)) {
        lines.remove(0);
    }
    // Numbers may be positions.
    let is_more = lines.iter().any(|line| line.trim().parse::<i128>().is_err());
    let are_ids = is_more && lines.iter().all(is_id);
    are_ids.then(|| lines.into_iter().map(str::to_owned).collect())
}

/// Returns where each of `ids` stands among those `known`.
fn places(ids: &[String], known: &[String]) -> Result<Vec<i128>, ColumnError> {
    if let Some((first, second)) = columns::repeated(ids) {
        let id = ids[second].clone();
        return Err(ArrayError::IdTwice { id, first, second }.into());
    }
    let places: BTreeMap<&str, i128> = known.iter().map(String::as_str).zip(0..).collect();
    let (mut found, mut unknown) = (vec![], vec![]);
    for id in ids {
        match places.get(id.as_str()) {
            Some(place) => found.push(*place),
            None => unknown.push(id.clone()),
        }
    }
    if unknown.is_empty() {
        Ok(found)
    } else {
        Err(ColumnError::UnknownIds { unknown, all: ids.len() })
    }
}

/// Returns the positions of the samples that `file` lists, whose ids are `known` if they have any.
fn positions(
    file: &DataFile,
    known: Option<&[String]>,
    n: Option<usize>,
) -> Result<Vec<i128>, ColumnError> {
    let ids = known.and_then(|known| Some((ids_in_lines(file, Some(known))?, known)));
    match ids {
        Some((ids, known)) => places(&ids, known),
        None => Listed::read(file, n)?.positions(known),
    }
}

impl ImportSubset {
    /// Returns what the files hold, of at most `n` samples, whose ids are `known` if they have any. Without `is_whole`
    /// there is no data yet, and ids are taken for positions in the order of the file.
    fn read(
        &self,
        n: usize,
        known: Option<&[String]>,
        is_whole: bool,
    ) -> Result<Subset, (&'static str, MethodError)> {
        let file = self.file.as_ref().ok_or(("file", MethodError::NoSetting("file")))?;
        let wrong = |setting: &'static str, written: &SpecPath| {
            let path = written.path();
            move |error: ColumnError| {
                let error = Box::new(OwnFileError::from(error));
                (setting, MethodError::OwnFile { path, error })
            }
        };
        let opened = DataFile::open(&file.path());
        let opened = opened.map_err(|error| ArrayError::from(error).into());
        let opened = opened.map_err(wrong("file", file))?;
        let found = if is_whole {
            positions(&opened, known, Some(n))
        } else {
            match Listed::read(&opened, None) {
                Ok(Listed::Ids { ids, .. }) => places(&ids, &ids),
                Ok(Listed::Positions { positions, .. }) => Ok(positions),
                // What is no table may be ids of the data, which is not there yet.
                Err(error) if error.is_of_cells() => match ids_in_lines(&opened, None) {
                    Some(ids) => places(&ids, &ids),
                    None => Err(error),
                },
                Err(error) => Err(error),
            }
        };
        let found = found.map_err(wrong("file", file))?;
        let weights = match &self.weights {
            Some(written) => {
                let weights = column::floats(&written.path(), Column::Weights);
                Some(weights.map_err(wrong("weights", written))?)
            }
            None if column::has_in(&opened, Column::Weights) => {
                let weights = column::doubles_in(&opened, Column::Weights, None);
                let weights = weights.map_err(wrong("file", file))?;
                Some(weights.into_iter().map(|weight| weight as f32).collect())
            }
            None => None,
        };
        column::picked(&found, weights.as_deref(), n).map_err(wrong("file", file))
    }
}

impl Stage for ImportSubset {
    fn method(&self) -> &'static str {
        "select.import"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn settings(&self) -> Value {
        json!(self)
    }

    fn inputs(&self) -> Vec<Port> {
        vec![
            Port::one_of("data", parts::DATA),
            Port::one_of("proxy", parts::PROXY),
            Port::one_of("scores", parts::SCORES),
        ]
    }

    fn output(&self) -> ArtifactKind {
        parts::SUBSET
    }

    fn problems(&self) -> Vec<Problem> {
        // A file that is not there is told with the others that are not.
        if self.files().is_err() {
            return vec![];
        }
        let most = u32::MAX as usize;
        let problem = |(setting, error): (&str, MethodError)| Problem {
            setting: setting.to_owned(),
            message: error.to_string(),
            hint: None,
        };
        self.read(most, None, false).err().map(problem).into_iter().collect()
    }

    fn files(&self) -> Result<Vec<InputFile>, Problem> {
        let mut files = vec![];
        for (role, written) in [("file", &self.file), ("weights", &self.weights)] {
            let Some(written) = written else { continue };
            if let Some(problem) = column::missing(role, written) {
                return Err(problem);
            }
            files.push(InputFile { role: role.to_owned(), path: written.path() });
        }
        Ok(files)
    }

    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let ground = LabelledSamples::read(ctx, &["data", "proxy", "scores"])?;
        let known = ground.columns(ctx)?.and_then(|columns| columns.ids);
        let picked = self.read(ground.labels.len(), known.as_deref(), true);
        let picked = picked.map_err(|(_, error)| error)?;
        picked.put(ctx, &ground, picked.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Returns the positions that a file called `name` lists, of data with ids.
    fn listed(name: &str, bytes: &[u8], known: Option<&[&str]>) -> Result<Vec<i128>, String> {
        let file = DataFile::new(Path::new(name), bytes.to_vec()).expect("it is a list");
        let known: Option<Vec<String>> =
            known.map(|known| known.iter().map(|id| (*id).to_owned()).collect());
        positions(&file, known.as_deref(), None).map_err(|error| error.to_string())
    }

    #[test]
    fn samples_are_named_by_ids_positions_or_a_mask() {
        let known = Some(&["cat/1", "cat/2", "dog/1"][..]);
        // As `export` writes them, and others.
        assert_eq!(listed("a.txt", b"dog/1\ncat/1\n", known), Ok(vec![2, 0]));
        assert_eq!(listed("a.txt", b"dog/1\n", known), Ok(vec![2]));
        assert_eq!(listed("a.csv", b"index,id\n0,dog/1\n1,cat/1\n", known), Ok(vec![2, 0]));
        assert_eq!(listed("a.csv", b"id,weight\ndog/1,0.5\n", known), Ok(vec![2]));
        assert_eq!(
            listed("a.jsonl", b"{\"id\": \"cat/2\"}\n{\"id\": \"cat/1\"}\n", known),
            Ok(vec![1, 0])
        );
        assert_eq!(listed("a.txt", b"2\n0\n", known), Ok(vec![2, 0]));
        assert_eq!(listed("a.csv", b"index,id\n2,x\n", None), Ok(vec![2]));
        let says = |text: &[u8], known| listed("a.txt", text, known).expect_err("it is refused");
        assert_eq!(
            says(b"dog/2\ncat/1\n", known),
            "has 1 of 2 ids that no training sample has: `dog/2`"
        );
        assert!(says(b"dog/1\ncat/1\ndog/1\n", known).contains("`dog/1`"));
        assert!(
            says(b"dog/1\ncat/1\n", None)
                .starts_with("names samples by ids, but the data has none")
        );
        // Numbers that are ids too.
        let lines = Some(&["1", "2", "3"][..]);
        assert!(says(b"1\n2\n", lines).starts_with("has numbers that may be positions or ids"));
        assert_eq!(listed("a.txt", b"1\n3\n", lines), Ok(vec![0, 2]));
        assert_eq!(listed("a.txt", b"0\n2\n", lines), Ok(vec![0, 2]));
        assert_eq!(listed("a.csv", b"id\n1\n2\n", lines), Ok(vec![0, 1]));
        assert_eq!(listed("a.csv", b"index\n1\n2\n", lines), Ok(vec![1, 2]));
        assert_eq!(listed("a.txt", b"0\n2\n", Some(&["0", "1", "2"])), Ok(vec![0, 2]));
    }

    #[test]
    fn ids_may_hold_commas_and_quotes() {
        let known = Some(&["a, b/1.jpg", "c", "\"d\",e,f", "7"][..]);
        assert_eq!(listed("a.txt", b"c\n\"d\",e,f\r\n\na, b/1.jpg\n", known), Ok(vec![1, 2, 0]));
        assert_eq!(listed("a.txt", b"id\na, b/1.jpg\n7\n", known), Ok(vec![0, 3]));
        // One that is no id makes a table of it again.
        let error = listed("a.txt", b"c\na, b/2.jpg\n", known).expect_err("it is none");
        assert_eq!(error, "has 2 cells on line 2: expected 1");
        let ahead = |bytes: &[u8]| {
            let file = DataFile::new(Path::new("a.txt"), bytes.to_vec()).expect("it is text");
            ids_in_lines(&file, None)
        };
        assert_eq!(ahead(b"a,1\nb\n").map(|ids| ids.len()), Some(2));
        assert_eq!(ahead(b"1\n2\n"), None);
    }
}
