//! Retries of file system calls that fail for a moment: interrupted ones (EINTR), and those with a
//! stale handle (ESTALE), as on NFS after another host has replaced the file.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    thread,
    time::Duration,
};

/// The most retries of a call.
const TRIES: u32 = 64;

/// Tells whether an error is transient: EINTR or ESTALE.
pub(super) fn is_transient(error: &io::Error) -> bool {
    // By kind: an error with a path added has no OS code any more.
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::StaleNetworkFileHandle)
}

/// A counter of retries, which sleeps longer the more there were.
#[derive(Default)]
pub(super) struct Retries(u32);

impl Retries {
    /// Tells whether to retry, after a pause.
    pub(super) fn may_retry(&mut self) -> bool {
        self.0 += 1;
        if self.0 > 8 {
            thread::sleep(Duration::from_millis(u64::from(self.0.min(50))));
        }
        self.0 <= TRIES
    }
}

/// Calls `attempt` until it succeeds, or fails with an error that is not transient (EINTR, ESTALE),
/// or has failed too often.
///
/// # Errors
///
/// Returns the last error of `attempt`.
pub fn retrying<T, E: Into<io::Error>>(mut attempt: impl FnMut() -> Result<T, E>) -> io::Result<T> {
    let mut tries = Retries::default();
    loop {
        match attempt().map_err(Into::into) {
            Err(error) if is_transient(&error) && tries.may_retry() => {}
            other => return other,
        }
    }
}

/// Creates the folder `path` and those above it, as [`fs::create_dir_all`] does, with retries.
///
/// # Errors
///
/// Fails if the system refuses, or a file has the name.
pub fn make_folders(path: &Path) -> io::Result<()> {
    retrying(|| match fs::create_dir_all(path) {
        // `create_dir_all` says so also of a folder whose metadata it could not read for a moment.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::metadata(path)?.is_dir() { Ok(()) } else { Err(error) }
        }
        other => other,
    })
}

/// Writes all of `bytes`; a retry goes on after the bytes already written.
pub(super) fn write_all(to: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = retrying(|| to.write(bytes))?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    /// A writer that takes one byte of every other call, and fails with ESTALE at the others.
    struct Fitful(Vec<u8>, bool);

    impl Write for Fitful {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(Errno::STALE.into());
            }
            self.0.push(bytes[0]);
            Ok(1)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_write_goes_on_from_where_it_was() {
        let mut fitful = Fitful(vec![], false);
        write_all(&mut fitful, b"some bytes").expect("it passes");
        assert_eq!(fitful.0, b"some bytes");
    }

    #[test]
    fn an_error_that_was_given_a_path_is_still_a_passing_one() {
        let bare = io::Error::from(Errno::STALE);
        assert!(is_transient(&io::Error::new(bare.kind(), "stale, at path `tmp/new-1`")));
    }

    #[test]
    fn passing_trouble_is_gone_round_and_lasting_trouble_told() {
        for code in [Errno::INTR, Errno::STALE] {
            let mut left = 5;
            let done = retrying(|| {
                left -= 1;
                if left > 0 { Err(code) } else { Ok(7) }
            });
            assert_eq!(done.expect("it passes"), 7);
        }
        let mut asked = 0;
        let refused: io::Result<()> = retrying(|| {
            asked += 1;
            Err(Errno::NOSPC)
        });
        assert_eq!(
            (refused.map_err(|error| error.kind()), asked),
            (Err(io::ErrorKind::StorageFull), 1)
        );
    }
}
