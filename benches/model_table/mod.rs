//! Who takes part in `model_table`.

mod c_api;
pub(crate) mod contestants;
