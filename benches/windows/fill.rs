//! Thirty days of the workload, before anything is measured: attempts, how they ended, and labels when they are due.

use std::collections::VecDeque;
use std::sync::Arc;

use tollgate::domain::time::EventTime;

use super::contestant::{Contestant, Worker};
use super::workload::{Event, Generator, Label, Workload};

/// Two, so that large fills end sooner. What one is ahead of the other comes out of order by as much.
const THREADS: usize = 2;

/// Events that were recorded at one entity, of all streams.
pub(crate) fn fill(contestant: &dyn Contestant, workload: &Arc<Workload>) -> u64 {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let generator = Generator::of_fill(workload, thread, THREADS);
                    fill_one(&mut *contestant.worker(), generator, workload.attempts)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a fill that ends")).sum()
    })
}

fn fill_one(worker: &mut dyn Worker, mut generator: Generator, until: u64) -> u64 {
    let (mut labels, mut recorded) = (DueLabels::default(), 0);
    while generator.number() < until {
        let event = generator.next();
        for label in labels.until(event.attempt.at) {
            worker.record_label(&label);
            recorded += 1;
        }
        worker.add(&event);
        settle(worker, &event);
        recorded += 1 + u64::from(event.outcome.is_some());
        labels.expect(&event);
    }
    worker.flush();
    recorded
}

/// Records how an event ended.
pub(crate) fn settle(worker: &mut dyn Worker, event: &Event) {
    if let Some(stream) = event.outcome {
        worker.record_outcome(event, stream);
    }
}

/// Labels that become known later, the first of them first.
#[derive(Default)]
pub(crate) struct DueLabels(VecDeque<Label>);

impl DueLabels {
    /// Takes the label of an event, where it has one.
    pub(crate) fn expect(&mut self, event: &Event) {
        self.0.extend(event.label());
    }

    /// Gives what has become known until then.
    pub(crate) fn until(&mut self, at: EventTime) -> Vec<Label> {
        std::iter::from_fn(|| self.0.pop_front_if(|label| label.at <= at)).collect()
    }
}
