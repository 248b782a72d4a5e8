//! No system call and no allocation while nobody waits: the kernel and the allocator kill on any.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use ringduct::{Consumer, Options, Producer, TryRecvError, TrySendError};

use crate::driver::myself;
use crate::kernel;
use crate::memory;
use crate::message;
use crate::oracle::{Oracle, Word};
use crate::setup::{Kind, Setup};

/// Messages that the single process moves under the filter.
const MESSAGES: u64 = 1_000_000;

/// Times that two processes fill and drain the ring in turns.
const TURNS: u64 = 300;

const LONGEST: usize = 300;

pub(crate) fn add(trials: &mut Vec<Trial>) {
    for kind in [Kind::File, Kind::Shm, Kind::SysVKey] {
        trials.push(Trial::test(
            format!("no_system_call::one_process::{kind:?}"),
            move || {
                one_process(kind);
                Ok::<(), Failed>(())
            },
        ));
        trials.push(Trial::test(
            format!("no_system_call::two_processes::{kind:?}"),
            move || {
                two_processes(kind);
                Ok::<(), Failed>(())
            },
        ));
    }
    trials.push(Trial::test("no_system_call::the_filter_kills", || {
        the_filter_kills();
        Ok::<(), Failed>(())
    }));
}

/// Goal: sending and receiving need no system call and no memory. Method: a process that holds both
/// ends forbids itself both, then moves a million messages by all the ways there are.
fn one_process(kind: Kind) {
    let mut setup = Setup::new(kind, 16384, "plain");
    drop(setup.agent()); // which makes the ring
    let status = myself(&format!("quiet one {}", setup.place()))
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    setup.finish();
}

/// Goal: the same between two processes. Method: both forbid themselves every call; one fills the
/// ring, says so through a shared word, and the other drains it.
fn two_processes(kind: Kind) {
    let mut setup = Setup::new(kind, 65536, "plain");
    drop(setup.agent());
    let directory = tempfile::tempdir().unwrap();
    let oracle = directory.path().join("oracle");
    let _page = Oracle::open(&oracle);
    let role = |name: &str| format!("quiet {name} {} {}", setup.place(), oracle.display());
    let mut tx = myself(&role("producer")).spawn().unwrap();
    let mut rx = myself(&role("consumer")).spawn().unwrap();
    let (tx, rx) = (tx.wait().unwrap(), rx.wait().unwrap());
    assert!(tx.success() && rx.success(), "{tx} {rx}");
    setup.finish();
}

/// Goal: the two tests above can fail. Method: one harmless call under the same filter.
fn the_filter_kills() {
    let status = myself("quiet control").status().unwrap();
    assert_eq!(status.signal(), Some(libc::SIGSYS), "{status}");
}

pub(crate) fn child(words: &[&str]) {
    match *words {
        ["one", place] => one(place),
        ["producer", place, oracle] => producer(place, &Oracle::open(Path::new(oracle))),
        ["consumer", place, oracle] => consumer(place, &Oracle::open(Path::new(oracle))),
        ["control"] => {
            kernel::allow_only_exit();
            let _pid = std::process::id();
        }
        _ => panic!("no such child: {words:?}"),
    }
}

/// Leaves with a code of its own instead of a panic, which could not even print here.
fn insist(fact: bool, code: i32) {
    if !fact {
        kernel::exit_at_once(code);
    }
}

fn one(place: &str) {
    let ring = Options::new().open(&place.parse().unwrap()).unwrap();
    let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let mut expected = Vec::with_capacity(2 * LONGEST);
    let mut buffer = vec![0; 2 * LONGEST];
    // What grows once grows now.
    tx.send(&[0; LONGEST]).unwrap();
    assert_eq!(rx.drain(1, |_| ()), Ok(1));
    kernel::allow_only_exit();
    memory::forbid();
    let mut number = 0;
    while number < MESSAGES {
        number = match number % 4 {
            0 => singles(&mut tx, &mut rx, number, &mut expected, &mut buffer),
            1 => blocking(&mut tx, &mut rx, number, &mut expected, &mut buffer),
            2 => batches(&mut tx, &mut rx, number, &mut expected),
            _ => claims(&mut tx, &mut rx, number, &mut expected, &mut buffer),
        };
    }
    kernel::exit_at_once(0);
}

