//! Goes through everything, round by round, each measurement in a pair of fresh processes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use rivals_harness::worker::WORKER;
use rivals_harness::{Cell, Failure, Kind, Output};

use crate::arguments::Arguments;
use crate::figures::{Everything, Figures, Key};
use crate::machine::Machine;
use crate::names::{AGAIN, CHECKSUM, FLOOR, FLOOR_PAUSE, FULL, RINGS, SAME, SIZES, TRANSPORTS};
use crate::placement::{Placement, Settled, Wanted};
use crate::{full, programs, singles};

/// A measurement that takes longer is stuck.
const WATCHDOG: Duration = Duration::from_secs(3);

/// `--quick` begins no round that would end later.
const QUICK: Duration = Duration::from_secs(140);

/// The floor is measured for so long right before and right after every cell.
const FLOOR_TIME: Duration = Duration::from_millis(4);

/// A cell during which the placement changed is measured again at most so often.
const RETRIES: u32 = 2;

/// How long all waiting for a placement may take, in `--quick` and in `--full`.
const WAITING: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(600)];

/// The same, for what is measured once, when the placement to report is known.
const WAITING_ONCE_CHOSEN: Duration = Duration::from_secs(8);

/// Wakes are tried so often in the placement that is reported.
const WAKES: u32 = 8;

/// Between two looks at the placement: sleepers are the likeliest to be moved.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// A cell that failed this often is not tried again.
const FAILURES: u32 = 2;

/// A placement is reported if this part of all cells has enough rounds in it.
const MOST: f64 = 0.8;

/// A measurement did not end in time.
#[derive(Debug)]
struct Stuck;

impl std::fmt::Display for Stuck {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("stuck, and ended")
    }
}

impl std::error::Error for Stuck {}

/// Runs measurements, and remembers which transports cannot be measured.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) machine: Machine,
    pub(crate) skipped: BTreeMap<String, String>,
    /// How often each cell failed.
    failed: BTreeMap<Key, u32>,
    /// Cells that were thrown away.
    pub(crate) unsettled: u32,
    /// The placements to wait for, and for how long altogether.
    awaited: Vec<Placement>,
    waiting: Duration,
    /// Nothing is waited for any longer than this.
    until: Option<Instant>,
    missing: BTreeSet<String>,
    only: Vec<String>,
    transports: Vec<&'static str>,
    cell: Duration,
    dir: PathBuf,
    prefix: String,
    count: u64,
}

impl Runner {
    fn new(arguments: &Arguments, machine: &Machine) -> Result<Self, Failure> {
        let program = std::env::current_exe()?;
        let beside = program.parent().map(PathBuf::from).unwrap_or_default();
        let further = FULL.into_iter().filter(|_| arguments.full);
        let transports: Vec<_> = TRANSPORTS.into_iter().chain(further).collect();
        let known: BTreeSet<_> = transports.iter().copied().collect();
        if let Some(name) = arguments
            .only
            .iter()
            .find(|name| !known.contains(name.as_str()))
        {
            let known = transports.join(", ");
            return Err(format!("no transport is called {name:?}; there are {known}").into());
        }
        let default_ms = if arguments.full { 50 } else { 15 };
        Ok(Self {
            machine: machine.clone(),
            skipped: programs::missing().collect(),
            failed: BTreeMap::new(),
            unsettled: 0,
            awaited: arguments.placement.placements().to_vec(),
            waiting: WAITING[usize::from(arguments.full)],
            until: (!arguments.full).then(|| Instant::now() + QUICK),
            missing: programs::missing().map(|(name, _)| name).collect(),
            only: arguments.only.clone(),
            transports,
            cell: Duration::from_millis(arguments.cell_ms.unwrap_or(default_ms).into()),
            dir: arguments.dir.clone().unwrap_or(beside),
            prefix: format!("ringduct-rivals-{}", std::process::id()),
            count: 0,
        })
    }

    /// Whether a transport is asked for and can be measured.
    pub(crate) fn wanted(&self, transport: &str) -> bool {
        let asked = self.only.is_empty() || self.only.iter().any(|name| name == transport);
        asked && !self.missing.contains(transport)
    }

    /// A cell of the usual length.
    pub(crate) fn cell(&mut self, transport: &str, kind: Kind, bytes: usize, ring: usize) -> Cell {
        self.count += 1;
        Cell {
            transport: transport.to_owned(),
            kind,
            bytes,
            ring_bytes: ring,
            ticks: self.machine.ticks(self.cell),
            gap_ticks: 0,
            floor_ticks: self.machine.ticks(FLOOR_TIME),
            cores: self.machine.cores,
            name: format!("{}-{}", self.prefix, self.count),
            dir: self.dir.clone(),
        }
    }

