//! Names of classes: of a data set that has them, made from labels, or given by the user and checked.

use artifacts::ClassId;
use engine::Problem;
use std::collections::BTreeSet;

/// Returns `names` as a data set keeps them.
pub(super) fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Returns the labels as their own names, from 0 to the highest of `splits`.
pub(crate) fn numbers(splits: &[&[ClassId]]) -> Vec<String> {
    let highest = splits.iter().flat_map(|labels| labels.iter()).max().copied();
    let count = highest.map_or(0, |last| last.index() + 1);
    ClassId::all(count).map(|class| class.to_string()).collect()
}

/// Returns what is wrong with names a user gave.
pub(super) fn problems(names: Option<&[String]>) -> Vec<Problem> {
    let Some(names) = names else { return vec![] };
    let problem = |message| Problem { setting: "classes".to_owned(), message, hint: None };
    let mut seen = BTreeSet::new();
    let twice = names.iter().find(|name| !seen.insert(name.as_str()));
    match twice {
        _ if names.is_empty() => vec![problem("there must be at least one class".to_owned())],
        Some(name) => vec![problem(format!("two classes are called `{name}`"))],
        None => vec![],
    }
}
