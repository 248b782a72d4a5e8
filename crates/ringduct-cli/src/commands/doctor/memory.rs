//! Memory: where shm: rings live, huge pages, locked pages, System V.

use rustix::process::{Resource, getrlimit};
use serde_json::json;

use super::{Finding, Level, number, text};
use crate::container;
use crate::size::show_bytes;

/// `f_type` of tmpfs, from statfs(2).
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// What a container often gets for its shared memory.
const SMALL_BYTES: u64 = 64 << 20;

/// Less than a ring with the default capacity.
const TOO_LITTLE_BYTES: u64 = 2 << 20;

/// The number above which a limit of the kernel means none.
const NO_LIMIT: u64 = 1 << 60;

pub(super) fn shm() -> Finding {
    let facts = match rustix::fs::statfs("/dev/shm") {
        Ok(facts) if facts.f_type == TMPFS_MAGIC => facts,
        outcome => {
            let found = match outcome {
                Ok(_) => "/dev/shm is no tmpfs".to_owned(),
                Err(errno) => format!("/dev/shm can not be used: {errno}"),
            };
            let next = "mount it (mount -t tmpfs -o mode=1777 tmpfs /dev/shm), or use files";
            let data = json!({ "size_bytes": null, "free_bytes": null });
            return Finding::new("shm", found, data).at(Level::Problem, next);
        }
    };
    let block = u64::try_from(facts.f_bsize).unwrap_or(0);
    let size = facts.f_blocks.saturating_mul(block);
    let free = facts.f_bavail.saturating_mul(block);
    let found = format!(
        "/dev/shm has {}, free {}",
        show_bytes(size),
        show_bytes(free)
    );
    let data = json!({ "size_bytes": size, "free_bytes": free });
    judge_shm(Finding::new("shm", found, data), size, free)
}

fn judge_shm(finding: Finding, size: u64, free: u64) -> Finding {
    let larger = if container::inside().is_some() {
        "start the container with a larger one (docker run --shm-size=1g; in Kubernetes an emptyDir \
         of medium Memory at /dev/shm)"
    } else {
        "make it larger (mount -o remount,size=4g /dev/shm)"
    };
    match (size, free) {
        // A size of zero is one without limit.
        (0, _) => finding,
        (_, free) if free < TOO_LITTLE_BYTES => finding.at(
            Level::Problem,
            format!("no ring with the default capacity fits in: remove some, or {larger}"),
        ),
        (size, _) if size <= SMALL_BYTES => {
            finding.at(Level::Warning, format!("for large rings: {larger}"))
        }
        _ => finding,
    }
}

pub(super) fn system_v() -> Finding {
    let read = |name: &str| number(format!("/proc/sys/kernel/{name}"));
    let (largest, pages, segments) = (read("shmmax"), read("shmall"), read("shmmni"));
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(0);
    let all = pages.map(|pages| pages.saturating_mul(page));
    let data = json!({ "shmmax_bytes": largest, "shmall_bytes": all, "shmmni": segments });
    let (Some(largest), Some(all), Some(segments)) = (largest, all, segments) else {
        let found = "System V shared memory is not offered here".to_owned();
        let next = "use shm: or files instead of sysv: locations";
        return Finding::new("system_v", found, data).at(Level::Note, next);
    };
    let shown = |bytes: u64| match bytes {
        NO_LIMIT.. => "without limit".to_owned(),
        _ => show_bytes(bytes),
    };
    let found = format!(
        "one segment (shmmax): {}; all together (shmall): {}; segments: {segments}",
        shown(largest),
        shown(all)
    );
    let finding = Finding::new("system_v", found, data);
    if largest < SMALL_BYTES || all < SMALL_BYTES {
        let next = "large sysv: rings do not fit: raise them (sysctl -w kernel.shmmax=... \
                    kernel.shmall=...), or use shm:";
        return finding.at(Level::Warning, next);
    }
    finding
}

/// Memory that may be locked, for an option of the library.
pub(super) fn locked() -> Finding {
    let locked = getrlimit(Resource::Memlock).current;
    let shown = locked.map_or_else(|| "without limit".to_owned(), show_bytes);
    let found = format!("memory that may be locked (ulimit -l): {shown}");
    let finding = Finding::new("memlock", found, json!({ "memlock_bytes": locked }));
    match locked {
        Some(bytes) if bytes < SMALL_BYTES => finding.at(
            Level::Note,
            "Options::lock_memory is refused beyond that: ulimit -l, LimitMEMLOCK= of a unit, or \
             docker run --ulimit memlock=-1",
        ),
        _ => finding,
    }
}

pub(super) fn huge_pages() -> Finding {
    let info = text("/proc/meminfo");
    let field = |name: &str| {
        let mut lines = info.lines();
        let rest = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        rest.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    let (total, free) = (field("HugePages_Total"), field("HugePages_Free"));
    let size = field("Hugepagesize").map(|kib| kib.saturating_mul(1024));
    let transparent = chosen(&text("/sys/kernel/mm/transparent_hugepage/enabled"));
    let shared = chosen(&text("/sys/kernel/mm/transparent_hugepage/shmem_enabled"));
    let found = format!(
        "{} reserved (nr_hugepages), {} free, of {}; transparent: {}, for shared memory: {}",
        total.unwrap_or(0),
        free.unwrap_or(0),
        size.map_or_else(|| "unknown size".to_owned(), show_bytes),
        transparent.as_deref().unwrap_or("not offered"),
        shared.as_deref().unwrap_or("not offered"),
    );
    let data = json!({
        "reserved": total,
        "free": free,
        "page_bytes": size,
        "transparent": transparent,
        "transparent_shmem": shared,
    });
    let finding = Finding::new("huge_pages", found, data);
    if free.unwrap_or(0) == 0 {
        return finding.at(
            Level::Note,
            "rings with --huge are refused: reserve some (sysctl -w vm.nr_hugepages=64)",
        );
    }
    finding
}

/// The word in brackets: `always [madvise] never`.
fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_word_is_in_brackets() {
        assert_eq!(chosen("always [madvise] never").as_deref(), Some("madvise"));
        assert_eq!(chosen(""), None);
    }

    /// Goal: exit codes follow the space that is left. Method: sizes that this machine need not
    /// have.
    #[test]
    fn a_full_shm_is_a_problem_and_a_small_one_a_warning() {
        let level = |size, free| {
            let finding = Finding::new("shm", String::new(), json!({}));
            judge_shm(finding, size, free).level
        };
        assert_eq!(level(0, 0), Level::Good);
        assert_eq!(level(64 << 20, 1 << 20), Level::Problem);
        assert_eq!(level(64 << 20, 32 << 20), Level::Warning);
        assert_eq!(level(1 << 30, 32 << 20), Level::Good);
    }
}
