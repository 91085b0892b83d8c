//! Paired tests of every method against one of them.

use super::{
    metrics::Metrics,
    sheet::{Sheet, csv_line, csv_number},
    write::MetricTable,
};
use crate::{
    context::Failure,
    results::{CellResult, Grid},
    stats::{Interval, MeanStd, Test, holm, paired_t, t_interval, wilcoxon},
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Every method against one of them, for one metric.
pub(super) struct Against {
    metric: String,
    metrics: Metrics,
    base: String,
    level: f64,
    axes: Vec<(String, String)>,
    /// The axes the pairs are made over.
    over: Vec<String>,
    rows: Vec<Comparison>,
}

/// A method's result and that of the base under the same conditions.
type Pair<'a> = (&'a CellResult, &'a CellResult);

/// Pairs by the row they are in.
type PairsByGroup<'a> = BTreeMap<(&'a str, Vec<u32>), Vec<Pair<'a>>>;

struct Comparison {
    coords: Vec<String>,
    /// Method minus base, each pair once.
    difference: MeanStd,
    interval: Option<Interval>,
    t: Option<Corrected>,
    wilcoxon: Option<Corrected>,
}

struct Corrected {
    test: Test,
    holm: f64,
}

/// Returns the axis that names the methods: the one asked for, or `selector`, or the only one
/// that has the value `base`.
pub(super) fn methods(
    grid: &Grid,
    asked: Option<&str>,
    base: Option<&str>,
) -> Result<usize, Failure> {
    if let Some(name) = asked {
        return grid.axis("--by", name);
    }
    let named = grid.axes.iter().position(|axis| axis.path == "selector");
    let holds = |axis: &usize| {
        base.is_some_and(|base| grid.axes[*axis].values.iter().any(|value| value == base))
    };
    let holding: Vec<usize> = (0..grid.axes.len()).filter(holds).collect();
    match (named, &holding[..]) {
        (Some(axis), _) if base.is_none() || holds(&axis) => Ok(axis),
        (_, [axis]) => Ok(*axis),
        _ => {
            let what = match base {
                Some(base) => format!("no axis of methods has the value `{base}`"),
                None => "no axis is called `selector`".to_owned(),
            };
            let hint = format!("say which with --by; the axes are {}", grid.names());
            Err(Failure::mistake(what).hint(hint))
        }
    }
}

/// The method all others are compared with: a value on the axis that holds the methods.
#[derive(Clone, Copy)]
pub(super) struct Baseline<'a> {
    pub(super) axis: usize,
    pub(super) value: &'a str,
}

/// The pairs of a comparison, whichever metric is compared.
struct Design<'a> {
    grid: &'a Grid,
    metrics: &'a Metrics,
    base: &'a str,
    over: &'a [bool],
    level: f64,
    groups: PairsByGroup<'a>,
}

impl Against {
    /// Tests for each of `metrics` the methods against the baseline. Pairs are cells that agree on
    /// all other axes; a test is made of those that differ only on the axes of `over`.
    pub(super) fn all(
        grid: &Grid,
        metrics: &Metrics,
        baseline: Baseline<'_>,
        over: &[bool],
        level: f64,
    ) -> Result<Vec<Self>, Failure> {
        let Baseline { axis: by, value: base } = baseline;
        let Some(zero) = grid.axes[by].values.iter().position(|value| value == base) else {
            let axis = &grid.axes[by];
            let failure = Failure::mistake(format!("axis `{}` has no value `{base}`", axis.name));
            let hint = format!("name one with --against: {}", axis.values.join(", "));
            return Err(failure.hint(hint));
        };
        if over[by] {
            let name = &grid.axes[by].name;
            let failure = Failure::mistake(format!("axis `{name}` holds what is compared"));
            return Err(failure.hint("leave it out of --over"));
        }
        let zero = u32::try_from(zero).expect("fewer than 2^32 values and axes");
        let known: BTreeMap<(&str, &[u32]), &CellResult> =
            grid.results.iter().map(|one| ((one.label.as_str(), &one.coords[..]), one)).collect();
        let mut groups: PairsByGroup<'_> = BTreeMap::new();
        for result in grid.results.iter().filter(|one| one.coords[by] != zero) {
            let mut coords = result.coords.clone();
            coords[by] = zero;
            if let Some(partner) = known.get(&(result.label.as_str(), &coords[..])) {
                groups.entry(grid.row(result, over)).or_default().push((result, partner));
            }
        }
        if groups.is_empty() {
            let what = format!("no cell has a partner that differs from it by `{base}` alone");
            return Err(Failure::mistake(what)
                .hint("the pairs agree on every axis but the one compared: look at --where"));
        }
        // Cells that share both results are one pair.
        for group in groups.values_mut() {
            let mut met = BTreeSet::new();
            group.retain(|(a, b)| met.insert((a.id, b.id)));
        }
        let design = Design { grid, metrics, base, over, level, groups };
        Ok(metrics.names.iter().map(|metric| design.compare(metric)).collect())
    }
}

