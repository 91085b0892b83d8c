//! The sources of results: pipelines as the store has them now, and runs as they were.

use crate::{
    context::{Context, Failure, Pipeline, axis_names, run_command, stream_name},
    runs,
};
use cache::{Artifact, Key, Provenance, Recipe, Store, StoreError};
use engine::{Forecast, NodeId, PipelineFile, Plan, RunNode, RunRecord};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

/// The kind of artifact that holds measurements.
const METRICS: &str = artifacts::parts::METRICS.0;

/// A pipeline or a run: its matrix and what was computed of it.
pub(crate) struct ResultSource {
    /// The name the user gave: a file, a run.
    pub(crate) name: String,
    /// The command that makes what is missing of it.
    pub(crate) run_command: String,
    /// The axes of its matrix and their values.
    pub(crate) axes: Vec<(String, Vec<String>)>,
    /// Inputs before what needs them.
    pub(crate) nodes: Vec<SourceNode>,
}

/// One computation of a source.
pub(crate) struct SourceNode {
    pub(crate) label: String,
    /// The first cell it was met in, and the axes it depends on.
    pub(crate) coords: Vec<u32>,
    pub(crate) axes: Vec<u32>,
    pub(crate) key: Option<Key>,
    pub(crate) recipe: Option<Recipe>,
    pub(crate) output: Option<Artifact>,
    pub(crate) provenance: Option<Provenance>,
    /// The computations it stands on, by place.
    pub(crate) inputs: Vec<usize>,
    /// The cells it is a result of.
    pub(crate) cells: Vec<Vec<u32>>,
}

/// The flags that are laid over pipeline files, and not over runs.
#[derive(Clone, Copy, Default)]
pub(crate) struct Overrides<'a> {
    /// The settings: `PATH=VALUE`.
    pub(crate) set: &'a [String],
    pub(crate) targets: &'a [String],
}

impl ResultSource {
    /// Reads what `name` names: a pipeline file, a run, or `FILE@RUN`.
    pub(crate) fn read(
        name: &str,
        overrides: Overrides<'_>,
        context: &Context,
        store: &Store,
    ) -> Result<Self, Failure> {
        if let Some((file, run)) = name.rsplit_once('@')
            && is_file(file)
        {
            let run = run_of(store, file, run)?;
            let source = Self::of_run(name, &run, store)?;
            // The file as it is called here, not by its whole path.
            return Ok(Self { run_command: command_of(file, &run), ..source });
        }
        if !is_file(name) {
            return Self::of_run(name, &runs::find(store, name)?, store);
        }
        let pipeline = Pipeline {
            pipeline: name.into(),
            set: overrides.set.to_vec(),
            target: overrides.targets.to_vec(),
        };
        let plan = context.plan(&pipeline)?;
        let forecast = Forecast::of(&plan, store)?;
        let source = Self::of_forecast(name, &plan, &forecast);
        Ok(Self { run_command: pipeline.run_command(), ..source })
    }

    /// Returns `plan` with what the store has of it.
    pub(crate) fn of_forecast(name: &str, plan: &Plan, forecast: &Forecast) -> Self {
        let mut source = Self::of_plan(name, plan);
        for ((id, _), node) in plan.nodes().zip(&mut source.nodes) {
            node.key = forecast.keys[id.index()];
            node.recipe.clone_from(&forecast.recipes[id.index()]);
            if let Some(record) = forecast.record(id) {
                node.recipe = Some(record.recipe.clone());
                node.output = Some(record.output.clone());
                node.provenance = Some(record.provenance.clone());
            }
        }
        source
    }

    /// Returns `plan` with what a run of it gave; with its records where `with_records` says so.
    pub(crate) fn of_result(
        plan: &Plan,
        store: &Store,
        outputs: &[Option<Arc<Artifact>>],
        keys: &[Option<Key>],
        with_records: bool,
    ) -> Result<Self, StoreError> {
        let mut source = Self::of_plan(&plan.path.display().to_string(), plan);
        for (at, node) in source.nodes.iter_mut().enumerate() {
            node.key = keys[at];
            node.output = outputs[at].as_deref().cloned();
            if let Some(key) = keys[at].filter(|_| with_records)
                && let Some(record) = store.record(key)?
            {
                (node.recipe, node.provenance) = (Some(record.recipe), Some(record.provenance));
            }
        }
        Ok(source)
    }

