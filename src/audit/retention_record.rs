//! The body of a record of the kind `retention`: records are about to leave a place where they are kept, by which rule.
//!
//! It stands in the log, on stable storage, before anything is deleted. Whoever is interrupted in between says it once more: so the same records may be
//! named twice, and what was deleted is named at least once.

use serde::{Deserialize, Serialize};

/// Where records leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The log's directory: whole segments.
    Log,
    /// The archive: whole files.
    Archive,
}

/// By which rule they leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Rule {
    /// They have been in the archive for so long, and their copy there was proven at that moment.
    #[serde(rename = "archive.keep_local_days")]
    KeepLocal,
    /// They are older than they must be kept.
    #[serde(rename = "archive.retention_days")]
    Retention,
}

/// What leaves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RetentionRecord {
    /// From where.
    pub place: Place,
    /// By which rule.
    pub rule: Rule,
    /// What the rule said, in days.
    pub days: u64,
    /// The first record.
    pub first_sequence: u64,
    /// The last record; all between leave, too.
    pub last_sequence: u64,
    /// How many segments, or files of the archive.
    pub files: u64,
    /// Of the archive: the first day that stays, `2026-11-25` (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_from: Option<Box<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::{decode, encode};

    /// As they are in logs: never changed.
    const RETENTIONS_V1: [&str; 3] = [
        r#"{"place":"log","rule":"archive.keep_local_days","days":7,"first_sequence":1,"last_sequence":20480,"files":2}"#,
        r#"{"place":"log","rule":"archive.retention_days","days":2557,"first_sequence":1,"last_sequence":9,"files":1}"#,
        r#"{"place":"archive","rule":"archive.retention_days","days":2557,"first_sequence":1,"last_sequence":4095,"files":3,"kept_from":"2019-11-26"}"#,
    ];

    #[test]
    fn retentions_are_read_and_written_byte_for_byte() {
        for text in RETENTIONS_V1 {
            let record: RetentionRecord = decode(text.as_bytes()).unwrap();
            assert_eq!(encode(&record).unwrap(), text.as_bytes());
        }
    }
}
