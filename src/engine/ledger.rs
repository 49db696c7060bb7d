//! Which transactions and labels have been counted, so that none counts twice.
//!
//! A snapshot holds the ledger as it was at `begin_snapshot`, while counting goes on. What a change overwrites is kept beside it: of a
//! transaction, its flags as they were; of one that is forgotten, the whole. So a change costs the same with a snapshot as
//! without, and the writer takes some transactions at a time, each time under a short lock.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::Mutex;

use crate::domain::label::Verdict;
use crate::window::event::Key;

/// Most transactions remembered, unless a ledger is made smaller. One that is repeated after so many others counts again.
pub const TRANSACTIONS_MAX: usize = 4_000_000;

/// Most parts of a ledger.
const PARTS_MAX: usize = 1_024;
/// A ledger has one part for so many transactions.
const TRANSACTIONS_PER_PART: usize = 256;
/// Transactions that a snapshot takes under one hold of a part's lock.
const STEP: usize = 64;

/// What has been counted of a transaction, as bits. The numbers are in snapshots.
mod flag {
    /// Its attempt.
    pub(super) const ATTEMPT: u8 = 1;
    /// What it was answered.
    pub(super) const OUTCOME: u8 = 2;
    /// A label that says fraud.
    pub(super) const FRAUD: u8 = 4;
    /// A label that says legitimate.
    pub(super) const LEGITIMATE: u8 = 8;
    /// All of them.
    pub(super) const ALL: u8 = 15;
}

/// A transaction's key as a number.
fn bits(transaction: Key) -> u128 {
    let low = (u64::from(transaction.slot_bits()) << 32) | u64::from(transaction.check_bits());
    ((transaction.shard_bits() as u128) << 64) | u128::from(low)
}

/// What has been counted of one transaction.
#[derive(Clone, Copy, Default, Debug)]
struct Counted {
    flags: u8,
    /// The flags before the first change after the snapshot `epoch` was begun.
    flags_before: u8,
    epoch: u32,
}

impl Counted {
    /// The flags as they were when the snapshot `epoch` was begun.
    const fn flags_at(self, epoch: u32) -> u8 {
        if self.epoch == epoch { self.flags_before } else { self.flags }
    }
}

/// The transactions counted so far; of each part the oldest is forgotten first. In many parts, because a map that grows holds
/// up whoever needs it meanwhile.
#[derive(Debug)]
pub struct Ledger {
    parts: Box<[Mutex<Part>]>,
    transactions_per_part: usize,
    /// The number of the last snapshot that was begun.
    epoch: AtomicU32,
    /// Whether it is being taken.
    is_saving: AtomicBool,
}

#[derive(Debug, Default)]
struct Part {
    counted: HashMap<u128, Counted>,
    /// The oldest first. The first one's number, counted from the first ever, is `forgotten`.
    order: VecDeque<u128>,
    forgotten: u64,
    /// The number of the last snapshot that the part knows of.
    epoch: u32,
    /// What it still owes to that snapshot.
    saving: Option<Saving>,
}

/// What a part still owes to a snapshot.
#[derive(Debug)]
struct Saving {
    /// How many transactions the part had forgotten when the snapshot was begun.
    forgotten: u64,
    /// The number of the next transaction that the snapshot takes, and that of the first one that came after it was begun.
    next: u64,
    end: u64,
    /// Transactions that have been forgotten meanwhile before the snapshot took them. At most as many as a part holds.
    gone: Vec<(u128, u8)>,
}

/// One part of a ledger in a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LedgerPart {
    /// How many transactions it has forgotten.
    pub forgotten: u64,
    /// Its transactions, the oldest first, and what has been counted of each.
    pub counted: Vec<(u128, u8)>,
}

impl Ledger {
    /// An empty ledger that remembers about that many transactions, and never more.
    pub fn new(transactions_max: usize) -> Self {
        let parts = (transactions_max / TRANSACTIONS_PER_PART).clamp(1, PARTS_MAX);
        Self {
            parts: (0..parts).map(|_| Mutex::default()).collect(),
            transactions_per_part: (transactions_max / parts).max(1),
            epoch: AtomicU32::new(0),
            is_saving: AtomicBool::new(false),
        }
    }

