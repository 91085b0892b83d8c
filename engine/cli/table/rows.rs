//! Results averaged into rows, and the rows written down.

use super::{
    SECONDS, USUAL,
    measured::{Metric, Outcome},
};
use crate::context::{Failure, MISTAKE, axis_names, columns};
use engine::Plan;
use serde_json::{Map, Value, json};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

/// The mean and the spread of a metric over the cells of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stat {
    mean: f64,
    /// With n - 1 below; `None` for a single value.
    std: Option<f64>,
    n: usize,
}

impl Stat {
    fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let std = (n > 1).then(|| (squares / (n - 1) as f64).sqrt());
        Some(Self { mean, std, n })
    }
}

pub(super) struct Row {
    target: String,
    coords: Vec<String>,
    /// How many results it averages, and how many of them are there.
    wanted: usize,
    done: usize,
    stats: BTreeMap<String, Stat>,
}

pub(super) struct Table {
    axes: Vec<String>,
    /// The full names of the axes, for programs.
    paths: Vec<String>,
    metrics: Vec<String>,
    /// Those shown in percent, and those that are whole numbers throughout.
    percent: BTreeSet<String>,
    whole: BTreeSet<String>,
    pub(super) rows: Vec<Row>,
    targets: bool,
}

impl Table {
    pub(super) fn new(plan: &Plan, results: &[Outcome<'_>], over: &[bool]) -> Self {
        let kept = |values: Vec<String>| -> Vec<String> {
            values.into_iter().zip(over).filter(|(_, over)| !**over).map(|(one, _)| one).collect()
        };
        let labels: BTreeSet<&str> = results.iter().map(|result| result.label).collect();
        // By target, then by the first cell met: the order of the matrix.
        let mut groups: BTreeMap<(&str, Vec<u16>), Vec<&Outcome<'_>>> = BTreeMap::new();
        for result in results {
            let coords = plan.cells[result.cell].coords.iter().zip(over);
            let coords = coords.filter(|(_, over)| !**over).map(|(value, _)| *value).collect();
            groups.entry((result.label, coords)).or_default().push(result);
        }
        let rows = groups.into_values().map(|mut group| {
            let cell = &plan.cells[group[0].cell];
            let coords = plan.coordinates(cell).into_iter().map(|(_, value)| value.to_owned());
            let (target, coords) = (group[0].label.to_owned(), kept(coords.collect()));
            // Cells that agree on a result measured it once.
            let mut met = BTreeSet::new();
            group.retain(|result| met.insert(result.target));
            let done: Vec<_> = group.iter().filter_map(|result| result.metrics.as_ref()).collect();
            let names: BTreeSet<&String> = done.iter().flat_map(|metrics| metrics.keys()).collect();
            let stat = |name: &String| {
                let values = done.iter().filter_map(|metrics| Some(metrics.get(name)?.value));
                Some((name.clone(), Stat::of(&values.collect::<Vec<_>>())?))
            };
            let stats = names.into_iter().filter_map(stat).collect();
            Row { target, coords, wanted: group.len(), done: done.len(), stats }
        });
        let rows: Vec<Row> = rows.collect();
        let mut all: BTreeMap<&str, Vec<Metric>> = BTreeMap::new();
        for (name, metric) in results.iter().filter_map(|result| result.metrics.as_ref()).flatten()
        {
            all.entry(name).or_default().push(*metric);
        }
        let are = |test: &dyn Fn(&str, &[Metric]) -> bool| -> BTreeSet<String> {
            let those = all.iter().filter(|(name, values)| test(name, values));
            those.map(|(name, _)| (*name).to_owned()).collect()
        };
        let whole = are(&|_, values| values.iter().all(|metric| metric.whole));
        let percent = are(&|name, values| is_share(name) && are_shares(values));
        let metrics = all.keys().map(|name| (*name).to_owned()).collect();
        let axes = axis_names(plan.axes.iter().map(|axis| axis.name.as_str()));
        let paths = plan.axes.iter().map(|axis| axis.name.clone()).collect();
        let (axes, paths) = (kept(axes), kept(paths));
        Self { axes, paths, metrics, percent, whole, rows, targets: labels.len() > 1 }
    }

    /// Takes the metrics asked for; without any, the usual ones, or all where none of those is
    /// measured.
    pub(super) fn choose(&mut self, asked: &[String]) -> Result<(), Failure> {
        if asked.is_empty() {
            let usual = USUAL.iter().filter(|name| self.metrics.iter().any(|one| one == *name));
            let usual: Vec<String> = usual.map(|name| (*name).to_owned()).collect();
            if usual.iter().any(|name| name != SECONDS) {
                self.metrics = usual;
            }
            return Ok(());
        }
        // Before the first result there is nothing to compare the names with.
        if let Some(unknown) = asked.iter().find(|name| !self.metrics.contains(name))
            && !self.metrics.is_empty()
        {
            let failure = Failure::new(MISTAKE, format!("no metric is called `{unknown}`"));
            return Err(failure.hint(format!("there are {}", self.metrics.join(", "))));
        }
        self.metrics = asked.to_vec();
        Ok(())
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
        } else if self.metrics.iter().any(|one| one == name) {
            let mean = |row: &Row| row.stats.get(name).map(|stat| stat.mean);
            self.rows.sort_by(|a, b| match (mean(a), mean(b)) {
                (Some(a), Some(b)) => turn(a.total_cmp(&b)),
                (a, b) => b.is_some().cmp(&a.is_some()),
            });
        } else {
            let all: Vec<&str> =
                self.axes.iter().chain(&self.metrics).map(String::as_str).collect();
            let failure =
                Failure::new(MISTAKE, format!("--sort {column}: there is no such column"));
            return Err(failure.hint(format!("the columns are {}", all.join(", "))));
        }
        Ok(())
    }

