//! An index against the log that it was made from: whatever is asked, and whatever of it is missing, damaged or only in memory, it
//! finds what reading everything finds.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::audit::bodies::Bodies;
use crate::audit::follow::{Ending, Follower, Work as _};
use crate::audit::frame::{Header, Kind};
use crate::audit::mark::MARK_FILE;
use crate::audit::open::{LogOptions, OpenedLog};
use crate::audit::reader::LogReader;
use crate::audit::receipt::{LogId, Receipt};
use crate::audit::segment::list_segments;
use crate::audit::writer::{LogHandle, LogWriter, WriterOptions};
use crate::domain::time::{EventTime, SystemClock};
use crate::search::facts::Facts;
use crate::search::key::SearchKey;
use crate::search::live::{Indexer, LiveIndex};
use crate::search::log_search::LogSearch;
use crate::search::parts::list;
use crate::search::query::Query;
use crate::search::run::Stretch;

const KEY: SearchKey = SearchKey::new([5; 32]);
const LOG: LogId = LogId([7; 16]);
const BEGIN_MS: i64 = 1_792_497_600_000;
const OUTCOMES: [&str; 4] = ["APPROVE", "REVIEW", "CHALLENGE", "BLOCK"];

/// A record of a log, in small numbers.
#[derive(Clone, Debug)]
enum Made {
    Decision {
        customer: u8,
        card: Option<u8>,
        outcome: u8,
        score: Option<u8>,
        rule: Option<u8>,
        degraded: bool,
        at: u16,
    },
    /// Of the transaction of an earlier record, by how many records before.
    Label(u8),
    /// Of an earlier decision.
    Review(u8),
    Other,
    /// A decision that nobody can read.
    Broken,
}

fn made() -> impl Strategy<Value = Made> {
    let decision = (0..6_u8, proptest::option::of(0..4_u8), 0..4_u8, proptest::option::of(0..=10_u8));
    let decision = (decision, proptest::option::of(0..3_u8), any::<bool>(), 0..500_u16);
    let decision = decision.prop_map(|((customer, card, outcome, score), rule, degraded, at)| {
        Made::Decision { customer, card, outcome, score, rule, degraded, at }
    });
    prop_oneof![
        12 => decision,
        2 => (0..20_u8).prop_map(Made::Label),
        2 => (0..20_u8).prop_map(Made::Review),
        1 => Just(Made::Other),
        1 => Just(Made::Broken),
    ]
}

fn transaction_of(sequence: u64) -> String {
    // Some payments are decided twice.
    format!("t{}", sequence - sequence % 2)
}

fn score(tenths: u8) -> f64 {
    f64::from(tenths) / 10.0
}

