//! Sealing a part of a record with a subject's key, and opening it: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha).
//!
//! A sealed part is `base64(nonce of 24 bytes, ciphertext, tag of 16 bytes)`. The nonce is drawn at random from a generator that the
//! operating system seeds: with 192 bits, two are never the same, whoever restores which backup. Log, kind and id of the record are
//! authenticated with it ([`Place`]), so that a part that was moved elsewhere does not open.

use base64_simd::STANDARD_NO_PAD;
use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{KeyInit as _, Tag as AeadTag, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::privacy::entry::SubjectKey;

/// Sets these uses of keys apart from all others.
const CONTEXT: &[u8] = b"tollgate sealed part 1\0";
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// Where a sealed part belongs.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The id of the log.
    pub log: [u8; 16],
    /// The kind of the record.
    pub kind: &'a str,
    /// Which record of that kind.
    pub id: &'a str,
}

impl Place<'_> {
    fn authenticated(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(CONTEXT.len() + 18 + self.kind.len() + self.id.len());
        bytes.extend_from_slice(CONTEXT);
        bytes.extend_from_slice(&self.log);
        for part in [self.kind, self.id] {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes
    }
}

/// What only the holder of a key can read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sealed {
    /// The number of the key.
    pub key: u64,
    /// Nonce, ciphertext and tag, in base64 (RFC 4648, without padding).
    pub text: Box<str>,
}

/// Why a part is not sealed or does not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum SealError {
    /// No nonce, or more than the cipher takes.
    #[error("it cannot be sealed")]
    NotSealed,
    /// It is none, was altered, was moved, or its key is another.
    #[error("its sealed part does not open with its key: it was altered or moved, or the key is another one")]
    NotOpened,
}

/// A key with its number, to seal with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealingKey {
    /// Its number.
    pub number: u64,
    /// The key.
    pub key: SubjectKey,
}

impl SealingKey {
    /// Seals a part for its place.
    pub fn seal(&self, place: Place<'_>, plain: &[u8]) -> Result<Sealed, SealError> {
        let text = STANDARD_NO_PAD.encode_to_string(self.seal_bytes(place, plain)?).into();
        Ok(Sealed { key: self.number, text })
    }

    /// Seals a part for its place: nonce, ciphertext and tag.
    pub fn seal_bytes(&self, place: Place<'_>, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let mut bytes = Vec::with_capacity(NONCE_BYTES + plain.len() + TAG_BYTES);
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(plain);
        let tag = XChaCha20Poly1305::new(&self.key.0.into())
            .encrypt_inout_detached(
                &XNonce::from(nonce),
                &place.authenticated(),
                (&mut bytes[NONCE_BYTES..]).into(),
            )
            .map_err(|_| SealError::NotSealed)?;
        bytes.extend_from_slice(&tag);
        Ok(bytes)
    }
}

/// Writes what was sealed with the key of that number (`SealingKey::seal_bytes`) as the JSON of a `Sealed`, without a look at each character.
pub fn write_sealed(key: u64, sealed: &[u8], json: &mut Vec<u8>) {
    json.extend_from_slice(format!("{{\"key\":{key},\"text\":\"").as_bytes());
    STANDARD_NO_PAD.encode_append(sealed, json);
    json.extend_from_slice(b"\"}");
}

impl Sealed {
    /// Opens it at its place.
    pub fn open(&self, key: &SubjectKey, place: Place<'_>) -> Result<Vec<u8>, SealError> {
        let mut bytes =
            STANDARD_NO_PAD.decode_to_vec(self.text.as_bytes()).map_err(|_| SealError::NotOpened)?;
        let end = bytes.len().checked_sub(TAG_BYTES).filter(|end| *end >= NONCE_BYTES);
        let end = end.ok_or(SealError::NotOpened)?;
        let (mut nonce, mut tag) = ([0; NONCE_BYTES], [0; TAG_BYTES]);
        nonce.copy_from_slice(&bytes[..NONCE_BYTES]);
        tag.copy_from_slice(&bytes[end..]);
        XChaCha20Poly1305::new(&key.0.into())
            .decrypt_inout_detached(
                &XNonce::from(nonce),
                &place.authenticated(),
                (&mut bytes[NONCE_BYTES..end]).into(),
                &AeadTag::from(tag),
            )
            .map_err(|_| SealError::NotOpened)?;
        bytes.truncate(end);
        bytes.drain(..NONCE_BYTES);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place<'a>(log: u8, kind: &'a str, id: &'a str) -> Place<'a> {
        Place { log: [log; 16], kind, id }
    }

    fn key(byte: u8) -> SealingKey {
        SealingKey { number: 7, key: SubjectKey([byte; 32]) }
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_at_its_place_alone(plain in proptest::collection::vec(any::<u8>(), 0..3_000)) {
            let here = place(1, "decision", "dec_1");
            let sealed = key(1).seal(here, &plain).unwrap();
            prop_assert_eq!(&sealed.open(&key(1).key, here).unwrap(), &plain);
            prop_assert_ne!(&key(1).seal(here, &plain).unwrap().text, &sealed.text);
            for elsewhere in [place(2, "decision", "dec_1"), place(1, "label", "dec_1"), place(1, "decision", "dec_2"),
                place(1, "decisiond", "ec_1")] {
                prop_assert_eq!(sealed.open(&key(1).key, elsewhere), Err(SealError::NotOpened));
            }
            prop_assert_eq!(sealed.open(&key(2).key, here), Err(SealError::NotOpened));
        }

        #[test]
        fn what_was_altered_does_not_open(plain in proptest::collection::vec(any::<u8>(), 0..100), at in any::<prop::sample::Index>(), by in 1_u8..) {
            let here = place(1, "decision", "dec_1");
            let sealed = key(1).seal(here, &plain).unwrap();
            let mut bytes = STANDARD_NO_PAD.decode_to_vec(sealed.text.as_bytes()).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= by;
            let altered = Sealed { key: 7, text: STANDARD_NO_PAD.encode_to_string(&bytes).into() };
            prop_assert_eq!(altered.open(&key(1).key, here), Err(SealError::NotOpened));
            let torn = Sealed { key: 7, text: sealed.text[..sealed.text.len() - 3].into() };
            prop_assert_eq!(torn.open(&key(1).key, here), Err(SealError::NotOpened));
        }
    }
}
