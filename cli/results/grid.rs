//! The results of one source or several, laid on common axes: one per target and matrix cell.

use super::measured::{MeasuredSource, Measurements};
use crate::{
    context::{Failure, axis_names},
    matrix::{AxisMatch, find_axis, same_value},
    sources::ResultSource,
};
use cache::Key;
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// The axis that tells several sources apart.
const SOURCE: &str = "source";
/// The axis that tells their data sets apart, where they have several.
const DATASET: &str = "dataset";
/// The value on an axis of which a source says nothing.
const NOTHING: &str = "-";

/// The results of one source or several, on common matrix axes.
pub(crate) struct Grid {
    pub(crate) axes: Vec<GridAxis>,
    pub(crate) results: Vec<CellResult>,
}

/// An axis of the matrix and its values.
pub(crate) struct GridAxis {
    /// Its full name in the pipeline.
    pub(crate) path: String,
    /// Its short name, in tables.
    pub(crate) name: String,
    pub(crate) values: Vec<String>,
}

/// The result of one target in one cell of the matrix.
#[derive(Clone)]
pub(crate) struct CellResult {
    pub(crate) label: String,
    /// The value taken on each axis.
    pub(crate) coords: Vec<u32>,
    /// Equal for cells that share a result (one key): it was measured once.
    pub(crate) id: usize,
    /// The metrics of the evaluation; `None` if it is not computed.
    pub(crate) metrics: Option<Rc<Measurements>>,
    /// Which source, and which of its computations.
    pub(crate) at: (usize, usize),
}

impl Grid {
    /// Lays `sources`, of which `measured` is known, on common axes. A source without an axis
    /// that another has stands at its own setting there.
    pub(crate) fn of(sources: &[ResultSource], measured: &[MeasuredSource]) -> Self {
        let mut paths: Vec<&str> = vec![];
        for (path, _) in sources.iter().flat_map(|source| &source.axes) {
            if !paths.contains(&path.as_str()) {
                paths.push(path);
            }
        }
        let several = sources.len() > 1;
        let mut rows: Vec<(Vec<String>, CellResult)> = vec![];
        let mut ids: BTreeMap<Key, usize> = BTreeMap::new();
        let mut next = 0;
        for (number, (source, measured)) in sources.iter().zip(measured).enumerate() {
            for (at, node) in source.nodes.iter().enumerate() {
                if node.cells.is_empty() {
                    continue;
                }
                let id = node.key.map_or(next, |key| *ids.entry(key).or_insert(next));
                next += 1;
                let own: Vec<(Option<usize>, String)> =
                    paths.iter().map(|path| place(source, at, path)).collect();
                let dataset = if several { dataset(source, at) } else { String::new() };
                for cell in &node.cells {
                    let mut values = vec![source.name.clone(), dataset.clone()];
                    values.extend(own.iter().map(|(axis, fixed)| match axis {
                        Some(axis) => source.axes[*axis].1[cell[*axis] as usize].clone(),
                        None => fixed.clone(),
                    }));
                    let metrics = measured.metrics.get(&at).cloned();
                    let label = node.label.clone();
                    let coords = vec![];
                    rows.push((
                        values,
                        CellResult { label, coords, id, metrics, at: (number, at) },
                    ));
                }
            }
        }
        let all: Vec<&str> = [SOURCE, DATASET].into_iter().chain(paths).collect();
        let mut values: Vec<Vec<String>> = vec![vec![]; all.len()];
        // A source's own axes keep their order; what only others know comes behind.
        for (path, own) in sources.iter().flat_map(|source| &source.axes) {
            let at = all.iter().position(|one| one == path).expect("every axis is among them");
            for value in own {
                if !values[at].contains(value) {
                    values[at].push(value.clone());
                }
            }
        }
        if several {
            values.iter_mut().for_each(|values| sort_numbers(values));
        }
        let mut results = vec![];
        for (own, mut result) in rows {
            result.coords = own
                .into_iter()
                .zip(&mut values)
                .map(|(value, known)| {
                    let at = known.iter().position(|one| *one == value).unwrap_or_else(|| {
                        known.push(value);
                        known.len() - 1
                    });
                    u32::try_from(at).expect("fewer than 2^32 values and axes")
                })
                .collect();
            results.push(result);
        }
        let axes = all.into_iter().zip(values);
        let axes = axes.map(|(path, values)| (path.to_owned(), values)).collect();
        let mut grid = Self { axes: vec![], results };
        grid.name(axes);
        // One source, or one data set, needs no column.
        grid.drop_if_single(DATASET);
        grid.drop_if_single(SOURCE);
        grid
    }

