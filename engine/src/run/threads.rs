//! The executor that runs tasks on threads of this process.

use super::{
    executor::{Executor, ExecutorMessage, ExecutorTask, StageEnd, StartTicket},
    worker::RunContext,
};
use crate::{NodeId, StageError};
use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, Scope},
    time::Instant,
};

/// The most threads that look up recipes, so that hashing one large file does not hold up the
/// others.
const MAX_LOOKUP_THREADS: usize = 4;

/// The worker threads of a run, started as needed. They end when this is dropped.
pub(super) struct Threads<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    context: &'env RunContext<'env>,
    tx: Sender<ExecutorMessage>,
    rx: Receiver<ExecutorMessage>,
    lookups: WorkerPool,
    computing: WorkerPool,
}

/// A queue of tasks and the threads that take tasks from it.
struct WorkerPool {
    tasks: Sender<ExecutorTask>,
    inbox: Arc<Mutex<Receiver<ExecutorTask>>>,
    threads: usize,
    max_threads: usize,
    /// The number of tasks without a final message.
    unfinished: usize,
}

impl WorkerPool {
    fn new(max_threads: usize) -> Self {
        let (tasks, inbox) = mpsc::channel();
        Self { tasks, inbox: Arc::new(Mutex::new(inbox)), threads: 0, max_threads, unfinished: 0 }
    }
}

impl<'scope, 'env> Threads<'scope, 'env> {
    pub(super) fn new(
        scope: &'scope Scope<'scope, 'env>,
        context: &'env RunContext<'env>,
        jobs: usize,
    ) -> Self {
        let (tx, rx) = mpsc::channel();
        let cores = thread::available_parallelism().map_or(MAX_LOOKUP_THREADS, usize::from);
        let lookups = WorkerPool::new(cores.min(MAX_LOOKUP_THREADS));
        let computing = WorkerPool::new(jobs.max(1));
        Self { scope, context, tx, rx, lookups, computing }
    }
}

impl Executor for Threads<'_, '_> {
    fn submit(&mut self, task: ExecutorTask) {
        let pool = match &task {
            ExecutorTask::Compute(..) => &mut self.computing,
            ExecutorTask::LookUp(_) | ExecutorTask::Poll(..) => &mut self.lookups,
        };
        pool.unfinished += 1;
        if pool.threads < pool.unfinished.min(pool.max_threads) {
            let inbox = Arc::clone(&pool.inbox);
            let tx = self.tx.clone();
            let context = self.context;
            let named = thread::Builder::new().name("stage".to_owned());
            match named.spawn_scoped(self.scope, move || run_worker(context, &inbox, &tx)) {
                Ok(_) => pool.threads += 1,
                // The other threads will take it; without any, it fails.
                Err(_) if pool.threads > 0 => {}
                Err(error) => {
                    pool.unfinished -= 1;
                    return fail_task(&task, &Arc::new(error), &self.tx);
                }
            }
        }
        // The receiver lives as long as the pool, so this cannot fail.
        pool.tasks.send(task).ok();
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn receive(&mut self, until: Option<Instant>) -> Option<ExecutorMessage> {
        let message = match until {
            // Never disconnected, for `self.tx` is a sender. Every task sends a final message.
            None if self.lookups.unfinished + self.computing.unfinished == 0 => {
                self.rx.try_recv().ok()
            }
            None => self.rx.recv().ok(),
            Some(until) => {
                let patience = until.saturating_duration_since(Instant::now());
                self.rx.recv_timeout(patience).ok()
            }
        };
        match &message {
            Some(ExecutorMessage::LookedUp(_) | ExecutorMessage::Polled(..)) => {
                self.lookups.unfinished -= 1
            }
            Some(ExecutorMessage::Ended(..)) => self.computing.unfinished -= 1,
            _ => {}
        }
        message
    }
}

/// Sends the final message of a task that no thread can be started for.
fn fail_task(task: &ExecutorTask, error: &Arc<io::Error>, tx: &Sender<ExecutorMessage>) {
    let failure = || StageError::NoThread { reason: error.clone() };
    let message = match task {
        ExecutorTask::LookUp(nodes) => ExecutorMessage::LookedUp(
            nodes.iter().map(|(node, _)| (*node, Err(failure()))).collect(),
        ),
        ExecutorTask::Poll(node, _) => ExecutorMessage::Polled(*node, Err(failure())),
        ExecutorTask::Compute(ticket, _) => ExecutorMessage::Ended(
            *ticket,
            StageEnd::Failed(super::executor::ComputeFailure::Other(failure())),
        ),
    };
    tx.send(message).ok();
}

/// Takes tasks until there will be no more.
fn run_worker(
    context: &RunContext<'_>,
    inbox: &Mutex<Receiver<ExecutorTask>>,
    tx: &Sender<ExecutorMessage>,
) {
    loop {
        let task = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(task) = task else { return };
        match task {
            ExecutorTask::LookUp(nodes) => {
                context.prefetch(&nodes);
                let look =
                    |(node, outputs): (NodeId, Vec<_>)| (node, context.look_up(node, &outputs));
                tx.send(ExecutorMessage::LookedUp(nodes.into_iter().map(look).collect())).ok();
            }
            ExecutorTask::Poll(node, computation) => {
                tx.send(ExecutorMessage::Polled(node, context.poll(&computation))).ok();
            }
            ExecutorTask::Compute(ticket, computation) => {
                let mut last_word = EndOnDrop { ticket, tx, end: Some(StageEnd::Vanished) };
                last_word.end = Some(context.compute(ticket.node, &computation, tx));
            }
        }
    }
}

/// Sends the final message of a computation when dropped, even if its thread panics.
struct EndOnDrop<'a> {
    ticket: StartTicket,
    tx: &'a Sender<ExecutorMessage>,
    end: Option<StageEnd>,
}

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            self.tx.send(ExecutorMessage::Ended(self.ticket, end)).ok();
        }
    }
}
