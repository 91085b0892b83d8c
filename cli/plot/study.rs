//! What a pipeline's results are, read from the store: the rows of the matrix and what lies under
//! each of them.

use crate::context::{Failure, axis_names, chain};
use cache::{Bytes, Store};
use engine::{Forecast, NodeId, PipelineFile, Plan, Run};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// A pipeline, and what the store has of it.
pub(crate) struct Study<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) store: &'a Store,
    pub(crate) forecast: Forecast,
    /// The newest run that made something of it, or else the newest.
    pub(crate) run: Option<Run>,
    /// The newest, if stages of it failed.
    pub(crate) failed: Option<Run>,
    pub(crate) rows: Vec<Row>,
    roles: Roles,
    positions: RefCell<BTreeMap<NodeId, Rc<Vec<u32>>>>,
}

/// The results of the cells that differ in their seeds alone.
pub(crate) struct Row {
    /// What is compared: the value on the axis of selectors.
    pub(crate) series: String,
    /// The values on the axes that are neither selectors, sizes nor seeds.
    pub(crate) facet: String,
    /// The value on the axis of sizes.
    pub(crate) size: String,
    /// The share of the training set that was kept, if it is known.
    pub(crate) keep: Option<f64>,
    /// How many results it has when all are there.
    pub(crate) wanted: usize,
    pub(crate) outcomes: Vec<Outcome>,
}

/// One result and what it stands on.
pub(crate) struct Outcome {
    /// The values of the seeds.
    pub(crate) seeds: Vec<u32>,
    pub(crate) metrics: Value,
    pub(crate) model: Option<NodeId>,
    pub(crate) subset: Option<NodeId>,
    /// What it was trained on.
    pub(crate) data: Option<NodeId>,
}

/// A mean, and the standard deviation with n - 1 below where there are several values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stat {
    pub(crate) mean: f64,
    pub(crate) std: Option<f64>,
}

impl Stat {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.into_iter().collect();
        let n = values.len() as f64;
        if values.is_empty() {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let std = (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt());
        Some(Self { mean, std })
    }
}

impl Row {
    /// Returns the mean of a metric.
    pub(crate) fn stat(&self, metric: &str) -> Option<Stat> {
        Stat::of(self.outcomes.iter().filter_map(|one| one.metrics[metric].as_f64()))
    }

    /// Returns the share kept as people say it, or nothing where it is not known.
    pub(crate) fn share(&self) -> String {
        self.keep.map(percent).unwrap_or_default()
    }
}

/// What the axes of the matrix are, by their numbers.
struct Roles {
    seeds: Vec<usize>,
    size: Option<usize>,
    series: Option<usize>,
    others: Vec<usize>,
}

impl Roles {
    fn of(plan: &Plan) -> Self {
        let ends = |axis: usize, word: &str| {
            let name = &plan.axes[axis].name;
            name == word || name.ends_with(&format!(".{word}"))
        };
        let (seeds, mut others): (Vec<usize>, Vec<usize>) =
            (0..plan.axes.len()).partition(|axis| ends(*axis, "seed"));
        let mut take = |found: Option<usize>| found.map(|at| others.remove(at));
        let first = |axis: &usize| ends(*axis, "keep") || ends(*axis, "budget");
        let size = take(
            (0..plan.axes.len()).filter(|axis| !seeds.contains(axis)).position(|axis| first(&axis)),
        );
        let named = others.iter().position(|axis| ends(*axis, "selector"));
        let at = named.or_else(|| others.iter().position(|axis| changes_method(plan, *axis)));
        let at = at.or(if others.is_empty() { None } else { Some(0) });
        let series = at.map(|at| others.remove(at));
        Self { seeds, size, series, others }
    }
}

/// Tells whether another value on `axis` makes another method select.
fn changes_method(plan: &Plan, axis: usize) -> bool {
    let mut methods: BTreeMap<Vec<u32>, BTreeSet<&str>> = BTreeMap::new();
    for cell in &plan.cells {
        let mut coords = cell.coords.clone();
        coords[axis] = 0;
        let nodes = cell.stages().map(|(_, node)| plan.node(node));
        let selects = nodes.filter(|node| node.stage.output().0 == "subset");
        methods.entry(coords).or_default().extend(selects.map(|node| node.stage.method()));
    }
    methods.values().any(|methods| methods.len() > 1)
}

impl<'a> Study<'a> {
    pub(crate) fn read(plan: &'a Plan, store: &'a Store) -> Result<Self, Failure> {
        let forecast = Forecast::of(plan, store)?;
        let (run, failed) = newest_runs(plan, store, &forecast)?;
        let roles = Roles::of(plan);
        let positions = RefCell::default();
        let mut study = Self { plan, store, forecast, run, failed, rows: vec![], roles, positions };
        study.rows = study.averaged()?;
        Ok(study)
    }

