//! Placeholder
use std::path::PathBuf;
use crate::audit::damage::ReadError;
use crate::redecide::policies::Policies;
use crate::redecide::report::Rebuilt;
use crate::redecide::run::{self, Progress, Stretch};

/// Settings
#[derive(Debug)]
pub struct WindowSettings { 
    /// .
    pub data: PathBuf, 
    /// .
    pub decisions_max: usize, 
    /// .
    pub waiting_max: usize }
/// .
pub fn bytes(stretch: &Stretch) -> Result<u64, ReadError> { run::bytes(stretch) }
/// .
pub fn run(_: &Stretch, _: &Policies, _: &WindowSettings, _: &Progress) -> Result<Rebuilt, ReadError> { todo!() }