impl Made {
    fn record(&self, sequence: u64) -> (Kind, i64, Value) {
        let before = |back: u8| sequence.saturating_sub(u64::from(back)).max(1);
        match *self {
            Self::Decision { customer, card, outcome, score: tenths, rule, degraded, at } => {
                let hits: Vec<Value> = rule.iter().map(|rule| json!({"rule": format!("r{rule}")})).collect();
                let reasons: Vec<Value> =
                    rule.iter().map(|rule| json!({"code": format!("why{rule}"), "source": "rule"})).collect();
                let card = card.map_or(json!({}), |card| json!({"fingerprint": format!("fp_{card}")}));
                let body = json!({
                    "decision_id": format!("dec_{sequence}"), "transaction_id": transaction_of(sequence),
                    "decision": OUTCOMES[usize::from(outcome)], "reason": "default", "reasons": reasons,
                    "score": tenths.map(score), "risk_level": "low", "challenge": null, "degraded": degraded, "missing": [],
                    "versions": {"rules": "sha256:01", "model": null, "features": "sha256:02"},
                    "idempotency_key": transaction_of(sequence), "fingerprint": "00", "received_at_ms": BEGIN_MS,
                    "state_sequence": 0, "enrichment": [], "features": [], "margin": null, "hits": hits,
                    "policy": format!("sha256:{}", sequence / 20),
                    "latency_us": {"total": 1, "parse": 0, "enrich": 0, "windows": 0, "model": 0, "explain": 0, "rules": 0, "audit": 0},
                    "transaction": {"transaction_id": transaction_of(sequence), "occurred_at": "2026-10-20T12:00:00.000Z",
                        "amount": {"value": 100, "currency": "EUR"}, "customer": {"id": format!("c_{customer}")}, "card": card},
                });
                (Kind::Decision, i64::from(at), body)
            }
            Self::Label(back) => {
                let label = json!({"transaction_id": transaction_of(before(back)), "label": "fraud", "kind": "chargeback",
                    "occurred_at": "2026-10-21T12:00:00.000Z"});
                (Kind::Label, 0, json!({"label": label}))
            }
            Self::Review(back) => {
                let decision = before(back);
                let body = json!({"decision_id": format!("dec_{decision}"), "sequence": decision,
                    "transaction_id": transaction_of(decision), "verdict": "fraud",
                    "occurred_at": "2026-10-21T12:00:00.000Z", "note": "why", "by": "ops"});
                (Kind::Review, 0, body)
            }
            Self::Other => (Kind::ListChange, 0, json!({"change": "add"})),
            Self::Broken => (Kind::Decision, 0, json!({"decision": "BLOCK"})),
        }
    }
}

fn write(log: &Path, records: &[Made], first: u64) {
    let now = EventTime::from_unix_millis(BEGIN_MS).unwrap();
    let options = LogOptions { segment_bytes_max: 9_000, ..LogOptions::default() };
    let opened = OpenedLog::open(log, LOG, now, options).unwrap();
    let handle: LogHandle<()> = LogWriter::start(
        opened,
        WriterOptions::default(),
        Box::new(|group| drop(group)),
        Box::new(|group| drop(group)),
    )
    .unwrap();
    let mut last = None;
    for (made, sequence) in records.iter().zip(first..) {
        let (kind, at, body) = made.record(sequence);
        let at = EventTime::from_unix_millis(BEGIN_MS + at).unwrap();
        last = Some(handle.reserve().unwrap().commit(kind, at, serde_json::to_vec(&body).unwrap(), ()));
    }
    last.map(|last| last.wait_blocking().unwrap());
    handle.close(Duration::from_secs(20)).unwrap();
}

/// A query in small numbers.
#[derive(Clone, Debug)]
struct Asked {
    customer: Option<u8>,
    card: Option<u8>,
    outcome: Option<u8>,
    rule: Option<u8>,
    reason: bool,
    scores: (Option<u8>, Option<u8>),
    degraded: Option<bool>,
    times: (Option<u16>, Option<u16>),
    transaction: Option<u8>,
    page: usize,
}

fn asked() -> impl Strategy<Value = Asked> {
    let seldom = |values: std::ops::Range<u8>| proptest::option::weighted(0.3, values);
    let keys = (seldom(0..7), seldom(0..5), seldom(0..4), seldom(0..4), any::<bool>(), seldom(0..120));
    let scores = (seldom(0..11), seldom(0..11));
    let time = || proptest::option::weighted(0.2, 0..500_u16);
    let rest = (scores, proptest::option::weighted(0.2, any::<bool>()), (time(), time()), 1..6_usize);
    (keys, rest).prop_map(
        |((customer, card, outcome, rule, reason, transaction), (scores, degraded, times, page))| Asked {
            customer,
            card,
            outcome,
            rule,
            reason,
            scores,
            degraded,
            times,
            transaction,
            page,
        },
    )
}