    /// Returns the heading and the rows as people read them, and how many columns are words.
    fn cells(&self) -> (Vec<Vec<String>>, usize) {
        let counted = self.rows.iter().any(|row| row.wanted > 1);
        let gaps = self.rows.iter().any(|row| row.done < row.wanted);
        let mut head: Vec<String> = vec![];
        head.extend(self.targets.then(|| "target".to_owned()));
        head.extend(self.axes.iter().cloned());
        let words = head.len();
        let title = |name: &String| {
            if self.percent.contains(name) { format!("{name} %") } else { name.clone() }
        };
        head.extend(self.metrics.iter().map(title));
        head.extend(counted.then(|| "n".to_owned()));
        head.extend(gaps.then(String::new));
        let mut all = vec![head];
        for row in &self.rows {
            let mut line: Vec<String> = vec![];
            line.extend(self.targets.then(|| row.target.clone()));
            line.extend(row.coords.iter().cloned());
            let shown = |name: &String| {
                row.stats.get(name).map_or("-".to_owned(), |stat| self.show(name, stat))
            };
            line.extend(self.metrics.iter().map(shown));
            line.extend(counted.then(|| row.done.to_string()));
            let gap = match (row.done, row.wanted) {
                (done, wanted) if done == wanted => String::new(),
                (_, 1) => "not done".to_owned(),
                (done, wanted) => format!("{done} of {wanted} cells done"),
            };
            line.extend(gaps.then_some(gap));
            all.push(line);
        }
        (all, words)
    }

    fn show(&self, name: &str, stat: &Stat) -> String {
        let (factor, digits) = match name {
            _ if self.percent.contains(name) => (100.0, 2),
            _ if self.whole.contains(name) && stat.mean.fract() == 0.0 => (1.0, 0),
            SECONDS if stat.mean < 10.0 => (1.0, 2),
            SECONDS => (1.0, 1),
            _ if stat.mean.abs() >= 100.0 || self.whole.contains(name) => (1.0, 1),
            _ => (1.0, 4),
        };
        let mean = format!("{:.digits$}", stat.mean * factor);
        match stat.std {
            // What is the same in every repeat is not a measurement.
            Some(std) if !(std == 0.0 && self.whole.contains(name)) => {
                format!("{mean} ± {:.digits$}", std * factor)
            }
            _ => mean,
        }
    }

    pub(super) fn text(&self) -> String {
        let (cells, words) = self.cells();
        let last = words + self.metrics.len() + usize::from(self.rows.iter().any(|r| r.wanted > 1));
        columns(&cells, |column| column >= words && column < last)
    }

    pub(super) fn markdown(&self) -> String {
        let (mut cells, words) = self.cells();
        let rule = |column| if column < words { "---" } else { "---:" }.to_owned();
        cells.insert(1, (0..cells[0].len()).map(rule).collect());
        let line = |row: &Vec<String>| {
            let row: Vec<String> = row.iter().map(|entry| entry.replace('|', "\\|")).collect();
            format!("| {} |\n", row.join(" | "))
        };
        cells.iter().map(line).collect()
    }

    pub(super) fn csv(&self) -> String {
        let mut head: Vec<String> = vec![];
        head.extend(self.targets.then(|| "target".to_owned()));
        head.extend(self.axes.iter().cloned());
        head.extend(["cells".to_owned(), "done".to_owned()]);
        for name in &self.metrics {
            head.extend(["mean", "std", "n"].map(|end| format!("{name}_{end}")));
        }
        let mut out = csv_line(&head);
        for row in &self.rows {
            let mut line: Vec<String> = vec![];
            line.extend(self.targets.then(|| row.target.clone()));
            line.extend(row.coords.iter().cloned());
            line.extend([row.wanted.to_string(), row.done.to_string()]);
            for name in &self.metrics {
                let stat = row.stats.get(name);
                line.push(stat.map(|stat| stat.mean.to_string()).unwrap_or_default());
                line.push(
                    stat.and_then(|stat| stat.std).map(|s| s.to_string()).unwrap_or_default(),
                );
                line.push(stat.map_or(0, |stat| stat.n).to_string());
            }
            out.push_str(&csv_line(&line));
        }
        out
    }