impl Design<'_> {
    /// Returns the tests for one metric.
    fn compare(&self, metric: &str) -> Against {
        let Self { grid, over, .. } = *self;
        let value = |one: &CellResult| one.metrics.as_ref()?.value(metric);
        let mut rows = vec![];
        let mut tests = vec![];
        for group in self.groups.values() {
            // Shares are multiples of 1 / n: equal differences of them must compare equal.
            let pairs = group.iter().filter_map(|(a, b)| Some(exact(value(a)? - value(b)?)));
            let differences: Vec<f64> = pairs.collect();
            let Some(difference) = MeanStd::of(&differences) else { continue };
            let kept = (0..grid.axes.len()).filter(|axis| !over[*axis]);
            rows.push(Comparison {
                coords: kept.map(|axis| grid.value(group[0].0, axis).to_owned()).collect(),
                difference,
                interval: t_interval(&differences, self.level),
                t: None,
                wilcoxon: None,
            });
            tests.push((paired_t(&differences), wilcoxon(&differences)));
        }
        let (t, w): (Vec<_>, Vec<_>) = tests.into_iter().unzip();
        for (row, (t, w)) in rows.iter_mut().zip(corrected(t).into_iter().zip(corrected(w))) {
            (row.t, row.wilcoxon) = (t, w);
        }
        let name = |axis: usize| (grid.axes[axis].name.clone(), grid.axes[axis].path.clone());
        let axes = 0..grid.axes.len();
        Against {
            metric: metric.to_owned(),
            metrics: self.metrics.clone(),
            base: self.base.to_owned(),
            level: self.level,
            axes: axes.clone().filter(|axis| !over[*axis]).map(name).collect(),
            over: axes.filter(|axis| over[*axis]).map(|axis| name(axis).0).collect(),
            rows,
        }
    }
}

impl MetricTable for Against {
    const LIST: &'static str = "comparisons";

    fn sheet(&self) -> Sheet {
        let mut head: Vec<String> = self.axes.iter().map(|(name, _)| name.clone()).collect();
        let words = head.len();
        let level = self.level * 100.0;
        head.extend(["difference".to_owned(), format!("{level} % interval")]);
        head.extend(["t", "p", "p Holm", "W", "p", "p Holm", "pairs"].map(str::to_owned));
        let numbers = words..head.len();
        let show = |value: f64| self.metrics.show_difference(&self.metric, value);
        let row = |row: &Comparison| {
            let mut line = row.coords.clone();
            line.push(show(row.difference.mean));
            line.push(match row.interval {
                Some(one) => format!("[{}, {}]", show(one.low), show(one.high)),
                None => "-".to_owned(),
            });
            for (one, digits) in [(&row.t, 2), (&row.wilcoxon, 1)] {
                match one {
                    Some(one) => line.extend([
                        format!("{:.digits$}", one.test.statistic),
                        chance(one.test.p),
                        chance(one.holm),
                    ]),
                    None => line.extend(["-"; 3].map(str::to_owned)),
                }
            }
            line.push(row.difference.n.to_string());
            line
        };
        let over = if self.over.is_empty() { "nothing".to_owned() } else { self.over.join(", ") };
        let caption = format!(
            "{}, less that of {}; paired over {over}; paired t test, Wilcoxon's signed ranks, \
             Holm's correction over {} tests of each",
            self.metrics.title(&self.metric),
            self.base,
            self.rows.len(),
        );
        let fewest = self.rows.iter().map(|row| row.difference.n).min().unwrap_or(0);
        let mut notes = vec![];
        if fewest < 6 {
            let least = 2.0_f64.powi(1 - i32::try_from(fewest).unwrap_or(0)).min(1.0);
            notes.push(format!(
                "with {fewest} pairs Wilcoxon's p cannot fall below {least}: more seeds say more"
            ));
        }
        let rows = self.rows.iter().map(row).collect();
        Sheet { caption: Some(caption), head, rows, numbers, notes }
    }

