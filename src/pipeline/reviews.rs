//! Reviews: a person's verdict on a decision. It becomes a label, and the decision leaves the queue.
//!
//! Which decisions are open, the search index says: a fold over the log of its own, rebuilt at each start from the parts on disk. So the
//! state snapshot knows nothing of reviews, and a start that finds no index makes one from the log before it answers.
//!
//! A verdict is two records, the label and then the review, handed over in the other order, so that the writer has both when it comes to
//! the first. A review in the log has its label before it; a label whose review a crash has cut off leaves the decision open.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use thiserror::Error;
use tracing::warn;

use crate::audit::bodies::{Sealing, review_body};
use crate::audit::frame::{Body, Kind};
use crate::audit::queue::Pending;
use crate::audit::receipt::Receipt;
use crate::audit::record::{self, DecisionRecord, LabelRecord};
use crate::audit::review_record::ReviewRecord;
use crate::domain::label::{Label, LabelKind, Verdict};
use crate::domain::text::TransactionId;
use crate::domain::time::EventTime;
use crate::pipeline::fold::Consequence;
use crate::pipeline::index::{Claim, RequestKey};
use crate::pipeline::label::label_record;
use crate::pipeline::list_status::ChangeAudit;
use crate::pipeline::lists::{note_of, parse_object, unknown};
use crate::pipeline::service::{DecideError, Service};
use crate::search::related::{Related, Subject};
use crate::wire::label::LabelJson;
use crate::wire::pan::contains_pan;
use crate::wire::rejection::{FieldErrors, Rejection};

/// Most reviews on their way.
pub const REVIEWS_IN_FLIGHT_MAX: usize = 64;
/// Longest name of an analyst, in bytes.
pub const ANALYST_BYTES_MAX: usize = 128;
/// How long a review may take to be in the log, and the index to know of the one before.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// A review that is in the log.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ReviewAnswer {
    /// What was recorded.
    #[serde(flatten)]
    pub review: ReviewRecord,
    /// Whether the very same had been recorded before.
    pub replayed: bool,
    /// Its record.
    pub audit: ChangeAudit,
}

/// Why there is no review.
#[derive(Debug, Error)]
pub enum ReviewError {
    /// No such decision.
    #[error("the log has no decision with this id")]
    NotFound,
    /// There is one already, and this one does not say that it takes its place.
    #[error(
        "this decision has been reviewed ({verdict}, by {by}); to take the place of that verdict, send \"replaces\": {sequence}"
    )]
    Reviewed {
        /// The last review's sequence.
        sequence: u64,
        /// Its verdict.
        verdict: &'static str,
        /// Who sent it.
        by: Box<str>,
    },
    /// The body is wrong.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The review cannot be taken, or not recorded.
    #[error(transparent)]
    Service(#[from] DecideError),
}

/// What was sent.
struct Wanted {
    verdict: Verdict,
    note: Box<str>,
    analyst: Option<Box<str>>,
    replaces: Option<u64>,
}

/// The decision that it is for.
struct Reviewed {
    record: DecisionRecord,
    /// Whether it is only what an erasure has left of it.
    is_left: bool,
    receipt: Receipt,
    related: Vec<Related>,
}

const fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fraud => "fraud",
        Verdict::Legitimate => "legitimate",
    }
}

