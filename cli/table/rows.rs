//! Results averaged into rows, and the rows written down.

use super::{
    frame::{Frame, Outcome},
    metrics::Metrics,
    sheet::{Sheet, csv_line, csv_number},
    stat::{Judge, Stat},
};
use crate::context::{Failure, MISTAKE};
use serde_json::{Map, Value, json};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

pub(super) struct Row {
    pub(super) target: String,
    pub(super) coords: Vec<String>,
    /// How many results it averages, and how many of them are there.
    wanted: usize,
    done: usize,
    pub(super) stats: BTreeMap<String, Stat>,
}

pub(super) struct Table {
    axes: Vec<String>,
    /// The full names of the axes, for programs.
    paths: Vec<String>,
    pub(super) metrics: Metrics,
    pub(super) rows: Vec<Row>,
    targets: bool,
    with_intervals: bool,
}

/// Returns the values of each metric in `group`, where cells that agree on a result count once,
/// and how many results were wanted and are there.
pub(super) fn values(group: &[&Outcome]) -> (BTreeMap<String, Vec<f64>>, usize, usize) {
    let mut met = BTreeSet::new();
    let group: Vec<&&Outcome> = group.iter().filter(|outcome| met.insert(outcome.id)).collect();
    let done: Vec<_> = group.iter().filter_map(|outcome| outcome.metrics.as_ref()).collect();
    let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (name, metric) in done.iter().copied().flatten() {
        values.entry(name.clone()).or_default().push(metric.value);
    }
    (values, group.len(), done.len())
}

impl Table {
    pub(super) fn new(frame: &Frame, metrics: Metrics, over: &[bool], judge: Judge) -> Self {
        let labels: BTreeSet<&str> =
            frame.outcomes.iter().map(|outcome| outcome.label.as_str()).collect();
        let kept: Vec<usize> = (0..frame.axes.len()).filter(|axis| !over[*axis]).collect();
        // By target, then by the order of the matrix.
        let mut groups: BTreeMap<(&str, Vec<u32>), Vec<&Outcome>> = BTreeMap::new();
        for outcome in &frame.outcomes {
            groups.entry(frame.row(outcome, over)).or_default().push(outcome);
        }
        let rows = groups.into_iter().map(|((target, _), group)| {
            let coords = kept.iter().map(|axis| frame.value(group[0], *axis).to_owned()).collect();
            let (values, wanted, done) = values(&group);
            let stat = |(name, values): (String, Vec<f64>)| Some((name, judge.stat(&values)?));
            let stats = values.into_iter().filter_map(stat).collect();
            Row { target: target.to_owned(), coords, wanted, done, stats }
        });
        let rows = rows.collect();
        let names = |of: fn(&super::frame::Axis) -> &String| -> Vec<String> {
            kept.iter().map(|axis| of(&frame.axes[*axis]).clone()).collect()
        };
        Self {
            axes: names(|axis| &axis.name),
            paths: names(|axis| &axis.path),
            metrics,
            rows,
            targets: labels.len() > 1,
            with_intervals: judge.ci.is_some(),
        }
    }

    /// Orders the rows; those that are equal stay in the order of the matrix, those without a
    /// value come last.
    pub(super) fn sort(&mut self, column: &str) -> Result<(), Failure> {
        let (name, down) = match column.strip_prefix('-') {
            Some(name) => (name, true),
            None => (column, false),
        };
        let turn = |order: Ordering| if down { order.reverse() } else { order };
        let axis =
            self.axes.iter().zip(&self.paths).position(|(a, path)| a == name || path == name);
        if let Some(axis) = axis {
            self.rows.sort_by(|a, b| turn(compare(&a.coords[axis], &b.coords[axis])));
        } else if name == "target" {
            self.rows.sort_by(|a, b| turn(a.target.cmp(&b.target)));
        } else if self.metrics.names.iter().any(|one| one == name) {
            let mean = |row: &Row| row.stats.get(name).map(|stat| stat.mean);
            self.rows.sort_by(|a, b| match (mean(a), mean(b)) {
                (Some(a), Some(b)) => turn(a.total_cmp(&b)),
                (a, b) => b.is_some().cmp(&a.is_some()),
            });
        } else {
            let all: Vec<&str> =
                self.axes.iter().chain(&self.metrics.names).map(String::as_str).collect();
            let failure =
                Failure::new(MISTAKE, format!("--sort {column}: there is no such column"));
            return Err(failure.hint(format!("the columns are {}", all.join(", "))));
        }
        Ok(())
    }

