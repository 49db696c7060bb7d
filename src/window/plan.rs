//! What one policy reads, checked against a layout and put into the order in which one pass over a key's events answers it.
//! Several plans may read one store over time, each compiled with the layout of that store.

use std::time::Duration;

use thiserror::Error;

use crate::domain::money::Currency;
use crate::window::compiled::{EntityPlan, Number};
use crate::window::layout::{Layout, LayoutError, Stream};

/// Most reads of one plan.
pub const READS_MAX: usize = 8_192;

/// A number over the events of one window.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Measure {
    /// How many events, in any currency.
    Count,
    /// The total amount, in major units.
    Sum,
    /// The mean amount, in major units.
    Mean,
    /// The standard deviation (population) of the amount, in major units.
    Stddev,
    /// The smallest amount, in major units.
    Min,
    /// The largest amount, in major units.
    Max,
    /// How many standard deviations the present amount lies above the mean of the earlier events.
    ZScore,
    /// How many different values of an attribute; attempts only.
    Distinct {
        /// Its position in `EntityLayout::attributes`.
        attribute: u8,
    },
    /// How many labels say fraud; labels only.
    FraudCount,
    /// The share of labels that say fraud, 0 to 1; labels only.
    FraudRate,
}

impl Measure {
    fn is_on(self, stream: Stream) -> bool {
        match self {
            Self::Count => true,
            Self::Distinct { .. } => stream == Stream::Attempts,
            Self::FraudCount | Self::FraudRate => stream == Stream::Labels,
            _ => stream != Stream::Labels,
        }
    }

    /// Whether it is taken over amounts.
    pub const fn is_over_amounts(self) -> bool {
        matches!(self, Self::Sum | Self::Mean | Self::Stddev | Self::Min | Self::Max | Self::ZScore)
    }
}

/// One aggregate to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WindowRead {
    /// The entity's position in the layout.
    pub entity: u8,
    /// What is counted.
    pub stream: Stream,
    /// Which number.
    pub measure: Measure,
    /// The window, 1 ms up to the entity's longest.
    pub window: Duration,
    /// Where in the output the number goes.
    pub output: usize,
}

/// An amount in any currency: ten-thousandths of the major unit, so that `2.50` is the same in all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Threshold(i64);

impl Threshold {
    /// Decimal places of a threshold: as many as the currency with the most has.
    const PLACES: usize = 4;

    /// Parses a decimal text such as `2.50`: at most 14 digits before the point and 4 after it. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > 14 || fraction.len() > Self::PLACES {
            return None;
        }
        if !is_number(whole) || !is_number(fraction) {
            return None;
        }
        format!("{whole}{fraction:0<4}").parse().ok().map(Self)
    }

    /// In minor units, rounded down.
    pub fn minor(self, currency: Currency) -> i64 {
        let places = Self::PLACES.saturating_sub(usize::from(currency.decimal_places()));
        self.0 / 10_i64.pow(u32::try_from(places).unwrap_or(0))
    }
}

/// One number about the attempts before the present one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SinceRead {
    /// The entity's position in the layout.
    pub entity: u8,
    /// Which number.
    pub measure: SinceMeasure,
    /// Where in the output the number goes.
    pub output: usize,
}

/// A number about the order of attempts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SinceMeasure {
    /// Seconds since the last earlier attempt, at most the entity's `ttl` back; at least 0.
    SecondsSinceLast,
    /// Seconds since the key was first seen in any stream and not forgotten since, at least 0; 0 when it is first seen now.
    SecondsSinceFirst,
    /// Speed in km/h since the last located attempt (impossible travel), over at least one second, at most `ttl` back.
    SpeedKmh,
    /// Great-circle distance in km from the last located attempt, at most `ttl` back.
    DistanceKm,
    /// Attempts of the running session, the present one included: each at most `gap` after the one before.
    SessionCount {
        /// The longest pause inside a session, 1 ms up to the entity's longest window.
        gap: Duration,
    },
    /// Seconds from the first attempt of the running session to the present one.
    SessionSeconds {
        /// See `SessionCount`.
        gap: Duration,
    },
    /// Card testing: how many earlier attempts of the window, in the present currency, were of at most `small`, when the present
    /// amount is at least `large`; else 0.
    SmallBeforeLarge {
        /// The window, 1 ms up to the entity's longest.
        window: Duration,
        /// What is tiny.
        small: Threshold,
        /// What is not.
        large: Threshold,
    },
}

