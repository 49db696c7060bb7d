//! Reads put into the order in which one pass over a key's events answers them.

use crate::window::layout::{Stream, millis};
use crate::window::plan::{Measure, SinceRead, WindowRead};

/// The reads of one entity.
#[derive(Clone, Debug, Default)]
pub(crate) struct EntityPlan {
    /// Ascending by length, no length twice.
    pub(crate) windows: Vec<WindowPlan>,
    /// The attributes that distinct counts are taken over, the one with the longest window first.
    pub(crate) attributes: Vec<u8>,
    pub(crate) since: Vec<SinceRead>,
    /// Whether any of `since` needs the last located attempt.
    pub(crate) located: bool,
    pub(crate) outputs: Vec<usize>,
}

/// The reads of one window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WindowPlan {
    pub(crate) window_ms: i64,
    pub(crate) needs: Needs,
    pub(crate) reads: Vec<OutputRead>,
}

/// What this window or a longer one asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Amounts of attempts.
    pub(crate) amounts: bool,
    /// Amounts of approved or declined transactions.
    pub(crate) outcome_amounts: bool,
    /// The smallest or the largest of them.
    pub(crate) extremes: bool,
    /// How many of `EntityPlan::attributes`.
    pub(crate) attributes: usize,
}

/// One number of one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutputRead {
    pub(crate) number: Number,
    pub(crate) output: u32,
}

/// A measure of a stream, in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Attempts,
    Approved,
    Declined,
    Labels,
    Frauds,
    FraudRate,
    /// By position in `EntityPlan::attributes`.
    Distinct(u8),
    /// Over the amounts of attempts, the present one included.
    OfAttempts(OverAmounts),
    /// Over the amounts of approved transactions.
    OfApproved(OverAmounts),
    /// Over the amounts of declined transactions.
    OfDeclined(OverAmounts),
}

/// A measure over amounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverAmounts {
    Sum,
    Mean,
    Stddev,
    Min,
    Max,
    ZScore,
}

impl OutputRead {
    /// Of a read that has been checked.
    fn new(read: &WindowRead, attributes: &[u8]) -> Self {
        let over = match read.measure {
            Measure::Sum => Some(OverAmounts::Sum),
            Measure::Mean => Some(OverAmounts::Mean),
            Measure::Stddev => Some(OverAmounts::Stddev),
            Measure::Min => Some(OverAmounts::Min),
            Measure::Max => Some(OverAmounts::Max),
            Measure::ZScore => Some(OverAmounts::ZScore),
            _ => None,
        };
        let number = match (read.stream, read.measure, over) {
            (_, Measure::Distinct { attribute }, _) => {
                // No more positions than attributes, which are numbered by a u8.
                let position = attributes.iter().position(|&known| known == attribute);
                Number::Distinct(position.and_then(|position| u8::try_from(position).ok()).unwrap_or(u8::MAX))
            }
            (_, Measure::FraudCount, _) => Number::Frauds,
            (_, Measure::FraudRate, _) => Number::FraudRate,
            (Stream::Attempts, _, Some(over)) => Number::OfAttempts(over),
            (Stream::Approved, _, Some(over)) => Number::OfApproved(over),
            (Stream::Declined, _, Some(over)) => Number::OfDeclined(over),
            (Stream::Attempts, _, None) => Number::Attempts,
            (Stream::Approved, _, None) => Number::Approved,
            (Stream::Declined, _, None) => Number::Declined,
            (Stream::Labels, _, _) => Number::Labels,
        };
        Self { number, output: u32::try_from(read.output).unwrap_or(u32::MAX) }
    }
}

impl EntityPlan {
    pub(crate) fn plan_windows(&mut self, reads: &[&WindowRead]) {
        let mut lengths: Vec<i64> = reads.iter().map(|read| millis(read.window)).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let mut longest_by_attribute: Vec<(i64, u8)> = Vec::new();
        for read in reads {
            let Measure::Distinct { attribute } = read.measure else { continue };
            let length = millis(read.window);
            match longest_by_attribute.iter_mut().find(|(_, known)| *known == attribute) {
                Some((longest, _)) => *longest = length.max(*longest),
                None => longest_by_attribute.push((length, attribute)),
            }
        }
        longest_by_attribute.sort_unstable_by(|a, b| b.cmp(a));
        self.attributes = longest_by_attribute.iter().map(|&(_, attribute)| attribute).collect();
        let asks_from = |window_ms: i64, asks: &dyn Fn(&WindowRead) -> bool| {
            reads.iter().any(|read| millis(read.window) >= window_ms && asks(read))
        };
        let plan_window = |&window_ms: &i64| WindowPlan {
            window_ms,
            needs: Needs {
                amounts: asks_from(window_ms, &|read| {
                    read.stream == Stream::Attempts && read.measure.is_over_amounts()
                }),
                outcome_amounts: asks_from(window_ms, &|read| {
                    read.stream != Stream::Attempts && read.measure.is_over_amounts()
                }),
                extremes: asks_from(window_ms, &|read| matches!(read.measure, Measure::Min | Measure::Max)),
                attributes: longest_by_attribute.partition_point(|&(longest, _)| longest >= window_ms),
            },
            reads: reads
                .iter()
                .filter(|read| millis(read.window) == window_ms)
                .map(|read| OutputRead::new(read, &self.attributes))
                .collect(),
        };
        self.windows = lengths.iter().map(plan_window).collect();
    }

    /// Writes NaN to every output.
    pub(crate) fn write_missing(&self, out: &mut [f64]) {
        for &output in &self.outputs {
            write(out, output, f64::NAN);
        }
    }
}

/// Writes one output. One past the end of a slice that is shorter than the plan's `outputs` is let go.
pub(crate) fn write(out: &mut [f64], output: usize, number: f64) {
    if let Some(place) = out.get_mut(output) {
        *place = number;
    }
}