impl Asked {
    fn query(&self) -> Query {
        let (mut query, now) = (Query::default(), EventTime::from_unix_millis(BEGIN_MS).unwrap());
        let time = |at: Option<u16>| {
            at.map(|at| EventTime::from_unix_millis(BEGIN_MS + i64::from(at)).unwrap().to_string())
        };
        let rule = if self.reason { "reason" } else { "rule" };
        let rule_value = self.rule.map(|it| if self.reason { format!("why{it}") } else { format!("r{it}") });
        for (name, value) in [
            ("customer", self.customer.map(|it| format!("c_{it}"))),
            ("card", self.card.map(|it| format!("fp_{it}"))),
            ("outcome", self.outcome.map(|it| OUTCOMES[usize::from(it)].to_owned())),
            (rule, rule_value),
            ("score_min", self.scores.0.map(|it| score(it).to_string())),
            ("score_max", self.scores.1.map(|it| score(it).to_string())),
            ("degraded", self.degraded.map(|it| it.to_string())),
            ("from", time(self.times.0)),
            ("until", time(self.times.1)),
            ("transaction_id", self.transaction.map(|it| format!("t{it}"))),
            ("limit", Some(self.page.to_string())),
        ] {
            if let Some(value) = value {
                query.set(name, &value, now).unwrap();
            }
        }
        query
    }

    /// The naive oracle: by what was made, not by what was written.
    fn expected(&self, records: &[Made]) -> Vec<u64> {
        let takes = |sequence: u64, made: &Made| {
            let Made::Decision { customer, card, outcome, score, rule, degraded, at } = *made else {
                return false;
            };
            self.customer.is_none_or(|it| it == customer)
                && self.card.is_none_or(|it| Some(it) == card)
                && self.outcome.is_none_or(|it| it == outcome)
                && self.rule.is_none_or(|it| Some(it) == rule)
                && self.scores.0.is_none_or(|min| score.is_some_and(|it| it >= min))
                && self.scores.1.is_none_or(|max| score.is_some_and(|it| it <= max))
                && self.degraded.is_none_or(|it| it == degraded)
                && self.times.0.is_none_or(|from| at >= from)
                && self.times.1.is_none_or(|until| at < until)
                && self.transaction.is_none_or(|it| format!("t{it}") == transaction_of(sequence))
        };
        let mut found: Vec<u64> = (1..)
            .zip(records)
            .filter(|(sequence, made)| takes(*sequence, made))
            .map(|(sequence, _)| sequence)
            .collect();
        found.reverse();
        found
    }
}

/// All pages, one after the other.
fn all_pages(mut query: Query, search: impl Fn(&Query) -> crate::search::run::Found) -> Vec<u64> {
    let mut all = Vec::new();
    loop {
        let found = search(&query);
        assert!(found.hits.len() <= query.limit);
        all.extend(found.hits.iter().map(|hit| hit.sequence));
        let Some(next) = found.next else { return all };
        assert_eq!(found.hits.len(), query.limit, "only a full page has a next one");
        query.before = next;
    }
}

/// What befalls an index.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    None,
    Removed(u8),
    Flipped(u8, u16),
    Cut(u8),
}

impl Mishap {
    fn befall(self, directory: &Path) {
        let parts = list(directory).unwrap();
        let part = |number: u8| -> Option<PathBuf> {
            let first = *parts.get(usize::from(number) % parts.len().max(1))?;
            Some(crate::search::file::part_path(directory, first))
        };
        match self {
            Self::None => {}
            Self::Removed(number) => drop(part(number).map(|path| std::fs::remove_file(path).unwrap())),
            Self::Flipped(number, at) => {
                if let Some(path) = part(number) {
                    let mut bytes = std::fs::read(&path).unwrap();
                    let place = usize::from(at) % bytes.len();
                    bytes[place] ^= 1;
                    std::fs::write(path, bytes).unwrap();
                }
            }
            Self::Cut(number) => {
                if let Some(path) = part(number) {
                    let bytes = std::fs::read(&path).unwrap();
                    std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
                }
            }
        }
    }
}

