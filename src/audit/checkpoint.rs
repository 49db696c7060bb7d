//! The body of a record of the kind `checkpoint`: a signed tree head of the log that it stands in.
//!
//! The tree's entries are the hashes of the log's records, in their order: entry 0 is the hash of record 1, so that a tree of N entries
//! covers the records 1 to N. A checkpoint covers records before its own.

use serde::{Deserialize, Serialize};

use crate::audit::record::{self, RecordError};

/// The body.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CheckpointRecord {
    /// The checkpoint as a signed note (C2SP tlog-checkpoint).
    pub note: String,
}

impl CheckpointRecord {
    /// Reads a body.
    pub fn decode(body: &[u8]) -> Result<Self, RecordError> {
        record::decode(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As it is in logs: never changed.
    const CHECKPOINT_V1: &str = r#"{"note":"example.com/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\u2014 example.com/log AAAAAAA=\n"}"#;

    #[test]
    fn a_checkpoint_is_read_and_written_again() {
        let record = CheckpointRecord::decode(CHECKPOINT_V1.as_bytes()).unwrap();
        assert!(record.note.ends_with("\n\n\u{2014} example.com/log AAAAAAA=\n"), "{}", record.note);
        let written = record::encode(&record).unwrap();
        assert_eq!(CheckpointRecord::decode(&written).unwrap(), record);
    }
}
