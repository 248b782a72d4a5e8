//! One set of behaviours, over every backing.

use libtest_mimic::{Failed, Trial};

use crate::driver::Agent;
use crate::setup::{ALL, Kind, Setup, on};

pub(crate) fn add(trials: &mut Vec<Trial>) {
    for kind in ALL {
        for checksum in ["plain", "checked"] {
            trials.push(Trial::test(
                format!("streams::{kind:?}::{checksum}"),
                move || {
                    streams(kind, checksum);
                    Ok::<(), Failed>(())
                },
            ));
        }
    }
    on(trials, &ALL, "either_side_first", either_side_first);
    on(
        trials,
        &ALL,
        "restart_keeps_everything",
        restart_keeps_everything,
    );
    on(
        trials,
        &ALL,
        "a_second_end_is_refused",
        a_second_end_is_refused,
    );
    on(
        trials,
        &ALL,
        "close_comes_after_the_last_message",
        close_comes_last,
    );
    on(
        trials,
        &[Kind::Anonymous],
        "parent_and_child",
        parent_and_child,
    );
}

/// Goal: every message arrives whole, once and in order, by every way of sending and of receiving,
/// from empty to the longest, many times round the ring. Method: two processes; messages follow
/// from their number, so the receiver checks every byte without being told; ways are mixed, so
/// that the singles of one side meet the batches of the other.
fn streams(kind: Kind, checksum: &'static str) {
    let mut setup = Setup::new(kind, 16384, checksum);
    let (mut tx, mut rx) = setup.pair();
    let longest = setup.longest();
    let mut next = 0;
    for (count, max, how, taken) in [
        (10_000, 200, "one", "one"),
        (10_000, 300, "batch", "drain"),
        (5_000, 100, "batch", "one"),
        (5_000, 100, "one", "drain"),
        (3_000, 1500, "claim", "drain"),
        (400, longest, "one", "one"),
        (400, longest, "batch", "drain"),
    ] {
        tx.tell(&format!("send {next} {count} {max} {how}"));
        rx.tell(&format!("recv {next} {count} {max} {taken}"));
        tx.hear();
        rx.hear();
        next += count;
    }
    assert_eq!(rx.ask("totals"), next.to_string());
    drop((tx, rx));
    setup.finish();
}

/// Goal: it does not matter who comes first. Method: a producer that fills the ring before there
/// is any consumer; then a consumer that waits before there is any producer.
fn either_side_first(setup: &mut Setup) {
    let (mut tx, mut rx) = (setup.agent(), setup.agent());
    tx.ask("producer");
    let sent: u64 = tx.ask("fill 0 500").parse().unwrap();
    assert!(sent > 20);
    rx.ask("consumer");
    rx.ask(&format!("recv 0 {sent} 500 one"));
    tx.ask("leave");
    rx.ask("leave");
    rx.ask("consumer");
    rx.tell(&format!("recv {sent} 100 500 one"));
    let mut watch = setup.agent();
    watch.ask("until consumer parked");
    tx.ask("producer");
    tx.ask(&format!("send {sent} 100 500 one"));
    rx.hear();
}

/// Goal: a side that leaves cleanly and comes back, in the same process or in another, goes on
/// where it was, and the messages that waited meanwhile are there. Method: restart each side of a
/// ring that is half full, both in place and as a fresh process.
fn restart_keeps_everything(setup: &mut Setup) {
    let (mut tx, mut rx) = setup.pair();
    let mut sent = 0_u64;
    let mut taken = 0_u64;
    for round in 0..4 {
        let count: u64 = tx.ask(&format!("fill {sent} 300")).parse().unwrap();
        sent += count;
        let half = (sent - taken) / 2;
        rx.ask(&format!("recv {taken} {half} 300 one"));
        taken += half;
        match round {
            0 => {
                tx.ask("leave");
                tx.ask("producer");
            }
            1 => {
                rx.ask("leave");
                rx.ask("consumer");
            }
            2 => {
                tx.ask("leave");
                tx = setup.agent();
                tx.ask("producer");
            }
            _ => {
                rx.ask("leave");
                rx = setup.agent();
                rx.ask("consumer");
            }
        }
        assert_eq!(tx.ask("totals"), sent.to_string());
        assert_eq!(rx.ask("totals"), taken.to_string());
    }
    let rest = sent - taken;
    rx.ask(&format!("recv {taken} {rest} 300 drain"));
}

/// Goal: at most one producer and one consumer; who comes second is told who is there; and the
/// ring with its holders goes on undisturbed. Method: a third process asks for each role, then
/// gets each once it is free.
fn a_second_end_is_refused(setup: &mut Setup) {
    let (mut tx, mut rx) = setup.pair();
    let mut third = setup.agent();
    for (role, holder) in [("producer", &tx), ("consumer", &rx)] {
        let error = third.refused(role);
        assert!(error.contains("RoleTaken"), "{error}");
        assert!(error.contains(&format!("pid {}", holder.pid())), "{error}");
        // The kernel keeps 15 bytes of the program's name.
        assert!(error.contains(r#"by "processes"#), "{error}");
    }
    tx.ask("send 0 50 100 one");
    rx.ask("recv 0 50 100 one");
    let (tx_sessions, rx_sessions) = (third.ask("count producer sessions"), "1");
    assert_eq!((tx_sessions.as_str(), rx_sessions), ("1", "1"));
    for (role, holder) in [("producer", &mut tx), ("consumer", &mut rx)] {
        holder.ask("leave");
        third.ask(role);
        third.ask("leave");
    }
}

/// Goal: a clean close is told after the last message, once, and the next producer is then waited
/// for. Method: close with messages in the ring, drain, and stream again from a new process.
fn close_comes_last(setup: &mut Setup) {
    let (mut tx, mut rx) = setup.pair();
    let sent = tx.ask("fill 0 200");
    tx.ask("leave");
    assert_eq!(rx.ask("peer"), "Closed");
    assert_eq!(rx.ask("drain 0 200"), format!("{sent} Closed"));
    rx.tell(&format!("drain {sent} 200"));
    let mut watch = setup.agent();
    watch.ask("until consumer parked");
    let mut next: Agent = setup.agent();
    next.ask("producer");
    next.ask(&format!("send {sent} 30 200 one"));
    next.ask("leave");
    assert_eq!(rx.hear(), "30 Closed");
}

/// Goal: anonymous memory works between a process and its own child, in both directions. Method:
/// one process makes the ring and forks; then one end is the parent's and the other the child's.
fn parent_and_child(setup: &mut Setup) {
    for (parent_role, child_role) in [("producer", "consumer"), ("consumer", "producer")] {
        let mut parent = Agent::start();
        parent.ask("anonymous 16384 checked");
        parent.ask("reap");
        let mut child = setup.fork(&mut parent);
        parent.ask(parent_role);
        child.ask(child_role);
        let (tx, rx) = match parent_role {
            "producer" => (&mut parent, &mut child),
            _ => (&mut child, &mut parent),
        };
        tx.tell("send 0 20000 900 batch");
        rx.tell("recv 0 20000 900 drain");
        tx.hear();
        rx.hear();
        tx.ask("leave");
        assert_eq!(rx.ask("drain 20000 900"), "0 Closed");
        child.kill();
    }
}
