//! The plan: the checked graph of computations of all cells of the matrix, in which equal
//! computations are one node.

mod build;
mod former;
mod instance;
mod order;
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

/// The number of a node in its plan. Nodes are in topological order: each comes after its inputs.
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
    /// The stage's name in the first cell that has the node, followed by a number from the second
    /// repeat on. No part of any key.
    pub label: Arc<str>,
    /// The stage: method and settings.
    pub stage: Arc<dyn Stage>,
    /// Its settings, defaults filled in.
    pub settings: Arc<Json>,
    /// Its seed, if it draws random numbers.
    pub seed: Option<u64>,
    /// The input nodes, by port; those of a list are in its order.
    pub inputs: Vec<(&'static str, NodeId)>,
    /// The first cell that has the node.
    pub cell: u32,
    /// The axes the node depends on, itself or through its inputs, sorted.
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
    /// The number of its value on each axis.
    pub coords: Vec<u32>,
    /// The names of `nodes`, shared by the cells that have the same stages.
    names: Arc<[Arc<str>]>,
    nodes: Vec<NodeId>,
    /// The nodes to compute; all others are inputs of theirs.
    pub targets: Vec<NodeId>,
}

impl PlanCell {
    /// Returns the targets and the stages they need, with their names. A repeated stage appears
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

/// Something written under a name it had before, and read as what it is now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FormerName {
    /// The file or flag it stands in.
    pub source: String,
    /// The line there, from 1.
    pub line: usize,
    /// What was written, and what to write instead.
    pub advice: String,
}

/// A pipeline, checked and ready to run.
pub struct Plan {
    /// The pipeline file.
    pub path: PathBuf,
    /// Its title.
    pub title: Option<String>,
    /// What was written under a name it had before.
    pub renamed: Vec<FormerName>,
    /// The texts of the file, its bases and overrides.
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
    /// Returns every mistake found, with its span.
    pub fn read(request: &PlanRequest, registry: &Registry) -> Result<Self, SpecErrors> {
        let mut mistakes = Mistakes::default();
        let spec = PipelineSpec::read(request, &mut mistakes);
        build::plan(spec, request, registry, mistakes)
    }

    /// Does the same with `text` in place of the file's.
    ///
    /// # Errors
    ///
    /// Returns every mistake found, with its span.
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

    /// Returns every node in topological order: inputs first.
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

    /// Returns the name of `node` for messages: its label, and its values on the axes it depends
    /// on.
    #[must_use]
    pub fn describe(&self, node: NodeId) -> String {
        let this = self.node(node);
        let cell = &self.cells[this.cell as usize];
        if this.axes.is_empty() {
            return this.label.to_string();
        }
        let mut name = format!("{} [", this.label);
        for (position, axis) in this.axes.iter().map(|axis| *axis as usize).enumerate() {
            let path = &self.axes[axis].name;
            let value = cell.coords[axis] as usize;
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
