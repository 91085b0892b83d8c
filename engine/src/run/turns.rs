//! Turns of trainings with one trajectory: they run one after the other, the shortest first, each
//! from the last checkpoint of the one before, so that no epoch is trained twice.

use crate::{NodeId, Plan};
use std::collections::{BTreeMap, BTreeSet};

/// The chains of trainings that run one after the other, and those that wait for their turn.
pub(super) struct Turns {
    before: BTreeMap<NodeId, NodeId>,
    after: BTreeMap<NodeId, NodeId>,
    waiting: BTreeSet<NodeId>,
}

/// Returns the trainings of each trajectory of `plan`, the shortest first.
pub(super) fn chains(plan: &Plan) -> Vec<Vec<NodeId>> {
    let mut groups: BTreeMap<_, Vec<(u64, NodeId)>> = BTreeMap::new();
    for (id, node) in plan.nodes() {
        let Some(trajectory) = node.stage.trajectory() else { continue };
        let settings = trajectory.settings.to_string();
        let identity = (node.stage.method(), settings, node.seed, &node.inputs);
        groups.entry(identity).or_default().push((trajectory.last_step, id));
    }
    let sorted = |mut group: Vec<(u64, NodeId)>| {
        // Equally long ones are one computation.
        group.sort_unstable();
        group.into_iter().map(|(_, id)| id).collect()
    };
    groups.into_values().map(sorted).collect()
}

impl Turns {
    pub(super) fn of(plan: &Plan) -> Self {
        let mut turns =
            Self { before: BTreeMap::new(), after: BTreeMap::new(), waiting: BTreeSet::new() };
        for chain in chains(plan) {
            for pair in chain.windows(2) {
                turns.before.insert(pair[1], pair[0]);
                turns.after.insert(pair[0], pair[1]);
            }
        }
        turns
    }

    /// Returns the turns of one chain of nodes.
    #[cfg(test)]
    pub(super) fn in_line(nodes: &[NodeId]) -> Self {
        let pairs = || nodes.windows(2).map(|pair| (pair[0], pair[1]));
        let before = pairs().map(|(first, second)| (second, first)).collect();
        Self { before, after: pairs().collect(), waiting: BTreeSet::new() }
    }

    /// Tells whether `node` must wait for the one before it, and adds it to those that wait if so.
    pub(super) fn must_wait(&mut self, node: NodeId, is_over: impl Fn(NodeId) -> bool) -> bool {
        let waits = self.before.get(&node).is_some_and(|before| !is_over(*before));
        if waits {
            self.waiting.insert(node);
        }
        waits
    }

    /// Returns the node that waited for `node`, which is over.
    pub(super) fn release_next(&mut self, node: NodeId) -> Option<NodeId> {
        let next = *self.after.get(&node)?;
        self.waiting.remove(&next).then_some(next)
    }
}
