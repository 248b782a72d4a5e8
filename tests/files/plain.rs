//! Files that change, without the guard: what the kernel allows to be told is told.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

use libtest_mimic::Trial;
use ringduct::{CheckpointError, Damage, Flush, Location, OpenError, Options, TrySendError};

use crate::bench::{Bench, HEADER_PAGES, go_round, page};
use crate::driver::{Agent, End};

pub(crate) fn add(trials: &mut Vec<Trial>) {
    let tests: [(&str, fn()); 10] = [
        ("the_signal", the_signal_is_sigbus),
        ("sleepers", sleepers_are_told),
        ("attach", attaching_asks_for_the_size),
        ("extended", an_extended_file_harms_nobody),
        ("punched_at_rest", punched_at_rest),
        ("punched_data", a_message_that_was_punched_out_is_missed),
        ("punched_words", sessions_that_go_back_are_damage),
        ("checkpoint", no_checkpoint_of_a_shorter_file),
        ("descriptors", the_kernel_is_told),
        ("closing", ends_of_a_shorter_file_close),
    ];
    for (name, body) in tests {
        trials.push(Trial::test(format!("plain::{name}"), move || {
            body();
            Ok(())
        }));
    }
}

/// Goal: without the guard an access to what is not there ends the process with SIGBUS, as the
/// documentation says. Method: everything is cut off, and each side goes on.
fn the_signal_is_sigbus() {
    for victim in [0, 1] {
        let bench = Bench::new(2, false);
        let (mut tx, mut rx) = bench.pair();
        go_round(&mut tx, &mut rx, false);
        bench.resize(0);
        let victim = if victim == 0 { &mut tx } else { &mut rx };
        assert_eq!(victim.dies_of("go"), End::Signal(libc::SIGBUS));
    }
}

/// Waits until a process sleeps in the kernel.
fn await_sleep(agent: &Agent) {
    let path = format!("/proc/{}/syscall", agent.pid());
    let futex = format!("{} ", libc::SYS_futex);
    for _ in 0..100_000 {
        if std::fs::read_to_string(&path).is_ok_and(|text| text.starts_with(&futex)) {
            return;
        }
        std::thread::yield_now();
    }
    panic!("agent {} does not go to sleep", agent.pid());
}

/// Goal: a side that sleeps is told of a file that was cut off, whatever page, and not ended by a
/// signal, neither then nor when it leaves. Method: it sleeps when the file is cut off.
fn sleepers_are_told() {
    let mut told = 0;
    for cut in [0, 1, 2, 3, 8, 9] {
        for sleeper in ["producer", "consumer"] {
            let bench = Bench::new(2, false);
            let mut agent = bench.agent();
            agent.does(sleeper);
            if sleeper == "producer" {
                agent.does("fill");
            }
            agent.tell("wait");
            await_sleep(&agent);
            bench.resize(cut * page());
            assert_eq!(agent.hear(), bench.truncated(cut * page()), "{sleeper}");
            assert_eq!(
                agent.ask("wait"),
                bench.truncated(cut * page()),
                "{sleeper}"
            );
            agent.does("leave");
            told += 1;
        }
    }
    println!("{told} sleepers told");
    assert_eq!(told, 12);
}

/// Goal: nobody comes to a file that is shorter than its ring. Method: every page, opened before and
/// after it was cut off.
fn attaching_asks_for_the_size() {
    let bench = Bench::new(4, false);
    let place = Location::from(bench.path());
    let mut refused = 0;
    for cut in 0..bench.pages() {
        bench.resize(bench.bytes());
        let fresh = Bench::new(4, false);
        let fresh_place = Location::from(fresh.path());
        fresh.resize(cut * page());
        let ends = [
            fresh.ring.producer().map(drop),
            fresh.ring.consumer().map(drop),
            fresh.ring.observer().map(drop),
        ];
        for end in ends {
            match end.unwrap_err() {
                OpenError::Damaged {
                    field,
                    expected,
                    found,
                    ..
                } => {
                    assert_eq!(field, "size in bytes");
                    assert_eq!((expected, found), (fresh.bytes(), cut * page()));
                }
                other => panic!("{other}"),
            }
            refused += 1;
        }
        let opened = Options::new().open(&fresh_place);
        assert!(
            matches!(
                opened,
                Err(OpenError::NotARing { .. } | OpenError::Damaged { .. })
            ),
            "{opened:?}"
        );
    }
    assert!(Options::new().open(&place).is_ok());
    println!("{refused} attaches refused");
    assert_eq!(refused, 36);
}

