//! The keys that records are signed with (Ed25519).

use cache::RecordSignatures;
use ring::{
    rand::{SecureRandom as _, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use std::{fmt, str::FromStr};
use thiserror::Error;

/// What public keys begin with.
const PUBLIC: &str = "ed25519:";
/// What the file of a private key begins with.
const PRIVATE: &str = "ed25519-private:";

/// The error of a key that is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text of a private key does not read.
    #[error("it is not a private key: it should say `{PRIVATE}` and 64 hex digits")]
    NotPrivate,
    /// The text of a public key does not read.
    #[error("`{text}` is not a public key: it should say `{PUBLIC}` and 64 hex digits")]
    NotPublic {
        /// The text.
        text: String,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

/// A private key. What is shown of it is the public one.
pub struct PrivateKey {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl PrivateKey {
    /// Draws a new key from the system's random numbers.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoRandomness`].
    pub fn draw() -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| KeyError::NoRandomness)?;
        Self::of_seed(seed)
    }

    fn of_seed(seed: [u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError::NotPrivate)?;
        Ok(Self { seed, pair })
    }

    /// Returns the text of the file that keeps it: whoever has it signs as this user.
    #[must_use]
    pub fn secret_text(&self) -> String {
        format!("{PRIVATE}{}\n", hex(&self.seed))
    }

    /// Returns the public key, as `trust` takes it.
    #[must_use]
    pub fn public(&self) -> String {
        format!("{PUBLIC}{}", hex(self.pair.public_key().as_ref()))
    }
}

impl FromStr for PrivateKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let seed =
            text.trim().strip_prefix(PRIVATE).and_then(of_hex).ok_or(KeyError::NotPrivate)?;
        Self::of_seed(seed)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.public())
    }
}

/// Signs with a private key, if there is one, and verifies with public ones.
#[derive(Debug, Default)]
pub struct Ed25519 {
    /// The private key of this user.
    pub own: Option<PrivateKey>,
}

impl Ed25519 {
    /// Checks that `text` is a public key.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotPublic`].
    pub fn check_public(text: &str) -> Result<(), KeyError> {
        let key: Option<[u8; 32]> = text.strip_prefix(PUBLIC).and_then(of_hex);
        key.map(|_| ()).ok_or_else(|| KeyError::NotPublic { text: text.to_owned() })
    }
}

impl RecordSignatures for Ed25519 {
    fn sign(&self, message: &[u8]) -> Option<(String, String)> {
        let own = self.own.as_ref()?;
        Some((own.public(), hex(own.pair.sign(message).as_ref())))
    }

    fn verify(&self, public_key: &str, message: &[u8], signature: &str) -> bool {
        let key: Option<[u8; 32]> = public_key.strip_prefix(PUBLIC).and_then(of_hex);
        let (Some(key), Some(signature)) = (key, of_hex::<64>(signature)) else { return false };
        UnparsedPublicKey::new(&ED25519, key).verify(message, &signature).is_ok()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 8032, section 7.1, test 2.
    #[test]
    fn it_is_ed25519() {
        let seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
        let public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        let signed = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                      085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        let key: PrivateKey = format!("{PRIVATE}{seed}\n").parse().expect("a key");
        assert_eq!(key.public(), format!("{PUBLIC}{public}"));
        assert_eq!(key.secret_text().parse::<PrivateKey>().expect("it").public(), key.public());
        let keys = Ed25519 { own: Some(key) };
        let by = format!("{PUBLIC}{public}");
        assert_eq!(keys.sign(&[0x72]), Some((by.clone(), signed.to_owned())));
        assert!(keys.verify(&by, &[0x72], signed));
        assert!(!keys.verify(&by, &[0x73], signed));
        let other = PrivateKey::draw().expect("a key").public();
        assert!(!keys.verify(&other, &[0x72], signed) && other != by);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let digits = "0".repeat(64);
        assert!(Ed25519::check_public(&format!("{PUBLIC}{digits}")).is_ok());
        for wrong in [&digits, "ed25519:", &format!("{PUBLIC}{}", "G".repeat(64)), "ed25519:é"] {
            assert!(Ed25519::check_public(wrong).is_err(), "{wrong}");
        }
        assert!(format!("{PUBLIC}{digits}").parse::<PrivateKey>().is_err());
    }
}
