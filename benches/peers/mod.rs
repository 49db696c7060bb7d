//! Whom the service is held against: two programs in Rust that say what is the least that any service costs here, and one in Python that
//! says what a team would otherwise write. Each is a process of its own, asked over HTTP by `tollgate load`.

pub(crate) mod contestant;
pub(crate) mod files;
pub(crate) mod process;
pub(crate) mod reference;
