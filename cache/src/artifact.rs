//! What a computation leaves behind: a kind and its parts, each part an object.

use crate::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An object as others name it: its digest and its length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    /// The blake3 digest of the bytes.
    pub digest: Digest,
    /// How many bytes.
    pub size: u64,
}

/// A named set of objects that travels as one. Two artifacts may share a part; it is stored once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// What the parts are together, such as `scores`. Equal parts of two kinds are two artifacts.
    pub kind: String,
    /// The objects, by name.
    pub parts: BTreeMap<String, Blob>,
}

impl Artifact {
    /// Returns the digest of the whole: of its kind, and of each part's name and digest.
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
