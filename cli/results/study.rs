//! A pipeline's results by condition (selector, size, facet), and the artifacts under each of them:
//! the data of figures and reports.

use super::{
    ends_in,
    grid::{CellResult, Grid},
    measured::Measurements,
    repeats::{RepeatedResults, grouped},
};
use crate::{
    context::{Failure, axis_names, percent},
    sources::ResultSource,
    stats::MeanStd,
};
use artifacts::{
    ClassId, SampleId,
    dataset::{self, DatasetMeta},
    network::{self, History},
    parts::PartError,
    record, scores, subset,
};
use cache::{Artifact, Bytes, Store};
use engine::{Forecast, NodeId, PipelineFile, Plan, RunRecord};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    rc::Rc,
    slice,
};

/// A pipeline, and what the store has of it.
pub(crate) struct Study<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) store: &'a Store,
    pub(crate) forecast: Forecast,
    /// The newest run that made something of it, or else the newest.
    pub(crate) run: Option<RunRecord>,
    /// The newest, if stages of it failed.
    pub(crate) failed: Option<RunRecord>,
    pub(crate) conditions: Vec<Condition>,
    roles: Roles,
    positions: RefCell<BTreeMap<NodeId, Rc<Vec<SampleId>>>>,
}

/// The results of the cells that differ in their seeds alone: a selector at a size.
pub(crate) struct Condition {
    /// The value on the axis of selectors, whose values are compared.
    pub(crate) series: String,
    /// The values on the axes that are neither selectors, sizes nor seeds.
    pub(crate) facet: String,
    /// The value on the axis of sizes.
    pub(crate) size: String,
    /// The fraction of the training set that was kept, if it is known.
    pub(crate) keep: Option<f64>,
    /// How many results it has when all are computed.
    pub(crate) wanted: usize,
    pub(crate) repeats: Vec<Repeat>,
}

/// One result of a condition and what it stands on.
pub(crate) struct Repeat {
    /// The values of the seeds.
    pub(crate) seeds: Vec<u32>,
    pub(crate) metrics: Rc<Measurements>,
    pub(crate) model: Option<NodeId>,
    pub(crate) subset: Option<NodeId>,
    /// The data set it was trained on.
    pub(crate) data: Option<NodeId>,
}

impl Condition {
    /// Returns the mean of a metric over the repeats.
    pub(crate) fn mean(&self, metric: &str) -> Option<MeanStd> {
        let values: Vec<f64> =
            self.repeats.iter().filter_map(|repeat| repeat.metrics.value(metric)).collect();
        MeanStd::of(&values)
    }

    /// Returns the fraction kept as people say it, or nothing where it is not known.
    pub(crate) fn share(&self) -> String {
        self.keep.map(percent).unwrap_or_default()
    }
}

/// The computations a result stands on.
struct StandsOn {
    model: Option<NodeId>,
    subset: Option<NodeId>,
    data: Option<NodeId>,
}

/// The roles of the axes of the matrix, by their numbers.
struct Roles {
    seeds: Vec<usize>,
    size: Option<usize>,
    series: Option<usize>,
    others: Vec<usize>,
}

