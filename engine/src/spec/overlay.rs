//! Laying one table over another: `extends`, `--set` and the cells of a matrix are all this.

use super::tree::{Entry, Node, Place, Table, Value};
use std::sync::Arc;

/// Returns `base` with `over` laid on it, both being tables of stages.
pub(crate) fn stages(base: &Node, over: &Node) -> Node {
    merged(base, over, stage)
}

/// Returns the stage `base` with `over` laid on it: `with` is merged key by key, all else is
/// replaced. A change of method takes the old method's own settings away.
pub(crate) fn stage(base: &Node, over: &Node) -> Node {
    let (Some(old), Some(new)) = (base.table(), over.table()) else { return over.clone() };
    let mut result: Table = (**old).clone();
    let method = |table: &Table| table.get("use").and_then(|entry| entry.node.str().cloned());
    let changes = new.contains_key("use") && method(old) != method(new);
    if changes && let Some(with) = result.get_mut("with") {
        with.node = without(&with.node, "rule");
    }
    for (key, entry) in new.iter() {
        let under = result.get(key);
        let node = match (&**key, under) {
            ("with", Some(under)) => deep(&under.node, &entry.node),
            _ => entry.node.clone(),
        };
        result.insert(Arc::clone(key), Entry { key: entry.key, node });
    }
    Node { place: base.place, value: Value::Table(Arc::new(result)) }
}

/// Returns `base` with `over` laid on it, tables being merged at every depth.
pub(crate) fn deep(base: &Node, over: &Node) -> Node {
    merged(base, over, deep)
}

/// Returns `base` with `over` laid on it, keys of `over` replacing those of `base`.
pub(crate) fn shallow(base: &Node, over: &Node) -> Node {
    merged(base, over, |_, over| over.clone())
}

fn merged(base: &Node, over: &Node, each: impl Fn(&Node, &Node) -> Node) -> Node {
    let (Some(old), Some(new)) = (base.table(), over.table()) else { return over.clone() };
    let mut result: Table = (**old).clone();
    for (key, entry) in new.iter() {
        let node = match old.get(key) {
            Some(under) => each(&under.node, &entry.node),
            None => entry.node.clone(),
        };
        result.insert(Arc::clone(key), Entry { key: entry.key, node });
    }
    Node { place: over.place, value: Value::Table(Arc::new(result)) }
}

/// Returns `node` without `key`.
pub(crate) fn without(node: &Node, key: &str) -> Node {
    match node.table() {
        Some(table) if table.contains_key(key) => {
            let mut table: Table = (**table).clone();
            table.remove(key);
            Node { place: node.place, value: Value::Table(Arc::new(table)) }
        }
        _ => node.clone(),
    }
}

/// Returns the tables that lead along `path` to `leaf`. Keys stand at `key`.
pub(crate) fn along(path: &[&str], key: Place, leaf: Node) -> Node {
    path.iter().rev().fold(leaf, |node, name| {
        let place = node.place;
        let table = Table::from([(Arc::from(*name), Entry { key, node })]);
        Node { place, value: Value::Table(Arc::new(table)) }
    })
}

/// Returns the paths `node`, an overlay of stages, sets: as deep as laying it on would replace.
pub(crate) fn leaves(node: &Node) -> Vec<Vec<Arc<str>>> {
    fn walk(node: &Node, path: &mut Vec<Arc<str>>, out: &mut Vec<Vec<Arc<str>>>) {
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
