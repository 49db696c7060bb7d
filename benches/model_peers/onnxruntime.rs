//! ONNX Runtime through its C API, from the library in its Python package: one thread, one tensor for each row and one for the margin, all
//! made before anything is measured, over memory of our own.

#![allow(unsafe_code, reason = "a C library")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::{null, null_mut};

use libloading::Library;

type Handle = *mut c_void;
type Status = Handle;
/// Version of the API that is asked for; later libraries still have it.
const API_VERSION: u32 = 16;
const LOG_WARNINGS: c_int = 2;
const ALL_OPTIMIZATIONS: c_int = 99;
const DEVICE_ALLOCATOR: c_int = 0;
const DEFAULT_MEMORY: c_int = 0;
const FLOAT: c_int = 1;

/// Places of functions in `OrtApi`. A place never changes: later versions add at the end.
mod place {
    pub(super) const GET_ERROR_MESSAGE: usize = 2;
    pub(super) const CREATE_ENV: usize = 3;
    pub(super) const CREATE_SESSION: usize = 7;
    pub(super) const RUN: usize = 9;
    pub(super) const CREATE_SESSION_OPTIONS: usize = 10;
    pub(super) const SET_GRAPH_OPTIMIZATION_LEVEL: usize = 23;
    pub(super) const SET_INTRA_OP_THREADS: usize = 24;
    pub(super) const SET_INTER_OP_THREADS: usize = 25;
    pub(super) const CREATE_TENSOR_WITH_DATA: usize = 49;
    pub(super) const CREATE_CPU_MEMORY_INFO: usize = 69;
}

#[repr(C)]
struct ApiBase {
    get_api: unsafe extern "C" fn(u32) -> *const *const c_void,
    get_version: unsafe extern "C" fn() -> *const c_char,
}

type GetErrorMessage = unsafe extern "C" fn(Status) -> *const c_char;
type CreateEnv = unsafe extern "C" fn(c_int, *const c_char, *mut Handle) -> Status;
type CreateSession = unsafe extern "C" fn(Handle, *const c_char, Handle, *mut Handle) -> Status;
type CreateSessionOptions = unsafe extern "C" fn(*mut Handle) -> Status;
type SetNumber = unsafe extern "C" fn(Handle, c_int) -> Status;
type CreateCpuMemoryInfo = unsafe extern "C" fn(c_int, c_int, *mut Handle) -> Status;
type CreateTensor =
    unsafe extern "C" fn(Handle, *mut c_void, usize, *const i64, usize, c_int, *mut Handle) -> Status;
type Run = unsafe extern "C" fn(
    Handle,
    *const c_void,
    *const *const c_char,
    *const Handle,
    usize,
    *const *const c_char,
    usize,
    *mut Handle,
) -> Status;

struct Api(*const *const c_void);

impl Api {
    /// # Safety
    ///
    /// `F` is the type of the function at that place.
    unsafe fn function<F: Copy>(&self, place: usize) -> F {
        // SAFETY: all places that are asked for lie inside of the oldest version's table, which holds pointers to functions.
        unsafe { *self.0.add(place).cast::<F>() }
    }

    fn done(&self, status: Status) -> Result<(), String> {
        if status.is_null() {
            return Ok(());
        }
        // SAFETY: the message lives as long as the status, which is never freed: the bench ends.
        let text =
            unsafe { CStr::from_ptr(self.function::<GetErrorMessage>(place::GET_ERROR_MESSAGE)(status)) };
        Err(text.to_string_lossy().into_owned())
    }
}

/// Computes margins of a model in ONNX's format, which has one input `row` and one output `margin`; says the library's version. What it
/// makes lives until the bench ends.
pub(crate) fn margins(
    path: &Path,
    model: &Path,
    rows: &[Vec<f32>],
) -> Result<(String, impl FnMut(usize) -> f32 + use<>), String> {
    let said = |error: libloading::Error| format!("{}: {error}", path.display());
    let model = CString::new(model.as_os_str().as_encoded_bytes()).map_err(|error| error.to_string())?;
    let mut rows = rows.to_vec();
    let mut output = Box::new(f32::NAN);
    // SAFETY: the functions have the types that the header of the C API gives them; rows and output live where they are until the closure
    // ends, and moving a vector does not move what it holds.
    unsafe {
        let library = Library::new(path).map_err(said)?;
        let base =
            library.get::<unsafe extern "C" fn() -> *const ApiBase>(b"OrtGetApiBase\0").map_err(said)?();
        let version = CStr::from_ptr(((*base).get_version)()).to_string_lossy().into_owned();
        let api = Api(((*base).get_api)(API_VERSION));
        let (mut environment, mut options, mut session, mut memory) =
            (null_mut(), null_mut(), null_mut(), null_mut());
        let create: CreateEnv = api.function(place::CREATE_ENV);
        api.done(create(LOG_WARNINGS, c"bench".as_ptr(), &mut environment))?;
        let create: CreateSessionOptions = api.function(place::CREATE_SESSION_OPTIONS);
        api.done(create(&mut options))?;
        for (place, number) in [
            (place::SET_INTRA_OP_THREADS, 1),
            (place::SET_INTER_OP_THREADS, 1),
            (place::SET_GRAPH_OPTIMIZATION_LEVEL, ALL_OPTIMIZATIONS),
        ] {
            let set: SetNumber = api.function(place);
            api.done(set(options, number))?;
        }
        let create: CreateSession = api.function(place::CREATE_SESSION);
        api.done(create(environment, model.as_ptr(), options, &mut session))?;
        let create: CreateCpuMemoryInfo = api.function(place::CREATE_CPU_MEMORY_INFO);
        api.done(create(DEVICE_ALLOCATOR, DEFAULT_MEMORY, &mut memory))?;
        let create: CreateTensor = api.function(place::CREATE_TENSOR_WITH_DATA);
        let tensor = |data: *mut f32, columns: usize| {
            let (shape, mut value) = ([1, columns as i64], null_mut());
            let bytes = columns * size_of::<f32>();
            api.done(create(memory, data.cast(), bytes, shape.as_ptr(), shape.len(), FLOAT, &mut value))?;
            Ok::<Handle, String>(value)
        };
        let inputs: Vec<Handle> =
            rows.iter_mut().map(|row| tensor(row.as_mut_ptr(), row.len())).collect::<Result<_, _>>()?;
        let mut margin = tensor(&raw mut *output, 1)?;
        let run: Run = api.function(place::RUN);
        let margins = move |number: usize| {
            let _held = (&library, &rows);
            let (inputs_of, names, outputs) =
                (&raw const inputs[number], [c"row".as_ptr()], [c"margin".as_ptr()]);
            let status = run(session, null(), names.as_ptr(), inputs_of, 1, outputs.as_ptr(), 1, &mut margin);
            assert_eq!(api.done(status), Ok(()));
            (&raw const *output).read_volatile()
        };
        Ok((version, margins))
    }
}