impl SinceMeasure {
    /// How far it looks back beyond the last attempt.
    const fn span(self) -> Option<Duration> {
        match self {
            Self::SessionCount { gap } | Self::SessionSeconds { gap } => Some(gap),
            Self::SmallBeforeLarge { window, .. } => Some(window),
            _ => None,
        }
    }

    /// Whether it needs to know where attempts happened.
    pub const fn is_located(self) -> bool {
        matches!(self, Self::SpeedKmh | Self::DistanceKm)
    }
}

/// Why reads do not fit a layout.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// The layout itself is out of bounds.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Above `READS_MAX`.
    #[error("{0} aggregates; at most {READS_MAX} can be read")]
    TooManyReads(usize),
    /// No such entity.
    #[error("output {output}: there is no entity {entity}; the layout has {entities}")]
    UnknownEntity {
        /// The output of the read.
        output: usize,
        /// The entity asked for.
        entity: u8,
        /// How many there are.
        entities: usize,
    },
    /// No such attribute.
    #[error("output {output}: entity {entity} has no attribute {attribute}; the layout has {attributes}")]
    UnknownAttribute {
        /// The output of the read.
        output: usize,
        /// The entity's name.
        entity: Box<str>,
        /// The attribute asked for.
        attribute: u8,
        /// How many there are.
        attributes: usize,
    },
    /// Not 1 ms up to the entity's longest window.
    #[error("output {output}: entity {entity}: a window of {window:?}; give 1 ms to {longest:?}")]
    Window {
        /// The output of the read.
        output: usize,
        /// The entity's name.
        entity: Box<str>,
        /// The window asked for.
        window: Duration,
        /// The longest that the layout keeps events for.
        longest: Duration,
    },
    /// A measure that the stream does not have.
    #[error("output {output}: {measure:?} cannot be taken over {}", stream.name())]
    MeasureNotOnStream {
        /// The output of the read.
        output: usize,
        /// The measure.
        measure: Measure,
        /// The stream.
        stream: Stream,
    },
    /// A stream, or its amounts, that the layout does not keep.
    #[error("output {output}: entity {entity}: the layout does not remember {measure:?} over {}", stream.name())]
    NotRemembered {
        /// The output of the read.
        output: usize,
        /// The entity's name.
        entity: Box<str>,
        /// The measure.
        measure: Measure,
        /// The stream.
        stream: Stream,
    },
    /// A number that needs places, which the layout does not keep.
    #[error("output {output}: entity {entity}: the layout does not remember places, which {measure:?} needs")]
    PlacesNotRemembered {
        /// The output of the read.
        output: usize,
        /// The entity's name.
        entity: Box<str>,
        /// The measure.
        measure: SinceMeasure,
    },
    /// Past the end of the outputs.
    #[error("output {output} does not exist; there are {outputs}")]
    OutputOutOfRange {
        /// The output of the read.
        output: usize,
        /// How many there are.
        outputs: usize,
    },
    /// Two reads for one output.
    #[error("output {0} is written by two aggregates")]
    OutputTwice(usize),
}

/// What one policy reads from a store.
#[derive(Clone, Debug)]
pub struct Plan {
    outputs: usize,
    /// One for each entity of the layout.
    entities: Box<[EntityPlan]>,
}

