//! What a result cost: seconds and samples of the proxy, the score, the selection and the student, and how
//! many students it takes until the selection has paid for itself.

use super::{MeasuredSource, MetricValue};
use crate::sources::{ResultSource, SourceNode};
use artifacts::network;
use cache::Store;
use std::{collections::BTreeMap, rc::Rc};

/// The metrics of a cost, in the order they are shown.
pub(crate) const COST: [&str; 7] = [
    "seconds_proxy",
    "seconds_score",
    "seconds_select",
    "seconds_train",
    "seen_proxy",
    "seen_train",
    "break_even",
];

/// Returns the metric of the seconds of a method, if it is a part of the cost.
fn seconds_of(method: &str) -> Option<&'static str> {
    let family = method.split('.').next().unwrap_or(method);
    let at = ["proxy-train", "score", "select", "train"].iter().position(|one| *one == family)?;
    Some(COST[at])
}

/// Adds to each result of `source` what it cost, as far as that is known. A computation that several results
/// stand on counts for each of them; one that was found in the store counts what it took when it was made.
pub(crate) fn add_costs(source: &ResultSource, store: &Store, measured: &mut MeasuredSource) {
    let seen: Vec<Option<u64>> = source.nodes.iter().map(|node| seen(node, store)).collect();
    for (at, measurements) in &mut measured.metrics {
        let mut cost: BTreeMap<&str, MetricValue> = BTreeMap::new();
        let mut add = |name, value, whole| {
            let one = cost.entry(name).or_insert(MetricValue { value: 0.0, whole });
            one.value += value;
        };
        let behind = source.behind(*at);
        for at in &behind {
            let node = &source.nodes[*at];
            let Some(name) = node.recipe.as_ref().and_then(|one| seconds_of(&one.method)) else {
                continue;
            };
            if let Some(seconds) = seconds(node) {
                add(name, seconds, false);
            }
            let samples = match name {
                "seconds_proxy" => Some("seen_proxy"),
                "seconds_train" => Some("seen_train"),
                _ => None,
            };
            if let (Some(name), Some(seen)) = (samples, seen[*at]) {
                add(name, seen as f64, true);
            }
        }
        let students: Vec<usize> =
            behind.into_iter().filter(|at| is_student(&source.nodes[*at])).collect();
        if let [student] = students[..] {
            let spent: f64 =
                COST[..3].iter().filter_map(|name| cost.get(name)).map(|m| m.value).sum();
            if let Some(value) = break_even(source, student, spent) {
                cost.insert("break_even", MetricValue { value, whole: false });
            }
        }
        let cost = cost.into_iter().map(|(name, value)| (name.to_owned(), value));
        Rc::make_mut(measurements).numbers.extend(cost);
    }
}

fn seconds(node: &SourceNode) -> Option<f64> {
    node.provenance.as_ref().map(|made| made.seconds)
}

fn is_student(node: &SourceNode) -> bool {
    node.recipe.as_ref().is_some_and(|recipe| recipe.method == "train")
}

/// Returns how many samples went through the network of a training, each as often as it did.
fn seen(node: &SourceNode, store: &Store) -> Option<u64> {
    let (recipe, output) = (node.recipe.as_ref()?, node.output.as_ref()?);
    let batch = recipe.settings["batch"].as_u64().filter(|batch| *batch > 0)?;
    match recipe.method.as_str() {
        "train" | "proxy-train" => network::open_samples_seen(store, output, batch).ok(),
        _ => None,
    }
}

/// Returns how many students like `student` take as long as the selection, which took `spent` seconds, and
/// they together, trained on everything; `None` if that is not in the source, or takes no longer.
fn break_even(source: &ResultSource, student: usize, spent: f64) -> Option<f64> {
    let node = &source.nodes[student];
    let full = source.nodes.iter().find(|other| is_full(source, other, node))?;
    let saved = seconds(full)? - seconds(node)?;
    (saved > 0.0 && spent > 0.0).then(|| spent / saved)
}

/// Whether `other` is `student`, trained on everything: with the same settings, data and seed.
fn is_full(source: &ResultSource, other: &SourceNode, student: &SourceNode) -> bool {
    let (Some(one), Some(two)) = (&other.recipe, &student.recipe) else { return false };
    let everything = || {
        other.inputs.iter().any(|input| {
            let recipe = source.nodes[*input].recipe.as_ref();
            recipe.is_some_and(|recipe| recipe.method == "select.full")
        })
    };
    one.method == two.method
        && one.settings == two.settings
        && one.seed == two.seed
        && one.inputs.get("data") == two.inputs.get("data")
        && (!one.inputs.contains_key("subset") || everything())
}
