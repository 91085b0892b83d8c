//! Bundles: the missing computations of a plan cut into jobs for a batch system. Knows no batch
//! system, reads no store.
//!
//! A job computes its targets and whatever they need that is not in the store by then, so a cut
//! decides what runs side by side, never a result. The long computations, the *heads*, have a job
//! each; short ones ride along with the head they lead to, or with the one they follow.

use super::turns;
use crate::{NodeId, Plan};
use petgraph::{
    algo::tarjan_scc,
    graph::{DiGraph, NodeIndex},
};
use std::collections::{BTreeMap, BTreeSet};

/// The weight of a computation: whether it is worth a job of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It gets a job of its own.
    Heavy,
    /// It gets one if several jobs need it, and none of them comes before the others.
    Middling,
    /// It is computed by whichever job needs it first, such as reading a data set.
    Light,
}

/// A bundle: computations that one job computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The computations, inputs first.
    pub nodes: Vec<NodeId>,
    /// Those that no other computation of the bundle needs: with what they need they are all.
    pub targets: Vec<NodeId>,
    /// The bundles that compute what this one needs, by their place in the list: all before it.
    pub after: Vec<usize>,
}

impl Bundle {
    /// Cuts the computations `missing` of `plan` into bundles, each after those it needs. Every
    /// missing computation that nothing else needs is in exactly one; a light one that several
    /// bundles need may be in none. Trainings of one trajectory, which go on from each other's
    /// checkpoints, are in one.
    #[must_use]
    pub fn all(
        plan: &Plan,
        missing: &BTreeSet<NodeId>,
        weight: impl Fn(NodeId) -> Weight,
    ) -> Vec<Self> {
        let graph = BundleGraph {
            inputs: plan
                .nodes()
                .map(|(_, node)| node.inputs.iter().map(|(_, input)| input.index()).collect())
                .collect(),
            weights: plan
                .nodes()
                .map(|(id, _)| missing.contains(&id).then(|| weight(id)))
                .collect(),
            chains: turns::chains(plan)
                .into_iter()
                .map(|chain| chain.into_iter().map(NodeId::index).collect())
                .collect(),
        };
        graph.cut()
    }
}

/// Returns `targets` and all they need in `plan`.
#[must_use]
pub fn closure(plan: &Plan, targets: &[NodeId]) -> BTreeSet<NodeId> {
    let mut all: BTreeSet<NodeId> = targets.iter().copied().collect();
    let mut open = targets.to_vec();
    while let Some(node) = open.pop() {
        let inputs = plan.node(node).inputs.iter().map(|(_, input)| *input);
        open.extend(inputs.filter(|input| all.insert(*input)));
    }
    all
}

/// Returns `nodes` and all that needs them in `plan`.
#[must_use]
pub fn dependents(plan: &Plan, nodes: impl IntoIterator<Item = NodeId>) -> BTreeSet<NodeId> {
    let mut open: Vec<NodeId> = nodes.into_iter().collect();
    let mut all: BTreeSet<NodeId> = open.iter().copied().collect();
    while let Some(node) = open.pop() {
        open.extend(plan.consumers(node).filter(|consumer| all.insert(*consumer)));
    }
    all
}

/// A graph to be cut: nodes are numbered in topological order.
struct BundleGraph {
    inputs: Vec<Vec<usize>>,
    /// The weights, `None` for what is not missing.
    weights: Vec<Option<Weight>>,
    /// The heads that belong into one bundle.
    chains: Vec<Vec<usize>>,
}

impl BundleGraph {
    fn cut(&self) -> Vec<Bundle> {
        let is_heavy = |node: &usize| self.weights[*node] == Some(Weight::Heavy);
        let mut heads: BTreeSet<usize> = (0..self.weights.len()).filter(is_heavy).collect();
        let consumers = self.consumers();
        let head_of = loop {
            let head_of = self.assign(&heads, &consumers);
            let more = self.more_heads(&head_of);
            if more.is_empty() {
                break head_of;
            }
            heads.extend(more);
        };
        self.bundles(&self.merged(&head_of))
    }

    fn is_missing(&self, node: usize) -> bool {
        self.weights[node].is_some()
    }

    fn missing_inputs(&self, node: usize) -> impl Iterator<Item = usize> {
        self.inputs[node].iter().copied().filter(|input| self.is_missing(*input))
    }

    /// Returns the missing consumers of every node.
    fn consumers(&self) -> Vec<BTreeSet<usize>> {
        let mut all = vec![BTreeSet::new(); self.inputs.len()];
        for node in (0..self.inputs.len()).filter(|node| self.is_missing(*node)) {
            self.inputs[node].iter().for_each(|input| {
                all[*input].insert(node);
            });
        }
        all
    }

