//! The offline room.
