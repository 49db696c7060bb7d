//! Which files to read, how much of them, and what is wrong with one.

use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use crate::domain::ip_facts::IpCategory;

/// Most databases.
pub const DATABASES_MAX: usize = 8;
/// Most lists: one bit each of a number tells which ones an address is on.
pub const LISTS_MAX: usize = 64;
/// Longest database, in bytes. It is held in memory whole.
pub const DATABASE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Longest list, in bytes.
pub const LIST_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Most entries of all lists together.
pub const LIST_ENTRIES_MAX: usize = 5_000_000;
/// Longest name of a list, in bytes.
pub const LIST_NAME_BYTES_MAX: usize = 40;
/// Most mistakes that are named of one file.
pub const MISTAKES_MAX: usize = 20;
/// How often a file is read that changes while it is read.
const READS_MAX: usize = 5;

/// The files, as config names them.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct IpFiles {
    /// Databases in MaxMind's format; of several that know a thing, the first is believed.
    pub databases: Vec<PathBuf>,
    /// Lists of addresses and blocks.
    pub lists: Vec<IpListFile>,
}

/// One list.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IpListFile {
    /// What rules and records call it: a to z, 0 to 9 and `_`; no part of another list's name.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// What it says of the addresses on it.
    pub category: IpCategory,
    /// How bad it is to be on it, from 0 to 1.
    #[serde(default = "weight_default")]
    pub weight: f64,
    /// Whether it is also asked about reserved addresses, such as those of private networks.
    #[serde(default)]
    pub reserved: bool,
}

const fn weight_default() -> f64 {
    1.0
}

/// What is wrong with a file, or with what config says of it.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub struct IpError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; `None` when it is about the whole file.
    pub line: Option<u64>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for IpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl IpError {
    /// About a whole file.
    pub fn whole(file: &Path, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, message: message.into() }
    }
}

impl IpFiles {
    /// Whether config names no file at all.
    pub fn is_empty(&self) -> bool {
        self.databases.is_empty() && self.lists.is_empty()
    }

    /// Every file: databases, then lists.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.databases.iter().chain(self.lists.iter().map(|list| &list.file)).map(PathBuf::as_path)
    }

    /// What is wrong with it before any file is opened.
    pub fn mistakes(&self) -> Vec<IpError> {
        let mut found = Vec::new();
        if self.databases.len() > DATABASES_MAX {
            let file = &self.databases[DATABASES_MAX];
            found.push(IpError::whole(file, format!("is one database too many: at most {DATABASES_MAX}")));
        }
        if self.lists.len() > LISTS_MAX {
            let file = &self.lists[LISTS_MAX].file;
            found.push(IpError::whole(file, format!("is one list too many: at most {LISTS_MAX}")));
        }
        for (number, list) in self.lists.iter().enumerate() {
            let name = &list.name;
            let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            if !(1..=LIST_NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(is_plain) {
                let message = format!(
                    "the list's name {name:?} is not made of a-z, 0-9 and _, 1 to {LIST_NAME_BYTES_MAX} of them"
                );
                found.push(IpError::whole(&list.file, message));
            } else if let Some(other) =
                self.lists.iter().enumerate().find(|(at, other)| *at != number && other.name.contains(name))
            {
                // `ip.lists.contains("name")` must mean this list and no other.
                let message = format!("the list's name `{name}` is part of the name `{}`", other.1.name);
                found.push(IpError::whole(&list.file, message));
            }
            if !(0.0..=1.0).contains(&list.weight) {
                found.push(IpError::whole(
                    &list.file,
                    format!("the list's weight {} is not from 0 to 1", list.weight),
                ));
            }
        }
        found
    }
}

/// By what a file on disk is known to be the one that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
    bytes: u64,
    modified_ns: i128,
    changed_ns: i128,
}

impl FileIdentity {
    /// Of what lies at a path now; `None` when nothing can be seen there.
    pub fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::from_metadata(&metadata))
    }

    fn from_metadata(metadata: &std::fs::Metadata) -> Self {
        let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Reads a whole file of at most `bytes_max`. One that changes meanwhile is read again, and refused when it does not come to rest.
pub fn read(path: &Path, bytes_max: u64) -> Result<(Vec<u8>, FileIdentity), IpError> {
    let unreadable = |error: std::io::Error| IpError::whole(path, format!("cannot be read: {error}"));
    for _ in 0..READS_MAX {
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(IpError::whole(path, "is no file"));
        }
        if metadata.len() > bytes_max {
            let message = format!("is {} bytes long; at most {bytes_max} are read", metadata.len());
            return Err(IpError::whole(path, message));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
        file.take(bytes_max).read_to_end(&mut bytes).map_err(unreadable)?;
        let before = FileIdentity::from_metadata(&metadata);
        if FileIdentity::of(path) == Some(before) && bytes.len() as u64 == metadata.len() {
            return Ok((bytes, before));
        }
    }
    Err(IpError::whole(path, "changes while it is read: write a new file beside it and rename that"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_weights_and_counts_are_checked() {
        let list = |name: &str, weight| IpListFile {
            name: name.to_owned(),
            file: format!("{name}.txt").into(),
            category: IpCategory::Abuse,
            weight,
            reserved: false,
        };
        let of = |lists: Vec<IpListFile>| {
            let found = IpFiles { databases: Vec::new(), lists }.mistakes();
            found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        let facts = [
            (vec![list("drop", 1.0), list("exits", 0.0)], ""),
            (vec![list("Drop", 1.0)], "Drop.txt: the list's name \"Drop\" is not made of"),
            (vec![list("", 1.0)], ".txt: the list's name \"\" is not made of"),
            (
                vec![list("tor", 1.0), list("tor_exits", 1.0)],
                "tor.txt: the list's name `tor` is part of the name `tor_exits`",
            ),
            (vec![list("drop", 1.5)], "drop.txt: the list's weight 1.5 is not from 0 to 1"),
            (vec![list("drop", f64::NAN)], "drop.txt: the list's weight NaN"),
            (
                (100..=100 + LISTS_MAX).map(|number| list(&format!("l{number}"), 1.0)).collect(),
                "l164.txt: is one list too many: at most 64",
            ),
        ];
        for (lists, expected) in facts {
            let found = of(lists);
            assert!(
                found.starts_with(expected) && found.is_empty() == expected.is_empty(),
                "{found} / {expected}"
            );
        }
        assert!(of(vec![list("drop", 1.0), list("drop", 1.0)]).contains("is part of the name `drop`"));
    }
}
