//! Results put together that differ in averaged axes alone, each counted once.

use super::grid::CellResult;
use std::collections::{BTreeMap, BTreeSet};

/// The results of one row or condition. Cells that share a result (one key) measured it once, so
/// it is here once.
pub(crate) struct RepeatedResults<'a> {
    pub(crate) results: Vec<&'a CellResult>,
}

impl RepeatedResults<'_> {
    /// Returns how many results there are when all are computed.
    pub(crate) fn wanted(&self) -> usize {
        self.results.len()
    }

    /// Returns how many of them are computed.
    pub(crate) fn done(&self) -> usize {
        self.results.iter().filter(|result| result.metrics.is_some()).count()
    }

    /// Returns the values of each metric, in the order of the results.
    pub(crate) fn values(&self) -> BTreeMap<String, Vec<f64>> {
        let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        let done = self.results.iter().filter_map(|result| result.metrics.as_ref());
        for (name, metric) in done.flat_map(|metrics| &metrics.numbers) {
            values.entry(name.clone()).or_default().push(metric.value);
        }
        values
    }
}

/// Groups `results` by `key`. Groups stand in the order in which their keys are first met.
pub(crate) fn grouped<'a, K: Clone + Ord>(
    results: impl IntoIterator<Item = &'a CellResult>,
    key: impl Fn(&'a CellResult) -> K,
) -> Vec<(K, RepeatedResults<'a>)> {
    let mut groups: Vec<(K, RepeatedResults<'a>)> = vec![];
    let mut places: BTreeMap<K, usize> = BTreeMap::new();
    let mut met: BTreeSet<(usize, usize)> = BTreeSet::new();
    for result in results {
        let key = key(result);
        let place = *places.entry(key).or_insert_with_key(|key| {
            groups.push((key.clone(), RepeatedResults { results: vec![] }));
            groups.len() - 1
        });
        if met.insert((place, result.id)) {
            groups[place].1.results.push(result);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::{
        super::measured::{Measurements, MetricValue},
        *,
    };
    use serde_json::Value;
    use std::rc::Rc;

    #[test]
    fn cells_that_share_a_result_count_once_in_a_group() {
        let result = |label: &str, id, accuracy: Option<f64>| CellResult {
            label: label.to_owned(),
            coords: vec![],
            id,
            metrics: accuracy.map(|value| {
                let metric = MetricValue { value, whole: false };
                let numbers = BTreeMap::from([("accuracy".to_owned(), metric)]);
                Rc::new(Measurements { numbers, document: Value::Null })
            }),
            at: (0, 0),
        };
        let all = [
            result("b", 0, Some(0.5)),
            result("a", 0, Some(0.5)),
            result("b", 0, Some(0.5)),
            result("b", 1, Some(0.75)),
            result("b", 2, None),
        ];
        let groups = grouped(&all, |result| &*result.label);
        let names: Vec<&str> = groups.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["b", "a"]);
        assert_eq!((groups[0].1.wanted(), groups[0].1.done()), (3, 2));
        assert_eq!(groups[0].1.values()["accuracy"], [0.5, 0.75]);
        assert_eq!(groups[1].1.values()["accuracy"], [0.5]);
    }
}
