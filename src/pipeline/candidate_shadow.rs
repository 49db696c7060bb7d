//! What the candidate says of a live decision: decided again, on the shadow thread, from the very values that it was made from.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use smallvec::SmallVec;

use crate::audit::record::DecisionRecord;
use crate::domain::label::Label;
use crate::domain::time::EventTime;
use crate::domain::transaction::Transaction;
use crate::evaluation::again;
use crate::evaluation::report::BacktestReport;
use crate::evaluation::rule_tally::rules_of;
use crate::evaluation::said::{Before, Differences, Said};
use crate::evaluation::tally::{Against, JudgedRow};
use crate::evaluation::truth::{IdHash, Unlabelled};
use crate::feature::vector::FeatureVector;
use crate::pipeline::candidate::Candidate;
use crate::pipeline::policy::Refusal;
use crate::pipeline::remembered::{REMEMBERED_MAX, Remembered};
use crate::pipeline::service::Service;
use crate::pipeline::shadow_metrics::ShadowMetrics;
use crate::rules::run_time::RunTimeLists;

/// A live decision as the candidate needs it.
#[derive(Debug)]
pub(crate) struct CandidateSeen {
    pub(crate) candidate: Arc<Candidate>,
    pub(crate) transaction: Transaction,
    pub(crate) record: DecisionRecord,
    /// What stood on lists at run time when the live decision was made.
    pub(crate) lists: Arc<RunTimeLists>,
}

/// What candidates decided, of the one that decides now.
#[derive(Debug, Default)]
pub(crate) struct CandidateBook {
    of: Option<Arc<Candidate>>,
    remembered: Remembered,
}

impl CandidateBook {
    /// The candidate decides. `features` is what the live decision was made from.
    pub(crate) fn decide(
        book: &Mutex<Self>,
        seen: &CandidateSeen,
        features: &FeatureVector,
        metrics: &ShadowMetrics,
    ) {
        let CandidateSeen { candidate, transaction, record, lists } = seen;
        if record.answer.versions.features != candidate.policy.catalogue.sha256 {
            return; // the live policy was changed a moment ago: the candidate that fits is about to come
        }
        let judgement = again::decide(
            &candidate.policy,
            transaction,
            features,
            &record.enrichment,
            record.ip.clone(),
            lists,
            again::effort(record),
        );
        metrics.count_candidate(record.answer.decision, judgement.outcome);
        let before = Before {
            said: Said::recorded(record),
            differences: Differences::from_record(record, &judgement),
        };
        let missing: SmallVec<[&'static str; 2]> = judgement.missing.iter().map(|part| part.name()).collect();
        let row = JudgedRow::new(transaction, None, &judgement, Some(before));
        let mut book = book.lock();
        if book.of.as_ref().is_none_or(|of| !Arc::ptr_eq(of, candidate)) {
            *book = Self { of: Some(Arc::clone(candidate)), remembered: Remembered::default() };
        }
        book.remembered.add(&row, missing);
    }

    /// A label became known.
    pub(crate) fn tell(&mut self, told: &Told) {
        self.remembered.tell(told.transaction, told.label.occurred_at, told.label.verdict);
    }
}

/// A label on its way to the remembered decisions.
#[derive(Debug)]
pub(crate) struct Told {
    transaction: IdHash,
    label: Label,
}

impl Told {
    pub(crate) fn new(label: &Label) -> Self {
        Self { transaction: IdHash::of(label.transaction_id.as_str()), label: label.clone() }
    }
}

/// What `GET /v1/rules/candidate` answers.
#[derive(Clone, Debug, Serialize)]
pub struct CandidateStatus {
    /// The directory of its rules.
    pub directory: String,
    /// The content hash of the rules that decide beside the live ones; absent when none could be read yet.
    pub rules: Option<Box<str>>,
    /// Since when, RFC 3339.
    pub since: Option<String>,
    /// Why the last change was refused; absent when it was not. The rules before go on.
    pub refused: Option<Refusal>,
    /// Most decisions that the report is over: the last ones.
    pub decisions_max: usize,
    /// What it decided: live decisions are `before`, its own are `after`.
    pub report: Option<BacktestReport>,
}

impl Service {
    /// The candidate and its report; `None` when there is no candidate to be. Blocks while the report is made.
    pub fn candidate_status(&self, samples: usize, unlabelled: Unlabelled) -> Option<CandidateStatus> {
        let keeper = &self.candidates;
        let directory = keeper.directory()?.display().to_string();
        let current = keeper.current();
        let report = current.as_ref().map(|candidate| {
            let snapshot = self.shadow.candidate_snapshot(candidate);
            let live = self.policies.live();
            let live_rules = rules_of(&live.policy).into_iter().map(|rule| rule.id).collect();
            let against = Against { rules: live_rules, ..Against::recorded() }.samples(samples);
            let elapsed = elapsed_since(candidate.since, self.clock.now());
            snapshot.report(&candidate.policy, against, directory.clone(), unlabelled, elapsed)
        });
        Some(CandidateStatus {
            rules: current.as_ref().map(|candidate| candidate.policy.versions.rules.clone()),
            since: current.as_ref().map(|candidate| candidate.since.to_string()),
            refused: keeper.refused(),
            decisions_max: REMEMBERED_MAX,
            directory,
            report,
        })
    }
}

fn elapsed_since(since: EventTime, now: EventTime) -> std::time::Duration {
    let passed = now.unix_millis().saturating_sub(since.unix_millis());
    std::time::Duration::from_millis(u64::try_from(passed).unwrap_or(0))
}

impl CandidateBook {
    /// The decisions of a candidate as they are now; none of another one.
    pub(crate) fn snapshot(&self, candidate: &Arc<Candidate>) -> crate::pipeline::remembered::Snapshot {
        if self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, candidate)) {
            self.remembered.snapshot()
        } else {
            Remembered::default().snapshot()
        }
    }
}
