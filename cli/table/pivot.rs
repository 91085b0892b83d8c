//! One axis down, another across, a mean in every cell.

use super::{
    estimate::{Estimate, Judge},
    metrics::Metrics,
    rows::estimate_json,
    sheet::{Sheet, csv_line, csv_number},
    write::MetricTable,
};
use crate::{
    context::Failure,
    results::{CellResult, Grid, grouped},
};
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
    estimates: BTreeMap<(usize, usize), Estimate>,
}

impl Pivot {
    /// Lays `axes`, of the form `ROWS,COLUMNS`, out for each of `metrics`. What other axes tell
    /// apart must be averaged or filtered: a cell never holds two things without being asked to.
    pub(super) fn all(
        grid: &Grid,
        metrics: &Metrics,
        axes: &str,
        over: &[bool],
        judge: Judge,
    ) -> Result<Vec<Self>, Failure> {
        let Some((down, across)) = axes.split_once(',') else {
            let failure = Failure::mistake(format!("--pivot {axes}: not two axes"));
            let hint = format!("write `--pivot ROWS,COLUMNS`; the axes are {}", grid.names());
            return Err(failure.hint(hint));
        };
        let down = grid.axis("--pivot", down.trim())?;
        let across = grid.axis("--pivot", across.trim())?;
        if down == across {
            return Err(Failure::mistake(format!("--pivot {axes}: the same axis twice")));
        }
        let seen = |axis: usize| {
            let values = 0..grid.axes[axis].values.len();
            let used =
                |value: &usize| grid.results.iter().any(|one| one.coords[axis] as usize == *value);
            values.filter(used).collect::<Vec<usize>>()
        };
        for axis in (0..grid.axes.len()).filter(|axis| !over[*axis]) {
            if axis != down && axis != across && seen(axis).len() > 1 {
                let name = &grid.axes[axis].name;
                let failure =
                    Failure::mistake(format!("axis `{name}` has several values in each cell"));
                let hint =
                    format!("pick some with --where {name}=…, or average with --over {name}");
                return Err(failure.hint(hint));
            }
        }
        let label = grid.results.first().map(|one| &one.label);
        if grid.results.iter().any(|one| Some(&one.label) != label) {
            let failure = Failure::mistake("several stages give results");
            return Err(failure.hint("pick one with --target"));
        }
        let rows = seen(down);
        let columns = seen(across);
        let place = |result: &CellResult, axis: usize, seen: &[usize]| {
            seen.binary_search(&(result.coords[axis] as usize)).expect("it was seen")
        };
        let at =
            |result: &CellResult| (place(result, down, &rows), place(result, across, &columns));
        let groups: BTreeMap<(usize, usize), BTreeMap<String, Vec<f64>>> =
            grouped(&grid.results, at)
                .into_iter()
                .map(|(at, group)| (at, group.values()))
                .collect();
        let axis = |at: usize| (grid.axes[at].name.clone(), grid.axes[at].path.clone());
        let named = |at: usize, seen: &[usize]| -> Vec<String> {
            seen.iter().map(|value| grid.axes[at].values[*value].clone()).collect()
        };
        let one = |metric: &String| {
            let estimate = |(at, values): (&(usize, usize), &BTreeMap<String, Vec<f64>>)| {
                Some((*at, judge.estimate(values.get(metric)?)?))
            };
            Self {
                metric: metric.clone(),
                metrics: metrics.clone(),
                row_axis: axis(down),
                column_axis: axis(across),
                rows: named(down, &rows),
                columns: named(across, &columns),
                estimates: groups.iter().filter_map(estimate).collect(),
            }
        };
        Ok(metrics.names.iter().map(one).collect())
    }
}

impl MetricTable for Pivot {
    const LIST: &'static str = "pivots";

    fn sheet(&self) -> Sheet {
        let mut head = vec![self.row_axis.0.clone()];
        head.extend(self.columns.iter().map(|value| format!("{}={value}", self.column_axis.0)));
        let row = |(at, name): (usize, &String)| {
            let cell = |column: usize| {
                let estimate = self.estimates.get(&(at, column));
                estimate
                    .map_or("-".to_owned(), |estimate| self.metrics.show(&self.metric, estimate))
            };
            std::iter::once(name.clone()).chain((0..self.columns.len()).map(cell)).collect()
        };
        let rows = self.rows.iter().enumerate().map(row).collect();
        let numbers = 1..head.len();
        let caption = Some(self.metrics.title(&self.metric));
        Sheet { caption, head, rows, numbers, notes: vec![] }
    }

    fn csv(&self) -> String {
        let mut out = String::new();
        for ((row, column), estimate) in &self.estimates {
            let interval = estimate.interval();
            out.push_str(&csv_line(&[
                self.metric.clone(),
                self.rows[*row].clone(),
                self.columns[*column].clone(),
                estimate.mean.to_string(),
                csv_number(estimate.std),
                estimate.n.to_string(),
                csv_number(interval.map(|one| one.low)),
                csv_number(interval.map(|one| one.high)),
            ]));
        }
        out
    }

    fn csv_head(&self) -> String {
        let axes = [&self.row_axis.0, &self.column_axis.0].map(Clone::clone);
        let mut head = vec!["metric".to_owned()];
        head.extend(axes);
        head.extend(["mean", "std", "n", "low", "high"].map(str::to_owned));
        csv_line(&head)
    }

    fn json(&self) -> Value {
        let cells = self.estimates.iter().map(|((row, column), estimate)| {
            let mut value = estimate_json(estimate);
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
