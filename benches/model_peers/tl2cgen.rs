//! What tl2cgen makes of a model: C, compiled into a library that is called by its C ABI.
//!
//! Rows are put into its own form (missing is -1 where the number would stand) before anything is measured, which favours it.

#![allow(unsafe_code, reason = "a C library")]

use std::ffi::c_int;
use std::path::Path;

use libloading::{Library, Symbol};

/// A row, whether the margin is wanted, and where it is added to.
type Predict = unsafe extern "C" fn(*mut u32, c_int, *mut f32);
type Features = unsafe extern "C" fn() -> i32;

/// The bits of -1, which no number of a row has.
const MISSING: u32 = u32::MAX;

/// Computes margins by the library in `path`. Where thresholds are quantized, the library overwrites the row, so that it gets a copy.
pub(crate) fn margins(path: &Path, rows: &[Vec<f32>]) -> Result<impl FnMut(usize) -> f32 + use<>, String> {
    let said = |error: libloading::Error| format!("{}: {error}", path.display());
    // SAFETY: models.py made it, with the functions of tl2cgen 1.0.
    let library = unsafe { Library::new(path).map_err(said)? };
    let features: Symbol<'_, Features> = unsafe { library.get(b"get_num_feature\0").map_err(said)? };
    // SAFETY: it takes nothing.
    let features = unsafe { features() };
    if rows.iter().any(|row| i32::try_from(row.len()) != Ok(features)) {
        return Err(format!(
            "{} is of a model with {features} features: run models.py again",
            path.display()
        ));
    }
    // SAFETY: see above; the library goes where the function goes.
    let predict = unsafe { *library.get::<Predict>(b"predict\0").map_err(said)? };
    let bits = |value: &f32| if value.is_nan() { MISSING } else { value.to_bits() };
    let rows: Vec<Vec<u32>> = rows.iter().map(|row| row.iter().map(bits).collect()).collect();
    let mut row = vec![0; rows.first().map_or(0, Vec::len)];
    Ok(move |number: usize| {
        let _held = &library;
        row.copy_from_slice(&rows[number]);
        let mut margin = 0.0;
        // SAFETY: the row has as many values as the library asks for.
        unsafe { predict(row.as_mut_ptr(), 1, &mut margin) };
        margin
    })
}
