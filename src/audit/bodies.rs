//! Writing and reading the bodies of records of every schema; where personal data is sealed, with the keys beside the log.
//!
//! Schema 1 has everything in clear. Schema 2 has a sealed part, of decisions, labels, changes of lists and reviews; in schema 3 that of a
//! decision is packed. Whoever reads gets the whole
//! record, or what stands in clear and why that is all ([`Opened`]): an erased record is intact, and is counted by what is left.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::audit::decision_body::{self, PACKED_SCHEMA, ReadDecision};
use crate::audit::frame::{Body, Kind, SCHEMA_VERSION};
use crate::audit::reader::Record;
use crate::audit::receipt::LogId;
use crate::audit::record::{
    self, BODY_SCHEMA, DecisionRecord, ErasureRecord, LabelRecord, ListChangeKind, ListChangeRecord,
    RecordError, Unreadable,
};
use crate::audit::record_view;
use crate::audit::review_record::ReviewRecord;
use crate::domain::transaction::Transaction;
use crate::privacy::key_file::{Held, KeyFile};
use crate::privacy::seal::{Place, Sealed, SealingKey};
use crate::wire::transaction::TransactionJson;

/// The schema of bodies without a sealed part.
const OPEN_SCHEMA: u16 = SCHEMA_VERSION;
/// The schema of bodies with one.
const SEALED_SCHEMA: u16 = 2;

/// What a record is sealed with, and for which log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealing {
    /// The key of whose data it is.
    pub key: SealingKey,
    /// The log that the record goes into.
    pub log: LogId,
}

impl Sealing {
    const fn place<'a>(&self, kind: Kind, id: &'a str) -> Place<'a> {
        Place { log: self.log.0, kind: kind.name(), id }
    }

    fn seal(&self, kind: Kind, id: &str, part: &[u8]) -> Result<Sealed, RecordError> {
        Ok(self.key.seal(self.place(kind, id), part)?)
    }
}

/// Writes a body without a sealed part.
pub fn open_body<T: Serialize>(body: &T) -> Result<Body, RecordError> {
    Ok(Body { schema: OPEN_SCHEMA, bytes: record::encode(body)? })
}

fn sealed_body<T: Serialize>(body: &T) -> Result<Body, RecordError> {
    Ok(Body { schema: SEALED_SCHEMA, bytes: record::encode(body)? })
}

/// Writes a decision about `transaction`.
pub fn decision_body(
    record: &DecisionRecord,
    transaction: &Transaction,
    sealing: Option<&Sealing>,
) -> Result<Body, RecordError> {
    let Some(sealing) = sealing else { return open_body(record) };
    let part = decision_body::private_part(record)?;
    let place = sealing.place(Kind::Decision, &record.answer.decision_id);
    let sealed = sealing.key.seal_bytes(place, &part)?;
    let bytes = decision_body::body(record, transaction, sealing.key.number, &sealed)?;
    Ok(Body { schema: PACKED_SCHEMA, bytes })
}

/// Of a decision's body, or of the part of it that was sealed, the transaction.
#[derive(Deserialize)]
struct WithTransaction {
    transaction: Box<RawValue>,
}

/// Of a decision with a sealed part, what it takes to open its transaction.
#[derive(Deserialize)]
struct SealedTransaction<'a> {
    #[serde(borrow)]
    decision_id: Cow<'a, str>,
    transaction: Box<RawValue>,
    sealed: Sealed,
}

/// A label with a sealed part: what stands in clear, and the whole transaction.
#[derive(Serialize)]
struct SealedLabel<'a> {
    label: &'a RawValue,
    transaction: TransactionJson<'a>,
    sealed: Sealed,
}

#[derive(Deserialize)]
struct ReadLabel {
    label: Box<RawValue>,
    transaction: Option<Box<RawValue>>,
    sealed: Sealed,
}

/// Writes a label of `transaction`, the parsed form of `record.transaction`. Without a transaction there is nothing to seal.
pub fn label_body(
    record: &LabelRecord,
    transaction: Option<&Transaction>,
    sealing: Option<&Sealing>,
) -> Result<Body, RecordError> {
    let (Some(raw), Some(transaction), Some(sealing)) = (&record.transaction, transaction, sealing) else {
        return open_body(record);
    };
    let sealed = sealing.seal(Kind::Label, transaction.id.as_str(), raw.get().as_bytes())?;
    let kept = decision_body::kept(transaction);
    sealed_body(&SealedLabel { label: &record.label, transaction: TransactionJson(&kept), sealed })
}

/// A change of a list with a sealed part.
#[derive(Serialize, Deserialize)]
struct SealedListChange {
    change: ListChangeKind,
    list: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Box<str>>,
    by: Box<str>,
    sealed: Sealed,
}

/// What of a change of a list says something of a person: the value, and why.
#[derive(Serialize, Deserialize)]
struct PrivateListChange {
    value: Box<str>,
    note: Box<str>,
}

