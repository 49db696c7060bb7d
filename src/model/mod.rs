//! The model room.
pub mod manifest;
