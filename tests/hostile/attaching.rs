//! A lie at each look of an attach, a checkpoint or a recovery.
//!
//! These go through system calls, so they cannot be put back to the middle: the victim makes them
//! over and over, on a ring that is put back to what it was. A watchpoint stops it after the nth
//! access to a word, where the word changes; before the first one it has changed from the start. So
//! each word is another one between any two looks at it.

use std::path::Path;

use libtest_mimic::{Failed, Trial};
use ringduct::{Consumer, Location, OpenError, Options, Producer};
use tempfile::TempDir;

use crate::calls::{BUFFER, Board, CAPACITY, MESSAGE, Outcome, make_board, run_as};
use crate::dictionary::{LIES, Random, lies, seed};
use crate::raw::{DATA, IDENTITY_BYTES, PAGE, ROLE_BYTES, RX_PAGE, Shared, TX_PAGE};
use crate::trace::{self, Stop, Traced};
use crate::{Watchdog, myself};

/// What is made over and over, on which ring, in the presence of whom.
#[derive(Clone, Copy, Debug)]
struct Scene {
    role: &'static str,
    /// `plain`, `checked`, `durable`: with checksums too; or `cold`: the same, recovered each time.
    ring: &'static str,
    /// Whether the other side is there.
    beside: bool,
}

const SCENES: [Scene; 9] = [
    scene("producer", "plain", false),
    scene("producer", "checked", true),
    scene("consumer", "plain", true),
    scene("consumer", "checked", false),
    scene("observer", "checked", true),
    scene("producer", "durable", true),
    scene("consumer", "durable", false),
    scene("producer", "cold", false),
    scene("consumer", "cold", false),
];

const fn scene(role: &'static str, ring: &'static str, beside: bool) -> Scene {
    Scene { role, ring, beside }
}

/// Of the dictionary, in a debug build or where each try syncs, one value in so many is used.
const SPARING: usize = 7;

/// Accesses to one word that are told apart.
const MOST_ACCESSES: u64 = 12;

pub(crate) fn add(trials: &mut Vec<Trial>) {
    for scene in SCENES {
        let Scene { role, ring, beside } = scene;
        let who = if beside { "beside" } else { "alone" };
        let name = format!("lies_at_every_look::{role}::{ring}::{who}");
        trials.push(Trial::test(name, move || {
            at_every_look(&scene);
            Ok::<(), Failed>(())
        }));
    }
}

struct Stage {
    ring: Shared,
    bytes: Vec<u8>,
    board: Board,
    traced: Traced,
    watchdog: Watchdog,
    path: String,
    _directory: TempDir,
}

#[derive(Debug, Default)]
struct Tally {
    trials: u64,
    done: u64,
    damage: u64,
    otherwise: u64,
}

/// Goal: an attach, with all it recovers, the first call after it and a checkpoint end with a typed
/// error or well, whatever a word of the ring becomes between two looks at it.
fn at_every_look(scene: &Scene) {
    println!("RINGDUCT_SEED={}", seed());
    let durable = matches!(scene.ring, "durable" | "cold");
    let directory = if durable {
        tempfile::tempdir_in("/var/tmp").unwrap()
    } else {
        tempfile::tempdir().unwrap()
    };
    let path = directory.path().join("a.ring");
    let Some(_peer) = make_ring(scene, &path, durable) else {
        return;
    };
    let stage = prepare(scene, &path, directory);
    let mut random = Random::new(seed());
    let mut tally = Tally::default();
    let clean = stage.once(|_| {});
    assert_eq!(clean, Outcome::Done(0), "without a lie");
    let base = stage.base();
    let sparing = if durable || cfg!(debug_assertions) {
        SPARING
    } else {
        1
    };
    let mut looks = 0;
    for word in words(&stage.ring) {
        let old = u64::from_le_bytes(stage.bytes[word..word + 8].try_into().unwrap());
        let accesses = stage.accesses(base + word).min(MOST_ACCESSES);
        looks += accesses;
        let values = lies(old, CAPACITY, &mut random);
        for at in 0..=accesses {
            let first = random.below(sparing);
            // Words that nobody looks at need no dictionary.
            let step = if accesses == 0 { LIES } else { sparing };
            for value in values.into_iter().skip(first).step_by(step) {
                let outcome = stage.lied((word, value), base, at);
                tally.count(outcome);
            }
        }
    }
    let Tally {
        trials,
        done,
        damage,
        otherwise,
    } = tally;
    println!(
        "{} {}: {looks} looks, {trials} trials: {done} done, {damage} damage, {otherwise} other \
         errors",
        scene.role, scene.ring
    );
    assert!(looks >= 20 && trials >= 200 && done > 0);
    assert!(damage > 0 || scene.role == "observer");
}

/// A ring that has gone round and in which three messages wait; and the ends that are to be there.
fn make_ring(
    scene: &Scene,
    path: &Path,
    durable: bool,
) -> Option<(Option<Producer>, Option<Consumer>)> {
    let options = Options::new()
        .capacity_bytes(CAPACITY)
        .checksum(scene.ring != "plain")
        .durable(durable);
    let ring = match options.create(&Location::from(path)) {
        Err(error @ OpenError::NotDurable { .. }) => {
            assert!(std::env::var_os("CI").is_none(), "{error}");
            println!("SKIPPED {} {}: {error}", scene.role, scene.ring);
            return None;
        }
        made => made.unwrap(),
    };
    let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
    for number in 0..150 {
        tx.try_send(&vec![0x77; number % 61]).unwrap();
        rx.try_recv_vec(&mut Vec::new()).unwrap();
        if durable && number % 20 == 0 {
            rx.checkpoint().unwrap(); // space is free only behind one
        }
    }
    for length in [33, 0, 17] {
        tx.try_send(&vec![0x66; length]).unwrap();
    }
    let tx = (scene.beside && scene.role != "producer").then_some(tx);
    let rx = (scene.beside && scene.role != "consumer").then_some(rx);
    Some((tx, rx))
}

