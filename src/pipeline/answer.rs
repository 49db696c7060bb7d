//! The JSON of an answer, the same for the first time and for every repetition.

use bytes::Bytes;
use serde::Serialize;

use crate::audit::receipt::{LogId, Receipt};
use crate::audit::record::StageTimes;
use crate::domain::decision::Decision;

#[derive(Serialize)]
struct AnswerJson<'a> {
    #[serde(flatten)]
    decision: &'a Decision,
    replayed: bool,
    latency_us: StageTimes,
    audit: Option<AuditJson>,
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
    let audit = recorded.map(|(log, receipt)| AuditJson {
        log,
        sequence: receipt.sequence,
        hash: format!("blake3:{}", receipt.hash),
    });
    serde_json::to_vec(&AnswerJson { decision, replayed, latency_us, audit }).map(Bytes::from)
}
