//! Signed notes (C2SP signed-note): a text, an empty line, and one line a signature.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use thiserror::Error;

use crate::proof::key::{Signers, VerifierKey};

/// Longest note, in bytes.
pub const NOTE_BYTES_MAX: usize = 256 * 1024;
/// Most signatures of a note. Others accept at least 16.
pub const SIGNATURES_MAX: usize = 100;

/// How a signature line begins: an em dash and a space.
const DASH: &str = "\u{2014} ";

/// Why a text is no note, or is not to be believed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NoteError {
    /// Not the form.
    #[error("it is no signed note: {0}")]
    Malformed(&'static str),
    /// A known key's signature does not fit the text.
    #[error("the signature of {name}+{id:08x} does not fit: the text or the signature was changed")]
    BadSignature {
        /// The key's name.
        name: String,
        /// The key's id.
        id: u32,
    },
    /// No known key has signed it.
    #[error("it is signed by {signers}, and by none of the given keys")]
    Unknown {
        /// Those that have.
        signers: String,
    },
}

/// One signature line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoteSignature<'a> {
    /// The name of the key.
    pub name: &'a str,
    /// The id of the key.
    pub id: u32,
    /// The signature without the id.
    pub bytes: Vec<u8>,
}

/// A note whose signatures nobody has looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note<'a> {
    /// What is signed, with its last newline.
    pub text: &'a str,
    /// The signatures, at least one.
    pub signatures: Vec<NoteSignature<'a>>,
}

impl<'a> Note<'a> {
    /// Takes a note apart.
    pub fn parse(note: &'a str) -> Result<Self, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::Malformed("it is longer than 256 KiB"));
        }
        if note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(NoteError::Malformed("it holds control characters"));
        }
        let end = note.rfind("\n\n").ok_or(NoteError::Malformed("no empty line before the signatures"))?;
        let (text, lines) = (&note[..=end], &note[end + 2..]);
        if text.len() <= 1 {
            return Err(NoteError::Malformed("it has no text"));
        }
        let lines = lines
            .strip_suffix('\n')
            .ok_or(NoteError::Malformed("no signature, or the last line has no end"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == SIGNATURES_MAX {
                return Err(NoteError::Malformed("more than 100 signatures"));
            }
            signatures.push(signature(line).ok_or(NoteError::Malformed("a signature line is malformed"))?);
        }
        Ok(Self { text, signatures })
    }

    /// Those of `keys` that have signed it: at least one. A wrong signature of one of them is an error, whatever the others say.
    pub fn verify<'k>(&self, keys: &'k [VerifierKey]) -> Result<Vec<&'k VerifierKey>, NoteError> {
        let mut verified: Vec<&VerifierKey> = Vec::new();
        for signature in &self.signatures {
            let known = keys.iter().find(|key| key.name() == signature.name && key.id() == signature.id);
            let Some(key) = known.filter(|key| !verified.contains(key)) else { continue };
            if !key.verifies(self.text.as_bytes(), &signature.bytes) {
                return Err(NoteError::BadSignature { name: signature.name.to_owned(), id: signature.id });
            }
            verified.push(key);
        }
        if verified.is_empty() {
            let signers: Vec<String> = self
                .signatures
                .iter()
                .map(|signature| format!("{}+{:08x}", signature.name, signature.id))
                .collect();
            return Err(NoteError::Unknown { signers: signers.join(", ") });
        }
        Ok(verified)
    }
}

fn signature(line: &str) -> Option<NoteSignature<'_>> {
    let (name, data) = line.strip_prefix(DASH)?.split_once(' ')?;
    if name.is_empty() || name.contains('+') || name.chars().any(char::is_whitespace) {
        return None;
    }
    let data = BASE64_STANDARD.decode(data).ok()?;
    let (id, bytes) = data.split_first_chunk::<4>()?;
    if bytes.is_empty() {
        return None;
    }
    Some(NoteSignature { name, id: u32::from_be_bytes(*id), bytes: bytes.to_vec() })
}

/// The note of `text`, which ends with a newline, signed by each of the keys.
pub fn sign(text: &str, signers: &Signers) -> String {
    debug_assert!(text.ends_with('\n') && !text.starts_with('\n'));
    let mut note = format!("{text}\n");
    for key in signers.keys() {
        let mut data = key.public().id().to_be_bytes().to_vec();
        data.extend_from_slice(&key.sign(text.as_bytes()));
        note += &format!("{DASH}{} {}\n", key.public().name(), BASE64_STANDARD.encode(data));
    }
    note
}
