//! A hint for the C library's allocator: memory that blocks were in is wanted again at once.

use std::sync::Once;

/// glibc gives memory at the top of a heap back to the kernel as soon as 128 KiB of it are free, which is two of our
/// blocks, and each block then begins with 16 page faults wherever it is allocated: seven times on its way, a third of
/// what a message of 128 bytes costs (`perf stat -e page-faults` on the processes of `sinew demo`). It learns from what
/// is freed, though: after a piece of this size, up to twice as much stays in each heap (mallopt(3),
/// `M_MMAP_THRESHOLD`). With half of it some faults were left, with more nothing was gained.
const PIECE_BYTES: usize = 2 * 1024 * 1024;

/// Frees a piece of memory of [`PIECE_BYTES`], once for each process; its pages are never touched. Other allocators take
/// no notice, and one whose thresholds were set by the user does not change them.
pub(crate) fn keep_freed_blocks() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(PIECE_BYTES))));
}