/// Writes a change of a list.
pub fn list_change_body(record: ListChangeRecord, sealing: Option<&Sealing>) -> Result<Body, RecordError> {
    let Some(sealing) = sealing else { return open_body(&record) };
    let ListChangeRecord { change, list, value, until, note, by } = record;
    let part = serde_json::to_vec(&PrivateListChange { value, note })?;
    let sealed = sealing.seal(Kind::ListChange, &list, &part)?;
    sealed_body(&SealedListChange { change, list, until, by, sealed })
}

/// A review with a sealed part.
#[derive(Serialize, Deserialize)]
struct SealedReview {
    #[serde(flatten)]
    review: ReviewRecord,
    sealed: Sealed,
}

/// What of a review says something of a person.
#[derive(Serialize, Deserialize)]
struct PrivateReview {
    note: Box<str>,
}

/// Writes a review. Without a note there is nothing to seal.
pub fn review_body(record: &ReviewRecord, sealing: Option<&Sealing>) -> Result<Body, RecordError> {
    let Some(sealing) = sealing.filter(|_| !record.note.is_empty()) else { return open_body(record) };
    let mut review = record.clone();
    let part = serde_json::to_vec(&PrivateReview { note: std::mem::take(&mut review.note) })?;
    let sealed = sealing.seal(Kind::Review, &record.decision_id, &part)?;
    sealed_body(&SealedReview { review, sealed })
}

/// What was read of a record.
#[derive(Clone, Debug)]
pub enum Opened<T> {
    /// All of it.
    Whole(T),
    /// What stands in clear, and why that is all.
    Left(T, Unreadable),
}

impl<T> Opened<T> {
    /// The record, and why it is not all, if it is not.
    pub fn of(record: T, why: Option<Unreadable>) -> Self {
        match why {
            None => Self::Whole(record),
            Some(why) => Self::Left(record, why),
        }
    }

    /// The whole record; else why it cannot be read.
    pub fn whole(self) -> Result<T, RecordError> {
        match self {
            Self::Whole(record) => Ok(record),
            Self::Left(_, why) => Err(why.into()),
        }
    }

    /// What there is, and why it is not all.
    pub fn or_left(self) -> (T, Option<Unreadable>) {
        match self {
            Self::Whole(record) => (record, None),
            Self::Left(record, why) => (record, Some(why)),
        }
    }

    /// What there is.
    pub const fn get(&self) -> &T {
        match self {
            Self::Whole(record) | Self::Left(record, _) => record,
        }
    }
}

/// As much of a body as says by which key it is sealed.
#[derive(Deserialize)]
struct SealedGlance {
    sealed: Option<KeyGlance>,
}

#[derive(Deserialize)]
struct KeyGlance {
    key: u64,
}

/// Reads bodies.
#[derive(Clone, Debug)]
pub struct Bodies(KeyFile);

impl Bodies {
    /// With these keys.
    pub const fn new(keys: KeyFile) -> Self {
        Self(keys)
    }

    /// With the keys beside a log, if there are any.
    pub fn beside(log_directory: &Path) -> io::Result<Self> {
        KeyFile::beside(log_directory).map(Self)
    }

    fn open(
        &self,
        kind: Kind,
        id: &str,
        sealed: &Sealed,
    ) -> Result<Result<Vec<u8>, Unreadable>, RecordError> {
        match self.0.key(sealed.key)? {
            Held::Key(key) => {
                let place = Place { log: self.0.log(), kind: kind.name(), id };
                Ok(Ok(sealed.open(&key, place)?))
            }
            Held::Erased => Ok(Err(Unreadable::Erased)),
            Held::Lost => Ok(Err(Unreadable::KeyLost)),
        }
    }

    /// The body of a decision.
    pub fn decision(&self, stored: &Record<'_>) -> Result<Opened<DecisionRecord>, RecordError> {
        if is_open(stored)? {
            return record_view::decode(stored.body).map(Opened::Whole);
        }
        let read: ReadDecision = record::decode(stored.body)?;
        Ok(match self.open(Kind::Decision, read.id(), &read.sealed)? {
            Ok(part) => Opened::Whole(read.whole(stored.header.schema, &part)?),
            Err(why) => Opened::Left(read.left(), why),
        })
    }

    /// The transaction of a decision, and nothing else of it: for those who read millions. Of an erased one, what is kept of it.
    pub fn transaction_of(&self, stored: &Record<'_>) -> Result<Opened<Box<RawValue>>, RecordError> {
        if is_open(stored)? {
            return Ok(Opened::Whole(record::decode::<WithTransaction>(stored.body)?.transaction));
        }
        let read: SealedTransaction<'_> = record::decode(stored.body)?;
        Ok(match self.open(Kind::Decision, &read.decision_id, &read.sealed)? {
            Ok(part) => {
                let json = decision_body::json_of(stored.header.schema, &part)?;
                Opened::Whole(record::decode::<WithTransaction>(json)?.transaction)
            }
            Err(why) => Opened::Left(read.transaction, why),
        })
    }