    fn csv_head(&self) -> String {
        let mut head = vec!["metric".to_owned()];
        head.extend(self.axes.iter().map(|(name, _)| name.clone()));
        let columns = [
            "against",
            "difference",
            "low",
            "high",
            "t",
            "t_p",
            "t_holm",
            "w",
            "w_p",
            "w_holm",
            "pairs",
        ];
        head.extend(columns.map(str::to_owned));
        csv_line(&head)
    }

    fn csv(&self) -> String {
        let row = |row: &Comparison| {
            let mut line = vec![self.metric.clone()];
            line.extend(row.coords.iter().cloned());
            line.extend([self.base.clone(), row.difference.mean.to_string()]);
            line.push(csv_number(row.interval.map(|one| one.low)));
            line.push(csv_number(row.interval.map(|one| one.high)));
            for one in [&row.t, &row.wilcoxon] {
                let one = one.as_ref();
                line.push(csv_number(one.map(|one| one.test.statistic)));
                line.push(csv_number(one.map(|one| one.test.p)));
                line.push(csv_number(one.map(|one| one.holm)));
            }
            line.push(row.difference.n.to_string());
            csv_line(&line)
        };
        self.rows.iter().map(row).collect()
    }

    fn json(&self) -> Value {
        let test = |one: &Option<Corrected>| {
            one.as_ref().map(
                |one| json!({ "statistic": one.test.statistic, "p": one.test.p, "holm": one.holm }),
            )
        };
        let row = |row: &Comparison| {
            let values = row.coords.iter().map(|value| json!(value));
            let coords: Map<String, Value> =
                self.axes.iter().map(|(_, path)| path.clone()).zip(values).collect();
            json!({
                "coords": coords,
                "difference": {
                    "mean": row.difference.mean,
                    "std": row.difference.std,
                    "low": row.interval.map(|one| one.low),
                    "high": row.interval.map(|one| one.high),
                },
                "pairs": row.difference.n,
                "t": test(&row.t),
                "wilcoxon": test(&row.wilcoxon),
            })
        };
        json!({
            "metric": self.metric,
            "against": self.base,
            "over": self.over,
            "level": self.level,
            "tests": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }
}

/// Adds Holm's correction; what could not be tested is no member of the family.
fn corrected(tests: Vec<Option<Test>>) -> Vec<Option<Corrected>> {
    let p: Vec<f64> = tests.iter().flatten().map(|test| test.p).collect();
    let mut holm = holm(&p).into_iter();
    let mut add = |test| Corrected { test, holm: holm.next().expect("there is one for each test") };
    tests.into_iter().map(|test| test.map(&mut add)).collect()
}

/// Returns `value` without the last digits, which hold nothing but the rounding of sums.
pub(super) fn exact(value: f64) -> f64 {
    (value * 1e12).round() / 1e12
}

/// Returns a chance as people read it.
pub(super) fn chance(p: f64) -> String {
    if p < 0.0001 { "<0.0001".to_owned() } else { format!("{p:.4}") }
}
