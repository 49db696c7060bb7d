//! How far the numbers of busy keys are from the truth: the busiest merchants of the Zipf fill, and one address under attack.
//!
//! Of a busy key old events are known in groups and many different values by a sample. Each window that the shipped catalogue reads of
//! such a key is read as an attempt is about to be added, in a dry run, and compared with what a plain list says. Events come for half
//! as long again as the fill, and the last third of them is compared, so that the longest window has events before it.

use std::sync::Arc;
use std::time::Duration;

use tollgate::window::event::{Attempt, Presence};
use tollgate::window::layout::Stream;
use tollgate::window::plan::{Measure, Plan, WindowRead};
use tollgate::window::store::WindowStore;

use super::options::Options;
use super::plain_list::PlainList;
use crate::report::Section;
use crate::support::measure::Spread;
use crate::support::reads::{EntityReads, Reads};
use crate::support::workload::{Distribution, ENTITIES, Event, Generator, Workload};

/// The busiest of all merchants that are looked at.
const MERCHANTS: u64 = 20;
/// From one compared attempt to the next; a prime, so as not to keep step with anything in the store.
const ATTEMPTS_PER_PROBE: u64 = 499;
/// The newest events of a stream and currency that the store promises to know one by one.
const EXACT_EVENTS: usize = 128;
/// Different values of an attribute that it promises to know one by one.
const EXACT_VALUES: u64 = 8_192;
/// What it promises of counts and sums beyond that, in percent.
const BOUND_PERCENT: f64 = 100.0 / 128.0;

/// Keys of one entity that are compared.
struct Hot<'a> {
    name: &'static str,
    /// In `ENTITIES`.
    entity: usize,
    /// Keys numbered below are.
    keys: u64,
    reads: &'a EntityReads,
    workload: Arc<Workload>,
}

/// What was found for one number.
#[derive(Default)]
struct Errors {
    truths: Vec<f64>,
    percents: Vec<f64>,
    /// How often the number had to be exact.
    exact: usize,
    mismatches: usize,
}

impl Errors {
    fn compare(&mut self, actual: f64, truth: f64, is_exact: bool) {
        self.truths.push(truth);
        self.percents.push((actual - truth).abs() / truth * 100.0);
        self.exact += usize::from(is_exact);
        self.mismatches += usize::from(is_exact && actual.to_bits() != truth.to_bits());
    }

    fn quantile(&self, quantile: f64) -> f64 {
        let last = self.percents.len().saturating_sub(1);
        let position = (self.percents.len() as f64 * quantile) as usize;
        self.percents.get(position.min(last)).copied().unwrap_or(f64::NAN)
    }
}

/// A row for each number of each window.
pub(crate) fn section(options: &Options, reads: &Reads) -> Section {
    let columns = &[
        "keys",
        "number",
        "window",
        "truth_median",
        "error_rms_percent",
        "error_p50_percent",
        "error_p99_percent",
        "error_max_percent",
        "probes",
        "probes_exact",
        "mismatches",
    ];
    let title = "busy keys against plain lists, events in order; probes_exact are those where the store promises the very number";
    let mut section = Section::new("accuracy", title.to_owned(), columns);
    let of =
        |name: &str| ENTITIES.iter().position(|entity| *entity == name).expect("an entity of the workload");
    let merchants = Workload::new(&reads.layout, options.users, Distribution::Zipf)
        .with_attempts_per_user(options.attempts_per_user);
    let (mut mismatches, mut exact, mut over_bound) = (0, 0, 0);
    for (name, entity, keys, workload) in [
        ("busiest_merchants", of("merchant"), MERCHANTS, merchants),
        ("address_under_attack", of("ip"), 1, Workload::of_attack(&reads.layout)),
    ] {
        let hot = Hot { name, entity, keys, reads: &reads.entities[entity], workload: Arc::new(workload) };
        eprintln!("comparing {} with plain lists", hot.name);
        let plan = plan_of(&hot, reads);
        for (read, mut errors) in plan.iter().zip(compare(&hot, reads, &plan)) {
            errors.percents.sort_unstable_by(f64::total_cmp);
            let squares: f64 = errors.percents.iter().map(|percent| percent * percent).sum();
            section.row([
                hot.name.into(),
                number_name(read, &hot, reads).as_str().into(),
                window_name(read.window).as_str().into(),
                Spread::of(errors.truths.iter().copied()).median.into(),
                (squares / errors.percents.len() as f64).sqrt().into(),
                errors.quantile(0.5).into(),
                errors.quantile(0.99).into(),
                errors.quantile(1.0).into(),
                errors.percents.len().into(),
                errors.exact.into(),
                errors.mismatches.into(),
            ]);
            (mismatches, exact) = (mismatches + errors.mismatches, exact + errors.exact);
            if !matches!(read.measure, Measure::Distinct { .. }) {
                over_bound += errors.percents.iter().filter(|&&percent| percent > BOUND_PERCENT).count();
            }
        }
    }
    section.note(format!("{mismatches} mismatches in {exact} numbers that have to be exact"));
    section.note(format!("{over_bound} counts and sums off by more than 1/128 ({BOUND_PERCENT:.2} percent)"));
    section
}

