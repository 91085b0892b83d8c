//! The metrics of a source's results, read from the store.

use super::SECONDS;
use crate::{
    context::{Failure, chain},
    sources::ResultSource,
};
use cache::{Artifact, Store, StoreError};
use serde_json::Value;
use std::{collections::BTreeMap, rc::Rc};

/// The part of an artifact that holds metrics, as a JSON object.
const PART: &str = artifacts::parts::METRICS.0;

/// A number an evaluation measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MetricValue {
    pub(crate) value: f64,
    /// Whether it was written as an integer.
    pub(crate) whole: bool,
}

/// The metrics of one evaluation.
#[derive(Clone)]
pub(crate) struct Measurements {
    /// Its numbers, by name.
    pub(crate) numbers: BTreeMap<String, MetricValue>,
    /// The JSON object it wrote, with what is nested: the confusion matrix, the class names.
    pub(crate) document: Value,
}

impl Measurements {
    /// Reads the JSON object of an evaluation.
    fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let document: Value = serde_json::from_slice(bytes)?;
        Ok(Self { numbers: numbers(&document), document })
    }

    /// Returns the number called `metric`.
    pub(crate) fn value(&self, metric: &str) -> Option<f64> {
        Some(self.numbers.get(metric)?.value)
    }
}

/// The metrics of a source's results.
pub(crate) struct MeasuredSource {
    /// By computation.
    pub(crate) metrics: BTreeMap<usize, Rc<Measurements>>,
    /// The computations whose metrics cannot be read.
    pub(crate) unread: Vec<Unread>,
}

/// Metrics that are in the store and cannot be read.
pub(crate) struct Unread {
    at: usize,
    cause: UnreadCause,
}

enum UnreadCause {
    Damaged(StoreError),
    NotJson(serde_json::Error),
}

impl Unread {
    /// Returns a line that says so of a computation of `source`.
    pub(crate) fn line(&self, source: &ResultSource) -> String {
        let name = source.describe(self.at);
        match &self.cause {
            UnreadCause::Damaged(StoreError::Damaged { what, .. }) => {
                format!("{name}: what it measured {what}")
            }
            UnreadCause::Damaged(error) => format!("{name}: {}", chain(error)),
            UnreadCause::NotJson(error) => format!("{name}: what it measured is not JSON: {error}"),
        }
    }

    /// Returns the failure it is where every result is needed.
    pub(crate) fn into_failure(self, source: &ResultSource) -> Failure {
        match self.cause {
            UnreadCause::Damaged(error) => error.into(),
            UnreadCause::NotJson(error) => {
                let name = source.describe(self.at);
                Failure::failed(format!("{name}: part `{PART}` does not read")).because(error)
            }
        }
    }
}

/// Returns the metrics of each result of `source`, and the seconds of all it stands on.
pub(crate) fn read(source: &ResultSource, store: &Store) -> Result<MeasuredSource, StoreError> {
    read_with(source, store, &|at| source.nodes[at].provenance.as_ref().map(|made| made.seconds))
}

/// Returns the same where `seconds` says what a computation took.
pub(crate) fn read_with(
    source: &ResultSource,
    store: &Store,
    seconds: &dyn Fn(usize) -> Option<f64>,
) -> Result<MeasuredSource, StoreError> {
    let mut found = MeasuredSource { metrics: BTreeMap::new(), unread: vec![] };
    for (at, node) in source.nodes.iter().enumerate() {
        let output = node.output.as_ref().filter(|_| !node.cells.is_empty());
        let Some(blob) = output.and_then(|output| output.parts.get(PART)) else { continue };
        let read = match store.get(blob) {
            Ok(bytes) => Measurements::read(&bytes).map_err(UnreadCause::NotJson),
            Err(error @ StoreError::Damaged { .. }) => Err(UnreadCause::Damaged(error)),
            Err(error) => return Err(error),
        };
        let mut measurements = match read {
            Ok(measurements) => measurements,
            Err(cause) => {
                found.unread.push(Unread { at, cause });
                continue;
            }
        };
        // Each computation once; nothing if that of one is not known.
        let total: Option<f64> = source.behind(at).into_iter().map(seconds).sum();
        if let Some(value) = total {
            measurements.numbers.insert(SECONDS.to_owned(), MetricValue { value, whole: false });
        }
        found.metrics.insert(at, Rc::new(measurements));
    }
    Ok(found)
}

/// Returns the numbers an artifact of metrics holds, by name; of any other artifact, none.
pub(crate) fn metrics_of(
    artifact: &Artifact,
    store: &Store,
) -> Result<BTreeMap<String, f64>, Failure> {
    let Some(blob) = artifact.parts.get(PART) else { return Ok(BTreeMap::new()) };
    let measurements = Measurements::read(&store.get(blob)?)
        .map_err(|error| Failure::failed(format!("part `{PART}` does not read")).because(error))?;
    Ok(measurements.numbers.into_iter().map(|(name, metric)| (name, metric.value)).collect())
}

/// Returns the numbers of a metrics object, without what is nested.
fn numbers(document: &Value) -> BTreeMap<String, MetricValue> {
    let number = |(name, value): (&String, &Value)| {
        let whole = value.is_i64() || value.is_u64();
        Some((name.clone(), MetricValue { value: value.as_f64()?, whole }))
    };
    document.as_object().into_iter().flatten().filter_map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_numbers_of_an_object_are_metrics() {
        let text = br#"{"accuracy": 0.5, "train_samples": 144, "per_class": [1], "of": {}}"#;
        let read = Measurements::read(text).expect("JSON");
        assert_eq!(read.numbers.len(), 2);
        assert_eq!(read.numbers["train_samples"], MetricValue { value: 144.0, whole: true });
        assert_eq!(read.value("accuracy"), Some(0.5));
        assert_eq!(read.document["per_class"][0], 1);
        assert!(Measurements::read(b"{\"accuracy\": 0.").is_err(), "a torn file is no empty one");
    }
}
