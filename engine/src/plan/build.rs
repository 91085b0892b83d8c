//! Building the plan: reads the stages of every cell, checks their wiring, and merges equal
//! computations into one node.

mod wires;

use super::{
    FormerName, NodeId, Plan, PlanAxis, PlanCell, PlanNode, id,
    instance::{Instance, Wire},
    order::Wires,
    secrets::Secrets,
};
use crate::{
    ArtifactKind, Port, Registry,
    seed::repeat_seed,
    spec::{
        Mistakes, PipelineSpec, PlanRequest, Span, SpecErrorKind, SpecErrors, TreeNode,
        did_you_mean, merge_stage,
    },
};
use petgraph::graph::{DiGraph, NodeIndex};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

/// The seed and the inputs of a node: two nodes of one instance with both equal are one.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct NodeIdentity {
    seed: Option<u64>,
    inputs: Box<[NodeId]>,
}

/// A repeat of a stage in a cell, which is one node.
struct StageRepeat {
    stage: usize,
    instance: usize,
    /// The number of the repeat, from 0.
    repeat: u32,
    cell: u32,
    /// The seed of the first repeat.
    seed: u64,
    /// Whether the stage itself sets the seed; else the cell does.
    own_seed: bool,
}

/// What the wiring of an instance depends on: instances of one shape are checked once.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct InstanceShape {
    method: &'static str,
    from: Vec<Wire>,
    ports: Vec<Port>,
    output: ArtifactKind,
    repeats: u32,
}

/// The wiring of a cell: the stages its targets need, in topological order.
struct CellLayout {
    wires: Vec<Wires>,
    order: Vec<usize>,
    targets: Vec<usize>,
    /// The labels of the nodes, in the order of the stages.
    names: Arc<[Arc<str>]>,
}

struct Builder<'a> {
    spec: &'a PipelineSpec,
    secrets: Secrets,
    registry: &'a Registry,
    mistakes: &'a mut Mistakes,
    /// The stage names, sorted.
    names: Vec<Arc<str>>,
    /// The axes that set something of each stage.
    axes_of: Vec<Vec<usize>>,
    /// The axes whose values are seeds.
    seed_axes: Vec<usize>,
    /// The instances read so far, by stage and the values of the axes that set something of it.
    read: BTreeMap<(usize, Vec<u32>), Option<usize>>,
    instances: Vec<Instance>,
    renamed: BTreeSet<FormerName>,
    ports: Vec<Vec<Port>>,
    draws: Vec<bool>,
    /// The number of the shape of each instance.
    shape_of: Vec<usize>,
    shapes: BTreeMap<InstanceShape, usize>,
    /// The layouts of cells, by the shape of each stage; `None` if the wiring has mistakes.
    layouts: BTreeMap<Vec<Option<usize>>, Option<Rc<CellLayout>>>,
    /// The nodes of each instance, by seed and inputs.
    nodes: Vec<BTreeMap<NodeIdentity, NodeId>>,
    graph: DiGraph<PlanNode, &'static str>,
    instance_of: Vec<usize>,
}

pub(super) fn plan(
    mut spec: PipelineSpec,
    request: &PlanRequest,
    registry: &Registry,
    mut mistakes: Mistakes,
) -> Result<Plan, SpecErrors> {
    let cells = std::mem::take(&mut spec.cells);
    let mut builder = Builder::new(&spec, registry, &mut mistakes);
    let cells = builder.build(cells);
    let secrets = std::mem::take(&mut builder.secrets);
    let graph = std::mem::take(&mut builder.graph);
    let renamed = std::mem::take(&mut builder.renamed).into_iter().collect();
    match mistakes.is_empty() {
        true => {
            let axes = spec
                .axes
                .iter()
                .map(|axis| PlanAxis { name: axis.name.clone(), values: secrets.labels(axis) });
            let axes = axes.collect();
            let mut sources = spec.sources;
            secrets.cut_out(&mut sources);
            let path = request.path.clone();
            Ok(Plan { path, title: spec.title, renamed, sources, axes, cells, graph })
        }
        false => {
            let errors = mistakes.into_vec(&spec.sources);
            Err(SpecErrors { sources: spec.sources, errors })
        }
    }
}

