//! The feature room.
