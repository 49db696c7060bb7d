//! The bodies of records: JSON that an auditor can read without this program, and that this program can decide again from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::domain::decision::{ChallengerVersion, Decision, Versions};
use crate::domain::enrichment::Enrichment;
use crate::domain::ip_facts::IpFacts;
use crate::domain::label::Label;
use crate::domain::recorded_value::RecordedValue;
use crate::domain::time::EventTime;
use crate::domain::transaction::Transaction;
use crate::privacy::seal::SealError;
use crate::privacy::subject::Tag;
use crate::rules::problem::Problem;
use crate::rules::run_time::{Action, ListChange, Listed};
use crate::wire;
use crate::wire::label::LabelJson;
use crate::wire::rejection::Rejection;

/// Most mistakes of a refused policy that a record names in parts; the texts name all.
pub const RECORDED_PROBLEMS_MAX: usize = 50;
/// Most keys that one erasure names; an erasure of more is several records.
pub const ERASED_KEYS_MAX: usize = 50_000;
/// The newest version of bodies that this program knows. A reader reads every version ever written (`bodies`).
pub const BODY_SCHEMA: u16 = 3;

/// How long each stage took, in microseconds.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StageTimes {
    /// From the last byte of the request to the answer.
    pub total: u64,
    /// Reading and checking the JSON.
    pub parse: u64,
    /// Waiting for the enrichment store.
    pub enrich: u64,
    /// Reading and updating windows.
    pub windows: u64,
    /// Features and score.
    pub model: u64,
    /// Attributions.
    pub explain: u64,
    /// Rules.
    pub rules: u64,
    /// Writing the audit record. Not known yet in the record itself.
    pub audit: u64,
}

/// One rule that matched.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RecordedHit {
    /// Its id.
    pub rule: Box<str>,
    /// Whether it only watched.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
    /// The names that its condition reads, with the values that it saw then. Records from before there were any have none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<Box<str>, RecordedValue>,
}

/// Everything that the decision function saw and gave.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// The answer.
    #[serde(flatten)]
    pub answer: Decision,
    /// What the request was known by.
    pub idempotency_key: Box<str>,
    /// Of the transaction's canonical JSON: what a repeated request must agree with. 128 bits in hexadecimal.
    pub fingerprint: Box<str>,
    /// When the request came, in milliseconds since the Unix epoch.
    pub received_at_ms: i64,
    /// Whether the transaction had been counted before, under another idempotency key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repeat: bool,
    /// The sequence of the last record whose consequences the windows held.
    pub state_sequence: u64,
    /// The transaction, canonically.
    pub transaction: Box<RawValue>,
    /// What the enrichment store said, in catalogue order.
    pub enrichment: Enrichment,
    /// What was known of the address. A transaction without one, and records from before there was any, have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpFacts>,
    /// The feature vector, in catalogue order; `null` is missing.
    pub features: Vec<Option<f64>>,
    /// The features that are texts, by slot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub feature_texts: Vec<(u16, Box<str>)>,
    /// The model's raw margin (log-odds).
    pub margin: Option<f32>,
    /// How much each feature moved the margin, by slot, and the margin of nobody in particular; empty without attributions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contributions: Vec<(u16, f32)>,
    /// The expected margin, which the contributions start from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bias: Option<f32>,
    /// Every rule that matched, live or shadow.
    pub hits: Vec<RecordedHit>,
    /// How many rules matched beside these.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hits_left_out: u32,
    /// What was asked for and stood on a list at run time; lists in files are part of the policy. Records from before there were
    /// such lists have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listed: Vec<Listed>,
    /// The policy, by content hash.
    pub policy: Box<str>,
    /// How long the stages took.
    pub latency_us: StageTimes,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl DecisionRecord {
    /// The transaction as a value.
    pub fn transaction(&self) -> Result<Transaction, RecordError> {
        Ok(wire::recorded::parse(self.transaction.get().as_bytes())?)
    }
}

/// A label as it was recorded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LabelRecord {
    /// The label, canonically.
    pub label: Box<RawValue>,
    /// The labelled transaction, canonically; absent when nothing was known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<Box<RawValue>>,
}

impl LabelRecord {
    /// A record of a label and, when it is known, of what was labelled.
    pub fn new(label: &Label, transaction: Option<Box<RawValue>>) -> Result<Self, RecordError> {
        let label = serde_json::value::to_raw_value(&LabelJson(label))?;
        Ok(Self { label, transaction })
    }

    /// The label as a value.
    pub fn label(&self) -> Result<Label, RecordError> {
        Ok(wire::label::parse_slice(self.label.get().as_bytes())?)
    }