    /// The body of a label. What is left of one has what is kept of its transaction.
    pub fn label(&self, stored: &Record<'_>) -> Result<Opened<LabelRecord>, RecordError> {
        if is_open(stored)? {
            return record::decode(stored.body).map(Opened::Whole);
        }
        let ReadLabel { label, transaction, sealed } = record::decode(stored.body)?;
        let left = LabelRecord { label, transaction };
        let id = left.label()?.transaction_id;
        Ok(match self.open(Kind::Label, id.as_str(), &sealed)? {
            Ok(part) => {
                let transaction = Some(serde_json::from_slice(&part)?);
                Opened::Whole(LabelRecord { transaction, ..left })
            }
            Err(why) => Opened::Left(left, why),
        })
    }

    /// The body of a change of a list. What is left of one has neither value nor note.
    pub fn list_change(&self, stored: &Record<'_>) -> Result<Opened<ListChangeRecord>, RecordError> {
        if is_open(stored)? {
            return record::decode(stored.body).map(Opened::Whole);
        }
        let SealedListChange { change, list, until, by, sealed } = record::decode(stored.body)?;
        let opened = self.open(Kind::ListChange, &list, &sealed)?;
        let (PrivateListChange { value, note }, why) = match opened {
            Ok(part) => (serde_json::from_slice(&part)?, None),
            Err(why) => (PrivateListChange { value: Box::default(), note: Box::default() }, Some(why)),
        };
        let record = ListChangeRecord { change, list, value, until, note, by };
        Ok(Opened::of(record, why))
    }

    /// The body of a review. What is left of one has no note.
    pub fn review(&self, stored: &Record<'_>) -> Result<Opened<ReviewRecord>, RecordError> {
        if is_open(stored)? {
            return record::decode(stored.body).map(Opened::Whole);
        }
        let SealedReview { review, sealed } = record::decode(stored.body)?;
        Ok(match self.open(Kind::Review, &review.decision_id, &sealed)? {
            Ok(part) => {
                let PrivateReview { note } = serde_json::from_slice(&part)?;
                Opened::Whole(ReviewRecord { note, ..review })
            }
            Err(why) => Opened::Left(review, why),
        })
    }

    /// The body of any record in the form of schema 1, as it would have been written in clear; where it cannot be read, what stands in
    /// clear and, under `unreadable`, why that is all.
    pub fn plain<'a>(&self, stored: &Record<'a>) -> Result<Opened<Cow<'a, [u8]>>, RecordError> {
        if is_open(stored)? {
            return Ok(Opened::Whole(Cow::Borrowed(stored.body)));
        }
        match stored.header.kind {
            Kind::Decision => plain(stored, self.decision(stored)?),
            Kind::Label => plain(stored, self.label(stored)?),
            Kind::ListChange => plain(stored, self.list_change(stored)?),
            Kind::Review => plain(stored, self.review(stored)?),
            _ => Err(RecordError::Schema(stored.header.schema)),
        }
    }

    /// The body of any record as JSON for people: of one with a sealed part, in the form of schema 1; where that cannot be read, what
    /// stands in clear and, under `unreadable`, why that is all.
    pub fn json(&self, stored: &Record<'_>) -> Result<Value, RecordError> {
        // By way of its text, as of any other body: a number of 32 bits would get other digits else.
        record::decode(self.plain(stored)?.get())
    }
}

fn plain<'a, T: Serialize>(
    stored: &Record<'_>,
    opened: Opened<T>,
) -> Result<Opened<Cow<'a, [u8]>>, RecordError> {
    let (record, why) = opened.or_left();
    let Some(why) = why else { return Ok(Opened::Whole(Cow::Owned(record::encode(&record)?))) };
    let mut body: Value = record::decode(stored.body)?;
    if let Value::Object(fields) = &mut body {
        fields.remove("sealed");
        let why = match why {
            Unreadable::Erased => "erased",
            Unreadable::KeyLost => "key_lost",
        };
        fields.insert("unreadable".to_owned(), why.into());
    }
    Ok(Opened::Left(Cow::Owned(record::encode(&body)?), why))
}

/// Whether a record's body has no sealed part.
pub const fn is_in_clear(stored: &Record<'_>) -> bool {
    stored.header.schema == OPEN_SCHEMA
}

/// The number of the key that a record is sealed with, if it is.
pub fn sealed_with(stored: &Record<'_>) -> Option<u64> {
    if is_in_clear(stored) {
        return None;
    }
    record::decode::<SealedGlance>(stored.body).ok()?.sealed.map(|sealed| sealed.key)
}

/// The body of an erasure.
pub fn erasure(stored: &Record<'_>) -> Result<ErasureRecord, RecordError> {
    decode_open(stored)
}

fn decode_open<T: DeserializeOwned>(stored: &Record<'_>) -> Result<T, RecordError> {
    if is_open(stored)? {
        record::decode(stored.body)
    } else {
        Err(RecordError::Schema(stored.header.schema))
    }
}

/// Whether the body has no sealed part; an error where a later version wrote it.
const fn is_open(stored: &Record<'_>) -> Result<bool, RecordError> {
    match stored.header.schema {
        OPEN_SCHEMA => Ok(true),
        SEALED_SCHEMA..=BODY_SCHEMA => Ok(false),
        schema => Err(RecordError::Schema(schema)),
    }
}

#[cfg(test)]
#[path = "bodies_tests.rs"]
mod tests;
