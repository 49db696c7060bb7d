//! The table of `model_table`: who takes part, and what it is asked for.

mod c_api;
pub(crate) mod contestants;
pub(crate) mod options;
