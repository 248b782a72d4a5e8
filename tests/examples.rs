//! Every example does what its first comment says.
//!
//! Method: run the built programs as a user would, as processes of their own, and look at their
//! output, their exit codes and the rings they leave. Whatever has to be true first is waited for
//! as a condition. `cargo test` builds the programs; `cargo test --test examples` alone does not.

#[cfg(test)]
#[path = "examples/support.rs"]
mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use ringduct::{Location, Options, PeerState};
use rustix::process::Signal;
use support::{
    Folder, Named, input, mounts, no_disk, no_loop_device, run, skip, start, until, ways,
};

/// Goal: the examples that need nothing run, say what they promise, and say nothing else on
/// standard error. Method: each once.
#[test]
fn small_examples_say_what_they_promise() {
    for (name, promised) in [
        ("fork", "child: the sum is 5050"),
        ("handover", "receiver: through memory without a name"),
        ("sysv", "receiver: three"),
        ("request_reply", "the last reply was CALL 19999"),
        ("observer", "backlog 2 messages, 32 bytes"),
    ] {
        let done = run(name, &[]);
        assert!(done.output.contains(promised), "{name}: {}", done.output);
        assert_eq!((done.code, done.errors.as_str()), (Some(0), ""), "{name}");
    }
}

/// Goal: help is help, and wrong arguments are an error that shows the usage. Method: both, for
/// each example that takes arguments.
#[test]
fn help_and_wrong_arguments() {
    for name in ["stream", "send", "recv", "observer", "durable"] {
        let help = run(name, &["--help"]);
        let usage = format!("usage: {name}");
        assert!(help.output.starts_with(&usage), "{name}: {}", help.output);
        assert_eq!(help.code, Some(0), "{name}");
        let wrong = run(name, &["one", "too many", "by far"]);
        assert!(wrong.errors.contains(&usage), "{name}: {}", wrong.errors);
        assert_eq!((wrong.code, wrong.output.as_str()), (Some(1), ""), "{name}");
    }
    let nowhere = run("recv", &["shm:a/b"]);
    assert!(
        nowhere.errors.contains("contains a slash"),
        "{}",
        nowhere.errors
    );
    assert_eq!(nowhere.code, Some(1));
}

/// Goal: `stream` checks everything, prints its figures and leaves nothing behind. Method: a
/// smaller number of messages, and a look at the names in shared memory.
#[test]
fn stream_prints_its_figures() {
    let stream = start(
        "stream",
        &["--messages", "200000"],
        Stdio::null(),
        Stdio::piped(),
    );
    let name = format!("/dev/shm/ringduct-stream-{}", stream.id());
    let done = stream.finish();
    for promised in [
        "200000 messages",
        "every byte checked",
        "million messages/s",
        "in the flood",
        "at a calm pace",
    ] {
        assert!(done.output.contains(promised), "{}", done.output);
    }
    assert_eq!((done.code, done.errors.as_str()), (Some(0), ""));
    assert!(!fs::exists(name).unwrap());
}

/// Goal: `stream` cleans up however it ends. Method: in the middle of a stream without end,
/// interrupt it, and in another kill it, which leaves the cleaning to its second process.
#[test]
fn stream_cleans_up() {
    for signal in [Signal::INT, Signal::KILL] {
        let endless = u64::MAX.to_string();
        let stream = start(
            "stream",
            &["--messages", &endless],
            Stdio::null(),
            Stdio::piped(),
        );
        let place: Location = format!("shm:ringduct-stream-{}", stream.id())
            .parse()
            .unwrap();
        until("messages flow", || {
            let observer = Options::new().observe(&place);
            observer.is_ok_and(|observer| observer.snapshot().consumer.totals.messages > 10_000)
        });
        stream.signal(signal);
        let done = stream.finish();
        assert_ne!(done.code, Some(0));
        until("the name is gone", || {
            Options::new().observe(&place).is_err()
        });
    }
}

/// Goal: what goes into `send` comes out of `recv`, over every backing with a name, whichever is
/// started first. Method: some megabytes, compared whole.
#[test]
fn what_is_sent_is_received() {
    let folder = Folder::new();
    for place in ways(&folder, "first") {
        let place = Named(place);
        for send_first in [false, true] {
            let (from, to) = (folder.path("in"), folder.path("out"));
            fs::write(&from, input()).unwrap();
            let send = || {
                let from = File::open(&from).unwrap();
                start("send", &[&place.text()], from.into(), Stdio::piped())
            };
            let recv = || {
                let to = File::create(&to).unwrap();
                start("recv", &[&place.text()], Stdio::null(), to.into())
            };
            let (send, recv) = if send_first {
                let send = send();
                until("send is there", || {
                    place.producer() == Some(PeerState::Attached)
                });
                (send, recv())
            } else {
                let recv = recv();
                until("recv is there", || {
                    place.consumer() == Some(PeerState::Attached)
                });
                (send(), recv)
            };
            assert_eq!(send.finish().code, Some(0), "{}", place.text());
            assert_eq!(recv.finish().code, Some(0), "{}", place.text());
            assert!(fs::read(&to).unwrap() == input(), "{}", place.text());
        }
    }
}

