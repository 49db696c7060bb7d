//! Ed25519 keys of notes, in the text forms of C2SP signed-note and of Go's `golang.org/x/mod/sumdb/note`.
//!
//! ```text
//! verifier:            <name>+<key id, 8 hex digits>+<Base 64 of 01 and the 32 bytes of the public key>
//! signer: PRIVATE+KEY+ <name>+<key id, 8 hex digits>+<Base 64 of 01 and the 32 bytes of the seed>
//! key id = first 4 bytes of SHA-256(name, 0A, 01, public key)
//! ```

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// Longest name of a key, in bytes.
pub const KEY_NAME_BYTES_MAX: usize = 200;
/// Most keys that sign at once: more than one only while a new key takes the place of an old one.
pub const SIGNERS_MAX: usize = 8;
/// Length of a signature, in bytes.
pub const SIGNATURE_BYTES: usize = 64;

const ED25519: u8 = 1;
const PRIVATE: &str = "PRIVATE+KEY+";
/// Who may read a file with private keys: its owner.
const PRIVATE_MODE: u32 = 0o600;
/// Longest file with private keys.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Why a text is no key.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// Not the form.
    #[error(
        "`{text}` is no verifier key: it must look like NAME+0123abcd+BASE64, as `tollgate audit checkpoint --public-key` prints it"
    )]
    Verifier {
        /// The text.
        text: String,
    },
    /// Not the form. The text is a secret.
    #[error("it must look like PRIVATE+KEY+NAME+0123abcd+BASE64")]
    Signer,
    /// The name cannot be one.
    #[error(
        "`{name}` cannot be the name of a key: 1 to {KEY_NAME_BYTES_MAX} bytes, no spaces, control characters or +"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// Another kind than Ed25519.
    #[error("the key {name} is of type {kind:#04x}; this version knows Ed25519 (0x01)")]
    Kind {
        /// Its name.
        name: String,
        /// The signature type.
        kind: u8,
    },
    /// The id is not that of the key.
    #[error("the key {name} has the id {expected:08x}, not {found:08x}: a character is wrong")]
    Id {
        /// Its name.
        name: String,
        /// What the key gives.
        expected: u32,
        /// What the text says.
        found: u32,
    },
}

/// Whether `name` can be the name of a key.
pub fn check_name(name: &str) -> Result<(), KeyError> {
    let is_good = (1..=KEY_NAME_BYTES_MAX).contains(&name.len())
        && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+');
    if is_good { Ok(()) } else { Err(KeyError::Name { name: name.to_owned() }) }
}

fn key_id(name: &str, public: &[u8; 32]) -> u32 {
    let mut hasher = Sha256::new();
    hasher.update(name.as_bytes());
    hasher.update([b'\n', ED25519]);
    hasher.update(public);
    let hash: [u8; 32] = hasher.finalize().into();
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// Name, id, signature type and 32 bytes of `<name>+<id>+<data>`.
fn parse(text: &str) -> Option<(&str, u32, u8, [u8; 32])> {
    let (name, rest) = text.split_once('+')?;
    let (id, data) = rest.split_once('+')?;
    if id.len() != 8 || !id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let id = u32::from_str_radix(id, 16).ok()?;
    let data = BASE64_STANDARD.decode(data).ok()?;
    let (kind, bytes) = data.split_first()?;
    Some((name, id, *kind, bytes.try_into().ok()?))
}

/// A public key with its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifierKey {
    name: String,
    id: u32,
    key: VerifyingKey,
}

impl VerifierKey {
    fn new(name: &str, key: VerifyingKey) -> Self {
        Self { name: name.to_owned(), id: key_id(name, key.as_bytes()), key }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id: with the name, what a signature is known by.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Whether `signature` is this key's of `text`. Strict: no key of small order, no second form of one signature.
    pub fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.key.verify_strict(text, &signature).is_ok())
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut data = vec![ED25519];
        data.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{:08x}+{}", self.name, self.id, BASE64_STANDARD.encode(data))
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let malformed = || KeyError::Verifier { text: text.to_owned() };
        let (name, id, kind, bytes) = parse(text).ok_or_else(malformed)?;
        check_name(name)?;
        if kind != ED25519 {
            return Err(KeyError::Kind { name: name.to_owned(), kind });
        }
        let key = Self::new(name, VerifyingKey::from_bytes(&bytes).map_err(|_| malformed())?);
        if key.id != id {
            return Err(KeyError::Id { name: key.name, expected: key.id, found: id });
        }
        Ok(key)
    }
}

/// A private key with its name.
pub struct SignerKey {
    public: VerifierKey,
    key: SigningKey,
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignerKey({}, ..)", self.public)
    }
}

impl SignerKey {
    /// The key of a seed.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        check_name(name)?;
        let key = SigningKey::from_bytes(seed);
        Ok(Self { public: VerifierKey::new(name, key.verifying_key()), key })
    }

    /// The public half.
    pub const fn public(&self) -> &VerifierKey {
        &self.public
    }

    /// The signature of `text`. The same text always has the same one.
    pub fn sign(&self, text: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.key.sign(text).to_bytes()
    }

    fn parse(text: &str) -> Result<Self, KeyError> {
        let (name, id, kind, seed) = text.strip_prefix(PRIVATE).and_then(parse).ok_or(KeyError::Signer)?;
        if kind != ED25519 {
            return Err(KeyError::Kind { name: name.to_owned(), kind });
        }
        let key = Self::from_seed(name, &seed)?;
        if key.public.id != id {
            return Err(KeyError::Id { name: name.to_owned(), expected: key.public.id, found: id });
        }
        Ok(key)
    }

    fn secret_text(&self) -> String {
        let mut data = vec![ED25519];
        data.extend_from_slice(self.key.as_bytes());
        format!("{PRIVATE}{}+{:08x}+{}", self.public.name, self.public.id, BASE64_STANDARD.encode(data))
    }
}

