//! Which requests have been answered, and where their records lie. In memory, bounded, rebuilt at a start from a snapshot and the log.
//!
//! A request is known by its idempotency key, by default its transaction id. While it is being decided it is *claimed*: a
//! second request with the same key waits for the first. The answer itself is not kept: it is read again from the log.

use std::collections::VecDeque;
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use parking_lot::Mutex;
use tokio::sync::watch;
use ulid::Ulid;

use crate::audit::receipt::Position;
use crate::domain::time::EventTime;
use crate::pipeline::secret::Secret;

/// Parts of the index: each stays small enough to grow within some 100 us.
const SHARDS: usize = 1_024;
/// Entries that a snapshot takes at a time, and the keys of which it copies under one hold of the order's lock.
const STEP: usize = 4_096;
/// Name space of idempotency keys.
const REQUESTS: &str = "request";
/// Name space of transaction ids that differ from their idempotency keys.
const TRANSACTIONS: &str = "transaction";
/// Name space of labels whose transaction was not known.
const EARLY_LABELS: &str = "early label";
/// Name space of labels.
const LABELS: &str = "label";

/// What a request is known by: a keyed hash of 80 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RequestKey(u128);

impl RequestKey {
    /// Of a decision, by its idempotency key.
    pub fn of_request(secret: &Secret, idempotency_key: &str) -> Self {
        Self(secret.hash80(REQUESTS, idempotency_key))
    }

    /// Of a decision, by its transaction id.
    pub fn of_transaction(secret: &Secret, transaction_id: &str) -> Self {
        Self(secret.hash80(TRANSACTIONS, transaction_id))
    }

    /// Of a label, by its canonical JSON. A label that came before its transaction was known is another one than the same
    /// label after it: the second is the one that counts.
    pub fn of_label(secret: &Secret, canonical: &str, transaction_known: bool) -> Self {
        Self(secret.hash80(if transaction_known { LABELS } else { EARLY_LABELS }, canonical))
    }

    /// The id of the decision that answers this request: a ULID whose time is `received_at` and whose other 80 bits are this
    /// key, so that no second index is needed to find a decision by its id.
    pub fn decision_id(self, received_at: EventTime) -> String {
        let millis = u64::try_from(received_at.unix_millis()).unwrap_or(0);
        format!("dec_{}", Ulid::from_parts(millis, self.0))
    }

    /// The key inside a decision id; `None` when the text is no decision id.
    pub fn of_decision_id(text: &str) -> Option<Self> {
        let ulid = Ulid::from_string(text.strip_prefix("dec_")?).ok()?;
        Some(Self(ulid.random()))
    }
}

/// The first 128 bits of the BLAKE3 hash of a request's canonical JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint(pub u128);

impl Fingerprint {
    /// Of some bytes.
    pub fn of(canonical: &[u8]) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&blake3::hash(canonical).as_bytes()[..16]);
        Self(u128::from_be_bytes(bytes))
    }

    /// Of a request whose record says no more what it asked, since that was erased: every body agrees with it, as the answer says only that.
    pub const ERASED: Self = Self(0);

    /// Whether a request with that fingerprint may be the same one.
    pub fn agrees(self, other: Self) -> bool {
        self == other || self == Self::ERASED
    }

    /// From its text in a record; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        u128::from_str_radix(text, 16).ok().map(Self)
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[derive(Clone, Debug)]
enum Slot {
    Claimed { fingerprint: Fingerprint, released: watch::Receiver<()> },
    Done { fingerprint: Fingerprint, position: Position },
}

/// What became of a request to be decided.
#[derive(Debug)]
pub enum Claim {
    /// Nobody has asked this before: decide it.
    New(Claimed),
    /// Somebody is deciding it: wait until the receiver ends, then ask again.
    InFlight(watch::Receiver<()>),
    /// It has been answered; the record lies there.
    Done(Position),
    /// The key has been used for another body.
    Conflict,
}