/// Goal: a killed `recv` loses nothing, and repeats one message at most. Method: read part of its
/// output through a pipe and then no more, so that it stands still in the middle of the stream;
/// kill it; let a second one finish; lay both outputs over the input.
#[test]
fn a_killed_recv_is_continued() {
    let folder = Folder::new();
    for place in ways(&folder, "killed") {
        let place = Named(place);
        let from = folder.path("in");
        fs::write(&from, input()).unwrap();
        let from = File::open(&from).unwrap();
        let send = start("send", &[&place.text()], from.into(), Stdio::piped());
        let mut first = start("recv", &[&place.text()], Stdio::null(), Stdio::piped());
        let mut output = first.take_output();
        let mut begin = vec![0; 1_000_000];
        output.read_exact(&mut begin).unwrap();
        first.signal(Signal::KILL);
        assert_eq!(first.finish().code, None);
        output.read_to_end(&mut begin).unwrap();
        let to = folder.path("out");
        let second = File::create(&to).unwrap();
        let second = start("recv", &[&place.text()], Stdio::null(), second.into());
        assert_eq!(send.finish().code, Some(0));
        assert_eq!(second.finish().code, Some(0));
        let (end, whole) = (fs::read(&to).unwrap(), input());
        assert!(whole.starts_with(&begin), "{}", place.text());
        assert!(whole.ends_with(&end), "{}", place.text());
        let twice = (begin.len() + end.len()).checked_sub(whole.len());
        let twice = twice.expect("nothing may be lost");
        assert!(twice <= 1 << 16, "{}: {twice} bytes twice", place.text());
    }
}

/// Goal: a killed `send` ends nothing: `recv` says so and waits for the next one. Method: kill a
/// `send` whose first words have arrived, await the notice, and let a second one finish.
#[test]
fn a_killed_send_is_continued() {
    let folder = Folder::new();
    let place = Named(Location::from(folder.path("x.ring")));
    drop(Options::new().create(&place.0).unwrap());
    let mut recv = start("recv", &[&place.text()], Stdio::null(), Stdio::piped());
    let mut first = start("send", &[&place.text()], Stdio::piped(), Stdio::piped());
    let mut words = first.take_input();
    words.write_all(b"first, ").unwrap();
    until("the words have arrived", || place.released_bytes() == 7);
    first.signal(Signal::KILL);
    assert_eq!(first.finish().code, None);
    let mut notice = String::new();
    let mut errors = BufReader::new(recv.take_errors());
    errors.read_line(&mut notice).unwrap();
    assert!(notice.contains("producer has died; waiting"), "{notice}");
    let mut second = start("send", &[&place.text()], Stdio::piped(), Stdio::piped());
    second.take_input().write_all(b"second").unwrap();
    assert_eq!(second.finish().code, Some(0));
    let done = recv.finish();
    assert_eq!(
        (done.output.as_str(), done.code),
        ("first, second", Some(0))
    );
}

/// Goal: asked to end, both programs close the ring and say by their exit code why they ended.
/// Method: each signal, to each program while it waits.
#[test]
fn signals_close_the_ring() {
    let folder = Folder::new();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let place = Named(Location::from(folder.path(&format!("{code}.ring"))));
        let recv = start("recv", &[&place.text()], Stdio::null(), Stdio::piped());
        until("recv is there", || {
            place.consumer() == Some(PeerState::Attached)
        });
        recv.signal(signal);
        let done = recv.finish();
        assert_eq!(done.code, Some(code), "recv: {}", done.errors);
        assert!(
            done.errors.contains("made a ring of 1048576 bytes"),
            "{}",
            done.errors
        );
        assert_eq!(place.consumer(), Some(PeerState::Closed));
        let mut send = start("send", &[&place.text()], Stdio::piped(), Stdio::piped());
        let _kept_open = send.take_input();
        until("send is there", || {
            place.producer() == Some(PeerState::Attached)
        });
        send.signal(signal);
        let done = send.finish();
        assert_eq!((done.code, done.errors.as_str()), (Some(code), ""));
        assert_eq!(place.producer(), Some(PeerState::Closed));
    }
}

