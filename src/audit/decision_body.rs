//! The body of a decision in two parts: what counting needs in clear, and all that is personal sealed with the key of whose data it is.
//!
//! In clear: the answer with the codes of its reasons, the rules that matched, versions and policy, times, and of the transaction its id,
//! moment, amount, merchant and terminal. `privacy/README.md` says why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::audit::packed::{self, Unpacked, pack, unpack};
use crate::audit::record::{DecisionRecord, RecordError, RecordedHit, StageTimes};
use crate::domain::decision::{Challenge, Decision, Outcome, Reason, ReasonSource, RiskLevel, Versions};
use crate::domain::enrichment::Enrichment;
use crate::domain::ip_facts::IpFacts;
use crate::domain::recorded_value::RecordedValue;
use crate::domain::transaction::{Address, Card, Customer, Device, Metadata, Transaction};
use crate::privacy::seal::{Sealed, write_sealed};
use crate::rules::run_time::Listed;
use crate::wire::transaction::TransactionJson;

/// The first schema of bodies whose sealed part is packed.
pub(super) const PACKED_SCHEMA: u16 = 3;
/// What stands in clear is seldom longer.
const CLEAR_BYTES_MOST: usize = 2_048;

/// What of a transaction stays in clear: nothing of who paid, with what or from where.
pub(super) fn kept(transaction: &Transaction) -> Transaction {
    Transaction {
        id: transaction.id.clone(),
        occurred_at: transaction.occurred_at,
        amount: transaction.amount,
        channel: None,
        customer: Customer::default(),
        card: Card::default(),
        merchant: transaction.merchant.clone(),
        terminal_id: transaction.terminal_id.clone(),
        device: Device::default(),
        location: None,
        billing: Address::default(),
        shipping: Address::default(),
        items_count: None,
        three_ds_eci: None,
        session_id: None,
        metadata: Metadata::default(),
    }
}

#[derive(Serialize)]
struct ClearReason<'a> {
    code: &'a str,
    source: ReasonSource,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
}

#[derive(Serialize)]
struct ClearHit<'a> {
    rule: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    shadow: bool,
}

/// The body as it is written, but for its last field, `sealed`.
#[derive(Serialize)]
struct ClearDecision<'a> {
    decision_id: &'a str,
    transaction_id: &'a str,
    decision: Outcome,
    reason: &'a str,
    reasons: Vec<ClearReason<'a>>,
    score: Option<f32>,
    risk_level: RiskLevel,
    challenge: Option<Challenge>,
    degraded: bool,
    missing: &'a [Box<str>],
    versions: &'a Versions,
    received_at_ms: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    repeat: bool,
    state_sequence: u64,
    transaction: TransactionJson<'a>,
    hits: Vec<ClearHit<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hits_left_out: Option<u32>,
    policy: &'a str,
    latency_us: StageTimes,
}

/// The body as it is read.
#[derive(Deserialize)]
pub(super) struct ReadDecision {
    decision_id: Box<str>,
    transaction_id: Box<str>,
    decision: Outcome,
    reason: Box<str>,
    reasons: Vec<Reason>,
    score: Option<f32>,
    risk_level: RiskLevel,
    challenge: Option<Challenge>,
    degraded: bool,
    missing: Vec<Box<str>>,
    versions: Versions,
    received_at_ms: i64,
    #[serde(default)]
    repeat: bool,
    state_sequence: u64,
    transaction: Box<RawValue>,
    hits: Vec<RecordedHit>,
    #[serde(default)]
    hits_left_out: u32,
    policy: Box<str>,
    latency_us: StageTimes,
    pub(super) sealed: Sealed,
}

/// What of a reason says something of a person.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct PrivateReason<M> {
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<M>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contribution: Option<f32>,
}

/// What is JSON in the sealed part as it is written (`packed`).
#[derive(Serialize)]
struct PrivateDecision<'a> {
    idempotency_key: &'a str,
    fingerprint: &'a str,
    transaction: &'a RawValue,
    enrichment: &'a Enrichment,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<&'a IpFacts>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    feature_texts: &'a [(u16, Box<str>)],
    margin: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bias: Option<f32>,
    reasons: Vec<PrivateReason<&'a str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hits: Vec<&'a BTreeMap<Box<str>, RecordedValue>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    listed: &'a [Listed],
}

/// The sealed part as it is read: in schema 2 all of it is JSON, in schema 3 vector and attributions are packed beside it.
#[derive(Deserialize)]
struct ReadPrivate {
    idempotency_key: Box<str>,
    fingerprint: Box<str>,
    transaction: Box<RawValue>,
    enrichment: Enrichment,
    #[serde(default)]
    ip: Option<IpFacts>,
    #[serde(default)]
    features: Vec<Option<f64>>,
    #[serde(default)]
    feature_texts: Vec<(u16, Box<str>)>,
    margin: Option<f32>,
    #[serde(default)]
    contributions: Vec<(u16, f32)>,
    #[serde(default)]
    bias: Option<f32>,
    reasons: Vec<PrivateReason<String>>,
    #[serde(default)]
    hits: Vec<BTreeMap<Box<str>, RecordedValue>>,
    #[serde(default)]
    listed: Vec<Listed>,
}

/// Whether vector and attributions are packed beside the JSON of a sealed part.
const fn is_packed(schema: u16) -> bool {
    schema >= PACKED_SCHEMA
}

/// The JSON of a sealed part.
pub(super) fn json_of(schema: u16, part: &[u8]) -> Result<&[u8], RecordError> {
    if is_packed(schema) { Ok(packed::json(part)?.as_bytes()) } else { Ok(part) }
}