    /// The labelled transaction as a value.
    pub fn transaction(&self) -> Result<Option<Transaction>, RecordError> {
        let Some(transaction) = &self.transaction else { return Ok(None) };
        Ok(Some(wire::recorded::parse(transaction.get().as_bytes())?))
    }
}

/// A value put on a list at run time, or taken off.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ListChangeRecord {
    /// What was done.
    pub change: ListChangeKind,
    /// The list.
    pub list: Box<str>,
    /// The value.
    pub value: Box<str>,
    /// The first moment (event time, RFC 3339) at which it no longer counts; absent when it counts for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Box<str>>,
    /// Why.
    pub note: Box<str>,
    /// Whose API key it was; `anybody` where the admin port is open.
    pub by: Box<str>,
}

/// What was done to a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListChangeKind {
    /// A value was put on it, also in place of what stood there.
    Add,
    /// A value was taken off.
    Remove,
}

impl From<&ListChange> for ListChangeRecord {
    fn from(made: &ListChange) -> Self {
        let (change, until) = match made.action {
            Action::Add { until } => (ListChangeKind::Add, until.map(|until| until.to_string().into())),
            Action::Remove => (ListChangeKind::Remove, None),
        };
        let ListChange { list, value, note, by, .. } = made.clone();
        Self { change, list, value, until, note, by }
    }
}

impl TryFrom<ListChangeRecord> for ListChange {
    type Error = RecordError;

    fn try_from(recorded: ListChangeRecord) -> Result<Self, RecordError> {
        let ListChangeRecord { change, list, value, until, note, by } = recorded;
        let until = until.as_deref().map(EventTime::parse_rfc3339).transpose();
        let until = until.map_err(|_| RecordError::Malformed("until"))?;
        let action = match change {
            ListChangeKind::Add => Action::Add { until },
            ListChangeKind::Remove => Action::Remove,
        };
        Ok(Self { list, value, action, note, by })
    }
}

/// A change of policy, or the refusal of one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// What asked for it: `start`, `file_change`, `sighup` or `api`.
    pub cause: Box<str>,
    /// Whose API key asked for it, when it came by the API and keys are configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Box<str>>,
    /// The policy that is live from here on.
    pub policy: Box<str>,
    /// What it is made of.
    pub versions: Versions,
    /// The models that score beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub challengers: Vec<ChallengerVersion>,
    /// Why the candidate was refused; empty when it went live.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// The same in parts, at most `RECORDED_PROBLEMS_MAX` of them. Records from before there were any have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// The files about addresses, which are no part of the policy; absent where config names none, and in records from before there
    /// were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpRecord>,
}

/// The files about addresses that are live from here on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IpRecord {
    /// Each file.
    pub files: Vec<IpFileRecord>,
    /// Why others were refused, at most `RECORDED_PROBLEMS_MAX` reasons; empty when what lies on disk is live.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
}

/// One file about addresses.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IpFileRecord {
    /// Its path, as config names it.
    pub file: PathBuf,
    /// Hash of its bytes.
    pub sha256: Box<str>,
}

/// What challengers say of decisions that are in the log already: a record of its own, because none waits for it.
///
/// It changes nothing, and can be made again from the decisions' feature vectors and the models.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ChallengerRecord {
    /// The policy that decided, by content hash.
    pub policy: Box<str>,
    /// Its challengers.
    pub challengers: Vec<ChallengerVersion>,
    /// The decisions, in the order of the log.
    pub decisions: Vec<ChallengedDecision>,
}

/// One decision of a `ChallengerRecord`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ChallengedDecision {
    /// The sequence of its record.
    pub sequence: u64,
    /// Its id.
    pub decision_id: Box<str>,
    /// The raw margin (log-odds) by each challenger; `null` where it could not score.
    pub margins: Vec<Option<f32>>,
    /// The fraud probability by each challenger.
    pub scores: Vec<Option<f32>>,
}