/// Goal: a longer file is harmless to those who have it, and refused by those who come.
fn an_extended_file_harms_nobody() {
    let bench = Bench::new(2, false);
    let (mut tx, mut rx) = bench.pair();
    go_round(&mut tx, &mut rx, false);
    bench.resize(bench.bytes() + 1);
    go_round(&mut tx, &mut rx, true);
    let opened = Options::new().open(&Location::from(bench.path()));
    match opened.unwrap_err() {
        OpenError::Damaged {
            expected, found, ..
        } => {
            assert_eq!((expected, found), (bench.bytes(), bench.bytes() + 1));
        }
        other => panic!("{other}"),
    }
    tx.does("leave");
    rx.does("leave");
}

/// Goal: whatever page is punched out of the file of a ring at rest, both sides go on rightly or
/// get an error: no wrong message, no hang, no signal. Newcomers too. Method: every page of a ring
/// with checksums, both halves; the waiting calls have an end.
fn punched_at_rest() {
    let (mut went_on, mut errors) = (0, 0);
    for shift in [false, true] {
        for index in 0..HEADER_PAGES + 4 {
            let bench = Bench::new(4, true);
            let (mut tx, mut rx) = bench.pair();
            go_round(&mut tx, &mut rx, shift);
            bench.punch(index);
            let outcomes = [tx.ask("go"), rx.ask("go"), tx.ask("go"), rx.ask("go")];
            for outcome in outcomes {
                match outcome.split(' ').next().unwrap() {
                    "Full" | "Empty" => went_on += 1,
                    "Head" | "RecordChecksum" | "RecordLength" | "RecordBeyondEnd" => errors += 1,
                    _ => panic!("page {index}: {outcome}"),
                }
            }
            drop((tx, rx));
            // What a successor finds in it; its account may not be what the file says.
            let mut next = bench.agent_or_refusal();
            for role in ["consumer", "producer"] {
                let Some(agent) = &mut next else { break };
                let answer = agent.ask(role);
                errors += u32::from(!answer.starts_with("ok"));
                assert!(!answer.contains("WRONG"), "page {index}: {answer}");
            }
        }
    }
    println!("punched at rest: {went_on} answers as if nothing were, {errors} errors");
    assert!(went_on > 24 && errors > 12);
}

impl Bench {
    /// A process that has the ring open, unless that is refused.
    fn agent_or_refusal(&self) -> Option<Agent> {
        let mut agent = Agent::start();
        let answer = agent.ask(&format!("open {}", self.path().display()));
        if answer.starts_with("ok") {
            return Some(agent);
        }
        assert!(
            answer.starts_with("NotARing") || answer.starts_with("Damaged"),
            "{answer}"
        );
        None
    }
}

/// Goal: a consumer that waits behind a message that was punched out does not wait for ever.
fn a_message_that_was_punched_out_is_missed() {
    for checksum in [false, true] {
        let bench = Bench::new(2, checksum);
        let (mut tx, mut rx) = bench.pair();
        let sent = tx.does("fill");
        for index in 0..2 {
            bench.punch(HEADER_PAGES + index);
        }
        assert_eq!(rx.ask("go"), "Empty");
        let longest = bench.ring.max_message_bytes();
        assert_eq!(
            rx.ask("wait"),
            format!("RecordLength {longest} 0"),
            "{sent}"
        );
    }
}

