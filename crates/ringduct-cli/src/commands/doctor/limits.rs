//! What a container or a control group limits.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Finding, Level, number, text};
use crate::container;
use crate::size::show_bytes;

/// The number above which a limit means none.
const NO_LIMIT: u64 = 1 << 60;

pub(super) fn container() -> Finding {
    let kind = container::inside();
    let limit = memory_limit();
    let used = limit.as_ref().and_then(|limit| limit.used_bytes);
    let cpus = cpu_quota();
    let mut found = match &kind {
        Some(kind) => format!("inside a container ({kind})"),
        None => "not inside a container, as far as can be told".to_owned(),
    };
    match &limit {
        Some(limit) => {
            let max = show_bytes(limit.max_bytes);
            let used = used.map_or_else(|| "unknown".to_owned(), show_bytes);
            let _infallible = write!(found, "; memory.max is {max}, used {used}");
        }
        None => found.push_str("; memory without limit"),
    }
    if let Some(cpus) = cpus {
        let _infallible = write!(found, "; limited to {cpus:.1} processors");
    }
    let data = json!({
        "kind": kind,
        "memory_max_bytes": limit.as_ref().map(|limit| limit.max_bytes),
        "memory_used_bytes": used,
        "cpus": cpus,
    });
    let finding = Finding::new("container", found, data);
    if limit.is_some() {
        return finding.at(
            Level::Note,
            "pages of rings in memory count against it, and programs are killed beyond it: raise it \
             (docker run --memory, resources.limits.memory) or choose smaller capacities",
        );
    }
    if cpus.is_some_and(|cpus| cpus < 2.0) {
        return finding.at(
            Level::Note,
            "a side that spins uses up the time of both: keep the default wait, which sleeps",
        );
    }
    finding
}

/// A limit on memory.
#[derive(Debug)]
struct Limit {
    max_bytes: u64,
    used_bytes: Option<u64>,
}

/// The tightest limit of this program's group and those above it.
fn memory_limit() -> Option<Limit> {
    let groups = text("/proc/self/cgroup");
    let at = |folder: PathBuf, max, used| {
        let max_bytes = number(folder.join(max)).filter(|bytes| *bytes < NO_LIMIT)?;
        let used_bytes = number(folder.join(used));
        Some(Limit {
            max_bytes,
            used_bytes,
        })
    };
    let second = folders(&groups, "", "/sys/fs/cgroup").into_iter();
    let first = folders(&groups, "memory", "/sys/fs/cgroup/memory").into_iter();
    second
        .filter_map(|folder| at(folder, "memory.max", "memory.current"))
        .chain(
            first.filter_map(|folder| at(folder, "memory.limit_in_bytes", "memory.usage_in_bytes")),
        )
        .min_by_key(|limit| limit.max_bytes)
}

/// How many processors' worth of time there is; none without a quota.
fn cpu_quota() -> Option<f64> {
    let groups = text("/proc/self/cgroup");
    let folders = folders(&groups, "", "/sys/fs/cgroup");
    let quotas = folders.iter().filter_map(|folder| {
        let text = fs::read_to_string(folder.join("cpu.max")).ok()?;
        let (quota, period) = text.trim().split_once(' ')?;
        Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
    });
    quotas.reduce(f64::min)
}

/// The folder of this program's group and those above it. In a container the path may be the
/// host's, and what is mounted is the group itself: then only the last of these exists.
fn folders(groups: &str, controller: &str, root: &str) -> Vec<PathBuf> {
    let of = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let mut controllers = fields.next()?.split(',');
        let path = fields.next()?;
        controllers
            .any(|found| found == controller)
            .then(|| path.to_owned())
    };
    let Some(path) = groups.lines().find_map(of) else {
        return Vec::new();
    };
    let full = Path::new(root).join(path.trim_start_matches('/'));
    full.ancestors()
        .take_while(|folder| folder.starts_with(root))
        .map(Path::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_those_above_are_looked_at() {
        let groups = "12:cpu,memory:/a\n0::/user.slice/x.scope\n";
        let all = folders(groups, "", "/sys/fs/cgroup");
        let all: Vec<_> = all.iter().map(|folder| folder.to_str().unwrap()).collect();
        let expected = [
            "/sys/fs/cgroup/user.slice/x.scope",
            "/sys/fs/cgroup/user.slice",
            "/sys/fs/cgroup",
        ];
        assert_eq!(all, expected);
        assert_eq!(folders(groups, "memory", "/m").len(), 2);
        assert!(folders("", "", "/sys/fs/cgroup").is_empty());
    }
}
