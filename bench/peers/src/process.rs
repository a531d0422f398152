//! What the system says of a process: processor time and resident memory, from `/proc`.

use crate::Outcome;

/// Resident memory, bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Memory {
    /// Now.
    pub(crate) now: u64,
    /// The most it ever was.
    pub(crate) peak: u64,
}

/// Seconds of processor time that process `id` has used, all its threads together, in user mode and in the kernel.
pub(crate) fn cpu(id: u32) -> Outcome<f64> {
    cpu_of(&id.to_string())
}

/// As [`cpu`], of this process.
pub(crate) fn own_cpu() -> Outcome<f64> {
    cpu_of("self")
}

/// Memory of process `id`.
pub(crate) fn memory(id: u32) -> Outcome<Memory> {
    let text = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let of = |name| kilobytes(&text, name).ok_or_else(|| format!("/proc/{id}/status has no {name}"));
    Ok(Memory { now: of("VmRSS:")? * 1024, peak: of("VmHWM:")? * 1024 })
}

fn cpu_of(process: &str) -> Outcome<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let ticks = ticks(&text).ok_or_else(|| format!("/proc/{process}/stat cannot be read: {text}"))?;
    let second = ticks_a_second(&std::fs::read("/proc/self/auxv")?).ok_or("/proc/self/auxv has no AT_CLKTCK")?;
    Ok(ticks as f64 / second as f64)
}

/// `AT_CLKTCK` of the auxiliary vector: pairs of words, in which 17 stands before it (getauxval(3)).
fn ticks_a_second(vector: &[u8]) -> Option<usize> {
    const WORD: usize = size_of::<usize>();
    let words = vector.chunks_exact(WORD).map(|word| usize::from_ne_bytes(word.try_into().expect("chunks are exact")));
    let words: Vec<_> = words.collect();
    words.chunks_exact(2).find(|pair| pair[0] == 17).map(|pair| pair[1]).filter(|ticks| *ticks > 0)
}

/// `utime` and `stime` of a line of `/proc/PID/stat`, which are its fields 14 and 15 (proc_pid_stat(5)). The second
/// field is the program's name in parentheses and may itself hold blanks and parentheses.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut number = || fields.next()?.parse::<u64>().ok();
    Some(number()? + number()?)
}

fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    rest.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{cpu, kilobytes, memory, own_cpu, ticks, ticks_a_second};

    #[test]
    fn fields_are_counted_behind_the_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 101 0 0 0 17 25 3 4 20 0 1 0 100 1000 200";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("42 (a) S 1"), None);
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn the_clock_is_found_among_pairs() {
        let vector = |words: &[usize]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>();
        assert_eq!(ticks_a_second(&vector(&[6, 17, 17, 100, 0, 0])), Some(100));
        assert_eq!(ticks_a_second(&vector(&[6, 17])), None);
    }

    #[test]
    fn memory_is_read_by_name() {
        let status = "Name:\ta\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!((kilobytes(status, "VmRSS:"), kilobytes(status, "VmHWM:")), (Some(1024), Some(2048)));
        assert_eq!(kilobytes(status, "VmSwap:"), None);
    }

    #[test]
    fn this_process_has_both() {
        let own = std::process::id();
        let memory = memory(own).unwrap();
        assert!(memory.now > 0 && memory.peak > 0);
        assert!(own_cpu().unwrap() <= cpu(own).unwrap());
        // No process has this number: pid_max is at most 2^22.
        assert!(cpu(u32::MAX).is_err());
    }
}