impl Service {
    /// Records a verdict on a decision. The same again is answered the same; another one must say which it replaces. `body` is the JSON of
    /// the request, `by` whose API key it came with.
    pub async fn review(
        &self,
        decision_id: &str,
        body: &[u8],
        by: &str,
    ) -> Result<ReviewAnswer, ReviewError> {
        let wanted = self.read_review(body)?;
        let Ok(_place) = self.reviews.try_acquire() else {
            return Err(DecideError::Overloaded { retry_after_s: 1 }.into());
        };
        // One after the other, each when the index knows of the one before: so two verdicts on one decision see each other.
        let mut last = self.last_review.lock().await;
        self.indexed_through()?;
        let late = |_| DecideError::NotReady("making its search index");
        tokio::time::timeout(WAIT_MAX, self.search.covers(*last)).await.map_err(late)?;
        let decided = self.reviewed(decision_id).await?.ok_or(ReviewError::NotFound)?;
        if let Some((review, sequence, hash)) = decided.last_review()? {
            let is_same = review.verdict == wanted.verdict
                && review.note == wanted.note
                && review.analyst == wanted.analyst
                && *review.by == *by
                && wanted.replaces.is_none_or(|it| it == sequence || Some(it) == review.replaces);
            if is_same {
                self.repair_label(&decided, &review).await?;
                let audit = ChangeAudit { log: self.log_id, sequence, hash };
                return Ok(ReviewAnswer { review, replayed: true, audit });
            }
            if wanted.replaces != Some(sequence) {
                let (verdict, by) = (name(review.verdict), review.by);
                return Err(ReviewError::Reviewed { sequence, verdict, by });
            }
        } else if wanted.replaces.is_some() {
            return Err(Rejection::field("/replaces", "names a review, but this decision has none").into());
        }
        let review = ReviewRecord {
            decision_id: decision_id.into(),
            sequence: decided.receipt.sequence,
            transaction_id: decided.record.answer.transaction_id.clone(),
            verdict: wanted.verdict,
            occurred_at: self.clock.now().to_string().into(),
            note: wanted.note,
            by: by.into(),
            analyst: wanted.analyst,
            replaces: wanted.replaces,
        };
        let receipt = self.record_review(&decided, &review).await?;
        *last = receipt.sequence;
        self.metrics.reviews.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let hash = format!("blake3:{}", receipt.hash);
        let audit = ChangeAudit { log: self.log_id, sequence: receipt.sequence, hash };
        Ok(ReviewAnswer { review, replayed: false, audit })
    }

    /// The decision with its labels and reviews: what is remembered, else what the index finds.
    async fn reviewed(&self, decision_id: &str) -> Result<Option<Reviewed>, DecideError> {
        let remembered = match RequestKey::of_decision_id(decision_id) {
            None => return Ok(None),
            Some(key) => self.find(key, |record| &*record.answer.decision_id == decision_id)?,
        };
        let (index, id) = (Arc::clone(&self.search), decision_id.to_owned());
        let ended = |error| DecideError::Internal(format!("a look-up ended: {error}"));
        let looked = tokio::task::spawn_blocking(move || {
            let found = match remembered {
                Some((opened, receipt)) => {
                    let (record, why) = opened.or_left();
                    Some((record, why.is_some(), receipt))
                }
                None => index
                    .find(&id)
                    .map_err(|error| DecideError::Internal(error.to_string()))?
                    .filter(|found| *found.record.answer.decision_id == *id)
                    .map(|found| {
                        let crate::search::find::Found {
                            sequence,
                            recorded_at,
                            hash,
                            position,
                            record,
                            unreadable,
                            ..
                        } = found;
                        (record, unreadable.is_some(), Receipt { sequence, hash, position, recorded_at })
                    }),
            };
            let Some((record, is_left, receipt)) = found else { return Ok(None) };
            let related = index.related(Subject {
                sequence: receipt.sequence,
                transaction_id: &record.answer.transaction_id,
                decision_id: &record.answer.decision_id,
            })?;
            Ok(Some(Reviewed { record, is_left, receipt, related }))
        });
        looked.await.map_err(ended)?
    }

    async fn record_review(&self, decided: &Reviewed, review: &ReviewRecord) -> Result<Receipt, DecideError> {
        let now = self.clock.now();
        let (label_body, label_consequence, label, sealing) = self.label_of(decided, review, now).await?;
        let body = review_body(review, sealing.as_ref());
        let body = body.map_err(|error| DecideError::Internal(error.to_string()))?;
        let unavailable = |error: String| DecideError::AuditUnavailable(error);
        let (label_pending, pending): (Pending, Pending) = {
            let label_ticket = self.log.reserve().map_err(|error| unavailable(error.to_string()))?;
            let ticket = self.log.reserve().map_err(|error| unavailable(error.to_string()))?;
            let pending = ticket.commit_body(Kind::Review, now, body, Consequence::Review);
            (label_ticket.commit_body(Kind::Label, now, label_body, label_consequence), pending)
        };
        let both = async { (label_pending.await, pending.await) };
        let (labelled, reviewed) = tokio::time::timeout(WAIT_MAX, both)
            .await
            .map_err(|_| unavailable("the review was not written in time".to_owned()))?;
        labelled.map_err(|error| unavailable(error.to_string()))?;
        let receipt = reviewed.map_err(|error| unavailable(error.to_string()))?;
        self.metrics.count_label(&label, true);
        Ok(receipt)
    }