fn mishap() -> impl Strategy<Value = Mishap> {
    prop_oneof![
        Just(Mishap::None),
        any::<u8>().prop_map(Mishap::Removed),
        (any::<u8>(), any::<u16>()).prop_map(|(number, at)| Mishap::Flipped(number, at)),
        any::<u8>().prop_map(Mishap::Cut),
    ]
}

/// The thread's rounds.
struct Rounds {
    index: Arc<LiveIndex>,
    follower: Follower,
    indexer: Indexer,
}

impl Rounds {
    fn new(index: &Arc<LiveIndex>) -> Self {
        let clock = Arc::new(SystemClock);
        let through = index.status().through;
        let follower = Follower::after(index.searcher().log(), LOG, through, clock.clone());
        Self { index: Arc::clone(index), follower, indexer: Indexer::new(Arc::clone(index), clock) }
    }

    /// Until all is indexed, and nothing is damaged.
    fn until(&mut self, settled: u64) {
        let is_whole = |stretch: &Stretch| !matches!(stretch, Stretch::File(part) if part.is_damaged());
        for _ in 0..1_000 {
            self.indexer.round(&mut self.follower, settled, &Ending::default()).unwrap();
            let status = self.index.status();
            if status.through >= settled && status.is_whole && self.index.stretches().iter().all(is_whole) {
                return;
            }
        }
        panic!("the index never came to record {settled}: {:?}", self.index.status());
    }
}

/// Tells the index of the records whose bit is set, as their writer does.
fn tell(index: &LiveIndex, log: &Path, told: u8) {
    let mut reader = LogReader::from_sequence_or_oldest(log, 1).unwrap();
    while let Some(stored) = reader.next().unwrap() {
        let Header { sequence, kind, recorded_at, .. } = stored.header;
        if told & (1 << (sequence % 8)) != 0
            && let Ok(facts) = Facts::read(index.searcher().bodies(), &stored)
        {
            let receipt = Receipt { sequence, hash: stored.hash, position: stored.position, recorded_at };
            index.note_written(kind, &receipt, facts);
        }
    }
}

fn check(
    records: &[Made],
    later: &[Made],
    queries: &[Asked],
    mishap: Mishap,
    told: u8,
) -> Result<(), TestCaseError> {
    let directory = tempfile::tempdir().unwrap();
    let (log, parts) = (directory.path().join("log"), directory.path().join("search"));
    write(&log, records, 1);
    let go_on = |_: u64| ControlFlow::Continue(());
    // Nothing is indexed, then everything, then what comes after is not, then something is wrong with it.
    let without = LogSearch::open(&log, &parts, Some(KEY)).unwrap();
    let made = without.build(&parts, |_| ControlFlow::Continue(())).unwrap();
    prop_assert_eq!(made, list_segments(&log).unwrap().len());
    write(&log, later, records.len() as u64 + 1);
    let all = [records, later].concat();
    mishap.befall(&parts);
    let with = LogSearch::open(&log, &parts, Some(KEY)).unwrap();
    for asked in queries {
        let expected = asked.expected(&all);
        for search in [&without, &with] {
            let found = all_pages(asked.query(), |query| {
                search.searcher.search(&search.stretches, query, go_on).unwrap()
            });
            prop_assert_eq!(&found, &expected, "{:?}", asked);
        }
    }
    // A service makes what is missing, and gathers the end in memory.
    let index = LiveIndex::open(&parts, &log, LOG, KEY, Bodies::beside(&log).unwrap()).unwrap();
    tell(&index, &log, told);
    let mut rounds = Rounds::new(&index);
    rounds.until(all.len() as u64);
    for asked in queries {
        let found = all_pages(asked.query(), |query| index.search(query).unwrap());
        prop_assert_eq!(&found, &asked.expected(&all), "{:?}", asked);
        // What it found damaged while it was asked, it makes again.
        rounds.until(all.len() as u64);
    }
    let mut open: Vec<u64> = (1..)
        .zip(&all)
        .filter(|(_, made)| matches!(made, Made::Decision { outcome: 1, .. }))
        .map(|(sequence, _)| sequence)
        .collect();
    for (sequence, made) in (1_u64..).zip(&all) {
        if let Made::Review(back) = made {
            open.retain(|it| *it != sequence.saturating_sub(u64::from(*back)).max(1));
        }
    }
    prop_assert_eq!(index.open_reviews(0, 1_000).0, open, "the queue");
    check_ids(&all, &with, &index)
}