/// Returns what to write instead, if no stage can be called `name`: names stand in paths, in log
/// lines and in flags.
fn name_problem(name: &str) -> Option<String> {
    let odd = |c: &char| !c.is_alphanumeric() && !['-', '_'].contains(c);
    let marks = [
        '\u{300}'..='\u{36f}',
        '\u{1ab0}'..='\u{1aff}',
        '\u{20d0}'..='\u{20ff}',
        '\u{3099}'..='\u{309a}',
    ];
    match name.chars().find(odd) {
        Some(mark) if marks.iter().any(|range| range.contains(&mark)) => Some(format!(
            "a letter and its mark (U+{:04X}) are two characters here: type them as one",
            u32::from(mark)
        )),
        None if name.starts_with('-') => {
            Some("a name does not begin with `-`, as a flag does".to_owned())
        }
        None if name != "seed" && !name.is_empty() => None,
        _ => Some("use letters, digits, `-` and `_`; `seed` is taken".to_owned()),
    }
}

impl<'a> Builder<'a> {
    fn new(spec: &'a PipelineSpec, registry: &'a Registry, mistakes: &'a mut Mistakes) -> Self {
        let mut names: BTreeSet<Arc<str>> =
            spec.stages.table().into_iter().flat_map(|table| table.keys().cloned()).collect();
        names.extend(spec.axes.iter().flat_map(|axis| axis.touches.iter().cloned()));
        let names: Vec<Arc<str>> = names.into_iter().collect();
        let axes_of = names
            .iter()
            .map(|name| {
                let touches = spec.axes.iter().enumerate();
                touches.filter(|(_, axis)| axis.touches.contains(name)).map(|(i, _)| i).collect()
            })
            .collect();
        let seeds = |axis: &usize| spec.axes[*axis].values.iter().any(|value| value.seed.is_some());
        let seed_axes = (0..spec.axes.len()).filter(seeds).collect();
        Self {
            spec,
            registry,
            mistakes,
            names,
            axes_of,
            seed_axes,
            read: BTreeMap::new(),
            instances: vec![],
            renamed: BTreeSet::new(),
            ports: vec![],
            draws: vec![],
            shape_of: vec![],
            shapes: BTreeMap::new(),
            layouts: BTreeMap::new(),
            nodes: vec![],
            graph: DiGraph::new(),
            instance_of: vec![],
            secrets: Secrets::default(),
        }
    }

    fn build(&mut self, all: Vec<Vec<u32>>) -> Vec<PlanCell> {
        self.check_names();
        for (name, span) in &self.spec.targets {
            // Of a file without stages, or that does not read, that is told.
            if !self.names.is_empty() && self.stage_index(name).is_none() {
                let hint = did_you_mean(name, self.names.iter().map(|name| &**name));
                self.mistakes.add(*span, SpecErrorKind::UnknownStage(name.to_string()), hint);
            }
        }
        let mut cells = vec![];
        for coords in all {
            cells.extend(self.build_cell(coords, cells.len()));
        }
        self.check_files();
        cells
    }

    /// Checks the names of the stages, also of those that a variant of the matrix adds.
    fn check_names(&mut self) {
        let overs = self.spec.axes.iter().flat_map(|axis| &axis.values).map(|value| &value.over);
        let known = self.spec.stages.table();
        let fresh = |name: &Arc<str>| known.is_none_or(|table| !table.contains_key(name));
        let added = overs.filter_map(|over| over.table()).flat_map(|table| table.iter());
        let added = added.filter(|(name, _)| fresh(name));
        for (name, entry) in known.into_iter().flat_map(|table| table.iter()).chain(added) {
            if let Some(hint) = name_problem(name) {
                let kind = SpecErrorKind::ReservedName(name.to_string());
                self.mistakes.add(entry.key, kind, Some(hint));
            }
        }
    }

    fn stage_index(&self, name: &str) -> Option<usize> {
        self.names.binary_search_by(|one| (**one).cmp(name)).ok()
    }

