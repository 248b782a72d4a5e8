//! Death at every store: what the random instants of the storm hit by luck only.
//!
//! The victim runs one operation in single steps. After each step the test compares the ring's
//! bytes; when they have changed for the nth time it kills the victim there. So every state of the
//! shared memory that a kill can leave is met, one after the other. Half of the operations are done
//! beside a living peer, and half in a checksummed ring whose other side is dead too.

use std::fs::File;
use std::os::unix::fs::FileExt;

use libtest_mimic::{Failed, Trial};
use ringduct::{Consumer, Options, Producer};

use crate::driver::{Agent, myself};
use crate::kernel::{self, Stepped};
use crate::message;
use crate::setup::{Kind, Setup};

/// Bytes of the longest message.
const LONGEST: usize = 120;

/// Messages of an operation that has several.
const SEVERAL: u64 = 3;

/// Messages sent and received before the victim comes.
const SENT: u64 = 121;
const TAKEN: u64 = 115;

/// Steps within which an operation ends.
const MAX_STEPS: u64 = 2_000_000;

/// What the victim does in steps, its role, and the stores it makes at least.
const OPERATIONS: [(&str, &str, u64); 8] = [
    ("attach", "producer", 3),
    ("send", "producer", 4),
    ("batch", "producer", 7),
    ("claim", "producer", 4),
    ("leave", "producer", 1),
    ("attach", "consumer", 3),
    ("recv", "consumer", 1),
    ("drain", "consumer", 1),
];

pub(crate) fn add(trials: &mut Vec<Trial>) {
    for (operation, role, stores) in OPERATIONS {
        for (checksum, peer) in [("plain", "live"), ("checked", "dead")] {
            // An attach is fifty thousand steps, few of them stores: once is enough.
            if operation == "attach" && peer == "live" {
                continue;
            }
            let name = format!("killed_at_every_store::{role}::{operation}::{checksum}::{peer}");
            trials.push(Trial::test(name, move || {
                at_every_store((operation, role, stores), checksum, peer == "live");
                Ok::<(), Failed>(())
            }));
        }
    }
}

/// Goal: wherever in an operation a side is killed, its successor finds all of the operation done
/// or none of it, every message is there once and whole, and the ring works on, whether the other
/// side lives or not. Method: as the head of this file says, on a ring that has gone round.
fn at_every_store(what: (&str, &str, u64), checksum: &'static str, peer_lives: bool) {
    let (operation, role, stores) = what;
    let victim_is_producer = role == "producer";
    let calls = {
        let (setup, peer) = prepare(checksum, peer_lives, victim_is_producer);
        let calls = calls_before_stores(
            &format!("step {operation} {role} {}", setup.place()),
            &setup,
        );
        drop(peer);
        setup.finish();
        calls
    };
    let (mut none, mut all) = (0, 0);
    for nth in 1.. {
        let (mut setup, mut peer) = prepare(checksum, peer_lives, victim_is_producer);
        let step = format!("step {operation} {role} {}", setup.place());
        let finished = killed_after(nth, calls, &step, &setup);

        // What the dead producer published is out before its successor comes, and stays so.
        let visible: Option<u64> = (victim_is_producer && peer_lives).then(|| {
            let count = peer.ask(&format!("available {TAKEN} {LONGEST}"));
            TAKEN + count.parse::<u64>().unwrap()
        });
        let mut successor = setup.agent();
        successor.ask(role);
        if !peer_lives {
            peer.ask(if victim_is_producer {
                "consumer"
            } else {
                "producer"
            });
        }
        let (mut tx, mut rx) = if victim_is_producer {
            (successor, peer)
        } else {
            (peer, successor)
        };
        let count = match operation {
            "attach" | "leave" => 0,
            "batch" | "drain" => SEVERAL,
            _ => 1,
        };
        let sent: u64 = tx.ask("totals").parse().unwrap();
        let taken: u64 = rx.ask("totals").parse().unwrap();
        assert_eq!(visible.unwrap_or(sent), sent, "after store {nth}");
        let done = if victim_is_producer {
            sent - SENT
        } else {
            taken - TAKEN
        };
        assert!(
            done == 0 || done == count,
            "{done} of {count} done after store {nth}"
        );
        none += u64::from(done == 0);
        all += u64::from(done == count);
        rx.ask(&format!("recv {taken} {} {LONGEST} one", sent - taken));
        // And once more round the ring.
        tx.tell(&format!("send {sent} 60 {LONGEST} batch"));
        rx.ask(&format!("recv {sent} 60 {LONGEST} drain"));
        tx.hear();
        drop((tx, rx));
        setup.finish();
        if finished {
            assert!(nth > stores, "only {nth} stores were seen");
            // A release is a single store: the first state that a kill can leave has all of it.
            assert!(
                (none > 0 || stores == 1) && all > 0,
                "{none} with nothing done, {all} with all"
            );
            return;
        }
    }
}

