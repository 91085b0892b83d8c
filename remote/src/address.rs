//! Addresses of remote stores.

use std::{fmt, path::PathBuf, str::FromStr};
use thiserror::Error;

/// Where a remote store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A folder, such as one on a network drive.
    Folder(PathBuf),
    /// A bucket of a server that speaks S3, and what the names in it begin with.
    Bucket {
        /// The name of the bucket.
        bucket: String,
        /// The folder in it, or nothing.
        prefix: String,
    },
    /// A folder of a web server.
    Web(String),
}

/// The error of an address that is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The address is of a kind that this program does not know.
    #[error("`{scheme}://` is not known: a remote store is a folder, file://, s3:// or https://")]
    Scheme {
        /// What stands before `://`.
        scheme: String,
    },
    /// The address names no folder, bucket or server.
    #[error("`{text}` names nothing: after `{scheme}://` comes {what}")]
    Incomplete {
        /// The address.
        text: String,
        /// What stands before `://`.
        scheme: String,
        /// What is missing.
        what: &'static str,
    },
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::Folder(text.into()));
        };
        let incomplete = |what| AddressError::Incomplete {
            text: text.to_owned(),
            scheme: scheme.to_owned(),
            what,
        };
        let rest = rest.trim_end_matches('/');
        match scheme {
            "file" if rest.starts_with('/') => Ok(Self::Folder(rest.into())),
            "file" => Err(incomplete("an absolute path")),
            "s3" => match rest.split_once('/').unwrap_or((rest, "")) {
                ("", _) => Err(incomplete("the name of a bucket")),
                (bucket, prefix) => {
                    Ok(Self::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
                }
            },
            "http" | "https" if rest.is_empty() => Err(incomplete("the name of a server")),
            "http" | "https" => Ok(Self::Web(format!("{scheme}://{rest}"))),
            _ => Err(AddressError::Scheme { scheme: scheme.to_owned() }),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Self::Web(url) => f.write_str(url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart() {
        let read = |text: &str| text.parse::<Address>();
        let bucket = |bucket: &str, prefix: &str| {
            Ok(Address::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
        };
        assert_eq!(read("s3://lab/a/b/"), bucket("lab", "a/b"));
        assert_eq!(read("s3://lab"), bucket("lab", ""));
        assert_eq!(read("file:///nfs/store"), Ok(Address::Folder("/nfs/store".into())));
        assert_eq!(read("../store"), Ok(Address::Folder("../store".into())));
        assert_eq!(read("https://a.b/c/"), Ok(Address::Web("https://a.b/c".to_owned())));
        for wrong in ["s3://", "s3:///x", "https://", "file://x", "gs://lab"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
