//! What a loader tells of the data set it read: samples, shape and classes, in a line of the log.

use artifacts::{ClassId, columns::SampleColumns, dataset::DatasetMeta};
use std::collections::BTreeMap;

/// Of more classes than these, only the fewest and the most samples are told.
const EACH: usize = 12;
/// More names than these are told as their count.
const NAMED: usize = 10;

/// Returns what was loaded: how many samples of which shape and how many of each class, to train on and to
/// test on. A second line names the classes without a sample to train on, others
/// name classes that are called alike, and say that there is one class alone.
pub(super) fn lines(meta: &DatasetMeta, train: &[ClassId], test: &[ClassId]) -> Vec<String> {
    let classes = meta.classes.len();
    let (train, test) = (counts(train, classes), counts(test, classes));
    let (n, m) = (train.iter().sum::<usize>(), test.iter().sum::<usize>());
    let told = if classes <= EACH {
        let each = meta.classes.iter().zip(train.iter().zip(&test));
        let each = each.map(|(name, (train, test))| format!("`{name}` {train} + {test}"));
        each.collect::<Vec<_>>().join(", ")
    } else {
        format!("{} to train on and {} to test on of each", between(&train), between(&test))
    };
    let kind = if classes == 1 { "class" } else { "classes" };
    let shape = &meta.sample;
    let mut lines = vec![format!("{n} + {m} samples of {shape:?} in {classes} {kind}: {told}")];
    let empty = meta.classes.iter().zip(&train).filter(|(_, n)| **n == 0);
    let empty: Vec<&str> = empty.map(|(name, _)| name.as_str()).collect();
    if !empty.is_empty() {
        lines.push(format!("no sample to train on of {}", some(&empty)));
    }
    if classes > 2 && meta.classes.iter().any(|name| name == "-1") {
        lines.push("`-1` is a class here: leave out its samples if they have no label".to_owned());
    }
    if let Some([a, b]) = alike(&meta.classes) {
        lines.push(format!(
            "the classes `{a}` and `{b}` differ in capitals or blanks alone: are they one?"
        ));
    }
    if let [only] = &meta.classes[..]
        && only != super::features::UNLABELLED
    {
        lines.push(format!("all samples are of one class, `{only}`: nothing can be told apart"));
    }
    lines
}

/// Returns the first two names of classes that differ in capitals or in blanks around them alone.
fn alike(classes: &[String]) -> Option<[&str; 2]> {
    let mut seen = BTreeMap::new();
    classes.iter().find_map(|name| {
        let before = seen.insert(name.trim().to_lowercase(), name.as_str());
        before.map(|before| [before, name.as_str()])
    })
}

/// Returns a line about the ids and counts of the training samples, if there are any.
pub(super) fn columns(columns: &SampleColumns) -> Option<String> {
    let id = columns.ids.as_ref().and_then(|ids| ids.first());
    let ids = id.map(|first| format!("ids, the first `{first}`"));
    let counts = columns.counts.iter();
    let counts = counts.map(|(name, all)| format!("{} {name} in all", all.iter().sum::<u64>()));
    let told: Vec<String> = ids.into_iter().chain(counts).collect();
    (!told.is_empty()).then(|| format!("training samples have {}", told.join(", ")))
}

fn counts(labels: &[ClassId], classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    for label in labels {
        if let Some(count) = counts.get_mut(label.index()) {
            *count += 1;
        }
    }
    counts
}

fn between(counts: &[usize]) -> String {
    let fewest = counts.iter().min().copied().unwrap_or(0);
    let most = counts.iter().max().copied().unwrap_or(0);
    if fewest == most { most.to_string() } else { format!("{fewest} to {most}") }
}

/// Returns the first of `names`, and how many more there are.
pub(super) fn some(names: &[&str]) -> String {
    let shown = names.iter().take(NAMED).map(|name| format!("`{name}`"));
    let mut shown: Vec<String> = shown.collect();
    if names.len() > NAMED {
        shown.push(format!("{} more", names.len() - NAMED));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(classes: usize, train: &[u32], test: &[u32]) -> Vec<String> {
        let meta = DatasetMeta {
            name: "few".to_owned(),
            classes: (0..classes).map(|class| format!("c{class}")).collect(),
            sample: vec![3, 2, 2],
            train: train.len(),
            test: test.len(),
            mean: vec![],
            std: vec![],
            space: None,
        };
        let labels = |positions: &[u32]| ClassId::list(positions.to_vec());
        lines(&meta, &labels(train), &labels(test))
    }

    #[test]
    fn samples_are_counted_by_class_and_empty_classes_named() {
        let found = told(3, &[2, 0, 2], &[1]);
        assert_eq!(
            found,
            [
                "3 + 1 samples of [3, 2, 2] in 3 classes: `c0` 1 + 0, `c1` 0 + 1, `c2` 2 + 0",
                "no sample to train on of `c1`"
            ]
        );
        let names = ["Cat", "dog", "cat "].map(str::to_owned);
        assert_eq!(alike(&names), Some(["Cat", "cat "]));
        assert_eq!(alike(&names[..2]), None);
        let many: Vec<u32> = (0..13).chain([4]).collect();
        let found = told(13, &many, &many[..13]);
        let want = "14 + 13 samples of [3, 2, 2] in 13 classes: 1 to 2 to train on and 1 to test on of each";
        assert_eq!(found, [want]);
        let found = told(30, &[0], &[]);
        assert!(found[1].ends_with("`c9`, `c10`, 19 more"), "{found:?}");
        assert_eq!(told(1, &[0], &[]).len(), 2);
    }
}
