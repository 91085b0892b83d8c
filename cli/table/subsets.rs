//! The table of a run that ends in subsets: what each keeps.

use super::sheet::Sheet;
use crate::{output::thousands, sources::ResultSource};
use artifacts::{
    parts,
    subset::{self, SubsetSummary},
};
use cache::{Artifact, Store};
use engine::Plan;
use std::{collections::BTreeSet, sync::Arc};

/// More subsets than these are not listed.
const LISTED: usize = 40;

/// Returns a row for each subset that a run was to make; nothing if there is none, or there are many.
pub(super) fn of_run(plan: &Plan, store: &Store, outputs: &[Option<Arc<Artifact>>]) -> String {
    let targets =
        plan.cells.iter().flat_map(|cell| cell.targets.iter().map(|target| target.index()));
    let is_subset =
        |at: &usize| outputs[*at].as_ref().is_some_and(|output| output.kind == parts::SUBSET.0);
    let targets: BTreeSet<usize> = targets.filter(is_subset).collect();
    if targets.is_empty() || targets.len() > LISTED {
        return String::new();
    }
    let keys = vec![None; outputs.len()];
    let Ok(source) = ResultSource::of_result(plan, store, outputs, &keys, false) else {
        return String::new();
    };
    let summary = |at: usize| -> Option<(String, SubsetSummary)> {
        let summary = subset::open_summary(store, outputs[at].as_ref()?).ok()?;
        Some((source.describe(at), summary))
    };
    let summaries: Vec<(String, SubsetSummary)> = targets.into_iter().filter_map(summary).collect();
    let counts = summaries.iter().flat_map(|(_, summary)| summary.counts.keys().cloned());
    let counts: Vec<String> = counts.collect::<BTreeSet<_>>().into_iter().collect();
    let head = ["subset", "kept", "of", "%", "classes", "least", "most", "left out"];
    let mut head: Vec<String> = head.map(str::to_owned).to_vec();
    head.extend(counts.iter().cloned());
    let sheet = Sheet {
        caption: None,
        rows: summaries.into_iter().map(|(name, one)| line(name, &one, &counts)).collect(),
        numbers: 1..head.len(),
        head,
        notes: vec![],
    };
    sheet.text()
}

/// Returns what a subset keeps: how many samples, of how many; of how many classes, the least and the most of
/// one; how many classes it leaves out that have samples; and how much of each of `counts`.
fn line(name: String, summary: &SubsetSummary, counts: &[String]) -> Vec<String> {
    let kept: usize = summary.per_class.kept.iter().sum();
    let there = summary.per_class.available.iter().zip(&summary.per_class.kept);
    let there: Vec<usize> = there.filter(|(n, _)| **n > 0).map(|(_, kept)| *kept).collect();
    let left_out = there.iter().filter(|kept| **kept == 0).count();
    let share = 100.0 * kept as f64 / summary.n.max(1) as f64;
    let mut line = vec![
        name,
        thousands(kept),
        thousands(summary.n),
        format!("{share:.2}"),
        there.len().to_string(),
        thousands(there.iter().copied().min().unwrap_or(0)),
        thousands(there.iter().copied().max().unwrap_or(0)),
        left_out.to_string(),
    ];
    line.extend(counts.iter().map(|name| {
        let count = summary.counts.get(name);
        count.map_or_else(String::new, |count| {
            thousands(usize::try_from(count.kept).unwrap_or(usize::MAX))
        })
    }));
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use artifacts::subset::{Kept, PerClass};

    #[test]
    fn a_class_without_samples_is_not_left_out() {
        let per_class = PerClass { kept: vec![3, 0, 0], available: vec![10, 5, 0] };
        let counts = [("tokens".to_owned(), Kept { kept: 1200, available: 9000 })].into();
        let row = line(
            "s".to_owned(),
            &SubsetSummary { n: 15, per_class, counts },
            &["tokens".to_owned()],
        );
        assert_eq!(row, ["s", "3", "15", "20.00", "2", "0", "3", "1", "1,200"]);
    }
}
