//! libxgboost through its C API, from a file that is named when the bench starts: the version that people have installed.
//!
//! What it is asked in words (the JSON that says where a row lies) is written before anything is measured, which favours it.

#![allow(unsafe_code, reason = "a C library")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::{null, null_mut};
use std::rc::Rc;

use libloading::Library;

type Handle = *mut c_void;
type Create = unsafe extern "C" fn(*const Handle, u64, *mut Handle) -> c_int;
type LoadModel = unsafe extern "C" fn(Handle, *const c_void, u64) -> c_int;
type SetParam = unsafe extern "C" fn(Handle, *const c_char, *const c_char) -> c_int;
type Predict = unsafe extern "C" fn(
    Handle,
    *const c_char,
    *const c_char,
    Handle,
    *mut *const u64,
    *mut u64,
    *mut *const f32,
) -> c_int;
type PredictMatrix =
    unsafe extern "C" fn(Handle, Handle, *const c_char, *mut *const u64, *mut u64, *mut *const f32) -> c_int;
type CreateMatrix = unsafe extern "C" fn(*const c_char, *const c_char, *mut Handle) -> c_int;
type CreateProxy = unsafe extern "C" fn(*mut Handle) -> c_int;
type Free = unsafe extern "C" fn(Handle) -> c_int;
type LastError = unsafe extern "C" fn() -> *const c_char;
type Version = unsafe extern "C" fn(*mut c_int, *mut c_int, *mut c_int);

/// The library with one model in it.
pub(crate) struct Libxgboost {
    booster: Handle,
    /// An empty matrix that prediction in place may keep things in.
    proxy: Handle,
    version: String,
    predict_in_place: Predict,
    predict_matrix: PredictMatrix,
    create_matrix: CreateMatrix,
    free_matrix: Free,
    free_booster: Free,
    last_error: LastError,
    /// Dropped last; everything above points into it.
    _library: Library,
}

impl Libxgboost {
    /// Loads library and model.
    pub(crate) fn load(path: &Path, model: &[u8]) -> Result<Self, String> {
        let said = |error: libloading::Error| format!("{}: {error}", path.display());
        // SAFETY: the user names a libxgboost; its functions have the types that its header has had since version 2.
        unsafe {
            let library = Library::new(path).map_err(said)?;
            let (mut major, mut minor, mut patch) = (0, 0, 0);
            library.get::<Version>(b"XGBoostVersion\0").map_err(said)?(&mut major, &mut minor, &mut patch);
            let create = *library.get::<Create>(b"XGBoosterCreate\0").map_err(said)?;
            let create_proxy = *library.get::<CreateProxy>(b"XGProxyDMatrixCreate\0").map_err(said)?;
            let load = *library.get::<LoadModel>(b"XGBoosterLoadModelFromBuffer\0").map_err(said)?;
            let set = *library.get::<SetParam>(b"XGBoosterSetParam\0").map_err(said)?;
            let mut this = Self {
                booster: null_mut(),
                proxy: null_mut(),
                version: format!("{major}.{minor}.{patch}"),
                predict_in_place: *library.get(b"XGBoosterPredictFromDense\0").map_err(said)?,
                predict_matrix: *library.get(b"XGBoosterPredictFromDMatrix\0").map_err(said)?,
                create_matrix: *library.get(b"XGDMatrixCreateFromDense\0").map_err(said)?,
                free_matrix: *library.get(b"XGDMatrixFree\0").map_err(said)?,
                free_booster: *library.get(b"XGBoosterFree\0").map_err(said)?,
                last_error: *library.get(b"XGBGetLastError\0").map_err(said)?,
                _library: library,
            };
            let code = create(null(), 0, &mut this.booster);
            this.done(code)?;
            let code = create_proxy(&mut this.proxy);
            this.done(code)?;
            this.done(set(this.booster, c"nthread".as_ptr(), c"1".as_ptr()))?;
            this.done(load(this.booster, model.as_ptr().cast(), model.len() as u64))?;
            Ok(this)
        }
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    fn done(&self, code: c_int) -> Result<(), String> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: it returns a string of its own.
        let text = unsafe { CStr::from_ptr((self.last_error)()) };
        Err(text.to_string_lossy().into_owned())
    }

    /// Margins by prediction in place.
    pub(crate) fn in_place<'a>(self: &Rc<Self>, rows: &'a [Vec<f32>]) -> impl FnMut(usize, &mut [f32]) + 'a {
        let (this, places) = (Rc::clone(self), places(rows));
        let config = c"{\"type\":1,\"training\":false,\"iteration_begin\":0,\"iteration_end\":0,\"strict_shape\":false,\"missing\":NaN}";
        move |row, output| {
            let (mut shape, mut dimensions, mut result) = (null(), 0, null());
            // SAFETY: place and configuration are JSON of the shapes that the header asks for, and the row lives.
            let code = unsafe {
                (this.predict_in_place)(
                    this.booster,
                    places[row].as_ptr(),
                    config.as_ptr(),
                    this.proxy,
                    &mut shape,
                    &mut dimensions,
                    &mut result,
                )
            };
            this.copy(code, result, output);
        }
    }

    /// Margins or contributions by a matrix of one row, made and freed each time.
    pub(crate) fn by_matrix<'a>(
        self: &Rc<Self>,
        rows: &'a [Vec<f32>],
        contributions: bool,
    ) -> impl FnMut(usize, &mut [f32]) + 'a {
        let (this, places) = (Rc::clone(self), places(rows));
        let of_matrix = c"{\"missing\":NaN,\"nthread\":1}";
        let config = if contributions {
            c"{\"type\":2,\"training\":false,\"iteration_begin\":0,\"iteration_end\":0,\"strict_shape\":false}"
        } else {
            c"{\"type\":1,\"training\":false,\"iteration_begin\":0,\"iteration_end\":0,\"strict_shape\":false}"
        };
        move |row, output| {
            let (mut matrix, mut shape, mut dimensions, mut result) = (null_mut(), null(), 0, null());
            // SAFETY: see `in_place`; the result lives until the booster predicts again.
            unsafe {
                let code = (this.create_matrix)(places[row].as_ptr(), of_matrix.as_ptr(), &mut matrix);
                assert_eq!(this.done(code), Ok(()));
                let code = (this.predict_matrix)(
                    this.booster,
                    matrix,
                    config.as_ptr(),
                    &mut shape,
                    &mut dimensions,
                    &mut result,
                );
                this.copy(code, result, output);
                (this.free_matrix)(matrix);
            }
        }
    }

    fn copy(&self, code: c_int, result: *const f32, output: &mut [f32]) {
        assert_eq!(self.done(code), Ok(()));
        // SAFETY: one row has one margin, or a contribution for each feature and the bias.
        output.copy_from_slice(unsafe { std::slice::from_raw_parts(result, output.len()) });
    }
}

impl Drop for Libxgboost {
    fn drop(&mut self) {
        // SAFETY: it is not used any more.
        unsafe {
            (self.free_matrix)(self.proxy);
            (self.free_booster)(self.booster);
        }
    }
}

/// Where each row lies, as the C API wants to be told.
fn places(rows: &[Vec<f32>]) -> Vec<CString> {
    let place = |row: &Vec<f32>| {
        let text = format!(
            "{{\"data\":[{},true],\"shape\":[1,{}],\"typestr\":\"<f4\",\"version\":3}}",
            row.as_ptr() as usize,
            row.len()
        );
        CString::new(text).unwrap_or_default()
    };
    rows.iter().map(place).collect()
}
