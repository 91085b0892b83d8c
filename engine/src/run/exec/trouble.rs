//! What becomes of a run when a stage fails, is stopped, or meets a damaged object.

use super::{Exec, State};
use crate::{
    Event, NodeId, Sink, StageError,
    run::{journal, runs::RunState},
};
use cache::{Digest, Key, StoreError};
use std::{collections::BTreeSet, error::Error as StdError, iter};

/// The way out when the disk is full.
const FULL: &str = "free some space and run it again: what is done is kept, and what runs now \
                    goes on, but no other stage is started";

impl Exec<'_, '_> {
    /// Sends the producer of a damaged object to work again, and `node` to wait for it.
    pub(super) fn damaged(&mut self, node: NodeId, key: Key, digest: Digest, what: String) {
        let tries = self.tries.entry(node).or_default();
        *tries += 1;
        if *tries > 3 {
            let error = StageError::Store(StoreError::Damaged { digest, what });
            return self.failed(node, key, &error);
        }
        let sources: BTreeSet<NodeId> =
            self.plan.node(node).inputs.iter().map(|(_, source)| *source).collect();
        let holds = |source: &NodeId| {
            let output = self.outputs[source.index()].as_ref();
            output.is_some_and(|output| output.parts.values().any(|blob| blob.digest == digest))
        };
        // None holds it when it was part of a checkpoint: an older one will do.
        let producers: Vec<NodeId> = sources.into_iter().filter(holds).collect();
        let same = self.computing.remove(&key).unwrap_or_default();
        for id in iter::once(node).chain(same) {
            self.states[id.index()] = State::Waiting;
        }
        for producer in &producers {
            self.sink.emit(&Event::Damaged {
                node: *producer,
                what: format!("object {} {what}", digest.short()),
            });
            if self.states[producer.index()] == State::Done {
                match self.record.node_mut(*producer).state {
                    RunState::Hit => self.summary.hits -= 1,
                    _ => self.summary.computed -= 1,
                }
                self.states[producer.index()] = State::Ready;
                self.set_aside.insert(*producer);
                self.ready.insert(*producer);
            }
        }
        self.maybe_ready(node);
        let waiting = |id: &NodeId| self.states[id.index()] == State::Waiting;
        let all: Vec<NodeId> = self.plan.nodes().map(|(id, _)| id).filter(waiting).collect();
        all.into_iter().for_each(|id| self.maybe_ready(id));
    }

    pub(super) fn failed(&mut self, node: NodeId, key: Key, error: &StageError) {
        let full = journal::is_full(error);
        self.full += usize::from(full);
        let hint = match error {
            StageError::Method { hint, .. } => hint.clone(),
            _ if full => Some(FULL.to_owned()),
            _ => None,
        };
        let told = !full || self.full == 1;
        let causes: Vec<String> = causes(error);
        let same = self.computing.remove(&key).unwrap_or_default();
        for id in iter::once(node).chain(same) {
            self.lost(id);
            self.summary.failed += 1;
            self.record.node_mut(id).state = RunState::Failed;
            if told {
                let (causes, hint) = (causes.clone(), hint.clone());
                self.sink.emit(&Event::Failed { node: id, causes, hint });
            } else {
                self.sink.emit(&Event::Stopped { node: id });
            }
            self.skip_behind(id);
        }
    }

    fn skip_behind(&mut self, failed: NodeId) {
        let mut next: Vec<NodeId> = self.plan.consumers(failed).collect();
        while let Some(id) = next.pop() {
            if self.states[id.index()] == State::Waiting {
                self.lost(id);
                self.summary.skipped += 1;
                self.record.node_mut(id).state = RunState::Skipped;
                self.sink.emit(&Event::Skipped { node: id, because: failed });
                next.extend(self.plan.consumers(id));
            }
        }
    }

    pub(super) fn stopped(&mut self, node: NodeId) {
        self.lost(node);
        self.summary.stopped += 1;
        self.record.node_mut(node).state = RunState::Stopped;
        self.sink.emit(&Event::Stopped { node });
    }

    pub(super) fn stop_the_rest(&mut self) {
        let open = |state: &State| !matches!(state, State::Done | State::Lost);
        self.summary.stopped += self.states.iter().filter(|state| open(state)).count();
    }
}

fn causes(error: &dyn StdError) -> Vec<String> {
    iter::successors(Some(error), |error| (*error).source()).map(ToString::to_string).collect()
}
