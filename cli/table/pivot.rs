//! One axis down, another across, a mean in every cell.

use super::{
    frame::{Frame, Outcome},
    metrics::Metrics,
    rows::{stat_json, values},
    sheet::{Sheet, csv_line, csv_number},
    stat::{Judge, Stat},
};
use crate::context::{Failure, MISTAKE};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A metric over two axes.
pub(super) struct Pivot {
    metric: String,
    metrics: Metrics,
    row_axis: (String, String),
    column_axis: (String, String),
    rows: Vec<String>,
    columns: Vec<String>,
    stats: BTreeMap<(usize, usize), Stat>,
}

impl Pivot {
    /// Lays `axes`, of the form `ROWS,COLUMNS`, out for each of `metrics`. What other axes tell
    /// apart must be averaged or filtered: a cell never holds two things without being asked to.
    pub(super) fn all(
        frame: &Frame,
        metrics: &Metrics,
        axes: &str,
        over: &[bool],
        judge: Judge,
    ) -> Result<Vec<Self>, Failure> {
        let Some((down, across)) = axes.split_once(',') else {
            let failure = Failure::new(MISTAKE, format!("--pivot {axes}: not two axes"));
            let hint = format!("write `--pivot ROWS,COLUMNS`; the axes are {}", frame.names());
            return Err(failure.hint(hint));
        };
        let down = frame.axis("--pivot", down.trim())?;
        let across = frame.axis("--pivot", across.trim())?;
        if down == across {
            return Err(Failure::new(MISTAKE, format!("--pivot {axes}: the same axis twice")));
        }
        let seen = |axis: usize| {
            let values = 0..frame.axes[axis].values.len();
            let used = |value: &usize| {
                frame.outcomes.iter().any(|one| one.coords[axis] as usize == *value)
            };
            values.filter(used).collect::<Vec<usize>>()
        };
        for axis in (0..frame.axes.len()).filter(|axis| !over[*axis]) {
            if axis != down && axis != across && seen(axis).len() > 1 {
                let name = &frame.axes[axis].name;
                let failure =
                    Failure::new(MISTAKE, format!("axis `{name}` has several values in each cell"));
                let hint =
                    format!("pick some with --where {name}=…, or average with --over {name}");
                return Err(failure.hint(hint));
            }
        }
        let label = frame.outcomes.first().map(|one| &one.label);
        if frame.outcomes.iter().any(|one| Some(&one.label) != label) {
            let failure = Failure::new(MISTAKE, "several stages give results");
            return Err(failure.hint("pick one with --target"));
        }
        let (rows, columns) = (seen(down), seen(across));
        let mut groups: BTreeMap<(usize, usize), Vec<&Outcome>> = BTreeMap::new();
        for outcome in &frame.outcomes {
            let at = |axis: usize, seen: &[usize]| {
                seen.binary_search(&(outcome.coords[axis] as usize)).expect("it was seen")
            };
            groups.entry((at(down, &rows), at(across, &columns))).or_default().push(outcome);
        }
        let groups: BTreeMap<_, _> =
            groups.into_iter().map(|(at, group)| (at, values(&group).0)).collect();
        let axis = |at: usize| (frame.axes[at].name.clone(), frame.axes[at].path.clone());
        let named = |at: usize, seen: &[usize]| -> Vec<String> {
            seen.iter().map(|value| frame.axes[at].values[*value].clone()).collect()
        };
        let one = |metric: &String| {
            let stat = |(at, values): (&(usize, usize), &BTreeMap<String, Vec<f64>>)| {
                Some((*at, judge.stat(values.get(metric)?)?))
            };
            Self {
                metric: metric.clone(),
                metrics: metrics.clone(),
                row_axis: axis(down),
                column_axis: axis(across),
                rows: named(down, &rows),
                columns: named(across, &columns),
                stats: groups.iter().filter_map(stat).collect(),
            }
        };
        Ok(metrics.names.iter().map(one).collect())
    }

    pub(super) fn sheet(&self) -> Sheet {
        let mut head = vec![self.row_axis.0.clone()];
        head.extend(self.columns.iter().map(|value| format!("{}={value}", self.column_axis.0)));
        let row = |(at, name): (usize, &String)| {
            let cell = |column: usize| {
                let stat = self.stats.get(&(at, column));
                stat.map_or("-".to_owned(), |stat| self.metrics.show(&self.metric, stat))
            };
            std::iter::once(name.clone()).chain((0..self.columns.len()).map(cell)).collect()
        };
        let rows = self.rows.iter().enumerate().map(row).collect();
        let numbers = 1..head.len();
        let caption = Some(self.metrics.title(&self.metric));
        Sheet { caption, head, rows, numbers, notes: vec![] }
    }

    /// Returns a line for each cell, without the heading.
    pub(super) fn csv(&self) -> String {
        let mut out = String::new();
        for ((row, column), stat) in &self.stats {
            let interval = stat.interval();
            out.push_str(&csv_line(&[
                self.metric.clone(),
                self.rows[*row].clone(),
                self.columns[*column].clone(),
                stat.mean.to_string(),
                csv_number(stat.std),
                stat.n.to_string(),
                csv_number(interval.map(|one| one.low)),
                csv_number(interval.map(|one| one.high)),
            ]));
        }
        out
    }

    pub(super) fn csv_head(&self) -> String {
        let axes = [&self.row_axis.0, &self.column_axis.0].map(Clone::clone);
        let mut head = vec!["metric".to_owned()];
        head.extend(axes);
        head.extend(["mean", "std", "n", "low", "high"].map(str::to_owned));
        csv_line(&head)
    }

    pub(super) fn json(&self) -> Value {
        let cells = self.stats.iter().map(|((row, column), stat)| {
            let mut value = stat_json(stat);
            value["row"] = self.rows[*row].clone().into();
            value["column"] = self.columns[*column].clone().into();
            value
        });
        json!({
            "metric": self.metric,
            "rows": { "axis": self.row_axis.1, "values": self.rows },
            "columns": { "axis": self.column_axis.1, "values": self.columns },
            "cells": cells.collect::<Vec<_>>(),
        })
    }
}