    fn name(&mut self, axes: Vec<(String, Vec<String>)>) {
        let names = axis_names(axes.iter().map(|(path, _)| path.as_str()));
        let axis = |(name, (path, values))| GridAxis { path, name, values };
        self.axes = names.into_iter().zip(axes).map(axis).collect();
    }

    fn drop_if_single(&mut self, path: &str) {
        let Some(at) = self.axes.iter().position(|axis| axis.path == path) else { return };
        if self.axes[at].values.len() > 1 {
            return;
        }
        self.axes.remove(at);
        self.results.iter_mut().for_each(|result| {
            result.coords.remove(at);
        });
        let axes: Vec<GridAxis> = std::mem::take(&mut self.axes);
        self.name(axes.into_iter().map(|axis| (axis.path, axis.values)).collect());
    }

    /// Returns the axis called `name`, which `flag` asked for.
    pub(crate) fn axis(&self, flag: &str, name: &str) -> Result<usize, Failure> {
        let what = match find_axis(self.axes.iter().map(|axis| axis.path.as_str()), name) {
            AxisMatch::One(axis) => return Ok(axis),
            AxisMatch::None => format!("{flag} {name}: no axis is called so"),
            AxisMatch::Several => format!("{flag} {name}: several axes end so"),
        };
        Err(Failure::mistake(what).hint(format!("the axes are {}", self.names())))
    }

    pub(crate) fn names(&self) -> String {
        let names: Vec<&str> = self.axes.iter().map(|axis| axis.name.as_str()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }

    /// Returns the value of `result` on `axis`.
    pub(crate) fn value(&self, result: &CellResult, axis: usize) -> &str {
        &self.axes[axis].values[result.coords[axis] as usize]
    }

    /// Keeps what every one of `wanted` takes: `AXIS=VALUE` or `AXIS!=VALUE`, where the axis may
    /// also be a setting, `STAGE.with.SETTING`. Several values of one axis are alternatives.
    pub(crate) fn keep(
        &mut self,
        sources: &[ResultSource],
        wanted: &[String],
    ) -> Result<(), Failure> {
        let mut takes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut refuses: Vec<(&str, &str)> = vec![];
        for text in wanted {
            let form = "not of the form AXIS=VALUE or AXIS!=VALUE";
            let (name, value) = text
                .split_once('=')
                .ok_or_else(|| Failure::mistake(format!("--where {text}: {form}")))?;
            let value = value.trim().trim_matches('"');
            match name.strip_suffix('!') {
                Some(name) => refuses.push((name.trim(), value)),
                None => takes.entry(name.trim()).or_default().push(value),
            }
        }
        for (name, values) in takes {
            self.filter(sources, name, &values, true)?;
        }
        for (name, value) in refuses {
            self.filter(sources, name, &[value], false)?;
        }
        Ok(())
    }

    fn filter(
        &mut self,
        sources: &[ResultSource],
        name: &str,
        wanted: &[&str],
        keep: bool,
    ) -> Result<(), Failure> {
        let setting = [".with.", ".use", ".seed"].iter().any(|part| name.contains(part));
        let axis = match self.axis("--where", name) {
            Ok(axis) => Some(axis),
            Err(_) if setting => None,
            Err(failure) => return Err(failure),
        };
        let value = |result: &CellResult| match axis {
            Some(axis) => Some(self.value(result, axis).to_owned()),
            None => sources[result.at.0].setting(result.at.1, name),
        };
        let values: Vec<Option<String>> = self.results.iter().map(value).collect();
        for one in wanted {
            if !values.iter().flatten().any(|value| same_value(value, one)) {
                let known: BTreeSet<&String> = values.iter().flatten().collect();
                let known: Vec<&str> = known.into_iter().map(String::as_str).collect();
                let failure = Failure::mistake(format!("--where {name}={one}: nothing has it"));
                return Err(match &known[..] {
                    [] => failure.hint("no computed result has such a setting"),
                    known => failure.hint(format!("the values are {}", known.join(", "))),
                });
            }
        }
        let mut values = values.into_iter();
        self.results.retain(|_| {
            let value = values.next().flatten();
            value.is_some_and(|value| wanted.iter().any(|one| same_value(&value, one))) == keep
        });
        Ok(())
    }

    /// Returns the label and the values of `result` on the axes that `over` keeps: what makes
    /// a row.
    pub(crate) fn row<'a>(&self, result: &'a CellResult, over: &[bool]) -> (&'a str, Vec<u32>) {
        let kept = result.coords.iter().zip(over).filter(|(_, over)| !**over);
        (&result.label, kept.map(|(value, _)| *value).collect())
    }

