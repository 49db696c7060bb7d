//! The body of a record of kind `review`: what an analyst concluded on a decision.

use serde::{Deserialize, Serialize};

use crate::domain::label::Verdict;

/// One verdict. Its label (kind `review`) is the record of kind `label` that stands somewhere before it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReviewRecord {
    /// The decision.
    pub decision_id: Box<str>,
    /// The sequence of its record.
    pub sequence: u64,
    /// The decided transaction.
    pub transaction_id: Box<str>,
    /// Fraud or not.
    pub verdict: Verdict,
    /// When the verdict came, RFC 3339: also its label's `occurred_at`.
    pub occurred_at: Box<str>,
    /// Why. Sealed with the key of whose decision it is.
    #[serde(default)]
    pub note: Box<str>,
    /// Whose API key it came with; `anybody` where the admin port is open.
    pub by: Box<str>,
    /// The person, if the caller says who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analyst: Option<Box<str>>,
    /// The sequence of the review that this one takes the place of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::{decode, encode};

    /// As they are in logs: never changed.
    const REVIEWS_V1: [&str; 2] = [
        r#"{"decision_id":"dec_a","sequence":7,"transaction_id":"pay_1","verdict":"fraud","occurred_at":"2026-10-20T12:00:00.000Z","note":"called the customer","by":"ops"}"#,
        r#"{"decision_id":"dec_a","sequence":7,"transaction_id":"pay_1","verdict":"legitimate","occurred_at":"2026-10-20T13:00:00.000Z","note":"called again","by":"ops","analyst":"jane","replaces":9}"#,
    ];

    #[test]
    fn reviews_are_read_and_written_byte_for_byte() {
        for text in REVIEWS_V1 {
            let record: ReviewRecord = decode(text.as_bytes()).unwrap();
            assert_eq!(encode(&record).unwrap(), text.as_bytes());
        }
    }
}
