//! The lock, the atomic numbers, the threads and the queues of the window room. With the cargo feature `shuttle` a model checker takes their place and tries out orders in which
//! threads may run: `cargo test --features shuttle --test window_schedules`.

#[cfg(feature = "shuttle")]
pub(crate) use self::checked::Mutex;
#[cfg(not(feature = "shuttle"))]
pub(crate) use parking_lot::{Mutex, MutexGuard};
#[cfg(feature = "shuttle")]
pub(crate) use shuttle::{
    sync::MutexGuard,
    sync::atomic::{AtomicBool, AtomicI64, AtomicU32},
    sync::mpsc,
    thread,
};
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::{
    sync::atomic::{AtomicBool, AtomicI64, AtomicU32},
    sync::mpsc,
    thread,
};

#[cfg(feature = "shuttle")]
mod checked {
    use std::sync::PoisonError;

    /// A lock whose every use is a point at which another thread may go on.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> shuttle::sync::MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}
