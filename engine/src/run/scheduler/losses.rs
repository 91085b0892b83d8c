//! What follows from a stage that failed, was skipped, or met a damaged input.

use super::{super::executor::NodeComputation, Halt, News, NodeState, Scheduler};
use crate::{NodeId, StageError};
use cache::{Damage, Digest, StoreError};
use std::{collections::BTreeSet, sync::Arc};

impl Scheduler {
    /// Has the producers of a damaged object computed again, and the nodes of `computation` wait
    /// for them.
    pub(super) fn damaged(
        &mut self,
        node: NodeId,
        computation: &NodeComputation,
        digest: Digest,
        what: Damage,
    ) {
        let sources: BTreeSet<NodeId> = self.graph.inputs[node.index()].iter().copied().collect();
        let gave = |producer: &NodeId| match &self.states[producer.index()] {
            NodeState::Done { output, hit, .. } => {
                let mut parts = output.artifact.parts.values();
                parts.any(|blob| blob.digest == digest).then_some((*producer, *hit))
            }
            _ => None,
        };
        let producers: Vec<(NodeId, bool)> = sources.iter().filter_map(gave).collect();
        // Counted for each producer: where many are damaged, each is found in its turn. No producer
        // has it if it was part of a checkpoint: the stage resumes from an older one.
        let may_try = match producers.is_empty() {
            true => self.may_try_again(node),
            false => producers.iter().all(|(producer, _)| self.may_try_again(*producer)),
        };
        if !may_try {
            let error = StageError::Store(StoreError::Damaged { digest, what });
            return self.fail_equal(computation, error);
        }
        let equal = self.computing.remove(&computation.key).unwrap_or_default();
        for (producer, hit) in producers {
            let object = format!("object {} {what}", digest.short());
            self.news.push_back(News::Damaged(producer, object));
            self.news.push_back(News::TakenBack { node: producer, hit });
            self.states[producer.index()] = NodeState::Ready;
            self.remade_for_damage.insert(producer);
            self.ready.insert(producer);
        }
        equal.into_iter().for_each(|id| self.wait(id));
    }

    /// Fails a node whose recipe could not be made.
    pub(super) fn fail_alone(&mut self, node: NodeId, error: StageError) {
        self.fail(&[node], error, false);
    }

    /// Fails every node of `computation`.
    pub(super) fn fail_equal(&mut self, computation: &NodeComputation, error: StageError) {
        let equal = self.computing.remove(&computation.key).unwrap_or_default();
        self.fail(&equal, error, false);
    }

    pub(super) fn fail(&mut self, nodes: &[NodeId], error: StageError, already_reported: bool) {
        let error = Arc::new(error);
        for node in nodes {
            self.news.push_back(News::Failed {
                node: *node,
                error: Arc::clone(&error),
                already_reported,
            });
            self.settle_as_lost(*node);
        }
        nodes.iter().for_each(|node| self.skip_behind(*node));
        if self.limits.fail_fast {
            self.halt(Halt::FailFast);
        }
    }

    pub(super) fn skip_behind(&mut self, failed: NodeId) {
        let mut next = self.graph.consumers[failed.index()].clone();
        while let Some(id) = next.pop() {
            // A ready node may wait for an input that is computed again.
            if matches!(self.states[id.index()], NodeState::Waiting | NodeState::Ready) {
                self.ready.remove(&id);
                self.news.push_back(News::Skipped(id, failed));
                self.settle_as_lost(id);
                next.extend(&self.graph.consumers[id.index()]);
            }
        }
    }

    /// Skips `node`, whose input `lost` failed or was skipped, and the nodes behind it.
    pub(super) fn skip(&mut self, node: NodeId, lost: NodeId) {
        self.news.push_back(News::Skipped(node, lost));
        self.settle_as_lost(node);
        self.skip_behind(node);
    }
}
