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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WindowPlan {
    pub(crate) window_ms: i64,
    pub(crate) needs: Needs,
    /// Where plain counts go, as (position in `Tally::counts`, output).
    pub(crate) counts: Vec<(u32, u32)>,
    /// Where distinct counts go, as (position in `EntityPlan::attributes`, output).
    pub(crate) distinct: Vec<(u32, u32)>,
    /// The other numbers.
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
}

/// Positions in `Tally::counts`: the order of the bits of `flag`.
pub(crate) mod counted {
    pub(crate) const ATTEMPTS: usize = 0;
    pub(crate) const APPROVED: usize = 1;
    pub(crate) const DECLINED: usize = 2;
    pub(crate) const LABELS: usize = 3;
    pub(crate) const FRAUDS: usize = 4;
    pub(crate) const ALL: usize = 5;
}

/// One number of one window that is more than a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutputRead {
    pub(crate) number: Number,
    pub(crate) output: u32,
}

/// A measure of a stream, in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    FraudRate,
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

impl WindowPlan {
    /// One more read that has been checked.
    fn ask_for(&mut self, read: &WindowRead, attributes: &[u8]) {
        // At most `READS_MAX` outputs.
        let output = u32::try_from(read.output).unwrap_or(u32::MAX);
        let of_stream = |over| match read.stream {
            Stream::Approved => Number::OfApproved(over),
            Stream::Declined => Number::OfDeclined(over),
            Stream::Attempts | Stream::Labels => Number::OfAttempts(over),
        };
        let number = match read.measure {
            Measure::Sum => of_stream(OverAmounts::Sum),
            Measure::Mean => of_stream(OverAmounts::Mean),
            Measure::Stddev => of_stream(OverAmounts::Stddev),
            Measure::Min => of_stream(OverAmounts::Min),
            Measure::Max => of_stream(OverAmounts::Max),
            Measure::ZScore => of_stream(OverAmounts::ZScore),
            Measure::FraudRate => Number::FraudRate,
            Measure::Distinct { attribute } => {
                // All attributes that are asked for are there.
                let position = (0..).zip(attributes).find(|&(_, &known)| known == attribute);
                self.distinct.extend(position.map(|(position, _)| (position, output)));
                return;
            }
            Measure::Count | Measure::FraudCount => {
                let counted = match (read.measure, read.stream) {
                    (Measure::FraudCount, _) => counted::FRAUDS,
                    (_, Stream::Attempts) => counted::ATTEMPTS,
                    (_, Stream::Approved) => counted::APPROVED,
                    (_, Stream::Declined) => counted::DECLINED,
                    (_, Stream::Labels) => counted::LABELS,
                };
                self.counts.push((u32::try_from(counted).unwrap_or(u32::MAX), output));
                return;
            }
        };
        self.reads.push(OutputRead { number, output });
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
        let plan_window = |&window_ms: &i64| {
            let needs = Needs {
                amounts: asks_from(window_ms, &|read| {
                    read.stream == Stream::Attempts && read.measure.is_over_amounts()
                }),
                outcome_amounts: asks_from(window_ms, &|read| {
                    read.stream != Stream::Attempts && read.measure.is_over_amounts()
                }),
                extremes: asks_from(window_ms, &|read| matches!(read.measure, Measure::Min | Measure::Max)),
            };
            let mut window = WindowPlan { window_ms, needs, ..WindowPlan::default() };
            for read in reads.iter().filter(|read| millis(read.window) == window_ms) {
                window.ask_for(read, &self.attributes);
            }
            window
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