    /// Returns the head each node goes with: itself, the one head all its consumers go with, or the
    /// last head it stands on.
    fn assign(&self, heads: &BTreeSet<usize>, consumers: &[BTreeSet<usize>]) -> Vec<Option<usize>> {
        let count = self.inputs.len();
        let mut below: Vec<Option<usize>> = vec![None; count];
        for node in (0..count).filter(|node| self.is_missing(*node)) {
            let last = self.missing_inputs(node).filter_map(|input| below[input]).max();
            below[node] = if heads.contains(&node) { Some(node) } else { last };
        }
        let mut head_of = below;
        for node in (0..count).rev() {
            if heads.contains(&node) || consumers[node].is_empty() || !self.is_missing(node) {
                continue;
            }
            let theirs: BTreeSet<Option<usize>> =
                consumers[node].iter().map(|consumer| head_of[*consumer]).collect();
            if let (1, Some(Some(head))) = (theirs.len(), theirs.first()) {
                head_of[node] = Some(*head);
            }
        }
        head_of
    }

    /// Returns what becomes a head, since it goes with none: what nothing needs, and the middling.
    fn more_heads(&self, head_of: &[Option<usize>]) -> Vec<usize> {
        let mut needed = vec![false; self.inputs.len()];
        for node in (0..self.inputs.len()).filter(|node| self.is_missing(*node)) {
            self.inputs[node].iter().for_each(|input| needed[*input] = true);
        }
        // What stands on a new head goes with that.
        let mut stands_on_new = vec![false; self.inputs.len()];
        let mut more = vec![];
        for node in (0..self.inputs.len()).filter(|node| self.is_missing(*node)) {
            let behind = self.missing_inputs(node).any(|input| stands_on_new[input]);
            let alone = head_of[node].is_none();
            let own = !needed[node] || self.weights[node] == Some(Weight::Middling);
            if alone && own && !behind {
                more.push(node);
                stands_on_new[node] = true;
            }
            stands_on_new[node] |= behind;
        }
        more
    }

    /// Returns the number of the bundle of each node, after chains and bundles that need each other
    /// are made one. The bundles are numbered in topological order.
    fn merged(&self, head_of: &[Option<usize>]) -> Vec<Option<usize>> {
        let mut graph: DiGraph<(), ()> = DiGraph::new();
        let heads: BTreeSet<usize> = head_of.iter().flatten().copied().collect();
        let index: BTreeMap<usize, NodeIndex> =
            heads.into_iter().map(|head| (head, graph.add_node(()))).collect();
        let of = |node: usize| head_of[node].map(|head| index[&head]);
        for node in 0..head_of.len() {
            for input in self.missing_inputs(node) {
                if let (Some(from), Some(to)) = (of(input), of(node))
                    && from != to
                {
                    graph.update_edge(from, to, ());
                }
            }
        }
        for chain in &self.chains {
            let members: Vec<NodeIndex> = chain.iter().filter_map(|node| of(*node)).collect();
            for pair in members.windows(2).filter(|pair| pair[0] != pair[1]) {
                graph.update_edge(pair[0], pair[1], ());
                graph.update_edge(pair[1], pair[0], ());
            }
        }
        // The components come in reverse topological order.
        let mut number = vec![0; graph.node_count()];
        let components = tarjan_scc(&graph);
        for (place, component) in components.iter().rev().enumerate() {
            component.iter().for_each(|one| number[one.index()] = place);
        }
        (0..head_of.len()).map(|node| of(node).map(|one| number[one.index()])).collect()
    }