/// Goal: role pages that were punched out are an error to those who wait, and no wait without end.
/// Method: each side waits; its own page, or the other's, is punched out.
fn sessions_that_go_back_are_damage() {
    for sleeper in ["producer", "consumer"] {
        for index in [1, 2] {
            let bench = Bench::new(2, false);
            let (mut tx, mut rx) = bench.pair();
            let agent = if sleeper == "producer" {
                &mut tx
            } else {
                &mut rx
            };
            if sleeper == "producer" {
                agent.does("fill");
            }
            agent.tell("wait");
            await_sleep(agent);
            bench.punch(index);
            assert_eq!(agent.hear(), "Session 1 0", "{sleeper}, page {index}");
        }
    }
}

/// Goal: a durable ring whose file was cut off makes no checkpoint, though the kernel's calls
/// succeed. Method: only data that nobody has touched is cut off.
fn no_checkpoint_of_a_shorter_file() {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = directory.path().join("durable.ring");
    for checksum in [false, true] {
        let options = Options::new().durable(true).capacity_bytes(4 * page());
        let ring = match options
            .checksum(checksum)
            .create(&Location::from(path.clone()))
        {
            Err(error @ OpenError::NotDurable { .. }) => {
                assert!(std::env::var_os("CI").is_none(), "{error}");
                eprintln!("SKIPPED: {error}");
                return;
            }
            made => made.unwrap(),
        };
        let mut tx = ring.producer().unwrap();
        tx.send(b"a").unwrap();
        tx.checkpoint().unwrap();
        tx.send(b"b").unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(11 * page()).unwrap();
        let flushed = tx.flush(Flush::Sync).unwrap_err();
        assert!(flushed.to_string().contains("truncated"), "{flushed}");
        let Err(CheckpointError::Corrupt(found)) = tx.checkpoint() else {
            panic!("a checkpoint of a file that was cut off");
        };
        assert_eq!(found.what, Damage::FileTruncated);
        assert_eq!((found.expected, found.found), (12 * page(), 11 * page()));
        drop(tx);
        // The mark of a clean close is not in the file: nothing is touched once it is cut off.
        let mut words = [0; 4096];
        file.set_len(12 * page()).unwrap();
        File::open(&path)
            .unwrap()
            .read_exact_at(&mut words, page())
            .unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}

/// Goal: where the kernel copies between a descriptor and the ring, a page that is not there is no
/// signal in any case. Method: what a message lies in, and what a claim is going to be written in,
/// is cut off when both are known.
fn the_kernel_is_told() {
    let longest = usize::try_from(2 * page() - 16).unwrap();
    let path = std::env::temp_dir().join(format!("ringduct-kernel-{}", std::process::id()));
    let make = || {
        let options = Options::new().capacity_bytes(2 * page());
        options.create(&Location::from(path.clone())).unwrap()
    };
    let cut = || {
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len((HEADER_PAGES + 1) * page()).unwrap();
    };
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/zero")
        .unwrap();
    let ring = make();
    let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
    tx.send(&vec![1; longest]).unwrap();
    cut();
    let start = usize::try_from(page()).unwrap();
    let (target, _other_end) = UnixStream::pair().unwrap();
    let error = rx.write_next(&target, start).unwrap_err();
    assert!(error.to_string().contains("truncated"), "{error}");
    drop((tx, rx, ring));
    std::fs::remove_file(&path).unwrap();
    let ring = make();
    let mut tx = ring.producer().unwrap();
    tx.send(&vec![1; start - 16]).unwrap(); // the next one's payload begins on the second page
    let mut rx = ring.consumer().unwrap();
    rx.skip(1).unwrap();
    let mut claim = tx.try_claim(100).unwrap();
    cut();
    let error = claim.read_from(&null).unwrap_err();
    assert!(error.to_string().contains("truncated"), "{error}");
    drop(claim);
    assert!(matches!(tx.try_send(b"x"), Err(TrySendError::Corrupt(_))));
    std::fs::remove_file(&path).unwrap();
}

/// Goal: dropping an end of a file that was cut off is no access to it. Method: both sides leave,
/// at every page.
fn ends_of_a_shorter_file_close() {
    for cut in 0..HEADER_PAGES + 2 {
        let bench = Bench::new(2, false);
        let (mut tx, mut rx) = bench.pair();
        go_round(&mut tx, &mut rx, false);
        bench.resize(cut * page());
        tx.does("leave");
        rx.does("leave");
    }
}
