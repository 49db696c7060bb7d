//! What a search knows of a record's body. The one place of this room that reads bodies.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::audit::bodies::{Bodies, Opened};
use crate::audit::frame::{Kind, SCHEMA_VERSION};
use crate::audit::reader::Record;
use crate::audit::record::{self, BODY_SCHEMA, DecisionRecord, RecordError};
use crate::domain::decision::{Outcome, RiskLevel};
use crate::domain::text::Id;
use crate::domain::transaction::Transaction;
use crate::search::key::{Field, SearchKey};

/// An amount as it was recorded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RecordedAmount {
    /// In minor units.
    pub value: i64,
    /// ISO 4217.
    pub currency: Box<str>,
}

/// A decision, as much as is searched by and shown in a list.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct DecisionFacts {
    /// Its id.
    pub decision_id: Box<str>,
    /// The transaction's id.
    pub transaction_id: Box<str>,
    /// When the payment happened, by its gateway.
    pub occurred_at: Option<Box<str>>,
    /// The outcome.
    pub decision: Outcome,
    /// The code that decided.
    pub reason: Box<str>,
    /// All codes, the most decisive first.
    pub reasons: Vec<Box<str>>,
    /// The fraud probability.
    pub score: Option<f32>,
    /// The same in words.
    pub risk_level: RiskLevel,
    /// Whether something was missing that should have been there.
    pub degraded: bool,
    /// The rules that matched, live or only watching.
    pub rules: Vec<Box<str>>,
    /// The policy, by content hash.
    pub policy: Box<str>,
    /// The amount.
    pub amount: Option<RecordedAmount>,
    /// `customer.id`
    pub customer: Option<Box<str>>,
    /// `card.fingerprint`
    pub card: Option<Box<str>>,
    /// `merchant.id`
    pub merchant: Option<Box<str>>,
    /// `device.id`
    pub device: Option<Box<str>>,
}

/// What is known of a record.
#[derive(Clone, PartialEq, Debug)]
pub enum Facts {
    /// A decision.
    Decision(Box<DecisionFacts>),
    /// A label of the transaction with that id.
    Label(Box<str>),
    /// A review: of the decision with that id, whose record has that sequence.
    Review(Box<str>, u64),
    /// Anything else: nothing is searched by.
    Other,
}

#[derive(Deserialize)]
struct DecisionBody<'a> {
    #[serde(borrow)]
    decision_id: Cow<'a, str>,
    #[serde(borrow)]
    transaction_id: Cow<'a, str>,
    decision: Outcome,
    #[serde(borrow)]
    reason: Cow<'a, str>,
    reasons: Vec<ReasonBody>,
    score: Option<f32>,
    risk_level: RiskLevel,
    degraded: bool,
    hits: Vec<HitBody>,
    #[serde(borrow)]
    policy: Cow<'a, str>,
    transaction: TransactionBody,
}

#[derive(Deserialize)]
struct ReasonBody {
    code: Box<str>,
}

#[derive(Deserialize)]
struct HitBody {
    rule: Box<str>,
}

#[derive(Deserialize)]
struct TransactionBody {
    #[serde(default)]
    occurred_at: Option<Box<str>>,
    #[serde(default)]
    amount: Option<RecordedAmount>,
    #[serde(default)]
    customer: Option<WithId>,
    #[serde(default)]
    card: Option<Card>,
    #[serde(default)]
    merchant: Option<WithId>,
    #[serde(default)]
    device: Option<WithId>,
}

#[derive(Deserialize)]
struct WithId {
    #[serde(default)]
    id: Option<Box<str>>,
}

#[derive(Deserialize)]
struct Card {
    #[serde(default)]
    fingerprint: Option<Box<str>>,
}

#[derive(Deserialize)]
struct LabelBody {
    label: LabelledBody,
}

#[derive(Deserialize)]
struct LabelledBody {
    transaction_id: Box<str>,
}

impl Facts {
    /// Reads a record. Of an erased one, what stands in clear.
    pub fn read(bodies: &Bodies, stored: &Record<'_>) -> Result<Self, RecordError> {
        if stored.header.schema > BODY_SCHEMA {
            return Err(RecordError::Schema(stored.header.schema));
        }
        Ok(match stored.header.kind {
            Kind::Decision => {
                let mut body: DecisionBody<'_> = record::decode(stored.body)?;
                if stored.header.schema > SCHEMA_VERSION
                    && let Opened::Whole(transaction) = bodies.transaction_of(stored)?
                {
                    body.transaction = record::decode(transaction.get().as_bytes())?;
                }
                Self::Decision(Box::new(body.into()))
            }
            Kind::Label => Self::Label(record::decode::<LabelBody>(stored.body)?.label.transaction_id),
            Kind::Review => {
                let (review, _) = bodies.review(stored)?.or_left();
                Self::Review(review.decision_id, review.sequence)
            }
            _ => Self::Other,
        })
    }

    /// What it is found by.
    pub fn each_key(&self, key: &SearchKey, mut take: impl FnMut(u64)) {
        match self {
            Self::Decision(decision) => decision.each_value(|field, value| take(key.hash(field, value))),
            Self::Label(transaction) => take(key.hash(Field::LabelOf, transaction)),
            Self::Review(decision, _) => take(key.hash(Field::ReviewOf, decision)),
            Self::Other => {}
        }
    }
}