/// Counts and sums over every window that the catalogue has of the entity, and its distinct counts.
fn plan_of(hot: &Hot<'_>, reads: &Reads) -> Vec<WindowRead> {
    let entity = reads.layout.entity_position(ENTITIES[hot.entity]).expect("the catalogue has the entity");
    let of_window = hot.reads.windows.iter().flat_map(|window| {
        let distinct = window.reads.iter().map(|&(measure, _)| measure);
        let distinct = distinct.filter(|measure| matches!(measure, Measure::Distinct { .. }));
        let measures = [Measure::Count, Measure::Sum].into_iter().chain(distinct);
        measures.map(|measure| (measure, window.window_ms))
    });
    let mut reads: Vec<_> = of_window
        .map(|(measure, window_ms)| WindowRead {
            entity,
            stream: Stream::Attempts,
            measure,
            window: Duration::from_millis(window_ms.unsigned_abs()),
            output: 0,
        })
        .collect();
    let order = |measure: Measure| match measure {
        Measure::Count => (0, 0),
        Measure::Sum => (1, 0),
        Measure::Distinct { attribute } => (2, attribute),
        _ => (3, 0),
    };
    reads.sort_by_key(|read| (order(read.measure), read.window));
    (0..).zip(&mut reads).for_each(|(output, read)| read.output = output);
    reads
}

/// Errors of each read.
fn compare(hot: &Hot<'_>, reads: &Reads, wanted: &[WindowRead]) -> Vec<Errors> {
    let plan = Plan::compile(&reads.layout, wanted, &[], wanted.len()).expect("a sound plan");
    let store = WindowStore::new(Arc::clone(&reads.layout));
    let mut lists: Vec<PlainList> = (0..hot.keys).map(|_| PlainList::default()).collect();
    let mut errors: Vec<Errors> = wanted.iter().map(|_| Errors::default()).collect();
    let mut out = vec![f64::NAN; wanted.len()];
    let mut generator = Generator::of_fill(&hot.workload);
    let mut added = 0_u64;
    while generator.number() < hot.workload.attempts / 2 * 3 {
        let event = generator.next();
        let Some(list) = lists.get_mut(event.numbers[hot.entity] as usize) else { continue };
        let attempt = at_one_entity(&event, hot.reads.position);
        let attributes = &attempt.attributes[hot.reads.attribute_offset..][..hot.reads.attributes.len()];
        added += 1;
        if event.number >= hot.workload.attempts && added.is_multiple_of(ATTEMPTS_PER_PROBE) {
            store.observe(&plan, &attempt, Presence::Virtual, &mut out);
            let truths = truths(list, &attempt, attributes, wanted);
            for ((errors, &actual), (truth, is_exact)) in errors.iter_mut().zip(&out).zip(truths) {
                errors.compare(actual, truth, is_exact);
            }
        }
        list.push(&attempt, attributes);
        store.add(&attempt);
    }
    errors
}

/// The attempt as if it had one key only: no other is held, nothing else takes memory.
fn at_one_entity(event: &Event, entity: usize) -> Attempt {
    let mut attempt = event.attempt.clone();
    for (position, key) in attempt.keys.iter_mut().enumerate() {
        *key = key.take().filter(|_| position == entity);
    }
    attempt
}

/// What each read has to say, and whether the store promises to say just that.
fn truths(
    list: &PlainList,
    attempt: &Attempt,
    attributes: &[u64],
    wanted: &[WindowRead],
) -> Vec<(f64, bool)> {
    let window_ms = |read: &WindowRead| i64::try_from(read.window.as_millis()).expect("at most 400 days");
    let of_one_kind = wanted.chunk_by(|one, next| one.measure == next.measure);
    let truths = of_one_kind.flat_map(|reads| -> Vec<(f64, bool)> {
        if let Measure::Distinct { attribute } = reads[0].measure {
            let windows: Vec<i64> = reads.iter().map(window_ms).collect();
            let counts = list.distinct(attempt, attributes, attribute.into(), &windows);
            return counts.into_iter().map(|count| (count as f64, count <= EXACT_VALUES)).collect();
        }
        let of_read = |read: &WindowRead| {
            let truth = list.window(attempt, window_ms(read));
            let number = if read.measure == Measure::Sum { truth.sum } else { truth.count as f64 };
            (number, truth.most_of_a_currency <= EXACT_EVENTS)
        };
        reads.iter().map(of_read).collect()
    });
    truths.collect()
}

fn number_name(read: &WindowRead, hot: &Hot<'_>, reads: &Reads) -> String {
    match read.measure {
        Measure::Count => "count".to_owned(),
        Measure::Sum => "sum".to_owned(),
        Measure::Distinct { attribute } => {
            let attributes = &reads.layout.entities[hot.reads.position].attributes;
            format!("distinct {}", attributes[usize::from(attribute)].name)
        }
        other => format!("{other:?}"),
    }
}

/// As it stands in the catalogue.
fn window_name(window: Duration) -> String {
    let minutes = window.as_secs() / 60;
    match minutes {
        _ if minutes.is_multiple_of(1_440) => format!("{}d", minutes / 1_440),
        _ if minutes.is_multiple_of(60) => format!("{}h", minutes / 60),
        _ => format!("{minutes}m"),
    }
}
