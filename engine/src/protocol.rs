//! Protocols: named recipes of the literature. A stage with `protocol = "…"` takes from it the settings
//! its own `with` leaves out; its key is that of a stage that writes them all down.

use crate::spec::{Span, TreeEntry, TreeNode, TreeValue, merge_deep, without};
use serde::Deserialize;
use std::{collections::BTreeMap, sync::Arc};

/// A named recipe: the settings it has for each method it speaks of.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protocol {
    /// What it is, in a line.
    pub summary: String,
    /// Where it comes from, and where it departs from that.
    pub source: String,
    /// The settings, by method.
    with: BTreeMap<String, toml::Table>,
}

/// Every protocol, by name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Protocols {
    /// Settings of which a stage has one: what a stage says of one takes the others of a protocol away.
    alternatives: Vec<Vec<String>>,
    #[serde(rename = "protocol")]
    pub(crate) all: BTreeMap<String, Protocol>,
}

impl Protocol {
    /// Returns the methods it speaks of.
    pub fn methods(&self) -> impl Iterator<Item = &str> {
        self.with.keys().map(String::as_str)
    }

    /// Returns what it sets of `method`: paths from `with`, and TOML values. Empty if it says nothing
    /// of it.
    #[must_use]
    pub fn settings(&self, method: &str) -> Vec<(String, String)> {
        let mut out = vec![];
        if let Some(table) = self.with.get(method) {
            flatten(table, "", &mut out);
        }
        out
    }
}

fn flatten(table: &toml::Table, before: &str, out: &mut Vec<(String, String)>) {
    for (key, value) in table {
        let path = format!("{before}{key}");
        match value {
            toml::Value::Table(inner) => flatten(inner, &format!("{path}."), out),
            other => out.push((path, other.to_string())),
        }
    }
}

impl Protocols {
    /// Returns `with` over what `protocol` sets of `method`, whose values all have `span`; `None` if it
    /// says nothing of it.
    pub(crate) fn fill(
        &self,
        protocol: &Protocol,
        method: &str,
        with: &TreeNode,
        span: Span,
    ) -> Option<TreeNode> {
        let mut base = table(protocol.with.get(method)?, span);
        let own = with.table();
        for group in &self.alternatives {
            let set = group.iter().any(|one| own.is_some_and(|own| own.contains_key(one.as_str())));
            if set {
                base = group.iter().fold(base, |base, one| without(&base, one));
            }
        }
        Some(merge_deep(&base, with))
    }
}

fn table(table: &toml::Table, span: Span) -> TreeNode {
    let entry = |(key, value): (&String, &toml::Value)| {
        (Arc::from(key.as_str()), TreeEntry { key: span, node: node(value, span) })
    };
    TreeNode { span, value: TreeValue::Table(Arc::new(table.iter().map(entry).collect())) }
}

fn node(value: &toml::Value, span: Span) -> TreeNode {
    let value = match value {
        toml::Value::String(text) => TreeValue::String(Arc::from(text.as_str())),
        toml::Value::Integer(number) => TreeValue::Integer(*number),
        toml::Value::Float(number) => TreeValue::Float(*number),
        toml::Value::Boolean(flag) => TreeValue::Boolean(*flag),
        toml::Value::Datetime(date) => TreeValue::Datetime(Arc::from(date.to_string())),
        toml::Value::Array(items) => {
            TreeValue::Array(Arc::new(items.iter().map(|item| node(item, span)).collect()))
        }
        toml::Value::Table(inner) => return table(inner, span),
    };
    TreeNode { span, value }
}
