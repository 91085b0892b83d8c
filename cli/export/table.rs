//! Tensors of equal length side by side: one row a sample.

use super::tensor::TensorElements;
use std::fmt::Write as _;

/// Numbers in rows and columns that have names.
pub(super) struct SampleTable<'a> {
    pub(super) rows: usize,
    columns: Vec<(String, TableValues<'a>)>,
}

/// The values of a column: computed, elements of a tensor, or texts.
enum TableValues<'a> {
    /// The row's own number.
    Position,
    /// In a tensor of so many to a row, at this place in the row.
    Of { tensor: TensorElements<'a>, width: usize, at: usize },
    /// Ids.
    Texts(Vec<String>),
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TableValue {
    Whole(i64),
    Single(f32),
    Double(f64),
    Text(String),
}

impl<'a> SampleTable<'a> {
    /// Returns a table of `rows` rows, and no columns yet.
    pub(super) fn of(rows: usize) -> Self {
        Self { rows, columns: vec![] }
    }

    /// Adds the numbers of the rows as the first column.
    pub(super) fn number(&mut self, name: &str) {
        self.columns.insert(0, (name.to_owned(), TableValues::Position));
    }

    /// Adds the ids of the rows as the second column.
    pub(super) fn ids(&mut self, ids: Vec<String>) {
        self.columns.insert(self.columns.len().min(1), ("id".to_owned(), TableValues::Texts(ids)));
    }

    /// Returns the number that the first column has in each row.
    pub(super) fn positions(&self) -> Vec<usize> {
        let position = |row| match self.cell(row, 0) {
            TableValue::Whole(position) => usize::try_from(position).ok(),
            _ => None,
        };
        (0..self.rows).filter_map(position).collect()
    }

    /// Adds place `at` of the `width` that `tensor` has in each row.
    pub(super) fn add(
        &mut self,
        name: String,
        tensor: TensorElements<'a>,
        width: usize,
        at: usize,
    ) {
        self.columns.push((name, TableValues::Of { tensor, width, at }));
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.columns.iter().map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn cell(&self, row: usize, column: usize) -> TableValue {
        match &self.columns[column].1 {
            TableValues::Position => TableValue::Whole(row as i64),
            TableValues::Of { tensor, width, at } => tensor.cell(row * width + at),
            TableValues::Texts(texts) => TableValue::Text(texts[row].clone()),
        }
    }

    fn text(&self, row: usize, values: &TableValues<'_>) -> String {
        match values {
            TableValues::Position => row.to_string(),
            TableValues::Of { tensor, width, at } => tensor.text(row * width + at),
            TableValues::Texts(texts) => quoted(&texts[row]),
        }
    }

    /// Returns the table as lines, the names first.
    pub(super) fn csv(&self) -> Vec<u8> {
        let mut out = self.names().join(",");
        out.push('\n');
        for row in 0..self.rows {
            let line: Vec<String> =
                self.columns.iter().map(|(_, values)| self.text(row, values)).collect();
            writeln!(out, "{}", line.join(",")).ok();
        }
        out.into_bytes()
    }
}

/// Returns `text` as a field of CSV: in quotes where it would not be one without.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