impl Plan {
    /// Checks the reads against the layout and orders them. `outputs` is the length of the slice that the numbers go to; outputs
    /// that no read names are left alone.
    pub fn compile(
        layout: &Layout,
        windows: &[WindowRead],
        since: &[SinceRead],
        outputs: usize,
    ) -> Result<Self, PlanError> {
        layout.check()?;
        let reads = windows.len() + since.len();
        if reads > READS_MAX {
            return Err(PlanError::TooManyReads(reads));
        }
        let mut entities = vec![EntityPlan::default(); layout.entities.len()];
        let places = windows.iter().map(|read| (read.entity, read.output));
        for (entity, output) in places.chain(since.iter().map(|read| (read.entity, read.output))) {
            if output >= outputs {
                return Err(PlanError::OutputOutOfRange { output, outputs });
            }
            let plan = entities.get_mut(usize::from(entity)).ok_or(PlanError::UnknownEntity {
                output,
                entity,
                entities: layout.entities.len(),
            })?;
            plan.outputs.push(output);
        }
        let mut written: Vec<usize> = entities.iter().flat_map(|plan| plan.outputs.iter().copied()).collect();
        written.sort_unstable();
        if let Some(pair) = written.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(PlanError::OutputTwice(pair[0]));
        }
        for read in windows {
            check(layout, read)?;
        }
        for read in since {
            check_since(layout, read)?;
        }
        for (entity, plan) in entities.iter_mut().enumerate() {
            let reads: Vec<&WindowRead> =
                windows.iter().filter(|read| usize::from(read.entity) == entity).collect();
            plan.plan_windows(&reads);
            plan.since = since.iter().copied().filter(|read| usize::from(read.entity) == entity).collect();
            plan.located = plan.since.iter().any(|read| read.measure.is_located());
        }
        Ok(Self { outputs, entities: entities.into() })
    }

    /// The length of the slice that the numbers go to.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Outputs that are never below 0, each with what it is never above.
    pub fn never_below_zero(&self) -> Vec<(usize, f64)> {
        let mut found = Vec::new();
        for entity in self.entities() {
            found.extend(entity.since.iter().map(|read| (read.output, f64::INFINITY)));
            for window in &entity.windows {
                let counts = window.counts.iter().chain(&window.distinct);
                found.extend(counts.map(|(_, output)| (*output as usize, f64::INFINITY)));
                let rates = window.reads.iter().filter(|read| read.number == Number::FraudRate);
                found.extend(rates.map(|read| (read.output as usize, 1.0)));
            }
        }
        found
    }

    /// The reads of all entities, by position in the layout.
    pub(crate) fn entities(&self) -> &[EntityPlan] {
        &self.entities
    }
}

/// Checks a read whose entity is known to exist.
fn check(layout: &Layout, read: &WindowRead) -> Result<(), PlanError> {
    let &WindowRead { entity, stream, measure, window, output } = read;
    let Some(entity) = layout.entities.get(usize::from(entity)) else {
        return Err(PlanError::UnknownEntity { output, entity, entities: layout.entities.len() });
    };
    if window > entity.longest_window || window < Duration::from_millis(1) {
        let (entity, longest) = (entity.name.clone(), entity.longest_window);
        return Err(PlanError::Window { output, entity, window, longest });
    }
    if !measure.is_on(stream) {
        return Err(PlanError::MeasureNotOnStream { output, measure, stream });
    }
    if let Measure::Distinct { attribute } = measure
        && usize::from(attribute) >= entity.attributes.len()
    {
        let (entity, attributes) = (entity.name.clone(), entity.attributes.len());
        return Err(PlanError::UnknownAttribute { output, entity, attribute, attributes });
    }
    if let Measure::Distinct { attribute } = measure
        && let longest = entity.attributes[usize::from(attribute)].longest_window
        && window > longest
    {
        return Err(PlanError::Window { output, entity: entity.name.clone(), window, longest });
    }
    if !entity.holds(stream, measure.is_over_amounts()) {
        return Err(PlanError::NotRemembered { output, entity: entity.name.clone(), measure, stream });
    }
    Ok(())
}

