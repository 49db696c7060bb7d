//! The command line.
pub mod args;
pub mod logging;
pub mod policy;
pub mod progress;
