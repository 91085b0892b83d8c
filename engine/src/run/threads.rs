//! The threads of this process as what carries out a run's tasks.

use super::{
    executor::{Executor, Message, StageEnd, Task, Ticket},
    worker::Shared,
};
use crate::{NodeId, StageError};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, Scope},
    time::Instant,
};

/// How many threads look up recipes at most: what one of them hashes holds up no other for long.
const LOOKING: usize = 4;

/// Threads that are started as they are needed and end with what holds them.
pub(super) struct Threads<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    shared: &'env Shared<'env>,
    tx: Sender<Message>,
    rx: Receiver<Message>,
    looking: Pool,
    computing: Pool,
}

/// A queue of tasks and the threads that take from it.
struct Pool {
    tasks: Sender<Task>,
    inbox: Arc<Mutex<Receiver<Task>>>,
    threads: usize,
    most: usize,
    /// Tasks whose end was not told yet.
    open: usize,
}

impl Pool {
    fn new(most: usize) -> Self {
        let (tasks, inbox) = mpsc::channel();
        Self { tasks, inbox: Arc::new(Mutex::new(inbox)), threads: 0, most, open: 0 }
    }
}

impl<'scope, 'env> Threads<'scope, 'env> {
    pub(super) fn new(
        scope: &'scope Scope<'scope, 'env>,
        shared: &'env Shared<'env>,
        jobs: usize,
    ) -> Self {
        let (tx, rx) = mpsc::channel();
        let cores = thread::available_parallelism().map_or(LOOKING, usize::from);
        let looking = Pool::new(cores.min(LOOKING));
        let computing = Pool::new(jobs.max(1));
        Self { scope, shared, tx, rx, looking, computing }
    }
}

impl Executor for Threads<'_, '_> {
    fn submit(&mut self, task: Task) {
        let pool = match &task {
            Task::Compute(..) => &mut self.computing,
            Task::LookUp(_) | Task::Poll(..) => &mut self.looking,
        };
        pool.open += 1;
        if pool.threads < pool.open.min(pool.most) {
            let (inbox, tx, shared) = (Arc::clone(&pool.inbox), self.tx.clone(), self.shared);
            let named = thread::Builder::new().name("stage".to_owned());
            match named.spawn_scoped(self.scope, move || work(shared, &inbox, &tx)) {
                Ok(_) => pool.threads += 1,
                // Those there are will come to it; without any, the task ends here.
                Err(_) if pool.threads > 0 => {}
                Err(error) => {
                    pool.open -= 1;
                    return refuse(&task, &error, &self.tx);
                }
            }
        }
        // The other end lives as long as this one.
        pool.tasks.send(task).ok();
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn receive(&mut self, until: Option<Instant>) -> Option<Message> {
        let message = match until {
            // Never disconnected: one end is held here. That every task ends is the threads' part.
            None if self.looking.open + self.computing.open == 0 => self.rx.try_recv().ok(),
            None => self.rx.recv().ok(),
            Some(until) => {
                let patience = until.saturating_duration_since(Instant::now());
                self.rx.recv_timeout(patience).ok()
            }
        };
        match &message {
            Some(Message::LookedUp(_) | Message::Polled(..)) => self.looking.open -= 1,
            Some(Message::Ended(..)) => self.computing.open -= 1,
            _ => {}
        }
        message
    }
}

/// Ends a task for which there is no thread.
fn refuse(task: &Task, error: &std::io::Error, tx: &Sender<Message>) {
    let failure = || {
        StageError::method(format!("no thread can be started: {error}"))
            .with_hint("raise the limit on processes (`ulimit -u`), or lower `--jobs`")
    };
    let message = match task {
        Task::LookUp(nodes) => {
            Message::LookedUp(nodes.iter().map(|(node, _)| (*node, Err(failure()))).collect())
        }
        Task::Poll(node, _) => Message::Polled(*node, Err(failure())),
        Task::Compute(ticket, _) => {
            Message::Ended(*ticket, StageEnd::Failed(super::executor::Failed::Other(failure())))
        }
    };
    tx.send(message).ok();
}

/// Takes tasks until there will be no more.
fn work(shared: &Shared<'_>, inbox: &Mutex<Receiver<Task>>, tx: &Sender<Message>) {
    loop {
        let task = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(task) = task else { return };
        match task {
            Task::LookUp(nodes) => {
                let look =
                    |(node, outputs): (NodeId, Vec<_>)| (node, shared.look_up(node, &outputs));
                tx.send(Message::LookedUp(nodes.into_iter().map(look).collect())).ok();
            }
            Task::Poll(node, computation) => {
                tx.send(Message::Polled(node, shared.poll(&computation))).ok();
            }
            Task::Compute(ticket, computation) => {
                let mut last_word = LastWord { ticket, tx, end: Some(StageEnd::Vanished) };
                last_word.end = Some(shared.compute(ticket.node, &computation, tx));
            }
        }
    }
}

/// Tells the end of a computation when it goes, whatever way its thread takes.
struct LastWord<'a> {
    ticket: Ticket,
    tx: &'a Sender<Message>,
    end: Option<StageEnd>,
}

impl Drop for LastWord<'_> {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            self.tx.send(Message::Ended(self.ticket, end)).ok();
        }
    }
}