    fn averaged(&self) -> Result<Vec<Row>, Failure> {
        let labels: BTreeSet<&str> = self
            .plan
            .cells
            .iter()
            .flat_map(|cell| &cell.targets)
            .map(|target| &*self.plan.node(*target).label)
            .collect();
        let mut rows: Vec<Row> = vec![];
        let mut known: BTreeMap<Vec<String>, usize> = BTreeMap::new();
        let mut met: BTreeSet<(usize, NodeId)> = BTreeSet::new();
        for cell in &self.plan.cells {
            let value =
                |axis: usize| self.plan.axes[axis].values[cell.coords[axis] as usize].clone();
            for target in &cell.targets {
                let node = self.plan.node(*target);
                if self.kind(*target) != "metrics" {
                    continue;
                }
                let model = self.input(*target, "model");
                let subset = model.and_then(|model| self.input(model, "subset"));
                let series = match (self.roles.series, subset) {
                    (Some(axis), _) => value(axis),
                    (None, Some(subset)) => self.plan.node(subset).stage.method().to_owned(),
                    (None, None) => "everything".to_owned(),
                };
                let names = axis_names(self.plan.axes.iter().map(|axis| axis.name.as_str()));
                let mut facet: Vec<String> = vec![];
                facet.extend((labels.len() > 1).then(|| node.label.to_string()));
                let others = self.roles.others.iter();
                facet.extend(others.map(|axis| format!("{} {}", names[*axis], value(*axis))));
                let facet = facet.join(", ");
                let size = self.roles.size.map(value).unwrap_or_default();
                let key = vec![facet.clone(), size.clone(), series.clone()];
                let at = *known.entry(key).or_insert_with(|| {
                    let (keep, wanted, outcomes) = (None, 0, vec![]);
                    rows.push(Row { series, facet, size, keep, wanted, outcomes });
                    rows.len() - 1
                });
                // Cells that agree on a result measured it once.
                if !met.insert((at, *target)) {
                    continue;
                }
                rows[at].wanted += 1;
                let Some(metrics) = self.json(*target, "metrics")? else { continue };
                let data = model.and_then(|model| self.input(model, "data"));
                let seeds = self.roles.seeds.iter().map(|axis| cell.coords[*axis]).collect();
                rows[at].outcomes.push(Outcome { seeds, metrics, model, subset, data });
            }
        }
        let mut sizes: BTreeMap<NodeId, Option<f64>> = BTreeMap::new();
        for row in &mut rows {
            let Some(first) = row.outcomes.first() else { continue };
            let Some(data) = first.data else { continue };
            let size = match sizes.get(&data) {
                Some(known) => *known,
                None => self.json(data, "meta")?.and_then(|meta| meta["train"].as_f64()),
            };
            sizes.insert(data, size);
            let samples = row.stat("train_samples").map(|stat| stat.mean);
            row.keep = samples.zip(size).map(|(kept, all)| kept / all.max(1.0));
        }
        Ok(rows)
    }

