//! The topological order of a cell's stages, and the cycle shown if there is none.

use petgraph::{
    algo::{astar, kosaraju_scc, toposort},
    graph::{DiGraph, NodeIndex},
    visit::DfsPostOrder,
};

/// The stages that a stage receives from, as indices, by port.
pub(super) type Wires = Vec<(&'static str, usize)>;

/// Returns the stages that `starts` need and themselves in topological order, inputs first.
///
/// It is the depth-first post-order from each of `starts` in turn, and from a stage to its inputs
/// in the order of its wires. Node ids and run records follow from it.
///
/// # Errors
///
/// Returns a cycle if there is one: the shortest through the first stage that is on any. Each stage
/// gives to the next; the cycle begins and ends with a stage that receives from that first one.
pub(super) fn topological(
    wires: &[Wires],
    starts: impl Iterator<Item = usize>,
) -> Result<Vec<usize>, Vec<usize>> {
    let graph = stage_graph(wires);
    if toposort(&graph, None).is_err() {
        return Err(shortest_cycle(&graph));
    }
    let mut order = vec![];
    let mut walk = DfsPostOrder::empty(&graph);
    for start in starts {
        walk.move_to(NodeIndex::new(start));
        while let Some(stage) = walk.next(&graph) {
            order.push(stage.index());
        }
    }
    Ok(order)
}

/// Returns the graph of the stages of a cell. Its edges lead from a stage to its inputs.
fn stage_graph(wires: &[Wires]) -> DiGraph<(), ()> {
    let mut graph = DiGraph::with_capacity(wires.len(), wires.len());
    for _ in wires {
        graph.add_node(());
    }
    for (stage, wires) in wires.iter().enumerate() {
        for (_, source) in wires {
            graph.add_edge(NodeIndex::new(stage), NodeIndex::new(*source), ());
        }
    }
    graph
}

/// Returns the shortest cycle through the first stage that is on one.
fn shortest_cycle(graph: &DiGraph<(), ()>) -> Vec<usize> {
    let is_cyclic = |component: &Vec<NodeIndex>| {
        component.len() > 1 || graph.contains_edge(component[0], component[0])
    };
    let first = kosaraju_scc(graph).into_iter().filter(is_cyclic).flatten().min();
    let first = first.expect("a graph without an order has a cycle");
    let back_to_first =
        |input: NodeIndex| astar(graph, input, |stage| stage == first, |_| 1_usize, |_| 0);
    // Ties go by the order of the stages.
    let (_, path) = graph
        .neighbors(first)
        .filter_map(back_to_first)
        .min()
        .expect("a stage on a cycle is behind one of its inputs");
    // The path ends at `first`, which needs its beginning.
    let mut ring: Vec<usize> = path.iter().rev().map(|stage| stage.index()).collect();
    ring.rotate_left(1);
    ring.push(ring[0]);
    ring
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt as _, SeedableRng as _};

    fn visit(stage: usize, wires: &[Wires], order: &mut Vec<usize>) {
        if !order.contains(&stage) {
            wires[stage].iter().for_each(|(_, source)| visit(*source, wires, order));
            order.push(stage);
        }
    }

    #[test]
    fn the_order_is_that_of_a_recursive_walk() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
        for _ in 0..500 {
            let count = rng.random_range(1..20_usize);
            // A source has a lower rank than what needs it, whatever its index.
            let rank: Vec<u32> = (0..count).map(|_| rng.random_range(0..8)).collect();
            let wires: Vec<Wires> = (0..count)
                .map(|stage| {
                    let sources = (0..4).map(|_| rng.random_range(0..count));
                    let sources = sources.filter(|source| rank[*source] < rank[stage]);
                    sources.map(|source| ("port", source)).collect()
                })
                .collect();
            let starts: Vec<usize> = (0..count).filter(|_| rng.random_bool(0.8)).collect();
            let mut expected = vec![];
            starts.iter().for_each(|start| visit(*start, &wires, &mut expected));
            assert_eq!(topological(&wires, starts.into_iter()), Ok(expected));
        }
    }
}
