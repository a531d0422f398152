//! What the disk has room for, how long it takes to sync, and what the operating system keeps of it in memory.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use crate::Result;

/// Writes of 4 KiB, each synced: enough for a median.
const SYNCS: u64 = 500;
/// Bytes of one read or write when it is asked what the disk itself can do.
const BLOCK_BYTES: usize = 1 << 20;
/// Bytes that are written for that at most: a disk that first takes much and then less is seen by what stands beside it.
const WRITTEN_BYTES_MAX: u64 = 1 << 30;

/// Free bytes where this folder is.
pub(crate) fn free(folder: &Path) -> Result<u64> {
    let found = rustix::fs::statvfs(folder)?;
    Ok(found.f_bavail * found.f_frsize)
}

/// The median time of an `fdatasync` behind a write of 4 KiB into a file that has its size, in microseconds.
pub(crate) fn sync_micros(folder: &Path) -> Result<f64> {
    let file = tempfile::tempfile_in(folder)?;
    let (block, mut times) = ([0x5a; 4096], Vec::new());
    (0..SYNCS).try_for_each(|index| file.write_all_at(&block, index * 4096))?;
    file.sync_all()?;
    for index in 0..SYNCS {
        file.write_all_at(&block, index * 4096)?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(began.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// How fast this disk takes bytes that are written one after the other into a file that has its size, each block synced,
/// in bytes for each microsecond: what the disk gives at that time, to be compared with. A log that syncs less often than
/// each block may surpass it.
pub(crate) fn write_rate(folder: &Path, bytes: u64) -> Result<f64> {
    let (mut file, block) = (tempfile::tempfile_in(folder)?, vec![0x5a; BLOCK_BYTES]);
    let blocks = bytes.min(WRITTEN_BYTES_MAX).div_ceil(BLOCK_BYTES as u64);
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, blocks * BLOCK_BYTES as u64)?;
    file.sync_all()?;
    let began = Instant::now();
    for _ in 0..blocks {
        file.write_all(&block)?;
        file.sync_data()?;
    }
    Ok((blocks * BLOCK_BYTES as u64) as f64 / began.elapsed().as_micros().max(1) as f64)
}

/// How fast the files below a folder are read one after the other and not looked at, in bytes for each microsecond: what a
/// reader that has nothing of them in memory cannot surpass.
pub(crate) fn read_rate(folder: &Path) -> Result<f64> {
    forget(folder)?;
    let (began, bytes) = (Instant::now(), read_all(folder, &mut vec![0; BLOCK_BYTES])?);
    Ok(bytes as f64 / began.elapsed().as_micros().max(1) as f64)
}

fn read_all(folder: &Path, block: &mut [u8]) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            bytes += read_all(&path, block)?;
            continue;
        }
        let mut file = File::open(&path)?;
        loop {
            match file.read(block)? {
                0 => break,
                read => bytes += read as u64,
            }
        }
    }
    Ok(bytes)
}

/// Resident memory of this process, in bytes; 0 where the system does not tell.
pub(crate) fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.map_or(Ok(0), |line| line.trim().trim_end_matches(" kB").trim().parse::<u64>())?;
    Ok(kilobytes * 1024)
}

/// Has the operating system forget the contents of all files below a folder, where it can be asked to, so that what
/// comes next reads them from the disk.
pub(crate) fn forget(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            forget(&path)?;
        } else {
            forget_file(&File::open(&path)?)?;
        }
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn forget_file(file: &File) -> Result<()> {
    // Only what is written can be forgotten.
    file.sync_all()?;
    Ok(rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?)
}

#[cfg(not(target_os = "linux"))]
fn forget_file(_file: &File) -> Result<()> {
    Ok(())
}
