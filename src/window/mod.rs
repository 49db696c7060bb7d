//! The window room.
