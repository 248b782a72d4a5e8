//! Calls of every kind while another program writes into the ring.
//!
//! Three processes: the victim, the liar (`liar.rs`), and this one, which sees that every call
//! returns. Around the victim's mapping lie pages that nobody may touch, and around its buffer
//! bytes that must stay as they are. How long is set by `RINGDUCT_HAMMER_SECONDS`.

use std::os::fd::AsRawFd;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use ringduct::{Location, Options, Ring};
use tempfile::TempDir;

use crate::calls::{CAPACITY, make_board};
use crate::dictionary::seed;
use crate::myself;
use crate::raw::Shared;
use crate::victim::{ATTACH, all, note};

/// Seconds of each test, if nobody says more.
const SECONDS: f64 = 1.0;

/// A call that has not returned by then hangs: those that wait do so for milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much longer a test goes on where not enough has happened yet.
const LONGEST: Duration = Duration::from_secs(60);

const LOOK: Duration = Duration::from_millis(5);

pub(crate) fn add(trials: &mut Vec<Trial>) {
    for backing in ["file", "shm", "memfd"] {
        for role in ["consumer", "producer", "observer"] {
            let checked = (backing == "shm") != (role == "producer");
            let name = format!("the_hammer::{role}::{backing}");
            trials.push(Trial::test(name, move || {
                hammer(backing, role, checked);
                Ok::<(), Failed>(())
            }));
        }
    }
}

/// A ring: where its victim finds it, and where its bytes are.
struct Anvil {
    ring: Ring,
    place: String,
    raw: String,
    directory: TempDir,
    _memory: Option<std::os::fd::OwnedFd>,
}

impl Anvil {
    fn new(backing: &str, role: &str, checked: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = Options::new().capacity_bytes(CAPACITY).checksum(checked);
        let me = std::process::id();
        let (ring, place, raw, memory) = match backing {
            "file" => {
                let path = directory.path().join("a.ring").display().to_string();
                let ring = options.create(&path.parse().unwrap()).unwrap();
                (ring, path.clone(), path, None)
            }
            "shm" => {
                let name = format!("ringduct-hammer-{me}-{role}");
                let ring = options.create(&Location::Shm(name.clone())).unwrap();
                (
                    ring,
                    format!("shm:{name}"),
                    format!("/dev/shm/{name}"),
                    None,
                )
            }
            _ => {
                let ring = options.create_memfd("ringduct-hammer").unwrap();
                let memory = ring.descriptor().unwrap();
                let link = format!("/proc/{me}/fd/{}", memory.as_raw_fd());
                (ring, link.clone(), link, Some(memory))
            }
        };
        Self {
            ring,
            place,
            raw,
            directory,
            _memory: memory,
        }
    }
}

/// A process that does not outlive its test.
struct Ours(Child);

impl Ours {
    fn start(words: &str) -> Self {
        Self(myself(words).spawn().unwrap())
    }

    fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end");
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

/// Goal: whatever another process writes while calls run, they return in time, with a typed error
/// or with what fits their buffer; nobody crashes or panics; and damage is not forgotten.
fn hammer(backing: &str, role: &str, checked: bool) {
    let seconds =
        std::env::var("RINGDUCT_HAMMER_SECONDS").map_or(SECONDS, |text| text.parse().unwrap());
    let scene = if checked { "checked" } else { "plain" };
    println!("RINGDUCT_SEED={}, {scene}", seed());
    let anvil = Anvil::new(backing, role, checked);
    let path = anvil.directory.path().join("board").display().to_string();
    let board = make_board(path.as_ref()).0;
    let mut victim = Ours::start(&format!("victim {role} {} {path}", anvil.place));
    let words = format!("liar {role} {} {path} {} {scene}", anvil.raw, seed());
    let mut liar = Ours::start(&words);
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut moved = Moved::new(&board);
    let last = end + LONGEST;
    let is_enough = || Seen::read(&board, role).is_enough();
    while Instant::now() < end || (!is_enough() && Instant::now() < last) {
        std::thread::sleep(LOOK);
        for process in [&mut victim, &mut liar] {
            assert_eq!(process.0.try_wait().unwrap(), None, "it ended too early");
        }
        moved.check(&board, role);
    }
    board.store(note::STOP, 1);
    for process in [&mut victim, &mut liar] {
        let status = process.wait();
        assert!(status.success(), "{status}");
    }
    if backing == "shm" {
        anvil.ring.remove().unwrap();
    }
    Seen::read(&board, role).report(role, backing);
}

/// Whether the victim comes out of its calls.
struct Moved {
    sequence: u64,
    since: Instant,
}

impl Moved {
    fn new(board: &Shared) -> Self {
        Self {
            sequence: board.load(note::SEQUENCE),
            since: Instant::now(),
        }
    }

    fn check(&mut self, board: &Shared, role: &str) {
        let now = board.load(note::SEQUENCE);
        if now != self.sequence {
            (self.sequence, self.since) = (now, Instant::now());
        }
        let call = board.load(note::CALL);
        let name = all(role)
            .into_iter()
            .find(|(index, _)| *index as u64 == call)
            .map_or("attach, or what can be asked", |(_, call)| call.name);
        assert!(self.since.elapsed() < PATIENCE, "{name} does not return");
    }
}

/// What the board says that happened.
struct Seen {
    /// Of each call its name and how often it ended in each way.
    rows: Vec<(&'static str, Vec<u64>)>,
    made: u64,
    done: u64,
    corrupt: u64,
    lies: u64,
    landed: u64,
    honest: u64,
    healed: u64,
}

impl Seen {
    fn read(board: &Shared, role: &str) -> Self {
        let calls = all(role)
            .into_iter()
            .map(|(index, call)| (index, call.name));
        let rows: Vec<_> = calls
            .chain([(ATTACH, "attach")])
            .map(|(index, name)| {
                let start = note::COUNTS + 8 * index * note::KINDS;
                let kinds = (0..note::KINDS).map(|kind| board.load(start + 8 * kind));
                (name, kinds.collect::<Vec<_>>())
            })
            .collect();
        let of_kind = |kind: usize| rows.iter().map(|(_, kinds)| kinds[kind]).sum();
        Self {
            made: (0..note::KINDS).map(of_kind).sum(),
            done: of_kind(1),
            corrupt: of_kind(5),
            lies: board.load(note::LIES),
            landed: board.load(note::LANDED),
            honest: board.load(note::HONEST),
            healed: board.load(note::HEALED),
            rows,
        }
    }

    /// Whether every call was made often, was lied to, and they ended in more than one way.
    fn is_enough(&self) -> bool {
        self.rows
            .iter()
            .all(|(_, kinds)| kinds.iter().sum::<u64>() >= 5)
            && self.done >= 50
            && self.corrupt >= 5
            && self.lies >= 1000
            && self.landed >= 100
    }

    fn report(&self, role: &str, backing: &str) {
        for (name, kinds) in &self.rows {
            println!("  {name}: {kinds:?}");
            assert_eq!(kinds[0] + kinds[7], 0, "{name} panicked");
        }
        let Self {
            made,
            done,
            corrupt,
            lies,
            landed,
            honest,
            healed,
            ..
        } = self;
        println!(
            "{role} {backing}: {made} calls, {done} done, {corrupt} found damage; {lies} lies, \
             {landed} of them inside a call; {honest} honest steps, {healed} rings made sound"
        );
        assert!(self.is_enough(), "too little happened");
    }
}