    fn bundles(&self, bundle_of: &[Option<usize>]) -> Vec<Bundle> {
        let count = bundle_of.iter().flatten().max().map_or(0, |last| last + 1);
        let mut nodes: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); count];
        let mut needed: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); count];
        let mut after: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); count];
        for (node, bundle) in bundle_of.iter().enumerate() {
            let Some(bundle) = *bundle else { continue };
            nodes[bundle].insert(node);
            for input in self.missing_inputs(node) {
                match bundle_of[input] {
                    Some(other) if other == bundle => {
                        needed[bundle].insert(input);
                    }
                    other => after[bundle].extend(other),
                }
            }
        }
        let id = |node: &usize| NodeId(u32::try_from(*node).expect("fewer than 2^32 nodes"));
        nodes
            .iter()
            .zip(&needed)
            .zip(after)
            .map(|((nodes, needed), after)| Bundle {
                nodes: nodes.iter().map(id).collect(),
                targets: nodes.difference(needed).map(id).collect(),
                after: after.into_iter().collect(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Weight::{Heavy, Light, Middling};
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng as StdRng;

    fn cut(nodes: &[(&[usize], Option<Weight>)], chains: &[&[usize]]) -> Vec<Vec<u32>> {
        let graph = BundleGraph {
            inputs: nodes.iter().map(|(inputs, _)| inputs.to_vec()).collect(),
            weights: nodes.iter().map(|(_, weight)| *weight).collect(),
            chains: chains.iter().map(|chain| chain.to_vec()).collect(),
        };
        let ids = |bundle: Bundle| bundle.nodes.iter().map(|node| node.0).collect();
        graph.cut().into_iter().map(ids).collect()
    }

    #[test]
    fn light_ones_ride_with_the_head_they_lead_to_or_stand_on() {
        // data, proxy, score, two subsets, two students, two evaluations
        let nodes: [(&[usize], Option<Weight>); 9] = [
            (&[], Some(Light)),
            (&[0], Some(Heavy)),
            (&[1], Some(Middling)),
            (&[2], Some(Middling)),
            (&[2], Some(Middling)),
            (&[0, 3], Some(Heavy)),
            (&[0, 4], Some(Heavy)),
            (&[0, 5], Some(Light)),
            (&[0, 6], Some(Light)),
        ];
        let mut all = cut(&nodes, &[]);
        assert_eq!(all.remove(0), [1, 2], "data is left to whoever needs it first");
        all.sort();
        assert_eq!(all, [[3, 5, 7], [4, 6, 8]]);
        // With the proxy in the store, the score is a job of its own: both students need it.
        let mut rest = nodes;
        rest[0].1 = None;
        rest[1].1 = None;
        assert_eq!(cut(&rest, &[])[0], [2]);
        // Trainings of one trajectory are one job.
        assert_eq!(cut(&nodes, &[&[5, 6]])[1], [3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_target_without_any_head_has_a_job() {
        let nodes: [(&[usize], Option<Weight>); 3] =
            [(&[], Some(Light)), (&[0], Some(Light)), (&[0], Some(Light))];
        let mut all = cut(&nodes, &[]);
        all.sort();
        assert_eq!(all, [[1], [2]]);
        assert!(cut(&[(&[], None)], &[]).is_empty());
    }

    #[test]
    fn every_missing_target_is_in_one_bundle_and_bundles_are_in_order() {
        for seed in 0..2_000 {
            let mut rng = StdRng::seed_from_u64(seed);
            let count = rng.random_range(1..40_usize);
            let inputs: Vec<Vec<usize>> = (0..count)
                .map(|node| {
                    let some = rng.random_range(0..4_usize).min(node);
                    (0..some).map(|_| rng.random_range(0..node)).collect()
                })
                .collect();
            let weights: Vec<Option<Weight>> = (0..count)
                .map(|_| {
                    [None, Some(Light), Some(Middling), Some(Heavy)][rng.random_range(0..4_usize)]
                })
                .collect();
            let heavy: Vec<usize> = (0..count).filter(|n| weights[*n] == Some(Heavy)).collect();
            let chains = if rng.random_range(0..3_u32) == 0 { vec![heavy] } else { vec![] };
            let graph = BundleGraph { inputs, weights, chains };
            let bundles = graph.cut();
            let mut bundle_of: BTreeMap<usize, usize> = BTreeMap::new();
            for (at, bundle) in bundles.iter().enumerate() {
                assert!(bundle.after.iter().all(|before| *before < at), "{seed}: in order");
                for node in &bundle.nodes {
                    assert!(graph.is_missing(node.index()), "{seed}: a hit");
                    assert!(bundle_of.insert(node.index(), at).is_none(), "{seed}: in two");
                }
                let mut reached: BTreeSet<usize> =
                    bundle.targets.iter().map(|node| node.index()).collect();
                let mut open: Vec<usize> = reached.iter().copied().collect();
                while let Some(node) = open.pop() {
                    open.extend(graph.inputs[node].iter().filter(|one| reached.insert(**one)));
                }
                let all = bundle.nodes.iter().all(|node| reached.contains(&node.index()));
                assert!(all, "{seed}: its targets lead to all of it");
            }
            let consumers = graph.consumers();
            for node in (0..count).filter(|node| graph.is_missing(*node)) {
                let must = consumers[node].is_empty() || graph.weights[node] == Some(Heavy);
                assert!(!must || bundle_of.contains_key(&node), "{seed}: node {node} in none");
                let Some(at) = bundle_of.get(&node) else { continue };
                for input in graph.missing_inputs(node) {
                    let from = bundle_of.get(&input);
                    let told = |from: &usize| from == at || bundles[*at].after.contains(from);
                    assert!(from.is_none_or(told), "{seed}: {at} waits for {from:?}");
                }
            }
            for chain in &graph.chains {
                let of: BTreeSet<_> = chain.iter().map(|node| bundle_of.get(node)).collect();
                assert!(of.len() <= 1, "{seed}: a chain is one bundle");
            }
        }
    }
}
