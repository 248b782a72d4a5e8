//! Either side killed in the middle, and asked to end.

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;

use rustix::process::Signal;

use crate::support::{Place, Random, Run, lines, run, tool, wait_until};

const COUNT: u32 = 40_000;
/// Half a second for all of them.
const RATE: &str = "80000";

/// Goal: a receiver that is killed and started again loses nothing, and writes at most 64 KiB of
/// messages twice. Method: kills at random points of the output; what the second one writes is the
/// end of the stream, from a whole message on, and overlaps what the first one wrote by no more.
#[test]
fn a_killed_receiver_goes_on_where_it_was() {
    let mut random = Random::new("a_killed_receiver_goes_on_where_it_was");
    let dir = tempfile::tempdir().unwrap();
    let all = lines(COUNT);
    for round in 0..4 {
        let place = Place::shm().create(&["--capacity", "256K"]);
        let path = dir.path().join("first");
        let command = ["send", &place.name, "--follow", "--rate", RATE];
        let sender = Run::with_input(&mut tool(&command), &all);
        let file = File::create(&path).unwrap();
        let receiver = Run::with_output(&mut tool(&["recv", &place.name, "--follow"]), file);
        let enough = random.below(all.len() as u64 / 2) + 1;
        wait_until("some output", || path.metadata().unwrap().len() >= enough);
        receiver.kill();
        let first = std::fs::read(&path).unwrap();
        assert!(first.len() < all.len(), "it was in the middle");
        assert!(
            all.starts_with(&first),
            "round {round}: what was written is right"
        );
        let second = run(&["recv", &place.name]);
        assert!([0, 4].contains(&second.code()), "{:?}", second.stderr);
        let second = second.stdout;
        assert!(all.ends_with(&second), "round {round}: nothing is missing");
        let from = all.len() - second.len();
        assert!(
            from <= first.len(),
            "round {round}: nothing is missing between"
        );
        assert!(
            from == 0 || all[from - 1] == b'\n',
            "round {round}: whole messages"
        );
        let twice = first.len() - from;
        assert!(twice <= 64 << 10, "round {round}: {twice} bytes twice");
        println!(
            "round {round}: {} bytes, then {}; {twice} twice",
            first.len(),
            second.len()
        );
        assert_eq!(sender.finish().code(), 0);
    }
}

/// Goal: a sender that is killed has published whole messages, whose number the ring tells; one that
/// goes on after them completes the stream, and a receiver with `--follow` sees one stream. Method:
/// kills at random points; everything arrives once and in order.
#[test]
fn a_killed_sender_has_a_successor() {
    let mut random = Random::new("a_killed_sender_has_a_successor");
    let all = lines(COUNT);
    let mut ends: Vec<_> = (0..all.len())
        .filter(|at| all[*at] == b'\n')
        .map(|at| at + 1)
        .collect();
    ends.insert(0, 0);
    for round in 0..4 {
        let place = Place::shm().create(&["--capacity", "64K"]);
        let count = COUNT.to_string();
        let receiver = Run::start(&mut tool(&["recv", &place.name, "--follow", "-n", &count]));
        let command = ["send", &place.name, "--rate", RATE];
        let sender = Run::with_input(&mut tool(&command), &all);
        let enough = random.below(u64::from(COUNT / 2)) + 1;
        place.wait_until("some messages", |ring| {
            ring.producer.totals.messages >= enough
        });
        sender.kill();
        let published = place.ring().producer().unwrap().totals().messages;
        assert!(
            published >= enough && published < u64::from(COUNT),
            "it was in the middle"
        );
        let rest = &all[ends[usize::try_from(published).unwrap()]..];
        Run::with_input(&mut tool(&["send", &place.name]), rest)
            .finish()
            .succeeded();
        let done = receiver.finish();
        assert_eq!(done.code(), 0, "{:?}", done.stderr);
        assert_eq!(done.stdout, all, "round {round}: once and in order");
        assert!(
            done.stderr.contains("; waiting for the next one"),
            "{}",
            done.stderr
        );
        println!("round {round}: {published} messages before the kill");
    }
}

/// Goal: SIGINT and SIGTERM end either side with 128 and the signal's number, without a word, and the
/// other side is told "closed", not "died".
#[test]
fn asked_to_end_it_closes_the_ring() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let place = Place::shm().create(&["--capacity", "64K"]);
        let mut command = tool(&["send", &place.name]);
        let sender = Run::start(command.stdin(std::process::Stdio::piped())); // open, and silent
        let receiver = Run::start(&mut tool(&["recv", &place.name]));
        place.wait_until("both", |ring| {
            ring.producer.sessions == 1 && ring.consumer.sessions == 1
        });
        sender.signal(signal);
        let done = sender.finish();
        assert_eq!(
            (done.status.signal(), done.code()),
            (None, code),
            "{done:?}"
        );
        assert_eq!(done.stderr, "");
        let done = receiver.finish();
        assert_eq!(done.code(), 0, "closed: {done:?}");

        let receiver = Run::start(&mut tool(&["recv", &place.name]));
        place.wait_until("the receiver", |ring| ring.consumer.sessions == 2);
        receiver.signal(signal);
        let done = receiver.finish();
        assert_eq!((done.code(), done.stderr.as_str()), (code, ""));
        let state = place.observer().snapshot().consumer.state;
        assert_eq!(state, ringduct::PeerState::Closed);
    }
}
