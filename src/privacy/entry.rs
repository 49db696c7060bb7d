//! The file of keys: a header and entries, each of 64 bytes, in little-endian. An entry's place is its number.
//!
//! ```text
//! header:  0  8  "TGKEYS", 0, format version 1     entry:  0  1  format version 1
//!          8 16  id of the log                             1  1  state: 1 live, 2 erased
//!         24 36  zero                                      2  2  zero
//!         60  4  crc32c of what is before                  4  8  number
//!                                                         12 16  tag of the subject       } zero when
//!                                                         28 32  key                      } erased
//!                                                         60  4  crc32c of what is before
//! ```
//!
//! 64 bytes at a multiple of 64 never cross a sector of a disk. An entry whose checksum is wrong is lost, never used, and its number is not
//! given again.

use crate::privacy::subject::Tag;

/// Length of header and entries, in bytes.
pub const ENTRY_BYTES: usize = 64;
const FORMAT_VERSION: u8 = 1;
const MAGIC: [u8; 8] = [b'T', b'G', b'K', b'E', b'Y', b'S', 0, FORMAT_VERSION];
const LIVE: u8 = 1;
const ERASED: u8 = 2;
const CHECKED: usize = ENTRY_BYTES - 4;

/// A subject's key: 256 random bits.
#[derive(Clone, PartialEq, Eq)]
pub struct SubjectKey(pub [u8; 32]);

impl std::fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SubjectKey(..)")
    }
}

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A key that is in use.
    Live {
        /// Whose.
        tag: Tag,
        /// The key.
        key: SubjectKey,
    },
    /// A key that was destroyed on request.
    Erased,
    /// Nothing that can be read: what a power loss left, or damage.
    Lost,
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

fn checked(mut bytes: [u8; ENTRY_BYTES]) -> [u8; ENTRY_BYTES] {
    let crc = crc32c::crc32c(&bytes[..CHECKED]);
    bytes[CHECKED..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn is_whole(bytes: &[u8; ENTRY_BYTES]) -> bool {
    crc32c::crc32c(&bytes[..CHECKED]) == u32::from_le_bytes(array(bytes, CHECKED))
}

/// The header of the file of a log.
pub fn header(log_id: [u8; 16]) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..24].copy_from_slice(&log_id);
    checked(bytes)
}

/// The log of a header; none when it is no header of a version that is known.
pub fn log_of(header: &[u8; ENTRY_BYTES]) -> Option<[u8; 16]> {
    (header[..8] == MAGIC && is_whole(header)).then(|| array(header, 8))
}

impl Entry {
    /// The entry with that number as it stands in the file. A lost one is zeros.
    pub fn encode(&self, number: u64) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let state = match self {
            Self::Live { tag, key } => {
                bytes[12..28].copy_from_slice(&tag.0);
                bytes[28..60].copy_from_slice(&key.0);
                LIVE
            }
            Self::Erased => ERASED,
            Self::Lost => return bytes,
        };
        bytes[0] = FORMAT_VERSION;
        bytes[1] = state;
        bytes[4..12].copy_from_slice(&number.to_le_bytes());
        checked(bytes)
    }

    /// What stands in the place of that number.
    pub fn decode(number: u64, bytes: &[u8; ENTRY_BYTES]) -> Self {
        if !is_whole(bytes) || bytes[0] != FORMAT_VERSION || u64::from_le_bytes(array(bytes, 4)) != number {
            return Self::Lost;
        }
        match bytes[1] {
            LIVE => Self::Live { tag: Tag(array(bytes, 12)), key: SubjectKey(array(bytes, 28)) },
            ERASED => Self::Erased,
            _ => Self::Lost,
        }
    }
}
