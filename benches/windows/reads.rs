//! What the shipped catalogue asks of a window store: compiled for Tollgate's own, and as plain lists for the others.
//!
//! The plain lists are read from the same file. That they mean the same is shown by `check`, which compares every number.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use serde_saphyr::Spanned;
use tollgate::domain::field::Field;
use tollgate::domain::value::parse_duration;
use tollgate::feature::catalogue::Catalogue;
use tollgate::feature::file::{CatalogueFile, DerivedEntry, WindowEntry, parse};
use tollgate::feature::naming::window_feature;
use tollgate::window::layout::{EntityLayout, Layout, Stream};
use tollgate::window::plan::{Measure, Plan, SinceMeasure, SinceRead, Threshold};

use super::workload::ENTITIES;

/// Most attempts that the other contestants keep of one key. Without a bound, each read of the busiest merchant would scan
/// hundreds of thousands of events: this one favours them.
pub(crate) const EVENTS_PER_KEY_MAX: usize = 16_384;

/// The name of an aggregate in the file, what it measures, and the windows it is taken over.
type Aggregate<'a> = (&'static str, Option<Measure>, &'a [Spanned<String>]);

/// What is read for one event.
#[derive(Debug)]
pub(crate) struct Reads {
    pub(crate) layout: Arc<Layout>,
    pub(crate) plan: Plan,
    /// The length of the slice that numbers go to.
    pub(crate) outputs: usize,
    /// In the order of `workload::ENTITIES`.
    pub(crate) entities: Vec<EntityReads>,
}

/// What is read of one entity.
#[derive(Debug)]
pub(crate) struct EntityReads {
    /// In the layout.
    pub(crate) position: usize,
    pub(crate) attribute_offset: usize,
    /// For each attribute, in how many of `windows`, from the shortest on, it has to be looked at.
    pub(crate) attributes: Vec<usize>,
    pub(crate) longest_ms: i64,
    pub(crate) ttl_ms: i64,
    /// Over attempts, the shortest first.
    pub(crate) windows: Vec<Window>,
    pub(crate) approved: Vec<CountRead>,
    pub(crate) declined: Vec<CountRead>,
    pub(crate) fraud_counts: Vec<CountRead>,
    pub(crate) fraud_rates: Vec<CountRead>,
    pub(crate) since: Vec<SinceRead>,
    /// Whether any of `since` looks at where the last attempt was.
    pub(crate) is_located: bool,
}

/// One window over attempts: which numbers are taken, and to which outputs they go.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) window_ms: i64,
    pub(crate) reads: Vec<(Measure, usize)>,
}

/// One number over another stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CountRead {
    pub(crate) window_ms: i64,
    pub(crate) output: usize,
}

impl Reads {
    /// Reads `models/features.yaml`, with room for the keys of that many users.
    pub(crate) fn of_shipped_catalogue(users: u32) -> Arc<Self> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/features.yaml");
        let text = std::fs::read_to_string(&file).expect("the shipped catalogue");
        let keys_max = u64::from(users).max(500_000) * 4;
        let max_keys = Regex::new("max_keys: [0-9_]+").expect("a pattern");
        let text = max_keys.replace_all(&text, format!("max_keys: {keys_max}"));
        let catalogue = Catalogue::compile(&file, &text).expect("the shipped catalogue is sound");
        let written = parse(&file, &text).expect("the shipped catalogue is sound");
        let entities = ENTITIES.map(|entity| EntityReads::of(&catalogue, &written, entity));
        Arc::new(Self {
            layout: Arc::clone(&catalogue.layout),
            outputs: catalogue.plan.outputs(),
            plan: catalogue.plan,
            entities: entities.into(),
        })
    }

    /// How many numbers are read for one event.
    pub(crate) fn count(&self) -> usize {
        let of = |entity: &EntityReads| {
            let windows: usize = entity.windows.iter().map(|window| window.reads.len()).sum();
            let counts = [&entity.approved, &entity.declined, &entity.fraud_counts, &entity.fraud_rates];
            windows + counts.iter().map(|reads| reads.len()).sum::<usize>() + entity.since.len()
        };
        self.entities.iter().map(of).sum()
    }

    /// Outputs before anything is read.
    pub(crate) fn missing(&self) -> Vec<f64> {
        vec![f64::NAN; self.outputs]
    }
}

impl EntityReads {
    fn of(catalogue: &Catalogue, written: &CatalogueFile, name: &str) -> Self {
        let layout = &catalogue.layout;
        let number = layout.entity_position(name).expect("the catalogue has the entity");
        let position = usize::from(number);
        let EntityLayout { longest_window, ttl, attributes, .. } = &layout.entities[position];
        let mut reads = Self {
            position,
            attribute_offset: layout.attribute_offset(position),
            attributes: vec![0; attributes.len()],
            longest_ms: millis(*longest_window),
            ttl_ms: millis(*ttl),
            windows: vec![],
            approved: vec![],
            declined: vec![],
            fraud_counts: vec![],
            fraud_rates: vec![],
            since: vec![],
            is_located: false,
        };
        let mut windows = BTreeMap::new();
        for entry in written.windows.iter().map(|entry| &entry.value).filter(|entry| entry.entity == name) {
            reads.add_windows(catalogue, number, entry, &mut windows);
        }
        for entry in written.derived.iter().map(|entry| &entry.value) {
            reads.add_derived(catalogue, name, number, entry, &mut windows);
        }
        reads.windows = windows.into_iter().map(|(window_ms, reads)| Window { window_ms, reads }).collect();
        for (position, window) in reads.windows.iter().enumerate() {
            for (measure, _) in &window.reads {
                if let Measure::Distinct { attribute } = measure {
                    reads.attributes[usize::from(*attribute)] = position + 1;
                }
            }
        }
        reads
    }

