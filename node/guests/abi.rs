//! What every guest shares: the exports that a worker calls (see `node/src/work/wasm/mod.rs`), without a library.
//!
//! A guest's `main.rs` includes this module and has `fn main(input: &[u8]) -> &'static [u8]`. It refuses an input by a
//! panic, which ends it with the fault `Unreachable`.

use core::arch::wasm32;
use core::panic::PanicInfo;
use core::slice;

const PAGE_BYTES: usize = 64 * 1024;

/// Fresh memory, all zero, that nothing else uses. It is never given back: an instance runs once.
pub fn zeroed<T: Zero>(len: usize) -> &'static mut [T] {
    let bytes = len.checked_mul(core::mem::size_of::<T>()).expect("it fits");
    let pages = bytes / PAGE_BYTES + 1;
    let before = wasm32::memory_grow(0, pages);
    assert!(before != usize::MAX, "the task's memory is used up");
    // Safety: the pages are new, so they are zero, aligned and not referred to; zero is a value of every `Zero` type.
    unsafe { slice::from_raw_parts_mut((before * PAGE_BYTES) as *mut T, len) }
}

/// Types of which all bytes zero is a value.
pub trait Zero {}
impl Zero for u8 {}
impl Zero for u64 {}

/// The numbers in an input or output: eight bytes each, lowest first.
pub fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    assert!(bytes.len() % 8 == 0, "the input is not made of 8-byte numbers");
    bytes.chunks_exact(8).map(|chunk| {
        let mut number = [0; 8];
        number.copy_from_slice(chunk);
        u64::from_le_bytes(number)
    })
}

#[no_mangle]
extern "C" fn alloc(len: usize) -> *mut u8 {
    zeroed::<u8>(len).as_mut_ptr()
}

#[no_mangle]
extern "C" fn run(address: *const u8, len: usize) -> u64 {
    // Safety: the worker has written `len` bytes to this place, which `alloc` has given it.
    let input = unsafe { slice::from_raw_parts(address, len) };
    let output = crate::main(input);
    (output.as_ptr() as u64) << 32 | output.len() as u64
}

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    wasm32::unreachable()
}
