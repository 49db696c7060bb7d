//! Labels: recorded first, then counted for everyone who took part in the labelled transaction.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::audit::bodies::{Bodies, Sealing, label_body};
use crate::audit::frame::{Body, Kind};
use crate::audit::receipt::{LogId, Receipt};
use crate::audit::record::{DecisionRecord, LabelRecord};
use crate::domain::label::Label;
use crate::domain::time::EventTime;
use crate::domain::transaction::Transaction;
use crate::engine::state::Counted;
use crate::pipeline::fold::Consequence;
use crate::pipeline::index::{Claim, Claimed, Fingerprint, RequestKey};
use crate::pipeline::service::{DecideError, Service};
use crate::wire;
use crate::wire::label::LabelJson;

/// How long a label may take to be in the log.
const RECORD_WAIT_MAX: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct LabelAnswer<'a> {
    #[serde(flatten)]
    label: LabelJson<'a>,
    /// Whether the labelled transaction is remembered, so that the label counts in windows.
    transaction_known: bool,
    replayed: bool,
    audit: LabelAudit,
}

#[derive(Serialize)]
struct LabelAudit {
    log: LogId,
    sequence: u64,
    hash: String,
}

/// What a label is for.
pub(super) struct Labelled {
    raw: Box<RawValue>,
    transaction: Transaction,
    counted: Counted,
    /// Whether it is only what an erasure has left of it: merchant and terminal, and nothing to be sealed.
    is_left: bool,
}

impl Service {
    /// Records a label. The same label again is answered the same and counts once. A label for a transaction that is no longer
    /// remembered is recorded all the same, and says so.
    pub async fn label(&self, body: &[u8]) -> Result<Bytes, DecideError> {
        let label = wire::label::parse_slice(body)?;
        let now = self.clock.now();
        self.refuse_far_future(label.occurred_at, now, "/occurred_at")?;
        let canonical = serde_json::to_string(&LabelJson(&label))
            .map_err(|error| DecideError::Internal(error.to_string()))?;
        let Ok(_admitted) = self.in_flight.try_acquire() else {
            return Err(DecideError::Overloaded { retry_after_s: 1 });
        };
        let labelled = self.labelled(&label)?;
        let transaction_known = labelled.is_some();
        let (key, fingerprint) = self.label_key(&canonical, transaction_known);
        let claimed = loop {
            match self.index.claim(key, fingerprint) {
                Claim::New(claimed) => break claimed,
                Claim::Conflict => return Err(DecideError::KeyReused),
                Claim::Done(position) => return self.label_again(&label, position),
                Claim::InFlight(mut released) => {
                    let _ = tokio::time::timeout(self.settings.deadline_default, released.changed())
                        .await
                        .map_err(|_| DecideError::InFlight)?;
                }
            }
        };
        let sealing = self.label_sealing(labelled.as_ref(), now).await?;
        let (body, consequence) = label_record(claimed, &label, labelled, sealing.as_ref())?;
        let pending = self
            .log
            .reserve()
            .map_err(|error| DecideError::AuditUnavailable(error.to_string()))?
            .commit_body(Kind::Label, now, body, consequence);
        let receipt = tokio::time::timeout(RECORD_WAIT_MAX, pending)
            .await
            .map_err(|_| DecideError::AuditUnavailable("the label was not written in time".to_owned()))?
            .map_err(|error| DecideError::AuditUnavailable(error.to_string()))?;
        self.metrics.count_label(&label, transaction_known);
        self.label_answer(&label, transaction_known, false, &receipt)
    }

    pub(super) fn label_key(&self, canonical: &str, transaction_known: bool) -> (RequestKey, Fingerprint) {
        let key = RequestKey::of_label(&self.secret, canonical, transaction_known);
        (key, Fingerprint::of(canonical.as_bytes()))
    }

    /// What the record of a label is sealed with; none where nothing is to be sealed.
    pub(super) async fn label_sealing(
        &self,
        labelled: Option<&Labelled>,
        now: EventTime,
    ) -> Result<Option<Sealing>, DecideError> {
        let Some(labelled) = labelled.filter(|it| !it.is_left) else { return Ok(None) };
        let sealing = self.privacy.of_transaction(&labelled.transaction, now).await;
        sealing.map_err(|error| DecideError::AuditUnavailable(error.to_string()))
    }

    fn labelled(&self, label: &Label) -> Result<Option<Labelled>, DecideError> {
        let Some((found, _)) = self.find_transaction(label.transaction_id.as_str())? else { return Ok(None) };
        let (found, why) = found.or_left();
        self.labelled_of(&found, why.is_some()).map(Some)
    }

    /// The transaction of a decision as a label counts it; `is_left` where it is only what an erasure has left.
    pub(super) fn labelled_of(&self, found: &DecisionRecord, is_left: bool) -> Result<Labelled, DecideError> {
        let transaction = found.transaction().map_err(|error| DecideError::Internal(error.to_string()))?;
        let counted = self.state.counted(&self.policies.live().policy.catalogue, &transaction);
        Ok(Labelled { raw: found.transaction.clone(), transaction, counted, is_left })
    }

    fn label_again(
        &self,
        label: &Label,
        position: crate::audit::receipt::Position,
    ) -> Result<Bytes, DecideError> {
        let (body, receipt) = self.read_body(position, Bodies::label)?;
        self.label_answer(label, body.get().transaction.is_some(), true, &receipt)
    }

    fn label_answer(
        &self,
        label: &Label,
        transaction_known: bool,
        replayed: bool,
        receipt: &Receipt,
    ) -> Result<Bytes, DecideError> {
        let audit = LabelAudit {
            log: self.log_id,
            sequence: receipt.sequence,
            hash: format!("blake3:{}", receipt.hash),
        };
        serde_json::to_vec(&LabelAnswer { label: LabelJson(label), transaction_known, replayed, audit })
            .map(Bytes::from)
            .map_err(|error| DecideError::Internal(error.to_string()))
    }
}

/// The body of a label's record, and what the record does.
pub(super) fn label_record(
    claimed: Claimed,
    label: &Label,
    labelled: Option<Labelled>,
    sealing: Option<&Sealing>,
) -> Result<(Body, Consequence), DecideError> {
    let (raw, transaction, counted) = match labelled {
        None => (None, None, None),
        Some(it) => (Some(it.raw), Some(it.transaction), Some(it.counted)),
    };
    let body = LabelRecord::new(label, raw)
        .and_then(|body| label_body(&body, transaction.as_ref(), sealing))
        .map_err(|error| DecideError::Internal(error.to_string()))?;
    Ok((body, Consequence::label(claimed, label.clone(), counted)))
}