/// Why a body cannot be written or read.
#[derive(Debug, Error)]
pub enum RecordError {
    /// Not the JSON that this version expects.
    #[error("the record's body is not what its schema says: {0}")]
    Json(#[from] serde_json::Error),
    /// A field holds something else than it should.
    #[error("the record's {0} is not what its schema says")]
    Malformed(&'static str),
    /// Its transaction or label is none.
    #[error("the record's transaction or label is not valid: {0}")]
    Invalid(#[from] Rejection),
    /// A later version wrote it.
    #[error("the record's body has the schema {0}; this version reads up to {BODY_SCHEMA}: use a newer one")]
    Schema(u16),
    /// A sealed part that is none.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A key cannot be read.
    #[error("the keys of subjects cannot be read: {0}")]
    Keys(#[from] std::io::Error),
    /// Its personal data cannot be read, and nothing is wrong with the record.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// Why the personal data of a record that is intact cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Unreadable {
    /// Somebody asked for that, and its key was destroyed.
    #[error("its personal data was erased on request")]
    Erased,
    /// Its key is not beside the log.
    #[error("the key of its personal data is not there")]
    KeyLost,
}

/// The erasure of the data of a person: which keys are destroyed. It names nobody.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ErasureRecord {
    /// Whose data: keyed hashes, which only who has the installation's secret can compare with an id.
    pub subjects: Vec<ErasedSubject>,
    /// The numbers of the keys, at most `ERASED_KEYS_MAX`.
    pub keys: Vec<u64>,
    /// Why: who asked, under which number.
    pub note: Box<str>,
    /// Whose API key it was; `anybody` where the admin port is open, `cli` where the service did not run.
    pub by: Box<str>,
}

/// One subject of an erasure.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ErasedSubject {
    /// `customer`, `card`, `device` or `listed`.
    pub kind: Box<str>,
    /// What stands for the id.
    pub tag: Tag,
}

/// Writes a body.
pub fn encode<T: Serialize>(body: &T) -> Result<Vec<u8>, RecordError> {
    Ok(serde_json::to_vec(body)?)
}

/// Reads a body.
pub fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, RecordError> {
    Ok(serde_json::from_slice(body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As it is in logs: never changed.
    const CHALLENGER_RECORD_V1: &str = concat!(
        r#"{"policy":"sha256:00","challengers":[{"name":"next","model":"sha256:01"},{"name":"small","model":"sha256:02"}],"#,
        r#""decisions":[{"sequence":7,"decision_id":"dec_a","margins":[-5.25,null],"scores":[0.005220126,null]}]}"#
    );

    #[test]
    fn a_record_of_challengers_is_read_and_written_byte_for_byte() {
        let record: ChallengerRecord = decode(CHALLENGER_RECORD_V1.as_bytes()).unwrap();
        let [decision] = &record.decisions[..] else { panic!("{record:?}") };
        assert_eq!(decision.margins, [Some(-5.25), None]);
        assert_eq!(encode(&record).unwrap(), CHALLENGER_RECORD_V1.as_bytes());
    }

    /// As they are in logs: never changed.
    const LIST_CHANGES_V1: [&str; 3] = [
        r#"{"change":"add","list":"blocked_cards","value":"fp_1","until":"2027-02-01T00:00:00.000Z","note":"stolen","by":"ops"}"#,
        r#"{"change":"add","list":"blocked_cards","value":"fp_2","note":"stolen","by":"anybody"}"#,
        r#"{"change":"remove","list":"blocked_cards","value":"fp_1","note":"found again","by":"ops"}"#,
    ];

    #[test]
    fn changes_of_lists_are_read_and_written_byte_for_byte() {
        for text in LIST_CHANGES_V1 {
            let record: ListChangeRecord = decode(text.as_bytes()).unwrap();
            let change = ListChange::try_from(record.clone()).unwrap();
            assert_eq!(ListChangeRecord::from(&change), record);
            assert_eq!(encode(&record).unwrap(), text.as_bytes());
        }
        let wrong: ListChangeRecord =
            decode(LIST_CHANGES_V1[0].replace("2027-02", "2027-2").as_bytes()).unwrap();
        assert!(matches!(ListChange::try_from(wrong), Err(RecordError::Malformed("until"))));
    }

    #[test]
    fn hits_with_and_without_values_are_read_and_written_byte_for_byte() {
        for text in [
            r#"{"rule":"a"}"#,
            r#"{"rule":"a","shadow":true}"#,
            r#"{"rule":"a","values":{"amount":12.0,"card.count_5m":6,"country":"NO","gift":true,"score":null}}"#,
        ] {
            let hit: RecordedHit = decode(text.as_bytes()).unwrap();
            assert_eq!(encode(&hit).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn a_change_of_policy_from_before_there_were_challengers_is_read() {
        let versions = r#"{"rules":"sha256:00","model":null,"features":"sha256:01"}"#;
        let old = format!(r#"{{"cause":"start","policy":"sha256:02","versions":{versions}}}"#);
        let record: PolicyRecord = decode(old.as_bytes()).unwrap();
        assert!(record.challengers.is_empty());
        assert_eq!(encode(&record).unwrap(), old.as_bytes());
    }
}
