//! Encryption of one Secret: AES-256-GCM with a random nonce (NIST SP 800-38D §8.2.2) and a key that is never written.
//!
//! A sealed text is the nonce, the ciphertext and the tag. It is bound to the Secret's name and to its file, so that one
//! file cannot stand for another, nor an old one for a newer.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use crate::secret::{PrivateKeyPem, SecretData, SecretRef};

const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;

/// Encrypts and decrypts with the key of this process.
pub(super) struct Cipher {
    key: RandomizedNonceKey,
}

impl Cipher {
    /// With a new key.
    pub(super) fn new() -> Result<Self, Unspecified> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        rand::fill(&mut *key)?;
        Ok(Self { key: RandomizedNonceKey::new(&AES_256_GCM, &*key)? })
    }

    /// Nothing, if the library cannot encrypt now.
    pub(super) fn seal(&self, secret: &SecretRef, file: u128, data: &SecretData) -> Option<Vec<u8>> {
        let mut text = encode(data)?;
        let aad = Aad::from(bound_to(secret, file));
        let (nonce, tag) = self.key.seal_in_place_separate_tag(aad, &mut text[NONCE_LEN..]).ok()?;
        text[..NONCE_LEN].copy_from_slice(nonce.as_ref());
        // There is room: no copy of the text is left behind.
        text.extend_from_slice(tag.as_ref());
        Some(std::mem::take(&mut *text))
    }

    /// Nothing, if this is not what was sealed for that Secret and file.
    pub(super) fn open(&self, secret: &SecretRef, file: u128, text: Vec<u8>) -> Option<SecretData> {
        let mut text = Zeroizing::new(text);
        let (nonce, sealed) = text.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let aad = Aad::from(bound_to(secret, file));
        decode(self.key.open_in_place(nonce, aad, sealed).ok()?)
    }
}

fn bound_to(secret: &SecretRef, file: u128) -> Vec<u8> {
    let mut bytes = file.to_le_bytes().to_vec();
    bytes.extend_from_slice(secret.namespace.as_bytes());
    bytes.push(b'/');
    bytes.extend_from_slice(secret.name.as_bytes());
    bytes
}

/// The nonce's place, the version with its length and one more (0: there is none), the chain with its length, the key;
/// with room for the tag.
fn encode(data: &SecretData) -> Option<Zeroizing<Vec<u8>>> {
    let version = data.version.as_deref().map(str::as_bytes);
    let version_length = version.map_or(Some(0), |version| u32::try_from(version.len() + 1).ok())?;
    let chain_length = u32::try_from(data.certificate_chain.len()).ok()?;
    let key = data.private_key.expose();
    let bytes = NONCE_LEN + 8 + version.map_or(0, <[u8]>::len) + data.certificate_chain.len() + key.len() + TAG_BYTES;
    let mut text = Zeroizing::new(Vec::with_capacity(bytes));
    text.extend_from_slice(&[0; NONCE_LEN]);
    text.extend_from_slice(&version_length.to_le_bytes());
    text.extend_from_slice(version.unwrap_or_default());
    text.extend_from_slice(&chain_length.to_le_bytes());
    text.extend_from_slice(&data.certificate_chain);
    text.extend_from_slice(key);
    Some(text)
}

fn decode(text: &[u8]) -> Option<SecretData> {
    let (version_length, rest) = length(text)?;
    let (version, rest) = match version_length.checked_sub(1) {
        None => (None, rest),
        Some(length) => {
            let (version, rest) = rest.split_at_checked(length)?;
            (Some(std::str::from_utf8(version).ok()?.into()), rest)
        }
    };
    let (chain_length, rest) = length(rest)?;
    let (chain, key) = rest.split_at_checked(chain_length)?;
    Some(SecretData { certificate_chain: chain.to_vec(), private_key: PrivateKeyPem::new(key.to_vec()), version })
}

fn length(text: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = text.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*length)).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(version: Option<&str>) -> SecretData {
        let (certificate_chain, private_key) = (b"CHAIN".to_vec(), PrivateKeyPem::new(b"PRIVATE".to_vec()));
        SecretData { certificate_chain, private_key, version: version.map(Into::into) }
    }

    fn secret(name: &str) -> SecretRef {
        SecretRef::new("shop", name)
    }

    #[test]
    fn what_was_sealed_is_opened_and_shows_nothing_meanwhile() {
        let cipher = Cipher::new().unwrap();
        for version in [None, Some(""), Some("17")] {
            let text = cipher.seal(&secret("web"), 1, &data(version)).unwrap();
            assert!(!text.windows(5).any(|bytes| bytes == b"CHAIN" || bytes == b"PRIVA"));
            let opened = cipher.open(&secret("web"), 1, text).unwrap();
            assert_eq!((&*opened.certificate_chain, opened.private_key.expose()), (&b"CHAIN"[..], &b"PRIVATE"[..]));
            assert_eq!(opened.version.as_deref(), version);
        }
    }

    #[test]
    fn nothing_else_can_be_opened() {
        let (cipher, other) = (Cipher::new().unwrap(), Cipher::new().unwrap());
        let text = cipher.seal(&secret("web"), 1, &data(None)).unwrap();
        assert!(other.open(&secret("web"), 1, text.clone()).is_none(), "another process's");
        assert!(cipher.open(&secret("other"), 1, text.clone()).is_none(), "another Secret's");
        assert!(cipher.open(&secret("web"), 2, text.clone()).is_none(), "another file's");
        let mut changed = text.clone();
        changed[20] ^= 1;
        for broken in [changed, text[..text.len() - 1].to_vec(), text[..5].to_vec(), Vec::new()] {
            assert!(cipher.open(&secret("web"), 1, broken).is_none());
        }
    }

    #[test]
    fn sealing_the_same_twice_looks_different() {
        let cipher = Cipher::new().unwrap();
        let seal = || cipher.seal(&secret("web"), 1, &data(None)).unwrap();
        assert_ne!(seal(), seal());
    }
}
