//! The model: XGBoost's own file in, one row's score and its exact attributions out.
//!
//! The margin of a row is bit for bit what libxgboost computes: the same order of f32 additions, the same routing, NaN alone
//! missing. Attributions are exact Shapley values of the trees. A file that is not fully understood is refused by name.
//!
//! `xgboost_file` reads JSON and UBJSON into a `forest`. Its margin is computed by `rank_mask` where the processor has AVX-512
//! with VBMI and the trees fit, else by `lockstep`; its attributions by `attribution_lanes` or, for trees that do not fit, by
//! `attribution_walk`. Every processor gives the same bits.
//!
//! `backend` says who computes the margins that are served: the forest, or libxgboost (cargo feature `xgboost`, `libxgboost`).
//! `verify` holds all of them to each other.

pub mod attribution;
mod attribution_lanes;
mod attribution_walk;
pub mod backend;
pub mod binding;
pub mod drawn_rows;
pub mod forest;
pub mod inspect;
#[cfg(target_arch = "x86_64")]
mod lanes_avx512;
mod lanes_kernel;
mod lanes_portable;
#[cfg(feature = "xgboost")]
pub mod libxgboost;
#[cfg(feature = "xgboost")]
pub mod libxgboost_file;
mod lockstep;
pub mod manifest;
pub mod parity_field;
mod quadrature;
mod rank_mask;
#[cfg(target_arch = "x86_64")]
mod rank_mask_vbmi;
#[cfg(not(target_arch = "x86_64"))]
#[path = "rank_mask_elsewhere.rs"]
mod rank_mask_vbmi;
pub mod reference;
pub mod row_reader;
pub mod score;
pub mod tree;
pub mod ubjson;
pub mod verify;
mod xgboost_document;
pub mod xgboost_file;
pub mod xgboost_tree;
