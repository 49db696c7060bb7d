//! The expr room.
