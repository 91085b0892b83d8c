//! The graph of stages, checked: every cell of the matrix connected, equal stages made one.

mod build;
mod instance;
mod restrict;
mod secrets;

use crate::{
    Registry, Stage,
    spec::{Mistakes, PipelineSpec, PlanRequest, SpecErrors, SpecSource},
};
use petgraph::graph::{DiGraph, NodeIndex};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::{path::PathBuf, sync::Arc};

/// A stage, shared by the cells that agree on it.
pub(crate) type StageRef = Arc<dyn Stage>;

/// A node's place in its plan. Nodes are numbered so that each comes after those it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u32);

impl NodeId {
    /// Returns its position among the nodes.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One computation of the plan.
#[derive(Clone)]
pub struct PlanNode {
    /// The stage's name where it was met first, with a number behind it from the second repeat
    /// on. A label: no part of any key.
    pub label: Arc<str>,
    /// What it does.
    pub stage: Arc<dyn Stage>,
    /// Its settings, defaults filled in.
    pub settings: Arc<Json>,
    /// Its seed, if it draws random numbers.
    pub seed: Option<u64>,
    /// What each port receives, by port; a list's entries are in its order.
    pub inputs: Vec<(&'static str, NodeId)>,
    /// The first cell it was met in.
    pub cell: u32,
    /// The axes it depends on, itself or through its inputs, in order.
    pub axes: Vec<u32>,
}

/// One axis of the matrix, and its values as tables show them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanAxis {
    /// The path or the name of the axis.
    pub name: String,
    /// Its values.
    pub values: Vec<String>,
}

/// One combination of the matrix.
#[derive(Clone, Debug)]
pub struct PlanCell {
    /// The value taken on each axis.
    pub coords: Vec<u32>,
    /// The names of `nodes`, shared by the cells that have the same stages.
    names: Arc<[Arc<str>]>,
    nodes: Vec<NodeId>,
    /// What is wanted.
    pub targets: Vec<NodeId>,
}

impl PlanCell {
    /// Returns the stages its targets need and themselves, by name. One that is repeated is there
    /// once for each repeat, the later ones under numbered names.
    pub fn stages(&self) -> impl Iterator<Item = (&Arc<str>, NodeId)> {
        self.names.iter().zip(self.nodes.iter().copied())
    }

    /// Returns the node of the stage called `name`.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<NodeId> {
        self.stages().find(|(one, _)| &***one == name).map(|(_, node)| node)
    }
}

/// A pipeline, checked and ready to run.
pub struct Plan {
    /// The pipeline file.
    pub path: PathBuf,
    /// Its title.
    pub title: Option<String>,
    /// Its text and that of its bases and overrides.
    pub sources: Vec<SpecSource>,
    /// The axes of its matrix, in the order of the file.
    pub axes: Vec<PlanAxis>,
    /// The combinations, the last axis changing fastest.
    pub cells: Vec<PlanCell>,
    /// The computations; an edge leads from an input to what needs it and holds the port.
    pub graph: DiGraph<PlanNode, &'static str>,
}

impl Plan {
    /// Reads, checks and connects the pipeline `request` names.
    ///
    /// # Errors
    ///
    /// Returns every mistake found, with its place.
    pub fn read(request: &PlanRequest, registry: &Registry) -> Result<Self, SpecErrors> {
        let mut mistakes = Mistakes::default();
        let spec = PipelineSpec::read(request, &mut mistakes);
        build::plan(spec, request, registry, mistakes)
    }

    /// Does the same with `text` for what the file holds.
    ///
    /// # Errors
    ///
    /// Returns every mistake found, with its place.
    pub fn read_text(
        text: &str,
        request: &PlanRequest,
        registry: &Registry,
    ) -> Result<Self, SpecErrors> {
        let mut mistakes = Mistakes::default();
        let spec = PipelineSpec::read_text(text, request, &mut mistakes);
        build::plan(spec, request, registry, mistakes)
    }

    /// Returns the node `id`.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &PlanNode {
        &self.graph[NodeIndex::new(id.index())]
    }

    /// Returns every node, inputs before what needs them.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (NodeId, &PlanNode)> {
        self.graph.node_indices().map(|index| (id(index), &self.graph[index]))
    }

    /// Returns the nodes that need `node`'s output, each once.
    pub fn consumers(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        let mut all: Vec<NodeId> =
            self.graph.neighbors(NodeIndex::new(node.index())).map(id).collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter()
    }

    /// Returns the value of `cell` on each axis, with the axis's name.
    #[must_use]
    pub fn coordinates(&self, cell: &PlanCell) -> Vec<(&str, &str)> {
        self.axes
            .iter()
            .zip(&cell.coords)
            .map(|(axis, value)| (axis.name.as_str(), axis.values[*value as usize].as_str()))
            .collect()
    }

    /// Returns `node`'s name for people: its label, and its coordinates on the axes it depends on.
    #[must_use]
    pub fn describe(&self, node: NodeId) -> String {
        let this = self.node(node);
        let cell = &self.cells[this.cell as usize];
        if this.axes.is_empty() {
            return this.label.to_string();
        }
        let mut name = format!("{} [", this.label);
        for (position, axis) in this.axes.iter().map(|axis| *axis as usize).enumerate() {
            let (path, value) = (&self.axes[axis].name, cell.coords[axis] as usize);
            let last = path.rsplit('.').next().unwrap_or(path);
            let gap = if position == 0 { "" } else { " " };
            name.extend([gap, last, "=", &self.axes[axis].values[value]]);
        }
        name.push(']');
        name
    }
}

fn id(index: NodeIndex) -> NodeId {
    NodeId(u32::try_from(index.index()).expect("a plan has fewer than 2^32 nodes"))
}
