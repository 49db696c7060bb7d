//! Asking the processor for memory before it is needed, so that the waits of all keys of a transaction overlap.

/// Bytes that come from memory at a time.
const LINE_BYTES: usize = 64;
/// Lines of one key's block that are asked for: the rest follows in order, which the processor foresees.
const LINES_MAX: usize = 48;

/// Asks for the line that a value begins on.
#[inline]
pub(crate) fn prefetch<T>(value: &T) {
    ask(std::ptr::from_ref(value).cast());
}

/// Asks for the line that a value begins on, and the next one.
#[inline]
pub(crate) fn prefetch_two<T>(value: &T) {
    let begin: *const u8 = std::ptr::from_ref(value).cast();
    ask(begin);
    ask(begin.wrapping_add(LINE_BYTES));
}

/// Asks for all lines of a value.
#[inline]
pub(crate) fn prefetch_whole<T>(value: &T) {
    let begin: *const u8 = std::ptr::from_ref(value).cast();
    for line in 0..size_of::<T>().div_ceil(LINE_BYTES) {
        ask(begin.wrapping_add(line * LINE_BYTES));
    }
}

/// Asks for the first lines of some bytes.
#[inline]
pub(crate) fn prefetch_bytes(bytes: &[u8]) {
    for line in bytes.chunks(LINE_BYTES).take(LINES_MAX) {
        ask(line.as_ptr());
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[expect(unsafe_code, reason = "a hint to the processor; there is no safe name for it yet")]
fn ask(address: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch reads nothing that the program sees and cannot fault, whatever the address is; and every x86_64
    // processor has it.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn ask(_address: *const u8) {}
