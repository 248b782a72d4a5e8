//! Whether a ring that lives in memory fits into what is there.
//!
//! /dev/shm may be as large as all memory, and System V segments have no limit by default: a ring
//! that takes all of it costs other programs their lives before the kernel refuses anything.

use std::fs;
use std::path::Path;

use ringduct::Location;
use rustix::fs::statfs;

use crate::failure::{Code, Failure};
use crate::place::Place;
use crate::size;

/// `f_type` of tmpfs, from statfs(2).
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// Refuses a ring that takes more memory than is available, if it takes memory at all.
pub(crate) fn check(place: &Place, at_least_bytes: u64) -> Result<(), Failure> {
    if !takes_memory(place.location()) {
        return Ok(());
    }
    // The library takes the next power of two, and refuses what has none.
    let Some(capacity_bytes) = at_least_bytes.checked_next_power_of_two() else {
        return Ok(());
    };
    // A kernel that hides the figure has to find out for itself.
    let Some(available_bytes) = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| available_bytes(&text))
    else {
        return Ok(());
    };
    refuse(place, capacity_bytes, available_bytes)
}

fn refuse(place: &Place, capacity_bytes: u64, available_bytes: u64) -> Result<(), Failure> {
    if capacity_bytes <= available_bytes {
        return Ok(());
    }
    let what = format!(
        "{place}: a ring of {} does not fit: {} of memory are available",
        size::show_bytes(capacity_bytes),
        size::show_bytes(available_bytes)
    );
    Err(Failure::new(Code::NoSpace, what)
        .next("choose a smaller --capacity, or a file on a disk, which may be larger than memory"))
}

fn takes_memory(location: &Location) -> bool {
    match location {
        Location::File(path) => {
            let folder = match path.parent() {
                Some(folder) if folder != Path::new("") => folder,
                _ => Path::new("."),
            };
            statfs(folder).is_ok_and(|facts| facts.f_type == TMPFS_MAGIC)
        }
        _ => true,
    }
}

/// What `/proc/meminfo` says can be had without swapping.
fn available_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_in_kib() {
        let text =
            "MemTotal:       8148752 kB\nMemFree:  17 kB\nMemAvailable:    6000000 kB\nX: 1\n";
        assert_eq!(available_bytes(text), Some(6_144_000_000));
        for text in ["", "MemAvailable:", "MemAvailable: 5", "MemAvailable: x kB"] {
            assert_eq!(available_bytes(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_ring_larger_than_memory_is_refused() {
        let place = Place::from("shm:big".parse::<Location>().unwrap());
        assert!(refuse(&place, 1 << 30, 1 << 30).is_ok());
        let failure = refuse(&place, (1 << 30) + 1, 1 << 30).unwrap_err();
        assert_eq!(failure.code(), 7);
        assert!(
            failure
                .what()
                .starts_with("shm:big: a ring of 1.0 GiB does not fit"),
            "{}",
            failure.what()
        );
    }
}
