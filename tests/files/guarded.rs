//! Files that are cut off, and pages that are not to be had, with the guard: an error every time.

use std::fs::File;
use std::io::Write;
use std::process::Command;

use libtest_mimic::Trial;

use crate::bench::{Bench, HEADER_PAGES, go_round, page};
use crate::driver::Agent;

pub(crate) fn add(trials: &mut Vec<Trial>) {
    let tests: [(&str, fn()); 7] = [
        ("at_rest", every_page_at_rest),
        ("torn", a_torn_page_at_rest),
        ("at_work", every_page_at_work),
        ("attaching", attached_and_cut_off),
        ("observer", an_observer_is_told),
        ("hole", a_hole_on_a_full_file_system),
        ("back_again", a_page_that_is_back_again),
    ];
    for (name, body) in tests {
        trials.push(Trial::test(format!("guarded::{name}"), move || {
            body();
            Ok(())
        }));
    }
}

fn guarded_pair(bench: &Bench) -> (Agent, Agent) {
    let (mut tx, mut rx) = bench.pair();
    tx.does("guard");
    rx.does("guard");
    (tx, rx)
}

/// How often an error came from an access, and how often from a call that waited.
#[derive(Debug, Default)]
struct Seen {
    by_access: u32,
    by_waiting: u32,
}

/// One case: a pair at rest, the file cut off to `bytes`, one side goes on first.
fn cut_at_rest(bench: &Bench, bytes: u64, is_producer: bool, shift: bool, seen: &mut Seen) {
    let (mut tx, mut rx) = guarded_pair(bench);
    go_round(&mut tx, &mut rx, shift);
    bench.resize(bytes);
    let expected = bench.truncated(bytes);
    {
        let (victim, other) = if is_producer {
            (&mut tx, &mut rx)
        } else {
            (&mut rx, &mut tx)
        };
        let idle = if is_producer { "Full" } else { "Empty" };
        let mut answer = victim.ask("go");
        if answer == idle {
            // It came to nothing that is lost; a call that waits asks for the size.
            answer = victim.ask("wait");
            seen.by_waiting += 1;
        } else {
            seen.by_access += 1;
        }
        assert_eq!(answer, expected);
        assert_eq!(victim.ask("go"), expected, "it stays so");
        let mut answer = other.ask("go");
        if answer == "Full" || answer == "Empty" {
            answer = other.ask("wait");
        }
        assert_eq!(answer, expected, "the other side");
    }
    let position = tx.does("position");
    tx.does("leave");
    rx.does("leave");
    // Nothing was published whose payload went nowhere.
    bench.resize(bench.bytes());
    assert_eq!(bench.commit_word(position), 0);
}

/// Goal: whatever page the file is cut off at, each side gets the error, no message is wrong, and
/// none is published without its payload. Method: a ring at rest, two processes, every page, each
/// side as the first to go on, both halves of the ring, with checksums and without.
fn every_page_at_rest() {
    let mut seen = Seen::default();
    let mut cases = 0;
    for checksum in [false, true] {
        for is_producer in [false, true] {
            for shift in [false, true] {
                for cut in 0..HEADER_PAGES + 4 {
                    let bench = Bench::new(4, checksum);
                    cut_at_rest(&bench, cut * page(), is_producer, shift, &mut seen);
                    cases += 1;
                }
            }
        }
    }
    println!("cut off at rest: {cases} cases, {seen:?}");
    assert_eq!(cases, 96);
    assert!(seen.by_access >= 72 && seen.by_waiting >= 4, "{seen:?}");
}

/// Goal: a file cut off in the middle of a page, the rest of which reads as zeros, gives no wrong
/// message where there are checksums. Method: as above.
fn a_torn_page_at_rest() {
    let mut cases = 0;
    for is_producer in [false, true] {
        for cut in HEADER_PAGES..HEADER_PAGES + 4 {
            let bench = Bench::new(4, true);
            let bytes = cut * page() + 1001;
            cut_at_rest(&bench, bytes, is_producer, true, &mut Seen::default());
            cases += 1;
        }
    }
    assert_eq!(cases, 8);
}

/// Goal: the same while both sides run. Method: two processes stream through the ring and wait for
/// each other; the file is cut off at every page in turn.
fn every_page_at_work() {
    let mut cases = 0;
    for checksum in [false, true] {
        for cut in 0..HEADER_PAGES + 4 {
            let bench = Bench::new(4, checksum);
            let (mut tx, mut rx) = guarded_pair(&bench);
            tx.tell("stream");
            rx.tell("stream");
            assert_eq!(tx.hear(), "streaming");
            assert_eq!(rx.hear(), "streaming");
            bench.resize(cut * page());
            let expected = bench.truncated(cut * page());
            assert_eq!(tx.hear(), expected, "the producer, page {cut}");
            assert_eq!(rx.hear(), expected, "the consumer, page {cut}");
            tx.does("leave");
            rx.does("leave");
            cases += 1;
        }
    }
    println!("cut off at work: {cases} cases");
    assert_eq!(cases, 24);
}

