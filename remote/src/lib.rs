//! Remote stores of results: buckets (S3), web servers, and folders, by their address; and the keys
//! that records are signed with.
//!
//! This crate knows requests and signatures. What is asked for, and when, is the business of `cache`;
//! where credentials come from, of the program.

mod address;
mod bucket;
mod keys;
mod network;

pub use address::{Address, AddressError};
pub use keys::{Ed25519, KeyError, PrivateKey};

use cache::{RemoteFolder, RemoteStore, StoreError};
use std::error::Error;
use thiserror::Error;

/// How to reach a remote store.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// The region of a bucket, such as `eu-central-1`.
    pub region: Option<String>,
    /// The address of a server that speaks S3, such as Ceph or MinIO; else it is Amazon's.
    pub endpoint: Option<String>,
    /// The variables of the environment whose names begin with `AWS_`: credentials.
    pub environment: Vec<(String, String)>,
    /// Whether results are sent there. A folder is then created if it is not there.
    pub writes: bool,
}

/// A remote store cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder is no store.
    #[error(transparent)]
    Folder(#[from] StoreError),
    /// A web server cannot be written to.
    #[error("`{url}` can only be read: results are not sent to a web server")]
    ReadOnly {
        /// The address.
        url: String,
    },
    /// A setting of the connection is wrong.
    #[error("cannot use `{url}`")]
    Connection {
        /// The address.
        url: String,
        /// What is wrong.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Opens the remote store at `address`. Buckets and web servers are not asked for anything yet.
///
/// # Errors
///
/// [`OpenError`] if the address cannot be used as asked.
pub fn open(address: &Address, connection: &Connection) -> Result<Box<dyn RemoteStore>, OpenError> {
    match address {
        Address::Folder(path) => Ok(Box::new(RemoteFolder::open(path, connection.writes)?)),
        Address::Web(url) if connection.writes => Err(OpenError::ReadOnly { url: url.clone() }),
        Address::Web(url) => Ok(Box::new(bucket::Bucket::of_web(url)?)),
        Address::Bucket { bucket, prefix } => {
            Ok(Box::new(bucket::Bucket::of_s3(bucket, prefix, connection)?))
        }
    }
}