    /// Whether the transaction's attempt has been counted.
    pub fn has_attempt(&self, transaction: Key) -> bool {
        let transaction = bits(transaction);
        let part = self.part(transaction).lock();
        part.counted.get(&transaction).is_some_and(|counted| counted.flags & flag::ATTEMPT != 0)
    }

    /// Counts the transaction's attempt; `false` when it has been counted before.
    pub fn count_attempt(&self, transaction: Key) -> bool {
        self.count(transaction, flag::ATTEMPT)
    }

    /// Counts what the transaction was answered; `false` when that has been counted before.
    pub fn count_outcome(&self, transaction: Key) -> bool {
        self.count(transaction, flag::OUTCOME)
    }

    /// Counts a label; `false` when the transaction has one with this verdict already.
    pub fn count_label(&self, transaction: Key, verdict: Verdict) -> bool {
        let flag = match verdict {
            Verdict::Fraud => flag::FRAUD,
            Verdict::Legitimate => flag::LEGITIMATE,
        };
        self.count(transaction, flag)
    }

    /// How many transactions are remembered, and how many have been forgotten.
    pub fn len_and_forgotten(&self) -> (usize, u64) {
        self.parts
            .iter()
            .map(|part| part.lock())
            .fold((0, 0), |(held, forgotten), part| (held + part.counted.len(), forgotten + part.forgotten))
    }

    fn part_number(&self, transaction: u128) -> usize {
        // The upper half, as everywhere: the part is chosen by other bits than the place in its map.
        usize::try_from(transaction >> 64).unwrap_or(0) % self.parts.len()
    }

    fn part(&self, transaction: u128) -> &Mutex<Part> {
        &self.parts[self.part_number(transaction)]
    }

    fn count(&self, transaction: Key, flag: u8) -> bool {
        let transaction = bits(transaction);
        let mut part = self.part(transaction).lock();
        part.learn(self.epoch.load(Ordering::Acquire));
        part.count(transaction, flag, self.transactions_per_part)
    }

    /// Begins a snapshot of what has been counted by now; `None` while another one is being taken. Takes microseconds. Call it
    /// where counting is ordered: nothing may be counted meanwhile.
    pub fn begin_snapshot(&self) -> Option<LedgerSnapshot<'_>> {
        if self.is_saving.swap(true, Ordering::AcqRel) {
            return None;
        }
        let epoch = self.epoch.fetch_add(1, Ordering::AcqRel).wrapping_add(1);
        Some(LedgerSnapshot { ledger: self, epoch, next_part: 0 })
    }

    /// How many parts it has: so many does a snapshot have.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Puts back one part of a snapshot into an empty ledger that was made for as many transactions. What cannot be such a part
    /// is refused, with what is wrong.
    pub fn restore_part(&self, number: usize, restored: &LedgerPart) -> Result<(), &'static str> {
        let mut part = self.parts.get(number).ok_or("the ledger has more parts than it should")?.lock();
        if !part.order.is_empty() {
            return Err("a part of the ledger comes twice");
        }
        if restored.counted.len() > self.transactions_per_part {
            return Err("a part of the ledger is larger than it should be");
        }
        part.forgotten = restored.forgotten;
        part.order.reserve(restored.counted.len());
        part.counted.reserve(restored.counted.len());
        for &(transaction, flags) in &restored.counted {
            let is_sound = (1..=flag::ALL).contains(&flags) && self.part_number(transaction) == number;
            let counted = Counted { flags, ..Counted::default() };
            if !is_sound || part.counted.insert(transaction, counted).is_some() {
                return Err("a transaction of the ledger is not what it should be");
            }
            part.order.push_back(transaction);
        }
        Ok(())
    }
}

impl Part {
    /// Learns of a snapshot that has begun: what the part holds now is what goes into it.
    fn learn(&mut self, epoch: u32) {
        if self.epoch != epoch {
            self.epoch = epoch;
            let end = self.forgotten + self.order.len() as u64;
            self.saving =
                Some(Saving { forgotten: self.forgotten, next: self.forgotten, end, gone: Vec::new() });
        }
    }

