//! The JSON of an answer, the same for the first time and for every repetition.

use bytes::Bytes;
use serde::Serialize;

use crate::audit::receipt::{LogId, Receipt};
use crate::audit::record::{DecisionRecord, RecordedHit, StageTimes};
use crate::domain::decision::Decision;
use crate::rules::run_time::Listed;

#[derive(Serialize)]
struct AnswerJson<'a> {
    #[serde(flatten)]
    decision: &'a Decision,
    replayed: bool,
    latency_us: StageTimes,
    audit: Option<AuditJson>,
    #[serde(flatten)]
    seen: Option<SeenJson<'a>>,
}

/// What a decision that is looked up says beside its answer.
#[derive(Serialize)]
struct SeenJson<'a> {
    policy: &'a str,
    hits: &'a [RecordedHit],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    listed: &'a [Listed],
}

#[derive(Serialize)]
struct AuditJson {
    log: LogId,
    sequence: u64,
    hash: String,
}

/// Writes an answer. `recorded` is absent for a dry run, and where config answers without a record.
pub fn answer_json(
    decision: &Decision,
    replayed: bool,
    latency_us: StageTimes,
    recorded: Option<(LogId, &Receipt)>,
) -> Result<Bytes, serde_json::Error> {
    write(decision, replayed, latency_us, recorded, None)
}

/// Writes a decision as it was recorded: its answer, by which policy, which rules matched with which values, and what was found on
/// lists at run time.
pub fn record_json(record: &DecisionRecord, recorded: (LogId, &Receipt)) -> Result<Bytes, serde_json::Error> {
    let seen = SeenJson { policy: &record.policy, hits: &record.hits, listed: &record.listed };
    write(&record.answer, false, record.latency_us, Some(recorded), Some(seen))
}

fn write(
    decision: &Decision,
    replayed: bool,
    latency_us: StageTimes,
    recorded: Option<(LogId, &Receipt)>,
    seen: Option<SeenJson<'_>>,
) -> Result<Bytes, serde_json::Error> {
    let audit = recorded.map(|(log, receipt)| AuditJson {
        log,
        sequence: receipt.sequence,
        hash: format!("blake3:{}", receipt.hash),
    });
    serde_json::to_vec(&AnswerJson { decision, replayed, latency_us, audit, seen }).map(Bytes::from)
}