    /// The label that a review stands for, as a record, and what both are sealed with.
    async fn label_of(
        &self,
        decided: &Reviewed,
        review: &ReviewRecord,
        now: EventTime,
    ) -> Result<(Body, Consequence, Label, Option<Sealing>), DecideError> {
        let wrong = |what: &str| DecideError::Internal(format!("a reviewed decision has no valid {what}"));
        let label = Label {
            transaction_id: TransactionId::parse(&review.transaction_id)
                .map_err(|_| wrong("transaction id"))?,
            verdict: review.verdict,
            kind: LabelKind::Review,
            occurred_at: EventTime::parse_rfc3339(&review.occurred_at).map_err(|_| wrong("time"))?,
            reason_code: None,
        };
        let canonical = serde_json::to_string(&LabelJson(&label))
            .map_err(|error| DecideError::Internal(error.to_string()))?;
        let (key, fingerprint) = self.label_key(&canonical, true);
        let Claim::New(claimed) = self.index.claim(key, fingerprint) else {
            return Err(DecideError::InFlight);
        };
        let labelled = self.labelled_of(&decided.record, decided.is_left)?;
        let sealing = self.label_sealing(Some(&labelled), now).await?;
        let (body, consequence) = label_record(claimed, &label, Some(labelled), sealing.as_ref())?;
        Ok((body, consequence, label, sealing))
    }

    /// A disk that failed between the two records may have left a review without its label.
    async fn repair_label(&self, decided: &Reviewed, review: &ReviewRecord) -> Result<(), DecideError> {
        let labels = decided.related.iter().filter(|it| it.kind == Kind::Label);
        let mut labels = labels.filter_map(|it| record::decode::<LabelRecord>(&it.body).ok()?.label().ok());
        if labels.any(|it| it.kind == LabelKind::Review && it.occurred_at.to_string() == *review.occurred_at)
        {
            return Ok(());
        }
        warn!(decision_id = %review.decision_id, "a review has no label: it is recorded again");
        let now = self.clock.now();
        let (body, consequence, label, _) = self.label_of(decided, review, now).await?;
        let unavailable = |error: String| DecideError::AuditUnavailable(error);
        let pending = self.log.reserve().map_err(|error| unavailable(error.to_string()))?.commit_body(
            Kind::Label,
            now,
            body,
            consequence,
        );
        tokio::time::timeout(WAIT_MAX, pending)
            .await
            .map_err(|_| unavailable("the label was not written in time".to_owned()))?
            .map_err(|error| unavailable(error.to_string()))?;
        self.metrics.count_label(&label, true);
        Ok(())
    }

    fn read_review(&self, body: &[u8]) -> Result<Wanted, Rejection> {
        let body = parse_object(body)?;
        let mut errors = FieldErrors::default();
        let note = note_of(&body, &mut errors);
        let verdict = match body.get("verdict").and_then(Value::as_str) {
            Some("fraud") => Some(Verdict::Fraud),
            Some("legitimate") => Some(Verdict::Legitimate),
            _ => {
                errors.push("/verdict", "is required: \"fraud\" or \"legitimate\"");
                None
            }
        };
        let analyst = analyst_of(&body, &mut errors);
        let replaces = match body.get("replaces") {
            None | Some(Value::Null) => None,
            Some(number) => {
                if number.as_u64().is_none() {
                    errors.push("/replaces", "must be the sequence of the review that this one replaces");
                }
                number.as_u64()
            }
        };
        self.metrics.count_unknown_fields(unknown(&body, &["verdict", "note", "analyst", "replaces"]));
        match verdict {
            Some(verdict) if errors.is_empty() => Ok(Wanted { verdict, note, analyst, replaces }),
            _ => Err(errors.into_rejection()),
        }
    }
}

fn analyst_of(body: &Map<String, Value>, errors: &mut FieldErrors) -> Option<Box<str>> {
    match body.get("analyst") {
        None | Some(Value::Null) => return None,
        Some(Value::String(name)) => {
            let name = name.trim();
            let fits = (1..=ANALYST_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
            if fits && !contains_pan(name) {
                return Some(name.into());
            }
            errors.push(
                "/analyst",
                format!(
                    "must have 1 to {ANALYST_BYTES_MAX} bytes without control characters, and no card number"
                ),
            );
        }
        Some(_) => errors.push("/analyst", "must be a text"),
    }
    None
}

impl Reviewed {
    /// Its last review, with sequence and hash.
    fn last_review(&self) -> Result<Option<(ReviewRecord, u64, String)>, DecideError> {
        let Some(last) = self.related.iter().rfind(|it| it.kind == Kind::Review) else { return Ok(None) };
        let review = record::decode(&last.body).map_err(|error| DecideError::Internal(error.to_string()))?;
        Ok(Some((review, last.sequence, format!("blake3:{}", last.hash))))
    }
}