    fn count(&mut self, transaction: u128, flag: u8, transactions_max: usize) -> bool {
        if !self.counted.contains_key(&transaction) {
            if self.order.len() >= transactions_max {
                self.forget_oldest();
            }
            self.order.push_back(transaction);
        }
        let epoch = self.epoch;
        let counted = self.counted.entry(transaction).or_default();
        if counted.epoch != epoch {
            counted.epoch = epoch;
            counted.flags_before = counted.flags;
        }
        let is_new = counted.flags & flag == 0;
        counted.flags |= flag;
        is_new
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.order.pop_front() else { return };
        let number = self.forgotten;
        self.forgotten += 1;
        let Some(counted) = self.counted.remove(&oldest) else { return };
        if let Some(saving) = &mut self.saving
            && (saving.next..saving.end).contains(&number)
        {
            saving.gone.push((oldest, counted.flags_at(self.epoch)));
        }
    }

    /// Takes some transactions for the running snapshot, and says whether they were the last.
    fn save_some(&mut self, saved: &mut LedgerPart) -> bool {
        let Some(saving) = &mut self.saving else { return true };
        saved.forgotten = saving.forgotten;
        // They stood before all that is still there.
        saved.counted.append(&mut saving.gone);
        let from = saving.next.max(self.forgotten).min(saving.end);
        let to = (from + STEP as u64).min(saving.end);
        let place = |number: u64| usize::try_from(number.saturating_sub(self.forgotten)).unwrap_or(0);
        for transaction in self.order.range(place(from)..place(to)) {
            if let Some(counted) = self.counted.get(transaction) {
                saved.counted.push((*transaction, counted.flags_at(self.epoch)));
            }
        }
        saving.next = to;
        let is_last = to == saving.end;
        if is_last {
            self.saving = None;
        }
        is_last
    }
}

/// A snapshot of a ledger that has begun: its parts come one after the other. Dropped before the last, it is given up.
#[derive(Debug)]
pub struct LedgerSnapshot<'l> {
    ledger: &'l Ledger,
    epoch: u32,
    next_part: usize,
}

impl Iterator for LedgerSnapshot<'_> {
    type Item = LedgerPart;

    fn next(&mut self) -> Option<LedgerPart> {
        let part = self.ledger.parts.get(self.next_part)?;
        self.next_part += 1;
        let mut saved = LedgerPart::default();
        loop {
            // Those who count have their turn between two holds of the lock.
            let mut part = part.lock();
            part.learn(self.epoch);
            if part.save_some(&mut saved) {
                return Some(saved);
            }
        }
    }
}