fn singles(
    tx: &mut Producer,
    rx: &mut Consumer,
    number: u64,
    expected: &mut Vec<u8>,
    buffer: &mut [u8],
) -> u64 {
    message::any(number, LONGEST, expected);
    insist(tx.try_send(expected).is_ok(), 10);
    insist(rx.peek_len() == Ok(expected.len()), 11);
    let length = rx.try_recv(buffer).unwrap_or(usize::MAX);
    insist(buffer.get(..length) == Some(expected), 12);
    insist(rx.try_recv(buffer) == Err(TryRecvError::Empty), 13);
    number + 1
}

fn blocking(
    tx: &mut Producer,
    rx: &mut Consumer,
    number: u64,
    expected: &mut Vec<u8>,
    buffer: &mut [u8],
) -> u64 {
    message::any(number, LONGEST, expected);
    insist(tx.send(expected).is_ok(), 20);
    let length = rx.recv(buffer).unwrap_or(usize::MAX);
    insist(buffer.get(..length) == Some(expected), 21);
    number + 1
}

fn batches(tx: &mut Producer, rx: &mut Consumer, number: u64, expected: &mut Vec<u8>) -> u64 {
    let Ok(mut batch) = tx.batch() else {
        kernel::exit_at_once(30)
    };
    for each in number..number + 5 {
        message::any(each, LONGEST, expected);
        insist(batch.push(expected).is_ok(), 31);
    }
    insist(batch.commit() == 5, 32);
    let mut next = number;
    let drained = rx.drain(10, |message| {
        message::any(next, LONGEST, expected);
        insist(message == expected, 33);
        next += 1;
    });
    insist(drained == Ok(5), 34);
    number + 5
}

fn claims(
    tx: &mut Producer,
    rx: &mut Consumer,
    number: u64,
    expected: &mut Vec<u8>,
    buffer: &mut [u8],
) -> u64 {
    message::any(number, LONGEST, expected);
    let Ok(mut claim) = tx.try_claim(LONGEST) else {
        kernel::exit_at_once(40)
    };
    insist(claim.write_at(0, expected).is_ok(), 41);
    insist(claim.commit_len(expected.len()).is_ok(), 42);
    let length = rx.peek(buffer).unwrap_or(usize::MAX);
    insist(buffer.get(..length) == Some(expected), 43);
    insist(rx.skip(1) == Ok(1), 44);
    number + 1
}

/// Spins, without a call, until it is this side's turn.
fn await_turn(oracle: &Oracle, turn: u64) {
    while oracle.get(Word::Turn) != turn {
        std::hint::spin_loop();
    }
}

/// Both are attached before either forbids itself anything.
fn meet(oracle: &Oracle, mine: Word, theirs: Word) {
    oracle.set(mine, 1);
    while oracle.get(theirs) == 0 {
        std::thread::yield_now();
    }
}

fn producer(place: &str, oracle: &Oracle) {
    let ring = Options::new().open(&place.parse().unwrap()).unwrap();
    let mut tx = ring.producer().unwrap();
    let mut buffer = Vec::with_capacity(2 * LONGEST);
    meet(oracle, Word::ProducerSessions, Word::ConsumerSessions);
    kernel::allow_only_exit();
    memory::forbid();
    let mut next = 0;
    for turn in 0..TURNS {
        await_turn(oracle, 2 * turn);
        loop {
            message::any(next, LONGEST, &mut buffer);
            match tx.try_send(&buffer) {
                Ok(()) => next += 1,
                Err(error) => {
                    insist(error == TrySendError::Full, 50);
                    break;
                }
            }
        }
        oracle.set(Word::Published, next);
        oracle.set(Word::Turn, 2 * turn + 1);
    }
    kernel::exit_at_once(0);
}

fn consumer(place: &str, oracle: &Oracle) {
    let ring = Options::new().open(&place.parse().unwrap()).unwrap();
    let mut rx = ring.consumer().unwrap();
    let mut expected = Vec::with_capacity(2 * LONGEST);
    let mut buffer = vec![0; 2 * LONGEST];
    meet(oracle, Word::ConsumerSessions, Word::ProducerSessions);
    kernel::allow_only_exit();
    memory::forbid();
    let mut next = 0;
    for turn in 0..TURNS {
        await_turn(oracle, 2 * turn + 1);
        loop {
            match rx.try_recv(&mut buffer) {
                Ok(length) => {
                    message::any(next, LONGEST, &mut expected);
                    insist(buffer.get(..length) == Some(&expected), 60);
                    next += 1;
                }
                Err(error) => {
                    insist(error == TryRecvError::Empty, 61);
                    break;
                }
            }
        }
        insist(next == oracle.get(Word::Published), 62);
        oracle.set(Word::Turn, 2 * turn + 2);
    }
    insist(next > TURNS * 100, 63);
    kernel::exit_at_once(0);
}
