//! What can go wrong in a store, as data.

use crate::{Digest, Key};
use std::{
    io,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// What is wrong with a file of the store: a clause, such as `is missing`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Damage {
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// Something else has its name: a folder, a link.
    #[error("is not a file")]
    NotAFile,
    /// It is shorter or longer than it was.
    #[error("has {found} bytes instead of {wanted}")]
    Length {
        /// How long it is.
        found: u64,
        /// How long it should be.
        wanted: u64,
    },
    /// It is as long as it was, and does not have its digest.
    #[error("holds other bytes")]
    Altered,
    /// The disk does not give it back.
    #[error("cannot be read ({why})")]
    Unreadable {
        /// What the system said.
        why: String,
    },
    /// It was replaced between two looks.
    #[error("changed while it was read")]
    Unsteady,
    /// A sealed document without its seal.
    #[error("is cut short or overwritten")]
    Torn,
    /// A sealed document that means nothing.
    #[error("does not decode ({why})")]
    Undecodable {
        /// What the decoder said.
        why: String,
    },
    /// A record under the name of another.
    #[error("belongs to {}", key.short())]
    OfAnotherKey {
        /// Whose it is.
        key: Key,
    },
    /// A checkpoint under the name of another.
    #[error("is step {step} of {}", trajectory.short())]
    OfAnotherStep {
        /// Whose it is.
        trajectory: Key,
        /// Which.
        step: u64,
    },
    /// A file that the store has not made.
    #[error("was not made by the store")]
    Stray,
}

/// Why a folder is not a store: a clause, such as `it is not a folder`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotAStoreReason {
    /// A file has its name.
    #[error("it is not a folder")]
    NotAFolder,
    /// It holds other files, and no file called `format`.
    #[error("it holds `{name}` and no file called `format`")]
    OtherFiles {
        /// One of them.
        name: String,
    },
    /// Its file `format` is not that of a store.
    #[error("its file `format` says `{start}`")]
    OtherFormat {
        /// The beginning of what that file says.
        start: String,
    },
    /// A folder of it is a link to another file system, to which no file can be renamed.
    #[error(
        "`{folder}` is a link to another file system, where nothing can be put into place; move \
         the whole folder there, and link that"
    )]
    OnTwoFileSystems {
        /// The folder.
        folder: &'static str,
    },
}

/// The store could not do what was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// An object is missing or holds other bytes than were written; it has been set aside.
    #[error("object {} {what}", digest.short())]
    Damaged {
        /// The object asked for.
        digest: Digest,
        /// What is wrong with it.
        what: Damage,
    },
    /// The store was written by a newer program.
    #[error("the store at `{}` has format {found}, newer than {known}, the newest this program knows", root.display())]
    NewerFormat {
        /// Where the store is.
        root: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The folder holds something that is not a store.
    #[error("`{}` is not a store: {why}", root.display())]
    NotAStore {
        /// The folder.
        root: PathBuf,
        /// What was found there.
        why: NotAStoreReason,
    },
    /// The store was moved or removed while it was used.
    #[error("the store at `{}` is not there any more: it was moved or removed", root.display())]
    Gone {
        /// Where it was.
        root: PathBuf,
    },
    /// A record cannot be written down.
    #[error("the record of {} cannot be written", key.short())]
    BadRecord {
        /// The key.
        key: Key,
        /// What the encoder said.
        source: serde_json::Error,
    },
    /// The file system refused.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// A verb: `read`, `write`, `create`.
        action: &'static str,
        /// The path it was done to.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { action, path: path.to_owned(), source: source.into() }
    }
}