fn prepare(scene: &Scene, path: &Path, directory: TempDir) -> Stage {
    let board_path = directory.path().join("board");
    let board = make_board(&board_path);
    let words = format!(
        "attaching {} {} {} {}",
        scene.role,
        scene.ring,
        path.display(),
        board_path.display()
    );
    let ring = Shared::open(path.to_str().unwrap());
    let traced = Traced::new(myself(&words).spawn().unwrap());
    Stage {
        bytes: ring.all(),
        ring,
        board,
        watchdog: Watchdog::new(traced.pid()),
        traced,
        path: path.to_str().unwrap().to_owned(),
        _directory: directory,
    }
}

/// Everything that an attach can look at: identity, both pages, all slots, and the data.
fn words(ring: &Shared) -> Vec<usize> {
    let page = |start: usize, bytes: usize| (start..start + bytes).step_by(8);
    let slots = (3..7).flat_map(|slot| page(slot * PAGE, 128));
    page(0, IDENTITY_BYTES)
        .chain(page(TX_PAGE, ROLE_BYTES))
        .chain(page(RX_PAGE, ROLE_BYTES))
        .chain(slots)
        .chain((DATA..ring.length()).step_by(8))
        .collect()
}

impl Tally {
    fn count(&mut self, outcome: Outcome) {
        self.trials += 1;
        match outcome {
            Outcome::Done(_) => self.done += 1,
            Outcome::Corrupt(_) => self.damage += 1,
            _ => self.otherwise += 1,
        }
    }
}

impl Stage {
    /// Makes the victim do it once, from the same ring.
    fn once(&self, mut at_trap: impl FnMut(u64)) -> Outcome {
        self.watchdog.tick();
        self.board.wipe();
        let mut traps = 0;
        loop {
            match self.traced.go_on() {
                Stop::Trap => {
                    traps += 1;
                    at_trap(traps);
                }
                Stop::Done => break,
                other => panic!("{other:?}"),
            }
        }
        self.board.received(BUFFER);
        self.ring.write(0, &self.bytes);
        self.board.noted(0)
    }

    /// The same with a word that is another one after its access number `at`, or from the start.
    fn lied(&self, (word, value): (usize, u64), base: usize, at: u64) -> Outcome {
        let watched = [base + word];
        self.traced
            .watch(if at == 0 { &[] } else { &watched }, false);
        if at == 0 {
            self.ring.store(word, value);
        }
        let outcome = self.once(|trap| {
            if trap == at {
                self.ring.store(word, value);
                self.traced.watch(&[], false);
            }
        });
        let bad = matches!(outcome, Outcome::None | Outcome::Panic);
        assert!(
            !bad,
            "{value:#x} at {word:#x} after {at} looks: {outcome:?}"
        );
        outcome
    }

    /// How often a word is accessed.
    fn accesses(&self, address: usize) -> u64 {
        self.traced.watch(&[address], false);
        let mut count = 0;
        self.once(|trap| count = trap);
        count
    }

    /// Where the victim maps the ring each time.
    fn base(&self) -> usize {
        loop {
            match self.traced.next_call() {
                Stop::Trap => {}
                other => panic!("{other:?} before anything was mapped"),
            }
            if let Some(base) = trace::find_base(self.traced.pid(), &self.path) {
                assert_eq!(self.once(|_| {}), Outcome::Done(0));
                return base;
            }
        }
    }
}

/// The victim: attaches, calls, makes a checkpoint, drops, and stops; again and again.
pub(crate) fn child(words: &[&str]) {
    let [role, ring, place, board] = *words else {
        panic!("attaching ROLE RING PLACE BOARD: {words:?}")
    };
    let board = Board(Shared::open(board));
    let location: Location = place.parse().unwrap();
    trace::stop_traced();
    loop {
        run_as(&board, 0, || match once(role, ring, &location, &board) {
            Ok(outcome) => outcome,
            Err(error) => error.into(),
        });
        trace::stop();
    }
}

fn once(role: &str, ring: &str, location: &Location, board: &Board) -> Result<Outcome, OpenError> {
    if role == "observer" {
        let observer = Options::new().observe(location)?;
        let snapshot = observer.snapshot();
        assert!(snapshot.backlog_bytes <= CAPACITY);
        return Ok(Outcome::Done(0));
    }
    let opened = Options::new()
        .distrust_memory(ring == "cold")
        .open(location)?;
    let is_durable = matches!(ring, "durable" | "cold");
    if role == "producer" {
        let mut tx = opened.producer()?;
        let sent = tx.try_send(&MESSAGE);
        let saved = is_durable.then(|| tx.checkpoint());
        return Ok(first_error(sent.err().map(Into::into), saved));
    }
    let mut rx = opened.consumer()?;
    let received = rx.try_recv(board.buffer());
    let saved = is_durable.then(|| rx.checkpoint());
    Ok(first_error(received.err().map(Into::into), saved))
}

fn first_error(
    moved: Option<Outcome>,
    saved: Option<Result<ringduct::Durable, ringduct::CheckpointError>>,
) -> Outcome {
    let saved = saved.and_then(Result::err).map(Into::into);
    moved.or(saved).unwrap_or(Outcome::Done(0))
}