/// Decisions by their ids, and what became known of them later.
fn check_ids(all: &[Made], with: &LogSearch, index: &LiveIndex) -> Result<(), TestCaseError> {
    for (sequence, made) in (1_u64..).zip(all) {
        let is_decision = matches!(made, Made::Decision { .. });
        let id = format!("dec_{sequence}");
        let by_id = index.find(&id).unwrap().map(|found| found.sequence);
        prop_assert_eq!(by_id, is_decision.then_some(sequence));
        if sequence % 7 != 0 || !is_decision {
            continue;
        }
        let transaction = transaction_of(sequence);
        let newest = (1_u64..).zip(all).rfind_last(|it, made| {
            matches!(made, Made::Decision { .. }) && transaction_of(it) == transaction
        });
        let found = with
            .searcher
            .find(&with.stretches, std::slice::from_ref(&transaction), |_| ControlFlow::Continue(()));
        prop_assert_eq!(found.unwrap()[0].as_ref().map(|found| found.sequence), newest);
        let later = |kind: fn(&Made, u64, u64) -> bool| -> Vec<u64> {
            (1_u64..).zip(all).filter(|(at, made)| kind(made, *at, sequence)).map(|(at, _)| at).collect()
        };
        let labels = later(
            |made, at, of| matches!(made, Made::Label(back) if transaction_of(at.saturating_sub(u64::from(*back)).max(1)) == transaction_of(of)),
        );
        let reviews = later(
            |made, at, of| matches!(made, Made::Review(back) if at.saturating_sub(u64::from(*back)).max(1) == of),
        );
        let dossier = index.dossier(LOG, sequence).unwrap().unwrap();
        let sequences =
            |later: &[crate::search::dossier::Later]| later.iter().map(|it| it.sequence).collect::<Vec<_>>();
        prop_assert_eq!((sequences(&dossier.labels), sequences(&dossier.reviews)), (labels, reviews));
    }
    prop_assert!(index.dossier(LOG, all.len() as u64 + 1).unwrap().is_none());
    Ok(())
}

trait RfindLast {
    fn rfind_last(self, takes: impl Fn(u64, &Made) -> bool) -> Option<u64>;
}

