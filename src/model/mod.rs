//! The model: XGBoost's own file in, one row's score and its exact attributions out.
//!
//! The margin of a row is bit for bit what libxgboost computes: the same order of f32 additions, the same routing, NaN alone
//! missing. Attributions are exact Shapley values of the trees. A file that is not fully understood is refused by name.

pub mod attribution;
pub mod binding;
pub mod forest;
pub mod inspect;
mod lockstep;
pub mod manifest;
pub mod score;
pub mod tree;
pub mod ubjson;
mod xgboost_document;
pub mod xgboost_file;
pub mod xgboost_tree;
