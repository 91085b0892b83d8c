//! The threads that requests run on (tokio), and bodies as they arrive.

use bytes::{Buf as _, Bytes};
use futures_util::{StreamExt as _, stream::BoxStream};
use std::{
    fmt,
    io::{self, Read},
    sync::Arc,
};
use tokio::runtime::{Builder, Runtime};

/// A runtime for requests, shared by all that is opened over one connection.
#[derive(Clone)]
pub(crate) struct RequestRuntime(Arc<Owned>);

struct Owned(Option<Runtime>);

impl Drop for Owned {
    fn drop(&mut self) {
        // A request that hangs, in a look-up of a name for one, holds up nothing.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for RequestRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestRuntime")
    }
}

impl RequestRuntime {
    /// Starts one thread for all requests.
    pub(crate) fn start() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name("network").enable_all().build()?;
        Ok(Self(Arc::new(Owned(Some(runtime)))))
    }

    /// Waits for `future`.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.0.0.as_ref().expect("it is taken when dropped").block_on(future)
    }
}

/// The body of an answer, read as it arrives.
pub(crate) struct Body {
    network: RequestRuntime,
    pieces: BoxStream<'static, object_store::Result<Bytes>>,
    piece: Bytes,
}

impl Body {
    pub(crate) fn new(
        network: RequestRuntime,
        pieces: BoxStream<'static, object_store::Result<Bytes>>,
    ) -> Self {
        Self { network, pieces, piece: Bytes::new() }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.network.wait(self.pieces.next()) {
                None => return Ok(0),
                Some(piece) => self.piece = piece.map_err(io::Error::other)?,
            }
        }
        let count = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