    /// Measures a cell in a program of its own, again if the placement changed meanwhile.
    /// A cell that fails too often is skipped from then on.
    pub(crate) fn measure(&mut self, cell: &Cell) -> Option<Settled> {
        let key = Key::of(cell);
        if self
            .failed
            .get(&key)
            .is_some_and(|times| *times >= FAILURES)
        {
            return None;
        }
        let mut last = None;
        for _ in 0..=RETRIES {
            self.wait_for_placement();
            match self.try_measure(cell) {
                Ok(output) => last = Settled::of(output, &self.machine),
                Err(error) => {
                    let what = format!("{:?} at {} bytes: {error}", cell.kind, cell.bytes);
                    // To be stuck takes long, and what is stuck once mostly is again.
                    let weight = if error.is::<Stuck>() { FAILURES } else { 1 };
                    *self.failed.entry(key).or_default() += weight;
                    self.skip(&cell.transport, &what);
                    return None;
                }
            }
            match &last {
                None => self.unsettled += 1,
                Some(settled) if self.awaits(settled.placement) => {}
                Some(_) => break,
            }
        }
        last
    }

    /// Whether another placement than this is waited for.
    fn awaits(&self, placement: Placement) -> bool {
        !self.awaited.contains(&placement) && self.may_wait()
    }

    fn may_wait(&self) -> bool {
        let late = self.until.is_some_and(|until| Instant::now() > until);
        !late && !self.waiting.is_zero()
    }

    /// Waits for the placement that was asked for, while there is time for it.
    fn wait_for_placement(&mut self) {
        while self.awaited.len() < Placement::ALL.len() && self.may_wait() {
            let started = Instant::now();
            let mut look = self.cell(FLOOR, Kind::Rtt, 8, RINGS[0]);
            look.ticks = self.machine.ticks(Duration::from_millis(1));
            look.floor_ticks = look.ticks;
            let seen = self.try_measure(&look).ok();
            let seen = seen.and_then(|output| Settled::of(output, &self.machine));
            if seen.is_some_and(|seen| !self.awaits(seen.placement)) {
                return;
            }
            std::thread::sleep(BETWEEN_LOOKS);
            self.waiting = self.waiting.saturating_sub(started.elapsed());
        }
    }

    /// Notes why something was not measured.
    pub(crate) fn skip(&mut self, what: &str, why: &impl ToString) {
        let all = self.skipped.entry(what.to_owned()).or_default();
        if !all.is_empty() {
            all.push_str("; ");
        }
        all.push_str(&why.to_string());
    }

    pub(crate) fn try_measure(&self, cell: &Cell) -> Result<Output, Failure> {
        let program = programs::program(&cell.transport)?;
        let mut child = Command::new(program)
            .args([WORKER, &serde_json::to_string(cell)?])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut text = Vec::new();
        let mut complaint = String::new();
        let lasts = Duration::from_secs_f64(self.machine.ns(cell.ticks as f64) / 1e9);
        let deadline = Instant::now() + WATCHDOG + lasts * 2;
        let in_time = match child.stdout.take() {
            Some(stdout) => read_until(stdout, &mut text, deadline)?,
            None => false,
        };
        if !in_time {
            kill_group(child.id());
        }
        if let Some(mut stderr) = child.stderr.take() {
            stderr.read_to_string(&mut complaint)?;
        }
        let status = child.wait()?;
        if !in_time {
            self.sweep();
            return Err(Stuck.into());
        }
        if !status.success() {
            self.sweep();
            return Err(format!("{status}: {}", complaint.trim()).into());
        }
        Ok(serde_json::from_slice(&text)?)
    }

    /// Removes what processes that were ended left behind.
    fn sweep(&self) {
        for dir in [&self.dir, &PathBuf::from("/dev/shm")] {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().contains(&self.prefix) {
                    // It may have gone by itself.
                    drop(std::fs::remove_file(entry.path()));
                }
            }
        }
    }
}

/// Reads everything; `false` at the deadline.
#[expect(unsafe_code, reason = "the standard library cannot wait for a pipe")]
fn read_until(
    mut from: impl Read + AsRawFd,
    into: &mut Vec<u8>,
    deadline: Instant,
) -> Result<bool, Failure> {
    let mut buffer = [0; 1 << 14];
    loop {
        let left = deadline
            .saturating_duration_since(Instant::now())
            .as_millis();
        let mut poll = libc::pollfd {
            fd: from.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one descriptor, valid for reads and writes.
        let ready = unsafe { libc::poll(&raw mut poll, 1, i32::try_from(left)?) };
        if ready == 0 {
            return Ok(false);
        }
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Ok(true);
        }
        into.extend_from_slice(&buffer[..length]);
    }
}

#[expect(unsafe_code, reason = "ends the process group")]
fn kill_group(leader: u32) {
    if let Ok(leader) = i32::try_from(leader) {
        // SAFETY: no memory is involved; the group is that of our child, not yet waited for.
        unsafe { libc::kill(-leader, libc::SIGKILL) };
    }
}

