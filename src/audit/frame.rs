//! One record as bytes: a fixed header in little-endian, then the body.
//!
//! ```text
//!  0  3  magic F5 54 47 (F5 occurs in no UTF-8 text, so no JSON body holds it)
//!  3  1  format version, 1
//!  4  4  crc32c of everything after this field, body included
//!  8  4  crc32c of header bytes 12..68, so that a length can be trusted before the body is there
//! 12  4  body length in bytes                                   } the hash of the
//! 16  2  schema of the body                                     } record is BLAKE3
//! 18  1  kind                                                   } of all this
//! 19  1  zero                                                   }
//! 20  8  sequence                                               }
//! 28  8  recorded at, milliseconds since 1970                   }
//! 36 32  hash of the record before                              }
//! 68  .  body                                                   }
//! ```
//!
//! Format version 1 is published: what it means never changes. A new layout is a new version that `decode` reads beside it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::audit::receipt::RecordHash;
use crate::domain::time::EventTime;

/// Longest body, in bytes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Length of the header, in bytes.
pub const HEADER_BYTES: usize = 68;
/// Longest record, in bytes.
pub const FRAME_BYTES_MAX: usize = HEADER_BYTES + BODY_BYTES_MAX;
/// The format version that is written.
pub const FORMAT_VERSION: u8 = 1;
/// The schema of a body that does not say another.
pub const SCHEMA_VERSION: u16 = 1;

/// How every record begins.
pub const MAGIC: [u8; 3] = [0xf5, b'T', b'G'];
const HASHED_FROM: usize = 12;

/// What a record is about. The numbers are on disk: they are never changed and never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Kind {
    /// A decision with all that it saw and gave.
    Decision = 1,
    /// What a transaction turned out to be.
    Label = 2,
    /// An entry put on a list or taken off.
    ListChange = 3,
    /// Another policy in force.
    PolicyChange = 4,
    /// What an analyst did with a case.
    Review = 5,
    /// Personal data made unreadable on request.
    Erasure = 6,
    /// A signed tree head.
    Checkpoint = 7,
    /// What models say that score beside the one that decides.
    ChallengerScores = 8,
    /// Records that leave the log's directory or the archive.
    Retention = 9,
}

impl Kind {
    /// All kinds, by number.
    pub const ALL: [Self; 9] = [
        Self::Decision,
        Self::Label,
        Self::ListChange,
        Self::PolicyChange,
        Self::Review,
        Self::Erasure,
        Self::Checkpoint,
        Self::ChallengerScores,
        Self::Retention,
    ];

    /// The number on disk.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind with that number, if this version knows it.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// The name in JSON and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Label => "label",
            Self::ListChange => "list_change",
            Self::PolicyChange => "policy_change",
            Self::Review => "review",
            Self::Erasure => "erasure",
            Self::Checkpoint => "checkpoint",
            Self::ChallengerScores => "challenger_scores",
            Self::Retention => "retention",
        }
    }
}

/// A body and the version of its schema.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Body {
    /// The version.
    pub schema: u16,
    /// The body.
    pub bytes: Vec<u8>,
}

/// Everything about a record but its body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The schema version of the body.
    pub schema: u16,
    /// What the record is about.
    pub kind: Kind,
    /// From 1, without gaps.
    pub sequence: u64,
    /// When it was recorded.
    pub recorded_at: EventTime,
    /// The hash of the record before; of the first record: `RecordHash::genesis`.
    pub previous_hash: RecordHash,
}

/// A record inside a buffer. Its checksums are right; that it belongs where it stands is for `chain` to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// The header.
    pub header: Header,
    /// The body.
    pub body: &'a [u8],
    record: &'a [u8],
}

impl<'a> Frame<'a> {
    /// A record whose bytes `decode` has checked before, with the header that it gave.
    pub(crate) fn from_checked(header: Header, record: &'a [u8]) -> Self {
        Self { header, body: &record[HEADER_BYTES..], record }
    }