/// Goal: an end that is attached and has done nothing yet is told too.
fn attached_and_cut_off() {
    for cut in 0..=HEADER_PAGES {
        let bench = Bench::new(2, false);
        let (mut tx, mut rx) = guarded_pair(&bench);
        bench.resize(cut * page());
        let expected = bench.truncated(cut * page());
        for (agent, idle) in [(&mut tx, "Full"), (&mut rx, "Empty")] {
            let mut answer = agent.ask("go");
            if answer == idle {
                answer = agent.ask("wait");
            }
            assert_eq!(answer, expected, "page {cut}");
            agent.does("leave");
        }
    }
}

/// Goal: an observer says that the file is not what it was, instead of what zeros would mean.
fn an_observer_is_told() {
    for cut in 0..HEADER_PAGES + 2 {
        let bench = Bench::new(2, false);
        let (mut tx, mut rx) = bench.pair();
        go_round(&mut tx, &mut rx, false);
        let mut observer = bench.agent();
        observer.does("guard");
        observer.does("observe");
        assert!(observer.does("look") > 5);
        bench.resize(cut * page());
        assert_eq!(observer.ask("look"), bench.truncated(cut * page()));
        assert_eq!(observer.ask("look"), bench.truncated(cut * page()));
    }
}

/// Goal: a page that was cut off and is there again, as zeros, was lost all the same: the error
/// stays, whatever the file's size says by now.
fn a_page_that_is_back_again() {
    let bench = Bench::new(2, false);
    let (mut tx, mut rx) = guarded_pair(&bench);
    go_round(&mut tx, &mut rx, false);
    bench.resize(0);
    assert_eq!(rx.ask("go"), bench.truncated(0));
    bench.resize(bench.bytes());
    let bytes = bench.bytes();
    assert_eq!(rx.ask("go"), format!("PageLost {bytes} {bytes}"));
    assert_eq!(rx.ask("wait"), format!("PageLost {bytes} {bytes}"));
}

/// A small tmpfs, unmounted when it goes away.
struct Small(tempfile::TempDir);

impl Small {
    /// `None`, said aloud, where mounting is not permitted; under `CI` that is a failure.
    fn mount(bytes: u64) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let options = format!("size={bytes}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "ringduct-test"])
            .arg(directory.path())
            .status()
            .is_ok_and(|status| status.success());
        if mounted {
            return Some(Self(directory));
        }
        assert!(std::env::var_os("CI").is_none(), "needs to mount a tmpfs");
        eprintln!("SKIPPED: mounting is not permitted here");
        None
    }

    /// Leaves no page free.
    fn fill(&self) -> File {
        let mut file = File::create_new(self.0.path().join("full")).unwrap();
        let page = vec![1; usize::try_from(page()).unwrap()];
        while file.write_all(&page).is_ok() {}
        file
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: what another test forks has this one's files open until it executes its program.
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        let done = unmounted.is_ok_and(|status| status.success());
        assert!(done || std::thread::panicking(), "unmount");
    }
}

/// Goal: a store to a hole for which there is no room is an error, in whichever of the two mappings
/// of the data it is met. Method: a ring on a tmpfs; a page of its free half is punched out, and
/// everything else is filled; the producer goes on. Of the first page of the data it meets the
/// second mapping first: its records run on into it round the end of the ring.
fn a_hole_on_a_full_file_system() {
    let mut indices = Vec::new();
    for checksum in [false, true] {
        for shift in [false, true] {
            let Some(small) = Small::mount(20 * page()) else {
                return;
            };
            indices.push(hole_case(&small, checksum, shift));
        }
    }
    println!("holes at pages {indices:?} of the data");
    assert_eq!(indices.len(), 4);
    assert!(indices.contains(&0), "one is met in the second mapping");
}

/// One hole, in the page after the one that the producer writes in.
fn hole_case(small: &Small, checksum: bool, shift: bool) -> u64 {
    let bench = Bench::beneath(small.0.path(), 4, checksum);
    let (mut tx, mut rx) = guarded_pair(&bench);
    go_round(&mut tx, &mut rx, shift);
    let index = (tx.does("position") / page() + 1) % 4;
    bench.punch(HEADER_PAGES + index);
    let full = small.fill();
    let bytes = bench.bytes();
    assert_eq!(tx.ask("go"), format!("PageLost {bytes} {bytes}"));
    let position = tx.does("position");
    assert_eq!(bench.commit_word(position), 0);
    let sent = tx.does("count");
    tx.does("leave");
    // Everything that was published before is there; behind it may be the hole, which takes room to
    // be read too.
    let answer = rx.ask("go");
    let lost = format!("PageLost {bytes} {bytes}");
    assert!(answer == "Empty" || answer == lost, "{answer}");
    assert_eq!(rx.does("count"), sent);
    drop(full);
    index
}