/// A small ring that has gone round, with a few messages in it and no victim yet; and the other
/// side, which holds its role if it lives.
fn prepare(checksum: &'static str, peer_lives: bool, victim_is_producer: bool) -> (Setup, Agent) {
    let mut setup = Setup::new(Kind::File, 4096, checksum);
    let (mut tx, mut rx) = setup.pair();
    tx.tell(&format!("send 0 {SENT} {LONGEST} one"));
    rx.ask(&format!("recv 0 {TAKEN} {LONGEST} one"));
    tx.hear();
    let (victim, mut peer) = if victim_is_producer {
        (tx, rx)
    } else {
        (rx, tx)
    };
    victim.kill();
    if !peer_lives {
        peer.kill();
        peer = setup.agent();
    }
    (setup, peer)
}

/// What a victim may write: both role pages, and the data behind the header's eight pages.
fn look(file: &File) -> [u8; 2 * 1024 + 4096] {
    let mut bytes = [0; 2 * 1024 + 4096];
    let (pages, data) = bytes.split_at_mut(2 * 1024);
    let (tx, rx) = pages.split_at_mut(1024);
    file.read_exact_at(tx, 4096).unwrap();
    file.read_exact_at(rx, 2 * 4096).unwrap();
    file.read_exact_at(data, 8 * 4096).unwrap();
    bytes
}

/// Beginnings and ends of system calls that the operation goes through before its first store.
fn calls_before_stores(role: &str, setup: &Setup) -> u64 {
    let file = File::open(setup.place()).unwrap();
    let mut child = myself(role).spawn().unwrap();
    let stepped = Stepped::new(child.id());
    let before = look(&file);
    let mut calls = 0_u64;
    while stepped.next_call() && look(&file) == before {
        calls += 1;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    calls
}

/// Runs a victim until the bytes of the ring have changed `nth` times, and kills it there; true if
/// it finished before, in which case it is killed then. Single steps begin after `calls`.
fn killed_after(nth: u64, calls: u64, role: &str, setup: &Setup) -> bool {
    let file = File::open(setup.place()).unwrap();
    let mut child = myself(role).spawn().unwrap();
    let stepped = Stepped::new(child.id());
    let mut before = look(&file);
    for _ in 0..calls {
        assert!(stepped.next_call());
    }
    assert!(
        look(&file) == before,
        "a store before the first single step"
    );
    let mut changes = 0;
    let mut steps = 0;
    let finished = loop {
        if !stepped.step() {
            break true;
        }
        let after = look(&file);
        changes += u64::from(after != before);
        if changes == nth {
            break false;
        }
        before = after;
        steps += 1;
        assert!(steps < MAX_STEPS, "{role} does not end");
    };
    child.kill().unwrap();
    child.wait().unwrap();
    finished
}

/// The victim: everything up to the operation, a stop, the operation, another stop.
pub(crate) fn child(words: &[&str]) {
    let [operation, role, place] = *words else {
        panic!("step OPERATION ROLE PLACE: {words:?}")
    };
    let ring = Options::new().open(&place.parse().unwrap()).unwrap();
    match (operation, role) {
        ("attach", "producer") => {
            kernel::stop_traced();
            let _end = ring.producer().unwrap();
            kernel::stop();
        }
        ("attach", _) => {
            kernel::stop_traced();
            let _end = ring.consumer().unwrap();
            kernel::stop();
        }
        (_, "producer") => produce(operation, ring.producer().unwrap()),
        _ => consume(operation, ring.consumer().unwrap()),
    }
}

fn produce(operation: &str, mut tx: Producer) {
    let first = tx.totals().messages;
    let messages: Vec<Vec<u8>> = (first..first + SEVERAL)
        .map(|number| {
            let mut message = Vec::new();
            message::any(number, LONGEST, &mut message);
            message
        })
        .collect();
    kernel::stop_traced();
    match operation {
        "send" => tx.try_send(&messages[0]).unwrap(),
        "batch" => assert_eq!(tx.try_send_all(&messages), Ok(messages.len())),
        "claim" => {
            let mut claim = tx.try_claim(LONGEST).unwrap();
            claim.write_at(0, &messages[0]).unwrap();
            claim.commit_len(messages[0].len()).unwrap();
        }
        _ => {
            drop(tx);
            return kernel::stop();
        }
    }
    kernel::stop();
}

fn consume(operation: &str, mut rx: Consumer) {
    let mut buffer = [0; LONGEST];
    kernel::stop_traced();
    if operation == "recv" {
        rx.try_recv(&mut buffer).unwrap();
    } else {
        let most = usize::try_from(SEVERAL).unwrap();
        assert_eq!(rx.drain(most, |_| ()), Ok(most));
    }
    kernel::stop();
}
