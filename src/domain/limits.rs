//! Every bound on what comes from outside, in one place. Bounds that belong to one room only stand in that room.

/// Longest `transaction_id` or `Idempotency-Key`, in bytes.
pub const TRANSACTION_ID_BYTES_MAX: usize = 128;
/// Longest identifier of an entity (customer, card, device, …), in bytes.
pub const ID_BYTES_MAX: usize = 256;
/// Longest free text of a transaction (`user_agent`, a metadata string), in bytes.
pub const TEXT_BYTES_MAX: usize = 1024;
/// Most entries of `metadata`.
pub const METADATA_ENTRIES_MAX: usize = 64;
/// Longest key of `metadata`, in bytes.
pub const METADATA_KEY_BYTES_MAX: usize = 64;
/// Largest amount, in minor units: 10^15, which is ten trillion euros.
pub const AMOUNT_MINOR_MAX: i64 = 1_000_000_000_000_000;
/// Largest `items.count`.
pub const ITEMS_COUNT_MAX: i64 = 1_000_000;
/// Largest body of one decision request, in bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Most wrong fields that one answer names.
pub const FIELD_ERRORS_MAX: usize = 64;