    /// Returns the instance of `stage` at `coords`, read once for all cells that agree on it;
    /// `Err` if the cell has no such stage.
    fn instance(&mut self, stage: usize, coords: &[u32]) -> Result<Option<usize>, ()> {
        let values: Vec<u32> = self.axes_of[stage].iter().map(|axis| coords[*axis]).collect();
        if let Some(known) = self.read.get(&(stage, values.clone())) {
            return Ok(*known);
        }
        let name = Arc::clone(&self.names[stage]);
        let entry = self.spec.stages.table().and_then(|table| table.get(&*name));
        let mut table: Option<(Span, TreeNode)> =
            entry.map(|entry| (entry.key, entry.node.clone()));
        for axis in &self.axes_of[stage] {
            let over = &self.spec.axes[*axis].values[coords[*axis] as usize].over;
            let Some(over) = over.table().and_then(|table| table.get(&*name)) else { continue };
            table = Some(match table {
                Some((key, base)) => (key, merge_stage(&base, &over.node)),
                // A variant may add a stage; one without `use` was reported with the axis.
                None if over.node.table().is_some_and(|table| table.contains_key("use")) => {
                    (over.key, over.node.clone())
                }
                None => continue,
            });
        }
        let (key, table) = table.ok_or(())?;
        let sources = &self.spec.sources;
        let instance = Instance::read(&name, key, &table, self.registry, sources, self.mistakes);
        let number = instance.map(|instance| {
            self.secrets.add(&name, &instance);
            for (span, renamed) in &instance.renamed {
                let source = &sources[span.source as usize];
                let before = source.text.get(..span.start as usize).unwrap_or_default();
                self.renamed.insert(FormerName {
                    source: source.name.clone(),
                    line: before.matches('\n').count() + 1,
                    advice: renamed.to_string(),
                });
            }
            self.ports.push(instance.stage.inputs());
            self.draws.push(!instance.stage.streams().is_empty());
            self.check_wires(&instance, self.ports.len() - 1);
            let shape = InstanceShape {
                method: instance.stage.method(),
                from: instance.from.clone(),
                ports: self.ports[self.ports.len() - 1].clone(),
                output: instance.stage.output(),
                repeats: instance.repeats.count,
            };
            let next = self.shapes.len();
            self.shape_of.push(*self.shapes.entry(shape).or_insert(next));
            self.nodes.push(BTreeMap::new());
            self.instances.push(instance);
            self.instances.len() - 1
        });
        self.read.insert((stage, values), number);
        Ok(number)
    }