    pub(crate) fn kind(&self, node: NodeId) -> &'static str {
        self.plan.node(node).stage.output().0
    }

    /// Returns what `port` of `node` is connected to.
    pub(crate) fn input(&self, node: NodeId, port: &str) -> Option<NodeId> {
        let inputs = &self.plan.node(node).inputs;
        inputs.iter().find(|(name, _)| *name == port).map(|(_, source)| *source)
    }

    /// Returns the nodes of `kind` that are computed: each name once for every combination of the
    /// axes that are no seeds, with that name.
    pub(crate) fn groups(&self, kind: &str) -> Vec<(String, Vec<NodeId>)> {
        let mut groups: Vec<(String, Vec<NodeId>)> = vec![];
        for (id, node) in self.plan.nodes() {
            if self.kind(id) != kind || self.forecast.record(id).is_none() {
                continue;
            }
            let cell = &self.plan.cells[node.cell as usize];
            let coords = self.plan.coordinates(cell);
            let names = axis_names(self.plan.axes.iter().map(|axis| axis.name.as_str()));
            let mut name = node.label.to_string();
            for axis in node.axes.iter().map(|axis| *axis as usize) {
                if !self.roles.seeds.contains(&axis) {
                    name.push_str(&format!(", {} {}", names[axis], coords[axis].1));
                }
            }
            match groups.iter_mut().find(|(one, _)| *one == name) {
                Some((_, nodes)) => nodes.push(id),
                None => groups.push((name, vec![id])),
            }
        }
        groups
    }

    /// Returns part `name` of what `node` gave, if it is computed and has one.
    pub(crate) fn part(&self, node: NodeId, name: &str) -> Result<Option<Bytes>, Failure> {
        let Some(record) = self.forecast.record(node) else { return Ok(None) };
        Ok(record.output.parts.get(name).map(|blob| self.store.get(blob)).transpose()?)
    }

    pub(crate) fn json(&self, node: NodeId, part: &str) -> Result<Option<Value>, Failure> {
        let Some(bytes) = self.part(node, part)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| self.unread(node, part, &error))
    }

    /// Returns the numbers of a tensor.
    pub(crate) fn numbers(
        &self,
        node: NodeId,
        part: &str,
        tensor: &str,
    ) -> Result<Option<Vec<f64>>, Failure> {
        let Some(bytes) = self.part(node, part)? else { return Ok(None) };
        let all = SafeTensors::deserialize(&bytes).map_err(|e| self.unread(node, part, &e))?;
        let view = all.tensor(tensor).map_err(|error| self.unread(node, part, &error))?;
        let data = view.data();
        Ok(match view.dtype() {
            Dtype::F32 => Some(
                data.chunks_exact(4)
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).into())
                    .collect(),
            ),
            Dtype::I64 => Some(
                data.chunks_exact(8)
                    .map(|b| {
                        i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f64
                    })
                    .collect(),
            ),
            _ => None,
        })
    }

    /// Returns a tensor of positions or labels. Each is read once.
    fn whole(&self, node: NodeId, part: &str, tensor: &str) -> Result<Option<Vec<u32>>, Failure> {
        let numbers = self.numbers(node, part, tensor)?;
        Ok(numbers.map(|numbers| numbers.into_iter().map(|number| number as u32).collect()))
    }

    /// Returns the positions a subset holds, sorted.
    pub(crate) fn positions(&self, subset: NodeId) -> Result<Option<Rc<Vec<u32>>>, Failure> {
        if let Some(known) = self.positions.borrow().get(&subset) {
            return Ok(Some(Rc::clone(known)));
        }
        let Some(read) = self.whole(subset, "subset", "indices")? else { return Ok(None) };
        let read = Rc::new(read);
        self.positions.borrow_mut().insert(subset, Rc::clone(&read));
        Ok(Some(read))
    }

    /// Returns the training labels of a data set, a proxy or scores.
    pub(crate) fn labels(&self, node: NodeId) -> Result<Option<Vec<u32>>, Failure> {
        self.whole(node, "labels", "train")
    }

    /// Returns what the training labels were before they were corrupted.
    pub(crate) fn clean(&self, data: NodeId) -> Result<Option<Vec<u32>>, Failure> {
        self.whole(data, "clean", "labels")
    }

    /// Returns the names of the classes of a data set.
    pub(crate) fn classes(&self, data: NodeId) -> Result<Vec<String>, Failure> {
        let meta = self.json(data, "meta")?.unwrap_or_default();
        let names = meta["classes"].as_array().into_iter().flatten();
        Ok(names.filter_map(|name| name.as_str().map(str::to_owned)).collect())
    }

    /// Returns the values of `pick` over the rows, each once, in the order of the matrix.
    pub(crate) fn values<'b>(&'b self, pick: impl Fn(&'b Row) -> &'b str) -> Vec<&'b str> {
        let mut all: Vec<&str> = vec![];
        for row in &self.rows {
            let value = pick(row);
            if !all.contains(&value) {
                all.push(value);
            }
        }
        all
    }

    fn unread(&self, node: NodeId, part: &str, error: &dyn std::error::Error) -> Failure {
        let name = self.plan.describe(node);
        Failure::new(1, format!("{name}: part `{part}` does not read: {}", chain(error)))
    }
}

/// Returns `share` in percent, with as many digits as it takes.
pub(crate) fn percent(share: f64) -> String {
    let value = share * 100.0;
    let digits = match value {
        v if (v - v.round()).abs() < 0.05 => 0,
        v if v >= 0.095 => 1,
        _ => 2,
    };
    format!("{value:.digits$} %")
}

/// Returns at most `count` of `all`, spread evenly, the first and the last among them.
pub(crate) fn spread<T>(all: &[T], count: usize) -> Vec<&T> {
    if all.len() <= count || count < 2 {
        return all.iter().take(count).collect();
    }
    (0..count).map(|at| &all[at * (all.len() - 1) / (count - 1)]).collect()
}

/// Returns the newest run that made something, or else the newest; and the newest if it failed.
fn newest_runs(
    plan: &Plan,
    store: &Store,
    forecast: &Forecast,
) -> Result<(Option<Run>, Option<Run>), Failure> {
    /// So far back a run is looked for that made something.
    const LOOKED_AT: usize = 20;
    let file = PipelineFile::of(plan);
    let ours: BTreeSet<_> = forecast.keys.iter().flatten().collect();
    let runs = crate::runs::newest(store, LOOKED_AT, |run| {
        file.ran(run)
            && run.nodes.iter().filter_map(|node| node.key.as_ref()).any(|key| ours.contains(key))
    })?;
    let made = runs.iter().position(|run| run.summary.is_some_and(|one| one.computed > 0));
    let failed = runs.first().filter(|run| run.summary.is_some_and(|one| one.failed > 0)).cloned();
    Ok((runs.into_iter().nth(made.unwrap_or(0)), failed))
}
