//! Restricting a plan to some of its cells.

use super::{NodeId, Plan, PlanCell, id};

impl Plan {
    /// Keeps the cells for which `keep` returns true, and the nodes they need. Cells and nodes keep
    /// their order and get new numbers; the axes keep all their values.
    pub fn restrict(&mut self, keep: impl Fn(&PlanCell) -> bool) {
        self.cells.retain(keep);
        let mut first: Vec<Option<u32>> = vec![None; self.graph.node_count()];
        for (cell, number) in self.cells.iter().zip(0..) {
            for (_, node) in cell.stages() {
                first[node.index()].get_or_insert(number);
            }
        }
        let mut left = 0;
        let new_id = |cell: &Option<u32>| {
            cell.map(|_| {
                left += 1;
                NodeId(left - 1)
            })
        };
        let new_ids: Vec<Option<NodeId>> = first.iter().map(new_id).collect();
        let moved =
            |node: NodeId| new_ids[node.index()].expect("a cell has all that its nodes need");
        self.graph = self.graph.filter_map(
            |index, node| {
                let mut node = node.clone();
                node.cell = first[index.index()]?;
                node.inputs.iter_mut().for_each(|(_, input)| *input = moved(*input));
                Some(node)
            },
            |_, port| Some(*port),
        );
        debug_assert!(self.graph.node_indices().all(|index| id(index).0 < left));
        for cell in &mut self.cells {
            cell.nodes.iter_mut().chain(&mut cell.targets).for_each(|node| *node = moved(*node));
        }
    }
}