/// The part to be sealed.
pub(super) fn private_part(record: &DecisionRecord) -> Result<Vec<u8>, RecordError> {
    let reasons = record.answer.reasons.iter().map(|reason| PrivateReason {
        message: reason.message.as_deref(),
        value: reason.value,
        contribution: reason.contribution,
    });
    let part = PrivateDecision {
        idempotency_key: &record.idempotency_key,
        fingerprint: &record.fingerprint,
        transaction: &record.transaction,
        enrichment: &record.enrichment,
        ip: record.ip.as_ref(),
        feature_texts: &record.feature_texts,
        margin: record.margin,
        bias: record.bias,
        reasons: reasons.collect(),
        hits: record.hits.iter().map(|hit| &hit.values).collect(),
        listed: &record.listed,
    };
    pack(&serde_json::to_string(&part)?, &record.features, &record.contributions)
}

/// The body around a part that is sealed with the key of that number.
pub(super) fn body(
    record: &DecisionRecord,
    transaction: &Transaction,
    key: u64,
    sealed: &[u8],
) -> Result<Vec<u8>, RecordError> {
    let (answer, kept) = (&record.answer, kept(transaction));
    let reasons = answer.reasons.iter().map(|reason| ClearReason {
        code: &reason.code,
        source: reason.source,
        rule: reason.rule.as_deref(),
    });
    let body = ClearDecision {
        decision_id: &answer.decision_id,
        transaction_id: &answer.transaction_id,
        decision: answer.decision,
        reason: &answer.reason,
        reasons: reasons.collect(),
        score: answer.score,
        risk_level: answer.risk_level,
        challenge: answer.challenge,
        degraded: answer.degraded,
        missing: &answer.missing,
        versions: &answer.versions,
        received_at_ms: record.received_at_ms,
        repeat: record.repeat,
        state_sequence: record.state_sequence,
        transaction: TransactionJson(&kept),
        hits: record.hits.iter().map(|hit| ClearHit { rule: &hit.rule, shadow: hit.shadow }).collect(),
        hits_left_out: Some(record.hits_left_out).filter(|hits| *hits > 0),
        policy: &record.policy,
        latency_us: record.latency_us,
    };
    let mut bytes = Vec::with_capacity(sealed.len() * 4 / 3 + CLEAR_BYTES_MOST);
    serde_json::to_writer(&mut bytes, &body)?;
    let Some(b'}') = bytes.pop() else { return Err(RecordError::Malformed("body")) };
    bytes.extend_from_slice(b",\"sealed\":");
    write_sealed(key, sealed, &mut bytes);
    bytes.push(b'}');
    Ok(bytes)
}

impl ReadDecision {
    /// Its id.
    pub(super) fn id(&self) -> &str {
        &self.decision_id
    }

    /// The record, as far as it stands in clear: without values and messages of reasons, values of hits, idempotency key, fingerprint,
    /// features and what else was known, and with what is kept of the transaction.
    pub(super) fn left(self) -> DecisionRecord {
        DecisionRecord {
            answer: Decision {
                decision_id: self.decision_id,
                transaction_id: self.transaction_id,
                decision: self.decision,
                reason: self.reason,
                reasons: self.reasons,
                score: self.score,
                risk_level: self.risk_level,
                challenge: self.challenge,
                degraded: self.degraded,
                missing: self.missing,
                versions: self.versions,
            },
            idempotency_key: Box::default(),
            fingerprint: Box::default(),
            received_at_ms: self.received_at_ms,
            repeat: self.repeat,
            state_sequence: self.state_sequence,
            transaction: self.transaction,
            enrichment: Enrichment(Box::default()),
            ip: None,
            features: Vec::new(),
            feature_texts: Vec::new(),
            margin: None,
            contributions: Vec::new(),
            bias: None,
            hits: self.hits,
            hits_left_out: self.hits_left_out,
            listed: Vec::new(),
            policy: self.policy,
            latency_us: self.latency_us,
        }
    }

    /// The whole record, with what its sealed part holds.
    pub(super) fn whole(self, schema: u16, part: &[u8]) -> Result<DecisionRecord, RecordError> {
        let private: ReadPrivate = if is_packed(schema) {
            let Unpacked { json, features, contributions } = unpack(part)?;
            ReadPrivate { features, contributions, ..serde_json::from_str(json)? }
        } else {
            serde_json::from_slice(part)?
        };
        let mut record = self.left();
        let (reasons, hits) = (&mut record.answer.reasons, &mut record.hits);
        if private.reasons.len() != reasons.len() {
            return Err(RecordError::Malformed("sealed reasons"));
        }
        if private.hits.len() != hits.len() {
            return Err(RecordError::Malformed("sealed hits"));
        }
        for (reason, private) in reasons.iter_mut().zip(private.reasons) {
            (reason.message, reason.value) = (private.message, private.value);
            reason.contribution = private.contribution;
        }
        for (hit, values) in hits.iter_mut().zip(private.hits) {
            hit.values = values;
        }
        Ok(DecisionRecord {
            idempotency_key: private.idempotency_key,
            fingerprint: private.fingerprint,
            transaction: private.transaction,
            enrichment: private.enrichment,
            ip: private.ip,
            features: private.features,
            feature_texts: private.feature_texts,
            margin: private.margin,
            contributions: private.contributions,
            bias: private.bias,
            listed: private.listed,
            ..record
        })
    }
}