/// Every figure that was asked for.
pub(crate) fn everything(arguments: &Arguments, machine: &Machine) -> Result<Everything, Failure> {
    let mut runner = Runner::new(arguments, machine)?;
    let mut figures = Placement::ALL.map(|placement| Figures::new(machine, placement));
    let rounds = arguments
        .rounds
        .unwrap_or(if arguments.full { 15 } else { 9 });
    let bar = progress(u64::from(rounds) * 3 * SIZES.len() as u64);
    let started = Instant::now();
    for round in 1..=rounds {
        bar.set_message(format!("round {round} of {rounds}"));
        one_round(&mut runner, &mut figures, round, &bar);
        let waited = WAITING[usize::from(arguments.full)].saturating_sub(runner.waiting);
        let each = started.elapsed().saturating_sub(waited) / round;
        if arguments.rounds.is_none() && !arguments.full && started.elapsed() + each > QUICK {
            break;
        }
    }
    bar.finish_and_clear();
    let reported = choose(&figures, arguments.placement, rounds);
    // What is measured on its own from here on is for the placement that is reported.
    runner.awaited = vec![reported];
    if arguments.placement == Wanted::Any {
        runner.waiting = WAITING_ONCE_CHOSEN;
        runner.until = None;
    }
    for _ in 0..WAKES {
        let of = singles::of(&mut figures, reported);
        if of.is_some_and(|figures| figures.own("wake_over_futex").is_some()) {
            break;
        }
        singles::wakes(&mut runner, &mut figures);
    }
    singles::measure(&mut runner, &mut figures);
    let full = arguments.full.then(|| full::measure(&mut runner));
    let (mut first, others): (Vec<_>, Vec<_>) = figures
        .into_iter()
        .filter(|figures| figures.placement == reported || !figures.places.is_empty())
        .partition(|figures| figures.placement == reported);
    Ok(Everything {
        others,
        reported: first.remove(0),
        skipped: runner.skipped,
        full,
        unsettled: runner.unsettled,
    })
}

/// The placement to report: of those that are wanted and were seen, the first with enough rounds,
/// or else that with the most.
fn choose(figures: &[Figures], wanted: Wanted, rounds: u32) -> Placement {
    let keys: BTreeSet<_> = figures.iter().flat_map(|each| each.places.keys()).collect();
    let keys: Vec<_> = keys.into_iter().cloned().collect();
    let part = |figures: &&Figures| figures.part_with_enough(&keys, rounds);
    let seen = || figures.iter().filter(|figures| !figures.places.is_empty());
    let will_do = || seen().filter(|each| wanted.placements().contains(&each.placement));
    let enough = will_do().find(|figures| part(figures) >= MOST);
    let most = || will_do().max_by(|a, b| part(a).total_cmp(&part(b)));
    let any = || seen().max_by(|a, b| part(a).total_cmp(&part(b)));
    let chosen = enough.or_else(most).or_else(any);
    chosen.map_or(Placement::Near, |figures| figures.placement)
}

/// Measures one cell for one round.
fn one(runner: &mut Runner, figures: &mut [Figures], round: u32, cell: &Cell) {
    if let Some(settled) = runner.measure(cell)
        && let Some(figures) = singles::of(figures, settled.placement)
    {
        figures.add(round, &Key::of(cell), &settled);
    }
}

fn one_round(runner: &mut Runner, figures: &mut [Figures], round: u32, bar: &ProgressBar) {
    let mut one = |runner: &mut Runner, kind, name: &str, bytes, ring| {
        let cell = runner.cell(name, kind, bytes, ring);
        one(runner, figures, round, &cell);
    };
    for bytes in SIZES {
        one(runner, Kind::Rtt, FLOOR, 8, RINGS[0]);
        one(runner, Kind::Rtt, FLOOR_PAUSE, 8, RINGS[0]);
        for name in runner.transports.clone() {
            if runner.wanted(name) {
                // With fewer slots than it takes to tell that they were read, tachyon stops.
                let slow = name.starts_with("tachyon") && bytes == 4096;
                one(runner, Kind::Rtt, name, bytes, RINGS[usize::from(slow)]);
            }
        }
        if runner.wanted(SAME) {
            one(runner, Kind::Rtt, AGAIN, bytes, RINGS[0]);
        }
        bar.inc(1);
        for ring in RINGS {
            // Between the two sizes that are compared with it.
            if bytes == 4096 {
                let block = rivals_harness::floor::BLOCK_BYTES;
                one(runner, Kind::Stream, FLOOR, block, ring);
            }
            for name in runner.transports.clone() {
                if runner.wanted(name) {
                    one(runner, Kind::Stream, name, bytes, ring);
                }
            }
            if runner.wanted(SAME) {
                one(runner, Kind::Stream, AGAIN, bytes, ring);
                if bytes == 64 {
                    one(runner, Kind::Stream, CHECKSUM, bytes, ring);
                }
            }
            bar.inc(1);
        }
    }
    singles::wakes(runner, figures);
}

/// A bar on a terminal, nothing elsewhere.
pub(crate) fn progress(steps: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}, {eta} left");
    ProgressBar::new(steps).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
