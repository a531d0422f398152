//! Memory back to the system after a busy time. glibc keeps what was freed below the top of its heaps: after an overload
//! over ZeroMQ the server stayed at 83 MiB with nothing in it, and `malloc_trim` brought it to 31, of 25 before
//! (`cargo xtask bench stress`). It holds up whoever allocates meanwhile, so it is called when there is little to do.
#![cfg_attr(all(target_os = "linux", target_env = "gnu"), allow(unsafe_code, reason = "malloc_trim(3) is C"))]

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
    /// So many pages (of 4 KiB) more than after the last time are worth the trouble: 8 MiB.
    const WORTH_PAGES: u64 = 2_048;

    unsafe extern "C" {
        fn malloc_trim(pad: usize) -> c_int;
    }

    /// Starts a thread that looks after it. Without one, or without `/proc`, memory stays where it is.
    pub(in super::super) fn give_back_when_quiet() {
        let _ = std::thread::Builder::new().name("sinew-memory".into()).spawn(|| {
            let mut rule = Rule::default();
            while let Some((pages, ticks)) = usage() {
                if rule.is_due(pages, ticks) {
                    // SAFETY: any thread may call it at any time (malloc_trim(3), "MT-Safe").
                    unsafe { malloc_trim(0) };
                    rule.floor = usage().map_or(0, |(pages, _)| pages);
                }
                std::thread::sleep(LOOK);
            }
        });
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

    #[derive(Debug, Default)]
    struct Rule {
        /// Pages after the last time, or fewer if there have been fewer since.
        floor: u64,
        ticks: u64,
    }

    impl Rule {
        fn is_due(&mut self, pages: u64, ticks: u64) -> bool {
            let quiet = ticks.saturating_sub(std::mem::replace(&mut self.ticks, ticks)) < QUIET_TICKS;
            self.floor = self.floor.min(pages);
            quiet && pages > self.floor + WORTH_PAGES
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
        fn only_when_quiet_and_only_when_it_pays() {
            let mut rule = Rule { floor: 1_000, ticks: 100 };
            assert!(!rule.is_due(9_000, 300), "busy");
            assert!(rule.is_due(9_000, 301));
            rule.floor = 7_500;
            assert!(!rule.is_due(9_000, 302), "not worth it");
            assert!(!rule.is_due(2_000, 303) && rule.floor == 2_000);
            assert!(rule.is_due(4_049, 304));
        }
    }
}
