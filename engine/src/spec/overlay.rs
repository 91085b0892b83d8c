//! Overlays: merging one table over another, for `extends`, `--set` and the cells of a matrix.

use super::tree::{Span, TreeEntry, TreeNode, TreeTable, TreeValue};
use std::sync::Arc;

/// Returns `over` merged over `base`, both being tables of stages.
pub(crate) fn merge_stages(base: &TreeNode, over: &TreeNode) -> TreeNode {
    merge_with(base, over, merge_stage)
}

/// Returns the stage `over` merged over `base`: `with` is merged at every depth, other keys are
/// replaced. If the method changes, the old method's `rule` table is dropped.
pub(crate) fn merge_stage(base: &TreeNode, over: &TreeNode) -> TreeNode {
    let (Some(old), Some(new)) = (base.table(), over.table()) else { return over.clone() };
    let mut result: TreeTable = (**old).clone();
    let method = |table: &TreeTable| table.get("use").and_then(|entry| entry.node.str().cloned());
    let changes = new.contains_key("use") && method(old) != method(new);
    if changes && let Some(with) = result.get_mut("with") {
        with.node = without(&with.node, "rule");
    }
    for (key, entry) in new.iter() {
        let under = result.get(key);
        let node = match (&**key, under) {
            ("with", Some(under)) => merge_deep(&under.node, &entry.node),
            _ => entry.node.clone(),
        };
        result.insert(Arc::clone(key), TreeEntry { key: entry.key, node });
    }
    TreeNode { span: base.span, value: TreeValue::Table(Arc::new(result)) }
}

/// Returns `over` merged over `base`, with tables merged at every depth.
pub(crate) fn merge_deep(base: &TreeNode, over: &TreeNode) -> TreeNode {
    merge_with(base, over, merge_deep)
}

/// Returns `over` merged over `base`, with keys of `over` replacing those of `base`.
pub(crate) fn merge_shallow(base: &TreeNode, over: &TreeNode) -> TreeNode {
    merge_with(base, over, |_, over| over.clone())
}

fn merge_with(
    base: &TreeNode,
    over: &TreeNode,
    each: impl Fn(&TreeNode, &TreeNode) -> TreeNode,
) -> TreeNode {
    let (Some(old), Some(new)) = (base.table(), over.table()) else { return over.clone() };
    let mut result: TreeTable = (**old).clone();
    for (key, entry) in new.iter() {
        let node = match old.get(key) {
            Some(under) => each(&under.node, &entry.node),
            None => entry.node.clone(),
        };
        result.insert(Arc::clone(key), TreeEntry { key: entry.key, node });
    }
    TreeNode { span: over.span, value: TreeValue::Table(Arc::new(result)) }
}

/// Returns `node` without `key`.
pub(crate) fn without(node: &TreeNode, key: &str) -> TreeNode {
    match node.table() {
        Some(table) if table.contains_key(key) => {
            let mut table: TreeTable = (**table).clone();
            table.remove(key);
            TreeNode { span: node.span, value: TreeValue::Table(Arc::new(table)) }
        }
        _ => node.clone(),
    }
}

/// Returns nested tables with `leaf` at `path`. Every key has the span `key`.
pub(crate) fn nest(path: &[&str], key: Span, leaf: TreeNode) -> TreeNode {
    path.iter().rev().fold(leaf, |node, name| {
        let span = node.span;
        let table = TreeTable::from([(Arc::from(*name), TreeEntry { key, node })]);
        TreeNode { span, value: TreeValue::Table(Arc::new(table)) }
    })
}

/// Returns the paths that `node`, an overlay of stages, sets: down to the depth at which merging
/// replaces.
pub(crate) fn paths_set(node: &TreeNode) -> Vec<Vec<Arc<str>>> {
    fn walk(node: &TreeNode, path: &mut Vec<Arc<str>>, out: &mut Vec<Vec<Arc<str>>>) {
        let descend = match path.len() {
            0 | 1 => true,
            _ => &*path[1] == "with",
        };
        match node.table() {
            Some(table) if descend && !table.is_empty() => {
                for (key, entry) in table.iter() {
                    path.push(Arc::clone(key));
                    walk(&entry.node, path, out);
                    path.pop();
                }
            }
            _ => out.push(path.clone()),
        }
    }
    let mut out = vec![];
    walk(node, &mut vec![], &mut out);
    out
}
