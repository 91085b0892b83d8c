//! Heartbeats of leases, for file systems whose locks (flock) may not reach from one host to the
//! other, as through sshfs or on NFS mounted with `nolock`.
//!
//! A lease is then a file that one process alone can create (`O_EXCL`), which says whose it is, and
//! which its holder writes every 20 seconds. One that was not written for 90 seconds is dead. Both
//! dates are the file server's: that of the lease, and that of a file written just now. Among the
//! processes of one machine its lock tells at once.

use super::{
    Store,
    lease::{Lease, holder_name},
    lock,
    retry::{self, Retries},
};
use crate::StoreError;
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How often a holder writes its lease.
const BEAT: Duration = Duration::from_secs(20);
/// The seconds after which a lease that was not written is dead.
const DEAD_AFTER: f64 = 90.0;
/// For how long the difference between the server's clock and this machine's is trusted.
const CLOCK_HOLDS: Duration = Duration::from_secs(60);

/// The leases of a store that are written while they are held.
#[derive(Debug, Default)]
pub(super) struct Heartbeat {
    held: Mutex<HeldLeases>,
    /// When the server's clock was read, and what it said.
    clock: Mutex<Option<(Instant, f64)>>,
}

#[derive(Debug, Default)]
struct HeldLeases {
    all: BTreeMap<u64, Arc<HeldLease>>,
    has_thread: bool,
}

#[derive(Debug)]
struct HeldLease {
    file: File,
    text: String,
}

/// A lease that is written while this lives.
#[derive(Debug)]
pub(super) struct Beating {
    heartbeat: Arc<Heartbeat>,
    number: u64,
    /// What the file says: whose it is, and which of its.
    pub(super) text: String,
}

impl Drop for Beating {
    fn drop(&mut self) {
        lock(&self.heartbeat.held).all.remove(&self.number);
    }
}

/// What there is of a lease.
enum FoundLease {
    Nothing,
    Held,
    /// A dead one, which says this.
    Dead(String),
}

impl Heartbeat {
    /// Writes the lease from now on, until what is returned is dropped.
    fn begin(self: &Arc<Self>, file: File, number: u64, text: String) -> Beating {
        let mut held = lock(&self.held);
        held.all.insert(number, Arc::new(HeldLease { file, text: text.clone() }));
        if !held.has_thread {
            let this = Arc::downgrade(self);
            let beat = move || beat(&this);
            // Without the thread another host takes a lease that is held for long, as without
            // heartbeats.
            let begun = thread::Builder::new().name("heartbeat".to_owned()).spawn(beat);
            held.has_thread = begun.is_ok();
        }
        Beating { heartbeat: Arc::clone(self), number, text }
    }
}

/// Writes the held leases now and then, until there are none.
fn beat(heartbeat: &Weak<Heartbeat>) {
    loop {
        thread::sleep(BEAT);
        let Some(heartbeat) = heartbeat.upgrade() else { return };
        let mut held = lock(&heartbeat.held);
        held.has_thread = !held.all.is_empty();
        let all: Vec<Arc<HeldLease>> = held.all.values().cloned().collect();
        drop(held);
        if all.is_empty() {
            return;
        }
        for lease in all {
            // Written, not only dated: some file systems send the date of this machine's clock.
            let _ = lease.file.write_all_at(lease.text.as_bytes(), 0);
            let _ = lease.file.sync_data();
        }
    }
}

impl Store {
    /// Has held leases written every 20 seconds, and takes those that were not for 90 seconds: for
    /// file systems whose locks do not reach other hosts. `None` does so on network file systems.
    /// All processes on one store are to do the same.
    #[must_use]
    pub fn with_heartbeat(mut self, wanted: Option<bool>) -> Self {
        let has = wanted.unwrap_or(self.on_network);
        self.heartbeat = has.then(Arc::default);
        self
    }

    /// Tells whether held leases are written now and then.
    #[must_use]
    pub fn has_heartbeat(&self) -> bool {
        self.heartbeat.is_some()
    }