/// Why there are no keys to sign with.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// The file cannot be read or made.
    #[error("{file}: the keys that sign checkpoints cannot be read or made: {error}")]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Others may read it.
    #[error(
        "{file}: others than its owner may read the keys that sign checkpoints (mode {mode:03o}): chmod 600 {file}"
    )]
    Mode {
        /// The file.
        file: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A line is wrong.
    #[error("{file}, line {line}: no key to sign with: {error}")]
    Line {
        /// The file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// Why.
        error: KeyError,
    },
    /// None or too many.
    #[error("{file}: must hold 1 to {SIGNERS_MAX} keys, all of one name, one a line; it holds {found}")]
    Number {
        /// The file.
        file: PathBuf,
        /// How many it holds.
        found: usize,
    },
    /// Names differ.
    #[error("{file}: signs for {found}, and {expected} is wanted: one log has one origin for ever; {hint}")]
    Name {
        /// The file.
        file: PathBuf,
        /// What the keys say.
        found: String,
        /// What is wanted.
        expected: String,
        /// What to do.
        hint: &'static str,
    },
}

/// The keys that sign, all of one name.
#[derive(Debug)]
pub struct Signers(Vec<SignerKey>);

impl Signers {
    /// Keys that are at hand; at least one, all of one name.
    pub fn new(keys: Vec<SignerKey>) -> Option<Self> {
        let name = keys.first()?.public.name.clone();
        (keys.len() <= SIGNERS_MAX && keys.iter().all(|key| key.public.name == name)).then_some(Self(keys))
    }

    /// Each of them.
    pub fn keys(&self) -> &[SignerKey] {
        &self.0
    }

    /// What they sign for: the origin of the checkpoints.
    pub fn name(&self) -> &str {
        self.0.first().map_or("", |key| &key.public.name)
    }

    /// The public halves.
    pub fn public(&self) -> Vec<VerifierKey> {
        self.0.iter().map(|key| key.public.clone()).collect()
    }

    /// Reads a file of keys: one a line, empty lines and those that begin with `#` left out. None if there is no such file.
    pub fn load(file: &Path) -> Result<Option<Self>, KeyFileError> {
        let io_error = |error| KeyFileError::Io { file: file.to_owned(), error };
        let opened = match File::open(file) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(error)),
        };
        let mode = opened.metadata().map_err(io_error)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Mode { file: file.to_owned(), mode });
        }
        let mut text = String::new();
        opened.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text).map_err(io_error)?;
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line_text = line.trim();
            if line_text.is_empty() || line_text.starts_with('#') {
                continue;
            }
            let key = SignerKey::parse(line_text).map_err(|error| KeyFileError::Line {
                file: file.to_owned(),
                line: index + 1,
                error,
            })?;
            keys.push(key);
        }
        let found = keys.len();
        Self::new(keys).map(Some).ok_or_else(|| KeyFileError::Number { file: file.to_owned(), found })
    }

    /// Reads the file of keys; where there is none, makes one with a new key of that name.
    pub fn load_or_create(file: &Path, name: &str) -> Result<Self, KeyFileError> {
        if let Some(there) = Self::load(file)? {
            return Ok(there);
        }
        let io_error = |error| KeyFileError::Io { file: file.to_owned(), error };
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory).map_err(io_error)?;
        }
        let key = generate(file, name)?;
        let mut options = OpenOptions::new();
        let mut new = options.write(true).create_new(true).mode(PRIVATE_MODE).open(file).map_err(io_error)?;
        new.write_all(format!("{}\n", key.secret_text()).as_bytes())
            .and_then(|()| new.sync_all())
            .map_err(io_error)?;
        Ok(Self(vec![key]))
    }

    /// Adds a new key to the file, of the same name. Gives its public half.
    pub fn add_to(&mut self, file: &Path) -> Result<VerifierKey, KeyFileError> {
        if self.0.len() >= SIGNERS_MAX {
            return Err(KeyFileError::Number { file: file.to_owned(), found: self.0.len() + 1 });
        }
        let key = generate(file, self.name())?;
        let io_error = |error| KeyFileError::Io { file: file.to_owned(), error };
        let mut text: String = self.0.iter().map(|key| key.secret_text() + "\n").collect();
        text += &(key.secret_text() + "\n");
        let new = file.with_extension("new");
        let mut options = OpenOptions::new();
        let mut opened = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(PRIVATE_MODE)
            .open(&new)
            .map_err(io_error)?;
        opened
            .write_all(text.as_bytes())
            .and_then(|()| opened.sync_all())
            .and_then(|()| fs::rename(&new, file))
            .map_err(io_error)?;
        let public = key.public.clone();
        self.0.push(key);
        Ok(public)
    }
}

fn generate(file: &Path, name: &str) -> Result<SignerKey, KeyFileError> {
    let mut seed = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut urandom| urandom.read_exact(&mut seed))
        .map_err(|error| KeyFileError::Io { file: file.to_owned(), error })?;
    SignerKey::from_seed(name, &seed).map_err(|error| KeyFileError::Line {
        file: file.to_owned(),
        line: 1,
        error,
    })
}
