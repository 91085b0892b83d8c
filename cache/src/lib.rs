//! The content-addressed store of results: objects named by the hash of their bytes, records named
//! by the hash of their recipe.
//!
//! This crate knows bytes, hashes, and files. It does not know what a stage is, nor a network: where a
//! store has a remote tier, requests go through a trait.

mod artifact;
mod error;
mod id;
mod recipe;
mod remote;
mod store;

pub use artifact::{Artifact, Blob};
pub use error::{Damage, NotAStoreReason, StoreError};
pub use id::{Digest, Key, ParseIdError};
pub use recipe::{Provenance, Recipe, Record};
pub use remote::{
    RecordSignatures, RemoteCounts, RemoteError, RemoteFolder, RemoteOptions, RemoteStore,
    RemoteTier,
};
pub use store::{
    Bytes, Checkpoint, Commit, DamagedPart, EntryKind, FileSystem, Finding, Fingerprint, GcLock,
    GcOptions, GcReport, KeepSet, KindStats, Lease, LockReach, Lookup, LookupDamage, ObjectWriter,
    ShareReport, Stats, Store, Verify, VerifyReport, WorkFolder, folder_digest, host, make_folders,
    retrying,
};