    pub(super) fn json(&self) -> Value {
        let row = |row: &Row| {
            let coords: Map<String, Value> =
                self.paths.iter().cloned().zip(row.coords.iter().map(|v| json!(v))).collect();
            let stat = |name: &String| {
                let stat = row.stats.get(name)?;
                Some((name.clone(), json!({ "mean": stat.mean, "std": stat.std, "n": stat.n })))
            };
            let metrics: Map<String, Value> = self.metrics.iter().filter_map(stat).collect();
            json!({
                "target": row.target,
                "coords": coords,
                "cells": row.wanted,
                "done": row.done,
                "metrics": metrics,
            })
        };
        let rows: Vec<Value> = self.rows.iter().map(row).collect();
        json!({ "axes": self.paths, "metrics": self.metrics, "rows": rows })
    }
}

/// Tells whether a metric is a share by its name; whether its values are is looked at too.
fn is_share(name: &str) -> bool {
    name.starts_with("accuracy")
        || ["worst_class", "ece"].contains(&name)
        || name.starts_with("corrupted_kept")
        || name.ends_with("_share")
}

fn are_shares(values: &[Metric]) -> bool {
    values.iter().all(|metric| !metric.whole && (0.0..=1.0).contains(&metric.value))
}

/// Compares as numbers where both are, else as text.
fn compare(a: &str, b: &str) -> Ordering {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => a.total_cmp(&b),
        _ => a.cmp(b),
    }
}

fn csv_line(fields: &[String]) -> String {
    let field = |field: &String| {
        if field.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field.clone()
        }
    };
    format!("{}\n", fields.iter().map(field).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::{super::measured::numbers, *};

    #[test]
    fn the_spread_is_that_of_a_sample() {
        let stat = Stat::of(&[2.0, 4.0, 9.0]).expect("there are values");
        // The deviations are -3, -1 and 4: 26 / 2 = 13.
        assert_eq!((stat.mean, stat.std, stat.n), (5.0, Some(13.0_f64.sqrt()), 3));
        assert_eq!(Stat::of(&[2.0]), Some(Stat { mean: 2.0, std: None, n: 1 }));
        assert_eq!(Stat::of(&[]), None);
    }

    fn table() -> Table {
        let row = |selector: &str, keep: &str, accuracy: &[f64], wanted| {
            let stat = Stat::of(accuracy).map(|stat| ("accuracy".to_owned(), stat));
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
            metrics: vec!["accuracy".to_owned()],
            percent: BTreeSet::from(["accuracy".to_owned()]),
            whole: BTreeSet::new(),
            rows: vec![
                row("a,b", "0.5", &[0.5, 0.75], 3),
                row("random", "0.1", &[], 3),
                row("random", "0.05", &[0.25], 1),
            ],
            targets: false,
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
        assert_eq!(table().text(), wanted);
        let csv = table().csv();
        assert_eq!(csv.lines().nth(1), Some("\"a,b\",0.5,3,2,0.625,0.1767766952966369,2"));
        assert_eq!(csv.lines().nth(2), Some("random,0.1,3,0,,,0"));
        assert!(table().markdown().contains("| --- | --- | ---: | ---: | ---: |\n| a,b | 0.5 |"));
    }

    #[test]
    fn axes_sort_as_numbers_and_what_is_missing_comes_last() {
        let order = |column: &str| {
            let mut table = table();
            table.sort(column).map_err(|failure| failure.text).expect("a column");
            table.rows.iter().map(|row| row.coords[1].clone()).collect::<Vec<_>>()
        };
        assert_eq!(order("keep"), ["0.05", "0.1", "0.5"]);
        assert_eq!(order("-subset.with.keep"), ["0.5", "0.1", "0.05"]);
        assert_eq!(order("accuracy"), ["0.05", "0.5", "0.1"]);
        assert_eq!(order("-accuracy"), ["0.5", "0.05", "0.1"]);
        assert!(table().sort("nothing").is_err());
    }

    #[test]
    fn only_what_lies_between_0_and_1_is_a_share() {
        let metric = |value, whole| Metric { value, whole };
        assert!(is_share("accuracy_best") && are_shares(&[metric(0.5, false), metric(1.0, false)]));
        assert!(!are_shares(&[metric(13.0, true)]) && !are_shares(&[metric(1.5, false)]));
        let read =
            numbers(br#"{"accuracy": 0.5, "train_samples": 144, "per_class": [1], "of": {}}"#);
        assert_eq!(read.len(), 2);
        assert_eq!(read["train_samples"], metric(144.0, true));
    }
}
