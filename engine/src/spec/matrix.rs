//! The `[matrix]` table: axes, each a list of overlays.

use super::{
    Mistakes, SpecErrorKind, did_you_mean, overlay,
    tree::{Entry, Node, Place, Value, seed},
};
use std::{collections::BTreeMap, sync::Arc};

/// One axis: every value is an overlay of stages, or a seed.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    pub(crate) name: String,
    pub(crate) values: Vec<AxisValue>,
    /// The stages any of its values touches.
    pub(crate) touches: Vec<Arc<str>>,
}

/// One value of an axis.
#[derive(Clone, Debug)]
pub(crate) struct AxisValue {
    /// What it is called in tables: the value itself, or the variant's name.
    pub(crate) label: String,
    /// The tables to lay over the stages.
    pub(crate) over: Node,
    /// The seed of every stage without one of its own.
    pub(crate) seed: Option<u64>,
}

/// Returns the axes of `matrix`, in the order they stand in the file.
pub(crate) fn axes(matrix: &Node, stages: &Node, mistakes: &mut Mistakes) -> Vec<Axis> {
    let Some(table) = matrix.table() else { return vec![] };
    let mut entries: Vec<(&Arc<str>, &Entry)> = table.iter().collect();
    entries.sort_by_key(|(_, entry)| entry.key);
    let axes: Vec<Axis> = entries
        .into_iter()
        .filter_map(|(name, entry)| {
            let values = match &entry.node.value {
                Value::Array(items) => path_axis(name, entry.key, items, stages, mistakes)?,
                Value::Table(variants) => {
                    variant_axis(name, entry.key, variants, stages, mistakes)?
                }
                other => {
                    let why = format!("is {}, not a list of values", other.type_name());
                    let kind = SpecErrorKind::Axis { axis: name.to_string(), why };
                    mistakes.add(entry.node.place, kind, Some("write `[…]` around it".into()));
                    return None;
                }
            };
            if values.is_empty() {
                let kind = SpecErrorKind::Axis { axis: name.to_string(), why: "is empty".into() };
                mistakes.add(entry.node.place, kind, None);
                return None;
            }
            let mut touches: Vec<Arc<str>> = values
                .iter()
                .filter_map(|value| value.over.table())
                .flat_map(|table| table.keys().cloned())
                .collect();
            touches.sort();
            touches.dedup();
            Some(Axis { name: name.to_string(), values, touches })
        })
        .collect();
    overlaps(&axes, table, mistakes);
    axes
}

fn path_axis(
    name: &Arc<str>,
    key: Place,
    items: &[Node],
    stages: &Node,
    mistakes: &mut Mistakes,
) -> Option<Vec<AxisValue>> {
    let axis = |why: &str| SpecErrorKind::Axis { axis: name.to_string(), why: why.to_owned() };
    if &**name == "seed" {
        let seeds = items.iter().filter_map(|item| match (seed(item), &item.value) {
            (Ok(seed), _) => Some(AxisValue {
                label: seed.to_string(),
                over: Node::empty(item.place),
                seed: Some(seed),
            }),
            (Err((kind, hint)), Value::TooLarge(_)) => {
                mistakes.add(item.place, kind, hint);
                None
            }
            _ => {
                mistakes.add(item.place, axis("takes whole numbers, not negative"), None);
                None
            }
        });
        return Some(seeds.collect());
    }
    let path: Vec<&str> = name.split('.').collect();
    let known = stages.table()?;
    if !known.contains_key(path[0]) {
        let hint = did_you_mean(path[0], known.keys().map(|key| &**key));
        mistakes.add(key, axis("names no stage of this pipeline"), hint);
        return None;
    }
    if path.len() < 2 || !super::STAGE_KEYS.contains(&path[1]) {
        let hint = format!("write `{}.with.SETTING`, `{0}.use`, `{0}.from` or `{0}.seed`", path[0]);
        mistakes.add(key, axis("does not say what of the stage it sets"), Some(hint));
        return None;
    }
    let value = |item: &Node| AxisValue {
        label: label(item),
        over: overlay::along(&path, key, item.clone()),
        seed: None,
    };
    Some(items.iter().map(value).collect())
}

fn variant_axis(
    name: &Arc<str>,
    key: Place,
    variants: &BTreeMap<Arc<str>, Entry>,
    stages: &Node,
    mistakes: &mut Mistakes,
) -> Option<Vec<AxisValue>> {
    let axis = |why: &str| SpecErrorKind::Axis { axis: name.to_string(), why: why.to_owned() };
    let known = stages.table()?;
    if known.contains_key(name) && variants.keys().any(|key| super::STAGE_KEYS.contains(&&**key)) {
        let hint = format!("put the path in quotes: \"{name}.with.SETTING\" = [...]");
        mistakes.add(key, axis("is a table"), Some(hint));
        return None;
    }
    let mut sorted: Vec<(&Arc<str>, &Entry)> = variants.iter().collect();
    sorted.sort_by_key(|(_, entry)| entry.key);
    let mut values = vec![];
    for (label, entry) in sorted {
        let Some(table) = entry.node.table() else {
            mistakes.add(entry.node.place, axis("holds a variant that is not a table"), None);
            continue;
        };
        for (stage, entry) in table.iter() {
            let adds = entry.node.table().is_some_and(|table| table.contains_key("use"));
            if !known.contains_key(stage) && !adds {
                let kind = SpecErrorKind::UnknownStage(stage.to_string());
                let hint = did_you_mean(stage, known.keys().map(|key| &**key));
                mistakes.add(entry.key, kind, hint);
            }
        }
        values.push(AxisValue { label: label.to_string(), over: entry.node.clone(), seed: None });
    }
    Some(values)
}

// Two axes that set the same place would make a cell depend on the order of the axes.
fn overlaps(axes: &[Axis], table: &BTreeMap<Arc<str>, Entry>, mistakes: &mut Mistakes) {
    let paths: Vec<Vec<Vec<Arc<str>>>> = axes
        .iter()
        .map(|axis| {
            let mut all: Vec<_> =
                axis.values.iter().flat_map(|value| overlay::leaves(&value.over)).collect();
            all.retain(|path| !path.is_empty());
            all.sort();
            all.dedup();
            all
        })
        .collect();
    for (i, one) in paths.iter().enumerate() {
        for (j, other) in paths.iter().enumerate().skip(i + 1) {
            let clash =
                one.iter().flat_map(|a| other.iter().map(move |b| (a, b))).find(|(a, b)| {
                    let n = a.len().min(b.len());
                    a[..n] == b[..n]
                });
            if let Some((a, b)) = clash {
                let path = if a.len() < b.len() { b } else { a }.join(".");
                let (a, b) = (axes[i].name.clone(), axes[j].name.clone());
                let place = table.get(b.as_str()).map(|entry| entry.key).unwrap_or_default();
                mistakes.add(place, SpecErrorKind::AxesOverlap(a, b, path), None);
            }
        }
    }
}

fn label(node: &Node) -> String {
    match &node.value {
        Value::String(text) | Value::Datetime(text) | Value::TooLarge(text) => text.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(label).collect::<Vec<_>>().join(", "))
        }
        Value::Table(table) => {
            let inside: Vec<String> =
                table.iter().map(|(key, entry)| format!("{key}={}", label(&entry.node))).collect();
            format!("{{{}}}", inside.join(", "))
        }
    }
}