    fn of_plan(name: &str, plan: &Plan) -> Self {
        let mut nodes: Vec<SourceNode> = plan
            .nodes()
            .map(|(_, node)| SourceNode {
                label: node.label.to_string(),
                coords: plan.cells[node.cell as usize].coords.clone(),
                axes: node.axes.clone(),
                key: None,
                recipe: None,
                output: None,
                provenance: None,
                inputs: node.inputs.iter().map(|(_, input)| input.index()).collect(),
                cells: vec![],
            })
            .collect();
        for cell in &plan.cells {
            let gives = |target: &&NodeId| plan.node(**target).stage.output().0 == METRICS;
            for target in cell.targets.iter().filter(gives) {
                nodes[target.index()].cells.push(cell.coords.clone());
            }
        }
        let axes = plan.axes.iter().map(|axis| (axis.name.clone(), axis.values.clone())).collect();
        let run_command = run_command(&plan.path.display().to_string(), &[], &[]);
        Self { name: name.to_owned(), run_command, axes, nodes }
    }

    /// Returns `run` with what the store still has of it.
    pub(crate) fn of_run(name: &str, run: &RunRecord, store: &Store) -> Result<Self, Failure> {
        let keys: Vec<Key> = run.nodes.iter().filter_map(|node| node.key).collect();
        store.prefetch_records(&keys);
        let mut nodes: Vec<SourceNode> = vec![];
        let mut made: BTreeMap<_, usize> = BTreeMap::new();
        for (at, node) in run.nodes.iter().enumerate() {
            let record = node.key.map(|key| store.record(key)).transpose()?.flatten();
            let (recipe, output, provenance) = match record {
                Some(record) => (Some(record.recipe), Some(record.output), Some(record.provenance)),
                None => (None, None, None),
            };
            let inputs: BTreeSet<usize> = match &node.inputs {
                Some(inputs) => inputs.iter().map(|input| *input as usize).collect(),
                // Earlier builds did not say what stood on what: the recipes do, by content.
                None => {
                    let inputs = recipe.iter().flat_map(|recipe| recipe.inputs.values());
                    inputs.filter_map(|one| made.get(one).copied()).collect()
                }
            };
            if let Some(output) = &output {
                made.entry(output.digest()).or_insert(at);
            }
            nodes.push(SourceNode {
                label: node.label.clone(),
                coords: node.cell.clone(),
                axes: axes_of(run, node),
                key: node.key,
                recipe,
                output,
                provenance,
                inputs: inputs.into_iter().collect(),
                cells: vec![],
            });
        }
        let gives =
            |node: &SourceNode| node.output.as_ref().is_some_and(|output| output.kind == METRICS);
        let results: BTreeSet<String> =
            nodes.iter().filter(|node| gives(node)).map(|node| node.label.clone()).collect();
        let sizes: Vec<usize> = run.axes.iter().map(|(_, values)| values.len()).collect();
        for node in nodes.iter_mut().filter(|node| results.contains(&node.label)) {
            node.cells = match &run.cells {
                Some(all) => {
                    let agrees = |cell: &&Vec<u32>| {
                        node.axes.iter().all(|axis| {
                            let axis = *axis as usize;
                            cell.get(axis) == node.coords.get(axis)
                        })
                    };
                    all.iter().filter(agrees).cloned().collect()
                }
                None => cells(&node.coords, &node.axes, &sizes),
            };
        }
        let run_command = command_of(&run.pipeline, run);
        Ok(Self { name: name.to_owned(), run_command, axes: run.axes.clone(), nodes })
    }

    /// Tells whether any of its computations is known to give results.
    pub(crate) fn has_results(&self) -> bool {
        self.nodes.iter().any(|node| !node.cells.is_empty())
    }

    /// Returns the computations `node` stands on, itself last.
    pub(crate) fn behind(&self, node: usize) -> BTreeSet<usize> {
        let mut open = vec![node];
        let mut seen = BTreeSet::from([node]);
        while let Some(one) = open.pop() {
            open.extend(self.nodes[one].inputs.iter().filter(|input| seen.insert(**input)));
        }
        seen
    }

    /// Returns a computation's name for people: its label, and where it stands on the axes it
    /// depends on.
    pub(crate) fn describe(&self, node: usize) -> String {
        let node = &self.nodes[node];
        let names = axis_names(self.axes.iter().map(|(path, _)| path.as_str()));
        let pair = |axis: &u32| {
            let axis = *axis as usize;
            let value = self.axes.get(axis)?.1.get(*node.coords.get(axis)? as usize)?;
            Some(format!("{}={value}", names[axis]))
        };
        let pairs: Vec<String> = node.axes.iter().filter_map(pair).collect();
        if pairs.is_empty() {
            node.label.clone()
        } else {
            format!("{} [{}]", node.label, pairs.join(" "))
        }
    }