    /// Returns the heading and the rows as people read them.
    pub(super) fn sheet(&self) -> Sheet {
        let counted = self.rows.iter().any(|row| row.wanted > 1);
        let gaps = self.rows.iter().any(|row| row.done < row.wanted);
        let mut head: Vec<String> = vec![];
        head.extend(self.targets.then(|| "target".to_owned()));
        head.extend(self.axes.iter().cloned());
        let words = head.len();
        head.extend(self.metrics.names.iter().map(|name| self.metrics.title(name)));
        head.extend(counted.then(|| "n".to_owned()));
        let numbers = words..head.len();
        head.extend(gaps.then(String::new));
        let row = |row: &Row| {
            let mut line: Vec<String> = vec![];
            line.extend(self.targets.then(|| row.target.clone()));
            line.extend(row.coords.iter().cloned());
            let shown = |name: &String| {
                row.stats.get(name).map_or("-".to_owned(), |stat| self.metrics.show(name, stat))
            };
            line.extend(self.metrics.names.iter().map(shown));
            line.extend(counted.then(|| row.done.to_string()));
            let gap = match (row.done, row.wanted) {
                (done, wanted) if done == wanted => String::new(),
                (_, 1) => "not done".to_owned(),
                (done, wanted) => format!("{done} of {wanted} cells done"),
            };
            line.extend(gaps.then_some(gap));
            line
        };
        let rows = self.rows.iter().map(row).collect();
        Sheet { caption: None, head, rows, numbers, notes: vec![] }
    }

    /// Returns the sheet without as many of the usual metrics, from the last, as it takes to be no
    /// wider than `width`.
    pub(super) fn sheet_within(&self, width: usize) -> Sheet {
        let mut sheet = self.sheet();
        let first = sheet.numbers.start;
        let usual = |at: &usize| super::USUAL.contains(&self.metrics.names[*at].as_str());
        let spare: Vec<usize> = (1..self.metrics.names.len()).filter(usual).collect();
        let mut left_out = vec![];
        for at in spare.into_iter().rev() {
            if sheet.width() <= width {
                break;
            }
            left_out.insert(0, sheet.remove(first + at));
        }
        if !left_out.is_empty() {
            sheet.notes.push(format!(
                "no room for {}: `table --metric NAME` has them",
                left_out.join(", ")
            ));
        }
        sheet
    }

    pub(super) fn csv(&self) -> String {
        let mut head: Vec<String> = vec![];
        head.extend(self.targets.then(|| "target".to_owned()));
        head.extend(self.axes.iter().cloned());
        head.extend(["cells".to_owned(), "done".to_owned()]);
        let ends: &[&str] = match self.with_intervals {
            true => &["mean", "std", "n", "low", "high"],
            false => &["mean", "std", "n"],
        };
        for name in &self.metrics.names {
            head.extend(ends.iter().map(|end| format!("{name}_{end}")));
        }
        let mut out = csv_line(&head);
        for row in &self.rows {
            let mut line: Vec<String> = vec![];
            line.extend(self.targets.then(|| row.target.clone()));
            line.extend(row.coords.iter().cloned());
            line.extend([row.wanted.to_string(), row.done.to_string()]);
            for name in &self.metrics.names {
                let stat = row.stats.get(name);
                line.push(csv_number(stat.map(|stat| stat.mean)));
                line.push(csv_number(stat.and_then(|stat| stat.std)));
                line.push(stat.map_or(0, |stat| stat.n).to_string());
                if self.with_intervals {
                    let interval = stat.and_then(Stat::interval);
                    line.push(csv_number(interval.map(|one| one.low)));
                    line.push(csv_number(interval.map(|one| one.high)));
                }
            }
            out.push_str(&csv_line(&line));
        }
        out
    }

