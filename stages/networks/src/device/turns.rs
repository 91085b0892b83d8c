//! Whose turn it is on a GPU. While one thread records a sequence of kernels (a CUDA graph), nothing else may be
//! asked of the device by this process: the driver would give up the recording, and refuse the other.

use std::{
    cell::Cell,
    sync::{PoisonError, RwLock},
};

static TURNS: RwLock<()> = RwLock::new(());

thread_local! {
    /// Whether this thread has a turn: a turn within one is no other.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// Does `work` on a device beside what other threads do there, but not while one records.
pub(crate) fn beside<T>(work: impl FnOnce() -> T) -> T {
    if BUSY.get() {
        return work();
    }
    let turn = TURNS.read().unwrap_or_else(PoisonError::into_inner);
    let out = taking(work);
    drop(turn);
    out
}

/// Does `work` while no other thread asks anything of a device.
pub(crate) fn alone<T>(work: impl FnOnce() -> T) -> T {
    assert!(!BUSY.get(), "a turn beside others cannot become one alone");
    let turn = TURNS.write().unwrap_or_else(PoisonError::into_inner);
    let out = taking(work);
    drop(turn);
    out
}

fn taking<T>(work: impl FnOnce() -> T) -> T {
    struct Done;
    impl Drop for Done {
        fn drop(&mut self) {
            BUSY.set(false);
        }
    }
    BUSY.set(true);
    let done = Done;
    let out = work();
    drop(done);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    #[test]
    fn nobody_is_beside_one_who_is_alone() {
        let inside = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..200 {
                        if round % 10 == 0 {
                            alone(|| {
                                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                                thread::yield_now();
                                inside.fetch_sub(1, Ordering::SeqCst);
                            });
                        } else {
                            // A turn within a turn waits for nobody.
                            beside(|| {
                                inside.fetch_add(1, Ordering::SeqCst);
                                beside(thread::yield_now);
                                inside.fetch_sub(1, Ordering::SeqCst);
                            });
                        }
                    }
                });
            }
        });
    }
}