    /// All of its bytes.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.record
    }

    /// The record's hash. Computed at each call.
    pub fn hash(&self) -> RecordHash {
        RecordHash(*blake3::hash(&self.record[HASHED_FROM..]).as_bytes())
    }

    /// The whole record's length in bytes.
    pub const fn bytes(&self) -> usize {
        self.record.len()
    }
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// The bytes end before the record does.
    #[error("record is incomplete: {have} of {need} bytes are there")]
    Torn {
        /// Bytes that are there.
        have: usize,
        /// Bytes that the record has, or that the header has while that is incomplete too.
        need: usize,
    },
    /// A checksum or a field is wrong.
    #[error("record is damaged: {what}")]
    Corrupt {
        /// What is wrong.
        what: &'static str,
    },
    /// These bytes are no record of an audit log.
    #[error("no record starts here")]
    Foreign,
    /// Written by a newer version.
    #[error(
        "record has format version {version}; this version reads up to {FORMAT_VERSION}: use a newer one"
    )]
    NewerFormat {
        /// The version.
        version: u8,
    },
    /// A kind that this version does not know.
    #[error("record is of kind {kind}, which this version does not know: use a newer one")]
    NewerKind {
        /// The kind's number.
        kind: u8,
    },
}

/// A body that is too long for a record.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("body has {bytes} bytes; a record holds up to {BODY_BYTES_MAX}")]
pub struct BodyTooLong {
    /// The body's length.
    pub bytes: usize,
}

/// Appends one record to `buffer`, and says its hash.
pub fn encode(buffer: &mut Vec<u8>, header: &Header, body: &[u8]) -> Result<RecordHash, BodyTooLong> {
    let too_long = BodyTooLong { bytes: body.len() };
    if body.len() > BODY_BYTES_MAX {
        return Err(too_long);
    }
    let body_bytes = u32::try_from(body.len()).map_err(|_| too_long)?;
    let start = buffer.len();
    buffer.reserve(HEADER_BYTES + body.len());
    buffer.extend_from_slice(&MAGIC);
    buffer.push(FORMAT_VERSION);
    buffer.extend_from_slice(&[0; 8]);
    buffer.extend_from_slice(&body_bytes.to_le_bytes());
    buffer.extend_from_slice(&header.schema.to_le_bytes());
    buffer.push(header.kind.number());
    buffer.push(0);
    buffer.extend_from_slice(&header.sequence.to_le_bytes());
    buffer.extend_from_slice(&header.recorded_at.unix_millis().to_le_bytes());
    buffer.extend_from_slice(&header.previous_hash.0);
    buffer.extend_from_slice(body);
    let frame = &mut buffer[start..];
    let header_crc = crc32c::crc32c(&frame[HASHED_FROM..HEADER_BYTES]);
    frame[8..12].copy_from_slice(&header_crc.to_le_bytes());
    let crc = crc32c::crc32c(&frame[8..]);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
    Ok(RecordHash(*blake3::hash(&frame[HASHED_FROM..]).as_bytes()))
}

/// Copies `N` bytes from `at`; the caller has checked that they are there.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

/// The length in bytes of the record at the start of `bytes`, of which only the header need be there.
pub fn length(bytes: &[u8]) -> Result<usize, FrameError> {
    let prefix = bytes.len().min(MAGIC.len());
    if bytes[..prefix] != MAGIC[..prefix] {
        return Err(FrameError::Foreign);
    }
    if let Some(version) = bytes.get(3) {
        match *version {
            FORMAT_VERSION => {}
            0 => return Err(FrameError::Corrupt { what: "format version 0" }),
            version => return Err(FrameError::NewerFormat { version }),
        }
    }
    if bytes.len() < HEADER_BYTES {
        return Err(FrameError::Torn { have: bytes.len(), need: HEADER_BYTES });
    }
    if crc32c::crc32c(&bytes[HASHED_FROM..HEADER_BYTES]) != u32::from_le_bytes(array(bytes, 8)) {
        return Err(FrameError::Corrupt { what: "checksum of the header" });
    }
    let body_bytes = usize::try_from(u32::from_le_bytes(array(bytes, 12))).unwrap_or(usize::MAX);
    if body_bytes > BODY_BYTES_MAX {
        return Err(FrameError::Corrupt { what: "body longer than a record holds" });
    }
    Ok(HEADER_BYTES + body_bytes)
}

