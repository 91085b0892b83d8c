//! Hashes as names: the digest of an object's bytes, and the key of a computation.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr};
use thiserror::Error;

/// The error of a string that is not 64 lowercase hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected 64 lowercase hex digits, found `{found}`")]
pub struct ParseIdError {
    found: String,
}

macro_rules! hash_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            pub(crate) fn from_hash(hash: blake3::Hash) -> Self {
                Self(*hash.as_bytes())
            }

            /// Returns the 32 bytes of the hash.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Returns the first twelve hex digits, for messages.
            #[must_use]
            pub fn short(&self) -> String {
                let mut text = self.to_string();
                text.truncate(12);
                text
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(blake3::Hash::from_bytes(self.0).to_hex().as_str())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let lower = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                match blake3::Hash::from_hex(text) {
                    Ok(hash) if lower => Ok(Self::from_hash(hash)),
                    _ => Err(ParseIdError { found: text.to_owned() }),
                }
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(blake3::Hash::from_bytes(self.0).to_hex().as_str())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct HexVisitor;
                impl de::Visitor<'_> for HexVisitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("64 lowercase hex digits")
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(HexVisitor)
            }
        }
    };
}

hash_id! {
    /// Names an object: the blake3 hash of its bytes.
    Digest
}

hash_id! {
    /// Names a computation: the hash of its [`Recipe`](crate::Recipe). Never interchangeable
    /// with a [`Digest`] — two recipes may well yield the same bytes.
    Key
}

impl Digest {
    /// Returns the digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        update(&mut hasher, bytes);
        Self::from_hash(hasher.finalize())
    }
}

/// Feeds `bytes` to `hasher`, on all cores from 256 KiB on.
pub(crate) fn update(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    if bytes.len() < 256 * 1024 {
        hasher.update(bytes);
    } else {
        hasher.update_rayon(bytes);
    }
}