    /// Returns what a setting such as `student.with.lr` is in what `node` stands on.
    pub(crate) fn setting(&self, node: usize, path: &str) -> Option<String> {
        let mut parts = path.split('.');
        let stage = parts.next()?;
        let kind = parts.next()?;
        let behind = self.behind(node);
        let mut named = behind.iter().map(|at| &self.nodes[*at]);
        let recipe = named.find(|one| one.label == stage)?.recipe.as_ref()?;
        match kind {
            "use" => Some(recipe.method.clone()),
            "seed" => recipe.seed.map(|seed| seed.to_string()),
            "with" => parts.try_fold(&*recipe.settings, |value, part| value.get(part)).map(plain),
            _ => None,
        }
    }
}

/// Returns the command that repeats `run`, the file of which is called `file`.
fn command_of(file: &str, run: &RunRecord) -> String {
    let flags = |flag: &str| -> Vec<String> {
        let given = run.sources.iter().filter(|source| source.name == flag);
        given.map(|source| source.text.clone()).collect()
    };
    run_command(file, &flags("--set"), &flags("--target"))
}

/// Returns a value without the quotes of a string.
pub(crate) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Tells whether `name` is that of a pipeline file.
pub(crate) fn is_file(name: &str) -> bool {
    let path = Path::new(name);
    let named = path.extension().is_some_and(|end| end == "toml");
    named || path.is_file() || stream_name(path).is_some()
}

/// Returns the run of `file` called `name`: the beginning of its name, `last`, or `~N` for the
/// N-th before the last.
fn run_of(store: &Store, file: &str, name: &str) -> Result<RunRecord, Failure> {
    let path = PipelineFile::at_path(Path::new(file));
    let back = match name.strip_prefix('~') {
        Some(back) => back.parse().ok(),
        None => (name == "last").then_some(0),
    };
    let found = match back {
        Some(back) => RunRecord::newest(store, Some(&path), back)?,
        None => {
            let called =
                |run: &RunRecord| run.id.starts_with(name) || run.name.as_deref() == Some(name);
            let named = |run: &RunRecord| path.ran(run) && called(run);
            let mut all = runs::newest(store, usize::MAX, named)?;
            if let [newest, .., oldest] = &all[..] {
                let many = format!("{} runs of `{file}` begin with `{name}`", all.len());
                let hint = format!("they are {} to {}", oldest.id, newest.id);
                return Err(Failure::mistake(many).hint(hint));
            }
            all.pop()
        }
    };
    found.ok_or_else(|| {
        let failure = Failure::mistake(format!("`{file}` has no run called `{name}`"));
        failure.hint(format!("`coresift runs {file}` lists them; `last` and `~1` are names too"))
    })
}

/// Returns the axes `node` depends on. A run of an earlier build does not say, so there it is all.
fn axes_of(run: &RunRecord, node: &RunNode) -> Vec<u32> {
    let all = 0..u32::try_from(run.axes.len()).expect("fewer than 2^32 values and axes");
    node.axes.clone().unwrap_or_else(|| all.collect())
}

/// Returns the cells that agree with `first` on `axes`.
fn cells(first: &[u32], axes: &[u32], sizes: &[usize]) -> Vec<Vec<u32>> {
    let mut cells = vec![first.to_vec()];
    for (axis, size) in sizes.iter().enumerate() {
        if axes.iter().any(|one| *one as usize == axis) {
            continue;
        }
        let spread = |cell: Vec<u32>| {
            let values = 0..u32::try_from(*size).expect("fewer than 2^32 values and axes");
            values.map(move |value| {
                let mut cell = cell.clone();
                cell[axis] = value;
                cell
            })
        };
        cells = cells.into_iter().flat_map(spread).collect();
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_stands_in_every_cell_that_agrees_with_it() {
        let found = cells(&[1, 0, 2], &[0, 2], &[2, 3, 4]);
        assert_eq!(found, [[1, 0, 2], [1, 1, 2], [1, 2, 2]]);
        assert_eq!(cells(&[0, 1], &[0, 1], &[2, 2]), [[0, 1]]);
    }
}
