//! What the results of a source measured.

use super::SECONDS;
use crate::sources::Source;
use cache::{Store, StoreError};
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Metric {
    pub(super) value: f64,
    pub(super) whole: bool,
}

/// What the results of a source measured.
pub(super) struct Measured {
    /// By computation, then by name.
    pub(super) metrics: BTreeMap<usize, BTreeMap<String, Metric>>,
    /// A line for each that cannot be read.
    pub(super) unread: Vec<String>,
}

/// Returns what each result of `source` measured, and the seconds of all it stands on.
pub(super) fn read(source: &Source, store: &Store) -> Result<Measured, StoreError> {
    read_with(source, store, &|at| source.nodes[at].provenance.as_ref().map(|made| made.seconds))
}

/// Does the same where `seconds` says what a computation took.
pub(super) fn read_with(
    source: &Source,
    store: &Store,
    seconds: &dyn Fn(usize) -> Option<f64>,
) -> Result<Measured, StoreError> {
    let mut found = Measured { metrics: BTreeMap::new(), unread: vec![] };
    for (at, node) in source.nodes.iter().enumerate() {
        let output = node.output.as_ref().filter(|_| !node.cells.is_empty());
        let Some(blob) = output.and_then(|output| output.parts.get("metrics")) else { continue };
        let mut metrics = match store.get(blob) {
            Ok(bytes) => numbers(&bytes),
            Err(StoreError::Damaged { what, .. }) => {
                found.unread.push(format!("{}: what it measured {what}", source.describe(at)));
                continue;
            }
            Err(error) => return Err(error),
        };
        // Each computation once; nothing if that of one is not known.
        let total: Option<f64> = source.behind(at).into_iter().map(seconds).sum();
        if let Some(value) = total {
            metrics.insert(SECONDS.to_owned(), Metric { value, whole: false });
        }
        found.metrics.insert(at, metrics);
    }
    Ok(found)
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
