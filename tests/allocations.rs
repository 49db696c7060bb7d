//! What a decision allocates, stage by stage and in the whole service, counted by the allocator and held to bounds.
//!
//! Counted is the thread that decides: what it takes for itself and hands to others. What the log's writer, the search index and other
//! threads take after that is not. An allocation that grows counts as one, with the bytes by which it grows.
//!
//! `cargo test --test allocations -- --nocapture` prints what was counted beside the bounds.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(
    unsafe_code,
    reason = "an allocator is unsafe by its nature; this one hands everything on to the system's"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tollgate::audit::writer::Ack;
use tollgate::domain::time::{Clock, SystemClock};
use tollgate::domain::transaction::Transaction;
use tollgate::engine::settings::Effort;
use tollgate::enrich::embedded::EmbeddedProfiles;
use tollgate::enrich::profiles::Profiles;
use tollgate::enrich::record::ProfileRecord;
use tollgate::enrich::source::ProfileSource;
use tollgate::pipeline::ip::IpSettings;
use tollgate::pipeline::privacy::PrivacySettings;
use tollgate::pipeline::service::Service;
use tollgate::pipeline::settings::{OnAuditFailure, OnBacklog, ServiceSettings};
use tollgate::pipeline::shadow::ShadowSettings;
use tollgate::pipeline::start::{LogSettings, Parts};
use tollgate::wire::transaction::TransactionJson;

use crate::stages::inputs::{Inputs, MISSING, Payments, Size, shipped_files};
use crate::stages::work::{OPERATIONS, Work};

#[allow(dead_code, reason = "the benches use the rest")]
#[path = "../benches/stages/mod.rs"]
mod stages;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often each stage is done.
const TIMES: usize = 250;
/// As many payments a customer as the benches have, of fewer customers: nothing is optimised here.
const SIZE: Size = Size { customers: CUSTOMERS, payments: 1_250 };
/// Of the decisions, those that allocate the most are left out, in percent: now and then a map grows, or a key is new.
const LEFT_OUT_PERCENT: usize = 5;
/// Decisions of the service before those that are counted.
const WARM_DECISIONS: usize = 500;
const CUSTOMERS: u32 = 100;
const PATIENCE: Duration = Duration::from_secs(60);

/// What a stage may allocate for a decision: the mean over those that are not left out.
struct Bound {
    stage: &'static str,
    allocations: f64,
    bytes: f64,
}

const fn at_most(stage: &'static str, allocations: f64, bytes: f64) -> Bound {
    Bound { stage, allocations, bytes }
}

const STAGES: [Bound; 11] = [
    at_most("parse", 21.0, 1_400.0),
    at_most("windows", 8.0, 2_950.0),
    at_most("features", 0.0, 0.0),
    at_most("model", 0.0, 0.0),
    at_most("attributions", 0.0, 0.0),
    at_most("rules", 1.0, 60.0),
    at_most("judge", 23.0, 2_850.0),
    at_most("audit body", 16.0, 17_700.0),
    at_most("audit frame", 0.0, 0.0),
    at_most("audit body and frame", 16.0, 17_700.0),
    at_most("decision in process", 31.0, 5_700.0),
];
/// From the bytes of a request to the bytes of its answer, with the profiles of customer and card in the embedded store.
const SERVICE: Bound = at_most("service", 120.0, 42_200.0);

/// Allocations and bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Taken {
    allocations: u64,
    bytes: u64,
}

thread_local! {
    static TAKEN: Cell<Taken> = const { Cell::new(Taken { allocations: 0, bytes: 0 }) };
}

struct Counting;

impl Counting {
    fn count(bytes: usize) {
        // A thread that is ending has no count any more.
        let _ = TAKEN.try_with(|taken| {
            let Taken { allocations, bytes: before } = taken.get();
            taken.set(Taken { allocations: allocations + 1, bytes: before + bytes as u64 });
        });
    }
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size());
        // SAFETY: the caller's promises are those that the system's allocator asks for; so below.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        Self::count(bytes.saturating_sub(layout.size()));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

/// What this thread allocates while it does something.
fn taken<T>(work: impl FnOnce() -> T) -> (Taken, T) {
    let before = TAKEN.get();
    let result = work();
    let after = TAKEN.get();
    let allocations = after.allocations - before.allocations;
    (Taken { allocations, bytes: after.bytes - before.bytes }, result)
}

