//! What was learnt about a transaction later.

use serde::{Deserialize, Serialize};

use crate::domain::text::TransactionId;
use crate::domain::time::EventTime;

/// Was it fraud?
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was.
    Fraud,
    /// It was not.
    Legitimate,
}

/// How it became known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelKind {
    /// The cardholder disputed it.
    Chargeback,
    /// The network or issuer warned of it (TC40, SAFE).
    EarlyFraudWarning,
    /// It was refunded.
    Refund,
    /// An analyst decided.
    Review,
    /// The customer said so.
    CustomerReport,
}

/// A label for an earlier transaction. It counts in label windows at `occurred_at`: the moment when it became known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Label {
    /// Of which transaction.
    pub transaction_id: TransactionId,
    /// Fraud or not.
    pub verdict: Verdict,
    /// How it became known.
    pub kind: LabelKind,
    /// When it became known.
    pub occurred_at: EventTime,
    /// The network's or the merchant's reason code, such as `10.4`.
    pub reason_code: Option<crate::domain::text::Id>,
}
