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
    while Instant::now() < end {
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
    report(&board, role, backing);
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

/// Every call was made often, ended in more than one way, and was lied to.
fn report(board: &Shared, role: &str, backing: &str) {
    let count =
        |call: usize, kind: usize| board.load(note::COUNTS + 8 * (call * note::KINDS + kind));
    let [mut made, mut done, mut corrupt] = [0; 3];
    let mut rows = all(role)
        .into_iter()
        .map(|(index, call)| (index, call.name))
        .collect::<Vec<_>>();
    rows.push((ATTACH, "attach"));
    for (index, name) in rows {
        let kinds: Vec<u64> = (0..note::KINDS).map(|kind| count(index, kind)).collect();
        println!("  {name}: {kinds:?}");
        let sum = kinds.iter().sum::<u64>();
        assert!(sum >= 5, "{name} was called {sum} times");
        assert_eq!(kinds[0] + kinds[7], 0, "{name} panicked");
        made += sum;
        done += kinds[1];
        corrupt += kinds[5];
    }
    let [lies, landed, honest, healed] =
        [note::LIES, note::LANDED, note::HONEST, note::HEALED].map(|word| board.load(word));
    println!(
        "{role} {backing}: {made} calls, {done} done, {corrupt} found damage; {lies} lies, {landed} \
         of them inside a call; {honest} honest steps, {healed} rings made sound"
    );
    assert!(
        lies >= 1000 && landed >= 100,
        "{lies} lies, {landed} in a call"
    );
    assert!(made >= 200 && done >= 50 && corrupt >= 5);
}
