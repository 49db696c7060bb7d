//! The installation's secret: it keys every hash that outsiders could otherwise aim at.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::domain::time::EventTime;
use crate::search::key::SearchKey;

/// Why there is no secret.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The file cannot be read or made.
    #[error("{file}: the installation's secret cannot be read or made: {error}")]
    Io {
        /// The file.
        file: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// The file holds something else.
    #[error(
        "{0} must hold exactly {SECRET_BYTES} bytes; restore it from a backup, or delete it together with the data directory"
    )]
    Malformed(PathBuf),
}

const SECRET_BYTES: usize = 32;

/// 32 random bytes, made at the first start and kept in the data directory.
#[derive(Clone)]
pub struct Secret([u8; SECRET_BYTES]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// A secret that is none: for files on one's own disk, where nobody aims at a hash.
    pub const fn public() -> Self {
        Self([0; SECRET_BYTES])
    }

    /// Reads the secret of a data directory; none where there is none.
    pub fn load(data: &Path) -> Result<Option<Self>, SecretError> {
        let file = data.join("secret");
        match fs::read(&file) {
            Ok(bytes) => {
                bytes.try_into().map(|bytes| Some(Self(bytes))).map_err(|_| SecretError::Malformed(file))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SecretError::Io { file, error }),
        }
    }

    /// Reads the secret of a data directory, or makes it. The file is readable by its owner only.
    pub fn load_or_create(data: &Path) -> Result<Self, SecretError> {
        let file = data.join("secret");
        let failed = |error| SecretError::Io { file: file.clone(), error };
        if let Some(secret) = Self::load(data)? {
            return Ok(secret);
        }
        let mut bytes = [0; SECRET_BYTES];
        fs::File::open("/dev/urandom")
            .and_then(|mut urandom| urandom.read_exact(&mut bytes))
            .map_err(failed)?;
        let mut options = OpenOptions::new();
        let mut new = options.write(true).create_new(true).mode(0o600).open(&file).map_err(failed)?;
        new.write_all(&bytes).and_then(|()| new.sync_all()).map_err(failed)?;
        Ok(Self(bytes))
    }

    /// What keys the hashes of the search index.
    pub fn search_key(&self) -> SearchKey {
        SearchKey::new(*blake3::keyed_hash(&self.0, b"search index").as_bytes())
    }

    /// What keys the hashes of the window store.
    pub fn window_key(&self) -> [u8; 16] {
        let hash = blake3::keyed_hash(&self.0, b"windows");
        let mut key = [0; 16];
        key.copy_from_slice(&hash.as_bytes()[..16]);
        key
    }

    /// What keys the hashes of entities in forwarded records.
    pub fn forward_key(&self) -> [u8; SECRET_BYTES] {
        *blake3::keyed_hash(&self.0, b"forward").as_bytes()
    }

    /// What keys the hashes that stand for those whose data it is.
    pub fn subject_key(&self) -> [u8; 32] {
        *blake3::keyed_hash(&self.0, b"subjects").as_bytes()
    }

    /// What says that hashes were made under this secret, without saying which it is.
    pub fn check_value(&self) -> [u8; 16] {
        let hash = blake3::keyed_hash(&self.0, b"state snapshot");
        let mut check = [0; 16];
        check.copy_from_slice(&hash.as_bytes()[..16]);
        check
    }

    /// The name of a log made at `now`.
    pub fn log_id(&self, now: EventTime) -> [u8; 16] {
        let hash = blake3::keyed_hash(&self.0, format!("log {now}").as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hash.as_bytes()[..16]);
        id
    }

    /// An 80-bit keyed hash of a text under a name space: as many bits as a ULID has for chance.
    pub fn hash80(&self, space: &str, text: &str) -> u128 {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(space.as_bytes()).update(&[0]).update(text.as_bytes());
        let mut bytes = [0; 16];
        bytes[6..].copy_from_slice(&hasher.finalize().as_bytes()[..10]);
        u128::from_be_bytes(bytes)
    }
}