    /// Returns the data sets that rows averaged over the axes of `over` mix: one line of names for
    /// each such mixture.
    pub(crate) fn pooled_datasets(&self, sources: &[ResultSource], over: &[bool]) -> Vec<String> {
        let mut groups: BTreeMap<(&str, Vec<u32>), BTreeSet<String>> = BTreeMap::new();
        for result in &self.results {
            let dataset = dataset(&sources[result.at.0], result.at.1);
            groups.entry(self.row(result, over)).or_default().insert(dataset);
        }
        let pooled: BTreeSet<Vec<String>> = groups
            .into_values()
            .map(|sets| sets.into_iter().filter(|set| set != NOTHING).collect::<Vec<_>>())
            .filter(|sets| sets.len() > 1)
            .collect();
        pooled.into_iter().map(|sets| sets.join(", ")).collect()
    }
}

/// Returns the axis of `source` called `path`, or what its computation `node` has instead.
fn place(source: &ResultSource, node: usize, path: &str) -> (Option<usize>, String) {
    let axis = source.axes.iter().position(|(one, _)| one == path);
    let fixed = match axis {
        Some(_) => None,
        None => source.setting(node, path),
    };
    (axis, fixed.unwrap_or_else(|| NOTHING.to_owned()))
}

/// Returns a name for the data set behind `node`: the method that loads it, told from another
/// of the same method by its settings and files. The seed is no part of it.
fn dataset(source: &ResultSource, node: usize) -> String {
    let behind = source.behind(node);
    let roots = behind.iter().map(|at| &source.nodes[*at]).filter(|one| one.inputs.is_empty());
    let mut names: Vec<String> = vec![];
    for recipe in roots.filter_map(|one| one.recipe.as_ref()) {
        let mut same = recipe.clone();
        (same.seed, same.revision) = (None, 0);
        let method = recipe.method.strip_prefix("load.").unwrap_or(&recipe.method);
        names.push(match recipe.settings.as_object() {
            Some(settings) if settings.is_empty() && recipe.inputs.is_empty() => method.to_owned(),
            _ => format!("{method}#{}", &same.key().to_string()[..6]),
        });
    }
    names.sort();
    names.dedup();
    if names.is_empty() { NOTHING.to_owned() } else { names.join("+") }
}

/// Orders values that are numbers; words stay as they are.
fn sort_numbers(values: &mut [String]) {
    let number = |value: &String| value.parse::<f64>().unwrap_or(f64::NAN);
    if values.iter().all(|value| !number(value).is_nan()) {
        values.sort_by(|a, b| number(a).total_cmp(&number(b)));
    }
}