impl<'a, I: Iterator<Item = (u64, &'a Made)>> RfindLast for I {
    fn rfind_last(self, takes: impl Fn(u64, &Made) -> bool) -> Option<u64> {
        self.filter(|(sequence, made)| takes(*sequence, made)).last().map(|(sequence, _)| sequence)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn it_finds_what_reading_everything_finds(
        records in proptest::collection::vec(made(), 1..120),
        later in proptest::collection::vec(made(), 0..40),
        queries in proptest::collection::vec(asked(), 6),
        mishap in mishap(),
        told in any::<u8>(),
    ) {
        check(&records, &later, &queries, mishap, told)?;
    }
}

#[test]
fn parts_of_another_log_or_secret_or_of_a_lost_end_are_not_used() {
    let decision = |customer| Made::Decision {
        customer,
        card: None,
        outcome: 0,
        score: None,
        rule: None,
        degraded: false,
        at: 0,
    };
    let directory = tempfile::tempdir().unwrap();
    let (log, parts) = (directory.path().join("log"), directory.path().join("search"));
    write(&log, &vec![decision(1); 30], 1);
    LogSearch::open(&log, &parts, Some(KEY)).unwrap().build(&parts, |_| ControlFlow::Continue(())).unwrap();
    let coverage =
        |key: [u8; 32]| LogSearch::open(&log, &parts, Some(SearchKey::new(key))).unwrap().coverage();
    let whole = coverage([5; 32]);
    assert_eq!((whole.records, whole.has_holes), (30, false));
    assert_eq!(coverage([6; 32]).parts, 0, "another secret");

    // The log's last segment is lost, and others come in its place.
    let last = *list_segments(&log).unwrap().last().unwrap();
    std::fs::remove_file(crate::audit::segment::segment_path(&log, last)).unwrap();
    std::fs::remove_file(log.join(MARK_FILE)).unwrap();
    write(&log, &[decision(2), decision(3)], last);
    let search = LogSearch::open(&log, &parts, Some(KEY)).unwrap();
    assert_eq!(search.coverage().records, last - 1, "{:?}", search.refused);
    assert_eq!(search.refused.len(), 1);
    let mut query = Query::default();
    query.set("customer", "c_3", EventTime::from_unix_millis(BEGIN_MS).unwrap()).unwrap();
    let found = search.searcher.search(&search.stretches, &query, |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(found.hits.iter().map(|hit| hit.sequence).collect::<Vec<_>>(), [last + 1]);
}

fn reviewed(at: u16) -> Made {
    Made::Decision { customer: 1, card: None, outcome: 1, score: None, rule: None, degraded: false, at }
}

#[test]
fn open_reviews_leave_the_queue_with_their_segments_and_not_at_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (log, parts) = (directory.path().join("log"), directory.path().join("search"));
    let mut records: Vec<Made> = (0..40).map(|number| reviewed(number * 10)).collect();
    records.push(Made::Review(39));
    write(&log, &records, 1);
    let segments = list_segments(&log).unwrap();
    let open = || LiveIndex::open(&parts, &log, LOG, KEY, Bodies::beside(&log).unwrap()).unwrap();
    let index = open();
    Rounds::new(&index).until(41);
    let all: Vec<u64> = (1..=40).filter(|sequence| *sequence != 2).collect();
    assert_eq!(index.open_reviews(0, 100), (all.clone(), 39));
    // By part: from the one on that holds the moment.
    assert_eq!(index.oldest_open_review(0), Some(1));
    assert_eq!(
        index.oldest_open_review(BEGIN_MS + i64::try_from(segments[1]).unwrap() * 10),
        Some(segments[1])
    );
    let in_memory = *segments.last().unwrap();
    assert_eq!(index.oldest_open_review(i64::MAX), Some(in_memory).filter(|it| *it <= 40));

    std::fs::remove_file(crate::audit::segment::segment_path(&log, 1)).unwrap();
    index.prune().unwrap();
    let left: Vec<u64> = all.iter().copied().filter(|sequence| *sequence >= segments[1]).collect();
    assert_eq!(index.open_reviews(0, 100), (left.clone(), left.len()));
    assert_eq!(index.status().forgotten_reviews, (all.len() - left.len()) as u64);
    drop(index);
    let index = open();
    Rounds::new(&index).until(41);
    assert_eq!(index.open_reviews(0, 100), (left.clone(), left.len()), "the same after a restart");
}

#[test]
fn no_value_stands_in_a_part_in_clear() {
    let directory = tempfile::tempdir().unwrap();
    let (log, parts) = (directory.path().join("log"), directory.path().join("search"));
    let decision = Made::Decision {
        customer: 3,
        card: Some(2),
        outcome: 1,
        score: Some(5),
        rule: Some(1),
        degraded: false,
        at: 7,
    };
    write(&log, &vec![decision; 50], 1);
    LogSearch::open(&log, &parts, Some(KEY)).unwrap().build(&parts, |_| ControlFlow::Continue(())).unwrap();
    for first in list(&parts).unwrap() {
        let bytes = std::fs::read(crate::search::file::part_path(&parts, first)).unwrap();
        for value in ["c_3", "fp_2", "dec_", "why1", "REVIEW"] {
            assert!(memchr::memmem::find(&bytes, value.as_bytes()).is_none(), "{value}");
        }
    }
}
