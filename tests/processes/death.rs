//! What the other side sees when a process ends, stops, forks or turns into another program.

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::setup::{ALL, Kind, Setup, on};

/// Backings whose processes are separate programs.
const PROGRAMS: [Kind; 5] = [
    Kind::File,
    Kind::Shm,
    Kind::Inherited,
    Kind::Socket,
    Kind::SysVKey,
];

pub(crate) fn add(trials: &mut Vec<Trial>) {
    on(trials, &ALL, "killed_producer", killed_producer);
    on(trials, &ALL, "killed_consumer", killed_consumer);
    on(trials, &ALL, "both_killed", both_killed);
    on(trials, &ALL, "stopped_is_not_dead", stopped_is_not_dead);
    on(
        trials,
        &ALL,
        "forked_handles_are_inert",
        forked_handles_are_inert,
    );
    on(
        trials,
        &ALL,
        "a_living_child_keeps_no_role",
        a_living_child_keeps_no_role,
    );
    on(
        trials,
        &PROGRAMS,
        "exec_gives_the_role_back",
        exec_gives_the_role_back,
    );
}

/// Goal: what a killed producer published is all received; then its death is told once; then the
/// next producer is waited for and goes on where the dead one was. Method: SIGKILL with messages
/// in the ring, and once more while the consumer sleeps.
fn killed_producer(setup: &mut Setup) {
    let (mut tx, mut rx) = setup.pair();
    let sent = tx.ask("fill 0 300");
    tx.kill();
    assert_eq!(rx.ask("peer"), "Gone");
    assert_eq!(rx.ask("drain 0 300"), format!("{sent} PeerGone"));
    rx.tell(&format!("drain {sent} 300"));
    let mut watch = setup.agent();
    watch.ask("until consumer parked");
    let mut next = setup.agent();
    next.ask("producer");
    assert_eq!(next.ask("totals"), sent);
    next.ask(&format!("send {sent} 40 300 batch"));
    next.kill();
    assert_eq!(rx.hear(), "40 PeerGone");
    // Told once: the next wait is for the next producer, and only time ends it.
    assert_eq!(rx.ask("time-out 150"), "Err(TimedOut)");
}

/// Goal: the same seen from the other side: a producer on a full ring is told once that the
/// consumer died, then waits for the next one, which gets everything that was not released.
fn killed_consumer(setup: &mut Setup) {
    let (mut tx, mut rx) = setup.pair();
    let sent: u64 = tx.ask("fill 0 300").parse().unwrap();
    rx.ask("recv 0 5 300 one");
    let more: u64 = tx.ask(&format!("fill {sent} 300")).parse().unwrap();
    let sent = sent + more;
    rx.kill();
    assert_eq!(tx.ask("peer"), "Gone");
    let error = tx.refused(&format!("send {sent} 1 300 one"));
    assert!(error.starts_with("PeerGone"), "{error}");
    tx.tell(&format!("send {sent} 1 300 one"));
    let mut watch = setup.agent();
    watch.ask("until producer parked");
    let mut next = setup.agent();
    next.ask("consumer");
    assert_eq!(next.ask("totals"), "5");
    next.ask(&format!("recv 5 {} 300 one", sent - 5));
    tx.hear();
    next.ask(&format!("recv {sent} 1 300 one"));
}

/// Goal: with both sides killed nothing published is lost. Method: kill both with messages in the
/// ring; fresh processes go on.
fn both_killed(setup: &mut Setup) {
    let (mut tx, mut rx) = setup.pair();
    let sent: u64 = tx.ask("fill 0 200").parse().unwrap();
    rx.ask("recv 0 7 200 one");
    tx.kill();
    rx.kill();
    let (mut tx, mut rx) = setup.pair();
    assert_eq!(tx.ask("totals"), sent.to_string());
    assert_eq!(rx.ask("totals"), "7");
    rx.tell(&format!("recv 7 {} 200 one", sent + 500 - 7));
    tx.ask(&format!("send {sent} 500 200 one"));
    rx.hear();
}

/// Goal: a stopped process is slow, not dead: its role stays its own, no ending is told, and once
/// it goes on nothing is missing. Method: SIGSTOP to each side while the other waits for it.
fn stopped_is_not_dead(setup: &mut Setup) {
    let (mut tx, mut rx) = setup.pair();
    let mut watch = setup.agent();
    tx.signal(Signal::STOP);
    watch.ask("until producer stopped");
    assert_eq!(rx.ask("peer"), "Stopped");
    assert_eq!(rx.ask("time-out 250"), "Err(TimedOut)");
    assert!(watch.refused("producer").contains("RoleTaken"));
    tx.signal(Signal::CONT);
    let sent: u64 = tx.ask("fill 0 300").parse().unwrap();
    rx.signal(Signal::STOP);
    watch.ask("until consumer stopped");
    assert_eq!(tx.ask("peer"), "Stopped");
    assert_eq!(tx.ask("time-out 250"), "Err(TimedOut)");
    rx.signal(Signal::CONT);
    watch.ask("until consumer attached");
    rx.ask(&format!("recv 0 {sent} 300 one"));
}

/// Goal: in a forked child every call of an inherited end says so, and dropping them changes
/// nothing for the parent. Method: fork from each side, try every call in the child, drop, end it;
/// then stream.
fn forked_handles_are_inert(setup: &mut Setup) {
    let (mut tx, mut rx) = setup.pair();
    tx.ask("send 0 20 300 one");
    for parent in [&mut tx, &mut rx] {
        parent.ask("reap");
        let mut child = setup.fork(parent);
        assert_eq!(child.ask("inert"), "Forked");
        child.kill();
    }
    assert_eq!(tx.ask("peer"), "Attached");
    assert_eq!(rx.ask("peer"), "Attached");
    tx.ask("send 20 20 300 one");
    rx.ask("recv 0 40 300 one");
}

/// Goal: a role goes with its owner, though a forked child lives on with everything it inherited.
/// Method: fork, kill the owner, see the role free and taken by a new process, while the child is
/// still there and its handles are still inert.
fn a_living_child_keeps_no_role(setup: &mut Setup) {
    let (mut tx, mut rx) = setup.pair();
    tx.ask("send 0 20 300 one");
    let mut child = setup.fork(&mut tx);
    child.ask("orphan");
    tx.kill();
    assert_eq!(rx.ask("drain 0 300"), "20 PeerGone");
    let mut next = setup.agent();
    next.ask("producer");
    assert_eq!(child.ask("inert"), "Forked");
    next.ask("send 20 20 300 one");
    rx.ask("recv 20 20 300 one");
    child.kill();
    assert_eq!(rx.ask("peer"), "Attached");
}

/// Goal: a process that turns into another program gives its role back, as if it had died. Method:
/// exec with the role held; the process id stays, the role is free, and the new program takes it.
fn exec_gives_the_role_back(setup: &mut Setup) {
    let (mut tx, mut rx) = setup.pair();
    tx.ask("send 0 20 300 one");
    tx.ask("exec"); // answered by the new program
    assert_eq!(rx.ask("peer"), "Gone");
    assert_eq!(rx.ask("drain 0 300"), "20 PeerGone");
    let mut next = setup.agent();
    next.ask("producer");
    next.ask("send 20 5 300 one");
    rx.ask("recv 20 5 300 one");
}
