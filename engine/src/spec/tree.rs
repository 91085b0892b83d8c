//! A pipeline file as a tree in which every key and value knows its place.

use std::{collections::BTreeMap, ops::Range, sync::Arc};
use toml::de::{DeTable, DeValue};

/// Where a key or value stands: which source, and which bytes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The source, as an index into the spec's sources.
    pub source: u16,
    /// The first byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Place {
    pub(crate) fn new(source: u16, span: &Range<usize>) -> Self {
        let clip = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { source, start: clip(span.start), end: clip(span.end) }
    }

    /// Returns the bytes as a range.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// The keys of a table. Tables are shared: a cell of a matrix copies only what it changes.
pub(crate) type Table = BTreeMap<Arc<str>, Entry>;

/// A key's place and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Place,
    pub(crate) node: Node,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    String(Arc<str>),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime(Arc<str>),
    Array(Arc<Vec<Node>>),
    Table(Arc<Table>),
}

impl Value {
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Datetime(_) => "a date",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

impl Node {
    pub(crate) fn table(&self) -> Option<&Arc<Table>> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    pub(crate) fn str(&self) -> Option<&Arc<str>> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn empty(place: Place) -> Self {
        Self { place, value: Value::Table(Arc::default()) }
    }
}

/// Returns `table` as a tree whose places are in `source`.
pub(crate) fn from_toml(source: u16, table: &toml::Spanned<DeTable<'_>>) -> Node {
    let place = Place::new(source, &table.span());
    Node { place, value: Value::Table(Arc::new(entries(source, table.get_ref()))) }
}

fn entries(source: u16, table: &DeTable<'_>) -> Table {
    table
        .iter()
        .map(|(key, value)| {
            let node = node(source, value);
            let entry = Entry { key: Place::new(source, &key.span()), node };
            (Arc::from(key.get_ref().as_ref()), entry)
        })
        .collect()
}

fn node(source: u16, value: &toml::Spanned<DeValue<'_>>) -> Node {
    let place = Place::new(source, &value.span());
    let value = match value.get_ref() {
        DeValue::String(text) => Value::String(Arc::from(text.as_ref())),
        DeValue::Integer(number) => {
            match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                // Too long for an integer: kept as text, which no numeric setting accepts.
                Err(_) => Value::Datetime(Arc::from(number.as_str())),
            }
        }
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .map_or_else(|_| Value::Datetime(Arc::from(number.as_str())), Value::Float),
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Datetime(date) => Value::Datetime(Arc::from(date.to_string())),
        DeValue::Array(items) => {
            Value::Array(Arc::new(items.iter().map(|item| node(source, item)).collect()))
        }
        DeValue::Table(table) => Value::Table(Arc::new(entries(source, table))),
    };
    Node { place, value }
}