impl Roles {
    fn of(plan: &Plan) -> Self {
        let ends = |axis: usize, word: &str| ends_in(&plan.axes[axis].name, word);
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
    /// Reads what `store` has of `plan`. Metrics that cannot be read are a failure.
    pub(crate) fn read(plan: &'a Plan, store: &'a Store) -> Result<Self, Failure> {
        let forecast = Forecast::of(plan, store)?;
        let source = ResultSource::of_forecast(&plan.path.display().to_string(), plan, &forecast);
        let mut measured = super::read(&source, store)?;
        if !measured.unread.is_empty() {
            return Err(measured.unread.swap_remove(0).into_failure(&source));
        }
        let grid = Grid::of(slice::from_ref(&source), slice::from_ref(&measured));
        let (run, failed) = newest_runs(plan, store, &forecast)?;
        let mut study = Self {
            plan,
            store,
            forecast,
            run,
            failed,
            conditions: vec![],
            roles: Roles::of(plan),
            positions: RefCell::default(),
        };
        study.conditions = study.conditions_of(&grid);
        study.find_keeps()?;
        Ok(study)
    }

    /// Returns the conditions in the order of the matrix.
    fn conditions_of(&self, grid: &Grid) -> Vec<Condition> {
        let targets = self.plan.cells.iter().flat_map(|cell| &cell.targets);
        let labels: BTreeSet<&str> =
            targets.map(|target| &*self.plan.node(*target).label).collect();
        let of_cell: BTreeMap<(usize, &[u32]), &CellResult> =
            grid.results.iter().map(|result| ((result.at.1, &result.coords[..]), result)).collect();
        let in_order = self.plan.cells.iter().flat_map(|cell| {
            let find = |target: &NodeId| of_cell.get(&(target.index(), &cell.coords[..])).copied();
            cell.targets.iter().filter_map(find)
        });
        let groups = grouped(in_order, |result| {
            let facet = self.facet(grid, result, labels.len() > 1);
            let size = self.roles.size.map(|axis| grid.value(result, axis)).unwrap_or_default();
            (facet, size, self.series(grid, result))
        });
        let condition =
            |((facet, size, series), group): ((String, &str, String), RepeatedResults<'_>)| {
                let repeat = |result: &&CellResult| self.repeat(result);
                Condition {
                    series,
                    facet,
                    size: size.to_owned(),
                    keep: None,
                    wanted: group.wanted(),
                    repeats: group.results.iter().filter_map(repeat).collect(),
                }
            };
        groups.into_iter().map(condition).collect()
    }

    /// Returns the values of `result` on the axes that are neither selectors, sizes nor seeds.
    fn facet(&self, grid: &Grid, result: &CellResult, with_label: bool) -> String {
        let mut parts: Vec<String> = vec![];
        parts.extend(with_label.then(|| result.label.clone()));
        let others = self.roles.others.iter();
        parts.extend(
            others.map(|axis| format!("{} {}", grid.axes[*axis].name, grid.value(result, *axis))),
        );
        parts.join(", ")
    }

    /// Returns what selected the training samples of `result`.
    fn series(&self, grid: &Grid, result: &CellResult) -> String {
        if let Some(axis) = self.roles.series {
            return grid.value(result, axis).to_owned();
        }
        let subset = self.stands_on(result).subset;
        let method = subset.map(|subset| self.plan.node(subset).stage.method().to_owned());
        method.unwrap_or_else(|| "everything".to_owned())
    }

    fn stands_on(&self, result: &CellResult) -> StandsOn {
        let target = NodeId(u32::try_from(result.at.1).expect("a plan has fewer than 2^32 nodes"));
        let model = self.input(target, "model");
        let of_model = |port| model.and_then(|model| self.input(model, port));
        StandsOn { model, subset: of_model("subset"), data: of_model("data") }
    }

    fn repeat(&self, result: &CellResult) -> Option<Repeat> {
        let StandsOn { model, subset, data } = self.stands_on(result);
        let seeds = self.roles.seeds.iter().map(|axis| result.coords[*axis]).collect();
        let metrics = Rc::clone(result.metrics.as_ref()?);
        Some(Repeat { seeds, metrics, model, subset, data })
    }

    /// Finds which fraction of the training set each condition kept.
    fn find_keeps(&mut self) -> Result<(), Failure> {
        let mut sizes: BTreeMap<NodeId, Option<f64>> = BTreeMap::new();
        let mut keeps = vec![];
        for condition in &self.conditions {
            let Some(data) = condition.repeats.first().and_then(|repeat| repeat.data) else {
                keeps.push(None);
                continue;
            };
            let size = match sizes.get(&data) {
                Some(known) => *known,
                None => self.dataset(data)?.map(|meta| meta.train as f64),
            };
            sizes.insert(data, size);
            let samples = condition.mean("train_samples").map(|samples| samples.mean);
            keeps.push(samples.zip(size).map(|(kept, all)| kept / all.max(1.0)));
        }
        for (condition, keep) in self.conditions.iter_mut().zip(keeps) {
            condition.keep = keep;
        }
        Ok(())
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

    /// Returns what `open` reads of the artifact of `node`: nothing if it has not been made, or has no
    /// such part.
    fn opened<T>(
        &self,
        node: NodeId,
        open: impl FnOnce(&Store, &Artifact) -> Result<T, PartError>,
    ) -> Result<Option<T>, Failure> {
        let Some(record) = self.forecast.record(node) else { return Ok(None) };
        match open(self.store, &record.output) {
            Ok(read) => Ok(Some(read)),
            Err(PartError::Missing(_)) => Ok(None),
            Err(PartError::Store(error)) => Err(error.into()),
            Err(error) => {
                let name = self.plan.describe(node);
                Err(Failure::failed(format!("the result of {name} does not read")).because(error))
            }
        }
    }

    /// Returns the scores of a node, in sample order.
    pub(crate) fn scores(&self, node: NodeId) -> Result<Option<Vec<f64>>, Failure> {
        self.opened(node, scores::open)
    }

    /// Returns the history of a training.
    pub(crate) fn history(&self, training: NodeId) -> Result<Option<History>, Failure> {
        self.opened(training, network::open_history)
    }

    /// Returns what a data set is, apart from its samples.
    pub(crate) fn dataset(&self, data: NodeId) -> Result<Option<DatasetMeta>, Failure> {
        self.opened(data, dataset::open_meta)
    }

    /// Returns the bytes that hold the training images of a data set, and where they lie in them.
    pub(crate) fn train_images(
        &self,
        data: NodeId,
    ) -> Result<Option<(Bytes, Range<usize>)>, Failure> {
        Ok(self.opened(data, dataset::open_train_images)?.flatten())
    }

    /// Returns the samples a subset holds, sorted.
    pub(crate) fn positions(&self, subset: NodeId) -> Result<Option<Rc<Vec<SampleId>>>, Failure> {
        if let Some(known) = self.positions.borrow().get(&subset) {
            return Ok(Some(Rc::clone(known)));
        }
        let Some(read) = self.opened(subset, subset::open)? else { return Ok(None) };
        let read = Rc::new(read);
        self.positions.borrow_mut().insert(subset, Rc::clone(&read));
        Ok(Some(read))
    }

    /// Returns the training labels of a data set, a proxy or scores.
    pub(crate) fn labels(&self, node: NodeId) -> Result<Option<Vec<ClassId>>, Failure> {
        self.opened(node, record::open_labels)
    }

    /// Returns what the training labels were before they were corrupted.
    pub(crate) fn clean(&self, data: NodeId) -> Result<Option<Vec<ClassId>>, Failure> {
        Ok(self.opened(data, dataset::open_clean_labels)?.flatten())
    }

    /// Returns the names of the classes of a data set.
    pub(crate) fn classes(&self, data: NodeId) -> Result<Vec<String>, Failure> {
        Ok(self.dataset(data)?.map(|meta| meta.classes).unwrap_or_default())
    }

    /// Returns the values of `pick` over the conditions, each once, in the order of the matrix.
    pub(crate) fn values<'b>(&'b self, pick: impl Fn(&'b Condition) -> &'b str) -> Vec<&'b str> {
        let mut all: Vec<&str> = vec![];
        for condition in &self.conditions {
            let value = pick(condition);
            if !all.contains(&value) {
                all.push(value);
            }
        }
        all
    }
}

/// Returns the newest run that made something, or else the newest; and the newest if it failed.
fn newest_runs(
    plan: &Plan,
    store: &Store,
    forecast: &Forecast,
) -> Result<(Option<RunRecord>, Option<RunRecord>), Failure> {
    let file = PipelineFile::of_plan(plan);
    let ours: BTreeSet<_> = forecast.keys.iter().flatten().collect();
    let is_ours = |run: &RunRecord| {
        file.ran(run)
            && run.nodes.iter().filter_map(|node| node.key.as_ref()).any(|key| ours.contains(key))
    };
    let made = |run: &RunRecord| run.summary.is_some_and(|one| one.computed > 0);
    let newest = crate::runs::newest(store, 1, is_ours)?.pop();
    // However long ago: after many runs that found everything there, it still has the times.
    let maker = crate::runs::newest(store, 1, |run| made(run) && is_ours(run))?.pop();
    let failed = newest.clone().filter(|run| run.summary.is_some_and(|one| one.failed > 0));
    Ok((maker.or(newest), failed))
}