    /// Takes the lease at `path`, unless another process holds it.
    pub(super) fn lease_with_heartbeat(
        &self,
        path: &Path,
        heartbeat: &Arc<Heartbeat>,
    ) -> Result<Option<Lease>, StoreError> {
        let mut tries = Retries::default();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o666);
        loop {
            let error = match options.open(path) {
                Ok(file) => return Ok(self.hold(file, path, heartbeat)),
                Err(error) => error,
            };
            match self.examine_lease(path)? {
                FoundLease::Held => return Ok(None),
                FoundLease::Dead(text) => self.remove_dead(path, &text),
                FoundLease::Nothing if error.kind() == io::ErrorKind::NotFound => {
                    self.make_folder("leases")?;
                }
                FoundLease::Nothing => {}
            }
            if !tries.may_retry() {
                // Others take it and give it back all the time.
                if error.kind() == io::ErrorKind::AlreadyExists {
                    return Ok(None);
                }
                return Err(self.io_or_gone("lock", path, error));
            }
        }
    }

    /// Makes the new file at `path` a lease of this process.
    fn hold(&self, file: File, path: &Path, heartbeat: &Arc<Heartbeat>) -> Option<Lease> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let text = format!("{}\n{} {number}\n", holder_name(), machine());
        // Who looks at the new file in this moment leaves it alone: it is empty and young.
        let is_taken = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        let written = (&file).write_all(text.as_bytes()).and_then(|()| file.sync_data());
        if is_taken || written.is_err() {
            let _ = fs::remove_file(path);
            return None;
        }
        self.chmod_for_group(&file);
        let beating = file.try_clone().ok().map(|file| heartbeat.begin(file, number, text));
        Some(Lease::beating(path.to_owned(), file, beating))
    }

    /// Tells whether a process holds the lease at `path`.
    pub(super) fn is_beating(&self, path: &Path) -> bool {
        matches!(self.examine_lease(path), Ok(FoundLease::Held))
    }

    fn examine_lease(&self, path: &Path) -> Result<FoundLease, StoreError> {
        let fail = |error| self.io_or_gone("lock", path, error);
        let file = match retry::retrying(|| File::open(path)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(FoundLease::Nothing);
            }
            Err(error) => return Err(fail(error)),
        };
        let text = retry::retrying(|| fs::read_to_string(path)).unwrap_or_default();
        let date = date(&file).map_err(fail)?;
        // Who has just made it is about to lock it.
        let is_new = text.is_empty();
        let of_here = text.lines().nth(1).and_then(|line| line.rsplit_once(' '));
        let is_of_here = of_here.is_some_and(|(its_machine, _)| its_machine == machine());
        if !is_new {
            // Shared: NFS gives no other lock on a file that is open for reading.
            match file.try_lock_shared() {
                Err(TryLockError::WouldBlock) => return Ok(FoundLease::Held),
                // Its holder's lock is gone, and so is its holder.
                Ok(()) if is_of_here => return Ok(FoundLease::Dead(text)),
                _ => {}
            }
        }
        let is_dead = self.server_time()? - date > DEAD_AFTER;
        Ok(if is_dead { FoundLease::Dead(text) } else { FoundLease::Held })
    }

    /// Removes the dead lease that says `text`, and no other that took its place meanwhile.
    fn remove_dead(&self, path: &Path, text: &str) {
        let Ok(aside) = self.temporary(0o600) else { return };
        if fs::rename(path, aside.path()).is_ok()
            && fs::read_to_string(aside.path()).is_ok_and(|moved| moved != text)
        {
            let _ = fs::hard_link(aside.path(), path);
        }
    }

    /// Returns what the clock of the file server says, in seconds since 1970.
    fn server_time(&self) -> Result<f64, StoreError> {
        let Some(heartbeat) = &self.heartbeat else { return Ok(0.0) };
        let mut clock = lock(&heartbeat.clock);
        let now = Instant::now();
        if let Some((at, said)) = *clock
            && now - at < CLOCK_HOLDS
        {
            return Ok(said + (now - at).as_secs_f64());
        }
        let file = self.temporary_with(b"\n", 0o600)?;
        let said = file.as_file().sync_data().and_then(|()| date(file.as_file()));
        let said = said.map_err(|error| self.io_or_gone("write", file.path(), error))?;
        *clock = Some((Instant::now(), said));
        Ok(said)
    }
}

/// Returns when the file was last written, by the clock of the file system.
fn date(file: &File) -> io::Result<f64> {
    let about = file.metadata()?;
    Ok(about.mtime() as f64 + about.mtime_nsec() as f64 / 1e9)
}

/// Returns what tells this machine, since it was started, from others: on it the kernel knows which
/// locks are held.
fn machine() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    format!("{}/{}", super::host().trim(), boot.trim())
}
