//! Whoever does the work: Tollgate's store here, the others in `naive_stores` and `redis_peer`.

use std::sync::Arc;

use tollgate::domain::time::EventTime;
use tollgate::window::event::Presence;
use tollgate::window::layout::OutcomeStream;
use tollgate::window::store::WindowStore;

use super::reads::Reads;
use super::workload::{Event, Label};

/// A store that can do the work, from several threads.
pub(crate) trait Contestant: Sync {
    /// In tables.
    fn name(&self) -> &'static str;

    /// What one thread works with, made in that thread.
    fn worker(&self) -> Box<dyn Worker + '_>;

    /// How many keys it holds, of all entities.
    fn keys(&self) -> u64;

    /// The bytes it holds outside this process.
    fn remote_bytes(&self) -> Option<u64> {
        None
    }

    /// Tollgate's own store.
    fn store(&self) -> Option<&WindowStore> {
        None
    }
}

/// One thread's access to a store.
pub(crate) trait Worker {
    /// Reads every number as of the event, and adds it.
    fn observe(&mut self, event: &Event, out: &mut [f64]);

    /// Adds without reading.
    fn add(&mut self, event: &Event);

    /// Records how an event ended.
    fn record_outcome(&mut self, event: &Event, stream: OutcomeStream);

    /// Records a label.
    fn record_label(&mut self, label: &Label);

    /// Sees to it that everything recorded is in the store.
    fn flush(&mut self) {}
}

/// Tollgate's own store.
pub(crate) struct Tollgate {
    reads: Arc<Reads>,
    store: WindowStore,
}

impl Tollgate {
    pub(crate) const NAME: &'static str = "tollgate";

    pub(crate) fn new(reads: &Arc<Reads>) -> Self {
        Self::with_store(reads, WindowStore::new(Arc::clone(&reads.layout)))
    }

    pub(crate) fn with_store(reads: &Arc<Reads>, store: WindowStore) -> Self {
        Self { reads: Arc::clone(reads), store }
    }
}

impl Contestant for Tollgate {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn worker(&self) -> Box<dyn Worker + '_> {
        Box::new(TollgateWorker { reads: &self.reads, store: &self.store })
    }

    fn keys(&self) -> u64 {
        self.store.stats().iter().map(|entity| entity.keys).sum()
    }

    fn store(&self) -> Option<&WindowStore> {
        Some(&self.store)
    }
}

struct TollgateWorker<'a> {
    reads: &'a Reads,
    store: &'a WindowStore,
}

impl Worker for TollgateWorker<'_> {
    fn observe(&mut self, event: &Event, out: &mut [f64]) {
        // As the engine does; a service could do it earlier, while it still reads the request, but here it is on the clock.
        self.store.prefetch(&event.attempt);
        self.store.observe(&self.reads.plan, &event.attempt, Presence::Add, out);
    }

    fn add(&mut self, event: &Event) {
        self.store.add(&event.attempt);
    }

    fn record_outcome(&mut self, event: &Event, stream: OutcomeStream) {
        self.store.record_outcome(stream, &event.attempt);
    }

    fn record_label(&mut self, label: &Label) {
        let at: EventTime = label.at;
        self.store.record_label(&label.keys, at, label.fraud);
    }
}

/// Nobody: what the clock and the loop around it cost, and how long the machine itself lets one wait.
pub(crate) struct Nobody;

impl Nobody {
    pub(crate) const NAME: &'static str = "nobody";
    /// Nobody holds anything: whose events it is given does not matter.
    pub(crate) const USERS: u32 = 1_000_000;
}

impl Contestant for Nobody {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn worker(&self) -> Box<dyn Worker + '_> {
        Box::new(Self)
    }

    fn keys(&self) -> u64 {
        0
    }
}

impl Worker for Nobody {
    fn observe(&mut self, _: &Event, _: &mut [f64]) {}

    fn add(&mut self, _: &Event) {}

    fn record_outcome(&mut self, _: &Event, _: OutcomeStream) {}

    fn record_label(&mut self, _: &Label) {}
}
