//! The truth about one key: every attempt in a list, from which each number is recomputed.

use std::collections::HashSet;

use tollgate::domain::money::{Currency, minor_to_major};
use tollgate::window::event::Attempt;

/// Attempts of one key, in the order of their time.
#[derive(Default, Debug)]
pub(crate) struct PlainList {
    times: Vec<i64>,
    /// The attributes of the key's entity, attempt after attempt.
    attributes: Vec<u64>,
    lanes: Vec<Lane>,
}

/// The attempts in one currency.
#[derive(Debug)]
struct Lane {
    currency: Currency,
    times: Vec<i64>,
    /// The sum up to and with each, in minor units.
    sums: Vec<i128>,
}

impl Lane {
    /// Attempts at or before a time.
    fn count_until(&self, at: i64) -> usize {
        self.times.partition_point(|&time| time <= at)
    }

    fn sum_of_first(&self, count: usize) -> i128 {
        count.checked_sub(1).map_or(0, |last| self.sums[last])
    }
}

/// What one window holds, the present attempt included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Truth {
    /// In all currencies.
    pub(crate) count: u64,
    /// In the currency of the present attempt, in major units.
    pub(crate) sum: f64,
    /// Earlier attempts in the currency that has most of them.
    pub(crate) most_of_a_currency: usize,
}

impl PlainList {
    /// Adds an attempt that is no earlier than those before, with the attributes of the key's entity.
    pub(crate) fn push(&mut self, attempt: &Attempt, attributes: &[u64]) {
        let (at, currency) = (attempt.at.unix_millis(), attempt.amount.currency());
        assert!(self.times.last().is_none_or(|&last| last <= at), "attempts come in the order of their time");
        self.times.push(at);
        self.attributes.extend_from_slice(attributes);
        let lane = self.lanes.iter().position(|lane| lane.currency == currency).unwrap_or_else(|| {
            self.lanes.push(Lane { currency, times: vec![], sums: vec![] });
            self.lanes.len() - 1
        });
        let lane = &mut self.lanes[lane];
        let sum = lane.sum_of_first(lane.sums.len()) + i128::from(attempt.amount.minor());
        lane.times.push(at);
        lane.sums.push(sum);
    }

    /// The window of that length that ends with an attempt which comes next.
    pub(crate) fn window(&self, present: &Attempt, window_ms: i64) -> Truth {
        let from = present.at.unix_millis() - window_ms;
        let currency = present.amount.currency();
        let inside = |lane: &Lane| lane.times.len() - lane.count_until(from);
        let earlier: i128 = self
            .lanes
            .iter()
            .filter(|lane| lane.currency == currency)
            .map(|lane| lane.sum_of_first(lane.sums.len()) - lane.sum_of_first(lane.count_until(from)))
            .sum();
        Truth {
            count: 1 + self.lanes.iter().map(inside).sum::<usize>() as u64,
            sum: minor_to_major(earlier + i128::from(present.amount.minor()), currency),
            most_of_a_currency: self.lanes.iter().map(inside).max().unwrap_or(0),
        }
    }

    /// Different values of one of the entity's attributes in windows that end with an attempt which comes next, the shortest first.
    pub(crate) fn distinct(
        &self,
        present: &Attempt,
        present_attributes: &[u64],
        attribute: usize,
        windows_ms: &[i64],
    ) -> Vec<u64> {
        let mut seen = HashSet::from([present_attributes[attribute]]);
        let mut first = self.times.len();
        let count = |&window_ms: &i64| {
            let from = present.at.unix_millis() - window_ms;
            let start = self.times.partition_point(|&time| time <= from);
            let stride = present_attributes.len();
            seen.extend((start..first).map(|attempt| self.attributes[attempt * stride + attribute]));
            seen.remove(&0);
            first = start;
            seen.len() as u64
        };
        windows_ms.iter().map(count).collect()
    }
}
