//! Children of every kind, and signal handlers that send.
#![expect(
    unsafe_code,
    reason = "makes children and handlers as only libc and the kernel offer it"
)]

use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use ringduct::{Consumer, Options, PeerState, Producer, Ring, TrySendError};
use rustix::process::{Pid, WaitOptions};

use crate::driver::myself;
use crate::kernel::{self, Process};
use crate::memory;
use crate::message;
use crate::setup::{Kind, Setup};

/// Children of each way of making one.
const CHILDREN: u64 = 150;

/// Messages that the handler sends before the storm ends.
const PUSHES: u64 = 5_000;

/// Microseconds between two signals: 20,000 a second.
const PERIOD_US: i64 = 50;

const LONGEST: usize = 300;

/// What a call that must not wait would wait at most.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn add(trials: &mut Vec<Trial>) {
    for kind in [Kind::File, Kind::Shm, Kind::SysVKey] {
        for how in ["fork", "clone", "vfork", "spawn"] {
            trials.push(Trial::test(
                format!("children::{how}::{kind:?}"),
                move || {
                    children(kind, how);
                    Ok::<(), Failed>(())
                },
            ));
        }
        trials.push(Trial::test(
            format!("sending_in_a_handler::{kind:?}"),
            move || {
                sending_in_a_handler(kind);
                Ok::<(), Failed>(())
            },
        ));
    }
    trials.push(Trial::test("allocating_is_noticed", || {
        allocating_is_noticed();
        Ok::<(), Failed>(())
    }));
}

pub(crate) fn child(words: &[&str]) {
    match *words {
        ["children", how, place] => parent(how, place),
        ["handler", first, second] => handler(first, second),
        ["allocates"] => {
            memory::forbid();
            drop(std::hint::black_box(Box::new(7)));
        }
        _ => panic!("no such child: {words:?}"),
    }
}

