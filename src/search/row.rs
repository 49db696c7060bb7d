//! One row for each record: where it lies, and what is filtered by without reading it.

use crate::audit::frame::Kind;
use crate::domain::decision::Outcome;
use crate::search::facts::Facts;

/// Length of a row in bytes.
pub const ROW_BYTES: usize = 24;
/// Something was missing when it was decided.
const DEGRADED: u8 = 1;
/// The body could not be read, so that nothing finds it but its sequence.
const UNREAD: u8 = 2;

/// What is known of one record without reading it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Row {
    /// Bytes from the start of its segment.
    pub offset: u64,
    /// When it was recorded, in milliseconds since the Unix epoch.
    pub recorded_at_ms: i64,
    /// The fraud probability; not a number when there is none.
    pub score: f32,
    kind: u8,
    outcome: u8,
    flags: u8,
}

impl Row {
    /// Of a record; `facts` is none when its body could not be read.
    pub fn new(offset: u64, recorded_at_ms: i64, kind: Kind, facts: Option<&Facts>) -> Self {
        let mut row =
            Self { offset, recorded_at_ms, score: f32::NAN, kind: kind.number(), outcome: 0, flags: 0 };
        match facts {
            None => row.flags = UNREAD,
            Some(Facts::Decision(decision)) => {
                row.score = decision.score.unwrap_or(f32::NAN);
                row.outcome = outcome_number(decision.decision);
                row.flags = if decision.degraded { DEGRADED } else { 0 };
            }
            Some(_) => {}
        }
        row
    }

    /// Whether it is a decision.
    pub const fn is_decision(&self) -> bool {
        self.kind == Kind::Decision.number()
    }

    /// Whether it is a review.
    pub const fn is_review(&self) -> bool {
        self.kind == Kind::Review.number()
    }

    /// Whether it is a decision with that outcome.
    pub const fn has_outcome(&self, outcome: Outcome) -> bool {
        self.outcome == outcome_number(outcome)
    }

    /// Whether something was missing.
    pub const fn is_degraded(&self) -> bool {
        self.flags & DEGRADED != 0
    }

    /// Whether its body could not be read.
    pub const fn is_unread(&self) -> bool {
        self.flags & UNREAD != 0
    }

    /// As bytes.
    pub fn encode(&self) -> [u8; ROW_BYTES] {
        let mut bytes = [0; ROW_BYTES];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.recorded_at_ms.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.score.to_le_bytes());
        bytes[20..23].copy_from_slice(&[self.kind, self.outcome, self.flags]);
        bytes
    }

    /// From bytes.
    pub fn decode(bytes: &[u8; ROW_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, rest @ ..] = *bytes;
        let [i, j, k, l, m, n, o, p, rest @ ..] = rest;
        let [q, r, s, t, kind, outcome, flags, _] = rest;
        Self {
            offset: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            recorded_at_ms: i64::from_le_bytes([i, j, k, l, m, n, o, p]),
            score: f32::from_le_bytes([q, r, s, t]),
            kind,
            outcome,
            flags,
        }
    }
}

/// The number on disk; 0 is none.
const fn outcome_number(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Approve => 1,
        Outcome::Review => 2,
        Outcome::Challenge => 3,
        Outcome::Block => 4,
    }
}
