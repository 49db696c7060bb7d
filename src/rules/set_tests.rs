//! Facts about sets.
