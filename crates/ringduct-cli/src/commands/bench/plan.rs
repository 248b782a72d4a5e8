//! What is measured: transports, sizes, and where the rings are.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use ringduct::Location;
use rivals_harness::{Cell, Kind, clock};

use super::{Args, two_cores};
use crate::failure::{Code, Failure};
use crate::{cores, talk};

/// Bytes of the shortest message: its number.
const SHORTEST_BYTES: u64 = 8;

/// Where rings are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Shm,
    File,
}

/// A run, checked.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) base: Base,
    /// The folder of the rings, for files.
    dir: PathBuf,
    /// What their names begin with.
    stem: String,
    pub(super) transports: Vec<&'static str>,
    pub(super) sizes: Vec<usize>,
    pub(super) capacity_bytes: usize,
    pub(super) rounds: u32,
    pub(super) duration: Duration,
    pub(super) cores: [usize; 2],
    pub(super) checksum: bool,
    pub(super) ticks_per_ns: f64,
    /// The step of the clock: some advance by many ticks at a time.
    pub(super) step_ticks: u64,
    pub(super) cpu: String,
    pub(super) kernel: String,
}

/// The name of our own transport in figures.
pub(super) const OURS: &str = "ringduct";

impl Plan {
    pub(super) fn new(args: &Args) -> Result<Self, Failure> {
        let cores = two_cores(args)?;
        if cores[0] == cores[1] {
            talk::say(format_args!(
                "both sides share processor {}: figures are those of taking turns",
                cores[0]
            ));
        }
        let capacity = checked_capacity(args.capacity)?;
        let (base, dir, stem) = base(args)?;
        let mut transports = vec![OURS];
        for rival in &args.against {
            if !transports.contains(&rival.name()) {
                transports.push(rival.name());
            }
        }
        let names = rustix::system::uname();
        Ok(Self {
            base,
            dir,
            stem,
            transports,
            sizes: sizes(args, capacity)?,
            capacity_bytes: usize::try_from(capacity).unwrap_or(usize::MAX),
            rounds: args.rounds,
            duration: args.duration,
            cores,
            checksum: args.checksum,
            ticks_per_ns: clock::ticks_per_ns(Duration::from_millis(50)),
            step_ticks: clock::step(),
            cpu: cores::model(),
            kernel: names.release().to_string_lossy().into_owned(),
        })
    }

    /// One measurement.
    pub(super) fn cell(&self, transport: &str, kind: Kind, bytes: usize) -> Cell {
        let ticks = self.ticks(self.duration);
        let transport = match (transport, &self.base, self.checksum) {
            (OURS, Base::Shm, false) => "ringduct-shm",
            (OURS, Base::Shm, true) => "ringduct-shm-checksum",
            (OURS, Base::File, false) => "ringduct-file",
            (OURS, Base::File, true) => "ringduct-file-checksum",
            _ => transport,
        };
        Cell {
            transport: transport.to_owned(),
            kind,
            bytes,
            ring_bytes: self.capacity_bytes,
            ticks,
            gap_ticks: 0,
            floor_ticks: self.ticks(Duration::from_millis(4)),
            cores: self.cores,
            name: format!("{}-{}", self.stem, std::process::id()),
            dir: self.dir.clone(),
        }
    }

    /// Nanoseconds of some ticks.
    pub(super) fn ns(&self, ticks: f64) -> f64 {
        ticks / self.ticks_per_ns
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float becomes the nearest number that fits"
    )]
    fn ticks(&self, time: Duration) -> u64 {
        (time.as_secs_f64() * 1e9 * self.ticks_per_ns) as u64
    }

    /// Where the rings of this run are, in words.
    pub(super) fn backing(&self) -> String {
        match self.base {
            Base::Shm => "shared memory".to_owned(),
            Base::File => format!("files in {}", self.dir.display()),
        }
    }
}

fn usage(what: String) -> Failure {
    Failure::new(Code::Usage, what)
}

/// What the library takes: a power of two, a page at least.
fn checked_capacity(asked: u64) -> Result<u64, Failure> {
    let least = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    match asked.max(least).checked_next_power_of_two() {
        Some(capacity) if capacity <= 1 << 32 => Ok(capacity),
        _ => Err(usage(format!(
            "--capacity {asked}: at most 4G are measured"
        ))),
    }
}

fn sizes(args: &Args, capacity: u64) -> Result<Vec<usize>, Failure> {
    let longest = capacity.saturating_sub(16);
    let check = |bytes: &u64| {
        if (SHORTEST_BYTES..=longest).contains(bytes) {
            return Ok(usize::try_from(*bytes).unwrap_or(usize::MAX));
        }
        Err(usage(format!(
            "--sizes {bytes}: messages of {SHORTEST_BYTES} to {longest} bytes fit into a ring of \
             {capacity}"
        )))
    };
    let mut sizes = args
        .sizes
        .iter()
        .map(check)
        .collect::<Result<Vec<_>, _>>()?;
    sizes.sort_unstable();
    sizes.dedup();
    Ok(sizes)
}

fn base(args: &Args) -> Result<(Base, PathBuf, String), Failure> {
    let plain = "ringduct-bench".to_owned();
    let Some(place) = &args.place else {
        return Ok((Base::Shm, PathBuf::new(), plain));
    };
    match place.location() {
        Location::Shm(name) => Ok((Base::Shm, PathBuf::new(), name.clone())),
        Location::File(path) if path.is_dir() => Ok((Base::File, path.clone(), plain)),
        Location::File(path) => {
            let name = path.file_name().and_then(OsStr::to_str).map(str::to_owned);
            let dir = match path.parent() {
                Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
                _ => PathBuf::from("."),
            };
            Ok((Base::File, dir, name.unwrap_or(plain)))
        }
        _ => Err(usage(format!(
            "{place}: rings are made for the time of a run, beside a path or shm:NAME"
        ))),
    }
}
