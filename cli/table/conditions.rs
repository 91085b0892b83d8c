//! Under which conditions a table's numbers were made: how long networks trained and on what, and which
//! reading of a score was taken. The lines under the table.

use crate::{
    output::thousands,
    sources::{ResultSource, SourceNode},
};
use cache::{Digest, Store};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// More readings of one stage than these are told as their count.
const LISTED: usize = 3;

/// Returns a line for each stage that trains a network, and for each score that has several readings.
pub(super) fn lines(sources: &[ResultSource], store: &Store) -> Vec<String> {
    let mut stages: BTreeMap<(usize, &str), BTreeSet<String>> = BTreeMap::new();
    let mut order = vec![];
    let mut sizes = BTreeMap::new();
    for source in sources {
        for node in &source.nodes {
            let Some(recipe) = &node.recipe else { continue };
            let told = match recipe.method.as_str() {
                "train" => {
                    training(&recipe.settings, full_set(source, node, store, &mut sizes), true)
                }
                "proxy-train" => {
                    training(&recipe.settings, full_set(source, node, store, &mut sizes), false)
                }
                method if method.starts_with("score.") => match reading(&recipe.settings["rule"]) {
                    Some(reading) => format!("{method}, {reading}"),
                    None => continue,
                },
                _ => continue,
            };
            let rank = usize::from(recipe.method.starts_with("score."))
                + usize::from(recipe.method != "train");
            let stage = (rank, node.label.as_str());
            if !order.contains(&stage) {
                order.push(stage);
            }
            stages.entry(stage).or_default().insert(told);
        }
    }
    order.sort_by_key(|(rank, _)| *rank);
    order.iter().map(|stage| line(stage.1, &stages[stage])).collect()
}

fn line(stage: &str, readings: &BTreeSet<String>) -> String {
    match readings.len() {
        1..=LISTED => {
            let all: Vec<&str> = readings.iter().map(String::as_str).collect();
            format!("{stage}: {}", all.join("; or "))
        }
        count => format!("{stage}: {count} different settings"),
    }
}

/// Returns how a network was trained. A student is told by the epochs of the full set that its steps are.
fn training(settings: &Value, n: Option<usize>, is_student: bool) -> String {
    let batch = settings["batch"].as_u64().unwrap_or(0);
    let length = match (settings["iterations"].as_u64(), settings["epochs"].as_u64()) {
        (Some(steps), _) => {
            let epochs = n.filter(|n| *n > 0).map(|n| steps as f64 * batch as f64 / n as f64);
            let epochs = epochs.map(|epochs| format!(" ({epochs:.1} epochs of the full set)"));
            format!("{} steps of {batch}{}", thousands(steps as usize), epochs.unwrap_or_default())
        }
        (None, Some(epochs)) => {
            let what = if is_student { " of its subset" } else { "" };
            format!("{epochs} epochs{what} in batches of {batch}")
        }
        (None, None) => String::new(),
    };
    let word = |name: &str| settings[name].as_str().unwrap_or_default().to_owned();
    let mut parts = vec![
        word("model"),
        length,
        format!("{} at {}", word("optimizer"), settings["lr"]),
        settings["schedule"]["kind"].as_str().unwrap_or_default().to_owned(),
    ];
    match word("augment").as_str() {
        "" | "none" => {}
        augment => parts.push(augment.to_owned()),
    }
    match (word("sampler").as_str(), settings["sampler-keep"].as_f64()) {
        ("", _) => {}
        (sampler, Some(keep)) => parts.push(format!("sampler {sampler} of {keep}")),
        (sampler, None) => parts.push(format!("sampler {sampler}")),
    }
    if !is_student {
        parts.push(format!("record {}", word("record")));
    }
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}

/// Returns the words among a score's settings: which of several readings it is.
fn reading(rule: &Value) -> Option<String> {
    let words = rule
        .as_object()?
        .iter()
        .filter_map(|(name, value)| value.as_str().map(|value| format!("{name} {value}")));
    let words: Vec<String> = words.collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// Returns how many training samples the data set under a training has. `sizes` are those known, by the
/// digest of the data set: trainings share them.
fn full_set(
    source: &ResultSource,
    node: &SourceNode,
    store: &Store,
    sizes: &mut BTreeMap<Digest, Option<usize>>,
) -> Option<usize> {
    let mut outputs = node.inputs.iter().filter_map(|input| source.nodes[*input].output.as_ref());
    let data = outputs.find(|output| output.kind == artifacts::parts::DATA.0)?;
    let size = || Some(artifacts::dataset::open_meta(store, data).ok()?.train);
    *sizes.entry(data.digest()).or_insert_with(size)
}
