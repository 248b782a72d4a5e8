//! What goes in comes out: every backing, every framing, every format.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};

use crate::support::{Place, Run, TOOL, lines, run, run_with, tool, wait_until};

const TAR_PIPELINE: &str = r#"
set -eu
"$TOOL" recv "$LOC" --framing "$FRAMING" > copy.tar &
tar --create --file - folder | tee original.tar | "$TOOL" send "$LOC" --framing "$FRAMING"
wait $!
tar --extract --to-stdout --file copy.tar > /dev/null
sha256sum < original.tar > original.sum
sha256sum < copy.tar > copy.sum
"#;

/// Goal: a shell pipeline of a real tar stream arrives whole on every backing. Method: `tar | send`
/// beside `recv`, in bash, cut in three ways; the sums and the bytes of both ends.
#[test]
fn a_tar_stream_goes_through_every_backing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("folder")).unwrap();
    for number in 0..40_u32 {
        let mut random = vec![0; 100_000];
        File::open("/dev/urandom")
            .unwrap()
            .read_exact(&mut random)
            .unwrap();
        std::fs::write(dir.path().join(format!("folder/{number}.bin")), random).unwrap();
        std::fs::write(
            dir.path().join(format!("folder/{number}.txt")),
            lines(number * 100),
        )
        .unwrap();
    }
    let mut streams = 0;
    for framing in ["raw", "fixed:512", "fixed:10K"] {
        for place in [Place::file(dir.path()), Place::shm(), Place::sysv()] {
            let mut shell = Command::new("bash");
            shell
                .args(["-o", "pipefail", "-c", TAR_PIPELINE])
                .current_dir(&dir);
            shell
                .env("TOOL", TOOL)
                .env("LOC", &place.name)
                .env("FRAMING", framing);
            let done = Run::start(shell.stdin(Stdio::null())).finish();
            assert_eq!(done.code(), 0, "{} {framing}: {done:?}", place.name);
            let read = |name| std::fs::read(dir.path().join(name)).unwrap();
            assert_eq!(
                read("original.sum"),
                read("copy.sum"),
                "{} {framing}",
                place.name
            );
            assert_eq!(read("original.tar"), read("copy.tar"));
            assert!(read("copy.tar").len() > 4_000_000);
            streams += 1;
        }
    }
    assert_eq!(streams, 9);
}

/// Sends and receives through a new ring.
fn through(framing: &str, input: &[u8]) -> Vec<u8> {
    let place = Place::shm().create(&["--capacity", "64K"]);
    let sender = Run::with_input(&mut tool(&["send", &place.name, "-f", framing]), input);
    let output = run(&["recv", &place.name, "-f", framing]).succeeded();
    sender.finish().succeeded();
    output
}

/// Goal: every framing keeps binary data; a last line without its newline gets one.
#[test]
fn every_framing_keeps_what_it_is_given() {
    let binary: Vec<u8> = (0..300_000_u32)
        .map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()[3])
        .collect();
    assert_eq!(through("raw", &binary), binary);
    assert_eq!(through("fixed:3", &binary), binary);
    assert_eq!(through("fixed:5000", &binary), binary);
    let terminated = |delimiter: u8| [binary.as_slice(), &[delimiter]].concat();
    assert!(!binary.ends_with(b"\n") && !binary.ends_with(b"\0"));
    assert_eq!(through("line", &binary), terminated(b'\n'));
    assert_eq!(through("line", &terminated(b'\n')), terminated(b'\n'));
    assert_eq!(through("nul", &binary), terminated(0));
    let mut prefixed = Vec::new();
    for (index, message) in binary.chunks(1000).enumerate() {
        let message = &message[..message.len().min(index * 7)];
        prefixed.extend_from_slice(&u32::try_from(message.len()).unwrap().to_le_bytes());
        prefixed.extend_from_slice(message);
    }
    assert_eq!(through("prefix", &prefixed), prefixed);
    assert_eq!(
        through("line", b"\n\na\r\n"),
        b"\n\na\r\n",
        "empty lines, carriage returns"
    );
}

