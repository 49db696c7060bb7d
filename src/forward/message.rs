//! A record as it is sent.

use crate::audit::frame::Kind;
use crate::audit::reader::Record;
use crate::audit::receipt::RecordHash;
use crate::domain::time::EventTime;
use crate::forward::entity::{EntityHasher, EntityKey};

/// How many digits of the record's hash stand in its id.
const ID_HASH_DIGITS: usize = 16;
/// What a message costs beside its body, in bytes: the other fields with their names, rounded up.
pub const ENVELOPE_BYTES: usize = 512;

/// A record on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// What consumers tell a repetition by: log, sequence and the beginning of the hash, with `-` between them. The hash is in it
    /// because after a power loss, a log that promises `process` may give a sequence a second time.
    pub id: Box<str>,
    /// The record's sequence in its log.
    pub sequence: u64,
    /// What it is about.
    pub kind: Kind,
    /// The version of the body's schema.
    pub schema: u16,
    /// When it was recorded.
    pub recorded_at: EventTime,
    /// The record's hash, which the log can be held to.
    pub hash: RecordHash,
    /// Whose order it keeps.
    pub key: EntityKey,
    /// The body as it lies in the log.
    pub body: Vec<u8>,
}

impl Message {
    /// Of a record of the log with that id.
    pub fn new(log: &str, record: &Record<'_>, hasher: &EntityHasher) -> Self {
        let header = &record.header;
        let hash = record.hash.to_string();
        Self {
            id: format!("{log}-{}-{}", header.sequence, &hash[..ID_HASH_DIGITS]).into(),
            sequence: header.sequence,
            kind: header.kind,
            schema: header.schema,
            recorded_at: header.recorded_at,
            hash: record.hash,
            key: hasher.key(header.kind, record.body),
            body: record.body.to_vec(),
        }
    }

    /// About how many bytes it is to a target; never fewer than it is.
    pub const fn bytes(&self) -> usize {
        self.body.len() + ENVELOPE_BYTES
    }
}
