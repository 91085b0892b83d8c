//! Results averaged into rows, and the rows written down.

use super::{
    estimate::{Estimate, Judge},
    metrics::Metrics,
    sheet::{Sheet, csv_line, csv_number},
};
use crate::{
    context::Failure,
    results::{Grid, GridAxis, grouped},
};
use serde_json::{Map, Value, json};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

pub(super) struct TableRow {
    pub(super) target: String,
    pub(super) coords: Vec<String>,
    /// How many results it averages, and how many of them are computed.
    wanted: usize,
    done: usize,
    pub(super) estimates: BTreeMap<String, Estimate>,
}

pub(super) struct ResultTable {
    axes: Vec<String>,
    /// The full names of the axes, for programs.
    paths: Vec<String>,
    pub(super) metrics: Metrics,
    pub(super) rows: Vec<TableRow>,
    targets: bool,
    with_intervals: bool,
}

impl ResultTable {
    pub(super) fn new(grid: &Grid, metrics: Metrics, over: &[bool], judge: Judge) -> Self {
        let labels: BTreeSet<&str> =
            grid.results.iter().map(|result| result.label.as_str()).collect();
        let kept: Vec<usize> = (0..grid.axes.len()).filter(|axis| !over[*axis]).collect();
        let mut groups = grouped(&grid.results, |result| grid.row(result, over));
        // By target, then by the order of the matrix.
        groups.sort_by(|(a, _), (b, _)| a.cmp(b));
        let rows = groups.into_iter().map(|((target, _), group)| {
            let first = group.results[0];
            let estimate =
                |(name, values): (String, Vec<f64>)| Some((name, judge.estimate(&values)?));
            TableRow {
                target: target.to_owned(),
                coords: kept.iter().map(|axis| grid.value(first, *axis).to_owned()).collect(),
                wanted: group.wanted(),
                done: group.done(),
                estimates: group.values().into_iter().filter_map(estimate).collect(),
            }
        });
        let rows = rows.collect();
        let names = |of: fn(&GridAxis) -> &String| -> Vec<String> {
            kept.iter().map(|axis| of(&grid.axes[*axis]).clone()).collect()
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
            let mean = |row: &TableRow| row.estimates.get(name).map(|estimate| estimate.mean);
            self.rows.sort_by(|a, b| match (mean(a), mean(b)) {
                (Some(a), Some(b)) => turn(a.total_cmp(&b)),
                (a, b) => b.is_some().cmp(&a.is_some()),
            });
        } else {
            let all: Vec<&str> =
                self.axes.iter().chain(&self.metrics.names).map(String::as_str).collect();
            let failure = Failure::mistake(format!("--sort {column}: there is no such column"));
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
        let row = |row: &TableRow| {
            let mut line: Vec<String> = vec![];
            line.extend(self.targets.then(|| row.target.clone()));
            line.extend(row.coords.iter().cloned());
            let shown = |name: &String| {
                row.estimates
                    .get(name)
                    .map_or("-".to_owned(), |estimate| self.metrics.show(name, estimate))
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
                let estimate = row.estimates.get(name);
                line.push(csv_number(estimate.map(|estimate| estimate.mean)));
                line.push(csv_number(estimate.and_then(|estimate| estimate.std)));
                line.push(estimate.map_or(0, |estimate| estimate.n).to_string());
                if self.with_intervals {
                    let interval = estimate.and_then(Estimate::interval);
                    line.push(csv_number(interval.map(|one| one.low)));
                    line.push(csv_number(interval.map(|one| one.high)));
                }
            }
            out.push_str(&csv_line(&line));
        }
        out
    }

    pub(super) fn json(&self) -> Value {
        let row = |row: &TableRow| {
            let coords: Map<String, Value> =
                self.paths.iter().cloned().zip(row.coords.iter().map(|v| json!(v))).collect();
            let estimate =
                |name: &String| Some((name.clone(), estimate_json(row.estimates.get(name)?)));
            let metrics: Map<String, Value> =
                self.metrics.names.iter().filter_map(estimate).collect();
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

pub(super) fn estimate_json(estimate: &Estimate) -> Value {
    let mut value = json!({ "mean": estimate.mean, "std": estimate.std, "n": estimate.n });
    if let Some(interval) = estimate.interval() {
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
    use super::{super::estimate::Ci, *};

    fn table(ci: Option<Ci>) -> ResultTable {
        let judge = Judge { ci, level: 0.95 };
        let row = |selector: &str, keep: &str, accuracy: &[f64], wanted| {
            let estimate =
                judge.estimate(accuracy).map(|estimate| ("accuracy".to_owned(), estimate));
            TableRow {
                target: "result".to_owned(),
                coords: vec![selector.to_owned(), keep.to_owned()],
                wanted,
                done: accuracy.len(),
                estimates: estimate.into_iter().collect(),
            }
        };
        ResultTable {
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
            table.sort(column).expect("a column");
            table.rows.iter().map(|row| row.coords[1].clone()).collect::<Vec<_>>()
        };
        assert_eq!(order("keep"), ["0.05", "0.1", "0.5"]);
        assert_eq!(order("-subset.with.keep"), ["0.5", "0.1", "0.05"]);
        assert_eq!(order("accuracy"), ["0.05", "0.5", "0.1"]);
        assert_eq!(order("-accuracy"), ["0.5", "0.05", "0.1"]);
        assert!(table(None).sort("nothing").is_err());
    }
}
