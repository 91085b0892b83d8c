//! The event loop of a run: submits the scheduler's actions to the executor, and passes the
//! executor's messages to the scheduler and to a listener.

use super::{
    executor::{Executor, ExecutorMessage, ExecutorTask},
    scheduler::{Action, News, Scheduler},
};
use crate::{NodeId, StageProgress};
use cache::Key;
use std::sync::atomic::{AtomicBool, Ordering};

/// The most nodes that are looked up in one task.
const BATCH: usize = 128;

/// A listener to a run: the recorder, or a test.
pub(super) trait Listener {
    /// The error that stops the run.
    type Error;

    /// Called before the first stage is started or waited for: the run has work.
    fn begin(&mut self) -> Result<(), Self::Error>;

    /// Called when the state of a node changes.
    fn news(&mut self, news: News);

    /// Called when a stage starts, with its key and that of its checkpoints.
    fn started(&mut self, node: NodeId, key: Key, trajectory: Option<Key>);

    /// Called when a stage reports progress.
    fn progressed(&mut self, node: NodeId, progress: StageProgress);

    /// Called when a stage logs a line.
    fn said(&mut self, node: NodeId, line: String);

    /// Called before the loop blocks on the next message: the time to flush logs.
    fn pause(&mut self);
}

/// Runs the loop until the scheduler is idle.
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
            // No message will come any more: the caller reports the nodes that are still open.
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
