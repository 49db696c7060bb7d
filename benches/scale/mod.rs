//! The parts of `scale_table`: what grows in process, what grows in the windows, and the running service.

pub(crate) mod catalogue;
pub(crate) mod decider;
pub(crate) mod growth;
pub(crate) mod keys;
pub(crate) mod needs;
pub(crate) mod service;
