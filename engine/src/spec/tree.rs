//! A pipeline file as a tree of TOML values, with the span of every key and value.

use super::SpecErrorKind;
use std::{collections::BTreeMap, ops::Range, sync::Arc};
use toml::de::{DeTable, DeValue};

/// The span of a key or value: its source, and its bytes there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The index of the source in the spec's sources.
    pub source: u32,
    /// The first byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    pub(crate) fn new(source: u32, span: &Range<usize>) -> Self {
        let byte = |n: usize| u32::try_from(n).expect("a source is shorter than 4 GiB");
        Self { source, start: byte(span.start), end: byte(span.end) }
    }

    /// Returns the bytes as a range.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A value and its span.
#[derive(Clone, Debug)]
pub(crate) struct TreeNode {
    pub(crate) span: Span,
    pub(crate) value: TreeValue,
}

/// A table: values by key. Tables are shared, so a cell of a matrix copies only what it changes.
pub(crate) type TreeTable = BTreeMap<Arc<str>, TreeEntry>;

/// The span of a key, and its value.
#[derive(Clone, Debug)]
pub(crate) struct TreeEntry {
    pub(crate) key: Span,
    pub(crate) node: TreeNode,
}

#[derive(Clone, Debug)]
pub(crate) enum TreeValue {
    String(Arc<str>),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// A date or time. No setting takes one, for JSON has none.
    Datetime(Arc<str>),
    /// A number that neither an integer nor a float can hold, as it is written.
    TooLarge(Arc<str>),
    Array(Arc<Vec<TreeNode>>),
    Table(Arc<TreeTable>),
}

impl TreeValue {
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Datetime(_) => "a date",
            Self::TooLarge(_) => "a number too large to hold",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

impl TreeNode {
    pub(crate) fn table(&self) -> Option<&Arc<TreeTable>> {
        match &self.value {
            TreeValue::Table(table) => Some(table),
            _ => None,
        }
    }

    pub(crate) fn str(&self) -> Option<&Arc<str>> {
        match &self.value {
            TreeValue::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn empty(span: Span) -> Self {
        Self { span, value: TreeValue::Table(Arc::default()) }
    }
}

/// Returns `table` as a tree whose spans are in `source`.
pub(crate) fn from_toml(source: u32, table: &toml::Spanned<DeTable<'_>>) -> TreeNode {
    let span = Span::new(source, &table.span());
    TreeNode { span, value: TreeValue::Table(Arc::new(entries(source, table.get_ref()))) }
}

fn entries(source: u32, table: &DeTable<'_>) -> TreeTable {
    table
        .iter()
        .map(|(key, value)| {
            let node = node(source, value);
            let entry = TreeEntry { key: Span::new(source, &key.span()), node };
            (Arc::from(key.get_ref().as_ref()), entry)
        })
        .collect()
}

fn node(source: u32, value: &toml::Spanned<DeValue<'_>>) -> TreeNode {
    let span = Span::new(source, &value.span());
    let value = match value.get_ref() {
        DeValue::String(text) => TreeValue::String(Arc::from(text.as_ref())),
        DeValue::Integer(number) => integer(number.as_str(), number.radix()),
        DeValue::Float(number) => float(number.as_str()),
        DeValue::Boolean(flag) => TreeValue::Boolean(*flag),
        DeValue::Datetime(date) => TreeValue::Datetime(Arc::from(date.to_string())),
        DeValue::Array(items) => {
            TreeValue::Array(Arc::new(items.iter().map(|item| node(source, item)).collect()))
        }
        DeValue::Table(table) => TreeValue::Table(Arc::new(entries(source, table))),
    };
    TreeNode { span, value }
}

fn integer(text: &str, radix: u32) -> TreeValue {
    i64::from_str_radix(text, radix).map_or_else(
        |_| {
            let prefix = match radix {
                2 => "0b",
                8 => "0o",
                16 => "0x",
                _ => "",
            };
            TreeValue::TooLarge(Arc::from(format!("{prefix}{text}")))
        },
        TreeValue::Integer,
    )
}

// `-0.0` becomes `0.0`: they compute the same, and must have one key.
fn float(text: &str) -> TreeValue {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() || !text.contains(|c: char| c.is_ascii_digit()) => {
            TreeValue::Float(number + 0.0)
        }
        _ => TreeValue::TooLarge(Arc::from(text)),
    }
}

/// Returns why JSON, in which records are written, cannot hold `value` (NaN, an infinity, a date),
/// and a hint. Lists and tables are not searched.
pub(crate) fn not_json(value: &TreeValue) -> Option<(String, &'static str)> {
    match value {
        TreeValue::Float(number) if !number.is_finite() => Some((
            format!("`{}` is not a finite number", number.to_string().to_lowercase()),
            "keys and records cannot hold it: write a string, or leave the setting out",
        )),
        TreeValue::TooLarge(text) if text.contains(['.', 'e', 'E']) && !text.starts_with("0x") => {
            Some((
                format!("`{text}` is too large: floats go up to 1.8e308"),
                "write a smaller number, or a string",
            ))
        }
        TreeValue::TooLarge(text) => Some((
            format!("`{text}` is too large: integers go from {} to {}", i64::MIN, i64::MAX),
            "write a smaller number, a float, or a string",
        )),
        TreeValue::Datetime(text) => {
            Some((format!("`{text}` is a date, and no setting takes one"), "write it in quotes"))
        }
        _ => None,
    }
}

/// Returns `node` as a seed.
///
/// # Errors
///
/// Returns the mistake and a hint, if it is no seed.
pub(crate) fn seed(node: &TreeNode) -> Result<u64, (SpecErrorKind, Option<String>)> {
    match &node.value {
        TreeValue::Integer(seed) if *seed >= 0 => Ok(seed.cast_unsigned()),
        TreeValue::Integer(_) => Err((SpecErrorKind::NegativeSeed, None)),
        TreeValue::TooLarge(text) => {
            Err((SpecErrorKind::SeedTooLarge { found: text.to_string() }, None))
        }
        other => {
            let kind = SpecErrorKind::WrongType {
                what: "`seed`".to_owned(),
                wanted: "an integer",
                found: other.type_name(),
            };
            Err((kind, None))
        }
    }
}