    fn add_windows(
        &mut self,
        catalogue: &Catalogue,
        number: u8,
        entry: &WindowEntry,
        windows: &mut BTreeMap<i64, Vec<(Measure, usize)>>,
    ) {
        let stream = match entry.stream.as_str() {
            "attempts" => Stream::Attempts,
            "approved" => Stream::Approved,
            "declined" => Stream::Declined,
            _ => Stream::Labels,
        };
        let of = entry.of.as_deref().and_then(Field::parse).map(|(field, _)| field);
        let attribute = of.and_then(|of| catalogue.layout.attribute_position(number, of.name()));
        let distinct = attribute.map(|attribute| Measure::Distinct { attribute });
        let aggregates: [Aggregate<'_>; 8] = [
            ("count", Some(Measure::Count), &entry.count),
            ("sum", Some(Measure::Sum), &entry.sum),
            ("mean", Some(Measure::Mean), &entry.mean),
            ("stddev", Some(Measure::Stddev), &entry.stddev),
            ("min", Some(Measure::Min), &entry.min),
            ("max", Some(Measure::Max), &entry.max),
            ("distinct", distinct, &entry.distinct),
            ("rate", Some(Measure::FraudRate), &entry.rate),
        ];
        for (aggregate, measure, lengths) in aggregates {
            for length in lengths {
                let of = if aggregate == "count" { None } else { of };
                let fraud_only = entry.only.is_some();
                let name = window_feature(&entry.entity, stream, fraud_only, of, aggregate, &length.value);
                let output = catalogue.slot(&name).expect("the catalogue has the feature");
                let window_ms = millis(parse_duration(&length.value).expect("a length of time"));
                let read = CountRead { window_ms, output };
                match (stream, measure) {
                    (Stream::Attempts, Some(measure)) => {
                        windows.entry(window_ms).or_default().push((measure, output));
                    }
                    (Stream::Approved, Some(Measure::Count)) => self.approved.push(read),
                    (Stream::Declined, Some(Measure::Count)) => self.declined.push(read),
                    (Stream::Labels, Some(Measure::Count)) if fraud_only => self.fraud_counts.push(read),
                    (Stream::Labels, Some(Measure::FraudRate)) => self.fraud_rates.push(read),
                    _ => panic!("{name} is nothing that the other contestants know: teach them"),
                }
            }
        }
    }

    fn add_derived(
        &mut self,
        catalogue: &Catalogue,
        name: &str,
        number: u8,
        entry: &DerivedEntry,
        windows: &mut BTreeMap<i64, Vec<(Measure, usize)>>,
    ) {
        let output = catalogue.slot(&entry.name.value).expect("the catalogue has the feature");
        let is_own = |entity: &Option<String>| entity.as_deref() == Some(name);
        if entry.zscore.is_some() && is_own(&entry.entity) {
            let window = entry.window.as_deref().expect("a z-score has a window");
            let window_ms = millis(parse_duration(window).expect("a length of time"));
            windows.entry(window_ms).or_default().push((Measure::ZScore, output));
        }
        let span = |text: &Option<String>| text.as_deref().and_then(|text| parse_duration(text).ok());
        let (gap, window) = (span(&entry.gap).unwrap_or_default(), span(&entry.window).unwrap_or_default());
        let threshold = |text: &Option<String>| text.as_deref().and_then(Threshold::parse);
        let measures = [
            (&entry.since_last, Some(SinceMeasure::SecondsSinceLast)),
            (&entry.since_first, Some(SinceMeasure::SecondsSinceFirst)),
            (&entry.impossible_travel, Some(SinceMeasure::SpeedKmh)),
            (&entry.distance_km, Some(SinceMeasure::DistanceKm)),
            (&entry.session_count, Some(SinceMeasure::SessionCount { gap })),
            (&entry.session_seconds, Some(SinceMeasure::SessionSeconds { gap })),
            (
                &entry.card_testing,
                threshold(&entry.small)
                    .zip(threshold(&entry.large))
                    .map(|(small, large)| SinceMeasure::SmallBeforeLarge { window, small, large }),
            ),
        ];
        for (entity, measure) in measures {
            if let Some(measure) = measure.filter(|_| is_own(entity)) {
                self.since.push(SinceRead { entity: number, measure, output });
                self.is_located |= matches!(measure, SinceMeasure::SpeedKmh | SinceMeasure::DistanceKm);
            }
        }
    }

    /// How far back attempts have to be looked at.
    pub(crate) fn span_ms(&self) -> i64 {
        if self.since.is_empty() { self.longest_ms } else { self.longest_ms.max(self.ttl_ms) }
    }
}

pub(crate) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).expect("at most 400 days")
}
