//! Memory back to the system after a busy time. glibc keeps what was freed below the top of its heaps: after an overload
//! over ZeroMQ the server stayed at 83 MiB with nothing in it, and `malloc_trim` brought it to 31, of 25 before
//! (`cargo xtask bench stress`). It holds up whoever allocates meanwhile, so it is called when there is little to do, or when
//! so much has come since the last time that it must be looked at: a million keys that were overwritten without a pause
//! took 380 MiB in place of 190 (`kvstore/tests/million.rs`, with this called every few seconds, which took 20 to 50 ms).
//!
//! Once is not enough: what a connection held is freed only when the connection is lost, seconds after a peer that died
//! was heard last, and what is freed below the top of a heap changes nothing about the pages that are in use. So the rule
//! looks at what the program holds, too, as the allocator counts it.
#![cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    allow(unsafe_code, reason = "malloc_trim(3) and mallinfo(3) are C")
)]

#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) use self::glibc::give_back_when_quiet;

/// Other systems' allocators give it back by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn give_back_when_quiet() {}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::ffi::c_int;
    use std::time::Duration;

    /// How often it looks.
    const LOOK: Duration = Duration::from_secs(2);
    /// Processor time between two looks, in ticks of 10 ms, below which there is little to do: 30 % of a core. The
    /// heartbeats of a thousand idle connections take some of it.
    const QUIET_TICKS: u64 = 60;
    /// So many bytes are worth the trouble.
    const WORTH_BYTES: i32 = 8 * 1024 * 1024;
    /// The same in pages of 4 KiB.
    const WORTH_PAGES: u64 = WORTH_BYTES as u64 / 4_096;
    /// So many are worth it in a busy time, too: 32 MiB.
    const BUSY_WORTH_PAGES: u64 = (32 << 20) / 4_096;

    /// `struct mallinfo` (mallinfo(3)): ten counters, of which the eighth is the bytes that the program holds.
    #[repr(C)]
    struct Mallinfo([c_int; 10]);

    /// Which of them.
    const HELD: usize = 7;

    unsafe extern "C" {
        fn malloc_trim(pad: usize) -> c_int;
        /// Not `mallinfo2`, which older libraries lack: a counter wraps at 4 GiB, and differences of it are looked at.
        fn mallinfo() -> Mallinfo;
    }

    /// Starts a thread that looks after it. Without one, or without `/proc`, memory stays where it is.
    pub(in super::super) fn give_back_when_quiet() {
        let _ = std::thread::Builder::new().name("sinew-memory".into()).spawn(|| {
            let mut rule = Rule::default();
            while let Some((pages, ticks)) = usage() {
                let is_quiet = rule.is_quiet(ticks);
                if (is_quiet && rule.is_due(pages, held_bytes())) || rule.is_overdue(pages) {
                    // SAFETY: any thread may call it at any time (malloc_trim(3), "MT-Safe").
                    unsafe { malloc_trim(0) };
                    rule.trimmed(usage().map_or(0, |(pages, _)| pages), held_bytes());
                }
                std::thread::sleep(LOOK);
            }
        });
    }

    /// What the program holds in all heaps, modulo 4 GiB. Looks at all that is free, so it is for quiet times as well.
    fn held_bytes() -> i32 {
        // SAFETY: any thread may call it (mallinfo(3), "MT-Unsafe" only beside mallopt and main's first moments).
        unsafe { mallinfo() }.0[HELD]
    }

    /// Resident pages, and the processor time so far in ticks (proc_pid_stat(5)).
    fn usage() -> Option<(u64, u64)> {
        let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
        let pages = pages.split(' ').nth(1)?.parse().ok()?;
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
        Some((pages, ticks(11)? + ticks(12)?))
    }

    /// When it is time.
    #[derive(Debug, Default)]
    struct Rule {
        /// Pages after the last time, or fewer if there have been fewer since.
        pages: u64,
        /// Bytes held at the last time, modulo 4 GiB.
        held: i32,
        ticks: u64,
    }

    impl Rule {
        fn is_quiet(&mut self, ticks: u64) -> bool {
            ticks.saturating_sub(std::mem::replace(&mut self.ticks, ticks)) < QUIET_TICKS
        }

        /// Whether there are more pages than after the last time, or much was freed of what was held then.
        fn is_due(&mut self, pages: u64, held: i32) -> bool {
            self.pages = self.pages.min(pages);
            pages > self.pages + WORTH_PAGES || self.held.wrapping_sub(held) > WORTH_BYTES
        }

        /// Whether there are so many more pages than after the last time that it does not wait for a quiet time.
        fn is_overdue(&self, pages: u64) -> bool {
            pages > self.pages + BUSY_WORTH_PAGES
        }

        fn trimmed(&mut self, pages: u64, held: i32) {
            (self.pages, self.held) = (pages, held);
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn this_process_is_somewhere_and_does_something() {
            let (pages, _) = usage().expect("Linux has /proc");
            assert!(pages > 0);
        }

        #[test]
        fn what_is_held_is_counted() {
            // Small ones: the allocator counts those apart that it maps one by one.
            let before = held_bytes();
            let many: Vec<_> = (0..1_024).map(|_| std::hint::black_box(vec![0_u8; 32 * 1024])).collect();
            let grown = held_bytes().wrapping_sub(before);
            assert!((24 << 20..64 << 20).contains(&grown), "{grown}");
            drop(many);
            assert!(held_bytes().wrapping_sub(before) < 16 << 20);
        }

        #[test]
        fn only_when_quiet() {
            let mut rule = Rule { ticks: 100, ..Rule::default() };
            assert!(!rule.is_quiet(300));
            assert!(rule.is_quiet(301));
        }

        #[test]
        fn only_when_it_pays() {
            let mut rule = Rule::default();
            rule.trimmed(7_500, 0);
            assert!(!rule.is_due(9_000, 0), "not worth it");
            assert!(!rule.is_due(2_000, 0) && rule.pages == 2_000, "fewer than after the last time");
            assert!(rule.is_due(4_049, 0));
        }

        #[test]
        fn in_busy_times_when_it_pays_much() {
            let mut rule = Rule::default();
            rule.trimmed(7_500, 0);
            assert!(!rule.is_overdue(7_500 + BUSY_WORTH_PAGES));
            assert!(rule.is_overdue(7_501 + BUSY_WORTH_PAGES));
            rule.trimmed(30_000, 0);
            assert!(!rule.is_overdue(30_000), "as many are in use: it waits for as many more");
        }

        #[test]
        fn again_when_much_was_freed_since() {
            let mut rule = Rule::default();
            let (held, less) = (i32::MIN + 5, i32::MAX - WORTH_BYTES + 6);
            rule.trimmed(9_000, held);
            assert!(!rule.is_due(9_000, held.wrapping_sub(WORTH_BYTES)), "not worth it");
            assert!(
                rule.is_due(9_000, less - 1),
                "{} less, beyond the end of the counter",
                held.wrapping_sub(less - 1)
            );
            rule.trimmed(9_000, less - 1);
            assert!(!rule.is_due(9_000, less - 1), "that was all");
            assert!(!rule.is_due(9_000, held), "more is held again");
        }
    }
}
