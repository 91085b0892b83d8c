//! Artifacts, the outputs of computations: a kind and named parts, each part an object.

use crate::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A reference to an object: its digest and its length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    /// The blake3 digest of the bytes.
    pub digest: Digest,
    /// The length in bytes.
    pub size: u64,
}

/// The output of a computation: objects by name. Two artifacts may share an object, which is stored
/// once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// The kind, such as `scores`. Equal parts of two kinds are two artifacts.
    pub kind: String,
    /// The objects, by the name of the part.
    pub parts: BTreeMap<String, Blob>,
}

impl Artifact {
    /// Returns the digest of the artifact: of its kind, and of each part's name and digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key("coresift artifact v1");
        let mut feed = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        };
        feed(self.kind.as_bytes());
        for (name, blob) in &self.parts {
            feed(name.as_bytes());
            feed(blob.digest.as_bytes());
        }
        Digest::from_hash(hasher.finalize())
    }
}
