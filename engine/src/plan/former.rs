//! Reading a stage as it was written before its method or a setting got another name.

use crate::{
    Becomes, Registry, Renamed,
    spec::{Span, TreeEntry, TreeNode, TreeTable, TreeValue, merge_deep, nest, without},
};
use std::sync::Arc;

/// A stage as it would be written now.
pub(super) struct Current<'a> {
    /// The method.
    pub(super) method: &'a str,
    /// Its settings, every one with the span it had.
    pub(super) with: TreeNode,
    /// What was read as something else, and where it stands.
    pub(super) renamed: Vec<(Span, Renamed)>,
}

impl<'a> Current<'a> {
    /// Reads `method` with the settings `with` as `registry` says.
    pub(super) fn of(method: &'a str, with: TreeNode, registry: &'a Registry) -> Self {
        let mut current = Self { method, with, renamed: vec![] };
        while registry.renamed().iter().any(|one| current.apply(one)) {}
        current
    }

    /// Applies `renamed` if it fits. Where the new place is taken, it does not.
    fn apply(&mut self, renamed: &Renamed) -> bool {
        if renamed.method != self.method {
            return false;
        }
        let Some(entry) = entry(&self.with, renamed.setting) else { return false };
        let span = entry.key;
        if renamed.value.is_some_and(|value| entry.node.str().is_none_or(|one| **one != *value)) {
            return false;
        }
        let replacement = match renamed.becomes {
            Becomes::Nothing => None,
            Becomes::Moved(path) if path == renamed.setting => None,
            Becomes::Moved(path) => Some((path, entry.node.clone())),
            Becomes::Value(path, value) => {
                let value = TreeValue::String(Arc::from(value));
                Some((path, TreeNode { span: entry.node.span, value }))
            }
        };
        if replacement.as_ref().is_some_and(|(path, _)| self::entry(&self.with, path).is_some()) {
            return false;
        }
        let mut with = self.with.clone();
        if !matches!(renamed.becomes, Becomes::Moved(path) if path == renamed.setting) {
            with = removed(&with, renamed.setting);
        }
        let (_, beside) = renamed.setting.split_last().expect("a path is not empty");
        for name in renamed.unused {
            with = removed(&with, &[beside, &[*name]].concat());
        }
        if let Some((path, node)) = replacement {
            with = merge_deep(&with, &nest(path, span, node));
        }
        self.with = with;
        self.method = renamed.now;
        self.renamed.push((span, *renamed));
        true
    }
}

fn entry<'a>(node: &'a TreeNode, path: &[&str]) -> Option<&'a TreeEntry> {
    let (first, rest) = path.split_first()?;
    let entry = node.table()?.get(*first)?;
    if rest.is_empty() { Some(entry) } else { self::entry(&entry.node, rest) }
}

/// Returns `node` without what stands at `path`.
fn removed(node: &TreeNode, path: &[&str]) -> TreeNode {
    let Some((first, rest)) = path.split_first() else { return node.clone() };
    if rest.is_empty() {
        return without(node, first);
    }
    let Some(table) = node.table() else { return node.clone() };
    let Some(inner) = table.get(*first) else { return node.clone() };
    let mut table: TreeTable = (**table).clone();
    let node_now = removed(&inner.node, rest);
    table.insert(Arc::from(*first), TreeEntry { key: inner.key, node: node_now });
    TreeNode { span: node.span, value: TreeValue::Table(Arc::new(table)) }
}
