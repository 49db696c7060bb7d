//! Two straightforward stores of `naive` histories: a map for each entity, under one mutex or in shards.

use std::collections::HashMap;
use std::sync::Arc;

use dashmap::DashMap;
use parking_lot::Mutex;
use tollgate::window::event::Key;
use tollgate::window::layout::OutcomeStream;

use super::contestant::{Contestant, Worker};
use super::naive::{History, Scratch};
use super::reads::Reads;
use super::workload::{Event, Label};

/// The maps of a store, in the order of `workload::ENTITIES`.
pub(crate) trait Histories: Default + Sync {
    const NAME: &'static str;

    /// Visits what is held of a key; a new one is made.
    fn visit(&self, entity: usize, key: Key, visit: impl FnOnce(&mut History));

    /// How many keys are held.
    fn keys(&self) -> usize;
}

/// One `Mutex<HashMap<_, VecDeque<_>>>` for each entity.
#[derive(Default)]
pub(crate) struct MutexHashMaps([Mutex<HashMap<Key, History>>; 6]);

impl Histories for MutexHashMaps {
    const NAME: &'static str = "mutex_hashmap_vecdeque";

    fn visit(&self, entity: usize, key: Key, visit: impl FnOnce(&mut History)) {
        visit(self.0[entity].lock().entry(key).or_default());
    }

    fn keys(&self) -> usize {
        self.0.iter().map(|histories| histories.lock().len()).sum()
    }
}

/// One `DashMap` for each entity.
#[derive(Default)]
pub(crate) struct DashMaps([DashMap<Key, History>; 6]);

impl Histories for DashMaps {
    const NAME: &'static str = "dashmap_vecdeque";

    fn visit(&self, entity: usize, key: Key, visit: impl FnOnce(&mut History)) {
        visit(&mut self.0[entity].entry(key).or_default());
    }

    fn keys(&self) -> usize {
        self.0.iter().map(DashMap::len).sum()
    }
}

/// A store of plain histories.
pub(crate) struct NaiveStore<H> {
    reads: Arc<Reads>,
    histories: H,
}

impl<H: Histories> NaiveStore<H> {
    pub(crate) fn new(reads: &Arc<Reads>) -> Self {
        Self { reads: Arc::clone(reads), histories: H::default() }
    }
}

impl<H: Histories> Contestant for NaiveStore<H> {
    fn name(&self) -> &'static str {
        H::NAME
    }

    fn worker(&self) -> Box<dyn Worker + '_> {
        Box::new(NaiveWorker { store: self, scratch: Scratch::default() })
    }

    fn keys(&self) -> u64 {
        self.histories.keys() as u64
    }
}

struct NaiveWorker<'a, H> {
    store: &'a NaiveStore<H>,
    scratch: Scratch,
}

impl<H: Histories> Worker for NaiveWorker<'_, H> {
    fn observe(&mut self, event: &Event, out: &mut [f64]) {
        for (entity, reads) in self.store.reads.entities.iter().enumerate() {
            if let Some(key) = event.attempt.keys[reads.position] {
                self.store.histories.visit(entity, key, |history| {
                    history.read(reads, &event.attempt, &mut self.scratch, out);
                    history.add(reads, &event.attempt);
                });
            }
        }
    }

    fn add(&mut self, event: &Event) {
        for (entity, reads) in self.store.reads.entities.iter().enumerate() {
            if let Some(key) = event.attempt.keys[reads.position] {
                self.store.histories.visit(entity, key, |history| history.add(reads, &event.attempt));
            }
        }
    }

    fn record_outcome(&mut self, event: &Event, stream: OutcomeStream) {
        let at = event.attempt.at.unix_millis();
        for (entity, reads) in self.store.reads.entities.iter().enumerate() {
            if let Some(key) = event.attempt.keys[reads.position] {
                self.store.histories.visit(entity, key, |history| history.add_outcome(reads, stream, at));
            }
        }
    }

    fn record_label(&mut self, label: &Label) {
        let at = label.at.unix_millis();
        for (entity, reads) in self.store.reads.entities.iter().enumerate() {
            if let Some(key) = label.keys[reads.position] {
                self.store.histories.visit(entity, key, |history| history.add_label(reads, at, label.fraud));
            }
        }
    }
}
