//! The machine: which cores to use, how fast its clock ticks, and what to say about it.

use std::fs;
use std::time::Duration;

use rivals_harness::{Failure, clock};
use serde::Serialize;

use crate::placement::Placement;

/// On a virtual machine, a floor of so many nanoseconds or more means two cores without a common
/// cache. They pass a cache line there and back in 250 to 550 ns; two cores of one cache in 100 to
/// 150, and two hyper-threads of one core in 60 to 110.
const FAR_NS: f64 = 200.0;

/// Work beside the other side's takes at least so many percent of the time that it takes alone where
/// the two are hyper-threads of one core: 200 by how it is made; on two cores 96 to 105 were seen.
const SAME_PERCENT: u64 = 150;

/// What there is to know about the machine.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) kernel: String,
    pub(crate) cores: [usize; 2],
    pub(crate) ticks_per_ns: f64,
    /// The smallest step of the ticks.
    pub(crate) step_ticks: u64,
    /// Where the two cores are, if the kernel knows and they stay there.
    pub(crate) fixed: Option<Placement>,
    /// Else, a floor of so many nanoseconds or more means two cores without a common cache.
    pub(crate) far_ns: f64,
}

impl Machine {
    /// Looks, and chooses cores unless they are given.
    pub(crate) fn look(cores: Option<&[usize]>, far_ns: Option<f64>) -> Result<Self, Failure> {
        let cores = match cores {
            Some(&[first, second]) => [first, second],
            Some(_) => return Err("--cores takes two numbers".into()),
            None => two_cores()?,
        };
        Ok(Self {
            cpu: cpu(),
            kernel: text("/proc/sys/kernel/osrelease"),
            cores,
            ticks_per_ns: clock::ticks_per_ns(Duration::from_millis(100)),
            step_ticks: clock::step(),
            fixed: if far_ns.is_none() { fixed(cores) } else { None },
            far_ns: far_ns.unwrap_or(FAR_NS),
        })
    }

    /// What a floor, and the ticks of a work alone and beside the other side's, tell of the placement.
    /// The floor alone does not tell the two hyper-threads of a core from two cores of one cache.
    pub(crate) fn placement(&self, floor_ns: f64, [alone, beside]: [u64; 2]) -> Placement {
        if let Some(fixed) = self.fixed {
            fixed
        } else if beside * 100 >= alone * SAME_PERCENT {
            Placement::Same
        } else if floor_ns >= self.far_ns {
            Placement::Far
        } else {
            Placement::Near
        }
    }

    pub(crate) fn ns(&self, ticks: f64) -> f64 {
        ticks / self.ticks_per_ns
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few milliseconds"
    )]
    pub(crate) fn ticks(&self, time: Duration) -> u64 {
        (time.as_secs_f64() * 1e9 * self.ticks_per_ns) as u64
    }
}

fn text(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn cpu() -> String {
    let info = text("/proc/cpuinfo");
    let model = info.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(':'));
    model.map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |(_, name)| name.trim().to_owned(),
    )
}

/// Where two cores are. What the kernel of a virtual machine says of its cores means nothing, as
/// the host moves them; any other kernel knows.
fn fixed([first, second]: [usize; 2]) -> Option<Placement> {
    let info = text("/proc/cpuinfo");
    let mut flags = info.lines().filter(|line| line.starts_with("flags"));
    if flags.any(|line| line.ends_with(" hypervisor") || line.contains(" hypervisor ")) {
        return None;
    }
    let last_cache = format!("/sys/devices/system/cpu/cpu{first}/cache/index3/shared_cpu_list");
    Some(if first == second || siblings(first).contains(&second) {
        Placement::Same
    } else if numbers(&text(&last_cache)).contains(&second) {
        Placement::Near
    } else {
        Placement::Far
    })
}

/// The hyper-threads of the core that `core` is one of.
fn siblings(core: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
    numbers(&text(&path))
}

/// The first core this program may use, and the first after it that is not its hyper-thread.
fn two_cores() -> Result<[usize; 2], Failure> {
    let status = text("/proc/self/status");
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let allowed = numbers(list.unwrap_or_default());
    let first = *allowed.first().ok_or("no core to run on")?;
    let siblings = siblings(first);
    let second = allowed.iter().skip(1).find(|core| !siblings.contains(core));
    let second = second.ok_or("two cores are needed; --cores 0,0 measures on one")?;
    Ok([first, *second])
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
    #[test]
    fn lists_of_cores() {
        assert_eq!(super::numbers(" 0,2-4\n"), [0, 2, 3, 4]);
        assert_eq!(super::numbers(""), [0; 0]);
    }
}