impl Bound {
    /// Adds to `report` what was counted, and to `wrong` what is too much.
    fn hold(&self, mut counted: Vec<Taken>, report: &mut String, wrong: &mut Vec<String>) {
        counted.sort_unstable();
        counted.truncate(counted.len() * (100 - LEFT_OUT_PERCENT) / 100);
        let mean = |of: fn(&Taken) -> u64| counted.iter().map(of).sum::<u64>() as f64 / counted.len() as f64;
        let stage = self.stage;
        for (what, found, bound) in [
            ("allocations", mean(|taken| taken.allocations), self.allocations),
            ("bytes", mean(|taken| taken.bytes), self.bytes),
        ] {
            let _ = writeln!(report, "{stage:22} {found:8.1} {what:11} of at most {bound:6.0}");
            if found > bound {
                wrong.push(format!("{stage}: {found:.1} {what} a decision, and at most {bound:.0} may be"));
            }
        }
    }
}

fn hold_all(counted: impl IntoIterator<Item = (&'static Bound, Vec<Taken>)>) {
    let (mut report, mut wrong) = (String::new(), Vec::new());
    for (bound, counted) in counted {
        bound.hold(counted, &mut report, &mut wrong);
    }
    println!("{report}");
    assert!(wrong.is_empty(), "{}\n\nwhat was counted:\n{report}", wrong.join("\n"));
}

#[test]
fn stages_allocate_no_more_than_their_bounds() {
    let inputs = Inputs::new(SIZE);
    let cases = inputs.cases(TIMES);
    let counted = OPERATIONS.iter().map(|operation| {
        let bound =
            STAGES.iter().find(|bound| bound.stage == operation.name).expect("a bound for each stage");
        let of_all = cases.iter().map(|case| match operation.work {
            Work::Case(run) => taken(|| run(&inputs, case)).0,
            Work::Windows(run) => {
                let windows = case.windows.clone();
                taken(|| run(&inputs, case, windows, &mut |_| {})).0
            }
            Work::Payment(run) => {
                let payment = inputs.payment();
                let (taken, (counted, outcome)) = taken(|| run(&inputs, &payment, &mut |_| {}));
                inputs.state.record_outcome(&counted, outcome);
                taken
            }
        });
        (bound, of_all.collect())
    });
    hold_all(counted);
}

/// What a service has of a customer and of a card.
fn profiles(payment: &Transaction) -> Vec<ProfileRecord> {
    let customer = payment.customer.id.iter().map(|id| {
        let fields = [("lifetime_orders", "25"), ("chargebacks", "0"), ("last_country", "DE")];
        ("customer", id.as_str(), fields.to_vec())
    });
    let card = payment.card.fingerprint.iter().map(|id| ("card", id.as_str(), vec![("chargebacks", "0")]));
    customer
        .chain(card)
        .map(|(entity, id, fields)| {
            let fields = fields.into_iter().map(|(name, value)| (name, Some(value)));
            ProfileRecord::new(entity, id, fields).expect("a sound profile")
        })
        .collect()
}

#[test]
fn a_service_allocates_no_more_than_its_bound() {
    let data = tempfile::tempdir().expect("a directory");
    let parts = Parts {
        data: data.path().to_owned(),
        files: shipped_files(),
        missing: MISSING,
        settings: ServiceSettings {
            deadline_default: PATIENCE,
            enrich_timeout_max: PATIENCE,
            // The simulator's payments have times of their own.
            clock_skew_max: Duration::from_hours(24 * 365 * 100),
            in_flight_max: 8,
            decisions_max: 100_000,
            on_audit_failure: OnAuditFailure::Refuse,
            on_backlog: OnBacklog::Fail,
        },
        log: LogSettings {
            ack: Ack::Process,
            commit_interval: Duration::from_millis(5),
            segment_bytes_max: 64 << 20,
            queue_max: 1_024,
        },
        shadow: ShadowSettings::default(),
        ip: IpSettings::default(),
        privacy: PrivacySettings::default(),
        snapshot_interval: None,
    };
    let payments: Vec<Transaction> = Payments::of(CUSTOMERS).take(WARM_DECISIONS + TIMES).collect();
    let store = EmbeddedProfiles::open(data.path()).expect("a store");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(store.put_many(payments.iter().flat_map(profiles).collect())).expect("profiles");
    let service = Service::start(parts, Profiles::Embedded(store), Arc::new(SystemClock)).expect("a service");
    let counted = payments.iter().map(|payment| {
        let request = serde_json::to_vec(&TransactionJson(payment)).expect("JSON");
        let decision = service.decide(&request, None, None, SystemClock.instant(), Effort::Full);
        let (taken, answer) = taken(|| runtime.block_on(decision));
        answer.expect("a decision");
        taken
    });
    let counted = counted.skip(WARM_DECISIONS).collect();
    hold_all([(&SERVICE, counted)]);
    service.close(PATIENCE).expect("the log is whole");
}