/// The index.
#[derive(Debug)]
pub struct DecisionIndex {
    slots: DashMap<RequestKey, Slot>,
    order: Mutex<Order>,
    decisions_max: usize,
}

/// The keys of answered requests, the oldest first.
#[derive(Debug, Default)]
struct Order {
    keys: VecDeque<RequestKey>,
    /// How many have been forgotten: the number of the oldest that is there, counted from the first ever.
    forgotten: u64,
}

/// An answered request in a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexEntry {
    /// What it is known by.
    pub key: u128,
    /// What it asked.
    pub fingerprint: u128,
    /// Where its record lies.
    pub position: Position,
}

impl DecisionIndex {
    /// An empty index that remembers at most that many keys. It is in many small parts, because a map that grows holds up
    /// whoever needs it meanwhile.
    pub fn new(decisions_max: usize) -> Arc<Self> {
        let decisions_max = decisions_max.max(1);
        Arc::new(Self { slots: DashMap::with_shard_amount(SHARDS), order: Mutex::default(), decisions_max })
    }

    /// Claims a key for a body, or says what is known of it.
    pub fn claim(self: &Arc<Self>, key: RequestKey, fingerprint: Fingerprint) -> Claim {
        match self.slots.entry(key) {
            Entry::Vacant(vacant) => {
                let (release, released) = watch::channel(());
                vacant.insert(Slot::Claimed { fingerprint, released });
                Claim::New(Claimed {
                    index: Arc::clone(self),
                    key,
                    fingerprint,
                    is_done: false,
                    _release: release,
                })
            }
            Entry::Occupied(occupied) => match occupied.get() {
                Slot::Claimed { fingerprint: known, released } if known.agrees(fingerprint) => {
                    Claim::InFlight(released.clone())
                }
                Slot::Done { fingerprint: known, position } if known.agrees(fingerprint) => {
                    Claim::Done(*position)
                }
                Slot::Claimed { .. } | Slot::Done { .. } => Claim::Conflict,
            },
        }
    }

    /// The fingerprint of what a key was used for, answered or not.
    pub fn fingerprint(&self, key: RequestKey) -> Option<Fingerprint> {
        self.slots.get(&key).map(|slot| match *slot {
            Slot::Claimed { fingerprint, .. } | Slot::Done { fingerprint, .. } => fingerprint,
        })
    }

    /// Where the record of an answered request lies.
    pub fn position(&self, key: RequestKey) -> Option<Position> {
        match self.slots.get(&key).as_deref() {
            Some(Slot::Done { position, .. }) => Some(*position),
            Some(Slot::Claimed { .. }) | None => None,
        }
    }

    /// Where the record of the oldest answered request lies.
    pub fn oldest(&self) -> Option<Position> {
        let oldest = self.order.lock().keys.front().copied();
        oldest.and_then(|key| self.position(key))
    }

    /// Remembers an answered request; the oldest is forgotten when there are too many.
    pub fn insert(&self, key: RequestKey, fingerprint: Fingerprint, position: Position) {
        let before = self.slots.insert(key, Slot::Done { fingerprint, position });
        if matches!(before, Some(Slot::Done { .. })) {
            return;
        }
        let oldest = {
            let mut order = self.order.lock();
            order.keys.push_back(key);
            if order.keys.len() > self.decisions_max {
                order.forgotten += 1;
                order.keys.pop_front()
            } else {
                None
            }
        };
        if let Some(oldest) = oldest {
            self.slots.remove_if(&oldest, |_, slot| matches!(slot, Slot::Done { .. }));
        }
    }

