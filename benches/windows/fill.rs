//! Thirty days of the workload, before anything is measured: attempts, how they ended, and labels when they are due.
//!
//! One thread makes the events and another records them, in the order of their time: so stores come out the same each time,
//! and no key has to take events out of order that traffic would not bring so.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use tollgate::domain::time::EventTime;

use super::contestant::{Contestant, Worker};
use super::workload::{Event, Generator, Label, Workload};

/// Events that go from one thread to the other at a time: as many as stay in a cache.
const BATCH: u64 = 256;
/// Batches on their way.
const BATCHES_QUEUED_MAX: usize = 4;

/// Events that were recorded at one entity, of all streams.
pub(crate) fn fill(contestant: &dyn Contestant, workload: &Arc<Workload>) -> u64 {
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel::<Vec<Event>>(BATCHES_QUEUED_MAX);
        scope.spawn(move || {
            let mut generator = Generator::of_fill(workload);
            while generator.number() < workload.attempts {
                let left = workload.attempts - generator.number();
                let batch = generator.take(left.min(BATCH) as usize);
                sender.send(batch).expect("the recording thread takes all events");
            }
        });
        record(&mut *contestant.worker(), receiver.into_iter().flatten())
    })
}

fn record(worker: &mut dyn Worker, events: impl Iterator<Item = Event>) -> u64 {
    let (mut labels, mut recorded) = (DueLabels::default(), 0);
    for event in events {
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