/// Goal: what one line was is one message, also the last one; an argument is a message.
#[test]
fn lines_and_arguments_are_messages() {
    let place = Place::shm();
    let done = run_with(&["send", &place.name], b"first\n\nlast");
    assert_eq!(
        done.stderr,
        format!(
            "ringduct: {}: there was none; made a ring of 1.0 MiB\n",
            place.name
        )
    );
    run(&["send", &place.name, "a b", "", "--", "-n"]).succeeded();
    let messages: Vec<_> = place.observer().peek_all().unwrap();
    let messages: Vec<_> = messages.into_iter().map(|peeked| peeked.message).collect();
    assert_eq!(messages, [&b"first"[..], b"", b"last", b"a b", b"", b"-n"]);
}

/// Goal: `--format` shows every byte, and `--peek` takes no message and no role.
#[test]
fn formats_and_a_look_without_taking() {
    let place = Place::shm().create(&[]);
    run_with(&["send", &place.name, "-f", "nul"], b"hi\0a\nb\0\xff\\\0").succeeded();
    let taken = place.ring().consumer().unwrap(); // somebody else has the role
    for (format, expected) in [
        ("raw", &b"hi\na\nb\n\xff\\\n"[..]),
        ("text", b"hi\na\\nb\n\\xff\\\\\n"),
        ("hex", b"6869\n610a62\nff5c\n"),
        ("json", b"{\"bytes\":2,\"text\":\"hi\"}\n{\"bytes\":3,\"text\":\"a\\nb\"}\n{\"bytes\":2,\"hex\":\"ff5c\"}\n"),
    ] {
        let looked = run(&["recv", &place.name, "--peek", "--format", format]).succeeded();
        assert_eq!(looked, expected, "{format}");
    }
    let one = run(&["recv", &place.name, "--peek", "-n", "1"]).succeeded();
    assert_eq!(one, b"hi\n");
    drop(taken);
    let received = run(&["recv", &place.name, "--format", "hex"]).succeeded();
    assert_eq!(received, b"6869\n610a62\nff5c\n");
    assert_eq!(run(&["recv", &place.name, "--peek"]).succeeded(), b"");
}

/// Goal: `--peek --follow` sees what comes, beside a consumer that takes it.
#[test]
fn a_look_follows_a_live_ring() {
    let place = Place::shm().create(&[]);
    run(&["send", &place.name, "one"]).succeeded();
    let look = Run::start(&mut tool(&[
        "recv",
        &place.name,
        "--peek",
        "--follow",
        "-n",
        "3",
    ]));
    let ring = place.ring();
    let mut tx = ring.producer().unwrap();
    tx.send(b"two").unwrap();
    tx.send(b"three").unwrap();
    assert_eq!(look.finish().succeeded(), b"one\ntwo\nthree\n");
    assert_eq!(place.observer().snapshot().backlog_messages, 3);
}

/// Goal: `-n` takes so many and leaves the others, in the ring and in a file that is read.
#[test]
fn a_count_leaves_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lines");
    std::fs::write(&path, lines(10)).unwrap();
    let place = Place::shm().create(&[]);
    let mut file = File::open(&path).unwrap();
    let mut command = tool(&["send", &place.name, "-n", "4"]);
    Run::start(command.stdin(file.try_clone().unwrap()))
        .finish()
        .succeeded();
    let mut rest = Vec::new();
    file.read_to_end(&mut rest).unwrap();
    let first = lines(4);
    assert_eq!([first.as_slice(), &rest].concat(), lines(10));
    assert_eq!(run(&["recv", &place.name, "-n", "3"]).succeeded(), lines(3));
    assert_eq!(
        run(&["recv", &place.name]).succeeded(),
        lines(4)[lines(3).len()..]
    );
    file.rewind().unwrap();
    run(&["send", &place.name, "-n", "2", "a", "b", "c"]).succeeded();
    assert_eq!(run(&["recv", &place.name]).succeeded(), b"a\nb\n");
}

/// Goal: a line is there at once, although many would be written together.
#[test]
fn lines_are_not_kept_back() {
    use std::io::Write as _;
    let place = Place::shm().create(&[]);
    let mut sender = tool(&["send", &place.name])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut receiver = tool(&["recv", &place.name])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = sender.stdin.take().unwrap();
    let mut stdout = receiver.stdout.take().unwrap();
    for number in 0..20_u8 {
        let line = [b'a' + number, b'\n'];
        stdin.write_all(&line).unwrap();
        let mut seen = [0; 2];
        stdout.read_exact(&mut seen).unwrap();
        assert_eq!(seen, line);
    }
    drop(stdin);
    assert!(sender.wait().unwrap().success());
    assert!(receiver.wait().unwrap().success());
}

