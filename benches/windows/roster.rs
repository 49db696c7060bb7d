//! Who can take part, by name.

use std::sync::Arc;

use super::contestant::{Contestant, Nobody, Tollgate};
use super::naive_stores::{DashMaps, Histories as _, MutexHashMaps, NaiveStore};
use super::reads::Reads;
use super::redis_peer::{RedisPeer, RedisPing};

/// What one is, which says how large it can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Tollgate,
    /// In this process, and with more memory for a key.
    Plain,
    /// In another process, and slow to fill.
    Redis,
    /// Holds nothing.
    Floor,
}

/// One that can take part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Makes an empty one.
    pub(crate) make: fn(&Arc<Reads>) -> Box<dyn Contestant>,
}

impl Candidate {
    /// All of them, Tollgate's store first.
    pub(crate) const ALL: [Self; 6] = [
        Self { name: Tollgate::NAME, kind: Kind::Tollgate, make: |reads| Box::new(Tollgate::new(reads)) },
        Self {
            name: MutexHashMaps::NAME,
            kind: Kind::Plain,
            make: |reads| Box::new(NaiveStore::<MutexHashMaps>::new(reads)),
        },
        Self {
            name: DashMaps::NAME,
            kind: Kind::Plain,
            make: |reads| Box::new(NaiveStore::<DashMaps>::new(reads)),
        },
        Self { name: RedisPeer::NAME, kind: Kind::Redis, make: |reads| Box::new(RedisPeer::start(reads)) },
        Self { name: RedisPing::NAME, kind: Kind::Floor, make: |_| Box::new(RedisPing::start()) },
        Self { name: Nobody::NAME, kind: Kind::Floor, make: |_| Box::new(Nobody) },
    ];

    /// Whether it does the work, and so must answer the numbers of Tollgate's store.
    pub(crate) fn is_rival(&self) -> bool {
        matches!(self.kind, Kind::Plain | Kind::Redis)
    }
}
