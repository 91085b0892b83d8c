//! The rows of a data set of texts: what each was in its file, byte for byte, and the text in it. They travel with
//! the samples, so that a subset can be written as the rows that were kept.

mod cells;
mod error;
mod json;
mod stored;
mod write;

use crate::{
    SampleId,
    formats::{FileKind, FormatError, columnar::Columnar, delimiter_of, named_as, unpacked},
};
use bytes::Bytes;
pub use error::{RowError, RowsError};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, ops::Range, path::Path};
pub use stored::{ROW_PARTS, StoredRows};

/// What Windows begins a file of UTF-8 with.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// How rows stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RowForm {
    /// A text a line.
    Lines,
    /// A JSON document a line.
    JsonLines,
    /// One JSON list of documents.
    JsonList,
    /// Comma or tab separated values below a line of names.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow's IPC format.
    Arrow,
    /// A file a text.
    Files,
}

/// Where in a row its text is, and what else is wanted of it. A name with a dot goes into an object, or into all
/// objects of a list: `messages.content`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowFields {
    /// The fields of the text, joined by line breaks.
    pub text: Vec<String>,
    /// The field of the label.
    #[serde(skip)]
    pub label: Option<String>,
    /// The field of the id.
    #[serde(skip)]
    pub id: Option<String>,
}

/// What a row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Its text, which is not blank.
    pub text: Cow<'a, str>,
    /// Its label, if one was asked for.
    pub label: Option<String>,
    /// Its id, if one was asked for.
    pub id: Option<String>,
}

/// The columns of Parquet or Arrow that were asked for.
#[derive(Clone, Debug, Default)]
struct Columns {
    text: Vec<Vec<Option<String>>>,
    label: Option<Vec<Option<String>>>,
    id: Option<Vec<Option<String>>>,
}

/// Rows in memory.
#[derive(Clone, Debug)]
pub struct Rows {
    form: RowForm,
    fields: RowFields,
    bytes: Bytes,
    /// Where the line of names lies, in a table as text.
    header: Range<usize>,
    delimiter: u8,
    /// Where the fields stand in a table as text: those of the text, the label, the id.
    cells: cells::TableCells,
    columns: Columns,
    /// Where each row lies in the bytes; in Parquet and Arrow, which of their rows it is.
    places: Vec<Range<usize>>,
    /// What to call each row: its line counted from 1, its number counted from 0, or its file.
    names: Vec<String>,
}

impl Rows {
    /// Reads the file at `path`, gzip'ed or not. Which form it has is told by its content, and by its name where
    /// that does not do.
    ///
    /// # Errors
    ///
    /// Fails if it does not read, or has no such fields. What is wrong with a single row is told by [`Self::row`].
    pub fn of_file(path: &Path, fields: RowFields) -> Result<Self, RowsError> {
        let (kind, bytes) = unpacked(path)?;
        let plain = if named_as(path, &["gz"]) { path.with_extension("") } else { path.into() };
        let form = form(&plain, kind, &bytes)?;
        let mut rows = Self::empty(form, fields, bytes.into());
        rows.find()?;
        Ok(rows)
    }

    /// Reads files of a text each, gzip'ed or not: their names, and where they lie.
    ///
    /// # Errors
    ///
    /// Fails if one does not read.
    pub fn of_files<'p>(
        files: impl Iterator<Item = (&'p str, std::path::PathBuf)>,
    ) -> Result<Self, RowsError> {
        let (mut bytes, mut places, mut names) = (vec![], vec![], vec![]);
        for (name, path) in files {
            let (_, mut text) = unpacked(&path)
                .map_err(|error| RowsError::Member { name: name.to_owned(), error })?;
            let from = bytes.len();
            bytes.append(&mut text);
            places.push(from..bytes.len());
            names.push(name.to_owned());
        }
        let all = Self::empty(RowForm::Files, RowFields::default(), bytes.into());
        Ok(Self { places, names, ..all })
    }

    fn empty(form: RowForm, fields: RowFields, bytes: Bytes) -> Self {
        Self {
            form,
            fields,
            bytes,
            header: 0..0,
            delimiter: b',',
            cells: cells::TableCells::default(),
            columns: Columns::default(),
            places: vec![],
            names: vec![],
        }
    }

    /// Returns how rows stand in the file.
    #[must_use]
    pub fn form(&self) -> RowForm {
        self.form
    }

    /// Returns how many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Returns whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns what to call row `at`: its line, counted from 1, its number, counted from 0, or its file.
    #[must_use]
    pub fn name(&self, at: usize) -> &str {
        self.names.get(at).map_or("", String::as_str)
    }