/// Goal: children that are made while a process has both ends of a ring, by `fork`, by the bare
/// system call that the C library knows nothing of, by `vfork` and by a spawn, change nothing for
/// it: forked ones get a typed refusal of every call, `vfork`'s count as the process itself. A
/// child that lives on does not keep a role when its parent is killed. Method: a process that makes
/// hundreds, moves messages while they run, leaves one child and is killed.
fn children(kind: Kind, how: &'static str) {
    let mut setup = Setup::new(kind, 16384, "plain");
    drop(setup.agent()); // which makes the ring
    let mut parent = myself(&format!("forks children {how} {}", setup.place()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut output = parent.stdout.take().unwrap();
    let mut byte = [0];
    while output.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
        said.push(char::from(byte[0]));
    }
    let (made, heir) = said
        .split_once(' ')
        .unwrap_or_else(|| panic!("it said {said:?}"));
    assert_eq!(made, CHILDREN.to_string());
    parent.kill().unwrap();
    parent.wait().unwrap();
    let heir = match heir {
        "none" => None,
        pid => Some(Process::new(pid.parse().unwrap())),
    };
    let ring = Options::new()
        .open(&setup.place().parse().unwrap())
        .unwrap();
    let (tx, rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
    assert_eq!(
        tx.totals().messages,
        rx.totals().messages,
        "nothing is left"
    );
    drop((tx, rx));
    if let Some(heir) = heir {
        assert!(heir.is_running(), "the child has outlived its parent");
        heir.kill();
    }
    drop(ring);
    setup.finish();
}

/// The process that makes children; says how many, and which one lives on.
fn parent(how: &str, place: &str) {
    let ring = Options::new().open(&place.parse().unwrap()).unwrap();
    let mut tx = Some(ring.producer().unwrap());
    let mut rx = Some(ring.consumer().unwrap());
    let mut next = 0;
    let mut running = Vec::new();
    for number in 0..CHILDREN {
        match how {
            "spawn" => assert!(Command::new("true").status().unwrap().success()),
            "vfork" => next = in_a_vfork(tx.as_mut().unwrap(), rx.as_mut().unwrap(), next),
            _ => running.push(make(how, || refused(&mut tx, &mut rx, &ring))),
        }
        move_some(tx.as_mut().unwrap(), rx.as_mut().unwrap(), &mut next);
        // A few run beside the parent at any time.
        if running.len() > 4 || number == CHILDREN - 1 {
            for child in running.drain(..) {
                let (_, status) = rustix::process::waitpid(Some(child), WaitOptions::empty())
                    .unwrap()
                    .unwrap();
                assert_eq!(status.exit_status(), Some(0), "{status:?}");
            }
        }
    }
    let heir = match how {
        "fork" | "clone" => make(how, || {
            loop {
                std::thread::park();
            }
        })
        .as_raw_nonzero()
        .to_string(),
        _ => "none".to_owned(),
    };
    let said = format!("{CHILDREN} {heir}\n");
    std::io::stdout().write_all(said.as_bytes()).unwrap();
    loop {
        std::thread::park();
    }
}

/// Makes a child that runs `body` and ends with what it returns.
fn make(how: &str, body: impl FnOnce() -> i32) -> Pid {
    let child = match how {
        "fork" => kernel::fork(),
        _ => kernel::clone(),
    };
    child.unwrap_or_else(|| kernel::exit_at_once(body()))
}

/// In a child: what every call says, and that the ring itself can still be asked for a role.
fn refused(tx: &mut Option<Producer>, rx: &mut Option<Consumer>, ring: &Ring) -> i32 {
    let state = tx.as_ref().map(Producer::peer_state);
    let said = inert(tx.take(), rx.take());
    let taken = [ring.producer().is_err(), ring.consumer().is_err()];
    // In words of an exit code: what is printed here would be mixed up with the parent's.
    i32::from(said != "Forked")
        | i32::from(state != Some(PeerState::Attached)) << 1
        | i32::from(taken != [true, true]) << 2
}

/// Tries every call that could touch the ring on inherited ends, then drops them.
pub(crate) fn inert(tx: Option<Producer>, rx: Option<Consumer>) -> String {
    let mut answers = Vec::new();
    if let Some(mut tx) = tx {
        answers.push(format!("{:?}", tx.try_send(b"x").unwrap_err()));
        answers.push(format!("{:?}", tx.send(b"x").unwrap_err()));
        answers.push(format!(
            "{:?}",
            tx.send_timeout(b"x", PATIENCE).unwrap_err()
        ));
        answers.push(format!("{:?}", tx.try_send_all(["x"]).unwrap_err()));
        answers.push(format!("{:?}", tx.batch().map(|_| ()).unwrap_err()));
        answers.push(format!("{:?}", tx.try_claim(1).map(|_| ()).unwrap_err()));
        answers.push(format!("{:?}", tx.claim(1, None).map(|_| ()).unwrap_err()));
        answers.push(format!("{:?}", tx.wait_for_room(1, None).unwrap_err()));
        assert_eq!(tx.backlog_bytes(), 0);
    }
    if let Some(mut rx) = rx {
        let mut buffer = Vec::new();
        answers.push(format!("{:?}", rx.try_recv(&mut [0; 8]).unwrap_err()));
        answers.push(format!("{:?}", rx.recv(&mut [0; 8]).unwrap_err()));
        answers.push(format!(
            "{:?}",
            rx.recv_timeout(&mut [0; 8], PATIENCE).unwrap_err()
        ));
        answers.push(format!("{:?}", rx.try_recv_vec(&mut buffer).unwrap_err()));
        answers.push(format!("{:?}", rx.recv_vec(&mut buffer, None).unwrap_err()));
        answers.push(format!("{:?}", rx.drain(1, |_| ()).unwrap_err()));
        answers.push(format!("{:?}", rx.peek_len().unwrap_err()));
        answers.push(format!("{:?}", rx.peek(&mut [0; 8]).unwrap_err()));
        answers.push(format!("{:?}", rx.peek_vec(&mut buffer, None).unwrap_err()));
        answers.push(format!("{:?}", rx.skip(1).unwrap_err()));
        answers.push(format!("{:?}", rx.skip_to_latest().unwrap_err()));
        answers.push(format!("{:?}", rx.wait_for_message(None).unwrap_err()));
        assert_eq!(rx.backlog_bytes(), 0);
    }
    answers.dedup();
    answers.join(" ")
}

fn move_some(tx: &mut Producer, rx: &mut Consumer, next: &mut u64) {
    let (mut expected, mut found) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        message::any(*next, LONGEST, &mut expected);
        tx.send(&expected).unwrap();
        rx.recv_vec(&mut found, None).unwrap();
        assert_eq!(found, expected);
        *next += 1;
    }
}

/// Sends from a child that shares the memory of the process, which waits meanwhile.
fn in_a_vfork(tx: &mut Producer, rx: &mut Consumer, next: u64) -> u64 {
    extern "C" fn send(tx: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the parent passes its producer and is stopped until this child ends.
        let tx = unsafe { &mut *tx.cast::<Producer>() };
        i32::from(tx.try_send(b"from a child").is_err())
    }
    let mut stack = vec![0_u128; 1 << 14];
    let top = stack.as_mut_ptr_range().end;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let argument: *mut Producer = tx;
    // SAFETY: the stack is the child's alone and outlives it, as this call returns when it has
    // ended; the argument is not touched here meanwhile.
    let pid = unsafe { libc::clone(send, top.cast(), flags, argument.cast()) };
    let child = Pid::from_raw(pid).expect("clone");
    let (_, status) = rustix::process::waitpid(Some(child), WaitOptions::empty())
        .unwrap()
        .unwrap();
    assert_eq!(status.exit_status(), Some(0), "{status:?}");
    let mut found = Vec::new();
    rx.recv_vec(&mut found, None).unwrap();
    assert_eq!(found, b"from a child");
    next
}

/// Goal: a signal handler may send on a ring of its own while the code that it interrupted is
/// anywhere in a call on another ring; neither loses or tears anything, and neither allocates.
/// Method: a timer interrupts a stream 20,000 times a second; every allocation ends the process.
fn sending_in_a_handler(kind: Kind) {
    let (mut first, mut second) = (
        Setup::new(kind, 4096, "plain"),
        Setup::new(kind, 4096, "plain"),
    );
    drop((first.agent(), second.agent()));
    let status = myself(&format!(
        "forks handler {} {}",
        first.place(),
        second.place()
    ))
    .status()
    .unwrap();
    assert!(status.success(), "{status}");
    first.finish();
    second.finish();
}

/// Goal: the test above can fail. Method: one allocation where none is allowed.
fn allocating_is_noticed() {
    let status = myself("forks allocates").status().unwrap();
    assert_eq!(status.code(), Some(memory::FORBIDDEN_CODE), "{status}");
}

/// The producer that the handler sends with, what it has sent, and what it found no room for.
static HANDLERS: AtomicPtr<Producer> = AtomicPtr::new(std::ptr::null_mut());
static SENT: AtomicI32 = AtomicI32::new(0);
static FULL: AtomicI32 = AtomicI32::new(0);

extern "C" fn send_one(_: libc::c_int) {
    // SAFETY: set once, to a producer that stays as long as the process and that nothing but this
    // handler uses; the signal is blocked while its handler runs, in the only thread there is.
    let Some(tx) = (unsafe { HANDLERS.load(Ordering::SeqCst).as_mut() }) else {
        return;
    };
    let number = SENT.load(Ordering::SeqCst);
    match tx.try_send(&number.to_le_bytes()) {
        Ok(()) => SENT.store(number + 1, Ordering::SeqCst),
        Err(TrySendError::Full) => {
            let _before = FULL.fetch_add(1, Ordering::SeqCst);
        }
        Err(_) => kernel::exit_at_once(50),
    }
}

fn handler(first: &str, second: &str) {
    let open = |place: &str| Options::new().open(&place.parse().unwrap()).unwrap();
    let (ring, other) = (open(first), open(second));
    let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let mut from_handler = other.consumer().unwrap();
    let mut handlers = MaybeUninit::new(other.producer().unwrap());
    HANDLERS.store(handlers.as_mut_ptr(), Ordering::SeqCst);
    let mut expected = Vec::with_capacity(2 * LONGEST);
    let mut buffer = vec![0; 2 * LONGEST];
    let (mut next, mut taken) = (0_u64, 0_u64);
    kernel::handle_alarms(send_one);
    kernel::alarm_every(PERIOD_US);
    memory::forbid();
    let insist = |fact: bool, code: i32| {
        if !fact {
            kernel::exit_at_once(code);
        }
    };
    while taken < PUSHES {
        // Fill the ring, so that handlers run in every part of both calls, refusals too.
        let first = next;
        loop {
            message::any(next, LONGEST, &mut expected);
            match tx.try_send(&expected) {
                Ok(()) => next += 1,
                Err(error) => {
                    insist(error == TrySendError::Full, 51);
                    break;
                }
            }
        }
        for number in first..next {
            message::any(number, LONGEST, &mut expected);
            let length = rx.try_recv(&mut buffer).unwrap_or(usize::MAX);
            insist(buffer.get(..length) == Some(&expected), 52);
        }
        while let Ok(length) = from_handler.try_recv(&mut buffer) {
            let number = i32::try_from(taken).unwrap_or(-1).to_le_bytes();
            insist(buffer.get(..length) == Some(&number), 53);
            taken += 1;
        }
    }
    kernel::alarm_every(0);
    while from_handler.try_recv(&mut buffer).is_ok() {
        taken += 1;
    }
    insist(i32::try_from(taken) == Ok(SENT.load(Ordering::SeqCst)), 54);
    insist(next > PUSHES, 55);
    kernel::exit_at_once(0);
}
