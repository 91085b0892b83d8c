//! Buckets of servers that speak S3, and folders of web servers.

use crate::{
    Connection, OpenError,
    network::{Body, RequestRuntime},
};
use cache::{RemoteError, RemoteStore};
use futures_util::TryStreamExt as _;
use object_store::{
    BackoffConfig, ClientOptions, Error, ObjectStore, ObjectStoreExt as _, PutMode, RetryConfig,
    WriteMultipart,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    http::HttpBuilder,
    path::Path,
};
use std::{io::Read, time::Duration};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(30);
/// The bytes from which on a file is sent in parts.
const IN_PARTS: u64 = 16 << 20;
/// The bytes of a part, and how many are under way at once.
const PART: usize = 8 << 20;
const PARTS_AT_ONCE: usize = 4;
/// The variables that say how to come by credentials.
const CREDENTIALS: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// A bucket, or a folder of a web server.
#[derive(Debug)]
pub(crate) struct Bucket {
    network: RequestRuntime,
    store: Box<dyn ObjectStore>,
    prefix: String,
    is_web: bool,
}

impl Bucket {
    /// Returns a bucket. Without credentials in the environment it is asked without any, as public
    /// buckets are.
    pub(crate) fn of_s3(
        bucket: &str,
        prefix: &str,
        connection: &Connection,
    ) -> Result<Self, OpenError> {
        let url = || format!("s3://{bucket}");
        let fail = |source: Error| OpenError::Connection { url: url(), source: source.into() };
        let mut builder = AmazonS3Builder::new();
        for (name, value) in &connection.environment {
            if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
                builder = builder.with_config(key, value);
            }
        }
        if let Some(region) = &connection.region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = &connection.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint).unwrap_or_default();
        let is_plain = endpoint.starts_with("http://");
        let has_credentials =
            connection.environment.iter().any(|(name, _)| CREDENTIALS.contains(&name.as_str()));
        let builder = builder
            .with_bucket_name(bucket)
            .with_skip_signature(!has_credentials)
            .with_retry(retries())
            .with_client_options(client(is_plain));
        let store = Box::new(builder.build().map_err(fail)?);
        let network = RequestRuntime::start()
            .map_err(|source| OpenError::Connection { url: url(), source: source.into() })?;
        Ok(Self { network, store, prefix: prefix.to_owned(), is_web: false })
    }

    /// Returns a folder of a web server.
    pub(crate) fn of_web(url: &str) -> Result<Self, OpenError> {
        let fail = |source| OpenError::Connection { url: url.to_owned(), source };
        let options = client(url.starts_with("http://"));
        let builder = HttpBuilder::new().with_url(url).with_retry(retries());
        let store = builder.with_client_options(options).build();
        let store = Box::new(store.map_err(|error| fail(error.into()))?);
        let network = RequestRuntime::start().map_err(|error| fail(error.into()))?;
        Ok(Self { network, store, prefix: String::new(), is_web: true })
    }

    fn path(&self, name: &str) -> Path {
        match self.prefix.as_str() {
            "" => Path::from(name),
            prefix => Path::from(format!("{prefix}/{name}")),
        }
    }

    async fn put_in_parts(
        &self,
        path: &Path,
        body: &mut (dyn Read + Send),
    ) -> Result<(), PutError> {
        let upload = self.store.put_multipart(path).await?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
        let mut buffer = vec![0; 1 << 20];
        loop {
            upload.wait_for_capacity(PARTS_AT_ONCE).await?;
            match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => upload.write(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // The server forgets parts that are never put together, in time.
                    upload.abort().await.ok();
                    return Err(PutError::Body(error));
                }
            }
        }
        upload.finish().await?;
        Ok(())
    }
}

/// Why a file was not sent.
enum PutError {
    Body(std::io::Error),
    Server(Error),
}

impl From<Error> for PutError {
    fn from(error: Error) -> Self {
        Self::Server(error)
    }
}

/// Returns how a request is tried again: once, for a remote store is no more than a help.
fn retries() -> RetryConfig {
    let backoff = BackoffConfig { init_backoff: Duration::from_millis(100), ..Default::default() };
    RetryConfig { backoff, max_retries: 1, retry_timeout: Duration::from_secs(30) }
}

fn client(is_plain: bool) -> ClientOptions {
    // The certificates of the system are read by default; without any, that fails.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ClientOptions::new()
        .with_allow_http(is_plain)
        .with_no_system_certificates(is_plain)
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT)
        .with_read_timeout(IDLE)
        .with_pool_max_idle_per_host(64)
}

fn fail(name: &str, error: Error) -> RemoteError {
    match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            RemoteError::refused(name, error)
        }
        error => RemoteError::failed(name, error),
    }
}

impl RemoteStore for Bucket {
    fn get(&self, name: &str) -> Result<Option<Box<dyn Read + Send>>, RemoteError> {
        match self.network.wait(self.store.get(&self.path(name))) {
            Ok(answer) => Ok(Some(Box::new(Body::new(self.network.clone(), answer.into_stream())))),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(fail(name, error)),
        }
    }

    fn contains(&self, name: &str) -> Result<bool, RemoteError> {
        match self.network.wait(self.store.head(&self.path(name))) {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            // A HEAD has no body to say why; where it may not be asked, it is not known to be there.
            Err(Error::PermissionDenied { .. }) => Ok(false),
            Err(error) => Err(fail(name, error)),
        }
    }

    fn put(
        &self,
        name: &str,
        body: &mut (dyn Read + Send),
        size: u64,
        only_new: bool,
    ) -> Result<bool, RemoteError> {
        let path = self.path(name);
        if size >= IN_PARTS && !only_new {
            let sent = self.network.wait(self.put_in_parts(&path, body));
            return match sent {
                Ok(()) => Ok(true),
                Err(PutError::Body(error)) => Err(RemoteError::failed(name, error)),
                Err(PutError::Server(error)) => Err(fail(name, error)),
            };
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        body.read_to_end(&mut bytes).map_err(|error| RemoteError::failed(name, error))?;
        let mode = if only_new { PutMode::Create } else { PutMode::Overwrite };
        match self.network.wait(self.store.put_opts(&path, bytes.into(), mode.into())) {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) if only_new => Ok(false),
            Err(error) => Err(fail(name, error)),
        }
    }

    fn list(&self, folder: &str, each: &mut dyn FnMut(u64)) -> Result<(), RemoteError> {
        if self.is_web {
            return Err(RemoteError::failed(folder, "a web server does not list what it has"));
        }
        let path = self.path(folder);
        let mut entries = self.store.list(Some(&path));
        while let Some(entry) =
            self.network.wait(entries.try_next()).map_err(|error| fail(folder, error))?
        {
            each(entry.size);
        }
        Ok(())
    }
}
