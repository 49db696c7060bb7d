//! Ids of stream entries that make the server itself refuse a repetition.
//!
//! The first half is the record's sequence, so `XRANGE stream 88123 88123` finds record 88123. The second half is a tag of the log, and a
//! count: 0 for a record in its place; more for one that comes late, behind the newest. A server takes only ids above the last one, and
//! remembers that one also when entries are trimmed or deleted. So the last id says how far a stream has come and of which log it is.

use std::fmt;

use redis::Value;

use crate::audit::receipt::LogId;

/// Bits of the count. With the tag they make 63, because some clients read the second half as a signed number.
const LATE_BITS: u32 = 24;
const LATE_MASK: u64 = (1 << LATE_BITS) - 1;
/// Bits of the tag.
const TAG_BITS: u32 = 39;

/// Which log a stream is of: some bits of the log's id, which is random.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LogTag(u64);

impl LogTag {
    pub(super) fn of(log: LogId) -> Self {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&log.0[..8]);
        Self(u64::from_be_bytes(bytes) >> (64 - TAG_BITS))
    }
}

/// The id of an entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct StreamId {
    pub(super) sequence: u64,
    rest: u64,
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.sequence, self.rest)
    }
}

impl StreamId {
    /// Of a record in its place.
    pub(super) const fn new(sequence: u64, tag: LogTag) -> Self {
        Self { sequence, rest: tag.0 << LATE_BITS }
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (sequence, rest) = std::str::from_utf8(bytes).ok()?.split_once('-')?;
        Some(Self { sequence: sequence.parse().ok()?, rest: rest.parse().ok()? })
    }

    pub(super) const fn is_of(self, tag: LogTag) -> bool {
        self.rest >> LATE_BITS == tag.0
    }

    /// The one behind it, for a record that comes late; none when there are too many of them.
    pub(super) const fn next_late(self) -> Option<Self> {
        if self.rest & LATE_MASK == LATE_MASK {
            return None;
        }
        Some(Self { sequence: self.sequence, rest: self.rest + 1 })
    }
}

/// The last id of a stream in an answer to `XINFO STREAM`, in either protocol.
pub(super) fn last_generated(answer: &Value) -> Option<StreamId> {
    let is_name = |value: &Value| text(value) == Some(b"last-generated-id");
    let id = match answer {
        Value::Array(list) => {
            let at = list.iter().step_by(2).position(is_name)?;
            list.get(2 * at + 1)?
        }
        Value::Map(map) => &map.iter().find(|(name, _)| is_name(name))?.1,
        _ => return None,
    };
    StreamId::parse(text(id)?)
}

/// Each entry's id and its field `hash`, in an answer to `XRANGE`.
pub(super) fn hashes(answer: &Value) -> Option<Vec<(StreamId, &[u8])>> {
    let Value::Array(entries) = answer else { return None };
    entries.iter().map(hash).collect()
}

/// An entry without that field has an empty one.
fn hash(entry: &Value) -> Option<(StreamId, &[u8])> {
    let Value::Array(parts) = entry else { return None };
    let [id, Value::Array(fields)] = &parts[..] else { return None };
    let at = fields.iter().step_by(2).position(|name| text(name) == Some(b"hash"));
    let hash = at.and_then(|at| fields.get(2 * at + 1)).and_then(text).unwrap_or_default();
    Some((StreamId::parse(text(id)?)?, hash))
}

fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_which_record_of_which_log_it_is() {
        let (a, b) = (LogTag::of(LogId([0xff; 16])), LogTag::of(LogId([0xfe; 16])));
        let id = StreamId::new(88_123, a);
        assert_eq!(StreamId::parse(id.to_string().as_bytes()), Some(id));
        assert!(id.is_of(a) && !id.is_of(b));
        assert!(id.rest <= i64::MAX.unsigned_abs(), "{id}");
        let late = id.next_late().unwrap();
        assert!(late > id && late.is_of(a) && late < StreamId::new(88_124, b), "{late}");
        let last = StreamId { rest: id.rest | LATE_MASK, ..id };
        assert!(last.is_of(a) && last.next_late().is_none());
        // What XADD with * makes is of no log.
        assert!(!StreamId::parse(b"1760961600000-0").unwrap().is_of(a));
        for wrong in ["", "1", "1-", "-1", "a-1", "1-2-3", "99999999999999999999-1"] {
            assert_eq!(StreamId::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