    pub(super) fn json(&self) -> Value {
        let row = |row: &Row| {
            let coords: Map<String, Value> =
                self.paths.iter().cloned().zip(row.coords.iter().map(|v| json!(v))).collect();
            let stat = |name: &String| Some((name.clone(), stat_json(row.stats.get(name)?)));
            let metrics: Map<String, Value> = self.metrics.names.iter().filter_map(stat).collect();
            json!({
                "target": row.target,
                "coords": coords,
                "cells": row.wanted,
                "done": row.done,
                "metrics": metrics,
            })
        };
        let rows: Vec<Value> = self.rows.iter().map(row).collect();
        json!({ "axes": self.paths, "metrics": self.metrics.names, "rows": rows })
    }
}

pub(super) fn stat_json(stat: &Stat) -> Value {
    let mut value = json!({ "mean": stat.mean, "std": stat.std, "n": stat.n });
    if let Some(interval) = stat.interval() {
        value["low"] = interval.low.into();
        value["high"] = interval.high.into();
    }
    value
}

/// Compares as numbers where both are, else as text.
fn compare(a: &str, b: &str) -> Ordering {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => a.total_cmp(&b),
        _ => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stat::Ci, *};

    fn table(ci: Option<Ci>) -> Table {
        let judge = Judge { ci, level: 0.95 };
        let row = |selector: &str, keep: &str, accuracy: &[f64], wanted| {
            let stat = judge.stat(accuracy).map(|stat| ("accuracy".to_owned(), stat));
            Row {
                target: "result".to_owned(),
                coords: vec![selector.to_owned(), keep.to_owned()],
                wanted,
                done: accuracy.len(),
                stats: stat.into_iter().collect(),
            }
        };
        Table {
            axes: vec!["selector".to_owned(), "keep".to_owned()],
            paths: vec!["selector".to_owned(), "subset.with.keep".to_owned()],
            metrics: Metrics {
                names: vec!["accuracy".to_owned()],
                percent: BTreeSet::from(["accuracy".to_owned()]),
                whole: BTreeSet::new(),
            },
            rows: vec![
                row("a,b", "0.5", &[0.5, 0.75], 3),
                row("random", "0.1", &[], 3),
                row("random", "0.05", &[0.25], 1),
            ],
            targets: false,
            with_intervals: ci.is_some(),
        }
    }

    #[test]
    fn rows_line_up_and_say_what_is_missing() {
        let wanted = "\
selector  keep     accuracy %  n
a,b       0.5   62.50 ± 17.68  2  2 of 3 cells done
random    0.1               -  0  0 of 3 cells done
random    0.05          25.00  1
";
        assert_eq!(table(None).sheet().text(), wanted);
        let csv = table(None).csv();
        assert_eq!(csv.lines().nth(1), Some("\"a,b\",0.5,3,2,0.625,0.1767766952966369,2"));
        assert_eq!(csv.lines().nth(2), Some("random,0.1,3,0,,,0"));
        let rule = "| --- | --- | ---: | ---: | --- |\n| a,b | 0.5 |";
        assert!(table(None).sheet().markdown().contains(rule));
        // t(0.975, 1) = 12.706 times 0.125.
        let text = table(Some(Ci::T)).sheet().text();
        assert!(text.contains("62.50 [-96.33, 221.33]"), "{text}");
    }

    #[test]
    fn axes_sort_as_numbers_and_what_is_missing_comes_last() {
        let order = |column: &str| {
            let mut table = table(None);
            table.sort(column).map_err(|failure| failure.message).expect("a column");
            table.rows.iter().map(|row| row.coords[1].clone()).collect::<Vec<_>>()
        };
        assert_eq!(order("keep"), ["0.05", "0.1", "0.5"]);
        assert_eq!(order("-subset.with.keep"), ["0.5", "0.1", "0.05"]);
        assert_eq!(order("accuracy"), ["0.05", "0.5", "0.1"]);
        assert_eq!(order("-accuracy"), ["0.5", "0.05", "0.1"]);
        assert!(table(None).sort("nothing").is_err());
    }
}