/// Goal: `--rate` lets everything pass in the end, on both sides.
#[test]
fn a_rate_loses_nothing() {
    let place = Place::shm().create(&[]);
    let command = ["send", &place.name, "--rate", "2000/s"];
    let sender = Run::with_input(&mut tool(&command), &lines(300));
    let received = run(&["recv", &place.name, "--rate", "3000"]).succeeded();
    assert_eq!(received, lines(300));
    sender.finish().succeeded();
}

/// Goal: `--exec` gives each message to a command, and only what succeeded leaves the ring.
#[test]
fn a_command_for_each_message() {
    let place = Place::shm().create(&[]);
    run(&["send", &place.name, "good", "bad", "after"]).succeeded();
    let script = "read -r line; echo \"<$line>\"; test \"$line\" != bad";
    let command = ["recv", &place.name, "--exec", "sh", "-c", script];
    let done = run(&command);
    assert_eq!(done.code(), 1);
    assert_eq!(done.stdout, b"<good>\n<bad>\n");
    assert!(done.stderr.contains("ended with exit code 1"), "{done:?}");
    let left = run(&["recv", &place.name, "--peek"]).succeeded();
    assert_eq!(left, b"bad\nafter\n", "the failed one is still the first");
    let command = [
        "recv",
        &place.name,
        "--exec",
        "tr",
        "a-z",
        "A-Z",
        ";",
        "-n",
        "1",
    ];
    assert_eq!(run(&command).succeeded(), b"BAD");
    let long = vec![b'x'; 1_000_000];
    run_with(&["send", &place.name], &long).succeeded();
    let command = ["recv", &place.name, "--exec", "true"]; // reads nothing
    assert_eq!(run(&command).succeeded(), b"");
    assert_eq!(place.observer().snapshot().backlog_messages, 0);
}

/// Goal: whoever reads standard output may have enough; nothing is said, and what was not written
/// stays in the ring.
#[test]
fn a_reader_that_had_enough() {
    let place = Place::shm().create(&["--capacity", "64K"]);
    let mut sender = Run::with_input(
        &mut tool(&["send", &place.name, "--follow"]),
        &lines(100_000),
    );
    let mut receiver = tool(&["recv", &place.name]);
    let mut child = receiver
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut some = [0; 100];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap(); // and closes it
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(done.stderr, b"");
    assert_eq!(some, lines(100)[..100]);
    assert!(sender.is_running());
    let rest = run(&["recv", &place.name]).succeeded();
    assert!(
        lines(100_000).ends_with(&rest),
        "what was not written was not lost"
    );
    assert!(rest.len() > 100_000);
    assert_eq!(sender.finish().code(), 0);
}

/// Goal: either side may start first, and both make the ring.
#[test]
fn a_receiver_waits_for_its_producer() {
    let place = Place::shm();
    let mut receiver = Run::start(&mut tool(&["recv", &place.name]));
    place.wait_until("the receiver", |ring| ring.consumer.sessions == 1);
    assert!(receiver.is_running());
    run(&["send", &place.name, "hello"]).succeeded();
    let done = receiver.finish();
    assert!(
        done.stderr
            .contains("there was none; made a ring of 1.0 MiB"),
        "{done:?}"
    );
    assert_eq!(done.succeeded(), b"hello\n");
}

/// Goal: `--follow` outlives its producers.
#[test]
fn a_receiver_follows_the_next_producer() {
    let place = Place::shm();
    let receiver = Run::start(&mut tool(&["recv", &place.name, "--follow", "-n", "3"]));
    for (message, count) in [("one", 1), ("two", 2), ("three", 3)] {
        wait_until("the role to be free", || {
            run(&["send", &place.name, message]).code() == 0
        });
        place.wait_until("it to be taken", |ring| {
            ring.consumer.totals.messages == count
        });
    }
    let done = receiver.finish();
    assert_eq!(done.code(), 0);
    assert_eq!(done.stdout, b"one\ntwo\nthree\n");
    assert!(done.stderr.contains("waiting for the next one"), "{done:?}");
}

/// Goal: an empty stream is one too, for a receiver that is there.
#[test]
fn nothing_is_a_stream_too() {
    let place = Place::shm().create(&[]);
    let receiver = Run::start(&mut tool(&["recv", &place.name]));
    place.wait_until("the receiver", |ring| ring.consumer.sessions == 1);
    run(&["send", &place.name]).succeeded();
    assert_eq!(receiver.finish().succeeded(), b"");
}
