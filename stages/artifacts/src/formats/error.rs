//! What is wrong with a file of arrays: clauses that follow its name.

use super::{FileKind, npy::NpyError, pickle::PickleError};
use safetensors::{Dtype, SafeTensorError};
use std::io;
use thiserror::Error;

/// More names than these are told as their count.
const NAMED: usize = 12;

/// What is wrong with a file of arrays: a clause that follows the file's name.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Its lists may be rows or columns.
    #[error(
        "has lists under numbers, which may be rows or columns: write a list of rows, \
         `json.dump([d[key] for key in sorted(d, key=int)], file)`"
    )]
    Sideways,
    /// The system does not read it.
    #[error("cannot be read: {0}")]
    Unread(io::Error),
    /// It is of a kind that holds no arrays, or is not read.
    #[error("is {kind}: {}", kind.way_out())]
    Foreign {
        /// What it is.
        kind: FileKind,
    },
    /// It is gzip, and broken.
    #[error("does not unpack: {0}")]
    Unpack(io::Error),
    /// It is a zip archive, and broken.
    #[error("is a zip archive that does not unpack: {reason}")]
    Unzip {
        /// What the archive's reader says.
        reason: String,
    },
    /// It is a zip archive of something else.
    #[error("is a zip archive without arrays (.npy) or tensors (PyTorch): unpack it")]
    ForeignZip,
    /// It is an Excel workbook.
    #[error("is an Excel workbook: save its sheet as CSV (UTF-8)")]
    Workbook,
    /// It is one of SciPy's sparse matrices.
    #[error(
        "is a sparse matrix of SciPy's: save it in full, as `numpy.save(path, scipy.sparse.load_npz(...).toarray())`"
    )]
    Sparse,
    /// A member of an archive claims to unpack to more than any data does.
    #[error("holds `{member}`, which claims to unpack to more than a thousand times its size")]
    Bomb {
        /// The member.
        member: String,
    },
    /// The `.npy` file does not read.
    #[error(transparent)]
    Npy(#[from] NpyError),
    /// The pickle does not read.
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// It holds no array that is read.
    #[error(
        "holds no array of numbers or texts: save NumPy arrays or PyTorch tensors, alone or in a dictionary"
    )]
    NoArrays,
    /// An array or a list that it holds is not read.
    #[error(
        "holds {}, which is not read: save plain numbers or texts, none of them missing (tensors: `.float()` of \
         complex, 8-bit, quantised and sparse ones, `.clone()` of views)",
        unread(name)
    )]
    UnreadArray {
        /// Its name; that of a single one is empty.
        name: String,
    },
    /// Several columns have one name.
    #[error("has the name `{name}` for several columns: give each a name of its own")]
    NameTwice {
        /// The name.
        name: String,
    },
    /// It is a pickle of one of pandas' tables.
    #[error("is a pickle of a pandas table: save it with `df.to_parquet(...)` or `df.to_csv(...)`")]
    Pandas,
    /// It is packed in a way that is not read.
    #[error(
        "is Parquet packed in a way that is not read: write it with `compression=\"zstd\"` or \"snappy\""
    )]
    Compression,
    /// It is not whole safetensors.
    #[error("is neither .npy nor whole safetensors: {0}")]
    Safetensors(SafeTensorError),
    /// The elements are of a type that is not read.
    #[error("has elements of type {dtype:?}, which are not read (tensor `{name}`)")]
    Elements {
        /// The tensor.
        name: String,
        /// The type of its elements.
        dtype: Dtype,
    },
    /// Its JSON is broken.
    #[error("is not JSON: {0} (JSON has no NaN and no Infinity, though Python writes them)")]
    Json(serde_json::Error),
    /// It is of a kind that this build of the program does not read.
    #[error(
        "is {kind}, which this build does not read: build it with `--features parquet`, or write CSV or .npy"
    )]
    NotBuilt {
        /// What it is.
        kind: FileKind,
    },
    /// Its Parquet or Arrow does not read.
    #[error("does not read as {kind}: {reason}")]
    Columnar {
        /// Parquet or Arrow.
        kind: FileKind,
        /// What its reader says.
        reason: String,
    },
    /// A column is of a type that holds no numbers and no texts.
    #[error("has column `{name}` of type {type_name}, which is not read")]
    ColumnType {
        /// The column.
        name: String,
        /// Its type.
        type_name: String,
    },
    /// A table's columns are to be features, and one holds no numbers.
    #[error(
        "has a column `{name}` of {what} among those of features: `embeddings` names the one that holds them"
    )]
    NoFeature {
        /// The column.
        name: String,
        /// `lists`, or `texts`.
        what: &'static str,
    },
    /// A column has fewer rows than another, or more.
    #[error("has {found} rows in `{name}`, but {wanted} in another column")]
    Uneven {
        /// The column.
        name: String,
        /// How many rows it has.
        found: usize,
        /// How many the other has.
        wanted: usize,
    },
    /// A column of lists has lists of several lengths.
    #[error("has a list of {found} values in row {row} of `{name}`: the first has {wanted}")]
    Ragged {
        /// The column.
        name: String,
        /// The row, counted from 0.
        row: usize,
        /// How many values it has.
        found: usize,
        /// How many the first has.
        wanted: usize,
    },
    /// It is not UTF-8.
    #[error("is not UTF-8 text: line {line} holds other bytes")]
    NotText {
        /// The line, counted from 1.
        line: usize,
    },
    /// Its table does not read.
    #[error("does not read as a table: {reason}")]
    Csv {
        /// What the table's reader says.
        reason: String,
    },
    /// A line has more cells than the first, or fewer.
    #[error("has {found} cells on line {line}: expected {wanted}")]
    Cells {
        /// The line, counted from 1.
        line: usize,
        /// How many cells it has.
        found: u64,
        /// How many the first line has.
        wanted: u64,
    },
    /// A line has something else than a number.
    #[error(
        "has {} on line {line}{}: expected a number{}",
        cell(found),
        in_column(column),
        beyond(found)
    )]
    Cell {
        /// What stands there.
        found: String,
        /// The line, counted from 1.
        line: usize,
        /// The name of the column, if it has one.
        column: String,
    },
    /// Its columns have no names.
    #[error("has several columns and no names: begin it with `{0},...`")]
    NoNames(&'static str),
    /// It has several arrays or columns, and none is called as expected.
    #[error("has no {what} `{name}`: it has {}{}", named(known), setting_of(*setting))]
    NoColumn {
        /// `tensor`, or `column`.
        what: &'static str,
        /// The name.
        name: String,
        /// The names there are.
        known: Vec<String>,
        /// The setting that gives the name, if there is one.
        setting: Option<&'static str>,
    },
    /// What was there is there no more.
    #[error("changed while it was read")]
    Gone,
    /// An index says that rows are missing, or there twice.
    #[error(
        "has index {found} in row {row}: expected each of 0 to {} once; rows that stand in order need no \
         index (`index=False`)",
        n.saturating_sub(1)
    )]
    Order {
        /// What stands there.
        found: i128,
        /// The row, counted from 0.
        row: usize,
        /// How many rows there are.
        n: usize,
    },
}

fn cell(found: &str) -> String {
    if found.is_empty() { "an empty cell".to_owned() } else { format!("`{found}`") }
}

fn in_column(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(", in column `{name}`") }
}

fn beyond(found: &str) -> &'static str {
    if found.parse::<f64>().is_ok() { " that a 32-bit float holds" } else { "" }
}

fn unread(name: &str) -> String {
    if name.is_empty() { "an array".to_owned() } else { format!("an array or list `{name}`") }
}

fn named(names: &[String]) -> String {
    let mut shown: Vec<String> = names.iter().take(NAMED).map(|one| format!("`{one}`")).collect();
    if names.len() > NAMED {
        shown.push(format!("{} others", names.len() - NAMED));
    }
    shown.join(", ")
}

fn setting_of(setting: Option<&'static str>) -> String {
    setting.map(|setting| format!("; `{setting}` names another")).unwrap_or_default()
}
