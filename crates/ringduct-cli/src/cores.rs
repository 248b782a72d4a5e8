//! The processors this program may use, and which of them share a core.

use std::fs;

use rustix::thread::CpuSet;

/// The processors that this program may run on, in ascending order.
pub(crate) fn allowed() -> Vec<usize> {
    match rustix::thread::sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU)
            .filter(|cpu| set.is_set(*cpu))
            .collect(),
        Err(_) => Vec::new(),
    }
}

/// The processors that are threads of the same core as `cpu`, itself among them.
pub(crate) fn siblings(cpu: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    let list = fs::read_to_string(path).unwrap_or_default();
    let found = numbers(&list);
    if found.is_empty() { vec![cpu] } else { found }
}

/// Two processors, on two cores if there are two; the same one twice if there is only one.
pub(crate) fn two() -> Option<[usize; 2]> {
    let allowed = allowed();
    let first = *allowed.first()?;
    let siblings = siblings(first);
    let mut others = allowed.iter().filter(|cpu| **cpu != first);
    let apart = others.clone().find(|cpu| !siblings.contains(cpu));
    Some([first, *apart.or_else(|| others.next()).unwrap_or(&first)])
}

/// Whether the kernel runs in a virtual machine, as far as the processor says.
pub(crate) fn virtual_machine() -> bool {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut flags = info.lines().filter(|line| line.starts_with("flags"));
    flags.any(|line| {
        line.split_ascii_whitespace()
            .any(|flag| flag == "hypervisor")
    })
}

/// What the processor calls itself.
pub(crate) fn model() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut lines = info.lines();
    let line = lines.find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    line.map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |(_, name)| name.trim().to_owned(),
    )
}

/// The numbers in a list such as `0,2-3`.
fn numbers(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.trim().parse().ok()?..=to.trim().parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_read() {
        assert_eq!(numbers(" 0,2-4\n"), [0, 2, 3, 4]);
        assert_eq!(numbers(""), [0; 0]);
        assert_eq!(numbers("x,1"), [1]);
    }

    /// Goal: the two are allowed, and differ where more than one is.
    #[test]
    fn two_processors_are_chosen() {
        let allowed = allowed();
        let [first, second] = two().unwrap();
        assert!(allowed.contains(&first) && allowed.contains(&second));
        assert_eq!(first == second, allowed.len() == 1);
        assert!(siblings(first).contains(&first));
    }
}