/// Checks a read whose entity is known to exist.
fn check_since(layout: &Layout, read: &SinceRead) -> Result<(), PlanError> {
    let &SinceRead { measure, output, .. } = read;
    let Some(entity) = layout.entities.get(usize::from(read.entity)) else { return Ok(()) };
    if measure.is_located() && !entity.streams.places {
        return Err(PlanError::PlacesNotRemembered { output, entity: entity.name.clone(), measure });
    }
    let Some(window) = measure.span() else { return Ok(()) };
    let longest = entity.longest_window;
    if window > longest || window < Duration::from_millis(1) {
        return Err(PlanError::Window { output, entity: entity.name.clone(), window, longest });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::layout::{AttributeLayout, EntityLayout, Outcomes, Streams};

    fn layout() -> Layout {
        let card = EntityLayout {
            name: "card".into(),
            keys_max: 10,
            ttl: Duration::from_secs(100),
            longest_window: Duration::from_secs(60),
            attributes: ["device.ip", "device.id"]
                .map(|name| AttributeLayout { name: name.into(), longest_window: Duration::from_secs(30) })
                .into(),
            streams: Streams { labels: true, approved: Outcomes::Counted, ..Streams::ATTEMPTS },
        };
        Layout { entities: Box::new([card]) }
    }

    fn read(stream: Stream, measure: Measure, seconds: u64, output: usize) -> WindowRead {
        WindowRead { entity: 0, stream, measure, window: Duration::from_secs(seconds), output }
    }

    #[test]
    fn reads_that_do_not_fit_are_refused() {
        use Measure::{Count, Distinct, FraudRate, Sum};
        use Stream::{Approved, Attempts, Declined, Labels};
        let refused = |reads: &[WindowRead]| Plan::compile(&layout(), reads, &[], 2).unwrap_err().to_string();
        let cases = [
            (read(Attempts, Count, 61, 0), "output 0: entity card: a window of 61s; give 1 ms to 60s"),
            (read(Attempts, Count, 0, 0), "output 0: entity card: a window of 0ns; give 1 ms to 60s"),
            (read(Attempts, Count, 60, 2), "output 2 does not exist; there are 2"),
            (
                read(Attempts, Distinct { attribute: 1 }, 31, 1),
                "output 1: entity card: a window of 31s; give 1 ms to 30s",
            ),
            (
                read(Approved, Sum, 60, 1),
                "output 1: entity card: the layout does not remember Sum over approved",
            ),
            (
                read(Declined, Count, 60, 1),
                "output 1: entity card: the layout does not remember Count over declined",
            ),
            (
                read(Attempts, Distinct { attribute: 2 }, 60, 1),
                "output 1: entity card has no attribute 2; the layout has 2",
            ),
            (read(Labels, Sum, 60, 1), "output 1: Sum cannot be taken over labels"),
            (read(Attempts, FraudRate, 60, 1), "output 1: FraudRate cannot be taken over attempts"),
            (
                read(Approved, Distinct { attribute: 0 }, 60, 1),
                "output 1: Distinct { attribute: 0 } cannot be taken over approved",
            ),
            (
                WindowRead { entity: 1, ..read(Attempts, Count, 60, 1) },
                "output 1: there is no entity 1; the layout has 1",
            ),
        ];
        for (read, expected) in cases {
            assert_eq!(refused(&[read]), expected);
        }
        let twice = [read(Attempts, Count, 60, 1), read(Attempts, Count, 30, 1)];
        assert_eq!(refused(&twice), "output 1 is written by two aggregates");
    }

    #[test]
    fn a_threshold_is_the_same_in_all_currencies() {
        let minor = |text, code| Threshold::parse(text).unwrap().minor(Currency::parse(code).unwrap());
        let cases = [
            ("2.50", "EUR", 250),
            ("2.50", "JPY", 2),
            ("2.50", "KWD", 2_500),
            ("7", "EUR", 700),
            ("0", "EUR", 0),
        ];
        for (text, code, expected) in cases {
            assert_eq!(minor(text, code), expected, "{text} {code}");
        }
        for text in ["", ".5", "-1", "1.23456", "1e3", "123456789012345"] {
            assert_eq!(Threshold::parse(text), None, "{text}");
        }
    }

    #[test]
    fn each_window_says_what_is_still_needed() {
        let (ip, id) = (Measure::Distinct { attribute: 0 }, Measure::Distinct { attribute: 1 });
        let reads = [
            read(Stream::Attempts, Measure::Count, 60, 0),
            read(Stream::Attempts, ip, 10, 1),
            read(Stream::Attempts, Measure::Sum, 20, 2),
            read(Stream::Attempts, id, 30, 3),
            read(Stream::Attempts, Measure::Count, 10, 4),
        ];
        let plan = Plan::compile(&layout(), &reads, &[], 5).unwrap();
        let entity = &plan.entities()[0];
        assert_eq!(entity.attributes, [1, 0]);
        let shown: Vec<_> = entity
            .windows
            .iter()
            .map(|window| {
                let reads = window.counts.len() + window.distinct.len() + window.reads.len();
                (window.window_ms, window.needs.amounts, reads)
            })
            .collect();
        let expected = [(10_000, true, 2), (20_000, true, 1), (30_000, false, 1), (60_000, false, 1)];
        assert_eq!(shown, expected);
    }
}
