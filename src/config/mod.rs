//! The settings file, and nothing else: it is turned into each room's own settings in `cli`, so that no room knows it.

pub mod archive;
pub mod checkpoints;
pub mod file;
pub mod forward;
pub mod ip;
pub mod overload;
pub mod privacy;
pub mod profiles;
