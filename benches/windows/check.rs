//! Contestants that answer other numbers do other work: before anything is measured, all are given the same small workload, some of
//! it out of order, and every number is compared with that of Tollgate's store.

use std::sync::Arc;

use super::contestant::{Contestant, Tollgate, Worker};
use super::fill::{DueLabels, settle};
use super::reads::Reads;
use super::workload::{Generator, Workload};

/// Differences up to this part of a number, or of one where the number is less, are rounding.
const TOLERANCE: f64 = 1e-9;

/// Panics at the first number that differs; gives how many were compared.
pub(crate) fn same_numbers(reads: &Arc<Reads>, contestants: &[Box<dyn Contestant>]) -> usize {
    let tollgate = Tollgate::new(reads);
    let workload = Arc::new(Workload::for_check(&reads.layout));
    let mut generator = Generator::of_fill(&workload);
    let mut labels = DueLabels::default();
    let mut reference = tollgate.worker();
    let mut workers: Vec<_> = contestants.iter().map(|contestant| contestant.worker()).collect();
    let (mut compared, mut present) = (0, 0);
    while generator.number() < workload.attempts {
        let event = generator.next();
        let due = labels.until(event.attempt.at);
        labels.expect(&event);
        let answer = |worker: &mut dyn Worker| {
            due.iter().for_each(|label| worker.record_label(label));
            worker.flush();
            let mut out = reads.missing();
            worker.observe(&event, &mut out);
            settle(worker, &event);
            out
        };
        let expected = answer(&mut *reference);
        for (worker, contestant) in workers.iter_mut().zip(contestants) {
            let actual = answer(&mut **worker);
            for (output, (expected, actual)) in expected.iter().zip(&actual).enumerate() {
                assert!(
                    is_same(*expected, *actual),
                    "{}: output {output} of event {} is {actual}, and {expected} in {}",
                    contestant.name(),
                    event.number,
                    tollgate.name(),
                );
                compared += 1;
                present += usize::from(!expected.is_nan());
            }
        }
    }
    assert!(contestants.is_empty() || present > compared / 4, "hardly anything was there to compare");
    compared
}

fn is_same(expected: f64, actual: f64) -> bool {
    if expected.is_nan() || actual.is_nan() {
        return expected.is_nan() && actual.is_nan();
    }
    (expected - actual).abs() <= TOLERANCE * expected.abs().max(1.0)
}