    fn build_cell(&mut self, coords: Vec<u32>, number: usize) -> Option<PlanCell> {
        let mut seed = self.spec.seed;
        for (axis, value) in self.spec.axes.iter().zip(&coords) {
            seed = axis.values[*value as usize].seed.unwrap_or(seed);
        }
        // Every stage is read, also those that no target needs, so that their mistakes are
        // reported.
        let mut instances = vec![None; self.names.len()];
        let mut fine = true;
        for (stage, slot) in instances.iter_mut().enumerate() {
            match self.instance(stage, &coords) {
                Ok(Some(instance)) => {
                    fine &= self.instances[instance].sound;
                    *slot = Some(instance);
                }
                Ok(None) => fine = false,
                Err(()) => {}
            }
        }
        let shapes: Vec<Option<usize>> =
            instances.iter().map(|instance| instance.map(|i| self.shape_of[i])).collect();
        let layout = match self.layouts.get(&shapes) {
            Some(known) => known.clone(),
            None => {
                let layout = self.cell_layout(&instances).map(Rc::new);
                self.layouts.insert(shapes, layout.clone());
                layout
            }
        }?;
        if !fine {
            return None;
        }
        let cell = u32::try_from(number).expect("the cells were counted");
        // A repeated stage has several nodes.
        let mut nodes_of: Vec<Vec<NodeId>> = vec![vec![]; self.names.len()];
        for stage in layout.order.iter().copied() {
            let Some(instance) = instances[stage] else { continue };
            let all = |(port, source): &(&'static str, usize)| {
                let port = *port;
                nodes_of[*source].iter().map(move |node| (port, *node))
            };
            let inputs: Vec<(&'static str, NodeId)> =
                layout.wires[stage].iter().flat_map(all).collect();
            let own_seed = self.instances[instance].seed;
            for repeat in 0..self.instances[instance].repeats.count {
                let repeat = StageRepeat {
                    stage,
                    instance,
                    repeat,
                    cell,
                    seed: own_seed.unwrap_or(seed),
                    own_seed: own_seed.is_some(),
                };
                let node = self.add_node(&repeat, inputs.clone());
                nodes_of[stage].push(node);
            }
        }
        let targets = layout.targets.iter().flat_map(|stage| nodes_of[*stage].clone()).collect();
        let nodes = nodes_of.into_iter().flatten().collect();
        Some(PlanCell { coords, names: Arc::clone(&layout.names), nodes, targets })
    }

    /// Connects the stages of a cell, and returns the layout of those its targets need.
    fn cell_layout(&mut self, instances: &[Option<usize>]) -> Option<CellLayout> {
        let (wires, whole) = self.resolve_wires(instances);
        let mut order = self.topological_order(&wires, instances)?;
        if !whole {
            return None;
        }
        let mut wanted = self.target_stages(instances, &wires);
        let targets = wanted.clone();
        let mut needed = vec![false; self.names.len()];
        while let Some(stage) = wanted.pop() {
            if !std::mem::replace(&mut needed[stage], true) {
                wanted.extend(wires[stage].iter().map(|(_, source)| *source));
            }
        }
        order.retain(|stage| needed[*stage]);
        let repeats =
            |stage: usize| instances[stage].map_or(0, |i| self.instances[i].repeats.count);
        let names = (0..self.names.len()).filter(|stage| needed[*stage]);
        let names = names.flat_map(|stage| (0..repeats(stage)).map(move |n| (stage, n)));
        let names = names.map(|(stage, n)| self.label(stage, n)).collect();
        Some(CellLayout { wires, order, targets, names })
    }

    /// Returns the label of a repeat of a stage: the first has the stage's name, the others a
    /// number behind it, with as many dashes as it takes to be no stage's name.
    fn label(&self, stage: usize, repeat: u32) -> Arc<str> {
        let name = &self.names[stage];
        let numbered = |dashes: usize| format!("{name}{}{}", "-".repeat(dashes), repeat + 1);
        match repeat {
            0 => Arc::clone(name),
            _ => (1..)
                .map(numbered)
                .find(|label| self.stage_index(label).is_none())
                .map(Arc::from)
                .expect("there are fewer stages than numbers"),
        }
    }

    /// Returns the node of a repeat of a stage that receives `inputs`, adding it if there is none
    /// with the same seed and inputs.
    fn add_node(&mut self, of: &StageRepeat, inputs: Vec<(&'static str, NodeId)>) -> NodeId {
        let instance = of.instance;
        let seed = self.draws[instance].then(|| repeat_seed(of.seed, of.repeat));
        let identity =
            NodeIdentity { seed, inputs: inputs.iter().map(|(_, node)| *node).collect() };
        if let Some(known) = self.nodes[instance].get(&identity) {
            return *known;
        }
        let axes = self.axes_behind(of.stage, seed.is_some() && !of.own_seed, &inputs);
        let this = &self.instances[instance];
        let index = self.graph.add_node(PlanNode {
            axes,
            label: self.label(of.stage, of.repeat),
            stage: Arc::clone(&this.stage),
            settings: Arc::clone(&this.settings),
            seed,
            inputs,
            cell: of.cell,
        });
        for at in 0..self.graph[index].inputs.len() {
            let (port, source) = self.graph[index].inputs[at];
            self.graph.add_edge(NodeIndex::new(source.index()), index, port);
        }
        self.instance_of.push(instance);
        self.nodes[instance].insert(identity, id(index));
        id(index)
    }

    /// Returns the axes a node depends on: those that set something of its stage, those of its
    /// inputs, and those of the seed if it draws with the cell's.
    fn axes_behind(
        &self,
        stage: usize,
        draws: bool,
        inputs: &[(&'static str, NodeId)],
    ) -> Vec<u32> {
        let number = |axis: &usize| u32::try_from(*axis).expect("fewer than 2^32 axes");
        let seeds: &[usize] = if draws { &self.seed_axes } else { &[] };
        let mut axes: Vec<u32> = self.axes_of[stage].iter().chain(seeds).map(number).collect();
        for (_, source) in inputs {
            axes.extend(&self.graph[NodeIndex::new(source.index())].axes);
        }
        axes.sort_unstable();
        axes.dedup();
        axes
    }

    /// Returns the target stages: those the user names, or those that give results, or those that
    /// no stage receives from.
    fn target_stages(&self, instances: &[Option<usize>], wires: &[Wires]) -> Vec<usize> {
        if !self.spec.targets.is_empty() {
            return self
                .spec
                .targets
                .iter()
                .filter_map(|(name, _)| self.stage_index(name))
                .collect();
        }
        let here = |stage: &usize| instances[*stage].is_some();
        let results = self.registry.results();
        let gives = |stage: &usize| {
            instances[*stage].is_some_and(|i| Some(self.instances[i].stage.output()) == results)
        };
        let found: Vec<usize> = (0..instances.len()).filter(gives).collect();
        if !found.is_empty() {
            return found;
        }
        let used: BTreeSet<usize> = wires.iter().flatten().map(|(_, source)| *source).collect();
        (0..instances.len()).filter(here).filter(|stage| !used.contains(stage)).collect()
    }

    /// Checks that the files and folders of the planned stages exist.
    fn check_files(&mut self) {
        let numbers: BTreeSet<usize> = self.instance_of.iter().copied().collect();
        for number in numbers {
            let stage = &self.instances[number].stage;
            if let Err(problem) = stage.files().and_then(|_| stage.folders()) {
                let instance = &self.instances[number];
                instance.report(problem, self.mistakes, true);
            }
        }
    }
}
