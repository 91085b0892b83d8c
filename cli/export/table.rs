//! Tensors of equal length side by side: one row a sample.

use super::tensor::TensorElements;
use std::fmt::Write as _;

/// Numbers in rows and columns that have names.
pub(super) struct SampleTable<'a> {
    pub(super) rows: usize,
    columns: Vec<(String, Numbers<'a>)>,
}

/// The numbers of a column: computed, or elements of a tensor.
enum Numbers<'a> {
    /// The row's own number.
    Position,
    /// In a tensor of so many to a row, at this place in the row.
    Of { tensor: TensorElements<'a>, width: usize, at: usize },
}

/// One number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum TableNumber {
    Whole(i64),
    Single(f32),
    Double(f64),
}

impl<'a> SampleTable<'a> {
    /// Returns a table of `rows` rows, and no columns yet.
    pub(super) fn of(rows: usize) -> Self {
        Self { rows, columns: vec![] }
    }

    /// Adds the numbers of the rows as the first column.
    pub(super) fn number(&mut self, name: &str) {
        self.columns.insert(0, (name.to_owned(), Numbers::Position));
    }

    /// Adds place `at` of the `width` that `tensor` has in each row.
    pub(super) fn add(
        &mut self,
        name: String,
        tensor: TensorElements<'a>,
        width: usize,
        at: usize,
    ) {
        self.columns.push((name, Numbers::Of { tensor, width, at }));
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.columns.iter().map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn cell(&self, row: usize, column: usize) -> TableNumber {
        match &self.columns[column].1 {
            Numbers::Position => TableNumber::Whole(row as i64),
            Numbers::Of { tensor, width, at } => tensor.cell(row * width + at),
        }
    }

    fn text(&self, row: usize, numbers: &Numbers<'_>) -> String {
        match numbers {
            Numbers::Position => row.to_string(),
            Numbers::Of { tensor, width, at } => tensor.text(row * width + at),
        }
    }

    /// Returns the table as lines, the names first.
    pub(super) fn csv(&self) -> Vec<u8> {
        let mut out = self.names().join(",");
        out.push('\n');
        for row in 0..self.rows {
            let line: Vec<String> =
                self.columns.iter().map(|(_, numbers)| self.text(row, numbers)).collect();
            writeln!(out, "{}", line.join(",")).ok();
        }
        out.into_bytes()
    }
}
