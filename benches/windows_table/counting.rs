//! The service's allocator, with a count of the bytes that are allocated and not yet freed while counting is on.
//!
//! It is on while stores are filled and off while they are timed, when it costs one load of a flag that nobody writes.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use mimalloc::MiMalloc;

static IS_COUNTING: AtomicBool = AtomicBool::new(false);
static LIVE_BYTES: AtomicI64 = AtomicI64::new(0);

/// The allocator.
pub(crate) struct Counting;

fn count(bytes: usize, sign: i64) {
    if IS_COUNTING.load(Ordering::Relaxed) {
        LIVE_BYTES.fetch_add(sign * bytes as i64, Ordering::Relaxed);
    }
}

#[expect(unsafe_code, reason = "an allocator is unsafe by its trait; all work is handed on as it came")]
// SAFETY: every call goes to mimalloc unchanged, and what it answers is answered.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller's promises are handed on.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller's promises are handed on.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: the caller's promises are handed on.
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout.size(), -1);
        count(size, 1);
        // SAFETY: the caller's promises are handed on.
        unsafe { MiMalloc.realloc(pointer, layout, size) }
    }
}

/// Does something; gives its result and by how many bytes live memory has grown.
pub(crate) fn counted<T>(work: impl FnOnce() -> T) -> (T, i64) {
    let before = LIVE_BYTES.load(Ordering::SeqCst);
    IS_COUNTING.store(true, Ordering::SeqCst);
    let result = work();
    IS_COUNTING.store(false, Ordering::SeqCst);
    (result, LIVE_BYTES.load(Ordering::SeqCst) - before)
}

/// The memory of this process that is in the machine's, where the system says so.
pub(crate) fn resident_bytes() -> Option<i64> {
    const PAGE_BYTES: i64 = 4_096;
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    pages.split_whitespace().nth(1)?.parse::<i64>().ok().map(|pages| pages * PAGE_BYTES)
}
