//! The errors of a store, and the damage of its files.

use crate::{Digest, Key};
use std::{
    io,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// The damage of a file of the store. Shown as a clause, such as `is missing`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Damage {
    /// There is no such file.
    #[error("is missing")]
    Missing,
    /// A folder or a symbolic link has the file's name.
    #[error("is not a file")]
    NotAFile,
    /// The file is shorter or longer than it was.
    #[error("has {found} bytes instead of {wanted}")]
    Length {
        /// Its length in bytes.
        found: u64,
        /// The length in bytes it should have.
        wanted: u64,
    },
    /// The file has its length, and bytes of another digest.
    #[error("holds other bytes")]
    Altered,
    /// A read fails (EIO), as over a bad sector.
    #[error("cannot be read ({why})")]
    Unreadable {
        /// The error of the system.
        why: String,
    },
    /// It is in no store here, and did not come from the remote one.
    #[error("could not be fetched ({why})")]
    NotFetched {
        /// Why: a clause.
        why: String,
    },
    /// The file was replaced while it was read.
    #[error("changed while it was read")]
    Unsteady,
    /// A sealed document whose checksum does not fit its body.
    #[error("is cut short or overwritten")]
    Torn,
    /// A sealed document, checksum and all, whose JSON does not decode.
    #[error("does not decode ({why})")]
    Undecodable {
        /// The error of the JSON decoder.
        why: String,
    },
    /// A record stored under another key.
    #[error("belongs to {}", key.short())]
    OfAnotherKey {
        /// The key of its own recipe or trajectory.
        key: Key,
    },
    /// A checkpoint stored under another trajectory or step.
    #[error("is step {step} of {}", trajectory.short())]
    OfAnotherStep {
        /// The key of its own recipe or trajectory.
        trajectory: Key,
        /// Its own step.
        step: u64,
    },
    /// A file that is no object, record or checkpoint by its name.
    #[error("was not made by the store")]
    Stray,
}

/// The reason why a folder is not a store. Shown as a clause, such as `it is not a folder`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotAStoreReason {
    /// There is a file at the path, no folder.
    #[error("it is not a folder")]
    NotAFolder,
    /// The folder holds other files, and no file called `format`.
    #[error("it holds `{name}` and no file called `format`")]
    OtherFiles {
        /// The name of one of them.
        name: String,
    },
    /// The file `format` is not that of a store.
    #[error("its file `format` says `{start}`")]
    OtherFormat {
        /// The first characters of that file.
        start: String,
    },
    /// A folder of the store is a symbolic link to another file system: no file can be renamed into
    /// it.
    #[error(
        "`{folder}` is a link to another file system, where nothing can be put into place; move \
         the whole folder there, and link that"
    )]
    OnTwoFileSystems {
        /// The path of the folder.
        folder: &'static str,
    },
}

/// An operation of the store failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// An object is missing or holds other bytes than were written; it is in quarantine.
    #[error("object {} {what}", digest.short())]
    Damaged {
        /// The digest of the object asked for.
        digest: Digest,
        /// The damage.
        what: Damage,
    },
    /// The store was written by a newer program.
    #[error("the store at `{}` has format {found}, newer than {known}, the newest this program knows", root.display())]
    NewerFormat {
        /// The path of the store.
        root: PathBuf,
        /// The version of its format.
        found: u32,
        /// The newest version this program knows.
        known: u32,
    },
    /// The folder holds something that is not a store.
    #[error("`{}` is not a store: {why}", root.display())]
    NotAStore {
        /// The path of the folder.
        root: PathBuf,
        /// The reason.
        why: NotAStoreReason,
    },
    /// The store was moved or removed while it was used.
    #[error("the store at `{}` is not there any more: it was moved or removed", root.display())]
    Gone {
        /// The path it was opened at.
        root: PathBuf,
    },
    /// A record or checkpoint cannot be encoded as JSON.
    #[error("the record of {} cannot be written", key.short())]
    BadRecord {
        /// The key of the record.
        key: Key,
        /// The error of the JSON encoder.
        source: serde_json::Error,
    },
    /// A call to the file system failed.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// A verb: `read`, `write`, `create`.
        action: &'static str,
        /// The path of the file or folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { action, path: path.to_owned(), source: source.into() }
    }
}
