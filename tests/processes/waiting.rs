//! Sleeping and being woken, between processes.

use libtest_mimic::{Failed, Trial};

use crate::driver::Agent;
use crate::setup::{ALL, Kind, Setup, on};

pub(crate) fn add(trials: &mut Vec<Trial>) {
    on(
        trials,
        &ALL,
        "a_parked_consumer_is_woken",
        a_parked_consumer_is_woken,
    );
    on(
        trials,
        &ALL,
        "a_parked_producer_is_woken",
        a_parked_producer_is_woken,
    );
    let some = [Kind::File, Kind::Inherited, Kind::SysVKey];
    on(
        trials,
        &some,
        "signals_keep_the_deadline",
        signals_keep_the_deadline,
    );
    on(
        trials,
        &some,
        "spinning_streams_without_a_sleep",
        spinning_streams,
    );
    for (tx, rx) in [(true, false), (false, true), (true, true)] {
        let who = match (tx, rx) {
            (true, false) => "producer",
            (false, true) => "consumer",
            _ => "both",
        };
        trials.push(Trial::test(
            format!("membarrier_denied::{who}"),
            move || {
                membarrier_denied(tx, rx);
                Ok::<(), Failed>(())
            },
        ));
    }
}

fn number(agent: &mut Agent, command: &str) -> u64 {
    agent.ask(command).parse().unwrap()
}

/// Goal: a consumer that sleeps on an empty ring is woken by a message from another process.
/// Method: park it, see through an observer that it is, send, many times over. It would also come
/// round by its own recheck, so the wakes are counted: most rounds must have sent one (the rest
/// may have met the moment between two sleeps).
fn a_parked_consumer_is_woken(setup: &mut Setup) {
    let (mut tx, mut rx) = setup.pair();
    let mut watch = setup.agent();
    rx.ask("wait park");
    for round in 0..100 {
        rx.tell(&format!("recv {round} 1 100 one"));
        watch.ask("until consumer parked");
        tx.ask(&format!("send {round} 1 100 one"));
        rx.hear();
    }
    assert!(number(&mut watch, "count producer wakes") >= 50);
    assert!(number(&mut watch, "count consumer sleeps") >= 50);
}

/// Goal and method as above, for a producer that sleeps on a full ring.
fn a_parked_producer_is_woken(setup: &mut Setup) {
    let (mut tx, mut rx) = setup.pair();
    let mut watch = setup.agent();
    tx.ask("wait park");
    let mut sent = number(&mut tx, "fill 0 100");
    let mut taken = 0;
    for _ in 0..100 {
        tx.tell(&format!("send {sent} 10 100 one"));
        watch.ask("until producer parked");
        // More than enough room for the ten in one release.
        let count = (sent - taken) / 2;
        rx.ask(&format!("recv {taken} {count} 100 drain"));
        taken += count;
        tx.hear();
        sent += 10;
        sent += number(&mut tx, &format!("fill {sent} 100"));
    }
    assert!(number(&mut watch, "count consumer wakes") >= 50);
}

/// Goal: signals neither end a wait before its deadline nor put the deadline off. Method: both
/// sides wait in vain under a timer that interrupts them every 300 microseconds. A wait that
/// returned early fails inside the agent; one that starts anew after every signal never ends.
/// Streaming under the same storm loses nothing.
fn signals_keep_the_deadline(setup: &mut Setup) {
    let (mut tx, mut rx) = setup.pair();
    for agent in [&mut tx, &mut rx] {
        agent.ask("signals 300");
        agent.ask("wait park");
    }
    assert_eq!(rx.ask("time-out 250"), "Err(TimedOut)");
    let sent = number(&mut tx, "fill 0 500");
    assert_eq!(tx.ask("time-out 250"), "Err(TimedOut)");
    rx.tell(&format!("recv 0 {} 500 one", sent + 3000));
    tx.tell(&format!("send {sent} 3000 500 one"));
    tx.hear();
    rx.hear();
}

/// Goal: an end that is told to spin never sleeps in the kernel and moves everything.
fn spinning_streams(setup: &mut Setup) {
    let (mut tx, mut rx) = setup.pair();
    for agent in [&mut tx, &mut rx] {
        agent.ask("wait spin");
    }
    tx.tell("send 0 3000 500 one");
    rx.tell("recv 0 3000 500 one");
    tx.hear();
    rx.hear();
    let mut watch = setup.agent();
    assert_eq!(number(&mut watch, "count producer sleeps"), 0);
    assert_eq!(number(&mut watch, "count consumer sleeps"), 0);
}

/// Goal: where a container's filter refuses `membarrier` on either side or on both, the pair still
/// never hangs, and the side that cannot rely on barriers says that it fences. Method: deny the
/// call before attaching, park each side against the other many times, then stream both ways of
/// waiting.
fn membarrier_denied(tx_denied: bool, rx_denied: bool) {
    let mut setup = Setup::new(Kind::Shm, 16384, "checked");
    let (mut tx, mut rx) = (setup.agent(), setup.agent());
    if tx_denied {
        tx.ask("deny-membarrier");
    }
    if rx_denied {
        rx.ask("deny-membarrier");
    }
    tx.ask("producer");
    rx.ask("consumer");
    tx.ask("wait park");
    rx.ask("wait park");
    let mut watch = setup.agent();
    assert_eq!(watch.ask("count producer fences"), tx_denied.to_string());
    assert_eq!(watch.ask("count consumer fences"), rx_denied.to_string());
    for round in 0..50 {
        rx.tell(&format!("recv {round} 1 100 one"));
        watch.ask("until consumer parked");
        tx.ask(&format!("send {round} 1 100 one"));
        rx.hear();
    }
    let mut next = 50;
    tx.tell(&format!("send {next} 5000 1000 one"));
    rx.tell(&format!("recv {next} 5000 1000 drain"));
    tx.hear();
    rx.hear();
    next += 5000;
    // A sleeper that could not issue the barrier asked for fences; the producer has agreed.
    assert_eq!(watch.ask("count producer fences"), "true");
    // The consumer has to if the producer cannot, once it has seen it sleep.
    let sent = number(&mut tx, &format!("fill {next} 100"));
    tx.tell(&format!("send {} 10 100 one", next + sent));
    watch.ask("until producer parked");
    rx.ask(&format!("recv {next} {sent} 100 one"));
    tx.hear();
    assert_eq!(watch.ask("count consumer fences"), "true");
    drop((tx, rx, watch));
    setup.finish();
}
