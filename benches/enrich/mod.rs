//! The sections of `enrich_table`.

pub(crate) mod ground;
pub(crate) mod ip;
pub(crate) mod profiles;
pub(crate) mod saved;
pub(crate) mod updates;
