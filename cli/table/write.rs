//! The formats of tables: text, CSV, JSON, Markdown, LaTeX.

use super::{rows::ResultTable, sheet::Sheet};
use crate::{
    context::{print, print_line},
    output::Stream,
};
use serde_json::{Value, json};

/// How a table is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum TableFormat {
    #[default]
    Text,
    Csv,
    Json,
    Markdown,
    /// A `tabular` in the style of the package booktabs.
    Latex,
}

/// Returns the table as text: on a terminal, what it has room for.
pub(super) fn on_stdout(table: &ResultTable) -> String {
    match Stream::Out.columns() {
        Some(width) => table.sheet_within(width).text(),
        None => table.sheet().text(),
    }
}

fn written(sheet: &Sheet, format: TableFormat) -> String {
    match format {
        TableFormat::Markdown => sheet.markdown(),
        TableFormat::Latex => sheet.latex(),
        TableFormat::Text | TableFormat::Csv | TableFormat::Json => sheet.text(),
    }
}

/// A table of one metric that can be written in every format.
pub(super) trait MetricTable {
    /// The key of the list of such tables in JSON.
    const LIST: &'static str;

    fn sheet(&self) -> Sheet;

    /// Returns the first line of the CSV file, which such tables of other metrics share.
    fn csv_head(&self) -> String;

    /// Returns the lines of the CSV file, without the first.
    fn csv(&self) -> String;

    fn json(&self) -> Value;
}

/// Writes one table for each metric: under each other as text, as one list otherwise.
pub(super) fn write_each<T: MetricTable>(all: &[T], format: TableFormat) {
    match format {
        TableFormat::Json => {
            let list: Vec<Value> = all.iter().map(T::json).collect();
            print_line(&json!({ T::LIST: list }).to_string());
        }
        TableFormat::Csv => {
            let head = all.first().map(T::csv_head).unwrap_or_default();
            print(&(head + &all.iter().map(T::csv).collect::<String>()));
        }
        _ => {
            let texts: Vec<String> = all.iter().map(|one| written(&one.sheet(), format)).collect();
            print(&texts.join("\n"));
        }
    }
}

/// Writes a table of rows; `fitting` lets it leave out metrics a terminal has no room for.
pub(super) fn write_rows(table: &ResultTable, format: TableFormat, fitting: bool) {
    match format {
        TableFormat::Csv => print(&table.csv()),
        TableFormat::Json => print_line(&table.json().to_string()),
        TableFormat::Text if fitting => print(&on_stdout(table)),
        _ => print(&written(&table.sheet(), format)),
    }
}

/// Writes under which conditions a table's numbers were made.
pub(super) fn conditions(lines: &[String], format: TableFormat) {
    if lines.is_empty() {
        return;
    }
    let mark = if format == TableFormat::Markdown { "- " } else { "" };
    let lines: Vec<String> = lines.iter().map(|line| format!("{mark}{line}\n")).collect();
    print(&format!("\n{}", lines.concat()));
}
