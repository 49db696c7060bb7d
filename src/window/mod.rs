//! The window room: what happened to a card, a customer, a device before, as of a moment in event time.
//!
//! # What holds
//!
//! Each statement is tested against an oracle that keeps a plain list and recomputes every number from it.
//!
//! - **Window.** A window `W` at time `t` holds the events with `t - W < event time <= t`. `attempts` include the present
//!   one. `approved`, `declined` and `labels` hold what was recorded earlier, as of `t`: an outcome at the event time of its
//!   transaction, a label at its own time.
//! - **Out of order.** An attempt is read as of its own event time (later ones are not seen) and inserted there. An event of any
//!   stream that is *more* than the entity's longest window behind the key's newest attempt is late: it is read, if it is
//!   an attempt, but not added, and counted in `late_events`.
//! - **Retention.** Events stay until they are twice the longest window behind the key's newest attempt. So every read that
//!   is not late is exact. A late read sees what is still kept.
//! - **Missing is not zero.** No key: every output of that entity is NaN. A key never seen: the count is 1, for the present
//!   attempt, and 0 in the other streams; mean and the like are over the present attempt; what looks at the last attempt is
//!   missing; seconds since first seen are 0. Over an empty window the sum is 0; mean, min, max and stddev are missing.
//! - **Money.** Exact integers up to the last step, which is one fixed order of floating-point operations: equal events give equal bits,
//!   whatever the order in which they came. Only events in the currency of the present attempt enter, in its major units; `Count`
//!   counts all currencies.
//! - **Stddev** is that of the population: missing for no event, 0 for one. **`ZScore`** is the present amount against
//!   the earlier events of the window, `(amount - mean) / stddev`: missing with fewer than two of them or a stddev of 0.
//! - **Labels.** `Count` counts all labels, `FraudCount` those that say fraud, `FraudRate` is their share: missing without labels.
//! - **Distinct** counts are exact, the present attempt included. A missing attribute counts for nothing and does not make
//!   the count missing.
//! - **The last attempt** is the latest at or before `t`, other than the present one, at most `ttl` back; of several at one moment,
//!   the one recorded last. Speed takes at least one second between two attempts.
//! - **Bounded.** At most `keys_max` keys per entity and `EVENTS_PER_KEY_MAX` events per key and stream. Above the latter
//!   the oldest go, counted in `truncated_events`: from then on counts and sums of that key are lower bounds. Above the
//!   former the least recently active key of its shard goes, counted in `evicted_keys`.
//! - **Atomic.** Reading and inserting at one key is one step under one short lock; no two locks are ever held together. Parallel
//!   attempts of one key each see a different count.

pub mod event;
pub mod layout;
pub mod plan;
pub mod snapshot;
pub mod stats;
pub mod store;

mod amounts;
mod block;
mod busy;
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
