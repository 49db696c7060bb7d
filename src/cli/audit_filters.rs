//! Which decisions: the filters of `tollgate audit search` and `tail`.

use anyhow::anyhow;
use clap::Args;

use crate::domain::time::{Clock as _, SystemClock};
use crate::search::query::Query;

/// Filters; all that are given must hold.
#[derive(Args, Debug, Clone, Default)]
pub struct FilterArgs {
    /// Recorded then or later: an RFC 3339 timestamp with an offset, a date (its beginning in UTC), or how long ago, such as 90m or 7d.
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Recorded before then.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Of that customer (customer.id).
    #[arg(long, value_name = "ID")]
    pub customer: Option<String>,
    /// By that card (card.fingerprint).
    #[arg(long, value_name = "FINGERPRINT")]
    pub card: Option<String>,
    /// At that merchant (merchant.id).
    #[arg(long, value_name = "ID")]
    pub merchant: Option<String>,
    /// From that device (device.id).
    #[arg(long, value_name = "ID")]
    pub device: Option<String>,
    /// Of that transaction.
    #[arg(long, value_name = "ID")]
    pub transaction_id: Option<String>,
    /// The decision with that id.
    #[arg(long, value_name = "ID")]
    pub decision_id: Option<String>,
    /// APPROVE, REVIEW, CHALLENGE or BLOCK.
    #[arg(long, value_name = "OUTCOME")]
    pub outcome: Option<String>,
    /// In which that rule matched, live or only watching.
    #[arg(long, value_name = "ID")]
    pub rule: Option<String>,
    /// With that code among the reasons.
    #[arg(long, value_name = "CODE")]
    pub reason: Option<String>,
    /// With at least that score, 0 to 1.
    #[arg(long, value_name = "SCORE")]
    pub score_min: Option<String>,
    /// With at most that score.
    #[arg(long, value_name = "SCORE")]
    pub score_max: Option<String>,
    /// In which something was missing (true) or nothing was (false).
    #[arg(long, value_name = "BOOL")]
    pub degraded: Option<String>,
    /// By the policy with that content hash, as records name it.
    #[arg(long, value_name = "HASH")]
    pub policy: Option<String>,
}

impl FilterArgs {
    /// As a query.
    pub fn query(&self) -> anyhow::Result<Query> {
        let (mut query, now) = (Query::default(), SystemClock.now());
        let given = [
            ("from", &self.from),
            ("until", &self.until),
            ("customer", &self.customer),
            ("card", &self.card),
            ("merchant", &self.merchant),
            ("device", &self.device),
            ("transaction_id", &self.transaction_id),
            ("decision_id", &self.decision_id),
            ("outcome", &self.outcome),
            ("rule", &self.rule),
            ("reason", &self.reason),
            ("score_min", &self.score_min),
            ("score_max", &self.score_max),
            ("degraded", &self.degraded),
            ("policy", &self.policy),
        ];
        for (name, text) in given {
            if let Some(text) = text {
                query
                    .set(name, text, now)
                    .map_err(|error| anyhow!("--{}: {error}", name.replace('_', "-")))?;
            }
        }
        Ok(query)
    }
}