impl Drop for LedgerSnapshot<'_> {
    fn drop(&mut self) {
        for part in &self.ledger.parts[self.next_part..] {
            let mut part = part.lock();
            part.epoch = self.epoch;
            part.saving = None;
        }
        self.ledger.is_saving.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::window::event::KeyHasher;

    fn key(id: impl std::fmt::Display) -> Key {
        KeyHasher::new([7; 16]).key(0, [id.to_string()])
    }

    #[test]
    fn everything_counts_once_and_the_oldest_is_forgotten() {
        let ledger = Ledger::new(2);
        assert!(ledger.count_attempt(key("a")));
        assert!(!ledger.count_attempt(key("a")));
        assert!(ledger.count_outcome(key("a")));
        assert!(!ledger.count_outcome(key("a")));
        assert!(ledger.count_label(key("a"), Verdict::Fraud));
        assert!(!ledger.count_label(key("a"), Verdict::Fraud));
        assert!(ledger.count_label(key("a"), Verdict::Legitimate));
        assert!(ledger.count_attempt(key("b")));
        assert!(ledger.count_attempt(key("c")));
        assert!(!ledger.has_attempt(key("a")));
        assert!(ledger.has_attempt(key("b")) && ledger.has_attempt(key("c")));
        assert_eq!(ledger.len_and_forgotten(), (2, 1));
    }

    /// Counts at random: old transactions again, and new ones, so that others are forgotten.
    fn step(ledger: &Ledger, random: &mut ChaCha8Rng, newest: &mut u32) {
        *newest += u32::from(random.random_range(0..3) == 0);
        let transaction = key(*newest - random.random_range(0..(*newest).min(900)));
        match random.random_range(0..4) {
            0 => ledger.count_attempt(transaction),
            1 => ledger.count_outcome(transaction),
            2 => ledger.count_label(transaction, Verdict::Fraud),
            _ => ledger.count_label(transaction, Verdict::Legitimate),
        };
    }

    fn all(ledger: &Ledger) -> Vec<LedgerPart> {
        let of = |part: &Mutex<Part>| {
            let part = part.lock();
            let counted =
                part.order.iter().map(|transaction| (*transaction, part.counted[transaction].flags));
            LedgerPart { forgotten: part.forgotten, counted: counted.collect() }
        };
        ledger.parts.iter().map(of).collect()
    }

    #[test]
    fn a_snapshot_holds_the_moment_at_which_it_began() {
        const TRANSACTIONS: usize = 1_024;
        let (ledger, mut random, mut newest) =
            (Ledger::new(TRANSACTIONS), ChaCha8Rng::seed_from_u64(1), 1_000);
        for round in 0..12 {
            for _ in 0..2_000 {
                step(&ledger, &mut random, &mut newest);
            }
            let expected = all(&ledger);
            let (mut later, mut later_newest, mut steps) = (random.clone(), newest, 0);
            let mut snapshot = ledger.begin_snapshot().unwrap();
            assert!(ledger.begin_snapshot().is_none(), "one at a time");
            let is_given_up = round % 4 == 3;
            let mut saved = Vec::new();
            loop {
                // Before the first part and between two: nothing, a little, or so much that all of them are forgotten.
                for _ in 0..[0, 40, 12_000][round % 3] {
                    step(&ledger, &mut random, &mut newest);
                    steps += 1;
                }
                match snapshot.next() {
                    Some(part) => saved.push(part),
                    None => break,
                }
                if is_given_up {
                    break;
                }
            }
            drop(snapshot);
            if is_given_up {
                continue;
            }
            assert!(saved == expected, "round {round}");
            let restored = Ledger::new(TRANSACTIONS);
            for (number, part) in saved.iter().enumerate() {
                restored.restore_part(number, part).unwrap();
            }
            // What came after brings it to where the one that never stopped is.
            for _ in 0..steps {
                step(&restored, &mut later, &mut later_newest);
            }
            assert!(all(&restored) == all(&ledger), "round {round}");
        }
    }

    #[test]
    fn a_snapshot_is_the_moment_also_in_the_middle_of_a_part() {
        let ledger = Ledger::new(TRANSACTIONS_PER_PART);
        let ids = 0..u32::try_from(TRANSACTIONS_PER_PART).unwrap();
        for id in ids.clone() {
            ledger.count_attempt(key(id));
        }
        let expected = all(&ledger);
        // How many have been taken when others come, and how many come.
        for (taken, come) in [(0, 10), (1, 10), (1, 64), (1, 100), (2, 300), (3, 1_000), (4, 10)] {
            let ledger = Ledger::new(TRANSACTIONS_PER_PART);
            ledger.restore_part(0, &expected[0]).unwrap();
            let snapshot = ledger.begin_snapshot().unwrap();
            let mut saved = LedgerPart::default();
            let mut part = ledger.parts[0].lock();
            part.learn(snapshot.epoch);
            for _ in 0..taken {
                part.save_some(&mut saved);
            }
            for id in ids.clone().step_by(5) {
                part.count(bits(key(id)), flag::FRAUD, TRANSACTIONS_PER_PART);
            }
            for id in 0..come {
                part.count(bits(key(1_000 + id)), flag::ATTEMPT, TRANSACTIONS_PER_PART);
            }
            while !part.save_some(&mut saved) {}
            assert!(saved == expected[0], "{taken} times taken, {come} come");
            drop(part);
        }
    }

    #[test]
    fn what_is_no_part_is_refused() {
        let ledger = Ledger::new(2 * TRANSACTIONS_PER_PART);
        ledger.count_attempt(key("a"));
        let number = ledger.part_number(bits(key("a")));
        let part = |counted: &[(u128, u8)]| LedgerPart { forgotten: 0, counted: counted.to_vec() };
        let a = bits(key("a"));
        let cases = [
            (2, part(&[]), "more parts"),
            (number, part(&[(a, 1)]), "twice"),
            (1 - number, part(&[(a, 1)]), "a transaction"),
            (1 - number, part(&[(a ^ (1 << 64), 0)]), "a transaction"),
            (1 - number, part(&[(a ^ (1 << 64), 16)]), "a transaction"),
            (1 - number, part(&vec![(a, 1); TRANSACTIONS_PER_PART + 1]), "larger"),
        ];
        for (number, part, reason) in cases {
            let error = ledger.restore_part(number, &part).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
