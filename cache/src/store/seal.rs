//! Sealed documents: JSON with a checksum (BLAKE3) of its body, so that damage is noticed.
//!
//! A sealed document is one line, itself JSON: `{"check":"<blake3 of the body>","<label>":<body>}`.

use crate::Damage;
use serde::de::DeserializeOwned;

const OPEN: &[u8] = br#"{"check":""#;
const CLOSE: &[u8] = b"}\n";
const HEX: usize = 64;

/// Returns `body`, which is JSON, as a sealed document.
pub(super) fn seal(label: &str, body: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(body.len() + label.len() + HEX + 20);
    sealed.extend_from_slice(OPEN);
    sealed.extend_from_slice(blake3::hash(body).to_hex().as_bytes());
    sealed.extend_from_slice(b"\",\"");
    sealed.extend_from_slice(label.as_bytes());
    sealed.extend_from_slice(b"\":");
    sealed.extend_from_slice(body);
    sealed.extend_from_slice(CLOSE);
    sealed
}

/// Returns the decoded body of a sealed document, or its damage.
pub(super) fn unseal<T: DeserializeOwned>(label: &str, sealed: &[u8]) -> Result<T, Damage> {
    let body = body(label, sealed).ok_or(Damage::Torn)?;
    serde_json::from_slice(body).map_err(|error| Damage::Undecodable { why: error.to_string() })
}

/// Returns the body of a sealed document, if its checksum fits.
pub(super) fn body<'a>(label: &str, sealed: &'a [u8]) -> Option<&'a [u8]> {
    let rest = sealed.strip_prefix(OPEN)?.strip_suffix(CLOSE)?;
    let (check, rest) = rest.split_at_checked(HEX)?;
    let rest = rest.strip_prefix(b"\",\"")?.strip_prefix(label.as_bytes())?;
    let body = rest.strip_prefix(b"\":")?;
    (blake3::hash(body).to_hex().as_bytes() == check).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let sealed = seal("record", br#"{"a":[1,2]}"#);
        assert_eq!(unseal("record", &sealed), Ok(serde_json::json!({"a": [1, 2]})));
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&sealed)
                .map(|v| v["record"]["a"][1].clone())
                .ok(),
            Some(2.into())
        );
        assert!(unseal::<serde_json::Value>("checkpoint", &sealed).is_err());
        for at in 0..sealed.len() {
            assert!(unseal::<serde_json::Value>("record", &sealed[..at]).is_err(), "cut at {at}");
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(unseal::<serde_json::Value>("record", &flipped).is_err(), "flipped at {at}");
        }
    }
}
