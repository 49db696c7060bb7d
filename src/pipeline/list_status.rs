//! What is said of lists at run time: the parts of the admin port's answers.

use serde::Serialize;

use crate::audit::receipt::LogId;
use crate::rules::run_time::Entry;

/// All lists.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ListsStatus {
    /// Each list, by name.
    pub lists: Vec<ListStatus>,
    /// Entries that were put there at run time, over all lists, expired ones included.
    pub run_time_entries: usize,
    /// How many there can be.
    pub run_time_entries_max: usize,
}

/// How much stands on a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ListStatus {
    /// Its name.
    pub list: Box<str>,
    /// Entries of its file.
    pub file_entries: usize,
    /// Entries that were put there at run time.
    pub run_time_entries: usize,
    /// Whether the live policy knows it. If not, its entries wait for a policy that does.
    pub in_policy: bool,
}

/// Some entries of a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ListPage {
    /// The list.
    pub list: Box<str>,
    /// Entries that were put there at run time, in the order of their values.
    pub entries: Vec<EntryStatus>,
    /// How many there are in all.
    pub total: usize,
    /// After which value the next page begins; none after the last page.
    pub next: Option<Box<str>>,
}

/// An entry that was put there at run time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct EntryStatus {
    /// The value.
    pub value: Box<str>,
    /// The first moment (of a transaction, RFC 3339) at which it no longer counts.
    pub expires: Option<String>,
    /// Why it stands there.
    pub note: Box<str>,
    /// Whose API key put it there.
    pub by: Box<str>,
    /// When, in RFC 3339.
    pub added_at: String,
    /// The record that says so.
    pub sequence: u64,
}

impl EntryStatus {
    /// Of an entry.
    pub fn new(value: &str, entry: &Entry) -> Self {
        Self {
            value: value.into(),
            expires: entry.until.map(|until| until.to_string()),
            note: entry.note.clone(),
            by: entry.by.clone(),
            added_at: entry.added_at.to_string(),
            sequence: entry.sequence,
        }
    }
}

/// Where a value stands on a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ListedStatus {
    /// The list.
    pub list: Box<str>,
    /// The value.
    pub value: Box<str>,
    /// What was put there at run time.
    pub run_time: Option<EntryStatus>,
    /// What its file says.
    pub file: Option<FileEntryStatus>,
}

/// What a file says of a value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FileEntryStatus {
    /// The file.
    pub file: String,
    /// The first moment (of a transaction, RFC 3339) at which it no longer counts.
    pub expires: Option<String>,
}

/// A change that is in the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ListChanged {
    /// The list.
    pub list: Box<str>,
    /// The value.
    pub value: Box<str>,
    /// What stands there now.
    pub entry: Option<EntryStatus>,
    /// What stood there before.
    pub before: Option<EntryStatus>,
    /// The record.
    pub audit: ChangeAudit,
}

/// The record of a change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ChangeAudit {
    /// The log's name.
    pub log: LogId,
    /// The record's sequence.
    pub sequence: u64,
    /// `blake3:` and its hash.
    pub hash: String,
}
