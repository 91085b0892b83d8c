//! Sending results to a remote store, in the background: objects first, the record last.

use super::{RemoteError, RemoteTier, checkpoints, signature, tier::Answer, transfer::UNSENT};
use crate::{
    Blob, Key, Store,
    store::{lock, object_path, record_path, unseal_record},
};
use std::{
    fs::File,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::Duration,
};

/// The results that are sent at once.
const SENDERS: usize = 4;
/// The results that wait to be sent; the names of more are only in the store.
const QUEUE: usize = 4096;
/// How long a wait lasts before it tells how many are left.
const TICK: Duration = Duration::from_millis(100);

/// The threads that send results, and what is queued for them.
#[derive(Debug)]
pub(crate) struct Uploads {
    queue: SyncSender<Upload>,
    open: Arc<Open>,
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
enum Upload {
    /// The result of a key.
    Result(Key),
    /// The checkpoint of a trajectory at a step.
    Checkpoint(Key, u64),
}

/// How many results are queued or being sent.
#[derive(Debug, Default)]
struct Open {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Uploads {
    /// Starts threads that send results of the store at `root`; `None` if there can be none.
    pub(super) fn start(root: &Path, tier: &Arc<RemoteTier>) -> Option<Self> {
        let store = Arc::new(Store::for_sending(root)?);
        let (queue, inbox) = mpsc::sync_channel(QUEUE);
        let inbox = Arc::new(Mutex::new(inbox));
        let open = Arc::new(Open::default());
        let mut started = 0;
        for _ in 0..SENDERS {
            let (store, tier) = (Arc::clone(&store), Arc::clone(tier));
            let (inbox, open) = (Arc::clone(&inbox), Arc::clone(&open));
            let named = thread::Builder::new().name("upload".to_owned());
            let spawned = named.spawn(move || send_all(&store, &tier, &inbox, &open));
            started += usize::from(spawned.is_ok());
        }
        (started > 0).then_some(Self { queue, open })
    }

    /// Queues a result. If the queue is full, its name is in the store and it is sent later.
    pub(super) fn queue(&self, key: Key) {
        self.push(Upload::Result(key));
    }

    /// Queues a checkpoint. If the queue is full, it is not sent.
    pub(super) fn queue_checkpoint(&self, trajectory: Key, step: u64) {
        self.push(Upload::Checkpoint(trajectory, step));
    }

    fn push(&self, upload: Upload) {
        *lock(&self.open.count) += 1;
        if self.queue.try_send(upload).is_err() {
            *lock(&self.open.count) -= 1;
        }
    }

    /// Waits until nothing is queued any more or `stop` is set.
    pub(super) fn wait(&self, stop: &AtomicBool, on: &mut dyn FnMut(usize)) {
        let mut count = lock(&self.open.count);
        while *count > 0 && !stop.load(Ordering::Relaxed) {
            on(*count);
            let waited = self.open.changed.wait_timeout(count, TICK);
            count = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Sends what is queued until there will be no more.
fn send_all(store: &Store, tier: &RemoteTier, inbox: &Mutex<Receiver<Upload>>, open: &Open) {
    loop {
        let Ok(upload) = lock(inbox).recv() else { return };
        if tier.takes_writes() {
            let sent = match upload {
                Upload::Result(key) => send(store, tier, key).map(|sent| sent.then_some(key)),
                Upload::Checkpoint(key, step) => {
                    checkpoints::send(store, tier, key, step).map(|()| None)
                }
            };
            match sent {
                Ok(Some(key)) => {
                    tier.answered();
                    store.remove_document(UNSENT, &key.to_string()).ok();
                }
                Ok(None) => {}
                Err(error @ RemoteError::Refused { .. }) => tier.write_refused(&error),
                Err(error) => tier.failed(&error),
            }
        }
        *lock(&open.count) -= 1;
        open.changed.notify_all();
    }
}

/// Sends those of `blobs` that are not there, and tells whether all are there now: one may be damaged here, or gone.
pub(super) fn send_objects<'a>(
    store: &Store,
    tier: &RemoteTier,
    blobs: impl IntoIterator<Item = &'a Blob>,
) -> Result<bool, RemoteError> {
    for blob in blobs {
        let name = object_path(&blob.digest);
        if !tier.has_lost(&blob.digest) && tier.remote.contains(&name)? {
            continue;
        }
        // Verified on the way out: what is damaged here is not spread.
        if store.get(blob).is_err() {
            return Ok(false);
        }
        let Ok(mut body) = File::open(store.root().join(&name)) else { return Ok(false) };
        if tier.remote.put(&name, &mut body, blob.size, false)? {
            tier.count(|counts| counts.bytes_sent += blob.size);
        }
    }
    Ok(true)
}

/// Sends the result of `key`, and tells whether it is there now. One that is not in the store any
/// more is not missed.
fn send(store: &Store, tier: &RemoteTier, key: Key) -> Result<bool, RemoteError> {
    if !tier.prepare()? {
        return Ok(false);
    }
    let name = record_path(key);
    let Ok(Some(file)) = store.read_small(&name) else { return Ok(true) };
    let Some(record) = unseal_record(key, &file) else { return Ok(true) };
    if !send_objects(store, tier, record.output.parts.values())? {
        return Ok(true);
    }
    let file = signature::signed(key, file, tier.options.signatures.as_deref());
    let size = file.len() as u64;
    let in_the_way = match tier.known(key) {
        Some(Answer::Damaged) => true,
        // With a signature it is worth more; that of somebody else is left alone.
        Some(Answer::Untrusted { by }) => by.is_empty() && signature::of_file(&file).is_some(),
        // The promise is broken: if the output is another, so is the record.
        Some(Answer::Record(found)) => {
            tier.is_broken(&found.record) && found.record.output != record.output
        }
        _ => false,
    };
    let only_new = !in_the_way;
    if tier.remote.put(&name, &mut &file[..], size, only_new)? {
        tier.count(|counts| {
            counts.sent += 1;
            counts.bytes_sent += size;
        });
    }
    Ok(true)
}
