//! Content hashes: the names of files and policies in answers and records.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// `sha256:` and 64 lower-case hex digits over all `parts`, each preceded by its length, so that no two lists of parts agree
/// by accident.
pub fn sha256_of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Box<str> {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    text(hasher)
}

/// `sha256:` and 64 lower-case hex digits of `bytes`: what `sha256sum` prints for a file.
pub fn sha256(bytes: &[u8]) -> Box<str> {
    let mut hasher = Sha256::new();
    hasher.update(bytes);
    text(hasher)
}

fn text(hasher: Sha256) -> Box<str> {
    let mut text = String::from("sha256:");
    for byte in hasher.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_value() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(&*sha256(b""), empty);
        assert_ne!(sha256_of_parts([&b"a"[..], b"b"]), sha256_of_parts([&b"ab"[..]]));
    }
}