impl DecisionFacts {
    /// Every value that it is found by, some perhaps twice.
    pub fn each_value<'a>(&'a self, mut take: impl FnMut(Field, &'a str)) {
        take(Field::Transaction, &self.transaction_id);
        take(Field::Decision, &self.decision_id);
        take(Field::Outcome, self.decision.name());
        take(Field::Reason, &self.reason);
        take(Field::Policy, &self.policy);
        let optional = [
            (Field::Customer, &self.customer),
            (Field::Card, &self.card),
            (Field::Merchant, &self.merchant),
            (Field::Device, &self.device),
        ];
        for (field, value) in optional {
            if let Some(value) = value {
                take(field, value);
            }
        }
        self.rules.iter().for_each(|rule| take(Field::Rule, rule));
        self.reasons.iter().for_each(|code| take(Field::Reason, code));
    }

    /// Whether a field has that value.
    pub fn has(&self, field: Field, value: &str) -> bool {
        let mut found = false;
        self.each_value(|it, has| found |= it == field && has == value);
        found
    }
}

impl DecisionFacts {
    /// Of a decision about `transaction` that is on its way into the log: all that it is found by, without the time and the amount, which
    /// are only shown.
    pub fn of(record: &DecisionRecord, transaction: &Transaction) -> Self {
        let answer = &record.answer;
        let text = |id: &Option<Id>| id.as_ref().map(|id| id.as_str().into());
        Self {
            decision_id: answer.decision_id.clone(),
            transaction_id: answer.transaction_id.clone(),
            occurred_at: None,
            decision: answer.decision,
            reason: answer.reason.clone(),
            reasons: answer.reasons.iter().map(|reason| reason.code.clone()).collect(),
            score: answer.score,
            risk_level: answer.risk_level,
            degraded: answer.degraded,
            rules: record.hits.iter().map(|hit| hit.rule.clone()).collect(),
            policy: record.policy.clone(),
            amount: None,
            customer: text(&transaction.customer.id),
            card: text(&transaction.card.fingerprint),
            merchant: text(&transaction.merchant.id),
            device: text(&transaction.device.id),
        }
    }
}

impl From<DecisionBody<'_>> for DecisionFacts {
    fn from(body: DecisionBody<'_>) -> Self {
        let transaction = body.transaction;
        Self {
            decision_id: body.decision_id.into(),
            transaction_id: body.transaction_id.into(),
            occurred_at: transaction.occurred_at,
            decision: body.decision,
            reason: body.reason.into(),
            reasons: body.reasons.into_iter().map(|reason| reason.code).collect(),
            score: body.score,
            risk_level: body.risk_level,
            degraded: body.degraded,
            rules: body.hits.into_iter().map(|hit| hit.rule).collect(),
            policy: body.policy.into(),
            amount: transaction.amount,
            customer: transaction.customer.and_then(|it| it.id),
            card: transaction.card.and_then(|it| it.fingerprint),
            merchant: transaction.merchant.and_then(|it| it.id),
            device: transaction.device.and_then(|it| it.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::bodies::open_body;
    use crate::audit::frame::Header;
    use crate::audit::receipt::{Position, RecordHash};
    use crate::domain::time::EventTime;
    use crate::privacy::key_file::KeyFile;

    #[test]
    fn what_is_known_of_a_decision_beforehand_is_what_is_read_of_its_record() {
        let body = json!({
            "decision_id": "dec_1", "transaction_id": "pay_1", "decision": "BLOCK", "reason": "too_dear",
            "reasons": [{"code": "too_dear", "source": "rule", "rule": "dear"}, {"code": "odd", "source": "model"}],
            "score": 0.5, "risk_level": "high", "challenge": null, "degraded": true, "missing": ["enrich"],
            "versions": {"rules": "sha256:00", "model": null, "features": "sha256:02"},
            "idempotency_key": "k", "fingerprint": "00", "received_at_ms": 1, "state_sequence": 0,
            "transaction": {"transaction_id": "pay_1", "occurred_at": "2026-10-20T12:00:00.5Z",
                "amount": {"value": 12050, "currency": "JPY"}, "customer": {"id": "c"}, "card": {"fingerprint": "f"},
                "merchant": {"id": "m"}, "device": {"id": "d"}},
            "enrichment": [], "features": [], "margin": null,
            "hits": [{"rule": "dear"}, {"rule": "watch", "shadow": true}], "policy": "sha256:03",
            "latency_us": {"total": 1, "parse": 0, "enrich": 0, "windows": 0, "model": 0, "explain": 0, "rules": 0, "audit": 0},
        });
        let mut bare = body.clone();
        for part in ["customer", "card", "merchant", "device"] {
            bare["transaction"][part] = json!({});
        }
        let directory = tempfile::tempdir().unwrap();
        let keys = directory.path().join("subjects");
        std::fs::write(&keys, crate::privacy::entry::header([7; 16])).unwrap();
        let bodies = Bodies::new(KeyFile::open(&keys).unwrap());
        for body in [body, bare] {
            let mut record: DecisionRecord = serde_json::from_str(&body.to_string()).unwrap();
            let transaction = record.transaction().unwrap();
            // As the service writes it.
            record.transaction =
                serde_json::value::to_raw_value(&crate::wire::transaction::TransactionJson(&transaction))
                    .unwrap();
            let written = open_body(&record).unwrap();
            let (hash, position) = (RecordHash([0; 32]), Position { segment: 1, offset: 0 });
            let (recorded_at, previous_hash) = (EventTime::EPOCH, hash);
            let header = Header { schema: 1, kind: Kind::Decision, sequence: 1, recorded_at, previous_hash };
            let stored = Record { header, body: &written.bytes, hash, position };
            let known = DecisionFacts::of(&record, &transaction);
            let Ok(Facts::Decision(read)) = Facts::read(&bodies, &stored) else { panic!("no decision") };
            assert!(read.occurred_at.is_some() && read.amount.is_some());
            assert_eq!(known, DecisionFacts { occurred_at: None, amount: None, ..*read });
        }
    }
}
