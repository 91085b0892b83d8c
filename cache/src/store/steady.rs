//! Asking a file system again where it says nothing final: interrupted calls, and handles that a
//! network file system calls stale after another host has replaced the file.

use rustix::io::Errno;
use std::{io, thread, time::Duration};

/// How often one is asked again.
const TRIES: u32 = 64;

/// Tells whether the answer may be another one the next time.
pub(super) fn is_passing(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    error.kind() == io::ErrorKind::Interrupted || code == Some(Errno::STALE)
}

/// Counts how often something was tried, and pauses longer the more often.
#[derive(Default)]
pub(super) struct Tries(u32);

impl Tries {
    /// Tells whether to try once more.
    pub(super) fn once_more(&mut self) -> bool {
        self.0 += 1;
        if self.0 > 8 {
            thread::sleep(Duration::from_millis(u64::from(self.0.min(50))));
        }
        self.0 <= TRIES
    }
}

/// Does `attempt` until it succeeds or fails for a reason that will stay.
pub(super) fn steadily<T, E: Into<io::Error>>(
    mut attempt: impl FnMut() -> Result<T, E>,
) -> io::Result<T> {
    let mut tries = Tries::default();
    loop {
        match attempt().map_err(Into::into) {
            Err(error) if is_passing(&error) && tries.once_more() => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passing_trouble_is_gone_round_and_lasting_trouble_told() {
        for code in [Errno::INTR, Errno::STALE] {
            let mut left = 5;
            let done = steadily(|| {
                left -= 1;
                if left > 0 { Err(code) } else { Ok(7) }
            });
            assert_eq!(done.expect("it passes"), 7);
        }
        let mut asked = 0;
        let refused: io::Result<()> = steadily(|| {
            asked += 1;
            Err(Errno::NOSPC)
        });
        assert_eq!(
            (refused.map_err(|error| error.kind()), asked),
            (Err(io::ErrorKind::StorageFull), 1)
        );
    }
}