    /// What is remembered of the log up to the record at `until`, the oldest first, some at a time, while the index is used.
    ///
    /// The index needs no moment: its entries never change, and those that are missing come again when the log is read on from
    /// there. So what is taken is what is there when it is asked for; but nothing beyond `until`, since the log may lose such a
    /// record, and then another one may lie where it lay.
    pub fn entries(&self, until: Position) -> IndexEntries<'_> {
        let order = self.order.lock();
        let end = order.forgotten + order.keys.len() as u64;
        IndexEntries { index: self, until, next: order.forgotten, end, left_out: 0 }
    }

    /// Puts back entries of a snapshot, the oldest first, into an index that nobody uses yet. `false` when there are more of them
    /// than it may hold, or one of them comes twice.
    pub fn restore(&self, entries: &[IndexEntry]) -> bool {
        let mut order = self.order.lock();
        order.keys.reserve(entries.len());
        for IndexEntry { key, fingerprint, position } in entries {
            let (key, fingerprint) = (RequestKey(*key), Fingerprint(*fingerprint));
            let before = self.slots.insert(key, Slot::Done { fingerprint, position: *position });
            order.keys.push_back(key);
            if before.is_some() || order.keys.len() > self.decisions_max {
                return false;
            }
        }
        true
    }

    /// Puts back how many have been forgotten.
    pub fn restore_forgotten(&self, forgotten: u64) {
        self.order.lock().forgotten = forgotten;
    }

    /// How many keys are held, and how many have been forgotten.
    pub fn len_and_forgotten(&self) -> (usize, u64) {
        (self.slots.len(), self.order.lock().forgotten)
    }
}

/// Entries of an index for a snapshot, in steps.
#[derive(Debug)]
pub struct IndexEntries<'i> {
    index: &'i DecisionIndex,
    until: Position,
    next: u64,
    end: u64,
    left_out: u64,
}

impl IndexEntries<'_> {
    /// How many of the requests up to `until` are not among the entries that were taken, because they have been forgotten.
    pub fn forgotten(&self, taken: u64) -> u64 {
        self.end.saturating_sub(self.left_out).saturating_sub(taken)
    }
}

impl Iterator for IndexEntries<'_> {
    type Item = Vec<IndexEntry>;

    fn next(&mut self) -> Option<Vec<IndexEntry>> {
        if self.next >= self.end {
            return None;
        }
        let keys: Vec<RequestKey> = {
            let order = self.index.order.lock();
            let from = self.next.max(order.forgotten).min(self.end);
            let to = (from + STEP as u64).min(self.end);
            self.next = to;
            let place = |number: u64| usize::try_from(number.saturating_sub(order.forgotten)).unwrap_or(0);
            order.keys.range(place(from)..place(to)).copied().collect()
        };
        let mut entries = Vec::with_capacity(keys.len());
        for key in keys {
            // One that is gone, or claimed anew, has been forgotten since.
            let Some(Slot::Done { fingerprint, position }) = self.index.slots.get(&key).as_deref().cloned()
            else {
                continue;
            };
            if position > self.until {
                self.left_out += 1;
            } else {
                entries.push(IndexEntry { key: key.0, fingerprint: fingerprint.0, position });
            }
        }
        Some(entries)
    }
}

/// A claim on a key. Dropped without `complete`, it is released, and the next one who asks decides.
#[derive(Debug)]
pub struct Claimed {
    index: Arc<DecisionIndex>,
    key: RequestKey,
    fingerprint: Fingerprint,
    is_done: bool,
    _release: watch::Sender<()>,
}

