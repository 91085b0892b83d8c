//! The loop of a run: begins what the scheduler asks for, and tells it what came of that.

use super::{
    executor::{Executor, ExecutorMessage, ExecutorTask},
    scheduler::{Action, News, Scheduler},
};
use crate::{NodeId, StageProgress};
use cache::Key;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many nodes are looked up in one task.
const BATCH: usize = 128;

/// Who hears of a run as it goes on.
pub(super) trait Listener {
    /// What can stop the run.
    type Error;

    /// Before the first stage is started, or another process waited for.
    fn begin(&mut self) -> Result<(), Self::Error>;

    /// Something became of a node.
    fn news(&mut self, news: News);

    /// A stage has begun. Its key, and what its checkpoints are filed under.
    fn started(&mut self, node: NodeId, key: Key, trajectory: Option<Key>);

    /// A stage is under way.
    fn progressed(&mut self, node: NodeId, progress: StageProgress);

    /// A stage said something.
    fn said(&mut self, node: NodeId, line: String);

    /// Nothing happens until something is told: the time to write down what was heard.
    fn pause(&mut self);
}

/// Runs everything `scheduler` can have run.
///
/// # Errors
///
/// Fails if the listener cannot begin; nothing was started then.
pub(super) fn drive<L: Listener>(
    scheduler: &mut Scheduler,
    executor: &mut impl Executor,
    cancel: &AtomicBool,
    listener: &mut L,
) -> Result<(), L::Error> {
    let mut begun = false;
    loop {
        if cancel.load(Ordering::Relaxed) {
            scheduler.cancel();
        }
        let mut batch = vec![];
        while let Some(action) = scheduler.next_action(executor.now()) {
            if !begun && !matches!(action, Action::LookUp(..)) {
                begun = true;
                listener.begin()?;
            }
            match action {
                Action::LookUp(node, outputs) => {
                    batch.push((node, outputs));
                    if batch.len() == BATCH {
                        executor.submit(ExecutorTask::LookUp(std::mem::take(&mut batch)));
                    }
                }
                Action::Poll(node, computation) => {
                    executor.submit(ExecutorTask::Poll(node, computation))
                }
                Action::Start(ticket, computation) => {
                    executor.submit(ExecutorTask::Compute(ticket, computation));
                }
            }
        }
        if !batch.is_empty() {
            executor.submit(ExecutorTask::LookUp(batch));
        }
        while let Some(news) = scheduler.take_news() {
            listener.news(news);
        }
        if scheduler.is_idle() {
            return Ok(());
        }
        listener.pause();
        let until = scheduler.next_poll();
        let Some(message) = executor.receive(until) else {
            if until.is_some() {
                continue;
            }
            // Nothing will ever come: what is open stays so, and is told.
            return Ok(());
        };
        match message {
            ExecutorMessage::LookedUp(nodes) => {
                nodes.into_iter().for_each(|(node, outcome)| scheduler.looked_up(node, outcome));
            }
            ExecutorMessage::Polled(node, outcome) => {
                scheduler.polled(node, outcome, executor.now())
            }
            ExecutorMessage::Ended(ticket, end) => scheduler.ended(ticket, end, executor.now()),
            ExecutorMessage::Started(node, key, trajectory) => {
                listener.started(node, key, trajectory)
            }
            ExecutorMessage::Progressed(node, progress) => listener.progressed(node, progress),
            ExecutorMessage::Said(node, line) => listener.said(node, line),
        }
    }
}
