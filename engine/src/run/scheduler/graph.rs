//! The nodes of a plan as the scheduler sees them.

use crate::{Needs, NodeId, Plan, run::turns::Turns};

/// The nodes of a plan, their inputs and consumers.
pub(in crate::run) struct NodeGraph {
    pub(super) inputs: Vec<Vec<NodeId>>,
    pub(super) consumers: Vec<Vec<NodeId>>,
    pub(super) on_device: Vec<bool>,
    pub(super) turns: Turns,
}

impl NodeGraph {
    /// Returns the graph in which node `i` needs `inputs[i]`, each before it.
    pub(in crate::run) fn new(
        inputs: Vec<Vec<NodeId>>,
        on_device: Vec<bool>,
        turns: Turns,
    ) -> Self {
        let mut consumers = vec![vec![]; inputs.len()];
        for (id, sources) in (0..).map(NodeId).zip(&inputs) {
            for source in sources {
                let of: &mut Vec<NodeId> = &mut consumers[source.index()];
                if of.last() != Some(&id) {
                    of.push(id);
                }
            }
        }
        Self { inputs, consumers, on_device, turns }
    }

    /// Returns the graph of `plan`.
    pub(in crate::run) fn of(plan: &Plan) -> Self {
        let sources =
            |inputs: &[(&str, NodeId)]| inputs.iter().map(|(_, source)| *source).collect();
        let inputs = plan.nodes().map(|(_, node)| sources(&node.inputs)).collect();
        let on_device = plan.nodes().map(|(_, node)| node.stage.needs() == Needs::Device).collect();
        Self::new(inputs, on_device, Turns::of(plan))
    }

    pub(super) fn len(&self) -> usize {
        self.inputs.len()
    }
}