/// The record at the start of `bytes`; what follows it is not looked at.
pub fn decode(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let need = length(bytes)?;
    let Some(record) = bytes.get(..need) else {
        return Err(FrameError::Torn { have: bytes.len(), need });
    };
    if crc32c::crc32c(&record[8..]) != u32::from_le_bytes(array(record, 4)) {
        return Err(FrameError::Corrupt { what: "checksum of the record" });
    }
    if record[19] != 0 {
        return Err(FrameError::Corrupt { what: "byte 19 is not zero" });
    }
    let kind = Kind::from_number(record[18]).ok_or(FrameError::NewerKind { kind: record[18] })?;
    let recorded_at = EventTime::from_unix_millis(i64::from_le_bytes(array(record, 28)))
        .map_err(|_| FrameError::Corrupt { what: "time of recording out of range" })?;
    let header = Header {
        schema: u16::from_le_bytes(array(record, 16)),
        kind,
        sequence: u64::from_le_bytes(array(record, 20)),
        recorded_at,
        previous_hash: RecordHash(array(record, 36)),
    };
    Ok(Frame::from_checked(header, record))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_header() -> impl Strategy<Value = Header> {
        (any::<u16>(), 1_u8..=7, any::<u64>(), 0_i64..253_402_207_200_000, any::<[u8; 32]>()).prop_map(
            |(schema, kind, sequence, recorded_at, previous_hash)| Header {
                schema,
                kind: Kind::from_number(kind).unwrap(),
                sequence,
                recorded_at: EventTime::from_unix_millis(recorded_at).unwrap(),
                previous_hash: RecordHash(previous_hash),
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            header in any_header(),
            body in proptest::collection::vec(any::<u8>(), 0..2_000),
            before in proptest::collection::vec(any::<u8>(), 0..50),
            after in proptest::collection::vec(any::<u8>(), 0..50),
        ) {
            let mut buffer = before.clone();
            let hash = encode(&mut buffer, &header, &body).unwrap();
            let bytes = buffer.len() - before.len();
            buffer.extend_from_slice(&after);
            let frame = decode(&buffer[before.len()..]).unwrap();
            prop_assert_eq!(frame.header, header);
            prop_assert_eq!(frame.body, &body[..]);
            prop_assert_eq!(frame.hash(), hash);
            prop_assert_eq!(frame.bytes(), bytes);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            let mut bytes = bytes;
            bytes.splice(0..0, [0xf5, b'T', b'G', 1]);
            let _ = decode(&bytes);
        }
    }

    fn example() -> Vec<u8> {
        let header = Header {
            schema: 1,
            kind: Kind::Decision,
            sequence: 7,
            recorded_at: EventTime::from_unix_millis(1_792_497_600_123).unwrap(),
            previous_hash: RecordHash([9; 32]),
        };
        let mut buffer = Vec::new();
        encode(&mut buffer, &header, br#"{"outcome":"APPROVE"}"#).unwrap();
        buffer
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let good = example();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let error = decode(&bad).unwrap_err();
            assert!(!matches!(error, FrameError::Torn { .. }), "bit {bit}: {error}");
        }
    }

    #[test]
    fn every_prefix_is_torn() {
        let good = example();
        for length in 0..good.len() {
            assert!(
                matches!(decode(&good[..length]), Err(FrameError::Torn { have, .. }) if have == length),
                "{length}"
            );
        }
    }

    #[test]
    fn a_long_body_is_refused() {
        let header = decode(&example()).unwrap().header;
        let mut buffer = vec![1, 2];
        let error = encode(&mut buffer, &header, &vec![0; BODY_BYTES_MAX + 1]).unwrap_err();
        assert_eq!((error.bytes, buffer), (BODY_BYTES_MAX + 1, vec![1, 2]));
        encode(&mut Vec::new(), &header, &vec![0; BODY_BYTES_MAX]).unwrap();
    }
}
