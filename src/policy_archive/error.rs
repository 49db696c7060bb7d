//! Why a policy cannot be archived, and why one cannot be had back.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a policy cannot be archived.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A file of the policy is not what was loaded any more.
    #[error("{file}: has changed while the policy was being loaded; load it again")]
    Changed {
        /// Which.
        file: PathBuf,
    },
    /// A file of the policy cannot be read a second time.
    #[error("{file}: cannot be read: {error}")]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The archive cannot be written.
    #[error(
        "{file}: the policy archive cannot be written: {error}. A policy that is not archived could not be shown to have decided as it did, \
         so it does not go live; make room, or make the directory writable, and load it again"
    )]
    Unwritable {
        /// Which.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl StoreError {
    /// The file or directory that stands in the way.
    pub fn file(&self) -> &Path {
        match self {
            Self::Changed { file } | Self::Unreadable { file, .. } | Self::Unwritable { file, .. } => file,
        }
    }
}

/// Why an archived policy cannot be had.
#[derive(Debug, Error)]
pub enum LoadError {
    /// Nobody has archived it here.
    #[error("it is not in the policy archive")]
    NotArchived,
    /// It was scored by libxgboost.
    #[error(
        "its model was scored by libxgboost, which this build does not have: use one of `cargo build --release --features xgboost`"
    )]
    NeedsLibxgboost,
    /// A file cannot be read.
    #[error("{file}: cannot be read: {error}")]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is not what it was.
    #[error("{file}: {what}; restore it from a backup")]
    Damaged {
        /// Which.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// This program does not take it any more.
    #[error("this version of the program refuses what version {program} took: {}", .mistakes.join("; "))]
    Refused {
        /// The version that archived it.
        program: String,
        /// Why.
        mistakes: Vec<String>,
    },
    /// Its parts are what they were, and the whole has another name.
    #[error(
        "version {program} of the program archived it, and this one computes another hash of the same files, {now}: decide again with \
         version {program}"
    )]
    OtherHash {
        /// The version that archived it.
        program: String,
        /// What the hash comes out as.
        now: Box<str>,
    },
}
