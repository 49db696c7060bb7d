//! What the tables share whose contestants take turns with the same items: options, turns, and how the table is printed.

pub(crate) mod options;
pub(crate) mod report;
pub(crate) mod turns;
