//! What the targets of a plan measured.

use super::SECONDS;
use cache::{Artifact, Store, StoreError};
use engine::{NodeId, Plan};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What one target of one cell gave.
pub(super) struct Outcome<'a> {
    pub(super) cell: usize,
    pub(super) target: NodeId,
    pub(super) label: &'a str,
    /// By name; `None` if it is not computed.
    pub(super) metrics: Option<BTreeMap<String, Metric>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Metric {
    pub(super) value: f64,
    pub(super) whole: bool,
}

/// Returns what each target of each cell gave, and a line for each that cannot be read.
pub(super) fn read<'a>(
    plan: &'a Plan,
    store: &Store,
    output: impl Fn(NodeId) -> Option<&'a Artifact>,
    seconds: impl Fn(NodeId) -> Option<f64>,
) -> Result<(Vec<Outcome<'a>>, Vec<String>), StoreError> {
    let (mut results, mut unread) = (vec![], vec![]);
    let mut known: BTreeMap<NodeId, Option<BTreeMap<String, Metric>>> = BTreeMap::new();
    let mut seconds_of: BTreeMap<NodeId, Option<f64>> = BTreeMap::new();
    for (number, cell) in plan.cells.iter().enumerate() {
        for target in &cell.targets {
            let node = plan.node(*target);
            if node.stage.output().0 != "metrics" {
                continue;
            }
            if !known.contains_key(target) {
                let mut metrics = match output(*target).and_then(|one| one.parts.get("metrics")) {
                    None => None,
                    Some(blob) => match store.get(blob) {
                        Ok(bytes) => Some(numbers(&bytes)),
                        Err(StoreError::Damaged { what, .. }) => {
                            unread.push(format!(
                                "{}: what it measured {what}",
                                plan.describe(*target)
                            ));
                            None
                        }
                        Err(error) => return Err(error),
                    },
                };
                if let Some(metrics) = &mut metrics
                    && let Some(value) = total(plan, *target, &seconds, &mut seconds_of)
                {
                    metrics.insert(SECONDS.to_owned(), Metric { value, whole: false });
                }
                known.insert(*target, metrics);
            }
            let metrics = known[target].clone();
            results.push(Outcome { cell: number, target: *target, label: &node.label, metrics });
        }
    }
    Ok((results, unread))
}

/// Returns the numbers of a metrics object; what is nested is not for tables.
pub(super) fn numbers(bytes: &[u8]) -> BTreeMap<String, Metric> {
    let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let number = |(name, value): (&String, &Value)| {
        let whole = value.is_i64() || value.is_u64();
        Some((name.clone(), Metric { value: value.as_f64()?, whole }))
    };
    value.as_object().into_iter().flatten().filter_map(number).collect()
}

/// Returns the seconds of `target` and all it stands on, each computation once; `None` if those
/// of one are not known.
fn total(
    plan: &Plan,
    target: NodeId,
    seconds: &impl Fn(NodeId) -> Option<f64>,
    known: &mut BTreeMap<NodeId, Option<f64>>,
) -> Option<f64> {
    let (mut open, mut seen) = (vec![target], BTreeSet::from([target]));
    while let Some(node) = open.pop() {
        let sources = plan.node(node).inputs.iter().map(|(_, source)| *source);
        open.extend(sources.filter(|source| seen.insert(*source)));
    }
    seen.into_iter().map(|node| *known.entry(node).or_insert_with(|| seconds(node))).sum()
}
