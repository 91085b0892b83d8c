//! What is wrong with a file of texts: clauses that follow its name.

use crate::formats::FormatError;
use thiserror::Error;

/// What is wrong with a file of rows as a whole: a clause that follows its name.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RowsError {
    /// It does not read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// One file of a folder does not read.
    #[error("holds `{name}`, which {error}")]
    Member {
        /// The file.
        name: String,
        /// What is wrong with it.
        error: FormatError,
    },
    /// Its rows are plain texts.
    #[error("is plain text without fields: `{setting}` needs JSON, Parquet, Arrow or CSV")]
    NoFields {
        /// The setting that names a field.
        setting: &'static str,
    },
    /// Its list breaks off, or holds something else than documents.
    #[error("is not a JSON list of documents from line {line} on: {reason}")]
    List {
        /// The line, counted from 1.
        line: usize,
        /// What the reader says.
        reason: String,
    },
    /// The store's copy of it ends before a row does.
    #[error("ends before its rows do")]
    Cut,
}

/// What is wrong with one row.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RowError {
    /// It holds bytes that are no UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// It is no JSON document.
    #[error("is not JSON: {0}")]
    NotJson(String),
    /// It lacks a field, or has null in it.
    #[error("has no field `{0}`")]
    NoField(String),
    /// A field holds something else than text.
    #[error("has no text in field `{0}`")]
    NotText(String),
    /// Its text is empty, or blank.
    #[error("has an empty text")]
    Blank,
    /// It has fewer cells than there are names, or more.
    #[error("has {found} cells, not {wanted}")]
    Cells {
        /// How many it has.
        found: usize,
        /// How many names there are.
        wanted: usize,
    },
}
