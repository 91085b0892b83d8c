//! Rows of a table as text.

use super::{Row, RowError, RowFields, RowsError, behind_bom};
use crate::formats::FormatError;
use csv::{ByteRecord, Reader, ReaderBuilder};
use std::ops::Range;

/// Where the fields stand in a row.
#[derive(Clone, Debug, Default)]
pub(super) struct TableCells {
    text: Vec<usize>,
    label: Option<usize>,
    id: Option<usize>,
    /// How many cells a row has.
    width: usize,
}

/// What a table holds, and where.
pub(super) struct FoundCells {
    pub(super) cells: TableCells,
    pub(super) header: Range<usize>,
    pub(super) places: Vec<Range<usize>>,
    /// The line that each row begins on.
    pub(super) names: Vec<String>,
}

fn reader(bytes: &[u8], delimiter: u8, capacity: usize) -> Reader<&[u8]> {
    ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(capacity)
        .from_reader(bytes)
}

fn wrong(error: &csv::Error) -> FormatError {
    FormatError::Csv { reason: error.to_string() }
}

impl TableCells {
    /// Finds the fields among the names in the line `header`.
    pub(super) fn of(header: &[u8], delimiter: u8, fields: &RowFields) -> Result<Self, RowsError> {
        let mut names = ByteRecord::new();
        let read = reader(header, delimiter, 1 << 12).read_byte_record(&mut names);
        read.map_err(|error| wrong(&error))?;
        let known = || names.iter().map(|name| String::from_utf8_lossy(name).into_owned());
        let place = |name: &String, setting| {
            let found = names.iter().position(|one| one.trim_ascii() == name.as_bytes());
            found.ok_or_else(|| FormatError::NoColumn {
                what: "column",
                name: name.clone(),
                known: known().collect(),
                setting: Some(setting),
            })
        };
        let one = |name: &Option<String>, setting| {
            name.as_ref().map(|name| place(name, setting)).transpose()
        };
        Ok(Self {
            text: fields.text.iter().map(|name| place(name, "text")).collect::<Result<_, _>>()?,
            label: one(&fields.label, "labels")?,
            id: one(&fields.id, "ids")?,
            width: names.len(),
        })
    }

    /// Returns what the row in `bytes` says.
    pub(super) fn row(&self, bytes: &[u8], delimiter: u8) -> Result<Row<'static>, RowError> {
        let mut cells = ByteRecord::new();
        let read = reader(bytes, delimiter, bytes.len().max(16)).read_byte_record(&mut cells);
        read.map_err(|_| RowError::NotUtf8)?;
        if cells.len() != self.width {
            return Err(RowError::Cells { found: cells.len(), wanted: self.width });
        }
        let text = |at: usize| {
            let cell = std::str::from_utf8(cells.get(at).unwrap_or_default());
            cell.map_err(|_| RowError::NotUtf8)
        };
        let texts = self.text.iter().map(|at| text(*at)).collect::<Result<Vec<_>, _>>()?;
        let one = |at: Option<usize>| at.map(|at| text(at).map(str::to_owned)).transpose();
        Ok(Row { text: texts.join("\n").into(), label: one(self.label)?, id: one(self.id)? })
    }
}

/// Finds the rows of the table in `bytes`.
pub(super) fn find(
    bytes: &[u8],
    delimiter: u8,
    fields: &RowFields,
) -> Result<FoundCells, RowsError> {
    let begin = behind_bom(bytes);
    let mut reader = reader(&bytes[begin..], delimiter, 1 << 16);
    let (mut starts, mut names) = (vec![], vec![]);
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(|error| wrong(&error))? {
        let (byte, mut line) = record.position().map_or((0, 0), |at| (at.byte(), at.line()));
        let mut from = begin + usize::try_from(byte).unwrap_or(0);
        // The blank lines before it are not part of it.
        while let Some(b'\r' | b'\n') = bytes.get(from) {
            line += u64::from(bytes[from] == b'\n');
            from += 1;
        }
        starts.push(from);
        names.push(line.to_string());
    }
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    let mut places: Vec<Range<usize>> =
        starts.iter().copied().zip(ends).map(|(a, b)| a..b).collect();
    for place in &mut places {
        *place = place.start..line_end(bytes, place);
    }
    if places.is_empty() {
        return Err(FormatError::NoArrays.into());
    }
    let header = places.remove(0);
    names.remove(0);
    let cells = TableCells::of(&bytes[header.clone()], delimiter, fields)?;
    Ok(FoundCells { cells, header, places, names })
}

/// Returns where the line that ends `place` ends: behind its first line break after the last cell.
fn line_end(bytes: &[u8], place: &Range<usize>) -> usize {
    let row = &bytes[place.clone()];
    let bare =
        row.len() - row.iter().rev().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let after = &row[bare..];
    let end = match after.iter().position(|byte| *byte == b'\n') {
        Some(at) => at + 1,
        None => after.len().min(1),
    };
    place.start + bare + end
}
