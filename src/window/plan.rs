//! What one policy reads.

use std::time::Duration;

use thiserror::Error;

use crate::window::layout::{ENTITIES_MAX, Layout, Stream};

/// One aggregate over a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measure {
    /// How many.
    Count,
    /// Their total.
    Sum,
    /// Their mean.
    Mean,
    /// Their population standard deviation.
    Stddev,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// How far the present amount is from the mean of the earlier ones, in their standard deviations.
    ZScore,
    /// How many different values.
    Distinct {
        /// Of which attribute of the entity.
        attribute: u8,
    },
    /// How many labels say fraud.
    FraudCount,
    /// Which share of the labels say fraud.
    FraudRate,
}

/// Something since an earlier attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Since {
    /// Seconds since the last attempt.
    LastSeconds,
    /// Seconds since the first one.
    FirstSeconds,
    /// Kilometres an hour since the last located one.
    SpeedKmh,
    /// Kilometres from the last located one.
    DistanceKm,
}

/// What is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// An aggregate.
    Window(Stream, Measure, Duration),
    /// Something since an earlier attempt.
    Since(Since),
}

/// One value to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Read {
    /// Of which entity.
    pub entity: usize,
    /// What.
    pub subject: Subject,
    /// Into which output.
    pub output: usize,
}

impl Read {
    /// An aggregate over a window.
    pub const fn window(
        entity: usize,
        stream: Stream,
        measure: Measure,
        window: Duration,
        output: usize,
    ) -> Self {
        Self { entity, subject: Subject::Window(stream, measure, window), output }
    }

    /// Something since an earlier attempt.
    pub const fn since(entity: usize, since: Since, output: usize) -> Self {
        Self { entity, subject: Subject::Since(since), output }
    }
}

/// Why a plan does not fit its layout.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// Too many entities.
    #[error("the layout has {0} entities; a store has at most {ENTITIES_MAX}")]
    TooManyEntities(usize),
    /// A read of an entity or into an output that does not exist.
    #[error("read number {0} names an entity or an output that does not exist")]
    OutOfRange(usize),
    /// A read of an attribute that the layout does not record.
    #[error("read number {0} counts different values of an attribute that is not recorded")]
    UnknownAttribute(usize),
    /// A window that the layout does not keep events for.
    #[error("read number {0} has a window that is longer than the longest of its entity")]
    TooLong(usize),
}

/// All reads of one policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    pub(super) entities: Box<[EntityReads]>,
}

/// The reads of one entity.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct EntityReads {
    /// By stream; only streams that are read.
    pub(super) streams: Vec<StreamReads>,
    /// Since earlier attempts.
    pub(super) since: Vec<SinceRead>,
}

/// The reads of one stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct StreamReads {
    pub(super) stream: Stream,
    /// The attributes whose different values are counted.
    pub(super) attributes: Vec<u8>,
    /// The windows, shortest first.
    pub(super) windows: Vec<WindowReads>,
}

/// The reads of one window.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct WindowReads {
    pub(super) length_ms: i64,
    pub(super) reads: Vec<(Measure, usize)>,
}

/// One read since an earlier attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SinceRead {
    pub(super) since: Since,
    pub(super) output: usize,
}

/// A length of time in milliseconds.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Plan {
    /// Compiles reads for stores of `layout`; `outputs` is how many values they fill.
    pub fn compile(layout: &Layout, reads: &[Read], outputs: usize) -> Result<Self, PlanError> {
        if layout.entities.len() > ENTITIES_MAX {
            return Err(PlanError::TooManyEntities(layout.entities.len()));
        }
        let mut entities = vec![EntityReads::default(); layout.entities.len()];
        for (number, read) in reads.iter().enumerate() {
            let Some(entity) = layout.entities.get(read.entity).filter(|_| read.output < outputs) else {
                return Err(PlanError::OutOfRange(number));
            };
            match read.subject {
                Subject::Since(since) => {
                    entities[read.entity].since.push(SinceRead { since, output: read.output });
                }
                Subject::Window(_, _, window) if window > entity.longest_window => {
                    return Err(PlanError::TooLong(number));
                }
                Subject::Window(_, Measure::Distinct { attribute }, _)
                    if usize::from(attribute) >= entity.attributes.len() =>
                {
                    return Err(PlanError::UnknownAttribute(number));
                }
                Subject::Window(stream, measure, window) => {
                    entities[read.entity].add(stream, measure, millis(window), read.output);
                }
            }
        }
        Ok(Self { entities: entities.into() })
    }
}

impl EntityReads {
    fn add(&mut self, stream: Stream, measure: Measure, length_ms: i64, output: usize) {
        let position = self.streams.iter().position(|reads| reads.stream == stream).unwrap_or_else(|| {
            self.streams.push(StreamReads { stream, attributes: Vec::new(), windows: Vec::new() });
            self.streams.len() - 1
        });
        let reads = &mut self.streams[position];
        if let Measure::Distinct { attribute } = measure
            && !reads.attributes.contains(&attribute)
        {
            reads.attributes.push(attribute);
        }
        match reads.windows.binary_search_by_key(&length_ms, |window| window.length_ms) {
            Ok(found) => reads.windows[found].reads.push((measure, output)),
            Err(place) => {
                reads.windows.insert(place, WindowReads { length_ms, reads: vec![(measure, output)] });
            }
        }
    }
}