/// Goal: when nobody reads its output any more, `recv` ends without a word and keeps in the ring
/// what it could not write. Method: close the pipe before the first message.
#[test]
fn a_broken_pipe_ends_recv_quietly() {
    let folder = Folder::new();
    let place = Named(Location::from(folder.path("x.ring")));
    let ring = Options::new().create(&place.0).unwrap();
    let mut recv = start("recv", &[&place.text()], Stdio::null(), Stdio::piped());
    drop(recv.take_output());
    let mut tx = ring.producer().unwrap();
    tx.send(b"to nobody").unwrap();
    let done = recv.finish();
    assert_eq!((done.code, done.errors.as_str()), (Some(0), ""));
    assert_eq!(ring.consumer().unwrap().peek_len(), Ok(9));
}

/// Goal: `durable` deals with every message exactly once, whichever side is killed when, and a power
/// cut, and leaves nothing mounted; a later run finds its work done. Method: both ways, by its own
/// judgement, and how often it says that it struck.
#[test]
fn durable_does_everything_once() {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let folder = folder.path().to_str().unwrap();
    if let Some(why) = no_disk(folder) {
        skip("durable_does_everything_once", &why);
        return;
    }
    let arguments = [folder, "--messages", "300"];
    for (strikes, resumed) in [(6, "goes on at message 0"), (0, "goes on at message 300")] {
        let done = run("durable", &arguments);
        let promised =
            "all 300 messages were acknowledged, and every one was dealt with exactly once";
        assert!(done.output.contains(promised), "{done:?}");
        assert!(done.output.contains(resumed), "{done:?}");
        assert_eq!(done.output.matches("kill -9").count(), strikes, "{done:?}");
        assert_eq!((done.code, done.errors.as_str()), (Some(0), ""), "{done:?}");
    }
    if let Some(why) = no_loop_device() {
        skip("the power cuts of durable_does_everything_once", why);
        return;
    }
    let done = run("durable", &["--power-cut", folder, "--messages", "300"]);
    assert!(done.output.contains("exactly once"), "{done:?}");
    assert_eq!(
        done.output.matches("power cut after").count(),
        4,
        "{done:?}"
    );
    assert!(
        done.output.matches("recovered from").count() >= 4,
        "{done:?}"
    );
    assert_eq!((done.code, done.errors.as_str()), (Some(0), ""), "{done:?}");
    assert!(!mounts().contains(folder));
    let endless = u64::MAX.to_string();
    let mut durable = start(
        "durable",
        &["--power-cut", folder, "--messages", &endless],
        Stdio::null(),
        Stdio::piped(),
    );
    let mut begin = String::new();
    let mut output = BufReader::new(durable.take_output());
    while !begin.contains("goes on at message 0") {
        assert_ne!(output.read_line(&mut begin).unwrap(), 0, "{begin}");
    }
    assert!(mounts().contains(folder));
    durable.signal(Signal::INT);
    let done = durable.finish();
    assert_eq!((done.code, done.errors.as_str()), (Some(130), ""));
    assert!(!mounts().contains(folder));
    assert!(!fs::exists(format!("{folder}/disk.img")).unwrap());
}

/// Goal: records written by one process are read by another, after it and beside it. Method: write
/// twice and read once; then read first, and write once more.
#[cfg(feature = "zerocopy")]
#[test]
fn records_cross_a_file() {
    let folder = Folder::new();
    let file = folder.path("readings.ring");
    let file = file.to_str().unwrap();
    for first in [0, 5] {
        let done = run("records_write", &[file, "5"]);
        let promised = format!("wrote 5 readings, beginning with number {first}\n");
        assert_eq!((done.output, done.code), (promised, Some(0)));
    }
    let done = run("records_read", &[file]);
    assert_eq!((done.output.lines().count(), done.code), (10, Some(0)));
    let last = "number 9: sensor 0 read 20009 millidegrees after 900 ms";
    assert_eq!(done.output.lines().last(), Some(last));
    let read = start("records_read", &[file], Stdio::null(), Stdio::piped());
    let place = Location::from(folder.path("readings.ring"));
    until("the reader is there", || {
        let snapshot = Options::new().observe(&place).unwrap().snapshot();
        snapshot.consumer.state == PeerState::Attached
    });
    assert_eq!(run("records_write", &[file, "1"]).code, Some(0));
    assert!(read.finish().output.starts_with("number 10: "));
}
