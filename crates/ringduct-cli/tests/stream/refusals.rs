//! Errors that need somebody else: a role that is taken, a peer that has gone, a place that is full.

use std::process::{Command, Stdio};

use ringduct::Holder;

use crate::support::{Place, Run, TOOL, run, run_with, tool};

/// Goal: whoever finds a role taken learns by whom: pid, program, and since when.
#[test]
fn a_taken_role_names_its_holder() {
    let place = Place::shm().create(&[]);
    let mut sender = tool(&["send", &place.name]);
    let sender = Run::start(sender.stdin(Stdio::piped()));
    let receiver = Run::start(&mut tool(&["recv", &place.name]));
    place.wait_until("both", |ring| {
        ring.producer.sessions == 1 && ring.consumer.sessions == 1
    });
    let snapshot = place.observer().snapshot();
    for (arguments, role, pid, holder) in [
        (
            ["send", "LOC", "x"].as_slice(),
            "producer",
            sender.pid(),
            snapshot.producer.holder,
        ),
        (
            &["recv", "LOC"],
            "consumer",
            receiver.pid(),
            snapshot.consumer.holder,
        ),
    ] {
        let arguments: Vec<_> = arguments
            .iter()
            .map(|text| text.replace("LOC", &place.name))
            .collect();
        let done = run(&arguments);
        assert_eq!(done.code(), 6, "{done:?}");
        let Holder {
            attached_unix_ns, ..
        } = holder;
        let since = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(attached_unix_ns);
        let since = humantime::format_rfc3339_seconds(since);
        let expected = format!(
            "error: {}: already has a {role}: pid {pid}, program \"ringduct\", since {since}",
            place.name
        );
        assert!(done.stderr.starts_with(&expected), "{expected}\n{done:?}");
        assert!(
            done.stderr
                .contains("next: wait until it has left, or end it"),
            "{done:?}"
        );
        assert!(done.stderr.contains("hint"), "{done:?}");
    }
    drop(sender);
    assert_eq!(receiver.finish().code(), 4);
}

/// Goal: a producer that dies is told from one that closes, once everything was taken.
#[test]
fn a_producer_that_vanished() {
    let place = Place::shm().create(&[]);
    let mut sender = tool(&["send", &place.name, "--rate", "0.001"]);
    let sender = Run::with_input(sender.stdin(Stdio::piped()), b"one\ntwo\n");
    let receiver = Run::start(&mut tool(&["recv", &place.name]));
    place.wait_until("a message", |ring| ring.consumer.totals.messages == 1);
    sender.kill();
    let done = receiver.finish();
    assert_eq!(done.code(), 4, "{done:?}");
    assert_eq!(done.stdout, b"one\n");
    let expected = format!(
        "error: {}: the producer vanished without closing; all it had sent was taken\n  next: start \
         it again; `recv --follow` waits for it\n",
        place.name
    );
    assert_eq!(done.stderr, expected);
}

/// Goal: a sender in front of a full ring is told when its consumer dies, and when it closes; with
/// `--follow` it waits for the next one.
#[test]
fn a_consumer_that_has_gone() {
    let long = [
        vec![b'x'; 3000],
        vec![b'y'; 3000],
        vec![b'z'; 3000],
        vec![b'!'; 3000],
    ]
    .join(&b'\n');
    for (dies, code, what) in [
        (
            true,
            4,
            "the ring is full and its consumer vanished without closing\n",
        ),
        (false, 1, "the ring is full and its consumer has closed\n"),
    ] {
        let place = Place::shm().create(&["--capacity", "4K"]);
        let receiver = Run::start(&mut tool(&["recv", &place.name, "--rate", "0.001"]));
        place.wait_until("the receiver", |ring| ring.consumer.sessions == 1);
        let sender = Run::with_input(&mut tool(&["send", &place.name]), &long);
        place.wait_until("a full ring", |ring| {
            ring.producer.totals.messages == 2 && ring.producer.waits > 0
        });
        if dies {
            receiver.kill();
        } else {
            receiver.signal(rustix::process::Signal::TERM);
            assert_eq!(receiver.finish().code(), 143);
        }
        let done = sender.finish();
        assert_eq!(done.code(), code, "{done:?}");
        assert!(
            done.stderr
                .starts_with(&format!("error: {}: {what}  next: start ", place.name)),
            "{done:?}"
        );
        assert!(
            done.stderr.contains("`send --follow` waits for it"),
            "{done:?}"
        );
    }
}

/// Runs the tool where /dev/shm is a small file system of its own.
fn in_small_shm(container: &str, arguments: &[&str]) -> crate::support::Done {
    let script = "mount -t tmpfs -o size=1M tmpfs /dev/shm && exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script, "sh", TOOL])
        .args(arguments);
    command.env("container", container).stdin(Stdio::null());
    Run::start(&mut command).finish()
}

/// Goal: no room is told as such, with what to do: inside a container that is its own option. Needs
/// root, for a file system of one megabyte.
#[test]
fn no_room_for_a_ring() {
    let done = in_small_shm("docker", &["create", "shm:big", "--capacity", "4M"]);
    assert_eq!(done.code(), 7, "{done:?}");
    assert!(
        done.stderr
            .starts_with("error: shm:big: no room for 4.0 MiB (No space left"),
        "{done:?}"
    );
    assert!(
        done.stderr
            .contains("next: this is inside a container (docker)"),
        "{done:?}"
    );
    assert!(done.stderr.contains("docker run --shm-size=1g"), "{done:?}");
    assert!(done.stderr.contains("smaller --capacity"), "{done:?}");

    let done = in_small_shm("", &["send", "shm:default", "x"]);
    assert_eq!(done.code(), 7, "the default does not fit either: {done:?}");

    let done = in_small_shm("docker", &["create", "shm:huge", "--capacity", "1T"]);
    assert_eq!(done.code(), 7, "{done:?}");
    assert!(
        done.stderr
            .starts_with("error: shm:huge: a ring of 1.0 TiB does not fit: "),
        "refused before anything is taken: {done:?}"
    );
    assert!(done.stderr.contains("of memory are available"), "{done:?}");
}

/// Goal: a file system that is full says so without talk of containers.
#[test]
fn no_room_for_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.ring");
    let script = "mount -t tmpfs -o size=1M tmpfs \"$0\" && exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script])
        .arg(dir.path())
        .arg(TOOL);
    command
        .args(["create", path.to_str().unwrap(), "--capacity", "4M"])
        .stdin(Stdio::null());
    let done = Run::start(&mut command).finish();
    assert_eq!(done.code(), 7, "{done:?}");
    let expected = format!(
        "error: {}: no room for 4.0 MiB (No space left",
        path.display()
    );
    assert!(done.stderr.starts_with(&expected), "{done:?}");
    assert!(
        done.stderr
            .contains("next: free some, or choose a smaller --capacity\n"),
        "{done:?}"
    );
}

/// Goal: without standard output the failure is said, and no message leaves the ring.
#[test]
fn a_full_disk_behind_standard_output() {
    let place = Place::shm().create(&[]);
    run_with(&["send", &place.name], b"precious\n").succeeded();
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let done = Run::with_output(&mut tool(&["recv", &place.name]), full).finish();
    assert_eq!(done.code(), 7, "{done:?}");
    assert!(
        done.stderr
            .contains("cannot write to standard output: No space left"),
        "{done:?}"
    );
    assert_eq!(
        run(&["recv", &place.name, "--timeout", "5s"]).succeeded(),
        b"precious\n"
    );
}