impl Claimed {
    /// The record is in the log: from now on the key is answered from there.
    pub fn complete(mut self, position: Position) {
        self.is_done = true;
        self.index.insert(self.key, self.fingerprint, position);
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if !self.is_done {
            self.index.slots.remove_if(&self.key, |_, slot| matches!(slot, Slot::Claimed { .. }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> RequestKey {
        RequestKey::of_request(&Secret::public(), text)
    }

    fn position(offset: u64) -> Position {
        Position { segment: 1, offset }
    }

    #[test]
    fn a_claim_is_completed_or_released() {
        let index = DecisionIndex::new(10);
        let (one, other) = (Fingerprint::of(b"one"), Fingerprint::of(b"other"));
        let Claim::New(claimed) = index.claim(key("a"), one) else { panic!("must be new") };
        assert!(matches!(index.claim(key("a"), one), Claim::InFlight(_)));
        assert!(matches!(index.claim(key("a"), other), Claim::Conflict));
        drop(claimed);
        let Claim::New(claimed) = index.claim(key("a"), one) else { panic!("must be free again") };
        let Claim::InFlight(released) = index.claim(key("a"), one) else { panic!("must be claimed") };
        claimed.complete(position(7));
        assert!(released.has_changed().is_err(), "those who wait are woken");
        assert!(matches!(index.claim(key("a"), one), Claim::Done(at) if at == position(7)));
        assert!(matches!(index.claim(key("a"), other), Claim::Conflict));
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let index = DecisionIndex::new(2);
        for (offset, text) in (0..).zip(["a", "b", "c"]) {
            index.insert(key(text), Fingerprint::of(b""), position(offset));
        }
        assert_eq!(index.position(key("a")), None);
        assert_eq!(index.position(key("c")), Some(position(2)));
        assert_eq!(index.len_and_forgotten(), (2, 1));
    }

    #[test]
    fn entries_come_in_their_order_and_go_back_as_they_were() {
        let requests: u64 = 3 * STEP as u64;
        let forgotten = 1_000;
        let index = DecisionIndex::new(usize::try_from(requests - forgotten).unwrap());
        let fill = |index: &DecisionIndex, numbers: std::ops::Range<u64>| {
            for number in numbers {
                let text = number.to_string();
                index.insert(key(&text), Fingerprint::of(text.as_bytes()), position(number));
            }
        };
        fill(&index, 0..requests);
        let _claimed = index.claim(key("somebody"), Fingerprint::of(b""));
        let until = requests - 500;
        let mut entries = index.entries(position(until));
        let mut taken = entries.next().unwrap();
        // While it is taken, the index goes on: so many come that some of the next step are forgotten.
        let meanwhile = requests..requests + STEP as u64 + 300;
        fill(&index, meanwhile.clone());
        taken.extend(entries.by_ref().flatten());
        let offsets: Vec<u64> = taken.iter().map(|entry| entry.position.offset).collect();
        let expected = (forgotten..forgotten + STEP as u64).chain(forgotten + STEP as u64 + 300..=until);
        assert_eq!(offsets, expected.collect::<Vec<_>>());
        assert_eq!(entries.forgotten(taken.len() as u64), forgotten + 300);

        // The tail brings the restored one to where the first one is.
        let restored = DecisionIndex::new(index.decisions_max);
        assert!(restored.restore(&taken));
        restored.restore_forgotten(entries.forgotten(taken.len() as u64));
        fill(&restored, until - 50..meanwhile.end);
        assert_eq!(restored.len_and_forgotten(), (index.decisions_max, index.order.lock().forgotten));
        assert_eq!(restored.order.lock().keys, index.order.lock().keys);
        for number in 0..meanwhile.end {
            let key = key(&number.to_string());
            assert_eq!(restored.position(key), index.position(key));
            assert_eq!(restored.fingerprint(key), index.fingerprint(key));
        }
        assert!(!restored.restore(&taken), "twice");
        assert!(!DecisionIndex::new(10).restore(&taken), "too many");
    }

    #[test]
    fn a_decision_id_holds_its_key() {
        let received_at = EventTime::parse_rfc3339("2026-10-20T12:00:00Z").unwrap();
        let id = key("pay_9_1").decision_id(received_at);
        assert!(id.starts_with("dec_01"), "{id}");
        assert_eq!(RequestKey::of_decision_id(&id), Some(key("pay_9_1")));
        assert_eq!(RequestKey::of_decision_id("dec_nonsense"), None);
        assert_eq!(RequestKey::of_decision_id("pay_9_1"), None);
    }
}
