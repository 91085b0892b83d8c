//! Signatures of records: a second line of a record's file, so that readers can tell who says that a
//! recipe gave an output.
//!
//! The line is `{"by":"ed25519:<hex>","sig":"<hex>"}`; signed is `coresift record v1`, the key of
//! the recipe and the BLAKE3 hash of the record. How is the business of [`RecordSignatures`].

use crate::Key;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The beginning of every signed message; its version goes up when what is signed changes.
const CONTEXT: &[u8] = b"coresift record v1";
/// The beginning of a signature line, which tells it from other bytes.
const OPEN: &[u8] = br#"{"by":""#;
/// More bytes than a signature line has.
const LONGEST: usize = 512;

/// Signs and verifies messages with asymmetric keys (Ed25519).
pub trait RecordSignatures: Send + Sync + fmt::Debug {
    /// Signs `message` with the private key of this user: returns the public key, such as
    /// `ed25519:9f…`, and the signature in hex; `None` without a private key.
    fn sign(&self, message: &[u8]) -> Option<(String, String)>;

    /// Tells whether `signature` is that of `message` by the holder of `public_key`.
    fn verify(&self, public_key: &str, message: &[u8], signature: &str) -> bool;
}

/// The second line of a signed record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignatureLine {
    /// The public key.
    pub(super) by: String,
    /// The signature, in hex.
    pub(super) sig: String,
}

/// Returns the file of a record without its signature line, if it has one.
pub(crate) fn record_line(file: &[u8]) -> &[u8] {
    split(file).0
}

/// Splits the file of a record into the record and the bytes of its signature line.
fn split(file: &[u8]) -> (&[u8], Option<&[u8]>) {
    // A record is JSON in one line; only the end is searched, for a record may be long.
    let Some(text) = file.strip_suffix(b"\n") else { return (file, None) };
    let from = text.len().saturating_sub(LONGEST);
    let Some(at) = text[from..].iter().rposition(|byte| *byte == b'\n') else {
        return (file, None);
    };
    let (record, line) = file.split_at(from + at + 1);
    if line.starts_with(OPEN) { (record, Some(line)) } else { (file, None) }
}

/// Returns the signature line of the file of a record, if it has one that reads.
pub(super) fn of_file(file: &[u8]) -> Option<SignatureLine> {
    serde_json::from_slice(split(file).1?).ok()
}

/// Returns what is signed of the record in `line`, whose key is `key`.
pub(super) fn message(key: Key, line: &[u8]) -> Vec<u8> {
    [CONTEXT, key.as_bytes(), blake3::hash(line).as_bytes()].concat()
}

/// Returns the file of a record with a signature line, or as it is: signed already, or nobody signs.
pub(super) fn signed(key: Key, file: Vec<u8>, by: Option<&dyn RecordSignatures>) -> Vec<u8> {
    let (record, None) = split(&file) else { return file };
    let Some((by, sig)) = by.and_then(|by| by.sign(&message(key, record))) else { return file };
    let line = serde_json::to_vec(&SignatureLine { by, sig }).unwrap_or_default();
    [record, &line, b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fake;

    impl RecordSignatures for Fake {
        fn sign(&self, message: &[u8]) -> Option<(String, String)> {
            Some(("ed25519:00".to_owned(), blake3::hash(message).to_hex().to_string()))
        }

        fn verify(&self, _: &str, message: &[u8], signature: &str) -> bool {
            blake3::hash(message).to_hex().as_str() == signature
        }
    }

    #[test]
    fn a_record_is_signed_once_and_read_without_its_signature() {
        let key = |digit: &str| -> Key { digit.repeat(64).parse().expect("a key") };
        let record = b"{\"check\":\"\",\"record\":{}}\n".to_vec();
        let file = signed(key("0"), record.clone(), Some(&Fake));
        assert_eq!(record_line(&file), record);
        assert_eq!(signed(key("0"), file.clone(), Some(&Fake)), file);
        let line = of_file(&file).expect("it is signed");
        assert!(Fake.verify(&line.by, &message(key("0"), record_line(&file)), &line.sig));
        assert!(!Fake.verify(&line.by, &message(key("1"), record_line(&file)), &line.sig));
        assert_eq!(of_file(&record), None);
        // A second line of another kind is no signature: the record is damaged.
        let other = [&record[..], b"{}\n"].concat();
        assert_eq!((record_line(&other), of_file(&other)), (&other[..], None));
    }
}
