//! Windowed aggregates for every entity, by event time, exact.
//!
//! Semantics (`store` holds them, `tests` compare them with a naive list):
//! - A window W at time t holds t - W < event time <= t. `attempts` includes the present one; the other streams hold what was
//!   recorded earlier: an outcome at its transaction's time, a label at its own.
//! - A late attempt is read as of its own time and added at it. One more than the entity's longest window behind the key's
//!   newest is read but not added, and counted. Events are kept for twice the longest window, so that late reads are exact.
//! - Amounts are summed over the events in the present attempt's currency, as integers; only the last step is floating point.
//! - Bounded: `keys_max` keys per entity, the least recently seen evicted; `EVENTS_PER_KEY_MAX` events per key and stream, above
//!   which the oldest are dropped and counted, and counts are lower bounds.

pub mod aggregate;
pub mod event;
pub mod layout;
pub mod plan;
pub mod profile;
pub mod store;
