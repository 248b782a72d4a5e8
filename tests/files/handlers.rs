//! The guard among other handlers of the same signal.

use libtest_mimic::Trial;

use crate::bench::{Bench, go_round};
use crate::driver::{Agent, End};

pub(crate) fn add(trials: &mut Vec<Trial>) {
    let tests: [(&str, fn()); 7] = [
        ("before", a_handler_from_before),
        ("later", a_handler_from_later),
        ("default", without_another_handler),
        ("ignore", an_ignored_signal),
        ("sent", a_signal_that_is_sent),
        ("unmapped", addresses_that_were_a_ring),
        ("forked", a_forked_child),
    ];
    for (name, body) in tests {
        trials.push(Trial::test(format!("handlers::{name}"), move || {
            body();
            Ok(())
        }));
    }
}

const DEAD: End = End::Signal(libc::SIGBUS);

/// A consumer whose ring is going to be cut off, and the ring.
fn consumer(bench: &Bench) -> Agent {
    let (mut tx, mut rx) = bench.pair();
    go_round(&mut tx, &mut rx, false);
    rx
}

/// What `errno` is before a fault of the program's own.
const ERRNO: u64 = 5;

/// What the program's handler leaves there.
const MARK: u64 = 77;

/// The agent meets a lost page of its ring, then one of its own mapping in another thread, after
/// which `errno` is what is said here.
fn both_faults(bench: &Bench, agent: &mut Agent, errno: u64) {
    agent.does("own");
    bench.resize(0);
    assert_eq!(agent.ask("go"), bench.truncated(0));
    assert_eq!(
        agent.does("met"),
        0,
        "the ring's fault is not the program's"
    );
    assert_eq!(agent.does("touch"), errno);
    assert_eq!(agent.does("met"), 1, "its own fault is");
}

/// Goal: a handler that was there before gets what is not the guard's, and nothing else, on the
/// alternate stack; `errno` stays what it was. Method: both kinds of handlers, then the guard, then
/// a fault of the ring and one of the program's own in another thread.
fn a_handler_from_before() {
    for kind in ["informed", "plain"] {
        let bench = Bench::new(2, false);
        let mut agent = consumer(&bench);
        agent.does(&format!("handler {kind}"));
        agent.does("guard");
        both_faults(&bench, &mut agent, ERRNO);
        assert_eq!(agent.does("passed"), 0);
        assert_eq!(agent.does("elsewhere"), 1);
    }
}

/// Goal: a handler that is installed later and passes on what is not its own passes on the ring's
/// faults, and they are dealt with.
fn a_handler_from_later() {
    let bench = Bench::new(2, false);
    let mut agent = consumer(&bench);
    agent.does("guard");
    agent.does("handler informed");
    both_faults(&bench, &mut agent, MARK);
    assert_eq!(agent.does("passed"), 1);
}

/// Goal: where there was no handler, or that of Rust's runtime, a fault that is not the guard's ends
/// the process as it did; the ring's own does not.
fn without_another_handler() {
    for kind in [None, Some("handler default")] {
        let bench = Bench::new(2, false);
        let mut agent = consumer(&bench);
        if let Some(kind) = kind {
            agent.does(kind);
        }
        agent.does("guard");
        agent.does("own");
        bench.resize(0);
        assert_eq!(agent.ask("go"), bench.truncated(0));
        assert_eq!(agent.dies_of("touch"), DEAD, "{kind:?}");
    }
}

/// Goal: where the signal was ignored, one that is sent still is; a fault can not be.
fn an_ignored_signal() {
    let bench = Bench::new(2, false);
    let mut agent = consumer(&bench);
    agent.does("handler ignore");
    agent.does("guard");
    agent.does("raise");
    agent.does("own");
    bench.resize(0);
    assert_eq!(agent.ask("go"), bench.truncated(0));
    assert_eq!(agent.dies_of("touch"), DEAD);
}

/// Goal: a signal that somebody sends has the effect that it has without the guard.
fn a_signal_that_is_sent() {
    let bench = Bench::new(2, false);
    let mut agent = consumer(&bench);
    agent.does("handler default");
    agent.does("guard");
    assert_eq!(agent.dies_of("raise"), DEAD);
}

/// Where the agent has the ring mapped.
fn address(bench: &Bench, agent: &mut Agent) -> u64 {
    agent.does(&format!("where {}", bench.path().display()))
}

/// Goal: addresses that were a ring's are nobody's once it is unmapped. Method: the program maps a
/// file of its own there, and meets a fault in it.
fn addresses_that_were_a_ring() {
    let bench = Bench::new(2, false);
    let mut agent = consumer(&bench);
    agent.does("guard");
    let start = address(&bench, &mut agent);
    agent.does("leave");
    agent.does(&format!("own {start}"));
    assert_eq!(agent.dies_of("touch"), DEAD);
}

/// Goal: in a forked child the ring is not mapped, and its addresses are not guarded; a ring that
/// the child opens is.
fn a_forked_child() {
    let bench = Bench::new(2, false);
    let mut agent = consumer(&bench);
    agent.does("guard");
    let start = address(&bench, &mut agent);
    let signal = agent.does(&format!("fork-touch {start}"));
    assert_eq!(signal, u64::try_from(libc::SIGBUS).unwrap());
    bench.resize(0);
    assert_eq!(agent.ask("go"), bench.truncated(0), "the parent's is");
}
