//! The window room: what happened to a card, a customer, a device before, as of a moment in event time.
//!
//! # What holds
//!
//! `properties` holds this against an oracle that keeps a plain list and recomputes every number from it, across eviction and
//! restart; `scenarios` holds single facts and bounds, `busy::accuracy_tests` what busy keys promise, `snapshot_tests` and
//! `tests/window_schedules.rs` what happens meanwhile.
//!
//! - **Window.** A window `W` at time `t` holds the events with `t - W < event time <= t`. `attempts` include the present
//!   one. `approved`, `declined` and `labels` hold what was recorded earlier, as of `t`: an outcome at the event time of its
//!   transaction, a label at its own time.
//! - **Out of order.** An attempt is read as of its own event time (later ones are not seen) and inserted there. An event of any
//!   stream that is *more* than the entity's longest window behind the key's newest attempt is late: it is read, if it is
//!   an attempt, but not added, and counted in `late_events`.
//! - **Retention.** Events count until they are twice the longest window behind the key's newest attempt. So every read that
//!   is not late is exact. A late read sees what still counts. Nothing that is read depends on what happens to be in memory still.
//! - **Missing is not zero.** No key: every output of that entity is NaN. A key never seen: the count is 1, for the present
//!   attempt, and 0 in the other streams; mean and the like are over the present attempt; what looks at the last attempt is
//!   missing; seconds since first seen are 0. Over an empty window the sum is 0; mean, min, max and stddev are missing.
//! - **Money.** Exact integers up to the last step, which is one fixed order of floating-point operations: equal events give equal bits,
//!   whatever the order in which they came and went. Only events in the currency of the present attempt enter, in its major units;
//!   `Count` counts all currencies.
//! - **Stddev** is that of the population: missing for no event, 0 for one. **`ZScore`** is the present amount against
//!   the earlier events of the window, `(amount - mean) / stddev`: missing with fewer than two of them or a stddev of 0.
//! - **Labels.** `Count` counts all labels, `FraudCount` those that say fraud, `FraudRate` is their share: missing without labels.
//! - **The last attempt** is the latest at or before `t`, other than the present one, at most `ttl` back; of several at one moment,
//!   the one recorded last. Speed takes at least one second between two attempts.
//! - **A session** is the attempts up to the present one that follow each other by at most the gap, as far back as events count.
//! - **Atomic.** Reading and inserting at one key is one step under one short lock; no two locks are ever held together. Parallel
//!   attempts of one key each see a different count.
//!
//! # What is exact, and what is bounded by which error
//!
//! | number | ordinary key: up to 255 events | busy key |
//! |---|---|---|
//! | count, sum, fraud count | exact | exact over the newest 128 events of each stream and currency; over more, off by at most 1/128 of itself |
//! | mean, stddev, zscore, rate | exact up to the last rounding | of the same events as count and sum |
//! | min, max | exact | of the same events as count and sum |
//! | distinct | exact (32 bits of a keyed hash: n values count as one fewer with a chance of n^2 / 2^33) | the same up to 8,192 values; of more, a sample with a standard error below 1.6 % |
//! | seconds since last, since first | exact to the millisecond | the same among the newest 128 attempts; as of an older time, within its group |
//! | distance, speed | places to the nearest 10^-7 degree: within 2 cm | the same, among the newest 64 places |
//! | session, card testing | exact | among the newest 128 attempts |
//!
//! That is as of the key's newest event or one among the exact ones. A busy key that is read as of an *older* time answers less
//! exactly: a count or sum is off by at most 1/128 of all that is newer than the window's beginning, which may be more than the window
//! itself holds; a distinct count is a lower bound once 512 values have been seen since. And late events may make a group larger:
//! one that falls into a group joins it, and one that comes behind more than 64 others is taken for distinct counts as if it came right
//! before those.
//!
//! A repeat is told from a twin (same key, time, amount and currency) by 11 bits. Of a busy key, a repeat that is older than the newest
//! 128 transactions is taken to have been added.
//!
//! # What bounds it
//!
//! - At most `keys_max` keys of an entity. Above, the least recently active of the new key's shard goes (`evicted_keys`), first
//!   among those seen once while these are many (`shard`); before that `endangered_active_keys` rises.
//! - A key is forgotten (`forgotten_keys`) when nothing was added to it for its `ttl`, or its longest window if that is longer, and
//!   for the longest window more, which is how late an attempt may come. By its own events when it is visited; by the newest event of its
//!   shard when room is made.
//! - An ordinary key is mostly 100 to 500 bytes, and 16 KB at the very most. Each stream and currency of a busy key has some 128
//!   groups of 16 to 64 bytes for every 2.7-fold of its events: 100 KB of attempts at a million. Each list of different values has at most
//!   0.5 MB, and there is one list for every doubling above 8,192 values.
//! - A lock is held for a microsecond or a few. Longer, and rarely: when a busy key with thousands of different values clears its
//!   lists (every some thousand events), is copied for a snapshot, or is read as of a time long ago: up to some hundred.
//!
//! # How it is made, and what was measured
//!
//! An entity has shards (`shard`), each with a lock and a sorted table of its keys (`table`); a key's history is one run of bytes
//! (`block`), or, when it is busy, running totals (`busy`). A visit waits for memory twice, and `prefetch` lets the waits of all keys
//! overlap. The present values are looked up once, for the read and for what is added. Places are remembered only of entities whose
//! features need them (`Streams::places`). `cargo bench --bench windows` and `--bench windows_table` measure it beside others: see `benches/README.md`.
//!
//! - **No lock-free counters.** A ring of atomic buckets for each window cannot be exact: it is off whenever an event is late or a
//!   window ends inside a bucket, it can be read half updated, and it takes kilobytes a key. In the sketch that this design began
//!   with, rings of twelve buckets gave a wrong 30-day count in 64 % of reads, torn ones in 1.2 %, at 4.7 KB a key and 2.3 times the
//!   time of exact lists. Ten events in a block are some 150 bytes. And a lock, one of thousands, is not where the time goes.
//! - **No `DashMap` here.** A map that doubles holds up whoever needs it meanwhile, as the section `growth` of `windows_table` shows
//!   beside ours; here a table has some 1,000 keys and grows by a quarter. And eviction must be the same after a restart, so
//!   that the order of activity belongs to the shard. The index of answered requests does use it, in a thousand small parts.
//! - **`SmallVec`** holds what a visit needs for a moment: keys, attribute values, tallies. It does not hold histories: an
//!   inline vector is too large for most keys or sends the rest to a second place in memory, and a visit is made of such waits.

pub mod event;
pub mod frame;
pub mod layout;
pub mod plan;
pub mod snapshot;
pub mod stats;
pub mod store;

mod amounts;
mod block;
mod busy;
mod compiled;
mod context;
mod held;
mod limits;
mod place;
mod prefetch;
mod read;
mod saving;
mod shard;
mod spans;
mod sync;
mod table;
mod tally;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod snapshot_tests;