    /// Returns what [`Self::name`] is: `line`, `row`, or nothing where it is a file.
    #[must_use]
    pub fn named_by(&self) -> &'static str {
        match self.form {
            RowForm::Files => "",
            RowForm::Parquet | RowForm::Arrow => "row",
            _ => "line",
        }
    }

    /// Returns whether each row is a file.
    #[must_use]
    pub fn are_files(&self) -> bool {
        self.form == RowForm::Files
    }

    /// Keeps the rows for which `keep` holds.
    pub fn retain(&mut self, keep: &[bool]) {
        let mut each = keep.iter();
        self.places.retain(|_| each.next().copied().unwrap_or(true));
        let mut each = keep.iter();
        self.names.retain(|_| each.next().copied().unwrap_or(true));
    }

    /// Returns what row `at` says.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn row(&self, at: usize) -> Result<Row<'_>, RowError> {
        let place = &self.places[at];
        let row = match self.form {
            RowForm::Lines | RowForm::Files => {
                let text = std::str::from_utf8(&self.bytes[place.clone()]);
                let text = text.map_err(|_| RowError::NotUtf8)?;
                Row { text: text.trim_end_matches(['\n', '\r']).into(), label: None, id: None }
            }
            RowForm::JsonLines | RowForm::JsonList => {
                json::row(&self.bytes[place.clone()], &self.fields)?
            }
            RowForm::Csv => self.cells.row(&self.bytes[place.clone()], self.delimiter)?,
            RowForm::Parquet | RowForm::Arrow => self.columns.row(place.start, &self.fields)?,
        };
        if row.text.trim().is_empty() { Err(RowError::Blank) } else { Ok(row) }
    }

    /// Finds where the rows lie, and the fields.
    fn find(&mut self) -> Result<(), RowsError> {
        match self.form {
            RowForm::Files => {}
            RowForm::Lines => {
                let asked = [("labels", &self.fields.label), ("ids", &self.fields.id)];
                if let Some((setting, _)) = asked.into_iter().find(|(_, field)| field.is_some()) {
                    return Err(RowsError::NoFields { setting });
                }
                self.lines();
            }
            RowForm::JsonLines => self.lines(),
            RowForm::JsonList => (self.places, self.names) = json::list(&self.bytes)?,
            RowForm::Csv => {
                let end = self.bytes.iter().position(|byte| *byte == b'\n');
                let first = &self.bytes[..end.unwrap_or(self.bytes.len())];
                self.delimiter = delimiter_of(&String::from_utf8_lossy(first));
                let found = cells::find(&self.bytes, self.delimiter, &self.fields)?;
                (self.cells, self.header) = (found.cells, found.header);
                (self.places, self.names) = (found.places, found.names);
            }
            RowForm::Parquet | RowForm::Arrow => {
                self.decode()?;
                let n = self.columnar().rows()?;
                self.places = (0..n).map(|row| row..row + 1).collect();
                self.names = (0..n).map(|row| row.to_string()).collect();
            }
        }
        Ok(())
    }

    /// Finds the lines that are not blank.
    fn lines(&mut self) {
        let mut from = behind_bom(&self.bytes);
        let mut line = 0usize;
        while from < self.bytes.len() {
            let end = self.bytes[from..].iter().position(|byte| *byte == b'\n');
            let end = end.map_or(self.bytes.len(), |end| from + end + 1);
            line += 1;
            if !self.bytes[from..end].trim_ascii().is_empty() {
                self.places.push(from..end);
                self.names.push(line.to_string());
            }
            from = end;
        }
    }

    /// Decodes the columns that are asked for.
    fn decode(&mut self) -> Result<(), FormatError> {
        let file = self.columnar();
        let text = self.fields.text.iter().map(|name| file.texts(name));
        let one = |name: &Option<String>| name.as_ref().map(|name| file.texts(name)).transpose();
        self.columns = Columns {
            text: text.collect::<Result<_, _>>()?,
            label: one(&self.fields.label)?,
            id: one(&self.fields.id)?,
        };
        Ok(())
    }

    fn columnar(&self) -> Columnar {
        let is_parquet = self.form == RowForm::Parquet;
        let kind = if is_parquet { FileKind::Parquet } else { FileKind::Arrow };
        Columnar::new(kind, self.bytes.clone())
    }
}

impl Columns {
    fn row(&self, at: usize, fields: &RowFields) -> Result<Row<'_>, RowError> {
        let pieces: Vec<&str> =
            self.text.iter().filter_map(|all| all.get(at)?.as_deref()).collect();
        let missing = || fields.text.first().cloned().unwrap_or_default();
        let text: Cow<'_, str> = match pieces[..] {
            [] => return Err(RowError::NoField(missing())),
            [one] => one.into(),
            _ => pieces.join("\n").into(),
        };
        let one = |column: &Option<Vec<Option<String>>>, name: &Option<String>| match column {
            None => Ok(None),
            Some(all) => match all.get(at).cloned().flatten() {
                None => Err(RowError::NoField(name.clone().unwrap_or_default())),
                found => Ok(found),
            },
        };
        Ok(Row { text, label: one(&self.label, &fields.label)?, id: one(&self.id, &fields.id)? })
    }
}

/// Returns how rows stand in a file of this kind and name.
fn form(path: &Path, kind: FileKind, bytes: &[u8]) -> Result<RowForm, FormatError> {
    let (kind, bytes) = match bytes.strip_prefix(BOM) {
        Some(bytes) => (FileKind::of(path, bytes), bytes),
        None => (kind, bytes),
    };
    let json_lines = named_as(path, &["jsonl", "ndjson"]);
    let table = named_as(path, &["csv", "tsv"]);
    let opens_list = bytes[behind_bom(bytes)..].trim_ascii_start().first() == Some(&b'[');
    Ok(match kind {
        FileKind::Parquet => RowForm::Parquet,
        FileKind::Arrow => RowForm::Arrow,
        FileKind::Json if opens_list => RowForm::JsonList,
        FileKind::Json | FileKind::Index => RowForm::JsonLines,
        // Text in another script than Latin is not told from other bytes by its content.
        FileKind::Text | FileKind::Unknown if json_lines => RowForm::JsonLines,
        FileKind::Text | FileKind::Unknown if table => RowForm::Csv,
        FileKind::Text => RowForm::Lines,
        FileKind::Unknown if named_as(path, &["txt", "text"]) => RowForm::Lines,
        kind => return Err(FormatError::Foreign { kind }),
    })
}

/// Returns where the text in `bytes` begins.
fn behind_bom(bytes: &[u8]) -> usize {
    if bytes.starts_with(BOM) { BOM.len() } else { 0 }
}

/// Returns the ranges at `from`, in that order.
fn taken<T: Clone>(all: &[T], from: &[SampleId]) -> Vec<T> {
    from.iter().map(|at| all[at.index()].clone()).collect()
}
